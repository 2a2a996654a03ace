//! Repeats are those that comparing every run of bytes with every other finds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use libsais::SuffixArrayConstruction;
use proptest::prelude::*;
use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_store::{Scratch, Silent};

use super::*;
use crate::testing::Impatient;

fn joined(texts: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
    let mut starts = vec![0];
    texts.iter().for_each(|text| starts.push(starts[starts.len() - 1] + text.len() as u64));
    (texts.concat(), starts)
}

/// What is found where each byte of the texts is a symbol of `N` bytes.
fn found<const N: usize>(texts: &[Vec<u8>], wanted: Wanted, memory: usize) -> Vec<Repeat> {
    let (bytes, starts) = joined(texts);
    let symbols: Vec<[u8; N]> = bytes.iter().map(|&byte| [byte; N]).collect();
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let room = Room { n_bytes: memory, scratch: &scratch };
    repeats(Texts { symbols: &symbols, starts: &starts }, wanted, room, &Silent).unwrap()
}

/// For each byte whether it is in a run that repeats another, by the definition.
fn naive(texts: &[Vec<u8>], Wanted { min_len, min_count, copies }: Wanted) -> Vec<bool> {
    let (bytes, starts) = joined(texts);
    let mut runs: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for text in starts.windows(2) {
        let (start, end) = (text[0] as usize, text[1] as usize);
        for at in start..(end + 1).saturating_sub(min_len) {
            runs.entry(&bytes[at..at + min_len]).or_default().push(at);
        }
    }
    let text_of = |at: usize| starts.partition_point(|&start| start <= at as u64);
    let mut covered = vec![false; bytes.len()];
    for places in runs.values().filter(|places| places.len() as u64 >= min_count.max(2)) {
        for &place in places {
            let is_repeat = match copies {
                Copies::All => true,
                Copies::ButTheFirst(end) => places.iter().any(|&other| {
                    let is_apart = text_of(other) != text_of(place) || place >= other + min_len;
                    other < place && is_apart && (other as u64) < end
                }),
            };
            if is_repeat {
                covered[place..place + min_len].fill(true);
            }
        }
    }
    covered
}

fn assert_naive(texts: &[Vec<u8>], min_len: usize) {
    let (bytes, starts) = joined(texts);
    let half = starts[starts.len() / 2];
    for (copies, min_count) in [
        (Copies::All, 0),
        (Copies::ButTheFirst(u64::MAX), 2),
        (Copies::ButTheFirst(half), 2),
        (Copies::ButTheFirst(0), 2),
        (Copies::All, 3),
        (Copies::ButTheFirst(half), 3),
        (Copies::ButTheFirst(u64::MAX), 5),
    ] {
        let wanted = Wanted { min_len, min_count, copies };
        let repeats = found::<1>(texts, wanted, 1 << 20);
        let mut covered = vec![false; bytes.len()];
        for &Repeat { start, end, source } in &repeats {
            assert!(start < end && source != start);
            let [here, there] = [start, source].map(|at| &bytes[at as usize..][..(end - start) as usize]);
            assert_eq!(here, there);
            assert!(copies == Copies::All || source < start);
            for at in [start, source] {
                let text = starts.partition_point(|&text| text <= at);
                assert!(at + (end - start) <= starts[text], "across texts");
            }
            covered[start as usize..end as usize].fill(true);
        }
        assert!(repeats.is_sorted_by(|a, b| a.end <= b.start));
        assert_eq!(covered, naive(texts, wanted), "{wanted:?}");
        assert_eq!(found::<1>(texts, wanted, 64), repeats, "in little memory");
        // Other symbols have other anchors, and so the stretches may be put together in another way.
        let mut covered_by = vec![false; bytes.len()];
        for Repeat { start, end, .. } in found::<4>(texts, wanted, 1 << 20) {
            covered_by[start as usize..end as usize].fill(true);
        }
        assert_eq!(covered_by, covered, "of other symbols");
    }
}

