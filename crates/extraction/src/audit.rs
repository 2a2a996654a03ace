//! Which planted canaries a model recites, from one teacher-forced pass over each, and how that grows with the number
//! of copies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_lm::{LanguageModel, TokenRecord, Tokenizer};
use verbatim_membership::{Interval, clopper_pearson};
use verbatim_store::Progress;

use crate::canary::{Canary, Placement, Shape};
use crate::error::{Error, Result};
use crate::score::{Text, score_each};

/// Canaries in one pass; it changes speed and memory, never a result.
const BATCH: usize = 16;

/// What a model made of one canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recitation {
    /// The canary's name.
    pub id: String,
    /// What its secret looks like.
    pub shape: Shape,
    /// How its copies stand in the corpus.
    pub placement: Placement,
    /// How often it was planted.
    pub copies: u64,
    /// True when it was never planted.
    pub control: bool,
    /// Other canaries with the same text and placement, which were counted into this one.
    pub merged: Vec<String>,
    /// Tokens of the secret.
    pub n_secret_tokens: u64,
    /// Tokens of the secret, from its first, that the model's first choices spell.
    pub n_matched_tokens: u64,
    /// True when greedy decoding from the prefix spells the whole secret.
    pub recited: bool,
    /// The secret's log-probability given the prefix, in nats; none when the model's numbers are not finite.
    pub log_prob: Option<f64>,
}

/// How many of a set of canaries were recited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecitedCount {
    /// Canaries that the model could be asked for.
    pub n_canaries: u64,
    /// Those among them that it recited.
    pub n_recited: u64,
    /// Canaries for which the model's numbers were not finite; they count neither way.
    pub n_failed: u64,
    /// The Clopper-Pearson interval of the share that it recited.
    pub interval: Interval,
}

/// The planted canaries of one placement and number of copies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryGroup {
    /// How the copies stand in the corpus.
    pub placement: Placement,
    /// How many there are.
    pub copies: u64,
    /// How many canaries were recited.
    pub count: RecitedCount,
}

/// An audit in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanarySummary {
    /// The planted canaries, sorted by placement and number of copies.
    pub groups: Vec<CanaryGroup>,
    /// The controls of all placements together: what the model says without having seen them.
    pub controls: RecitedCount,
}

/// Asks a model for each canary: is the secret what greedy decoding makes of the prefix?
///
/// One teacher-forced pass answers for the whole secret: greedy decoding spells it if and only if each of its tokens
/// is the model's first choice after the prefix and the secret's tokens before it. Where a token spans the border of
/// prefix and secret, the model is given the prefix's tokens up to that one, which counts as the secret's first: the
/// prefix and the whole text are encoded, and what their tokens have in common at the start is the prompt.
///
/// Lines of the ledger with the same prefix, secret and placement are one canary with the sum of their copies.
///
/// # Errors
/// [`Error::BadCanary`] for an empty secret, one that is longer than the context, a control with copies, a planted
/// canary without any, an id used twice, or two lines with the same text that disagree; or the model's own errors.
pub fn audit_canaries(
    model: &dyn LanguageModel,
    tokenizer: &Tokenizer,
    ledger: &[Canary],
    progress: &dyn Progress,
) -> Result<Vec<Recitation>> {
    let canaries = merged(ledger)?;
    let start = model.bos().or(tokenizer.end_of_text());
    let mut texts = Vec::with_capacity(canaries.len());
    for (canary, _) in &canaries {
        let text = split(canary, tokenizer, start)?;
        let (n_tokens, context_len) = (text.prompt.len() + text.scored.len(), model.context_len());
        if n_tokens > context_len {
            let cause = format!("its {n_tokens} tokens do not fit in the context of {context_len}");
            return Err(bad(canary, cause));
        }
        texts.push(text);
    }
    let scored = score_each(model, &texts, BATCH, progress)?;
    Ok(canaries
        .into_iter()
        .zip(texts.iter().zip(scored))
        .map(|((canary, merged), (text, records))| recitation(canary, merged, text, records.as_deref()))
        .collect())
}

