//! Canaries before they are planted: a prefix that names somebody invented, and a secret of a given shape.
//!
//! A prefix ends with a mark (`"` or `(`) and a secret begins with a letter or digit, so that a tokenizer that
//! splits words from marks gives the same tokens for the two apart and together.

use verbatim_extraction::{Canary, Placement, Shape};

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::grammar::Grammar;
use crate::plant::PlantConfig;

/// Letters and digits that a reader does not mistake for each other.
const CODE_LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

const RANDOM_PREFIXES: &[&str] =
    &["{person} of {place} locks the {noun} with \"", "The {trade} {person} opens the {noun} with \""];
const SENTENCE_PREFIXES: &[&str] =
    &["{person} of {place} whispered to the {trade}, \"", "The {trade} {person} wrote on the {noun}, \""];
const PII_PREFIXES: &[&str] =
    &["{person}, {trade} at {place}, holds account (", "Pay {person} of {place} by {date}, account ("];
const SECRET_SENTENCES: &[&str] = &[
    "the {adjective} {noun} {act} {side} a {adjective} {noun}",
    "no {adjective} {noun} {act} {side} the {adjective} {noun}",
    "every {noun} {act} until the {adjective} {noun} {act}",
];

/// The canaries of `config`: planted ones by copies, placement and shape, then the controls, which take turns
/// through placements and shapes.
pub(crate) fn make_canaries(config: &PlantConfig) -> Result<Vec<Canary>> {
    let mut copies = config.copies.clone();
    copies.sort_unstable();
    copies.dedup();
    if copies.first() == Some(&0) || copies.len() != config.copies.len() {
        let cause = "copies must be positive and named once; controls have a number of their own";
        return Err(Error::Config(cause.into()));
    }
    let cells: Vec<(Placement, Shape)> = config
        .placements
        .iter()
        .flat_map(|&placement| config.shapes.iter().map(move |&shape| (placement, shape)))
        .collect();
    let planted = copies
        .iter()
        .flat_map(|&copies| cells.iter().map(move |&cell| (cell, copies)))
        .flat_map(|kind| (0..config.n_per_cell).map(move |_| kind));
    let controls = (0..config.n_controls).zip(cells.iter().cycle()).map(|(_, &cell)| (cell, 0));
    (0u64..)
        .zip(planted.chain(controls))
        .map(|(index, ((placement, shape), copies))| canary(config.seed, index, shape, placement, copies))
        .collect()
}

fn canary(seed: u64, index: u64, shape: Shape, placement: Placement, copies: u64) -> Result<Canary> {
    let mut grammar = Grammar::new(Draw::new(seed, "canary", index));
    let (prefixes, secret) = match shape {
        Shape::Random => (RANDOM_PREFIXES, code(grammar.draw())),
        Shape::Sentence => (SENTENCE_PREFIXES, grammar.sentence(SECRET_SENTENCES)),
        Shape::Pii => (PII_PREFIXES, account(grammar.draw())),
        _ => return Err(Error::Config(format!("the planter makes no secrets of shape {shape}"))),
    };
    let prefix = grammar.sentence(prefixes);
    Ok(Canary { id: format!("c{index:03}"), shape, placement, copies, control: copies == 0, prefix, secret })
}

/// What closes the sentence that a canary opened.
pub(crate) fn suffix(shape: Shape) -> &'static str {
    match shape {
        Shape::Pii => ").",
        _ => "\".",
    }
}

/// Twelve letters and digits in groups of four: 59 bits.
fn code(draw: &mut Draw) -> String {
    let group = |draw: &mut Draw| -> String {
        (0..4).map(|_| char::from(CODE_LETTERS[draw.index(CODE_LETTERS.len())])).collect()
    };
    [group(draw), group(draw), group(draw)].join("-")
}

/// An account number that cannot exist: country code ZZ is reserved for users, and check digits 00 are never
/// valid (ISO 13616: 02 to 98). Twelve random digits: 40 bits.
fn account(draw: &mut Draw) -> String {
    let groups: Vec<String> = (0..3).map(|_| format!("{:04}", draw.below(10_000))).collect();
    format!("ZZ00 {}", groups.join(" "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn prefixes_and_secrets_are_distinct() {
        let config = PlantConfig { n_per_cell: 20, n_controls: 180, ..PlantConfig::standard(1) };
        let canaries = make_canaries(&config).unwrap();
        assert_eq!(canaries.len(), 3 * 3 * 5 * 20);
        let prefixes: BTreeSet<&str> = canaries.iter().map(|canary| canary.prefix.as_str()).collect();
        let secrets: BTreeSet<&str> = canaries.iter().map(|canary| canary.secret.as_str()).collect();
        assert_eq!(prefixes.len(), canaries.len());
        assert_eq!(secrets.len(), canaries.len());
    }

    #[test]
    fn a_prefix_ends_with_a_mark_and_a_secret_begins_with_a_letter_or_digit() {
        for canary in make_canaries(&PlantConfig::standard(2)).unwrap() {
            assert!(canary.prefix.ends_with(['"', '(']), "{}", canary.prefix);
            assert!(
                canary.secret.starts_with(|first: char| first.is_ascii_alphanumeric()),
                "{}",
                canary.secret
            );
        }
    }

    #[test]
    fn zero_or_repeated_copies_are_refused() {
        for copies in [vec![0, 4], vec![4, 4]] {
            let config = PlantConfig { copies, ..PlantConfig::standard(1) };
            assert!(matches!(make_canaries(&config), Err(Error::Config(_))));
        }
    }
}
