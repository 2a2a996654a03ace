//! Defects of other tools (found by reading and measuring them), each asserted absent here.

use std::sync::Arc;

use verbatim_index::{Normalizer, Shingler, TokenFn, Unit};
use verbatim_store::Silent;

use super::fixture::{
    Draw, all_pairs_only, both, corpus_of, exact_only, near, near_only, pairs, plan, removed,
};
use crate::config::{DedupConfig, MinhashConfig};
use crate::keep::Keep;
use crate::similarity::Measure;

fn text(words: &[&str]) -> String {
    words.join(" ")
}

#[test]
fn peer_text_dedup_verified_pairs_are_not_regrouped_into_their_old_cluster() {
    // Four documents in one unverified cluster, of which only (0, 2) and (1, 3) are similar: two stay, not one.
    let shared = ["s1", "s2", "s3", "s4"];
    let a: Vec<&str> = [&shared[..], &["a1", "a2", "a3", "a4", "a5", "a6"]].concat();
    let b: Vec<&str> = [&shared[..], &["b1", "b2", "b3", "b4", "b5", "b6"]].concat();
    let corpus = corpus_of(&[text(&a), text(&b), text(&a) + " x", text(&b) + " y"]);
    let mut config = near(1, 0.8);
    config.bands_rows = Some((200, 1)); // Wide open: every pair is a candidate.
    let plan = plan(&corpus, &near_only(config, Keep::First), &Silent).unwrap();
    assert_eq!(pairs(&plan), [(2, 0), (3, 1)]);
    assert!(plan.stages()[0].n_compared >= 3, "all four met in one bucket");
}

#[test]
fn peer_data_juicer_short_documents_are_no_duplicate_class() {
    // datatrove and text-dedup: documents shorter than n have no shingles, so they are never found or vanish.
    let corpus =
        corpus_of(&["cat", "dog", "cat", "", "", "one two", "one two three", "!!!", "???", "two one"]);
    assert_eq!(removed(&corpus, &near_only(near(5, 0.8), Keep::First)), [(2, 0)]);
    assert_eq!(removed(&corpus, &both(near(5, 0.8))), [(2, 0)]);
}

#[test]
fn peer_rensa_the_first_of_a_cluster_is_not_flagged() {
    let corpus = corpus_of(&["a b c d e f", "a b c d e f", "u n i q u e", "a b c d e f"]);
    assert_eq!(removed(&corpus, &near_only(near(2, 0.8), Keep::First)), [(1, 0), (3, 0)]);
}

#[test]
fn peer_duplodocus_the_first_copy_wins_no_thread_race() {
    let mut draw = Draw::new(3);
    let texts: Vec<String> = (0..40).map(|_| draw.text(30).join(" ")).collect();
    let copies: Vec<&String> = texts.iter().cycle().take(4000).collect();
    let corpus = corpus_of(&copies);
    let expected: Vec<(u64, u64)> = (40..4000).map(|doc| (doc, doc % 40)).collect();
    for _ in 0..3 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        pool.install(|| {
            assert_eq!(removed(&corpus, &both(near(3, 0.8))), expected);
            assert_eq!(removed(&corpus, &near_only(near(3, 0.8), Keep::First)), expected);
        });
    }
}

#[test]
fn peer_marin_a_chain_of_similar_documents_wipes_out_nothing() {
    // Transitive closure over a chain left 2 of 859,092 documents. Each document here shares 19 of 21 words with
    // the next, and nothing with one twenty further on.
    let words: Vec<String> = (0..320).map(|i| format!("w{i}")).collect();
    let texts: Vec<String> = words.windows(20).map(|window| window.join(" ")).collect();
    let corpus = corpus_of(&texts);
    for keep in ["first", "longest", "shortest", "random:7"] {
        let plan = plan(&corpus, &near_only(near(1, 0.8), keep.parse().unwrap()), &Silent).unwrap();
        for removal in plan.removals() {
            assert!(removal.similarity >= 0.8 && removal.doc.0.abs_diff(removal.kept.0) <= 2, "{removal:?}");
        }
        // A star reaches two documents to each side, so at least a fifth stays; each kept one has a copy.
        let n_kept = texts.len() - plan.removals().len();
        assert!(n_kept >= texts.len() / 5 && n_kept <= texts.len() / 2, "{keep}: {n_kept}");
    }
}

