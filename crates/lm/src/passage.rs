//! A continuation after its prompt, and what a model says of it where one that fails must not cost the others.

use std::collections::BTreeSet;

use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::model::{LanguageModel, Take};
use crate::record::TokenRecord;

/// A prompt and the tokens that follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// What the model is given; at least one token.
    pub prompt: Vec<u32>,
    /// What it is asked about.
    pub continuation: Vec<u32>,
}

/// The records of each continuation's tokens, in passes over at most `batch` passages; `None` where the model's numbers are
/// not finite.
///
/// # Errors
/// Those of [`LanguageModel::score`] but [`Error::NotFinite`].
pub fn score_passages(
    model: &dyn LanguageModel,
    passages: &[Passage],
    batch: usize,
    progress: &dyn Progress,
) -> Result<Vec<Option<Vec<TokenRecord>>>> {
    let mut all = vec![None; passages.len()];
    score_passages_each(
        model,
        &passages.iter().collect::<Vec<_>>(),
        (batch, progress),
        &mut |number, records| {
            all[number] = records;
            Ok(())
        },
    )?;
    Ok(all)
}

/// As [`score_passages`], but each passage's records are given to `take` as soon as they are there.
///
/// # Errors
/// Those of [`score_passages`] and of `take`.
pub fn score_passages_each(
    model: &dyn LanguageModel,
    texts: &[&Passage],
    (batch, progress): (usize, &dyn Progress),
    take: Take<'_, Option<Vec<TokenRecord>>>,
) -> Result<()> {
    let tokens: Vec<Vec<u32>> =
        texts.iter().map(|text| [&text.prompt[..], &text.continuation].concat()).collect();
    let mut left = BTreeSet::from_iter(0..texts.len());
    let scored = |number: usize, records: Vec<TokenRecord>| {
        // Record i is of token i + 1, so the first scored token's record is at the prompt's length less one.
        let first = texts[number].prompt.len().saturating_sub(1);
        Some(records[first..].to_vec())
    };
    let mut take_scored = |number, records| {
        left.remove(&number);
        take(number, scored(number, records))
    };
    match model.score_each(&tokens, batch, &mut take_scored, progress) {
        Err(Error::NotFinite { .. }) => {}
        outcome => return outcome,
    }
    // A model that fails on one text fails the whole call. What is left is then scored one by one, which gives the same
    // bytes, and costs more only in a run that has a broken model anyway.
    for number in left {
        let records = match model.score(&tokens[number..=number], 1, progress) {
            Ok(mut records) => records.pop().and_then(|records| scored(number, records)),
            Err(Error::NotFinite { .. }) => None,
            Err(error) => return Err(error),
        };
        take(number, records)?;
    }
    Ok(())
}
