//! The n-grams of the items, and which of them stand in a text.

use rustc_hash::{FxHashMap, FxHashSet};
use verbatim_index::words;

use super::items::{Items, UNKNOWN};
use super::{ContaminationConfig, WordHash};

/// The different n-grams of all parts that are judged. A part of fewer than n words is one n-gram by itself.
pub(super) struct Grams<'a> {
    pub(super) items: &'a Items,
    hash: WordHash,
    /// Words of an n-gram.
    n: usize,
    /// Words at the start of a short part that are looked for; a short part has as many or more.
    n_start: usize,
    by_words: FxHashMap<&'a [u32], u32>,
    /// How many words each n-gram has.
    lengths: Vec<u32>,
    /// The lengths of the short parts, ascending.
    short_lengths: Vec<usize>,
    /// Hashes of the n-grams of n words.
    long: FxHashSet<u64>,
    /// Hashes of the first words of the short parts.
    starts: FxHashSet<u64>,
    /// The different n-grams of each part, ascending.
    of_part: Lists,
    /// The parts that have each n-gram, ascending.
    parts: Lists,
}

/// What a hash proposes.
#[derive(Clone, Copy)]
enum Kind {
    /// An n-gram of n words.
    Long,
    /// The first words of a short part.
    Start,
}

/// Lists of numbers in one piece of memory.
struct Lists {
    ends: Vec<usize>,
    values: Vec<u32>,
}

impl Lists {
    fn new() -> Self {
        Lists { ends: vec![0], values: Vec::new() }
    }

    fn push(&mut self, list: &[u32]) {
        self.values.extend_from_slice(list);
        self.ends.push(self.values.len());
    }

    fn get(&self, list: usize) -> &[u32] {
        &self.values[self.ends[list]..self.ends[list + 1]]
    }

    /// For each of `n` values the lists that hold it.
    fn inverted(&self, n: usize) -> Lists {
        let mut next = vec![0; n + 1];
        self.values.iter().for_each(|&value| next[value as usize + 1] += 1);
        for i in 0..n {
            next[i + 1] += next[i];
        }
        let ends = next.clone();
        let mut values = vec![0; self.values.len()];
        for list in 0..self.ends.len() - 1 {
            for &value in self.get(list) {
                values[next[value as usize]] = list as u32;
                next[value as usize] += 1;
            }
        }
        Lists { ends, values }
    }
}

impl<'a> Grams<'a> {
    pub(super) fn new(items: &'a Items, config: &ContaminationConfig, hash: WordHash) -> Self {
        let mut word_hashes = vec![0; items.vocabulary.len()];
        #[expect(clippy::iter_over_hash_type, reason = "each word has a place of its own")]
        for (word, &number) in &items.vocabulary {
            word_hashes[number as usize] = hash(word.as_bytes());
        }
        let mut grams = Grams {
            items,
            hash,
            n: config.n,
            n_start: config.min_words.clamp(1, config.n),
            by_words: FxHashMap::default(),
            lengths: Vec::new(),
            short_lengths: Vec::new(),
            long: FxHashSet::default(),
            starts: FxHashSet::default(),
            of_part: Lists::new(),
            parts: Lists::new(),
        };
        for part in &items.parts {
            let numbers = if part.told.judged {
                grams.cut(&items.words[part.words.clone()], &word_hashes)
            } else {
                Vec::new()
            };
            grams.of_part.push(&numbers);
        }
        grams.short_lengths.sort_unstable();
        grams.short_lengths.dedup();
        grams.parts = grams.of_part.inverted(grams.lengths.len());
        grams
    }

