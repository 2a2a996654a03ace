//! Draws samples from a model: sample `i` of a strategy depends on (seed, strategy, i) and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_lm::{LanguageModel, SampleRequest, SamplingConfig, Tokenizer};
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::prompts::{Strategy, prompt_tokens};

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractConfig {
    /// The strategies to follow; order and repeats do not matter.
    pub strategies: Vec<Strategy>,
    /// Samples for each strategy (Carlini et al. 2021: 200 000).
    pub n_samples: u64,
    /// The most tokens of a sample (Carlini et al. 2021: 256).
    pub max_new_tokens: usize,
    /// Draw among this many most likely tokens only, in every strategy (Carlini et al. 2021: 40).
    pub top_k: Option<usize>,
    /// Draw among the fewest tokens that hold this much probability only.
    pub top_p: Option<f32>,
    /// The run's seed.
    pub seed: u64,
    /// The most samples drawn at once; it changes speed and memory, never a sample.
    pub batch: usize,
    /// The prompts of [`Strategy::Conditioned`]: sample `i` continues prompt `i` modulo their number.
    pub prompts: Vec<String>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_bytes_b64: Option<String>,
    /// Why drawing failed part of the way, if it did; such a sample is never ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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

/// Draws `n_samples` for each strategy, sorted by strategy and number. A sample ends before the end-of-text token.
///
/// # Errors
/// [`Error::InvalidArgument`] for a configuration that makes no sense, or the model's own.
pub fn draw(
    model: &dyn LanguageModel,
    tokenizer: &Tokenizer,
    config: &ExtractConfig,
    progress: &dyn Progress,
) -> Result<Vec<DrawnSample>> {
    check(config)?;
    let start = model.bos().or(tokenizer.end_of_text());
    let mut drawn = Vec::new();
    for strategy in Strategy::ALL.into_iter().filter(|strategy| config.strategies.contains(strategy)) {
        let unconditioned = [String::new()];
        let texts = if strategy == Strategy::Conditioned { &config.prompts } else { &unconditioned[..] };
        let prompts: Vec<Vec<u32>> =
            texts.iter().map(|text| prompt_tokens(text, tokenizer, start)).collect::<Result<_>>()?;
        let requests: Vec<SampleRequest> = (0..config.n_samples)
            .zip(prompts.iter().cycle())
            .map(|(index, prompt)| SampleRequest { index, prompt: prompt.clone() })
            .collect();
        let sampling = SamplingConfig {
            max_new_tokens: config.max_new_tokens,
            top_k: config.top_k,
            top_p: config.top_p,
            temperature: strategy.temperature(),
            // The model keys each sample by this seed and the sample's number.
            seed: xxh3_64_with_seed(strategy.name().as_bytes(), config.seed),
            batch: config.batch,
            stop_token: tokenizer.end_of_text(),
        };
        for sample in model.sample(&requests, &sampling, progress)? {
            let (text, text_bytes_b64) = match String::from_utf8(tokenizer.decode(&sample.tokens)) {
                Ok(text) => (text, None),
                Err(error) => {
                    let bytes = error.into_bytes();
                    (String::from_utf8_lossy(&bytes).into_owned(), Some(base64(&bytes)))
                }
            };
            let (index, prompt, tokens, error) = (sample.index, sample.prompt, sample.tokens, sample.error);
            drawn.push(DrawnSample { strategy, index, prompt, tokens, text, text_bytes_b64, error });
        }
    }
    Ok(drawn)
}

fn check(config: &ExtractConfig) -> Result<()> {
    let complaint = if config.strategies.is_empty() {
        "no strategy was chosen"
    } else if config.n_samples == 0 {
        "n_samples is 0, expected at least 1"
    } else if config.strategies.contains(&Strategy::Conditioned) && config.prompts.is_empty() {
        "the conditioned strategy has no prompts; give a file with one prompt a line"
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument(complaint.to_owned()))
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
