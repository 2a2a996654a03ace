//! Which texts could have stood in the place of a secret: its format, read off the secrets of its ledger, and references
//! drawn from it.
//!
//! A ledger has texts and no generator. What varies between secrets of one make is taken as drawn, what does not as
//! given: references that differ where no secret does would be less likely for a reason that is not memory, and would
//! raise every exposure. So the format errs on the narrow side. A secret's own characters and words are among what is
//! drawn from, so that a secret which was not learnt is one of its references as good as any, and ranks anywhere; the
//! controls, which are treated alike, show whether that holds.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::canary::{Canary, Shape};
use crate::template::{DIGITS, LOWER, Template, UPPER, below};

/// Secrets of one make that tell what varies; fewer may agree by chance.
const MIN_ALIKE: usize = 4;

/// Observations for each character seen, from which on a character that was not seen is taken as never drawn.
const SEEN_OFTEN: usize = 10;

/// How much of the space may be drawn from at random; a smaller space is gone through in a shuffled order.
const SPARSE: u64 = 4;

/// The format of one secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Format {
    /// The canary's prefix, and what may stand where the secret stands.
    pub(crate) template: Template,
    /// Secrets of the ledger that it was read off, this one among them; 1 when its characters alone tell it.
    pub(crate) n_alike: u64,
}

/// References for a secret.
pub(crate) struct References {
    /// Texts of the secret's format that are no secret of the ledger, each once.
    pub(crate) texts: Vec<String>,
    /// log2 of the number of texts that could have been drawn, the secret among them.
    pub(crate) space_bits: f64,
}

/// The format of each canary's secret, in the order of the ledger.
pub(crate) fn formats(ledger: &[Canary]) -> Vec<Format> {
    let mut groups: BTreeMap<(Shape, Vec<String>), Vec<&Canary>> = BTreeMap::new();
    for canary in ledger {
        groups.entry((canary.shape, make(canary))).or_default().push(canary);
    }
    let words = groups.iter().filter(|((shape, _), _)| *shape == Shape::Sentence);
    let frames: BTreeMap<&[String], BTreeSet<(usize, &str)>> =
        words.map(|((_, make), group)| (&make[..], frame(group))).collect();
    let format = |canary: &Canary| {
        let make = make(canary);
        let group = &groups[&(canary.shape, make.clone())];
        let (slots, n_alike) = match canary.shape {
            Shape::Sentence => word_slots(canary, group, &frames[&make[..]]),
            _ => character_slots(canary, group),
        };
        Format { template: Template::new(canary.prefix.clone(), slots), n_alike: n_alike as u64 }
    };
    ledger.iter().map(format).collect()
}

/// A template for each canary: its prefix, and the format of its secret.
pub fn canary_templates(ledger: &[Canary]) -> Vec<Template> {
    formats(ledger).into_iter().map(|format| format.template).collect()
}

/// Up to `n` references; they depend on the seed, the canary and its format only.
pub(crate) fn references(
    format: &Format,
    canary: &Canary,
    ledger: &[Canary],
    (n, seed): (usize, u64),
) -> References {
    let template = &format.template;
    let key = xxh3_64_with_seed(canary.id.as_bytes(), seed);
    let planted: BTreeSet<&str> = ledger.iter().map(|other| other.secret.as_str()).collect();
    let is_small = |space: &u64| *space <= SPARSE * (n as u64 + planted.len() as u64);
    if let Some(space) = template.n_fillings().filter(is_small) {
        let mut all: Vec<String> = (0..space).map(|number| template.filling(number)).collect();
        all.retain(|text| !planted.contains(text.as_str()));
        for last in (1..all.len()).rev() {
            let bits = xxh3_64_with_seed(&(last as u64).to_le_bytes(), key);
            all.swap(last, below(bits, last + 1));
        }
        let space_bits = ((all.len() + 1) as f64).log2();
        all.truncate(n);
        return References { texts: all, space_bits };
    }
    let (mut texts, mut drawn) = (Vec::with_capacity(n), BTreeSet::new());
    let mut numbers = 0..;
    while texts.len() < n {
        // At least three quarters of the space are free, so this ends soon.
        let text = template.draw(key, numbers.next().expect("64 bits of numbers"));
        if !planted.contains(text.as_str()) && drawn.insert(text.clone()) {
            texts.push(text);
        }
    }
    References { texts, space_bits: template.space_bits() }
}