    /// The different n-grams of a part; new ones get the next number.
    fn cut(&mut self, part: &'a [u32], word_hashes: &[u64]) -> Vec<u32> {
        let is_short = part.len() < self.n;
        let (n, proposed) = match is_short {
            true => (self.n_start, &mut self.starts),
            false => (self.n, &mut self.long),
        };
        let mut roller = Roller::new(n);
        let hashes = part.iter().filter_map(|&word| roller.push(word_hashes[word as usize]));
        proposed.extend(hashes.take(if is_short { 1 } else { usize::MAX }));
        if is_short {
            self.short_lengths.push(part.len());
        }
        let mut numbers: Vec<u32> =
            part.windows(self.n.min(part.len())).map(|gram| self.number(gram)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn number(&mut self, gram: &'a [u32]) -> u32 {
        let next = self.lengths.len() as u32;
        let number = *self.by_words.entry(gram).or_insert(next);
        if number == next {
            self.lengths.push(gram.len() as u32);
        }
        number
    }

    pub(super) fn n_grams(&self) -> usize {
        self.lengths.len()
    }

    /// Words in an n-gram.
    pub(super) fn len(&self, gram: u32) -> usize {
        self.lengths[gram as usize] as usize
    }

    /// The different n-grams of a part, ascending.
    pub(super) fn of_part(&self, part: usize) -> &[u32] {
        self.of_part.get(part)
    }

    /// The parts that have an n-gram.
    pub(super) fn parts(&self, gram: u32) -> &[u32] {
        self.parts.get(gram as usize)
    }

    /// The n-grams that stand in a text; `None` where none does.
    pub(super) fn find(&self, text: &str) -> Option<Hits> {
        let normalised = self.items.normalizer.apply(text);
        let words = words(&normalised);
        let mut proposed = self.proposed(&words);
        if proposed.is_empty() {
            return None;
        }
        // Only words that a proposed n-gram covers need a number; no part of fewer than n words is longer.
        proposed.sort_unstable_by_key(|&(at, _)| at);
        let mut numbers = vec![UNKNOWN; words.len()];
        let mut next = 0;
        for &(at, _) in &proposed {
            for i in next.max(at)..words.len().min(at + self.n) {
                numbers[i] = self.items.number(words[i]);
                next = i + 1;
            }
        }
        let mut found = Vec::new();
        let mut look_up = |at: usize, n: usize| {
            if let Some(gram) = numbers.get(at..at + n).and_then(|gram| self.by_words.get(gram)) {
                found.push((*gram, at));
            }
        };
        for &(at, kind) in &proposed {
            match kind {
                Kind::Long => look_up(at, self.n),
                Kind::Start => self.short_lengths.iter().for_each(|&n| look_up(at, n)),
            }
        }
        found.sort_unstable();
        (!found.is_empty()).then_some(Hits { words: numbers, found })
    }

    /// Where n-grams, and starts of short parts, may stand among these words, by their hashes.
    fn proposed(&self, words: &[&str]) -> Vec<(usize, Kind)> {
        let mut proposed = Vec::new();
        let (mut rolling, mut starting) = (Roller::new(self.n), Roller::new(self.n_start));
        let any_short = !self.starts.is_empty();
        for (at, word) in words.iter().enumerate() {
            let hash = (self.hash)(word.as_bytes());
            if rolling.push(hash).is_some_and(|gram| self.long.contains(&gram)) {
                proposed.push((at + 1 - self.n, Kind::Long));
            }
            if any_short && starting.push(hash).is_some_and(|start| self.starts.contains(&start)) {
                proposed.push((at + 1 - self.n_start, Kind::Start));
            }
        }
        proposed
    }
}

/// A rolling hash, modulo 2^64, of the last n words, by the hashes of the words.
struct Roller {
    ring: Vec<u64>,
    next: usize,
    n_words: usize,
    hash: u64,
    /// BASE to the power n: what the word that leaves the window was multiplied with.
    weight: u64,
}

/// An odd number with well-spread bits (the golden ratio times 2^64).
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

impl Roller {
    fn new(n: usize) -> Self {
        let weight = (0..n).fold(1u64, |power, _| power.wrapping_mul(BASE));
        Roller { ring: vec![0; n], next: 0, n_words: 0, hash: 0, weight }
    }

    /// Takes the next word; the hash of the n-gram that it ends, if n words have been seen.
    fn push(&mut self, word: u64) -> Option<u64> {
        let leaving = std::mem::replace(&mut self.ring[self.next], word);
        self.next = if self.next + 1 == self.ring.len() { 0 } else { self.next + 1 };
        self.hash =
            self.hash.wrapping_mul(BASE).wrapping_add(word).wrapping_sub(leaving.wrapping_mul(self.weight));
        self.n_words += 1;
        (self.n_words >= self.ring.len()).then_some(self.hash)
    }
}

/// The n-grams of items that stand in a text.
pub(super) struct Hits {
    /// The words of the text by number; those that no n-gram covers are unknown.
    pub(super) words: Vec<u32>,
    /// (n-gram, place of its first word), ascending.
    found: Vec<(u32, usize)>,
}

impl Hits {
    /// Each n-gram once, ascending.
    pub(super) fn grams(&self) -> impl Iterator<Item = u32> {
        self.found.chunk_by(|a, b| a.0 == b.0).map(|places| places[0].0)
    }

    /// The places of an n-gram, ascending.
    pub(super) fn places(&self, gram: u32) -> impl Iterator<Item = usize> {
        let start = self.found.partition_point(|&(other, _)| other < gram);
        self.found[start..].iter().take_while(move |&&(other, _)| other == gram).map(|&(_, at)| at)
    }
}