/// Texts that share parts of texts: long and short ones, of few letters and of many, with periods.
fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let part = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..80),
        3 => prop::collection::vec(0_u8..2, 1..60),
        2 => (prop::collection::vec(0_u8..3, 1..9), 1_usize..40).prop_map(|(period, n)| period.repeat(n)),
    ];
    prop::collection::vec(part, 1..6).prop_flat_map(|parts| {
        let pick = (0..parts.len(), 0_usize..90, 0_usize..90);
        let text = prop::collection::vec(pick, 0..6).prop_map(move |picks| {
            let cut = |(i, from, to): (usize, usize, usize)| {
                let part: &Vec<u8> = &parts[i];
                // Mostly whole.
                let from = from.saturating_sub(60).min(part.len());
                part[from..part.len() - to.saturating_sub(60).min(part.len() - from)].to_vec()
            };
            picks.into_iter().map(cut).collect::<Vec<_>>().concat()
        });
        prop::collection::vec(text, 0..10)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn repeats_are_those_of_all_pairs_of_runs(texts in texts(), min_len in 16_usize..40) {
        assert_naive(&texts, min_len);
    }
}

#[test]
fn many_texts_that_differ_around_a_notice_are_compared_by_runs() {
    let notice = b"permission is granted to copy and distribute this text, provided that the notice stays";
    let texts: Vec<Vec<u8>> = (0..40_u8)
        .map(|i| [&[i, i ^ 1, i ^ 3][..], &notice[usize::from(i % 3)..], &[i / 2, i, 7]].concat())
        .collect();
    assert_naive(&texts, 24);
}

#[test]
fn fault_42_texts_of_one_byte_and_of_short_periods_are_sampled_sparsely() {
    for period in [&b"a"[..], b"ab", b"abc", b"\xff"] {
        let text = period.repeat(3000 / period.len());
        let (bytes, starts) = joined(&[text.clone(), text.clone()]);
        let texts: Texts<'_, 1> = Texts { symbols: bytes.as_chunks().0, starts: &starts };
        let copies = Copies::ButTheFirst(u64::MAX);
        let search = Search { texts, sampling: Sampling::new(20), min_count: 2, copies };
        let n_anchors: usize = search.chunks().map(|chunk| search.sample(&chunk).anchors.len()).sum();
        // Chunks of the tests are short, and each begins anew.
        assert!(n_anchors < 2 * 3000, "{n_anchors}");
        assert_naive(&[text.clone(), b"b".repeat(30), text], 20);
    }
    for texts in [vec![], vec![vec![]], vec![vec![0]], vec![vec![0, 0], vec![0]]] {
        assert_naive(&texts, 16);
    }
}

#[test]
fn fault_47_a_search_that_was_killed_is_gone_on_with() {
    let texts: Vec<Vec<u8>> = (0..60_u32)
        .map(|i| format!("{i} what all texts have in common {} and {}", i % 7, i % 3).into_bytes())
        .collect();
    let (bytes, starts) = joined(&texts);
    let texts: Texts<'_, 1> = Texts { symbols: bytes.as_chunks().0, starts: &starts };
    let wanted = Wanted { min_len: 20, min_count: 2, copies: Copies::ButTheFirst(u64::MAX) };
    let folder = tempfile::tempdir().unwrap();
    let unnamed = Scratch::unnamed(folder.path());
    for memory in [1 << 20, 64] {
        let expected = repeats(texts, wanted, Room { n_bytes: memory, scratch: &unnamed }, &Silent).unwrap();
        let mut n_starts = 0;
        let found = loop {
            n_starts += 1;
            let scratch = Scratch::of_run(&folder.path().join("run"), &serde_json::json!({})).unwrap();
            let room = Room { n_bytes: memory, scratch: &scratch };
            match repeats(texts, wanted, room, &Impatient::after(4)) {
                Err(error) => assert_eq!(error.exit_code(), 130),
                Ok(found) => {
                    assert!(scratch.notes().iter().any(|note| note.step == COMPARING));
                    scratch.discard().unwrap();
                    break found;
                }
            }
        };
        assert_eq!(found, expected);
        assert!(n_starts > 5, "{n_starts}");
    }
}

#[test]
fn shorter_repeats_than_can_be_sampled_are_refused() {
    let scratch = Scratch::unnamed(&std::env::temp_dir());
    let texts: Texts<'_, 1> = Texts { symbols: &[], starts: &[0] };
    let room = Room { n_bytes: 1 << 10, scratch: &scratch };
    let wanted = Wanted { min_len: MIN_REPEAT_LEN - 1, min_count: 2, copies: Copies::All };
    let error = repeats(texts, wanted, room, &Silent).unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string()),
        (2, "repeats of length 15; choose 16 or more".to_owned())
    );
}

