//! N-grams of a text as a set of 64-bit hashes: words, characters, bytes or tokens.
//!
//! Each unit is hashed once (xxh3), an n-gram's hash rolls over its units, and nothing is allocated for a single
//! n-gram. The hashes are the same on every platform, and golden values in the tests keep them so.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::buffers::Buffers;
use crate::error::{Error, Result};
use crate::normalize::Normalizer;
use crate::words::Words;

/// The longest shingle that is accepted, in units.
pub(crate) const MAX_UNITS: usize = 1024;

/// Turns a text into token ids.
pub type TokenFn = Arc<dyn Fn(&str) -> Vec<u32> + Send + Sync>;

/// What a shingle is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Words, as [`Words`] defines them.
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
    words: Words,
    tokens: Option<TokenFn>,
}

impl fmt::Debug for Shingler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shingler")
            .field("unit", &self.unit)
            .field("n", &self.n)
            .field("normalizer", &self.normalizer)
            .field("words", &self.words)
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
        Ok(Shingler { unit, n, normalizer, words: Words::default(), tokens })
    }

    /// The same shingles with another definition of a word; it matters to [`Unit::Word`] only.
    pub fn with_words(self, words: Words) -> Self {
        Shingler { words, ..self }
    }

    /// What a shingle is made of.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Units in a shingle.
    pub fn n(&self) -> usize {
        self.n
    }

    /// What a word is.
    pub fn words(&self) -> Words {
        self.words
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
        self.shingles_of_normalized(self.normalize(text, &mut Buffers::default()))
    }

    /// The set of shingles of a text that [`Shingler::normalize`] returned.
    pub fn shingles_of_normalized(&self, normalized: &str) -> Shingles {
        let mut hashes = Vec::new();
        self.for_each_hash_of_normalized(normalized, |hash| hashes.push(hash));
        hashes.sort_unstable();
        hashes.dedup();
        Shingles { hashes }
    }

    /// Calls `visit` with the hash of each shingle in text order, repeats included.
    ///
    /// This is the same multiset that [`Shingler::shingles`] makes a set of, without holding it in memory.
    pub fn for_each_hash(&self, text: &str, visit: impl FnMut(u64)) {
        self.for_each_hash_of_normalized(self.normalize(text, &mut Buffers::default()), visit);
    }

    /// The text after the steps of the normalizer, for several uses of one document.
    ///
    /// ```
    /// use verbatim_index::{Buffers, Normalizer, Shingler, Step, Unit};
    /// let shingler = Shingler::new(Unit::Word, 2, Normalizer::new(vec![Step::Casefold]), None)?;
    /// let mut buffers = Buffers::default();
    /// for text in ["To be or NOT to be", "To be, or not to BE"] {
    ///     let normalized = shingler.normalize(text, &mut buffers);
    ///     assert_eq!(shingler.shingles_of_normalized(normalized), shingler.shingles(text));
    /// }
    /// # Ok::<(), verbatim_index::Error>(())
    /// ```
    pub fn normalize<'a>(&self, text: &'a str, buffers: &'a mut Buffers) -> &'a str {
        self.normalizer.apply_in(text, buffers)
    }

    /// What [`Shingler::for_each_hash`] does, for a text that [`Shingler::normalize`] returned.
    pub fn for_each_hash_of_normalized(&self, normalized: &str, visit: impl FnMut(u64)) {
        let mut small = [0; SMALL_BATCH];
        let mut large = Vec::new();
        let batch = match self.n {
            n if n <= SMALL_BATCH / 4 => &mut small[..],
            n => {
                large.resize(4 * n, 0);
                &mut large
            }
        };
        let mut roller = Roller::new(self.n, batch, visit);
        self.for_each_unit(normalized, |unit| roller.push(unit));
        roller.finish(normalized);
    }

    /// The hashes of the units of a text that [`Shingler::normalize`] returned, in text order: the sequence that shingles
    /// are windows of.
    pub fn units_of_normalized(&self, normalized: &str) -> Vec<u64> {
        let mut units = Vec::new();
        self.for_each_unit(normalized, |unit| units.push(unit));
        units
    }

    #[inline(always)]
    fn for_each_unit(&self, normalized: &str, mut visit: impl FnMut(u64)) {
        let bytes = normalized.as_bytes();
        match self.unit {
            Unit::Word => self.words.for_each(normalized, |place| visit(xxh3_64(&bytes[place]))),
            Unit::Char => normalized.chars().for_each(|c| visit(mix(u64::from(u32::from(c))))),
            Unit::Byte => bytes.iter().for_each(|&byte| visit(mix(u64::from(byte)))),
            Unit::Token => {
                let tokens = self.tokens.as_ref().expect("`new` refuses token shingles without a tokenizer");
                tokens(normalized).into_iter().for_each(|token| visit(mix(u64::from(token))));
            }
        }
    }
}

