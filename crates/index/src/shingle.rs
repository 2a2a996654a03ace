//! N-grams of a text as a set of 64-bit hashes: words, characters, bytes or tokens.
//!
//! Each unit is hashed once (xxh3), an n-gram's hash rolls over its units, and nothing is allocated for a single
//! n-gram. The hashes are the same on every platform, and golden values in the tests keep them so.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::normalize::Normalizer;

/// The longest shingle that is accepted, in units.
pub(crate) const MAX_UNITS: usize = 1024;

/// Turns a text into token ids.
pub type TokenFn = Arc<dyn Fn(&str) -> Vec<u32> + Send + Sync>;

/// What a shingle is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Words by the boundaries of Unicode Annex 29. Pieces without a letter or digit (punctuation, spaces) are
    /// dropped. Scripts written without spaces yield one word for each ideograph (Han) or letter (Thai).
    Word,
    /// Unicode scalar values.
    Char,
    /// Bytes of the UTF-8 text.
    Byte,
    /// Token ids of a tokenizer.
    Token,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Unit; 4] = [Unit::Word, Unit::Char, Unit::Byte, Unit::Token];

    /// The name used on the command line and in plans.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Word => "word",
            Unit::Char => "char",
            Unit::Byte => "byte",
            Unit::Token => "token",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Unit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Unit::ALL
            .into_iter()
            .find(|unit| unit.name() == name)
            .ok_or_else(|| Error::UnknownUnit(name.to_owned()))
    }
}

/// Cuts normalised texts into shingles.
#[derive(Clone)]
pub struct Shingler {
    unit: Unit,
    n: usize,
    normalizer: Normalizer,
    tokens: Option<TokenFn>,
}

impl fmt::Debug for Shingler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shingler")
            .field("unit", &self.unit)
            .field("n", &self.n)
            .field("normalizer", &self.normalizer)
            .finish_non_exhaustive()
    }
}

impl Shingler {
    /// Shingles of `n` units, 1 to 1024; [`Unit::Token`] needs `tokens`.
    pub fn new(unit: Unit, n: usize, normalizer: Normalizer, tokens: Option<TokenFn>) -> Result<Self> {
        if !(1..=MAX_UNITS).contains(&n) {
            return Err(Error::ShingleLength(n));
        }
        if unit == Unit::Token && tokens.is_none() {
            return Err(Error::NoTokenizer);
        }
        Ok(Shingler { unit, n, normalizer, tokens })
    }

    /// What a shingle is made of.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Units in a shingle.
    pub fn n(&self) -> usize {
        self.n
    }

    /// What happens to a text before it is cut.
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// The set of shingles of a text.
    ///
    /// A text of fewer than n units is one shingle, the whole text, that equals no n-gram; a text without a
    /// single unit (`"!!!"` has no word) is one shingle of its bytes. Only the empty text has no shingle.
    pub fn shingles(&self, text: &str) -> Shingles {
        let mut hashes = Vec::new();
        self.for_each_hash(text, |hash| hashes.push(hash));
        hashes.sort_unstable();
        hashes.dedup();
        Shingles { hashes }
    }

    /// Calls `visit` with the hash of each shingle in text order, repeats included.
    ///
    /// This is the same multiset that [`Shingler::shingles`] makes a set of, without holding it in memory.
    pub fn for_each_hash(&self, text: &str, mut visit: impl FnMut(u64)) {
        let text = self.normalizer.apply(text);
        let mut roller = Roller::new(self.n);
        let mut push = |unit: u64| {
            if let Some(hash) = roller.push(unit) {
                visit(hash);
            }
        };
        match self.unit {
            Unit::Word => each_word(&text).for_each(|word| push(xxh3_64(word.as_bytes()))),
            Unit::Char => text.chars().for_each(|c| push(mix(u64::from(u32::from(c))))),
            Unit::Byte => text.bytes().for_each(|b| push(mix(u64::from(b)))),
            Unit::Token => {
                let tokens = self.tokens.as_ref().expect("`new` refuses token shingles without a tokenizer");
                tokens(&text).into_iter().for_each(|token| push(mix(u64::from(token))));
            }
        }
        match roller.n_units {
            0 if text.is_empty() => {}
            0 => visit(whole_text(xxh3_64(text.as_bytes()), 0)),
            n_units if n_units < self.n => visit(whole_text(roller.hash, n_units)),
            _ => {}
        }
    }
}

