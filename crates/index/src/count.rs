//! How often given strings stand in the documents of a corpus, or in texts, overlapping occurrences included.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Progress, Silent};

use crate::error::Result;
use crate::occurrences::Occurrences;
use crate::symbols::Symbols;

/// Documents that are scanned in parallel before their counts are added up: bounds the memory for counts.
/// Small in tests, as the next, so that they cross the borders.
const WAVE: u64 = if cfg!(test) { 2 } else { 8192 };

/// String bytes that go into one automaton: bounds its memory. More strings take more passes over the corpus.
pub(crate) const BATCH_BYTES: usize = if cfg!(test) { 20 } else { 4 << 20 };

/// Counts each string in the texts of the corpus, and tells its first place; an empty string occurs nowhere.
///
/// Linear in the corpus plus the number of occurrences. An interrupted count is too low; the caller asks
/// `progress.interrupted()`.
pub fn count_strings(corpus: &Corpus, strings: &[Vec<u8>], progress: &dyn Progress) -> Vec<Occurrences> {
    let slices: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
    let counted = distinct(&slices, |strings| scan_for(Symbols::Bytes(corpus), strings, 1, progress));
    counted.expect("a scan of bytes has no errors")
}

/// The same for texts in memory: a place is the number of a text, and the byte in it.
///
/// ```
/// let found = verbatim_index::count_in_texts(&[b"banana", b"band"], &[b"an".to_vec(), b"nd".to_vec()]);
/// assert_eq!((found[0].n_documents, found[0].n_occurrences), (2, 3));
/// assert_eq!((found[1].n_documents, found[1].n_occurrences), (1, 1));
/// ```
pub fn count_in_texts(texts: &[&[u8]], strings: &[Vec<u8>]) -> Vec<Occurrences> {
    let slices: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
    let counted = distinct(&slices, |strings| scan_for(Symbols::Texts(texts), strings, 1, &Silent));
    counted.expect("a scan of bytes has no errors")
}

/// Looks for strings that are not empty, each once, and gives the answers to all.
pub(crate) fn distinct(
    strings: &[&[u8]],
    look: impl FnOnce(&[&[u8]]) -> Result<Vec<Occurrences>>,
) -> Result<Vec<Occurrences>> {
    let mut order: Vec<usize> = (0..strings.len()).filter(|&i| !strings[i].is_empty()).collect();
    order.sort_unstable_by_key(|&i| strings[i]);
    let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| strings[a] == strings[b]).collect();
    let firsts: Vec<&[u8]> = groups.iter().map(|group| strings[group[0]]).collect();
    let mut all = vec![Occurrences::default(); strings.len()];
    for (group, found) in groups.iter().zip(look(&firsts)?) {
        group.iter().for_each(|&i| all[i].clone_from(&found));
    }
    Ok(all)
}

/// Reads all texts for strings, none empty, with the first `most_places` of their places.
pub(crate) fn scan_for(
    symbols: Symbols<'_>,
    strings: &[&[u8]],
    most_places: usize,
    progress: &dyn Progress,
) -> Result<Vec<Occurrences>> {
    let mut found = Vec::with_capacity(strings.len());
    for batch in batches(strings, |string| string.len()) {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&strings[batch])
            .expect("a batch of strings is far smaller than an automaton may be");
        found.extend(count_batch(symbols, &automaton, most_places, progress)?);
    }
    Ok(found)
}

fn count_batch(
    symbols: Symbols<'_>,
    automaton: &AhoCorasick,
    most_places: usize,
    progress: &dyn Progress,
) -> Result<Vec<Occurrences>> {
    let n_documents = symbols.n_documents();
    progress.stage("counting strings", Some(n_documents), "documents");
    let mut totals = vec![Occurrences::default(); automaton.patterns_len()];
    for start in (0..n_documents).step_by(WAVE as usize) {
        if progress.interrupted() {
            break;
        }
        let end = n_documents.min(start + WAVE);
        let counts: Result<Vec<Vec<InDocument>>> = (start..end)
            .into_par_iter()
            .map(|doc| {
                progress.advance(1);
                Ok(count_document((&symbols.text(doc)?, symbols.width()), automaton, most_places))
            })
            .collect();
        for (doc, counts) in (start..).map(DocId).zip(counts?) {
            for InDocument { string, places, n_occurrences } in counts {
                let total = &mut totals[string];
                total.n_documents += 1;
                total.n_occurrences += n_occurrences;
                let n_more = most_places - total.places.len();
                total.places.extend(places.into_iter().take(n_more).map(|byte| (doc, byte)));
            }
        }
    }
    Ok(totals)
}