/// What secrets of one make have in common: the number of words of a sentence, and else the number of characters and
/// the marks between them.
fn make(canary: &Canary) -> Vec<String> {
    match canary.shape {
        Shape::Sentence => vec![String::new(); canary.secret.split(' ').count()],
        _ => canary
            .secret
            .chars()
            .map(|character| if character.is_alphanumeric() { String::new() } else { character.into() })
            .collect(),
    }
}

/// The words of sentences of one length that their templates have in common: those that stand at their place in a fifth
/// of the sentences, and in two at least.
fn frame<'a>(group: &[&'a Canary]) -> BTreeSet<(usize, &'a str)> {
    let secrets: BTreeSet<&str> = group.iter().map(|canary| canary.secret.as_str()).collect();
    let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for secret in &secrets {
        for place in secret.split(' ').enumerate() {
            *counts.entry(place).or_default() += 1;
        }
    }
    let least = secrets.len().div_ceil(5).max(2);
    counts.into_iter().filter(|(_, count)| *count >= least).map(|(place, _)| place).collect()
}

/// A sentence's frame stays, and each other word is drawn from those that stand there in the controls with the same frame,
/// and itself: words that were never planted with such a secret, as is the question of exposure. Without enough controls
/// the planted sentences lend theirs.
fn word_slots(
    canary: &Canary,
    group: &[&Canary],
    frame: &BTreeSet<(usize, &str)>,
) -> (Vec<Vec<String>>, usize) {
    let framed = |secret: &str| -> Vec<String> {
        let places = secret.split(' ').enumerate();
        places.map(|place| if frame.contains(&place) { place.1.to_owned() } else { String::new() }).collect()
    };
    let own = framed(&canary.secret);
    let alike: Vec<&&Canary> = group.iter().filter(|other| framed(&other.secret) == own).collect();
    let secrets = |controls_only: bool| -> BTreeSet<&str> {
        let lent =
            alike.iter().filter(|other| other.control || !controls_only || other.secret == canary.secret);
        lent.map(|other| other.secret.as_str()).collect()
    };
    let lent = Some(secrets(true)).filter(|lent| lent.len() >= MIN_ALIKE).unwrap_or_else(|| secrets(false));
    let slots = own.iter().enumerate().map(|(place, fixed)| {
        let space = if place == 0 { "" } else { " " };
        let own = canary.secret.split(' ').nth(place).unwrap_or_default();
        let words: BTreeSet<&str> = match fixed.as_str() {
            "" if own.is_empty() => [own].into(),
            "" => lent.iter().filter_map(|secret| secret.split(' ').nth(place)).collect(),
            fixed => [fixed].into(),
        };
        let words = words.into_iter().map(|word| format!("{space}{word}")).filter(|word| !word.is_empty());
        words.collect::<Vec<String>>()
    });
    // A blank at the beginning has an empty word before it, which is no slot.
    (slots.filter(|slot| !slot.is_empty()).collect(), lent.len())
}

/// What an alphanumeric character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Digit,
    Lower,
    Upper,
    Other,
}

impl Class {
    fn of(character: char) -> Class {
        match character {
            '0'..='9' => Class::Digit,
            'a'..='z' => Class::Lower,
            'A'..='Z' => Class::Upper,
            _ => Class::Other,
        }
    }

