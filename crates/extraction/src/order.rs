//! In which order chosen texts are tried: by what was said of each beforehand, those first that look most as if the model had
//! been trained on them. Nothing is asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use verbatim_store::{Bytes, xxh3_128_hex};

use crate::chosen::{ChosenText, label};
use crate::error::{Error, Result};
use crate::store::read_line;
use crate::target::Target;

/// An order of chosen texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextOrder {
    /// The numbers of the texts, the first to be tried first.
    pub texts: Vec<u64>,
    /// Those at its end that have no score.
    pub n_unjudged: u64,
    /// Texts that repeat another one word for word.
    pub n_repeated: u64,
    /// A hash of the file that it was read from.
    pub fingerprint: String,
}

/// How many chosen texts are tried, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The numbers of the texts, the first to be tried first.
    pub order: Vec<u64>,
    /// Texts that are tried, of those that have a place.
    pub n_texts: usize,
}

impl Budget {
    /// Leaves the targets of the first texts and says how many texts are not tried.
    pub(crate) fn keep(&self, targets: &mut Vec<Target>) -> u64 {
        let with_places: BTreeSet<u64> = targets.iter().map(|target| target.text).collect();
        let in_order = self.order.iter().filter(|text| with_places.contains(text));
        let tried: BTreeSet<u64> = in_order.take(self.n_texts).copied().collect();
        targets.retain(|target| tried.contains(&target.text));
        (with_places.len() - tried.len()) as u64
    }
}

/// What a line says of a text; more fields may stand in it.
#[derive(Deserialize)]
struct Call {
    id: String,
    /// HIGHER means MORE LIKELY A MEMBER.
    #[serde(deserialize_with = "Option::deserialize")]
    score: Option<f64>,
}

/// Reads an order of `texts` from lines with the `id` and the `score` of each, as `calls.jsonl` has them: the highest score
/// first, equal ones as the texts stand; texts without a score come last.
///
/// # Errors
/// [`Error::InvalidArgument`] where an id does not tell the texts apart; [`Error::BadFile`] with the line for one that is
/// broken or is about no text or about the same as an earlier one, or those of reading.
pub fn read_order(path: &Path, texts: &[ChosenText]) -> Result<TextOrder> {
    let numbers = by_id(texts)?;
    let bytes = Bytes::open(path)?;
    let bad = |line, cause: &str| Error::BadFile { path: path.to_path_buf(), line, cause: cause.to_owned() };
    let mut scores: Vec<Option<f64>> = vec![None; texts.len()];
    let mut seen = BTreeSet::new();
    for (text, line) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let call: Call = read_line(path, line, text)?;
        let Some(number) = numbers.get(call.id.as_str()) else {
            return Err(bad(line, "is about a text that is not among those to be tried"));
        };
        if !seen.insert(*number) {
            return Err(bad(line, "is about a text that an earlier line is about"));
        }
        scores[*number] = call.score;
    }
    if seen.is_empty() {
        return Err(bad(1, "says nothing of any text"));
    }
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let score = |number: usize| scores[number].unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
    Ok(TextOrder {
        texts: order.into_iter().map(|number| number as u64).collect(),
        n_unjudged: scores.iter().filter(|score| score.is_none()).count() as u64,
        n_repeated: n_repeated(texts),
        fingerprint: xxh3_128_hex(&bytes),
    })
}

/// The numbers of texts by their names.
fn by_id(texts: &[ChosenText]) -> Result<BTreeMap<&str, usize>> {
    let mut numbers = BTreeMap::new();
    for (number, text) in texts.iter().enumerate() {
        let bad = |what: &str| {
            let label = label(number, text);
            Error::InvalidArgument(format!("{label}: {what}; an order knows texts by an `id` of their own"))
        };
        let id = text.id.as_deref().ok_or_else(|| bad("the text has no `id`"))?;
        if numbers.insert(id, number).is_some() {
            return Err(bad("two texts have this `id`"));
        }
    }
    Ok(numbers)
}

fn n_repeated(texts: &[ChosenText]) -> u64 {
    let distinct: BTreeSet<_> = texts.iter().map(|text| (&text.prefix, &text.suffix)).collect();
    (texts.len() - distinct.len()) as u64
}

#[cfg(test)]
mod tests {
    use verbatim_store::write_private;

    use super::*;

    fn texts(ids: &[&str]) -> Vec<ChosenText> {
        let text = |id: &&str| ChosenText {
            id: Some((*id).to_owned()),
            prefix: None,
            suffix: format!("quiet heron {}", id.trim_end_matches('\'')),
        };
        ids.iter().map(text).collect()
    }

    fn order(lines: &str, texts: &[ChosenText]) -> Result<TextOrder> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        write_private(&path, lines.as_bytes()).unwrap();
        read_order(&path, texts)
    }

    #[test]
    fn the_highest_score_comes_first_and_texts_without_one_come_last() {
        let lines = [
            r#"{"id":"d","score":-2.5,"p_value":0.3,"called":false}"#,
            r#"{"id":"b","score":-0.25,"p_value":0.01,"called":true}"#,
            "",
            r#"{"id":"a","score":null,"p_value":null,"called":false}"#,
            r#"{"id":"e","score":-2.5}"#,
        ];
        let found = order(&lines.join("\n"), &texts(&["a", "b", "c", "d", "d'", "e"])).unwrap();
        assert_eq!(found.texts, [1, 3, 5, 0, 2, 4]);
        assert_eq!((found.n_unjudged, found.n_repeated), (3, 1));
    }

    #[test]
    fn fault_46_calls_that_order_nothing_are_refused_with_their_line() {
        let good = "{\"id\":\"a\",\"score\":1}\n";
        let two = texts(&["a", "b"]);
        for (lines, expected) in [
            (String::new(), 1),
            (format!("{good}{{\"id\":\"b\",\"sco"), 2),
            (format!("{good}{{\"id\":\"b\"}}"), 2),
            (format!("{good}{{\"score\":1}}"), 2),
            (format!("{good}{{\"id\":\"b\",\"score\":1e999}}"), 2),
            (format!("{good}{{\"id\":\"b\",\"score\":\"quiet heron\"}}"), 2),
            (format!("{good}\n{{\"id\":\"quiet heron\",\"score\":1}}"), 3),
            (format!("{good}\n\n{good}"), 4),
        ] {
            let error = order(&lines, &two).unwrap_err();
            assert_eq!(error.exit_code(), 65, "{lines}");
            assert!(matches!(error, Error::BadFile { line, .. } if line == expected), "{lines}: {error}");
            assert!(!format!("{error} {error:?}").contains("heron"), "{error}");
        }
        let unnamed = [ChosenText { id: None, ..two[0].clone() }];
        for texts in [&unnamed[..], &texts(&["a", "a"])] {
            let error = order(good, texts).unwrap_err();
            assert!(error.exit_code() == 2 && !format!("{error}").contains("heron"), "{error}");
        }
    }
}