/// The words of a text by Unicode Annex 29, without pieces that hold no letter or digit.
///
/// A line feed always parts words (rule WB3b), so cutting at line feeds first changes nothing, but lets each line
/// of plain ASCII take the segmenter's fast path even where other lines of the document are not ASCII.
///
/// ```
/// assert_eq!(verbatim_index::words("To be, or not?"), ["To", "be", "or", "not"]);
/// ```
pub fn words(text: &str) -> Vec<&str> {
    each_word(text).collect()
}

fn each_word(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.unicode_words())
}

/// A rolling polynomial hash, modulo 2^64, over the hashes of the last n units.
struct Roller {
    ring: Vec<u64>,
    next: usize,
    n_units: usize,
    hash: u64,
    /// BASE to the power n: what the unit that leaves the window was multiplied with.
    weight: u64,
}

/// An odd number with well-spread bits (the golden ratio times 2^64).
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

impl Roller {
    fn new(n: usize) -> Self {
        let weight = (0..n).fold(1u64, |power, _| power.wrapping_mul(BASE));
        Roller { ring: vec![0; n], next: 0, n_units: 0, hash: 0, weight }
    }

    /// Takes the next unit; the hash of the n-gram that it ends, if n units have been seen.
    fn push(&mut self, unit: u64) -> Option<u64> {
        let leaving = std::mem::replace(&mut self.ring[self.next], unit);
        self.next = if self.next + 1 == self.ring.len() { 0 } else { self.next + 1 };
        self.hash =
            self.hash.wrapping_mul(BASE).wrapping_add(unit).wrapping_sub(leaving.wrapping_mul(self.weight));
        self.n_units += 1;
        // The top bit tells n-grams (0) from whole texts (1), so that the two never meet.
        (self.n_units >= self.ring.len()).then(|| mix(self.hash) >> 1)
    }
}

fn whole_text(hash: u64, n_units: usize) -> u64 {
    mix(hash ^ mix(n_units as u64)) | 1 << 63
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection in which each bit reaches all others.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(BASE);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The set of a text's shingles: sorted, unique 64-bit hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shingles {
    hashes: Vec<u64>,
}