    /// All characters of a class; of what is not ASCII, none are known.
    fn all(self) -> &'static str {
        match self {
            Class::Digit => DIGITS,
            Class::Lower => LOWER,
            Class::Upper => UPPER,
            Class::Other => "",
        }
    }
}

/// Where secrets of one make differ, any character that stands at such a place in one of them; where all agree, that. Places
/// are such as each other when the same classes of characters stand there. Too few secrets tell nothing of each other:
/// then each letter or digit is drawn from its class.
fn character_slots(canary: &Canary, group: &[&Canary]) -> (Vec<Vec<String>>, usize) {
    let secrets: BTreeSet<&str> = group.iter().map(|canary| canary.secret.as_str()).collect();
    if secrets.len() < MIN_ALIKE {
        let own = |character: char| -> Vec<String> {
            let all: Vec<String> = Class::of(character).all().chars().map(String::from).collect();
            if all.is_empty() { vec![character.into()] } else { all }
        };
        return (canary.secret.chars().map(own).collect(), 1);
    }
    let n_places = canary.secret.chars().count();
    let mut seen: Vec<BTreeSet<char>> = vec![BTreeSet::new(); n_places];
    for secret in &secrets {
        for (character, seen) in secret.chars().zip(&mut seen) {
            seen.insert(character);
        }
    }
    let classes =
        |seen: &BTreeSet<char>| -> BTreeSet<Class> { seen.iter().map(|&one| Class::of(one)).collect() };
    let mut pools: BTreeMap<BTreeSet<Class>, (BTreeSet<char>, usize)> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.len() > 1) {
        let (pool, n_seen) = pools.entry(classes(seen)).or_default();
        pool.extend(seen);
        *n_seen += secrets.len();
    }
    for (classes, (pool, n_seen)) in &mut pools {
        if *n_seen < SEEN_OFTEN * pool.len() {
            pool.extend(classes.iter().flat_map(|class| class.all().chars()));
        }
    }
    let slot = |seen: &BTreeSet<char>| -> Vec<String> {
        let drawn = if seen.len() > 1 { &pools[&classes(seen)].0 } else { seen };
        drawn.iter().map(|&character| character.into()).collect()
    };
    (seen.iter().map(slot).collect(), secrets.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::canary;

    fn shaped(shape: Shape, secrets: &[&str]) -> Vec<Canary> {
        let canaries = secrets.iter().enumerate();
        // Every other one is a control.
        let of = |(i, secret): (usize, &&str)| Canary {
            shape,
            ..canary(&format!("c{i}"), (i as u64 + 1) % 2, "prefix ", secret)
        };
        canaries.map(of).collect()
    }

    fn slots(format: &Format) -> Vec<String> {
        format.template.slots().iter().map(|slot| slot.join("")).collect()
    }

    #[test]
    fn what_no_secret_varies_is_given_and_what_varies_is_drawn() {
        let ledger = shaped(Shape::Pii, &["ZZ00 12", "ZZ00 34", "ZZ00 56", "ZZ00 90", "ZZ00 78"]);
        let format = &formats(&ledger)[0];
        let digits = "0123456789";
        assert_eq!(slots(format), ["Z", "Z", "0", "0", " ", digits, digits]);
        assert_eq!((format.n_alike, format.template.prefix()), (5, "prefix "));
        // Another length, or other marks, is another make: its own characters tell its classes.
        let ledger = [ledger, shaped(Shape::Pii, &["Ab-7é"])].concat();
        let other = &formats(&ledger)[5];
        let (upper, lower) = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(
            (slots(other), other.n_alike),
            (vec![upper.into(), lower.into(), "-".into(), digits.into(), "é".into()], 1)
        );
    }

    /// An alphabet that was seen often enough is the alphabet, however odd.
    #[test]
    fn letters_that_are_never_drawn_are_left_out_once_enough_were() {
        let secrets: Vec<String> = (0..40u32)
            .map(|i| {
                (0..6).map(|j| ['a', 'c', 'x', '2', '7'][(i * 7 + i / 5 * j + j) as usize % 5]).collect()
            })
            .collect();
        let texts: Vec<&str> = secrets.iter().map(String::as_str).collect();
        assert!(slots(&formats(&shaped(Shape::Random, &texts))[0]).iter().all(|slot| slot == "27acx"));
        let few = &formats(&shaped(Shape::Random, &texts[..6]))[0];
        assert!(few.template.slots().iter().all(|slot| slot.len() >= 10), "{:?}", slots(few));
    }

    #[test]
    fn words_are_drawn_from_the_controls_with_the_same_frame() {
        let secrets = [
            "the red fox sits by a hill",
            "the old cat runs by a lake",
            "the new dog eats by a tree",
            "the big hen rests by a pond",
            "the wet owl naps by a gate",
            "the sad pig digs by a road",
            "the dry bee hums by a wall",
            "the shy ant hides by a rock",
        ];
        let ledger = shaped(Shape::Sentence, &secrets);
        let formats = formats(&ledger);
        // The second, fourth, sixth and eighth are controls.
        let control = &formats[1];
        assert_eq!(control.template.slots()[1], [" big", " old", " sad", " shy"]);
        assert_eq!(
            (control.template.slots()[0].len(), control.template.slots()[4].len(), control.n_alike),
            (1, 1, 4)
        );
        let planted = &formats[0];
        assert_eq!(planted.template.slots()[1], [" big", " old", " red", " sad", " shy"]);
        assert_eq!(planted.template.n_fillings(), Some(5 * 5 * 5 * 5));
        let drawn = references(planted, &ledger[0], &ledger, (10_000, 1));
        assert_eq!(drawn.texts.len(), 625 - 5, "itself and the four controls are no references");
        assert!((drawn.space_bits - 621f64.log2()).abs() < 1e-12);
        assert!(drawn.texts.iter().all(|text| text.starts_with("the ") && text.contains(" by a ")));
    }

    #[test]
    fn references_are_distinct_seeded_and_no_secret_of_the_ledger() {
        let ledger = shaped(Shape::Pii, &["12", "34", "56", "90", "78"]);
        let format = &formats(&ledger)[0];
        for n in [7, 20, 90] {
            let drawn = references(format, &ledger[0], &ledger, (n, 3)).texts;
            let distinct: BTreeSet<&String> = drawn.iter().collect();
            assert_eq!((drawn.len(), distinct.len()), (n, n));
            assert!(ledger.iter().all(|canary| !drawn.contains(&canary.secret)));
            assert_eq!(drawn, references(format, &ledger[0], &ledger, (n, 3)).texts);
            assert_ne!(drawn, references(format, &ledger[0], &ledger, (n, 4)).texts);
            assert_ne!(drawn, references(format, &ledger[1], &ledger, (n, 3)).texts);
        }
        let all = references(format, &ledger[0], &ledger, (500, 3));
        assert_eq!((all.texts.len(), all.space_bits), (95, 96f64.log2()));
    }

    /// Whether a text is one alternative of each slot.
    fn fits(slots: &[Vec<String>], text: &str) -> bool {
        let Some((first, others)) = slots.split_first() else { return text.is_empty() };
        first.iter().any(|one| text.strip_prefix(one.as_str()).is_some_and(|rest| fits(others, rest)))
    }

    #[test]
    fn odd_secrets_have_formats_as_well() {
        let secrets = ["", " ", "  two  blanks ", "é", "日本", "🙂", "a"];
        for shape in [Shape::Sentence, Shape::Random, Shape::Pii] {
            let ledger = shaped(shape, &secrets);
            for (format, canary) in formats(&ledger).iter().zip(&ledger) {
                let drawn = references(format, canary, &ledger, (8, 1));
                assert!(drawn.texts.len() <= 8);
                assert!(fits(format.template.slots(), &canary.secret), "{shape}: {:?}", canary.secret);
            }
        }
    }
}