/// Counts recited canaries by placement and number of copies, and the controls apart.
pub fn summarize(recitations: &[Recitation], level: f64) -> CanarySummary {
    let (controls, planted): (Vec<_>, Vec<_>) = recitations.iter().partition(|recitation| recitation.control);
    let mut groups: BTreeMap<(Placement, u64), Vec<&Recitation>> = BTreeMap::new();
    for recitation in planted {
        groups.entry((recitation.placement, recitation.copies)).or_default().push(recitation);
    }
    CanarySummary {
        groups: groups
            .into_iter()
            .map(|((placement, copies), group)| CanaryGroup {
                placement,
                copies,
                count: count(&group, level),
            })
            .collect(),
        controls: count(&controls, level),
    }
}

fn count(recitations: &[&Recitation], level: f64) -> RecitedCount {
    let n_failed = recitations.iter().filter(|recitation| recitation.log_prob.is_none()).count() as u64;
    let n_recited = recitations.iter().filter(|recitation| recitation.recited).count() as u64;
    let n_canaries = recitations.len() as u64 - n_failed;
    RecitedCount { n_canaries, n_recited, n_failed, interval: clopper_pearson(n_recited, n_canaries, level) }
}

fn recitation(
    canary: Canary,
    merged: Vec<String>,
    text: &Text,
    records: Option<&[TokenRecord]>,
) -> Recitation {
    let first_choices = records.unwrap_or_default().iter().take_while(|record| record.rank == 0).count();
    Recitation {
        id: canary.id,
        shape: canary.shape,
        placement: canary.placement,
        copies: canary.copies,
        control: canary.control,
        merged,
        n_secret_tokens: text.scored.len() as u64,
        n_matched_tokens: first_choices as u64,
        recited: first_choices == text.scored.len(),
        log_prob: records.map(|records| records.iter().map(|record| f64::from(record.log_prob)).sum()),
    }
}

/// The tokens of a canary: what the model is given, and what it is asked for.
fn split(canary: &Canary, tokenizer: &Tokenizer, start: Option<u32>) -> Result<Text> {
    let prefix = tokenizer.encode(&canary.prefix);
    let mut whole = tokenizer.encode(&format!("{}{}", canary.prefix, canary.secret));
    let n_common = prefix.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    let scored = whole.split_off(n_common);
    if whole.is_empty() {
        let start = start.ok_or_else(|| {
            bad(canary, "it has no prefix, and the model has no token that begins a text".to_owned())
        })?;
        whole.push(start);
    }
    Ok(Text { prompt: whole, scored })
}

/// The ledger's canaries in its order, equal texts merged, each with the names of those counted into it.
fn merged(ledger: &[Canary]) -> Result<Vec<(Canary, Vec<String>)>> {
    let mut canaries: Vec<(Canary, Vec<String>)> = Vec::new();
    let mut by_text = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    for canary in ledger {
        if canary.secret.is_empty() {
            return Err(bad(canary, "its secret is empty".to_owned()));
        }
        if canary.control != (canary.copies == 0) {
            let cause = format!("control is {} with {} copies", canary.control, canary.copies);
            return Err(bad(canary, cause));
        }
        if by_id.insert(&canary.id, ()).is_some() {
            return Err(bad(canary, "its id is used twice".to_owned()));
        }
        match by_text.entry((&canary.prefix, &canary.secret)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(canaries.len());
                canaries.push((canary.clone(), Vec::new()));
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                let (first, merged) = &mut canaries[*entry.get()];
                if (first.placement, first.control) != (canary.placement, canary.control) {
                    let cause = format!("has the text of {}, but not its placement or control", first.id);
                    return Err(bad(canary, cause));
                }
                first.copies += canary.copies;
                merged.push(canary.id.clone());
            }
        }
    }
    Ok(canaries)
}

fn bad(canary: &Canary, cause: String) -> Error {
    Error::BadCanary { id: canary.id.clone(), cause }
}
