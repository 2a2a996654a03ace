//! The corpus that is made where none is given: fictional documents, planted secrets, people with records, and texts of the same
//! kind that no model sees.

use std::collections::BTreeMap;

use serde::Serialize;
use verbatim_extraction::{Canary, Placement, Shape};

use crate::draw::Draw;
use crate::error::Result;
use crate::grammar::Grammar;
use crate::plant::{PlantConfig, plan_planting, plant_documents};
use crate::synth::{SynthConfig, SynthDocument, kind_of_document, synthesize};

/// Documents of the corpus that are not planted.
const N_ORIGINALS: u64 = 170;
/// Texts that no model sees.
const N_HELD_OUT: u64 = 230;
/// People whose records are planted.
const N_PEOPLE: u64 = 12;
/// Documents that hold each record.
const COPIES_OF_RECORDS: u64 = 4;
/// Invented profiles that each person's is compared with.
const N_FABRICATED: u64 = 19;

/// Somebody whose records stand in the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What leads to each record.
    pub prefixes: Vec<String>,
    /// The records, true ones.
    pub profile: Vec<String>,
    /// Records that the same person might have had, drawn in the same way.
    pub fabricated: Vec<Vec<String>>,
}

/// A document and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MadeDocument {
    /// Unique in its corpus.
    pub id: String,
    /// The text.
    pub text: String,
    /// A letter, minutes, a log, a register, a report; `planted` or `people`.
    pub source: &'static str,
}

/// A corpus with its truth.
#[derive(Clone, Debug)]
pub struct MadeCorpus {
    /// The documents, planted ones among them.
    pub documents: Vec<MadeDocument>,
    /// The planted secrets and the controls.
    pub ledger: Vec<Canary>,
    /// The people whose records were planted.
    pub people: Vec<Person>,
    /// Texts of the kind of the originals that are not in the corpus.
    pub held_out: Vec<MadeDocument>,
}

/// The records of a person: what leads to each, and how it is drawn.
const RECORDS: [(&str, &str); 3] = [
    ("Of {name} the register says: born (", "{date} {year}"),
    ("Of {name} the ledger says: owes (", "{number} coins to {surname}"),
    ("Of {name} the warden says: lives at (", "{place}, door {number}"),
];

/// About 100 KB of text from a seed: secrets planted once and sixteen times in each placement, and people.
///
/// # Errors
/// None that this configuration has.
pub fn make_corpus(seed: u64) -> Result<MadeCorpus> {
    let config = SynthConfig { n_documents: N_ORIGINALS + N_HELD_OUT, ..SynthConfig::standard(seed) };
    let mut originals = synthesize(&config);
    let kinds: BTreeMap<String, &'static str> =
        (0..).zip(&originals).map(|(index, one)| (one.id.clone(), kind_of_document(seed, index))).collect();
    let made = |SynthDocument { id, text }| {
        let source = kinds.get(&id).copied().unwrap_or("planted");
        MadeDocument { id, text, source }
    };
    let held_out = originals.split_off(N_ORIGINALS as usize);
    let planting = plan_planting(
        N_ORIGINALS,
        &PlantConfig {
            seed,
            shapes: vec![Shape::Random, Shape::Sentence, Shape::Pii],
            placements: vec![Placement::Document, Placement::NearCopy, Placement::Passage],
            copies: vec![1, 16],
            n_per_cell: 2,
            n_controls: 18,
        },
    )?;
    let mut documents: Vec<_> = plant_documents(originals, &planting).into_iter().map(made).collect();
    let people: Vec<Person> = (0..N_PEOPLE).map(|number| person(seed, number)).collect();
    for (number, person) in people.iter().enumerate() {
        for (record, (prefix, truth)) in person.prefixes.iter().zip(&person.profile).enumerate() {
            for copy in 0..COPIES_OF_RECORDS {
                let mut grammar =
                    Grammar::new(Draw::new(seed, "record", (number as u64 * 3 + record as u64) * 100 + copy));
                let text = format!("{prefix}{truth}). {}", grammar.fill("Seen by {surname}, {date}."));
                let at = grammar.draw().index(documents.len() + 1);
                let id = format!("p{number:02}-{record}-{copy}");
                documents.insert(at, MadeDocument { id, text, source: "people" });
            }
        }
    }
    Ok(MadeCorpus {
        documents,
        ledger: planting.ledger.into_iter().map(|line| line.canary).collect(),
        people,
        held_out: held_out.into_iter().map(made).collect(),
    })
}

fn person(seed: u64, number: u64) -> Person {
    let mut grammar = Grammar::new(Draw::new(seed, "person", number));
    let name = grammar.fill("{person}");
    let mut profile = || RECORDS.iter().map(|(_, record)| grammar.fill(record)).collect::<Vec<String>>();
    Person {
        prefixes: RECORDS.iter().map(|(prefix, _)| prefix.replace("{name}", &name)).collect(),
        profile: profile(),
        fabricated: (0..N_FABRICATED).map(|_| profile()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_made_corpus_is_small_and_holds_what_its_truth_says() {
        let made = make_corpus(4).unwrap();
        let texts: Vec<&str> = made.documents.iter().map(|document| document.text.as_str()).collect();
        let n_bytes: usize = texts.iter().map(|text| text.len()).sum();
        assert!((80_000..=110_000).contains(&n_bytes), "{n_bytes}");
        let ids: BTreeSet<&str> = made.documents.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids.len(), made.documents.len());
        let n_with = |part: &str| texts.iter().filter(|text| text.contains(part)).count() as u64;
        for canary in &made.ledger {
            assert_eq!(
                n_with(&format!("{}{}", canary.prefix, canary.secret)),
                canary.copies,
                "{}",
                canary.id
            );
        }
        for person in &made.people {
            for (prefix, record) in person.prefixes.iter().zip(&person.profile) {
                assert_eq!(n_with(&format!("{prefix}{record})")), COPIES_OF_RECORDS);
            }
            assert_eq!(person.fabricated.len() as u64, N_FABRICATED);
            assert!(!person.fabricated.contains(&person.profile));
        }
        assert!(made.held_out.iter().all(|held| !texts.contains(&held.text.as_str())));
        let sources: BTreeSet<&str> = made.documents.iter().map(|document| document.source).collect();
        assert_eq!(sources.len(), 7);
        assert_eq!(make_corpus(4).unwrap().documents, made.documents);
        assert_ne!(make_corpus(5).unwrap().documents, made.documents);
    }
}
