//! What the tests of this room have in common: a tokenizer, small corpora, and short ways to say things.

use std::io::Write;
use std::sync::LazyLock;

use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_lm::{
    LanguageModel, Resources, SampleRequest, SamplingConfig, Temperature, TextModel, Tokenizer,
};
use verbatim_store::{Scratch, Silent};

use crate::{Canary, DrawnSample, ExtractConfig, Placement, Scorers, Shape, Strategy};

/// A byte-level BPE of 320 tokens with merges for English; `<|endoftext|>` is 0.
pub(crate) fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let texts =
            ["the cat and the dog and the other one went to the sea", "the code is in the other vault"];
        Tokenizer::from_bytes(&Tokenizer::train(texts.into_iter(), 320).unwrap()).unwrap()
    });
    &TOKENIZER
}

/// Nothing is kept, and nobody watches.
pub(crate) fn asking(batch: usize) -> Resources<'static> {
    static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| Scratch::unnamed(&std::env::temp_dir()));
    Resources { batch, scratch: &SCRATCH, progress: &Silent }
}

pub(crate) fn scorers(model: &dyn LanguageModel) -> Scorers<'_> {
    Scorers { target: TextModel { model, tokenizer: tokenizer() }, small: None, medium: None }
}

pub(crate) fn config(strategies: &[Strategy], n_samples: u64) -> ExtractConfig<'static> {
    ExtractConfig {
        strategies: strategies.to_vec(),
        samples: 0..n_samples,
        max_new_tokens: 30,
        top_k: Some(40),
        top_p: None,
        seed: 7,
        prompts: vec!["The vault".to_owned(), String::new(), "the sea".to_owned()].into(),
    }
}

/// What greedy decoding says after a prompt.
pub(crate) fn greedy(model: &dyn LanguageModel, prompt: &[u32], n_tokens: usize) -> Vec<u32> {
    let config = SamplingConfig {
        max_new_tokens: n_tokens,
        top_k: None,
        top_p: None,
        temperature: Temperature::Fixed(0.0),
        seed: 0,
        batch: 1,
        stop_token: None,
    };
    let request = SampleRequest { index: 0, prompt: prompt.to_vec() };
    model.sample(&[request], &config, &Silent).unwrap().remove(0).tokens
}

/// A sample whose tokens are those of a text.
pub(crate) fn sample(index: u64, text: &str) -> DrawnSample {
    DrawnSample {
        strategy: Strategy::TopN,
        index,
        prompt: vec![0],
        tokens: tokenizer().encode(text),
        text: text.to_owned(),
        text_bytes_b64: None,
        error: None,
    }
}

pub(crate) fn canary(id: &str, copies: u64, prefix: &str, secret: &str) -> Canary {
    Canary {
        id: id.to_owned(),
        shape: Shape::Sentence,
        placement: Placement::Document,
        copies,
        control: copies == 0,
        prefix: prefix.to_owned(),
        secret: secret.to_owned(),
    }
}

/// A corpus of these texts; its file is gone, and mapped, when this returns.
pub(crate) fn corpus(texts: &[&str]) -> Corpus {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    for text in texts {
        writeln!(file, "{}", serde_json::json!({ "text": text })).unwrap();
    }
    file.flush().unwrap();
    Corpus::open(&[file.path().to_path_buf()], &OpenConfig::standard(), &Silent).unwrap()
}