/// One string's occurrences in one document.
struct InDocument {
    string: usize,
    places: Vec<u64>,
    n_occurrences: u64,
}

/// What stands in a text of symbols of so many bytes.
fn count_document(
    (text, width): (&[u8], usize),
    automaton: &AhoCorasick,
    most_places: usize,
) -> Vec<InDocument> {
    let mut found: Vec<InDocument> = Vec::new();
    let mut slots = rustc_hash::FxHashMap::default();
    for hit in automaton.find_overlapping_iter(text).filter(|hit| hit.start().is_multiple_of(width)) {
        let string = hit.pattern().as_usize();
        let slot = *slots.entry(string).or_insert_with(|| {
            found.push(InDocument { string, places: Vec::new(), n_occurrences: 0 });
            found.len() - 1
        });
        let InDocument { places, n_occurrences, .. } = &mut found[slot];
        *n_occurrences += 1;
        if places.len() < most_places {
            places.push((hit.start() / width) as u64);
        }
    }
    found
}

/// Cuts items into consecutive batches of at most [`BATCH_BYTES`] each; a larger item is a batch of its own.
pub(crate) fn batches<T>(items: &[T], len_bytes: impl Fn(&T) -> usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut n_bytes) = (0, 0);
    for (i, item) in items.iter().enumerate() {
        if i > start && n_bytes + len_bytes(item) > BATCH_BYTES {
            batches.push(start..i);
            (start, n_bytes) = (i, 0);
        }
        n_bytes += len_bytes(item);
    }
    if start < items.len() {
        batches.push(start..items.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::tests::corpus_of;
    use proptest::prelude::*;

    #[test]
    fn batches_hold_every_item_once() {
        let sizes = [1, BATCH_BYTES, 2 * BATCH_BYTES, 5, BATCH_BYTES - 5, 1];
        assert_eq!(batches(&sizes, |&n| n), [0..1, 1..2, 2..3, 3..5, 5..6]);
        assert!(batches(&sizes[..0], |&n| n).is_empty());
    }

    #[test]
    fn the_empty_string_and_repeated_strings_are_counted_honestly() {
        let corpus = corpus_of(&["aaa", "", "xaa"]);
        let strings = [b"aa".to_vec(), Vec::new(), b"aa".to_vec(), b"q".to_vec()];
        let counts = count_strings(&corpus, &strings, &Silent);
        let expected = Occurrences { n_documents: 2, n_occurrences: 3, places: vec![(DocId(0), 0)] };
        assert_eq!(counts, [expected.clone(), Occurrences::default(), expected, Occurrences::default()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn counts_equal_naive_windows(
            texts in prop::collection::vec("[ab]{0,12}", 1..5),
            strings in prop::collection::vec("[ab]{1,4}", 1..5),
        ) {
            let corpus = corpus_of(&texts);
            let strings: Vec<Vec<u8>> = strings.into_iter().map(String::into_bytes).collect();
            let counts = count_strings(&corpus, &strings, &Silent);
            let slices: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            prop_assert_eq!(&count_in_texts(&slices, &strings), &counts);
            for (string, count) in strings.iter().zip(counts) {
                let mut expected = Occurrences::default();
                for (doc, text) in (0..).map(DocId).zip(&texts) {
                    let places: Vec<usize> =
                        (0..text.len()).filter(|&i| text.as_bytes()[i..].starts_with(string)).collect();
                    expected.n_documents += u64::from(!places.is_empty());
                    expected.n_occurrences += places.len() as u64;
                    if expected.places.is_empty() {
                        expected.places.extend(places.first().map(|&i| (doc, i as u64)));
                    }
                }
                prop_assert_eq!(count, expected);
            }
        }
    }
}
