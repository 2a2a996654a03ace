//! Prompts that are a few tokens from anywhere in a corpus, such as Wikipedia (Nasr et al. 2023, section 4).

use std::fmt;

use verbatim_corpus::{Corpus, DocId};
use verbatim_lm::Tokenizer;

use crate::error::{Error, Result};
use crate::random::Draw;

/// Bytes of text that are made tokens of for one prompt: a longer document is taken in equal parts.
const PART_BYTES: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// Documents that are drawn for one prompt before the corpus counts as one of texts that are too short.
const MOST_DRAWS: usize = 1000;

/// The prompts of the conditioned strategy.
#[derive(Clone)]
pub enum Prompts<'a> {
    /// Sample `i` continues prompt `i` modulo their number.
    Listed(Vec<String>),
    /// Sample `i` continues tokens of a corpus, from a place that depends on the seed and `i` only.
    Places(PromptPlaces<'a>),
}

impl Prompts<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Prompts::Listed(texts) => texts.is_empty(),
            Prompts::Places(PromptPlaces { corpus, n_tokens }) => *n_tokens == 0 || corpus.n_documents() == 0,
        }
    }
}

impl From<Vec<String>> for Prompts<'_> {
    fn from(texts: Vec<String>) -> Self {
        Prompts::Listed(texts)
    }
}

impl fmt::Debug for Prompts<'_> {
    /// Leaves the prompts out: they may be anyone's text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prompts::Listed(texts) => write!(formatter, "Listed({})", texts.len()),
            Prompts::Places(places) => write!(formatter, "Places({} tokens)", places.n_tokens),
        }
    }
}

/// Where prompts are cut from.
#[derive(Clone, Copy, Debug)]
pub struct PromptPlaces<'a> {
    /// The corpus.
    pub corpus: &'a Corpus,
    /// Tokens of each prompt (Nasr et al. 2023: 5).
    pub n_tokens: usize,
}

impl PromptPlaces<'_> {
    /// The prompt of a seed and a sample's number: so many tokens from a uniform place among the tokens of a document that
    /// is uniform among those that have so many.
    ///
    /// Documents of more than 64 KiB are taken in equal parts, of which one is drawn.
    pub(crate) fn prompt(&self, tokenizer: &Tokenizer, (seed, index): (u64, u64)) -> Result<Vec<u32>> {
        let mut draw = Draw::new("prompt", (seed, index));
        for _ in 0..MOST_DRAWS {
            let document = self.corpus.text_str(DocId(draw.below(self.corpus.n_documents())));
            let n_parts = document.len().div_ceil(PART_BYTES).max(1);
            let part = draw.below(n_parts as u64) as usize;
            let border = |part: usize| document.floor_char_boundary(document.len() * part / n_parts);
            let tokens = tokenizer.encode(&document[border(part)..border(part + 1)]);
            if let Some(n_places) = (tokens.len() + 1).checked_sub(self.n_tokens).filter(|n| *n > 0) {
                let start = draw.below(n_places as u64) as usize;
                return Ok(tokens[start..start + self.n_tokens].to_vec());
            }
        }
        Err(Error::InvalidArgument(format!(
            "of {MOST_DRAWS} documents drawn from the corpus of prompts none has {} tokens",
            self.n_tokens
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{asking, config, corpus, tokenizer};
    use crate::{ExtractConfig, Strategy, draw};

    fn prompts(corpus: &Corpus, n_tokens: usize, n: u64) -> Vec<Vec<u32>> {
        let places = PromptPlaces { corpus, n_tokens };
        (0..n).map(|index| places.prompt(tokenizer(), (7, index)).unwrap()).collect()
    }

    #[test]
    fn a_prompt_depends_on_the_seed_and_its_number_only() {
        let corpus = corpus(&["The cat and the dog went to the sea.", "A code is in the vault."]);
        let all = prompts(&corpus, 3, 40);
        let places = PromptPlaces { corpus: &corpus, n_tokens: 3 };
        assert_eq!(places.prompt(tokenizer(), (7, 33)).unwrap(), all[33]);
        let other: Vec<Vec<u32>> = (0..40).map(|i| places.prompt(tokenizer(), (8, i)).unwrap()).collect();
        assert!(all.iter().zip(&other).filter(|(a, b)| a != b).count() > 20, "another seed");
        let model = verbatim_lm::Scripted::new(tokenizer().vocab_size(), 64).begins_with(0);
        let conditioned = ExtractConfig {
            samples: 5..20,
            prompts: Prompts::Places(places),
            ..config(&[Strategy::TopN, Strategy::Conditioned], 1)
        };
        let drawn = draw(&model, tokenizer(), &conditioned, asking(4)).unwrap().samples;
        let of = |strategy| drawn.iter().filter(move |sample| sample.strategy == strategy);
        assert!(of(Strategy::TopN).all(|sample| sample.prompt == [0]));
        assert!(of(Strategy::Conditioned).map(|sample| &sample.prompt).eq(&all[5..20]));
    }

    /// Each document that is long enough, and each place in it, about as often as the others.
    #[test]
    fn documents_and_places_are_uniform() {
        let texts = ["9876543210", "abc", "ABCDEFG", "!?"];
        let corpus = corpus(&texts);
        let n = 6000;
        let mut seen: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        for prompt in prompts(&corpus, 5, n) {
            *seen.entry(prompt).or_default() += 1;
        }
        let mut expected = BTreeMap::new();
        for text in [texts[0], texts[2]] {
            let tokens = tokenizer().encode(text);
            let places: Vec<&[u32]> = tokens.windows(5).collect();
            for place in &places {
                expected.insert(place.to_vec(), n as f64 / 2.0 / places.len() as f64);
            }
        }
        assert!(seen.keys().eq(expected.keys()));
        for (prompt, expected) in expected {
            let off = (f64::from(seen[&prompt]) - expected).abs();
            assert!(off < 5.0 * expected.sqrt(), "{off} of {expected}");
        }
    }

    #[test]
    fn long_documents_are_reached_from_end_to_end() {
        let text: String = (0..400).map(|i| char::from_u32(0x3b1 + i % 25).unwrap()).collect();
        let corpus = corpus(&[&text]);
        let all = prompts(&corpus, 2, 4000);
        let tokens = tokenizer().encode(&text);
        assert!(text.len() > 10 * PART_BYTES);
        for place in [&tokens[..2], &tokens[tokens.len() - 2..]] {
            assert!(all.iter().any(|prompt| prompt == place));
        }
    }

    #[test]
    fn fault_65_texts_that_are_too_short_are_refused_and_not_told() {
        let corpus = corpus(&["heron", "", "a"]);
        let places = PromptPlaces { corpus: &corpus, n_tokens: 9 };
        let error = places.prompt(tokenizer(), (1, 1)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("none has 9 tokens") && !format!("{error:?}").contains("heron"));
        let listed = Prompts::from(vec!["heron".to_owned()]);
        assert_eq!(format!("{listed:?} {:?}", Prompts::Places(places)), "Listed(1) Places(9 tokens)");
        let none = PromptPlaces { n_tokens: 0, ..places };
        let bad = ExtractConfig { prompts: Prompts::Places(none), ..config(&[Strategy::Conditioned], 2) };
        let model = verbatim_lm::Scripted::new(tokenizer().vocab_size(), 64).begins_with(0);
        assert_eq!(draw(&model, tokenizer(), &bad, asking(4)).unwrap_err().exit_code(), 2);
    }
}
