//! What each stage removes, what is kept, and that threads change nothing.

use proptest::prelude::*;
use serde_json::json;
use verbatim_corpus::DocId;
use verbatim_index::{Normalizer, Step};
use verbatim_store::{Progress, Silent};

use super::fixture::{
    Draw, both, corpus_of, corpus_of_records, exact_only, json, near, near_only, pairs, plan, plan_with_hash,
    removed, words,
};
use crate::config::{DedupConfig, Empty, ExactConfig, MinhashConfig, Stage};
use crate::error::Error;
use crate::keep::Keep;
use crate::plan::Verdict;

#[test]
fn fault_36_equal_texts_go_after_the_named_steps_and_not_before() {
    let corpus = corpus_of(&["Hello  world", "hello world", "Hello  world", "hello, world"]);
    assert_eq!(removed(&corpus, &exact_only(vec![])), [(2, 0)]);
    assert_eq!(removed(&corpus, &exact_only(vec![Step::Casefold, Step::Whitespace])), [(1, 0), (2, 0)]);
    let all = vec![Step::Casefold, Step::Punctuation, Step::Whitespace];
    let plan = plan(&corpus, &exact_only(all.clone()), &Silent).unwrap();
    assert_eq!(pairs(&plan), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(plan.parameters().exact.as_ref().unwrap().normalize.steps(), all);
}

#[test]
fn empty_texts_are_nobodys_copies() {
    let corpus = corpus_of(&["", "", "...", "!!", "a", "a"]);
    assert_eq!(removed(&corpus, &exact_only(vec![Step::Punctuation, Step::Whitespace])), [(5, 4)]);
}

#[test]
fn fault_33_texts_whose_hashes_are_forged_to_collide_never_merge() {
    let texts = ["a", "b", "a", "c", "b", "b", "d"];
    let corpus = corpus_of(&texts);
    for hash in [|_: &[u8]| 7u64, |text: &[u8]| u64::from(text[0] & 1)] {
        let plan = plan_with_hash(&corpus, &exact_only(vec![]), hash);
        assert_eq!(pairs(&plan), [(2, 0), (4, 1), (5, 1)]);
    }
}

#[test]
fn keep_policies_choose_which_copy_stays() {
    let record = |text: &str, score: serde_json::Value| json!({ "text": text, "meta": { "score": score } });
    let corpus = corpus_of_records(&[
        record("a  b c", json!(2)),
        record("a b c", json!(9007199254740993u64)),
        record("a b   c", json!(9007199254740992u64)),
        record("a   b   c", json!("high")),
        record(" a b c", json!(-0.5)),
        record("a b c ", json!(null)),
    ]);
    let kept = |policy: &str| {
        let config = DedupConfig { keep: policy.parse().unwrap(), ..exact_only(vec![Step::Whitespace]) };
        let plan = plan(&corpus, &config, &Silent).unwrap();
        assert_eq!((plan.removals().len(), plan.clusters().len()), (5, 1));
        plan.clusters()[0].kept.0
    };
    assert_eq!(kept("first"), 0);
    assert_eq!(kept("last"), 5);
    assert_eq!(kept("source[meta.score]:high,2"), 3);
    assert_eq!(kept("source[meta.score]:-0.5"), 4);
    assert_eq!(kept("longest"), 3);
    assert_eq!(kept("shortest"), 1);
    assert_eq!(kept("field:meta.score:max"), 1);
    assert_eq!(kept("field:meta.score:min"), 4);
    let drawn: std::collections::BTreeSet<u64> =
        (0..40).map(|seed| kept(&format!("random:{seed}"))).collect();
    assert!(drawn.len() > 3, "{drawn:?}");
}

#[test]
fn fault_37_empty_documents_are_counted_and_kept_removed_or_refused() {
    let corpus = corpus_of(&["", " \n\t", "a b", "...", "", "a b", "\u{3000}"]);
    let with = |empty| plan(&corpus, &DedupConfig { empty, ..both(near(1, 0.8)) }, &Silent);
    let kept = with(Empty::Keep).unwrap();
    assert_eq!((pairs(&kept), kept.n_empty()), (vec![(5, 2)], 4));
    let removed = with(Empty::Remove).unwrap();
    assert_eq!((pairs(&removed), removed.n_empty()), (vec![(0, 0), (1, 1), (4, 4), (5, 2), (6, 6)], 4));
    let stages: Vec<_> =
        removed.stages().iter().map(|tally| (tally.stage, tally.removed.documents)).collect();
    assert_eq!(stages, [(Stage::Empty, 4), (Stage::Exact, 1), (Stage::Minhash, 0)]);
    assert!(removed.clusters().len() == 1, "an empty document is nobody's copy");
    let refused = with(Empty::Error).unwrap_err();
    assert!(refused.exit_code() == 65 && refused.to_string().contains(":1:"), "{refused}");
}

#[test]
fn keys_are_compared_instead_of_texts_and_never_by_hash_alone() {
    let record = |url: serde_json::Value, text: &str| json!({ "text": text, "meta": { "url": url } });
    let corpus = corpus_of_records(&[
        record(json!("u/1"), "one text"),
        record(json!("u/1"), "quite another text"),
        record(json!("u/2"), "one text"),
        record(json!(7), "a"),
        record(json!(7), "b"),
        record(json!("7"), "c"),
        record(json!(null), "d"),
        record(json!(null), "e"),
        json!({ "text": "f" }),
        record(json!("U/1"), "g"),
    ]);
    let exact = |steps| {
        Some(ExactConfig { normalizer: Normalizer::new(steps), key: Some("meta.url".parse().unwrap()) })
    };
    let config = DedupConfig { exact: exact(vec![]), ..exact_only(vec![]) };
    let found = plan(&corpus, &config, &Silent).unwrap();
    assert_eq!(pairs(&found), [(1, 0), (4, 3), (5, 3)]);
    assert_eq!(found.stages()[0].n_without_key, 3);
    let folded = DedupConfig { exact: exact(vec![Step::Casefold]), ..exact_only(vec![]) };
    assert_eq!(pairs(&plan(&corpus, &folded, &Silent).unwrap()), [(1, 0), (4, 3), (5, 3), (9, 0)]);
    assert_eq!(pairs(&plan_with_hash(&corpus, &config, |_| 7)), [(1, 0), (4, 3), (5, 3)], "fault 33");
    // Near copies are still compared by their texts: 2 is one of 0, which has another key.
    let with_near = DedupConfig { exact: exact(vec![]), ..both(near(1, 0.8)) };
    assert_eq!(pairs(&plan(&corpus, &with_near, &Silent).unwrap()), [(1, 0), (2, 0), (4, 3), (5, 3)]);
}

#[test]
fn a_source_that_nothing_comes_from_is_refused_by_name() {
    let corpus = corpus_of_records(&[json!({ "text": "a", "from": "web" }), json!({ "text": "a" })]);
    let ranking = |policy: &str| policy.parse::<Keep>().unwrap().ranking(&corpus);
    assert_eq!(ranking("source[from]:web").unwrap(), [DocId(0), DocId(1)]);
    let error = ranking("source[from]:web,boks").unwrap_err();
    assert!(error.to_string().contains("`boks`") && error.exit_code() == 2, "{error}");
    assert!(ranking("source:web").is_err(), "the one source is the file");
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be_kept() {
    let corpus = corpus_of(&["a b c d e", "a b c d e", "x", "a b c d f", "y z", "x"]);
    let near = MinhashConfig { bands_rows: Some((200, 1)), ..near(1, 0.6) };
    let config = DedupConfig { keep: Keep::None, ..both(near) };
    let plan = plan(&corpus, &config, &Silent).unwrap();
    assert_eq!(pairs(&plan), [(0, 0), (1, 0), (2, 2), (3, 0), (5, 2)]);
    assert_eq!(plan.clusters().iter().map(|cluster| cluster.removed.len()).collect::<Vec<_>>(), [2, 1]);
    let stages: Vec<_> = plan.stages().iter().map(|tally| (tally.stage, tally.removed.documents)).collect();
    assert_eq!(stages, [(Stage::Exact, 4), (Stage::Minhash, 1)]);
    let alone = super::fixture::corpus_against(&["x", "q"], &["x"]);
    assert_eq!(pairs(&super::fixture::plan(&alone, &config, &Silent).unwrap()), [(0, 2)], "references stay");
}

#[test]
fn keep_policies_read_back_as_they_are_written() {
    for policy in [
        "first",
        "last",
        "longest",
        "shortest",
        "field:a.b:max",
        "field:x:min",
        "source:web,books",
        "source[meta.from]:web",
        "random:18446744073709551615",
        "none",
    ] {
        assert_eq!(policy.parse::<Keep>().unwrap().to_string(), policy);
    }
    for bad in [
        "newest",
        "source",
        "source:",
        "source:a,a",
        "source[]:a",
        "sourcex:a",
        "random",
        "random:-1",
        "random:x",
        "field:a",
        "field:a:up",
        "field::max",
        "",
    ] {
        assert!(matches!(bad.parse::<Keep>(), Err(Error::UnknownKeep(_))), "{bad}");
    }
}

#[test]
fn fault_40_a_document_goes_only_if_it_is_similar_to_the_kept_one_itself() {
    // 0-1 and 1-2 are similar (8 of 10), 0-2 are not (6 of 12).
    let texts = ["a b c d e f g h x", "b c d e f g h x i", "c d e f g h x i j"];
    let corpus = corpus_of(&texts);
    let mut config = near(1, 0.8);
    config.bands_rows = Some((200, 1));
    let removed = |keep: &str| removed(&corpus, &near_only(config.clone(), keep.parse().unwrap()));
    assert_eq!(removed("first"), [(1, 0)]);
    let by_score = |scores: [u32; 3]| {
        let records: Vec<_> =
            texts.iter().zip(scores).map(|(text, score)| json!({ "text": text, "score": score })).collect();
        let keep = "field:score:max".parse().unwrap();
        super::fixture::removed(&corpus_of_records(&records), &near_only(config.clone(), keep))
    };
    assert_eq!(by_score([1, 3, 2]), [(0, 1), (2, 1)]);
    // Both ends stay; the middle goes for the one that it shares most bands with.
    assert!([[(1, 0)], [(1, 2)]].contains(&by_score([2, 1, 3])[..].try_into().unwrap()));
}

#[test]
fn a_copy_of_a_near_copy_names_a_document_that_is_really_kept() {
    let base = "one two three four five six seven eight nine ten";
    let near_copy = format!("{base} eleven");
    let corpus = corpus_of(&[base, &near_copy, &near_copy, base]);
    let plan = plan(&corpus, &both(near(1, 0.8)), &Silent).unwrap();
    let found: Vec<_> = plan.removals().iter().map(|r| (r.doc.0, r.kept.0, r.stage, r.similarity)).collect();
    let near_similarity = 10.0 / 11.0 - (10.0 / 11.0) % 1e-9;
    assert_eq!(found.len(), 3);
    for (i, (doc, stage)) in
        [(1, Stage::Minhash), (2, Stage::Minhash), (3, Stage::Exact)].into_iter().enumerate()
    {
        assert_eq!((found[i].0, found[i].1, found[i].2), (doc, 0, stage));
    }
    assert!((found[1].3 - near_similarity).abs() < 1e-8 && found[2].3 == 1.0);
    assert!(matches!(plan.verdict(DocId(0)), Verdict::Kept));
    assert!(matches!(plan.verdict(DocId(2)), Verdict::Removed(removal) if removal.kept == DocId(0)));
}

#[test]
fn an_exact_copy_that_is_no_near_copy_of_the_kept_document_stays() {
    // Equal without case, but the near-copy stage minds case: 1 is similar to 0, while 2 and 3 are not.
    let corpus =
        corpus_of(&["a b c d e f g h i X", "a b c d e f g h i", "A B C D E F G H I", "A B C d E F G H I"]);
    let shingler =
        verbatim_index::Shingler::new(verbatim_index::Unit::Word, 1, Normalizer::default(), None).unwrap();
    let config = DedupConfig {
        exact: Some(ExactConfig { normalizer: Normalizer::new(vec![Step::Casefold]), key: None }),
        ..near_only(MinhashConfig { shingler, ..near(1, 0.8) }, Keep::First)
    };
    let plan = plan(&corpus, &config, &Silent).unwrap();
    let found: Vec<_> = plan.removals().iter().map(|r| (r.doc.0, r.kept.0, r.stage)).collect();
    assert_eq!(found, [(1, 0, Stage::Minhash), (3, 2, Stage::Exact)]);
}

#[test]
fn the_plan_has_the_same_bytes_for_any_number_of_threads() {
    let mut draw = Draw::new(5);
    let bases: Vec<Vec<String>> = (0..60).map(|_| draw.text(80)).collect();
    let texts: Vec<String> = (0..1500)
        .map(|_| {
            let base = &bases[draw.below(60) as usize];
            let n_edits = draw.below(12) as usize;
            draw.edited(base, n_edits).join(" ")
        })
        .collect();
    let corpus = corpus_of(&texts);
    for keep in ["first", "longest", "random:3"] {
        let config = DedupConfig { keep: keep.parse().unwrap(), ..both(near(2, 0.7)) };
        let run = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| json(&plan(&corpus, &config, &Silent).unwrap()))
        };
        let one = run(1);
        assert!(one.contains("\"minhash\""));
        assert!(run(2) == one && run(8) == one, "{keep}");
    }
}

