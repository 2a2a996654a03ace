//! Draws samples from a model: sample `i` of a strategy depends on (seed, strategy, i) and nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};
use verbatim_lm::{LanguageModel, Resources, Sample, SampleRequest, SamplingConfig, TokenRecord, Tokenizer};
use verbatim_store::{Answers, Progress};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::places::Prompts;
use crate::prompts::{Strategy, prompt_tokens};

/// What to draw.
#[derive(Clone, Debug)]
pub struct ExtractConfig<'a> {
    /// The strategies to follow; order and repeats do not matter.
    pub strategies: Vec<Strategy>,
    /// The numbers of the samples of each strategy (Carlini et al. 2021: 200 000 samples).
    pub samples: Range<u64>,
    /// The most tokens of a sample (Carlini et al. 2021: 256).
    pub max_new_tokens: usize,
    /// Draw among this many most likely tokens only, in every strategy (Carlini et al. 2021: 40).
    pub top_k: Option<usize>,
    /// Draw among the fewest tokens that hold this much probability only.
    pub top_p: Option<f32>,
    /// The run's seed.
    pub seed: u64,
    /// The prompts of [`Strategy::Conditioned`].
    pub prompts: Prompts<'a>,
}

/// A sample as it was drawn.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnSample {
    /// How it was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// The prompt's tokens; never empty.
    pub prompt: Vec<u32>,
    /// The tokens drawn, without the prompt and without the end-of-text token that ended them.
    pub tokens: Vec<u32>,
    /// The text of the tokens; what is not UTF-8 stands as U+FFFD.
    pub text: String,
    /// The bytes of the tokens in base64, where they are not UTF-8 (a token may end inside a character).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "base64_or_none")]
    pub text_bytes_b64: Option<String>,
    /// Why drawing failed part of the way, if it did; such a sample is never ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DrawnSample {
    /// The bytes of the tokens: those of the text where it is UTF-8, else the ones kept beside it.
    ///
    /// The places in a [`Finding`](crate::Finding) are places in these bytes. What a caller put into
    /// `text_bytes_b64` that is not base64 counts as if it were not there.
    pub fn text_bytes(&self) -> Cow<'_, [u8]> {
        let kept = self.text_bytes_b64.as_ref().and_then(|text| STANDARD.decode(text).ok());
        kept.map_or(Cow::Borrowed(self.text.as_bytes()), Cow::Owned)
    }
}

impl fmt::Debug for DrawnSample {
    /// Leaves the text out: a log line must never carry what a model recited.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DrawnSample")
            .field("strategy", &self.strategy)
            .field("index", &self.index)
            .field("n_tokens", &self.tokens.len())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    /// The samples, sorted by strategy and number.
    pub samples: Vec<DrawnSample>,
    /// What the model said of each sample's tokens while it drew them.
    pub records: Vec<Vec<TokenRecord>>,
}

/// A sample and its records, as they are kept.
#[derive(Serialize, Deserialize)]
struct Drawn {
    sample: DrawnSample,
    #[serde(with = "verbatim_lm::columns")]
    records: Vec<TokenRecord>,
}