/// For each byte whether it is in a run that stands more than once, by a suffix array and the lengths that neighbours in
/// it have in common.
fn by_suffix_array((bytes, starts): (&[u8], &[u64]), min_len: usize) -> Vec<bool> {
    let array = SuffixArrayConstruction::for_text(bytes).in_owned_buffer32().single_threaded().run().unwrap();
    let array = array.plcp_construction().single_threaded().run().unwrap();
    let array = array.lcp_construction().single_threaded().run().unwrap();
    let (places, common) = (array.suffix_array(), array.lcp());
    let mut covered = vec![false; bytes.len()];
    let mut start = 0;
    while start < places.len() {
        let mut end = start + 1;
        while end < places.len() && common[end] as usize >= min_len {
            end += 1;
        }
        // All of these begin alike; those count whose text is long enough.
        let within = |&&place: &&i32| {
            let text = starts.partition_point(|&start| start <= place as u64);
            place as usize + min_len <= starts[text] as usize
        };
        let same: Vec<usize> =
            places[start..end].iter().filter(within).map(|&place| place as usize).collect();
        for place in same.iter().filter(|_| same.len() > 1) {
            covered[*place..place + min_len].fill(true);
        }
        start = end;
    }
    covered
}

fn assert_suffix_array((bytes, starts): (&[u8], &[u64]), min_len: usize) {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let room = Room { n_bytes: 1 << 26, scratch: &scratch };
    let wanted = Wanted { min_len, min_count: 2, copies: Copies::All };
    let texts: Texts<'_, 1> = Texts { symbols: bytes.as_chunks().0, starts };
    let mut covered = vec![false; bytes.len()];
    for Repeat { start, end, .. } in repeats(texts, wanted, room, &Silent).unwrap() {
        covered[start as usize..end as usize].fill(true);
    }
    let expected = by_suffix_array((bytes, starts), min_len);
    let n_different = covered.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert_eq!(
        n_different,
        0,
        "of {} bytes, {} of them covered",
        bytes.len(),
        expected.iter().filter(|&&is| is).count()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn repeats_are_those_of_a_suffix_array(texts in texts(), min_len in 16_usize..40) {
        let (bytes, starts) = joined(&texts);
        // The two oracles agree, so that the real texts below can do without the slow one.
        let wanted = Wanted { min_len, min_count: 2, copies: Copies::All };
        prop_assert_eq!(by_suffix_array((&bytes, &starts), min_len), naive(&texts, wanted));
        assert_suffix_array((&bytes, &starts), min_len);
    }
}

#[test]
fn repeats_of_real_texts_are_those_of_a_suffix_array() {
    let Some(data) = std::env::var_os("VERBATIM_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: VERBATIM_DATA does not name the data folder");
        return;
    };
    let files = [
        "dedup/pep_revisions.jsonl.zst",
        "dedup/civil_procedure_codes.jsonl.zst",
        "dedup/book_editions.jsonl.zst",
    ];
    let inputs = files.map(|file| data.join(file));
    let corpus = Corpus::open(&inputs, &OpenConfig::standard(), &Silent).unwrap();
    let texts: Vec<Vec<u8>> = corpus.ids().map(|id| corpus.text(id).into_owned()).collect();
    let (bytes, starts) = joined(&texts);
    assert!(bytes.len() > 50_000_000, "{} bytes", bytes.len());
    assert_suffix_array((&bytes, &starts), 100);
}
