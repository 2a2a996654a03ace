//! What models say of drawn samples: one teacher-forced pass each for the target model, the lower-cased text and the
//! reference models. Everything that ranking needs is kept, so that ranking again needs no model.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_lm::{LanguageModel, TokenRecord, Tokenizer};
use verbatim_membership::zlib_len;
use verbatim_store::Progress;

use crate::draw::DrawnSample;
use crate::error::Result;
use crate::prompts::{Strategy, prompt_tokens};

/// A model together with the tokenizer of its texts.
#[derive(Clone, Copy)]
pub struct TextModel<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl fmt::Debug for TextModel<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TextModel")
            .field("tokenizer", &self.tokenizer.sha256())
            .finish_non_exhaustive()
    }
}

/// The models of a ranking.
#[derive(Clone, Copy, Debug)]
pub struct Scorers<'a> {
    /// The model that drew the samples.
    pub target: TextModel<'a>,
    /// A much smaller model of the same family, for [`crate::Metric::Small`].
    pub small: Option<TextModel<'a>>,
    /// A somewhat smaller one, for [`crate::Metric::Medium`].
    pub medium: Option<TextModel<'a>>,
}

/// What the models said of one sample: of the tokens drawn, given the prompt; the prompt itself has no records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredSample {
    /// How it was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// Bytes of the sample's text.
    pub n_bytes: u64,
    /// Bytes of the text under zlib ([`verbatim_membership::zlib_len`]).
    pub zlib_bytes: u64,
    /// The target model's records, one for each token drawn.
    #[serde(with = "crate::columns")]
    pub records: Vec<TokenRecord>,
    /// The target model's log-probabilities of the lower-cased text; empty where they are not finite.
    pub lowercase: Vec<f32>,
    /// The small model's log-probabilities, if there was one; empty where they are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small: Option<Vec<f32>>,
    /// The medium model's log-probabilities, if there was one; empty where they are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Vec<f32>>,
    /// Why the sample has no records although it has tokens, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Scores samples, in their order. `batch` changes speed and memory, never a score.
///
/// A reference model with the same tokenizer sees the very tokens that were drawn, another one the text anew.
///
/// # Errors
/// The models' own; a sample whose scores are not finite carries its error and stops nothing.
pub fn score(
    scorers: &Scorers<'_>,
    drawn: &[DrawnSample],
    batch: usize,
    progress: &dyn Progress,
) -> Result<Vec<ScoredSample>> {
    let target = scorers.target;
    let texts: Vec<Text> = drawn.iter().map(Text::drawn).collect();
    let own = score_each(target.model, &texts, batch, progress)?;
    let lowered: Vec<Text> = drawn.iter().map(|sample| Text::lowered(sample, target)).collect();
    let lowered = score_each(target.model, &lowered, batch, progress)?;
    let small = score_reference(scorers.small, target, drawn, batch, progress)?;
    let medium = score_reference(scorers.medium, target, drawn, batch, progress)?;

    let mut scored = Vec::with_capacity(drawn.len());
    for (i, (sample, records)) in drawn.iter().zip(own).enumerate() {
        let bytes = target.tokenizer.decode(&sample.tokens);
        let not_finite = || "the model's log-probabilities are not finite".to_owned();
        let error = sample.error.clone().or_else(|| records.is_none().then(not_finite));
        scored.push(ScoredSample {
            strategy: sample.strategy,
            index: sample.index,
            n_bytes: bytes.len() as u64,
            zlib_bytes: zlib_len(&bytes) as u64,
            records: records.unwrap_or_default(),
            lowercase: log_probs(lowered[i].as_deref()),
            small: small.as_ref().map(|small| small[i].clone()),
            medium: medium.as_ref().map(|medium| medium[i].clone()),
            error,
        });
    }
    Ok(scored)
}

/// A text to score: `scored` given `prompt`.
pub(crate) struct Text {
    pub(crate) prompt: Vec<u32>,
    pub(crate) scored: Vec<u32>,
}

impl Text {
    fn drawn(sample: &DrawnSample) -> Text {
        // What was drawn before a failure must not reach the ranking, so it is not scored either.
        let scored = if sample.error.is_some() { Vec::new() } else { sample.tokens.clone() };
        Text { prompt: sample.prompt.clone(), scored }
    }

    fn lowered(sample: &DrawnSample, target: TextModel<'_>) -> Text {
        let mut text = Text::drawn(sample);
        if !text.scored.is_empty() {
            text.scored = target.tokenizer.encode(&sample.text.to_lowercase());
        }
        text
    }
}

/// The records of each text's scored tokens; `None` where the model's numbers are not finite.
pub(crate) fn score_each(
    model: &dyn LanguageModel,
    texts: &[Text],
    batch: usize,
    progress: &dyn Progress,
) -> Result<Vec<Option<Vec<TokenRecord>>>> {
    let tokens: Vec<Vec<u32>> = texts.iter().map(|text| [&text.prompt[..], &text.scored].concat()).collect();
    // A model that fails on one text fails the whole call. Every text is then scored alone, which gives the others
    // the same bytes, and costs one more pass only in a run that has a broken model anyway.
    let scored: Vec<Option<Vec<TokenRecord>>> = match model.score(&tokens, batch, progress) {
        Ok(scored) => scored.into_iter().map(Some).collect(),
        Err(verbatim_lm::Error::NotFinite { .. }) => tokens
            .chunks(1)
            .map(|text| match model.score(text, 1, progress) {
                Ok(mut scored) => Ok(scored.pop()),
                Err(verbatim_lm::Error::NotFinite { .. }) => Ok(None),
                Err(error) => Err(error),
            })
            .collect::<verbatim_lm::Result<_>>()?,
        Err(error) => return Err(error.into()),
    };
    // Record i is of token i + 1, so the first scored token's record is at the prompt's length less one.
    Ok(texts
        .iter()
        .zip(scored)
        .map(|(text, records)| records.map(|records| records[text.prompt.len() - 1..].to_vec()))
        .collect())
}

fn score_reference(
    reference: Option<TextModel<'_>>,
    target: TextModel<'_>,
    drawn: &[DrawnSample],
    batch: usize,
    progress: &dyn Progress,
) -> Result<Option<Vec<Vec<f32>>>> {
    let Some(reference) = reference else { return Ok(None) };
    let texts: Vec<Text> =
        drawn.iter().map(|sample| retokenized(sample, target, reference)).collect::<Result<_>>()?;
    let scored = score_each(reference.model, &texts, batch, progress)?;
    Ok(Some(scored.iter().map(|records| log_probs(records.as_deref())).collect()))
}

/// A sample in the tokens of another model.
fn retokenized(sample: &DrawnSample, target: TextModel<'_>, other: TextModel<'_>) -> Result<Text> {
    let mut text = Text::drawn(sample);
    if target.tokenizer.sha256() != other.tokenizer.sha256() {
        let starts = [target.model.bos(), target.tokenizer.end_of_text()];
        let is_start = matches!(sample.prompt[..], [token] if starts.contains(&Some(token)));
        let prompt = if is_start { Vec::new() } else { target.tokenizer.decode(&sample.prompt) };
        let start = other.model.bos().or(other.tokenizer.end_of_text());
        text.prompt = prompt_tokens(&String::from_utf8_lossy(&prompt), other.tokenizer, start)?;
        if !text.scored.is_empty() {
            text.scored = other.tokenizer.encode(&sample.text);
        }
    }
    Ok(text)
}

fn log_probs(records: Option<&[TokenRecord]>) -> Vec<f32> {
    records.unwrap_or_default().iter().map(|record| record.log_prob).collect()
}
