//! Extraction at scale compared with naive counts.

use std::collections::{BTreeMap, BTreeSet};

use verbatim_corpus::{Corpus, OpenConfig, Origin};
use verbatim_index::{IndexConfig, SubstringIndex};
use verbatim_store::{Room, Scratch, Silent};

use super::*;
use crate::testing::{corpus, sample, tokenizer};
use crate::{Verdict, verify};

/// Texts of few words, so that they repeat each other.
fn texts(seed: u64, n_words: impl Fn(usize) -> usize, n: usize) -> Vec<String> {
    let mut state = seed;
    let words = ["the ", "a", "other ", "1", " and", "x", "\u{e9}", "went to "];
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    (0..n).map(|i| (0..n_words(i)).map(|_| words[next() % words.len()]).collect()).collect()
}

fn found(corpus: &Corpus, samples: &[DrawnSample], n: usize) -> Vec<Recital> {
    let proof = Proof { corpus, index: None };
    let found = recitals(proof, tokenizer(), samples, n, &Silent).unwrap();
    // An index says the same, whether it knows of windows this short or not.
    for min_len in [16, 40] {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        let room = Room { n_bytes: 1 << 20, scratch: &scratch };
        let origin = Origin { inputs: Vec::new(), against: Vec::new(), reading: OpenConfig::standard() };
        let config = IndexConfig { min_len, tokenizer: None, origin };
        SubstringIndex::build(corpus, &config, (folder.path(), room), &Silent).unwrap();
        let index = SubstringIndex::open(folder.path()).unwrap().unwrap();
        let proof = Proof { corpus, index: Some(index.of(corpus).unwrap()) };
        assert_eq!(recitals(proof, tokenizer(), samples, n, &Silent).unwrap(), found, "{min_len}");
    }
    found
}

/// The bytes of the memorized windows of a sample, by the token with which each begins.
fn naive(sample: &DrawnSample, texts: &[String], n: usize) -> BTreeMap<usize, Vec<u8>> {
    let stands =
        |bytes: &[u8]| texts.iter().any(|text| text.as_bytes().windows(bytes.len()).any(|w| w == bytes));
    let windows = sample.tokens.windows(n).map(|window| tokenizer().decode(window)).enumerate();
    windows.filter(|(_, bytes)| !bytes.is_empty() && stands(bytes)).collect()
}

#[test]
fn every_window_of_every_sample_is_looked_up() {
    let documents = texts(3, |_| 60, 20);
    let corpus = corpus(&documents.iter().map(String::as_str).collect::<Vec<_>>());
    let mut samples: Vec<DrawnSample> =
        texts(5, |i| 4 + i % 20, 60).iter().zip(0..).map(|(text, i)| sample(i, text)).collect();
    // A whole document, a document twice with a gap, tokens without bytes, an empty sample, and one that failed.
    samples.push(sample(60, &documents[4]));
    samples.push(sample(61, &format!("{}?!?{}", documents[7], documents[7])));
    let mut padded = sample(62, &documents[9]);
    padded.tokens.insert(20, 70_000);
    samples.push(padded);
    samples.push(sample(63, ""));
    samples.push(DrawnSample { error: Some("broken".to_owned()), ..sample(64, &documents[2]) });
    for n in [1, 4, 6, 12] {
        let found = found(&corpus, &samples, n);
        assert!(found.iter().map(|recital| recital.index).eq(0..64));
        let mut number_of: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let references: Vec<&DrawnSample> = samples.iter().collect();
        let proof = Proof { corpus: &corpus, index: None };
        let findings = verify(Some(proof), tokenizer(), &references, n, &Silent).unwrap();
        for ((recital, sample), finding) in found.iter().zip(&samples).zip(findings) {
            // The window that a token without bytes lies in has fewer tokens than it should.
            let mut expected = naive(sample, &documents, n);
            expected.retain(|first, _| !sample.tokens[*first..*first + n].contains(&70_000));
            let numbers: Vec<u32> = recital.runs.concat();
            assert_eq!(numbers.len(), expected.len(), "{n} tokens of {:?}", sample.text);
            for (number, bytes) in numbers.iter().zip(expected.values()) {
                assert_eq!(number_of.entry(bytes.clone()).or_insert(*number), number);
            }
            let covered: BTreeSet<usize> = expected.keys().flat_map(|first| *first..*first + n).collect();
            assert_eq!(recital.n_memorized_tokens, covered.len() as u64);
            let islands =
                covered.iter().filter(|token| **token == 0 || !covered.contains(&(**token - 1))).count();
            // Windows that touch and have no token in common are two runs and one island.
            assert!(recital.runs.len() >= islands && (n > 1 || recital.runs.len() == covered.len()));
            assert_eq!(recital.last_window, expected.keys().last().map(|first| *first as u64));
            assert_eq!(finding.verdict == Verdict::Memorized, !expected.is_empty());
            assert_eq!(finding.n_windows, expected.len() as u64);
        }
        assert_eq!(
            number_of.values().collect::<BTreeSet<_>>().len(),
            number_of.len(),
            "other bytes, other number"
        );
        assert!(number_of.values().max().unwrap() + 1 == number_of.len() as u32);
    }
}

#[test]
fn sums_count_distinct_windows_and_sequences_once() {
    let recital = |index, n_tokens, n_memorized_tokens, runs: &[&[u32]]| Recital {
        strategy: Strategy::TopN,
        index,
        n_tokens,
        n_memorized_tokens,
        last_window: None,
        runs: runs.iter().map(|run| run.to_vec()).collect(),
    };
    let all = [
        recital(0, 10, 6, &[&[0, 1, 2]]),
        recital(1, 10, 5, &[&[2, 3], &[7]]),
        recital(2, 20, 0, &[]),
        recital(3, 10, 4, &[&[5], &[5], &[7]]),
        recital(4, 10, 4, &[&[8, 9, 3]]),
    ];
    let summed = scale(&all.iter().collect::<Vec<_>>(), &[1.0], 0.95);
    assert_eq!((summed.n_samples, summed.n_memorized_samples), (5, 4));
    assert_eq!((summed.n_tokens, summed.n_memorized_tokens), (60, 19));
    assert_eq!(summed.token_share.unwrap().value, 19.0 / 60.0);
    // {0, 1, 2, 3, 8, 9}, {5} and {7}.
    assert_eq!(summed.n_sequences, 3);
    let Richness { n_draws, n_holding, n_distinct, n_once, n_twice, .. } = summed.windows;
    assert_eq!((n_draws, n_holding, n_distinct, n_once, n_twice), (5, 4, 8, 5, 3));
    let some = scale(&[&all[1], &all[3]], &[], 0.95);
    assert_eq!((some.n_sequences, some.windows.n_distinct, some.windows.n_twice), (3, 4, 1));
    let none = scale(&[], &[], 0.95);
    assert_eq!((none.n_samples, none.token_share, none.windows.at_least), (0, None, None));
}

#[test]
fn fault_65_windows_of_no_tokens_are_refused() {
    let corpus = corpus(&["x"]);
    let proof = Proof { corpus: &corpus, index: None };
    assert_eq!(recitals(proof, tokenizer(), &[], 0, &Silent).unwrap_err().exit_code(), 2);
}