impl Shingles {
    /// The hashes, ascending, each once.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Number of different shingles.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// True for the shingles of an empty text.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The exact Jaccard similarity as counts: (shingles in both, shingles in either).
    ///
    /// ```
    /// use verbatim_index::{Normalizer, Shingler, Unit};
    /// let shingler = Shingler::new(Unit::Word, 2, Normalizer::default(), None)?;
    /// let (a, b) = (shingler.shingles("to be or not to be"), shingler.shingles("to be or not"));
    /// assert_eq!(a.jaccard(&b), (3, 4));
    /// # Ok::<(), verbatim_index::Error>(())
    /// ```
    pub fn jaccard(&self, other: &Shingles) -> (usize, usize) {
        let (a, b) = (&self.hashes, &other.hashes);
        let (mut i, mut j, mut both) = (0, 0, 0);
        while i < a.len() && j < b.len() {
            let (x, y) = (a[i], b[j]);
            both += usize::from(x == y);
            i += usize::from(x <= y);
            j += usize::from(y <= x);
        }
        (both, a.len() + b.len() - both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shingler(unit: Unit, n: usize) -> Shingler {
        let tokens: TokenFn = Arc::new(|text| text.split(' ').map(|word| word.len() as u32).collect());
        Shingler::new(unit, n, Normalizer::default(), Some(tokens)).unwrap()
    }

    fn similarity(unit: Unit, n: usize, a: &str, b: &str) -> (usize, usize) {
        let shingler = shingler(unit, n);
        shingler.shingles(a).jaccard(&shingler.shingles(b))
    }

    #[test]
    fn units_are_what_they_say() {
        assert_eq!(similarity(Unit::Word, 1, "The can't-stop, 3.14!", "3.14 stop THE can't"), (3, 5));
        assert_eq!(similarity(Unit::Char, 1, "añb", "bña"), (3, 3));
        assert_eq!(similarity(Unit::Byte, 1, "ñ", "\u{c3}"), (1, 3));
        assert_eq!(similarity(Unit::Token, 2, "a bb ccc", "x yy"), (1, 2));
    }

    #[test]
    fn words_of_scripts_without_spaces_are_single_letters() {
        assert_eq!(shingler(Unit::Word, 1).shingles("床前明月光，疑是地上霜。").len(), 10);
        assert!(shingler(Unit::Word, 1).shingles("ภาษาไทย").len() > 3);
    }

    #[test]
    fn peer_data_juicer_short_documents_are_not_one_class() {
        // Shorter than n: one whole-text shingle, so "cat" equals "cat" but neither "dog" nor an n-gram.
        assert_eq!(similarity(Unit::Word, 5, "cat", "cat"), (1, 1));
        assert_eq!(similarity(Unit::Word, 5, "cat", "dog"), (0, 2));
        assert_eq!(similarity(Unit::Word, 5, "cat cat", "cat"), (0, 2));
        assert_eq!(similarity(Unit::Word, 5, "!!!", "???"), (0, 2));
        assert_eq!(similarity(Unit::Word, 1, "cat", "cat cat").0, 1);
        for n in 2..5 {
            let whole = shingler(Unit::Word, n + 1).shingles("a b c d e f".split_at(2 * n).0);
            let grams = shingler(Unit::Word, n).shingles("a b c d e f");
            assert_eq!(whole.jaccard(&grams).0, 0);
        }
    }

    #[test]
    fn the_empty_text_has_no_shingle() {
        for unit in Unit::ALL.into_iter().filter(|&unit| unit != Unit::Token) {
            assert!(shingler(unit, 3).shingles("").is_empty());
            assert!(!shingler(unit, 3).shingles(" ").is_empty());
        }
    }

    #[test]
    fn hashes_are_stable_across_platforms_and_versions() {
        // Computed by a Python script from the description in this file, with the xxhash package of PyPI. A change
        // here makes stored plans and indexes mean something else.
        let hashes = |n, text| shingler(Unit::Word, n).shingles(text).hashes().to_vec();
        assert_eq!(hashes(2, "to be or"), [1501283881162364087, 3619114513265412194]);
        assert_eq!(hashes(5, "to be"), [11877969312924185181]);
    }

    #[test]
    fn impossible_shinglers_are_refused() {
        for n in [0, MAX_UNITS + 1] {
            assert!(matches!(
                Shingler::new(Unit::Word, n, Normalizer::default(), None),
                Err(Error::ShingleLength(_))
            ));
        }
        assert!(matches!(
            Shingler::new(Unit::Token, 5, Normalizer::default(), None),
            Err(Error::NoTokenizer)
        ));
    }

    proptest! {
        #[test]
        fn shingle_sets_equal_the_naive_windows(a in "[ab é\n]{0,30}", b in "[ab é\n]{0,30}", n in 1usize..5) {
            for unit in [Unit::Word, Unit::Char] {
                let naive = |text: &str| -> BTreeSet<Vec<String>> {
                    let units: Vec<String> = match unit {
                        Unit::Word => text.unicode_words().map(str::to_owned).collect(),
                        _ => text.chars().map(String::from).collect(),
                    };
                    match (text.is_empty(), units.len() < n) {
                        (true, _) => BTreeSet::new(),
                        // A marker keeps whole texts apart from n-grams.
                        (_, true) if units.is_empty() => BTreeSet::from([vec!["bytes".into(), text.into()]]),
                        (_, true) => BTreeSet::from([[vec!["whole".into()], units].concat()]),
                        _ => units.windows(n).map(<[String]>::to_vec).collect(),
                    }
                };
                let (x, y) = (naive(&a), naive(&b));
                let expected = (x.intersection(&y).count(), x.union(&y).count());
                prop_assert_eq!(similarity(unit, n, &a, &b), expected);
            }
        }

        #[test]
        fn cutting_at_line_feeds_changes_no_word(text in "[a-c1.,' \r\n\u{2028}\u{300}\u{200d}éא\"床]{0,40}") {
            let expected: Vec<&str> = text.unicode_words().collect();
            prop_assert_eq!(words(&text), expected);
        }
    }
}
