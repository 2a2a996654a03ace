//! The project's own generator of a demo corpus: short fictional documents about invented people, places and
//! things, from a seed. No text comes from elsewhere, and a long window repeats only by planting.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::grammar::Grammar;

/// What to synthesize.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynthConfig {
    /// The same seed gives the same documents.
    pub seed: u64,
    /// Number of documents.
    pub n_documents: u64,
    /// Fewest sentences of a document's body.
    pub min_sentences: u64,
    /// Most sentences of a document's body.
    pub max_sentences: u64,
}

impl SynthConfig {
    /// 180 documents of four to six sentences.
    pub fn standard(seed: u64) -> SynthConfig {
        SynthConfig { seed, n_documents: 180, min_sentences: 2, max_sentences: 4 }
    }
}

/// One synthesized document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynthDocument {
    /// Unique in its corpus.
    pub id: String,
    /// The text.
    pub text: String,
}

/// A kind of document: what it is called, how it opens, what its body says, how it closes.
struct Kind {
    name: &'static str,
    openings: &'static [&'static str],
    bodies: &'static [&'static str],
    closings: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "letter",
        openings: &[
            "Dear {other}, your {thing} reached {here} on {date}.",
            "{other}, I write from {here}, {date}.",
        ],
        bodies: &[
            "{person} {verb} the {thing} for {number} coins.",
            "The {trade} says that {person} {verb} our {noun} at {place}.",
            "We {verb} {number} {units} of {goods} with {surname}.",
            "Tell {person} that the {thing} {act} {side} the {noun}.",
        ],
        closings: &["Yours, {who}.", "Write to {place} before {date}. {who}"],
    },
    Kind {
        name: "minutes",
        openings: &[
            "Minutes, {here}, {date} {year}, {who} presiding.",
            "{here} council met at {hour} on {date}.",
        ],
        bodies: &[
            "{person} moved to buy {number} {units} of {goods}.",
            "{surname} and {surname} objected to the {thing}.",
            "The {trade} {person} reported that the {noun} {act} {side} {place}.",
            "{number} votes for {surname}, {number} for {surname}.",
        ],
        closings: &["Closed at {hour}. {other}, {trade}.", "Next meeting: {date}, in {place}."],
    },
    Kind {
        name: "log",
        openings: &["Log of the {thing}, {here}, {who}.", "{date} {year}, {hour}: {who} on watch at {here}."],
        bodies: &[
            "{hour} the {noun} read {number}, then {number}.",
            "{hour} {person} {verb} the {thing}.",
            "Passed {place} at {hour} with {number} {units} of {goods}.",
            "{surname} heard a {thing} {side} the {noun}.",
        ],
        closings: &["Relieved by {other} at {hour}.", "All quiet {side} {place}. {other}"],
    },
    Kind {
        name: "register",
        openings: &[
            "Register of {here}: {who}, {trade}, born {year}.",
            "{who} of {here}, {trade}, aged {number}.",
        ],
        bodies: &[
            "Owns a {thing} and {number} {units} of {goods}.",
            "Apprenticed to {person} in {year}.",
            "Moved to {place} with {person} on {date} {year}.",
            "Owes {surname} {number} coins for a {thing}.",
        ],
        closings: &["Witness: {other}.", "Entered {date} by {other}, {trade}."],
    },
    Kind {
        name: "report",
        openings: &["Report on the {thing} at {here}, by {who}.", "{who} surveyed {here} in {year}."],
        bodies: &[
            "The {noun} stands {number} spans {side} the {thing}.",
            "{person}, a {trade}, {verb} it in {year}.",
            "Of {number} {units} of {goods}, {number} were {adjective}.",
            "Between {place} and {place} the {noun} {act} {side} a {thing}.",
        ],
        closings: &["Checked by {other}, {date}.", "Copies to {other} and to {place}."],
    },
];

/// The documents of `config`, in order; document i depends on the seed and i alone.
pub fn synthesize(config: &SynthConfig) -> Vec<SynthDocument> {
    (0..config.n_documents).map(|index| document(config, index)).collect()
}