/// Units whose hashes are kept without asking for memory.
const SMALL_BATCH: usize = 256;

/// A rolling polynomial hash, modulo 2^64, over the hashes of the last n units. Units are taken in batches, so that the
/// loop over a batch holds all it needs in registers.
struct Roller<'a, F> {
    n: usize,
    /// The n units before the batch (zeros at the start), and the batch.
    batch: &'a mut [u64],
    /// Where the next unit goes.
    end: usize,
    /// Units before the batch.
    n_rolled: usize,
    hash: u64,
    /// BASE to the power n: what the unit that leaves the window was multiplied with.
    weight: u64,
    visit: F,
}

impl<'a, F: FnMut(u64)> Roller<'a, F> {
    /// `batch` is zeros, and more than n of them.
    fn new(n: usize, batch: &'a mut [u64], visit: F) -> Self {
        let weight = (0..n).fold(1u64, |power, _| power.wrapping_mul(BASE));
        Roller { n, batch, end: n, n_rolled: 0, hash: 0, weight, visit }
    }

    /// Takes the next unit.
    #[inline(always)]
    fn push(&mut self, unit: u64) {
        self.batch[self.end] = unit;
        self.end += 1;
        if self.end == self.batch.len() {
            self.roll();
        }
    }

    /// Visits the hash of each n-gram that ends in the batch, and begins a new one.
    #[inline(never)]
    fn roll(&mut self) {
        let Roller { n, end, weight, .. } = *self;
        let batch = &mut self.batch[..end];
        for i in 0..end - n {
            let (leaving, unit) = (batch[i], batch[i + n]);
            let change = unit.wrapping_sub(leaving.wrapping_mul(weight));
            self.hash = self.hash.wrapping_mul(BASE).wrapping_add(change);
            // What has left is not looked at again.
            batch[i] = self.hash;
        }
        // The first windows of a text are not full.
        let n_unfilled = (n - 1).saturating_sub(self.n_rolled).min(end - n);
        for &hash in &batch[n_unfilled..end - n] {
            // The top bit tells n-grams (0) from whole texts (1), so that the two never meet.
            (self.visit)(mix(hash) >> 1);
        }
        batch.copy_within(end - n.., 0);
        (self.n_rolled, self.end) = (self.n_rolled + end - n, n);
    }

    /// Visits what is left: the last n-grams, or the one shingle of a text that has too few units for one.
    fn finish(mut self, text: &str) {
        self.roll();
        match self.n_rolled {
            0 if text.is_empty() => {}
            0 => (self.visit)(whole_text(xxh3_64(text.as_bytes()), 0)),
            n_units if n_units < self.n => (self.visit)(whole_text(self.hash, n_units)),
            _ => {}
        }
    }
}

/// An odd number with well-spread bits (the golden ratio times 2^64).
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

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
    use unicode_segmentation::UnicodeSegmentation;

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
    fn windows_that_cross_batches_have_the_hashes_of_their_own_text() {
        let text: String = (0..1100u32).map(|i| char::from(b'a' + (i * i % 23 + i % 3) as u8)).collect();
        for n in [1, 5, 63, 64, 65, 255, 256, 257, 1024] {
            let shingler = shingler(Unit::Byte, n);
            for length in [n - 1, n, n + 1, 191, 192, 193, 256, 257, 1100] {
                let text = &text[..length];
                let windows = (n.min(length)..=length).map(|end| &text[end.saturating_sub(n)..end]);
                let expected: Vec<u64> =
                    windows.flat_map(|window| shingler.shingles(window).hashes().to_vec()).collect();
                let mut found = Vec::new();
                shingler.for_each_hash(text, |hash| found.push(hash));
                assert_eq!(found, expected, "{n} {length}");
            }
        }
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
    }
}