#[test]
fn fault_39_a_band_shared_by_thousands_of_copies_takes_linear_work() {
    let mut draw = Draw::new(6);
    let base = draw.text(40);
    let texts: Vec<String> = (0..5000).map(|_| draw.edited(&base, 1).join(" ")).collect();
    let corpus = corpus_of(&texts);
    let plan = plan(&corpus, &near_only(near(1, 0.8), Keep::First), &Silent).unwrap();
    assert!(plan.removals().len() > 4990);
    assert!(plan.stages()[0].n_compared < 20_000, "{:?}", plan.stages());
}

#[test]
fn fault_38_configurations_that_promise_nothing_are_refused() {
    let corpus = corpus_of(&["a"]);
    let error =
        |minhash: MinhashConfig| plan(&corpus, &near_only(minhash, Keep::First), &Silent).unwrap_err();
    assert!(matches!(error(near(5, 0.0)), Error::Threshold(_)));
    assert!(matches!(error(near(5, f64::NAN)), Error::Threshold(_)));
    assert!(matches!(error(MinhashConfig { recall: 1.0, ..near(5, 0.8) }), Error::Recall(_)));
    for bands_rows in [(0, 1), (1, 0), (8193, 2), (usize::MAX, 2)] {
        let minhash = MinhashConfig { bands_rows: Some(bands_rows), ..near(5, 0.8) };
        assert!(matches!(error(minhash), Error::BandsRows { .. }), "{bands_rows:?}");
    }
    let nothing = DedupConfig { exact: None, ..exact_only(Vec::new()) };
    assert!(matches!(plan(&corpus, &nothing, &Silent), Err(Error::NoStage)));
}