#[test]
fn peer_data_juicer_every_removed_document_names_a_kept_one() {
    let mut draw = Draw::new(9);
    let base = draw.text(60);
    let texts: Vec<String> = (0..200).map(|i| draw.edited(&base, i % 7).join(" ")).collect();
    let corpus = corpus_of(&texts);
    let plan = plan(&corpus, &both(near(2, 0.7)), &Silent).unwrap();
    let keep = plan.keep_mask();
    assert!(!plan.removals().is_empty());
    assert!(
        plan.removals().iter().all(|removal| keep[removal.kept.0 as usize] && !keep[removal.doc.0 as usize])
    );
}

#[test]
fn fault_34_texts_that_are_all_equal_or_all_different_take_linear_work() {
    let n = 20_000;
    let all_pairs = |measure| all_pairs_only(2, 0.8, measure);
    let near = near_only(near(2, 0.8), Keep::First);
    for config in [exact_only(vec![]), near, all_pairs(Measure::Jaccard), all_pairs(Measure::Containment)] {
        let found = |text: fn(usize) -> String| {
            let corpus = corpus_of(&(0..n).map(text).collect::<Vec<_>>());
            let plan = plan(&corpus, &config, &Silent).unwrap();
            (pairs(&plan), plan.stages()[0].n_compared)
        };
        let (removed, n_compared) = found(|_| "one text and the same in each document".to_owned());
        assert!(removed == (1..n as u64).map(|doc| (doc, 0)).collect::<Vec<_>>(), "{config:?}");
        assert_eq!(n_compared, n as u64 - 1, "{config:?}");
        let (removed, n_compared) = found(|doc| format!("a{doc} b{doc} c{doc} d{doc} e{doc}"));
        assert_eq!((removed, n_compared), (vec![], 0), "{config:?}");
    }
}

#[test]
fn peer_rensa_gaoya_datasketch_a_pair_that_only_the_estimate_calls_similar_stays() {
    // One band of all rows: what meets in it has equal signatures, an estimated similarity of 1. The exact one is
    // 7 of 10.
    let mut draw = Draw::new(11);
    let texts: Vec<String> = (0..400)
        .flat_map(|_| {
            let text = draw.text(10);
            let part = text[..7].join(" ");
            [text.join(" "), part]
        })
        .collect();
    let corpus = corpus_of(&texts);
    let config = |threshold| MinhashConfig { bands_rows: Some((1, 8)), ..near(1, threshold) };
    let plan_at = |threshold| plan(&corpus, &near_only(config(threshold), Keep::First), &Silent).unwrap();
    let met = plan_at(0.65).removals().len();
    assert!((5..60).contains(&met), "{met} of 400 pairs have equal signatures; 23 are expected");
    let verified = plan_at(0.75);
    assert_eq!(pairs(&verified), []);
    assert_eq!(verified.stages()[0].n_compared, met as u64);
}

#[test]
fn peer_datatrove_tokens_are_told_apart_beyond_16_bits_and_need_not_give_the_text_back() {
    // datatrove keeps the ids of tokens in 16 bits, and stops where decoding does not give the text back.
    let tokens: TokenFn = Arc::new(|text| text.split(' ').map(|id| id.parse().unwrap()).collect());
    let shingler = Shingler::new(Unit::Token, 2, Normalizer::default(), Some(tokens)).unwrap();
    let ids = |offset: u32| (1..=20).map(|id| (id + offset).to_string()).collect::<Vec<_>>().join(" ");
    let zeros = ids(0).replace(' ', " 0");
    let corpus = corpus_of(&[ids(0), ids(1 << 16), ids(1 << 17), ids(0) + " 99", ids(1 << 31), zeros]);
    let config = near_only(MinhashConfig { shingler, ..near(2, 0.8) }, Keep::First);
    assert_eq!(removed(&corpus, &config), [(3, 0), (5, 0)]);
}

#[test]
fn peer_marin_8155_the_better_copy_survives_if_it_is_asked_for() {
    let mut draw = Draw::new(13);
    let texts: Vec<Vec<String>> = (0..50).map(|_| draw.text(60)).collect();
    let cut = |text: &[String], by: usize| text[..60 - by].join(" ");
    let texts: Vec<String> =
        texts.iter().flat_map(|text| [cut(text, 4), cut(text, 0), cut(text, 2), cut(text, 0)]).collect();
    let corpus = corpus_of(&texts);
    for config in [both(near(3, 0.8)), near_only(near(3, 0.8), Keep::First)] {
        let mask =
            plan(&corpus, &DedupConfig { keep: Keep::Longest, ..config }, &Silent).unwrap().keep_mask();
        let kept: Vec<usize> = (0..texts.len()).filter(|&doc| mask[doc]).collect();
        assert_eq!(kept, (0..50).map(|i| 4 * i + 1).collect::<Vec<_>>());
    }
}
