//! The longest substring of each needle that stands verbatim inside one document of a corpus.
//!
//! A document is sampled: a match of at least k bytes covers a whole window of q = ceil(k / 2) bytes that starts at
//! a multiple of s = k - q + 1, so only those windows are looked up in a table of all q-byte windows of the
//! needles. Around the hits, and only there, a suffix automaton of the needles finds the exact longest matches.
//! Both parts are linear in the corpus, whatever the texts look like.

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_64;

use crate::automaton::{Lengths, Matches, SuffixAutomaton};
use crate::count::{batches, count_strings};
use crate::occurrences::Occurrences;

/// The longest verbatim match of a needle in a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Bytes of the match.
    pub len_bytes: usize,
    /// Byte offset of the match in the needle.
    pub needle_start: usize,
    /// Documents that hold the matched bytes.
    pub n_documents: u64,
    /// Occurrences of the matched bytes in all documents; they may overlap.
    pub n_occurrences: u64,
    /// The first document that holds them, and the byte offset in its text.
    pub first: (DocId, u64),
}

impl Match {
    /// A match with the places of its bytes; `None` where they stand nowhere.
    pub(crate) fn new(needle_start: usize, len_bytes: usize, found: &Occurrences) -> Option<Self> {
        let Occurrences { n_documents, n_occurrences, .. } = *found;
        found.first().map(|first| Match { needle_start, len_bytes, n_documents, n_occurrences, first })
    }
}

/// The longest substring, of `min_len_bytes` and more, of each needle that stands inside one document.
///
/// Ties go to the leftmost in the needle. `None` where no such substring stands in the corpus. A `min_len_bytes` of
/// 0 counts as 1. An interrupted scan has found too little; the caller asks `progress.interrupted()`.
///
/// # Panics
/// If a single needle has 2^30 bytes or more.
pub fn longest_matches(
    corpus: &Corpus,
    needles: &[Vec<u8>],
    min_len_bytes: usize,
    progress: &dyn Progress,
) -> Vec<Option<Match>> {
    let min_len = min_len_bytes.max(1);
    let mut places = Vec::with_capacity(needles.len());
    for_each_batch((corpus, needles, min_len), progress, |needles, lengths| {
        places.extend(needles.iter().map(|needle| lengths.longest_in(needle)));
    });
    let strings: Vec<Vec<u8>> = needles
        .iter()
        .zip(&places)
        .map(
            |(needle, &(start, len))| {
                if len < min_len { Vec::new() } else { needle[start..start + len].to_vec() }
            },
        )
        .collect();
    count_strings(corpus, &strings, progress)
        .into_iter()
        .zip(places)
        .map(|(count, (needle_start, len_bytes))| Match::new(needle_start, len_bytes, &count))
        .collect()
}

/// For each byte of each needle: how many bytes of the needle that end there stand inside one document, if they are
/// `min_len_bytes` and more. Of fewer it may be told or not.
///
/// Any part of a needle that has so many bytes stands in the corpus if and only if at its last byte at least its length is
/// told (matching statistics, Chang and Lawler 1994). An interrupted scan has found too little; the caller asks
/// `progress.interrupted()`.
///
/// # Panics
/// If a single needle has 2^30 bytes or more.
pub fn ending_matches(
    corpus: &Corpus,
    needles: &[Vec<u8>],
    min_len_bytes: usize,
    progress: &dyn Progress,
) -> Vec<Vec<u32>> {
    let mut all = Vec::with_capacity(needles.len());
    for_each_batch((corpus, needles, min_len_bytes.max(1)), progress, |needles, lengths| {
        all.extend(needles.iter().map(|needle| lengths.ending_in(needle)));
    });
    all
}

