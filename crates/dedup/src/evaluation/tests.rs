//! The figures against scikit-learn and against counting every pair.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::error::Error;

/// A plan of these clusters that keeps the first document of each.
fn first_kept(clusters: &[u32]) -> Decided {
    let first = |doc: usize| clusters.iter().position(|cluster| *cluster == clusters[doc]).unwrap();
    let fate = |doc| if first(doc) == doc { Fate::Kept } else { Fate::GoesFor(first(doc) as u32) };
    Decided { clusters: clusters.to_vec(), fates: (0..clusters.len()).map(fate).collect() }
}

fn part(part: u64, whole: u64) -> Part {
    Part { part, whole }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

/// scikit-learn 1.9.1: `adjusted_rand_score`, `pair_confusion_matrix`, and `f1_score(average="macro")` of the classes by
/// the rule of the CORE benchmark; the rest by sets in Python.
#[test]
fn the_figures_are_those_of_scikit_learn() {
    let truth = Truth::Clusters(vec![0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7]);
    let found = evaluate(&first_kept(&[0, 0, 0, 2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8]), &truth);
    assert!(close(found.adjusted_rand_index, 0.5190839694656488), "{found:?}");
    assert_eq!(found.pairs, Scores { precision: part(6, 13), recall: part(6, 8) });
    assert!(close(found.pairs.f1().unwrap(), 0.5714285714285714));
    assert_eq!(found.duplicates, Scores { precision: part(6, 8), recall: part(6, 9) });
    assert_eq!(found.non_duplicates, Scores { precision: part(3, 6), recall: part(3, 5) });
    assert!(close(found.macro_f1().unwrap(), 0.625668449197861));
    assert_eq!(found.exact_sets, part(6, 14));
    assert_eq!(found.removals, Scores { precision: part(2, 6), recall: part(2, 6) });
    assert_eq!(found.removed_with_copy, part(5, 6));
    assert_eq!(found.lost_components, part(2, 8));
    assert_eq!(found.leaked_pairs, part(2, 8));
}

#[test]
fn the_rand_index_is_that_of_scikit_learn_at_its_ends() {
    for (a, b, expected) in [
        (&[0, 0, 1, 2][..], &[0, 0, 1, 1][..], 0.5714285714285714),
        (&[0, 0, 1, 1], &[1, 1, 0, 0], 1.0),
        (&[0, 0, 0, 0], &[0, 1, 2, 3], 0.0),
        (&[0, 1, 2, 3], &[3, 2, 1, 0], 1.0),
        (&[5, 5], &[5, 5], 1.0),
        (&[], &[], 1.0),
        (&[1], &[2], 1.0),
    ] {
        assert!(close(adjusted_rand_index(a, b), expected), "{a:?} {b:?}");
    }
}

/// The mean of the precisions rises when a plan predicts fewer duplicates and misses most; the F1 does not.
#[test]
fn peer_text_dedup_macro_f1_is_no_mean_of_precisions() {
    let truth = Truth::Clusters((0..20).map(|doc| doc / 2).chain(20..40).collect());
    let clusters: Vec<u32> = (0..40).map(|doc| if doc == 1 { 0 } else { doc }).collect();
    let found = evaluate(&first_kept(&clusters), &truth);
    let precisions = [found.duplicates, found.non_duplicates].map(|scores| scores.precision.share().unwrap());
    assert!(precisions.iter().sum::<f64>() / 2.0 > 0.76);
    assert!(found.macro_f1().unwrap() < 0.5, "{found:?}");
}

#[test]
fn nothing_predicted_of_nothing_true_is_no_share() {
    let found = evaluate(&first_kept(&[0, 1, 2]), &Truth::pairs(3, []));
    assert_eq!((found.pairs.f1(), found.removals.f1(), found.macro_f1()), (None, None, None));
    assert_eq!((found.exact_sets, found.lost_components), (part(3, 3), part(0, 3)));
    let empty = evaluate(&Decided::default(), &Truth::pairs(0, []));
    assert_eq!(empty.n_documents, 0);
}

#[test]
fn a_copy_of_a_copy_need_not_be_a_copy() {
    // 0-1 and 1-2 are copies, 0-2 are not: whoever removes 1 and 2 for 0 is wrong about 2, but loses no component.
    let truth = Truth::pairs(3, [(1, 0), (2, 1), (1, 2), (1, 1)]);
    let found = evaluate(&first_kept(&[0, 0, 0]), &truth);
    assert_eq!(found.removals, Scores { precision: part(1, 2), recall: part(1, 2) });
    assert_eq!(found.removed_with_copy, part(2, 2));
    assert_eq!(found.pairs, Scores { precision: part(2, 3), recall: part(2, 2) });
    assert_eq!(found.lost_components, part(0, 1));
    let star = evaluate(&first_kept(&[0, 0, 2]), &truth);
    assert_eq!((star.removals.precision, star.leaked_pairs), (part(1, 1), part(0, 2)));
}

#[test]
fn a_removal_for_a_document_without_a_label_is_not_judged() {
    let decided = Decided { clusters: vec![7, 1], fates: vec![Fate::GoesForUnlabelled, Fate::Kept] };
    let found = evaluate(&decided, &Truth::Clusters(vec![0, 1]));
    assert_eq!(
        (found.n_unjudged, found.removals.precision, found.lost_components),
        (1, part(0, 0), part(1, 2))
    );
}

/// All figures by looking at every pair of documents.
fn naive(decided: &Decided, truth: &Truth) -> Evaluation {
    let n = decided.clusters.len() as u32;
    let copies = |a: u32| -> BTreeSet<u32> { (0..n).filter(|&b| a != b && truth.are_copies(a, b)).collect() };
    let cluster = |a: u32| -> BTreeSet<u32> {
        (0..n).filter(|&b| a != b && decided.clusters[a as usize] == decided.clusters[b as usize]).collect()
    };
    let kept = |a: u32| decided.fates[a as usize] == Fate::Kept;
    let mut components: Vec<BTreeSet<u32>> = Vec::new();
    for doc in 0..n {
        let (mine, others): (Vec<_>, Vec<_>) = components
            .into_iter()
            .partition(|component| component.iter().any(|&other| truth.are_copies(doc, other)));
        components = others;
        components.push(mine.into_iter().flatten().chain([doc]).collect());
    }
    let pairs = || (0..n).flat_map(|a| (0..a).map(move |b| (a, b)));
    let count = |holds: &dyn Fn(u32, u32) -> bool| pairs().filter(|&(a, b)| holds(a, b)).count() as u64;
    let in_cluster = |a: u32, b: u32| decided.clusters[a as usize] == decided.clusters[b as usize];
    let in_component = |a: u32, b: u32| components.iter().any(|set| set.contains(&a) && set.contains(&b));
    let made = count(&in_cluster);
    let asked = count(&|a, b| truth.are_copies(a, b));
    let both = count(&|a, b| in_cluster(a, b) && truth.are_copies(a, b));
    let of = |holds: &dyn Fn(u32) -> bool| (0..n).filter(|&doc| holds(doc)).count() as u64;
    let hit =
        |doc| !copies(doc).is_empty() && !cluster(doc).is_empty() && copies(doc).is_subset(&cluster(doc));
    let false_alarm = |doc| !cluster(doc).is_empty() && !hit(doc);
    let miss = |doc| cluster(doc).is_empty() && !copies(doc).is_empty();
    let rejection = |doc| cluster(doc).is_empty() && copies(doc).is_empty();
    let [tp, fp, fneg, tn] = [of(&hit), of(&false_alarm), of(&miss), of(&rejection)];
    let n_gone = of(&|doc| !kept(doc));
    let right = of(
        &|doc| matches!(decided.fates[doc as usize], Fate::GoesFor(other) if truth.are_copies(doc, other)),
    );
    // The index by pairs: 2(ad - bc) / ((a+b)(b+d) + (a+c)(c+d)).
    let [a, b, c, d] = [
        count(&|x, y| in_cluster(x, y) && in_component(x, y)),
        count(&|x, y| in_cluster(x, y) && !in_component(x, y)),
        count(&|x, y| !in_cluster(x, y) && in_component(x, y)),
        count(&|x, y| !in_cluster(x, y) && !in_component(x, y)),
    ]
    .map(|n| n as f64);
    let below = (a + b) * (b + d) + (a + c) * (c + d);
    Evaluation {
        n_documents: u64::from(n),
        pairs: Scores { precision: part(both, made), recall: part(both, asked) },
        removals: Scores {
            precision: part(right, n_gone),
            recall: part(right, u64::from(n) - components.len() as u64),
        },
        removed_with_copy: part(of(&|doc| !kept(doc) && !copies(doc).is_empty()), n_gone),
        exact_sets: part(of(&|doc| copies(doc) == cluster(doc)), u64::from(n)),
        duplicates: Scores { precision: part(tp, tp + fp), recall: part(tp, tp + fneg) },
        non_duplicates: Scores { precision: part(tn, tn + fneg), recall: part(tn, tn + fp) },
        adjusted_rand_index: if below == 0.0 { 1.0 } else { 2.0 * (a * d - b * c) / below },
        lost_components: part(
            components.iter().filter(|set| !set.iter().any(|&doc| kept(doc))).count() as u64,
            components.len() as u64,
        ),
        leaked_pairs: part(count(&|a, b| truth.are_copies(a, b) && kept(a) && kept(b)), asked),
        n_unjudged: 0,
    }
}

proptest! {
    #[test]
    fn every_figure_is_that_of_counting_all_pairs(
        (labels, clusters, pairs) in (1_usize..12).prop_flat_map(|n| {
            let label = proptest::collection::vec(0_u32..6, n);
            let pair = (0..n as u32, 0..n as u32);
            (label.clone(), label, proptest::collection::vec(pair, 0..14))
        })
    ) {
        let decided = first_kept(&clusters);
        for truth in [Truth::Clusters(labels.clone()), Truth::pairs(labels.len() as u32, pairs)] {
            let (found, naive) = (evaluate(&decided, &truth), naive(&decided, &truth));
            prop_assert!(close(found.adjusted_rand_index, naive.adjusted_rand_index), "{found:?} {naive:?}");
            let adjusted_rand_index = naive.adjusted_rand_index;
            prop_assert_eq!(Evaluation { adjusted_rand_index, ..found }, naive);
        }
    }
}

fn read(content: &str, threshold: Option<f64>) -> Result<Labels, Error> {
    let ids = ["a", "b", "c", "7", "twice", "twice"].map(str::to_owned);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth");
    verbatim_store::write_shared(&path, content.as_bytes()).unwrap();
    Labels::read(&path, &ids, threshold)
}

#[test]
fn both_forms_of_truth_are_read() {
    let lines = [
        r#"{"id": 7, "cluster": "x"}"#,
        "",
        r#"{"cluster": "x", "id": "a", "more": 1}"#,
        r#"{"id":"b","cluster":3}"#,
        r#"{"id":"?","cluster":3}"#,
    ];
    let labels = read(&lines.join("\r\n"), None).unwrap();
    let expected = Labels { truth: Truth::Clusters(vec![0, 1, 0]), docs: vec![0, 1, 3], n_unknown: 1 };
    assert_eq!(labels, expected);
    let labels = read("a\tb\t0.8\nc\ta\t0.79\n7\t?\t0.9\n", Some(0.8)).unwrap();
    assert_eq!(labels.truth, Truth::pairs(6, [(0, 1)]));
    assert_eq!((labels.n_unknown, labels.docs.len()), (1, 6));
    let labels = read("first\tsecond\tjaccard\nc\tb\t1\n", Some(1.0)).unwrap();
    assert_eq!(labels.truth, Truth::pairs(6, [(1, 2)]));
    assert_eq!(read("a\tb\nb\ta\n", None).unwrap().truth, Truth::pairs(6, [(0, 1)]));
}

#[test]
fn a_truth_that_cannot_be_used_is_refused_with_its_line() {
    for (content, threshold, code, part) in [
        ("a\tb\t0.8\n", None, 2, "--truth-threshold"),
        ("a\tb\n", Some(0.8), 2, "--truth-threshold"),
        ("{\"id\":\"a\",\"cluster\":1}\n", Some(0.8), 2, "--truth-threshold"),
        ("a b\n", None, 65, "truth:1:"),
        ("a\tb\t0.9\nb\tc\tnan\n", Some(0.8), 65, "truth:2:"),
        ("{\"id\":\"a\",\"cluster\":1}\n{\"id\":\"a\",\"cluster\":1}\n", None, 65, "truth:2:"),
        ("{\"id\":\"a\",\"cluster\":1}\n{\"id\":\"b\"}\n", None, 65, "truth:2:"),
        ("{\"id\":\"a\",\"cluster\":null}\n", None, 65, "truth:1:"),
        ("a\ttwice\n", None, 65, "more than one document"),
        ("x\ty\n", None, 65, "none of its ids"),
        ("{\"id\":\"x\",\"cluster\":1}\n", None, 65, "none of its ids"),
        ("", None, 65, "holds nothing"),
    ] {
        let error = read(content, threshold).unwrap_err();
        assert_eq!(error.exit_code(), code, "{content:?}: {error}");
        assert!(error.to_string().contains(part), "{content:?}: {error}");
    }
}
