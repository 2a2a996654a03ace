//! Repeats are those that comparing every run of bytes with every other finds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use verbatim_store::Silent;

use super::*;

fn joined(texts: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
    let mut starts = vec![0];
    texts.iter().for_each(|text| starts.push(starts[starts.len() - 1] + text.len() as u64));
    (texts.concat(), starts)
}

fn found(texts: &[Vec<u8>], min_bytes: usize, copies: Copies, memory: usize) -> Vec<Repeat> {
    let (bytes, starts) = joined(texts);
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let room = SearchRoom { n_bytes: memory, scratch: &scratch };
    repeats(Texts { bytes: &bytes, starts: &starts }, min_bytes, copies, room, &Silent).unwrap()
}

/// For each byte whether it is in a run that repeats another, by the definition.
fn naive(texts: &[Vec<u8>], min_bytes: usize, copies: Copies) -> Vec<bool> {
    let (bytes, starts) = joined(texts);
    let mut runs: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for text in starts.windows(2) {
        let (start, end) = (text[0] as usize, text[1] as usize);
        for at in start..(end + 1).saturating_sub(min_bytes) {
            runs.entry(&bytes[at..at + min_bytes]).or_default().push(at);
        }
    }
    let text_of = |at: usize| starts.partition_point(|&start| start <= at as u64);
    let mut covered = vec![false; bytes.len()];
    for places in runs.values() {
        for &place in places {
            let is_repeat = match copies {
                Copies::All => places.len() > 1,
                Copies::ButTheFirst(end) => places.iter().any(|&other| {
                    let is_apart = text_of(other) != text_of(place) || place >= other + min_bytes;
                    other < place && is_apart && (other as u64) < end
                }),
            };
            if is_repeat {
                covered[place..place + min_bytes].fill(true);
            }
        }
    }
    covered
}

fn assert_naive(texts: &[Vec<u8>], min_bytes: usize) {
    let (bytes, starts) = joined(texts);
    let half = starts[starts.len() / 2];
    for copies in
        [Copies::All, Copies::ButTheFirst(u64::MAX), Copies::ButTheFirst(half), Copies::ButTheFirst(0)]
    {
        let repeats = found(texts, min_bytes, copies, 1 << 20);
        let mut covered = vec![false; bytes.len()];
        for &Repeat { start, end, source } in &repeats {
            assert!(end - start >= min_bytes as u64 && source != start);
            assert_eq!(bytes[start as usize], bytes[source as usize]);
            assert!(copies == Copies::All || source < start);
            let text = starts.partition_point(|&text| text <= start);
            assert!(end <= starts[text], "across texts");
            covered[start as usize..end as usize].fill(true);
        }
        assert!(repeats.is_sorted_by(|a, b| a.end <= b.start));
        assert_eq!(covered, naive(texts, min_bytes, copies), "{copies:?}");
        assert_eq!(found(texts, min_bytes, copies, 64), repeats, "in little memory");
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
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn repeats_are_those_of_all_pairs_of_runs(texts in texts(), min_bytes in 16_usize..40) {
        assert_naive(&texts, min_bytes);
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
        let texts = Texts { bytes: &bytes, starts: &starts };
        let search = Search { texts, sampling: Sampling::new(20), copies: Copies::ButTheFirst(u64::MAX) };
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
fn shorter_repeats_than_can_be_sampled_are_refused() {
    let scratch = Scratch::unnamed(&std::env::temp_dir());
    let texts = Texts { bytes: b"", starts: &[0] };
    let room = SearchRoom { n_bytes: 1 << 10, scratch: &scratch };
    let error = repeats(texts, MIN_REPEAT_BYTES - 1, Copies::All, room, &Silent).unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string()),
        (2, "repeats of 15 bytes; choose 16 or more".to_owned())
    );
}