#[test]
fn an_interrupted_run_makes_no_plan() {
    struct Stopped;
    impl Progress for Stopped {
        fn stage(&self, _: &'static str, _: Option<u64>, _: &'static str) {}
        fn advance(&self, _: u64) {}
        fn interrupted(&self) -> bool {
            true
        }
    }
    let corpus = corpus_of(&["a b c", "a b c"]);
    for config in [exact_only(vec![]), near_only(near(1, 0.8), Keep::First)] {
        let error = plan(&corpus, &config, &Stopped).unwrap_err();
        assert_eq!(error.exit_code(), 130);
    }
}

#[test]
fn corpora_of_no_and_one_document_have_empty_plans() {
    for texts in [&[][..], &["a b c"], &[""]] {
        assert_eq!(removed(&corpus_of(texts), &both(near(1, 0.8))), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn stars_equal_the_naive_rule(texts in prop::collection::vec("([a-f] ){0,7}", 0..24), keep in 0usize..4) {
        let keep: Keep = ["first", "longest", "shortest", "random:5"][keep].parse().unwrap();
        let corpus = corpus_of(&texts);
        // So many bands of one row that every pair with a shared shingle is a candidate, up to 2^-60.
        let config = MinhashConfig { bands_rows: Some((800, 1)), ..near(2, 0.5) };
        let ranking = keep.ranking(&corpus).unwrap();
        let shingler = words(2);
        let sets: Vec<_> = ranking.iter().map(|&doc| shingler.shingles(&corpus.text_str(doc))).collect();
        let mut kept: Vec<usize> = Vec::new();
        for (rank, set) in sets.iter().enumerate() {
            let copy_of = |&&other: &&usize| {
                let (shared, union) = set.jaccard(&sets[other]);
                union > 0 && 2 * shared >= union
            };
            if kept.iter().find(copy_of).is_none() {
                kept.push(rank);
            }
        }
        let mut expected: Vec<u64> = kept.into_iter().map(|rank| ranking[rank].0).collect();
        expected.sort_unstable();
        let mask = plan(&corpus, &near_only(config, keep), &Silent).unwrap().keep_mask();
        let found: Vec<u64> = (0..texts.len() as u64).filter(|&doc| mask[doc as usize]).collect();
        prop_assert_eq!(found, expected);
    }
}