/// Draws samples for each strategy. A sample ends before the end-of-text token.
///
/// In a run's folder, what earlier processes have drawn is not drawn again. Samples in another process's share are left out.
///
/// # Errors
/// [`Error::InvalidArgument`] for a configuration that makes no sense, the model's own, those of a run's folder.
pub fn draw(
    model: &dyn LanguageModel,
    tokenizer: &Tokenizer,
    config: &ExtractConfig<'_>,
    resources: Resources<'_>,
) -> Result<Draws> {
    check(config)?;
    let start = model.bos().or(tokenizer.end_of_text());
    let (earlier, mut answers) = Answers::open::<Drawn>(resources.scratch, "drawn")?;
    let place = |drawn: &Drawn| (drawn.sample.strategy, drawn.sample.index);
    let mut all: BTreeMap<(Strategy, u64), Drawn> =
        earlier.into_iter().map(|drawn| (place(&drawn), drawn)).collect();
    all.retain(|(strategy, index), _| config.strategies.contains(strategy) && config.samples.contains(index));
    for strategy in Strategy::ALL.into_iter().filter(|strategy| config.strategies.contains(strategy)) {
        let is_missing =
            |index: &u64| resources.scratch.share().has(*index) && !all.contains_key(&(strategy, *index));
        let missing: Vec<u64> = config.samples.clone().filter(is_missing).collect();
        let requests = requests(strategy, &missing, config, (tokenizer, start), resources.progress)?;
        let sampling = SamplingConfig {
            max_new_tokens: config.max_new_tokens,
            top_k: config.top_k,
            top_p: config.top_p,
            temperature: strategy.temperature(),
            // The model keys each sample by this seed and the sample's number.
            seed: xxh3_64_with_seed(strategy.name().as_bytes(), config.seed),
            batch: resources.batch,
            stop_token: tokenizer.end_of_text(),
        };
        let mut take = |_, mut sample: Sample| {
            let records = std::mem::take(&mut sample.records);
            let drawn = Drawn { sample: in_words(sample, strategy, tokenizer), records };
            answers.keep(&drawn)?;
            all.insert(place(&drawn), drawn);
            Ok(())
        };
        let outcome = model.sample_each(&requests, &sampling, &mut take, resources.progress);
        // What was drawn before an interruption is of use.
        answers.save()?;
        outcome?;
    }
    let (samples, records) = all.into_values().map(|drawn| (drawn.sample, drawn.records)).unzip();
    Ok(Draws { samples, records })
}

/// The samples to draw, each with its prompt.
fn requests(
    strategy: Strategy,
    missing: &[u64],
    config: &ExtractConfig<'_>,
    (tokenizer, start): (&Tokenizer, Option<u32>),
    progress: &dyn Progress,
) -> Result<Vec<SampleRequest>> {
    let unconditioned = [String::new()];
    let texts = match (strategy, &config.prompts) {
        (Strategy::Conditioned, Prompts::Places(places)) => {
            progress.stage("choosing prompts", Some(missing.len() as u64), "prompts");
            let request = |&index: &u64| {
                if progress.interrupted() {
                    return Err(Error::Interrupted);
                }
                progress.advance(1);
                Ok(SampleRequest { index, prompt: places.prompt(tokenizer, (config.seed, index))? })
            };
            return missing.par_iter().map(request).collect();
        }
        (Strategy::Conditioned, Prompts::Listed(texts)) => &texts[..],
        _ => &unconditioned,
    };
    let prompts: Vec<Vec<u32>> =
        texts.iter().map(|text| prompt_tokens(text, tokenizer, start)).collect::<Result<_>>()?;
    let prompt = |index: u64| prompts[(index % prompts.len() as u64) as usize].clone();
    Ok(missing.iter().map(|&index| SampleRequest { index, prompt: prompt(index) }).collect())
}

/// A sample with its text.
fn in_words(sample: Sample, strategy: Strategy, tokenizer: &Tokenizer) -> DrawnSample {
    let Sample { index, prompt, tokens, error, .. } = sample;
    let (text, text_bytes_b64) = match String::from_utf8(tokenizer.decode(&tokens)) {
        Ok(text) => (text, None),
        Err(error) => {
            let bytes = error.into_bytes();
            (String::from_utf8_lossy(&bytes).into_owned(), Some(STANDARD.encode(&bytes)))
        }
    };
    DrawnSample { strategy, index, prompt, tokens, text, text_bytes_b64, error }
}

fn check(config: &ExtractConfig<'_>) -> Result<()> {
    let is_conditioned = config.strategies.contains(&Strategy::Conditioned);
    let complaint = if config.strategies.is_empty() {
        "no strategy was chosen"
    } else if config.samples.is_empty() {
        "no samples are asked for, expected at least 1"
    } else if is_conditioned && config.prompts.is_empty() {
        "the conditioned strategy has no prompts; give a file with one prompt a line, or a corpus"
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument(complaint.to_owned()))
}