/// Reads the corpus once for each batch of needles, and tells what it shares with them.
fn for_each_batch(
    (corpus, needles, min_len): (&Corpus, &[Vec<u8>], usize),
    progress: &dyn Progress,
    mut take: impl FnMut(&[Vec<u8>], &Lengths<'_>),
) {
    for batch in batches(needles, Vec::len) {
        let needles = &needles[batch];
        let automaton = SuffixAutomaton::new(needles.iter().map(Vec::as_slice));
        let matches = Matches::new(&automaton);
        let windows = Windows::new(needles, min_len);
        progress.stage("searching matches", Some(corpus.n_documents()), "documents");
        (0..corpus.n_documents()).into_par_iter().for_each(|doc| {
            if !progress.interrupted() {
                windows.for_each_region(&corpus.text(DocId(doc)), |region| matches.record(region));
            }
            progress.advance(1);
        });
        take(needles, &matches.into_lengths());
    }
}

/// The q-byte windows of the needles, by hash. A collision costs time, never truth.
struct Windows {
    hashes: FxHashSet<u64>,
    q: usize,
    stride: usize,
}

impl Windows {
    fn new(needles: &[Vec<u8>], min_len: usize) -> Self {
        let q = min_len.div_ceil(2);
        let hashes = needles
            .iter()
            .filter(|needle| needle.len() >= min_len)
            .flat_map(|needle| needle.windows(q).map(xxh3_64))
            .collect();
        Windows { hashes, q, stride: min_len - q + 1 }
    }

    /// Calls `visit` with stretches of `text` that together hold every match of the minimum length whole.
    fn for_each_region<'t>(&self, text: &'t [u8], mut visit: impl FnMut(&'t [u8])) {
        let mut run: Option<(usize, usize)> = None;
        let last_start = (text.len() + 1).saturating_sub(self.q);
        for at in (0..last_start).step_by(self.stride) {
            let hit = self.hashes.contains(&xxh3_64(&text[at..at + self.q]));
            run = match (run, hit) {
                (None, true) => Some((at, at)),
                (Some((first, _)), true) => Some((first, at)),
                (Some(ended), false) => {
                    visit(self.region(text, ended));
                    None
                }
                (None, false) => None,
            };
        }
        if let Some(ended) = run {
            visit(self.region(text, ended));
        }
    }

    /// The furthest that a match can reach which covers sampled windows from `first` to `last` but neither neighbour.
    fn region<'t>(&self, text: &'t [u8], (first, last): (usize, usize)) -> &'t [u8] {
        let start = (first + 1).saturating_sub(self.stride);
        let end = (last + self.stride + self.q - 1).min(text.len());
        &text[start..end]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};
    use verbatim_corpus::OpenConfig;
    use verbatim_store::Silent;

    /// A corpus of these texts; its files are gone, and its documents mapped, when this returns.
    pub(crate) fn corpus_of<S: AsRef<str>>(texts: &[S]) -> Corpus {
        use std::io::Write;
        let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
        for text in texts {
            let escaped: String = text.as_ref().chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
            writeln!(file, "{{\"text\": \"{escaped}\"}}").unwrap();
        }
        Corpus::open(&[file.path().to_owned()], &OpenConfig::standard(), &Silent).unwrap()
    }

    fn naive(texts: &[String], needle: &[u8], min_len: usize) -> Option<(usize, usize)> {
        let mut best = None;
        for start in 0..needle.len() {
            for end in start + min_len..=needle.len() {
                let piece = &needle[start..end];
                let stands =
                    texts.iter().any(|text| text.as_bytes().windows(piece.len()).any(|w| w == piece));
                if stands && best.is_none_or(|(_, len)| piece.len() > len) {
                    best = Some((start, piece.len()));
                }
            }
        }
        best
    }

    #[test]
    fn a_match_never_crosses_documents() {
        let corpus = corpus_of(&["the secret is 12", "34 and no more"]);
        let needles = [b"secret is 1234".to_vec(), b"nothing".to_vec()];
        let found = longest_matches(&corpus, &needles, 5, &Silent);
        let expected =
            Match { len_bytes: 12, needle_start: 0, n_documents: 1, n_occurrences: 1, first: (DocId(0), 4) };
        assert_eq!(found, [Some(expected), None]);
    }

    #[test]
    fn degenerate_texts_stay_near_linear() {
        let million = 1 << 20;
        let texts =
            ["a".repeat(million), "ab".repeat(million / 2), format!("{}b", "a".repeat(499)).repeat(2000)];
        let corpus = corpus_of(&texts);
        let needles =
            ["a".repeat(2000), "ba".repeat(900), format!("{}b", "a".repeat(1000))].map(String::into_bytes);
        let start = Instant::now();
        let found = longest_matches(&corpus, &needles, 50, &Silent);
        // A method that extends every hit at every needle position takes minutes here.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let lens: Vec<usize> = found.iter().map(|m| m.unwrap().len_bytes).collect();
        assert_eq!(lens, [2000, 1800, 1000]);
        assert_eq!(found[0].unwrap().n_occurrences, (million - 2000 + 1) as u64);
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        let texts: Vec<String> =
            (0..200).map(|i| format!("{} shared tail of words {}", i % 7, i % 3)).collect();
        let corpus = corpus_of(&texts);
        let needles: Vec<Vec<u8>> =
            (0..20).map(|i| format!("x{i} shared tail of words {i}").into_bytes()).collect();
        let runs: Vec<_> = [1, 2, 8]
            .map(|n_threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                pool.install(|| longest_matches(&corpus, &needles, 4, &Silent))
            })
            .into();
        assert!(runs[0] == runs[1] && runs[0] == runs[2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn longest_matches_equal_brute_force(
            texts in prop::collection::vec("[abc]{0,24}", 1..5),
            needles in prop::collection::vec("[abc]{0,16}", 1..4),
            min_len in 1usize..7,
        ) {
            let corpus = corpus_of(&texts);
            let needles: Vec<Vec<u8>> = needles.into_iter().map(String::into_bytes).collect();
            let found = longest_matches(&corpus, &needles, min_len, &Silent);
            for (needle, found) in needles.iter().zip(found) {
                let expected = naive(&texts, needle, min_len);
                prop_assert_eq!(found.map(|m| (m.needle_start, m.len_bytes)), expected);
            }
            for (needle, ending) in needles.iter().zip(ending_matches(&corpus, &needles, min_len, &Silent)) {
                for end in 1..=needle.len() {
                    for start in 0..=end.saturating_sub(min_len) {
                        if end - start < min_len {
                            continue;
                        }
                        let part = &needle[start..end];
                        let stands =
                            texts.iter().any(|text| text.as_bytes().windows(part.len()).any(|w| w == part));
                        prop_assert_eq!(ending[end - 1] as usize >= part.len(), stands);
                    }
                }
            }
        }
    }
}