/// What document i is: a letter, minutes, a log, a register or a report.
pub(crate) fn kind_of_document(seed: u64, index: u64) -> &'static str {
    kind_of(&mut grammar_of(seed, index)).name
}

fn grammar_of(seed: u64, index: u64) -> Grammar {
    Grammar::new(Draw::new(seed, "document", index))
}

fn kind_of(grammar: &mut Grammar) -> &'static Kind {
    &KINDS[grammar.draw().index(KINDS.len())]
}

fn document(config: &SynthConfig, index: u64) -> SynthDocument {
    let mut grammar = grammar_of(config.seed, index);
    let kind = kind_of(&mut grammar);
    let mut sentences = vec![grammar.sentence(kind.openings)];
    let n_sentences = grammar.draw().between(config.min_sentences, config.max_sentences);
    sentences.extend((0..n_sentences).map(|_| grammar.sentence(kind.bodies)));
    sentences.push(grammar.sentence(kind.closings));
    SynthDocument { id: format!("d{index:05}"), text: sentences.join(" ") }
}

/// One body sentence of any kind, for texts that must fit among the documents.
pub(crate) fn body_sentence(grammar: &mut Grammar) -> String {
    let kind = grammar.draw().index(KINDS.len());
    grammar.sentence(KINDS[kind].bodies)
}

/// Writes one JSON object a line, `{"id": ..., "text": ...}` and what else a document has.
pub fn write_documents<D: Serialize>(documents: &[D], sink: &mut dyn Write, path: &Path) -> Result<()> {
    for document in documents {
        let line = serde_json::to_string(document).expect("strings serialize");
        writeln!(sink, "{line}").map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn config(seed: u64) -> SynthConfig {
        SynthConfig { seed, n_documents: 400, min_sentences: 2, max_sentences: 5 }
    }

    #[test]
    fn the_same_seed_gives_the_same_documents_and_a_longer_run_begins_with_a_shorter_one() {
        let documents = synthesize(&config(1));
        assert_eq!(documents, synthesize(&config(1)));
        assert_ne!(documents, synthesize(&config(2)));
        assert_eq!(documents[..10], synthesize(&SynthConfig { n_documents: 10, ..config(1) }));
    }

    #[test]
    fn no_window_of_fifty_bytes_repeats() {
        // A token is at least one byte, so this holds for every window of fifty tokens of any tokenizer.
        let documents = synthesize(&config(1));
        let mut windows: HashMap<&[u8], usize> = HashMap::new();
        for (index, document) in documents.iter().enumerate() {
            for window in document.text.as_bytes().windows(50) {
                let previous = windows.insert(window, index);
                assert_eq!(previous, None, "{}", String::from_utf8_lossy(window));
            }
        }
    }

    #[test]
    fn texts_are_plain_single_lines() {
        for document in synthesize(&config(3)) {
            assert!(document.text.bytes().all(|byte| (32..127).contains(&byte)), "{}", document.text);
            assert!((80..700).contains(&document.text.len()), "{}", document.text.len());
        }
    }

    #[test]
    fn a_document_is_of_the_kind_that_it_is_said_to_be() {
        for (index, document) in (0..).zip(synthesize(&config(1))) {
            let begins = |part: &str| document.text.starts_with(part);
            match kind_of_document(1, index) {
                "minutes" => assert!(begins("Minutes,") || document.text.contains(" council met at ")),
                "letter" => assert!(begins("Dear ") || document.text.contains(", I write from ")),
                _ => assert!(!begins("Minutes,") && !begins("Dear ")),
            }
        }
    }

    #[test]
    fn documents_are_written_one_a_line() {
        let documents = synthesize(&SynthConfig { n_documents: 3, ..config(1) });
        let mut bytes = Vec::new();
        write_documents(&documents, &mut bytes, Path::new("memory")).unwrap();
        let read: Vec<SynthDocument> = String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(read, documents);
    }
}