/// Refuses what is not base64 when a stored sample is read, so that [`DrawnSample::text_bytes`] cannot fail.
fn base64_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_ref().map(|text| STANDARD.decode(text)) {
        Some(Err(_)) => Err(serde::de::Error::custom("not base64")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;
    use verbatim_lm::Scripted;
    use verbatim_store::Scratch;

    use super::*;
    use crate::testing::{asking, config, tokenizer};

    fn model() -> Scripted {
        let vocab_size = tokenizer().vocab_size();
        Scripted::new(vocab_size, 64)
            .begins_with(0)
            .knows(tokenizer().encode("The vault code is seven."), 0.5)
    }

    #[test]
    fn fault_69_a_sample_depends_on_seed_strategy_and_number_only() {
        let (model, tokenizer) = (model(), tokenizer());
        let all = draw(&model, tokenizer, &config(&Strategy::ALL, 9), asking(4)).unwrap().samples;
        assert_eq!(all.len(), 27);
        for batch in [1, 7, 64] {
            let again = draw(&model, tokenizer, &config(&Strategy::ALL, 9), asking(batch)).unwrap().samples;
            assert!(again == all, "batch {batch}");
        }
        for strategy in Strategy::ALL {
            let alone = draw(&model, tokenizer, &config(&[strategy], 5), asking(4)).unwrap().samples;
            let among = all.iter().filter(|sample| sample.strategy == strategy).take(5);
            assert!(alone.iter().eq(among), "{strategy} alone, and fewer");
        }
        let middle = ExtractConfig { samples: 4..7, ..config(&Strategy::ALL, 9) };
        let middle = draw(&model, tokenizer, &middle, asking(4)).unwrap().samples;
        assert!(middle.iter().eq(all.iter().filter(|sample| (4..7).contains(&sample.index))));
        let other_seed = ExtractConfig { seed: 8, ..config(&Strategy::ALL, 9) };
        let other = draw(&model, tokenizer, &other_seed, asking(4)).unwrap().samples;
        assert!(all.iter().zip(&other).all(|(a, b)| a.tokens != b.tokens));
        let (top_n, decaying) = (&all[..9], &all[9..18]);
        assert!(top_n.iter().zip(decaying).all(|(a, b)| a.tokens != b.tokens));
    }

    /// Wants to stop after so many steps.
    struct Impatient(AtomicU64);

    impl Progress for Impatient {
        fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}

        fn advance(&self, n: u64) {
            self.0.fetch_sub(n, Ordering::Relaxed);
        }

        fn interrupted(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }
    }

    #[test]
    fn fault_69_what_was_drawn_before_a_stop_is_not_drawn_again() {
        let (model, tokenizer, config) = (model(), tokenizer(), config(&Strategy::ALL, 9));
        let whole = draw(&model, tokenizer, &config, asking(4)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let task = json!({});
        // One by one, so that the number of steps is exact; then with other batches.
        for (batch, n_steps) in [(1, 5), (1, 10), (7, u64::MAX)] {
            let scratch = Scratch::of_run(folder.path(), &task).unwrap();
            let progress = Impatient(AtomicU64::new(n_steps));
            let outcome =
                draw(&model, tokenizer, &config, Resources { batch, scratch: &scratch, progress: &progress });
            match n_steps {
                u64::MAX => {
                    assert_eq!(progress.0.into_inner(), u64::MAX - (27 - 15), "what was left is drawn");
                    assert!(outcome.unwrap() == whole);
                }
                _ => assert_eq!(outcome.unwrap_err().exit_code(), 130),
            }
        }
        // Fewer samples are among those that were kept.
        let scratch = Scratch::of_run(folder.path(), &task).unwrap();
        let fewer = ExtractConfig { samples: 0..3, strategies: vec![Strategy::Conditioned], ..config };
        let progress = Impatient(AtomicU64::new(1));
        let drawn =
            draw(&model, tokenizer, &fewer, Resources { batch: 1, scratch: &scratch, progress: &progress });
        assert!(drawn.unwrap().samples[..] == whole.samples[18..21]);
    }

    #[test]
    fn prompts_are_taken_in_turn_and_the_empty_one_is_the_first_token() {
        let tokenizer = tokenizer();
        let drawn =
            draw(&model(), tokenizer, &config(&[Strategy::Conditioned], 5), asking(4)).unwrap().samples;
        let vault = tokenizer.encode("The vault");
        let expected = [&vault[..], &[0], &tokenizer.encode("the sea"), &vault, &[0]];
        assert!(drawn.iter().map(|sample| &sample.prompt[..]).eq(expected));
        let top_n = draw(&model(), tokenizer, &config(&[Strategy::TopN], 2), asking(4)).unwrap().samples;
        assert!(top_n.iter().all(|sample| sample.prompt == [0]));
    }

    /// LM_Memorization goes on after the end of a text and scores what follows.
    #[test]
    fn peer_13_a_sample_ends_before_the_end_of_text() {
        let tokenizer = tokenizer();
        let mut known = vec![0];
        known.extend(tokenizer.encode("the sea"));
        let text_len = known.len() - 1;
        known.push(0);
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).knows(known, 0.9999);
        let drawn = draw(&model, tokenizer, &config(&[Strategy::TopN], 20), asking(4)).unwrap().samples;
        assert!(drawn.iter().all(|sample| !sample.tokens.contains(&0)));
        assert!(drawn.iter().any(|sample| sample.text == "the sea" && sample.tokens.len() == text_len));
    }

    #[test]
    fn fault_61_the_name_of_a_control_token_in_a_prompt_is_text() {
        let named = ExtractConfig {
            prompts: vec!["<|endoftext|>".to_owned()].into(),
            ..config(&[Strategy::Conditioned], 1)
        };
        let drawn = draw(&model(), tokenizer(), &named, asking(4)).unwrap().samples;
        assert!(drawn[0].prompt.len() > 1 && !drawn[0].prompt.contains(&0));
    }

    #[test]
    fn fault_63_bytes_that_are_not_a_text_are_kept() {
        let tokenizer = tokenizer();
        let bytes_of_e_acute = tokenizer.encode("\u{e9}");
        assert_eq!(bytes_of_e_acute.len(), 2, "no merge makes one token of it");
        let known = vec![0, bytes_of_e_acute[0], 0];
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).knows(known, 0.9999);
        let drawn = draw(&model, tokenizer, &config(&[Strategy::TopN], 5), asking(4)).unwrap().samples;
        let half = drawn.iter().find(|sample| sample.tokens == bytes_of_e_acute[..1]).unwrap();
        assert_eq!((half.text.as_str(), half.text_bytes_b64.as_deref()), ("\u{fffd}", Some("ww==")));
        assert_eq!(half.text_bytes()[..], [0xc3]);
        let stored = serde_json::to_string(half).unwrap();
        assert!(serde_json::from_str::<DrawnSample>(&stored).unwrap() == *half);
        assert!(serde_json::from_str::<DrawnSample>(&stored.replace("ww==", "ww=w")).is_err());
        let whole = crate::testing::sample(0, "\u{e9}");
        assert_eq!(whole.text_bytes()[..], *"\u{e9}".as_bytes());
    }

    #[test]
    fn fault_65_senseless_configurations_are_refused() {
        let good = || config(&Strategy::ALL, 2);
        for bad in [
            ExtractConfig { strategies: Vec::new(), ..good() },
            ExtractConfig { samples: 3..3, ..good() },
            ExtractConfig { max_new_tokens: 0, ..good() },
            ExtractConfig { top_k: Some(0), ..good() },
            ExtractConfig { top_k: Some(1_000_000), ..good() },
            ExtractConfig { top_p: Some(0.0), ..good() },
            ExtractConfig { top_p: Some(f32::NAN), ..good() },
            ExtractConfig { prompts: Vec::new().into(), ..good() },
            ExtractConfig { prompts: vec!["the sea ".repeat(64)].into(), ..good() },
        ] {
            let error = draw(&model(), tokenizer(), &bad, asking(4)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad:?}: {error}");
        }
    }

    #[test]
    fn fault_78_debug_shows_no_sample_text() {
        let sample = crate::testing::sample(3, "My name is Seven.");
        assert!(!format!("{sample:?}").contains("Seven"));
    }
}
