//! The join finds what comparing all with all finds, for both measures, in whatever memory.

use proptest::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Shingles;
use verbatim_store::Silent;

use super::fixture::{
    Draw, all_pairs_only, corpus_against, corpus_of, exact_only, little, near, pairs, plan,
};
use crate::config::{AllPairsConfig, Clustering, DedupConfig, MinhashConfig};
use crate::error::Error;
use crate::keep::Keep;
use crate::roles::ranking;
use crate::similarity::{Measure, Threshold};

/// What the rule of stars removes when every document is compared with every kept one: (document, any of those that it
/// may go for).
fn naive(corpus: &Corpus, config: &DedupConfig) -> Vec<(u64, Vec<u64>)> {
    let all = config.all_pairs.as_ref().unwrap();
    let threshold = Threshold::new(all.threshold).unwrap();
    let is_reference = |doc: DocId| doc.0 >= corpus.n_documents();
    let mut order: Vec<(DocId, Shingles)> = ranking(corpus, config)
        .unwrap()
        .into_iter()
        .map(|doc| (doc, all.shingler.shingles(&corpus.text_str(doc))))
        .collect();
    if all.measure == Measure::Containment {
        order.sort_by_key(|(doc, set)| (!is_reference(*doc), std::cmp::Reverse(set.len())));
    }
    let mut kept: Vec<usize> = Vec::new();
    let mut removed = Vec::new();
    for (i, (doc, set)) in order.iter().enumerate() {
        let similar = |&other: &usize| {
            let other = &order[other].1;
            let shared = set.hashes().iter().filter(|hash| other.hashes().contains(hash)).count();
            shared > 0 && threshold.reached_by(all.measure.of(set.len(), other.len(), shared))
        };
        let copy_of: Vec<u64> = kept.iter().copied().filter(similar).map(|other| order[other].0.0).collect();
        match copy_of.is_empty() || is_reference(*doc) {
            true if config.only_references && !is_reference(*doc) => {}
            true => kept.push(i),
            false => removed.push((doc.0, copy_of)),
        }
    }
    removed.sort();
    removed
}

fn assert_naive(corpus: &Corpus, config: &DedupConfig) {
    let expected = naive(corpus, config);
    let found = pairs(&plan(corpus, config, &Silent).unwrap());
    let docs = |removed: &[(u64, Vec<u64>)]| removed.iter().map(|removal| removal.0).collect::<Vec<_>>();
    assert_eq!(found.iter().map(|removal| removal.0).collect::<Vec<_>>(), docs(&expected));
    for ((doc, kept), (_, similar)) in found.iter().zip(&expected) {
        assert_eq!(kept, &similar[0], "{doc} goes for the most preferred of its copies");
    }
    assert_eq!(pairs(&crate::finder::plan(corpus, config, &little(), &Silent).unwrap()), found);
    let all_pairs = config.all_pairs.clone().map(|all| AllPairsConfig { brute_force: true, ..all });
    assert_eq!(pairs(&plan(corpus, &DedupConfig { all_pairs, ..config.clone() }, &Silent).unwrap()), found);
}

#[test]
fn all_pairs_of_long_texts_are_found_for_both_measures() {
    // Versions of texts, and parts of them: long enough that prefixes must share several shingles.
    let mut draw = Draw::new(31);
    let mut texts = Vec::new();
    for _ in 0..25 {
        let base = draw.text(400);
        texts.push(base.join(" "));
        for n_edits in [3, 20, 40, 80] {
            let edited = draw.edited(&base, n_edits);
            let start = draw.below(200) as usize;
            texts.push(edited.join(" "));
            texts.push(edited[start..start + 200].join(" "));
        }
    }
    let corpus = corpus_of(&texts);
    for measure in [Measure::Jaccard, Measure::Containment] {
        for threshold in [0.3, 0.5, 0.8, 0.95, 1.0] {
            for keep in ["first", "shortest", "random:3"] {
                let config =
                    DedupConfig { keep: keep.parse().unwrap(), ..all_pairs_only(2, threshold, measure) };
                assert_naive(&corpus, &config);
            }
        }
    }
    let n_removed = |measure| naive(&corpus, &all_pairs_only(2, 0.8, measure)).len();
    assert!(
        n_removed(Measure::Jaccard) >= 25
            && n_removed(Measure::Containment) > n_removed(Measure::Jaccard) + 25
    );
}

#[test]
fn a_part_goes_for_the_whole_whatever_the_policy() {
    let whole = "the quick brown fox jumps over the lazy dog and runs away into the dark wood";
    let corpus =
        corpus_of(&["quick brown fox jumps over the lazy dog", whole, "something else that is as long"]);
    for keep in ["first", "longest", "shortest", "random:1"] {
        let config =
            DedupConfig { keep: keep.parse().unwrap(), ..all_pairs_only(3, 0.9, Measure::Containment) };
        let plan = plan(&corpus, &config, &Silent).unwrap();
        assert_eq!(pairs(&plan), [(0, 1)]);
        assert_eq!(plan.removals()[0].similarity, 1.0);
    }
}

#[test]
fn copies_that_the_exact_stage_removes_are_not_compared_again() {
    let corpus = corpus_of(&["a b c d e f", "a b c d e f", "a b c d e g", "A B C D E F"]);
    let config =
        DedupConfig { all_pairs: all_pairs_only(1, 0.7, Measure::Jaccard).all_pairs, ..exact_only(vec![]) };
    let plan = plan(&corpus, &config, &Silent).unwrap();
    assert_eq!(pairs(&plan), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(plan.stages().iter().map(|tally| tally.n_compared).collect::<Vec<_>>(), [1, 2]);
}

/// The best document of each component of similar pairs, for every other document of it, by comparing all with all.
fn naive_components(corpus: &Corpus, config: &DedupConfig) -> Vec<(u64, u64)> {
    let all = config.all_pairs.as_ref().unwrap();
    let threshold = Threshold::new(all.threshold).unwrap();
    let ranking = ranking(corpus, config).unwrap();
    let sets: Vec<Shingles> =
        ranking.iter().map(|&doc| all.shingler.shingles(&corpus.text_str(doc))).collect();
    let mut component: Vec<usize> = (0..sets.len()).collect();
    for a in 0..sets.len() {
        for b in 0..a {
            let (shared, _) = sets[a].jaccard(&sets[b]);
            if shared > 0 && threshold.reached_by(all.measure.of(sets[a].len(), sets[b].len(), shared)) {
                let (from, to) = (component[a].max(component[b]), component[a].min(component[b]));
                component.iter_mut().filter(|name| **name == from).for_each(|name| *name = to);
            }
        }
    }
    let joined = component.iter().enumerate().filter(|(rank, name)| rank != *name);
    let mut removed: Vec<(u64, u64)> =
        joined.map(|(rank, &name)| (ranking[rank].0, ranking[name].0)).collect();
    removed.sort_unstable();
    removed
}

#[test]
fn components_join_what_chains_join_and_stars_do_not() {
    let texts =
        ["a b c d e f g h i j", "b c d e f g h i j k", "c d e f g h i j k l", "x y z", "A B C D E F G H I J"];
    let corpus = corpus_of(&texts);
    let star = all_pairs_only(1, 0.8, Measure::Jaccard);
    assert_eq!(pairs(&plan(&corpus, &star, &Silent).unwrap()), [(1, 0), (4, 0)]);
    let transitive = DedupConfig { clustering: Clustering::Transitive, ..star };
    let found = plan(&corpus, &transitive, &Silent).unwrap();
    assert_eq!(pairs(&found), [(1, 0), (2, 0), (4, 0)]);
    let similarities: Vec<f64> = found.removals().iter().map(|removal| removal.similarity).collect();
    assert_eq!(similarities, [0.818181818, 0.666666666, 1.0], "the true ones, below the threshold or not");
    let sure = MinhashConfig { bands_rows: Some((200, 1)), ..near(1, 0.8) };
    let minhash = DedupConfig { minhash: Some(sure), all_pairs: None, ..transitive };
    assert_eq!(pairs(&plan(&corpus, &minhash, &Silent).unwrap()), [(1, 0), (2, 0), (4, 0)]);
}

/// Edit distance by the recurrence.
fn naive_edits(a: &[&str], b: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let edits = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], edits);
        }
    }
    row[b.len()]
}

#[test]
fn near_copies_can_be_asked_to_have_few_edits_too() {
    // The same shingles in another order: the halves of each text change places.
    let mut draw = Draw::new(51);
    let mut texts = Vec::new();
    for n_edits in 0..30 {
        let base = draw.text(60);
        texts.push(base.join(" "));
        texts.push(draw.edited(&base, n_edits).join(" "));
        texts.push([&base[30..], &base[..30]].concat().join(" "));
    }
    let corpus = corpus_of(&texts);
    let shingles_only = all_pairs_only(2, 0.3, Measure::Jaccard);
    let loose = pairs(&plan(&corpus, &shingles_only, &Silent).unwrap());
    let config = DedupConfig { edit_similarity: Some(0.8), ..shingles_only };
    let strict = pairs(&plan(&corpus, &config, &Silent).unwrap());
    let reaches = |&&(doc, kept): &&(u64, u64)| {
        let [a, b] = [doc, kept].map(|doc| texts[doc as usize].split(' ').collect::<Vec<_>>());
        // 1 - edits / 60 >= 0.8
        naive_edits(&a, &b) <= 12
    };
    assert!(loose.iter().any(|pair| !reaches(&pair)) && !strict.is_empty());
    assert_eq!(strict, loose.iter().filter(reaches).copied().collect::<Vec<_>>());
}

#[test]
fn two_stages_of_near_copies_are_refused() {
    let config = DedupConfig { minhash: Some(near(2, 0.8)), ..all_pairs_only(2, 0.8, Measure::Jaccard) };
    let error = plan(&corpus_of(&["a"]), &config, &Silent).unwrap_err();
    assert!(matches!(error, Error::TwoNearStages) && error.exit_code() == 2);
}

#[test]
fn a_template_of_thousands_of_pages_is_compared_without_a_limit() {
    // As in the test of MinHash's limits, but no pair may be passed over.
    let mut draw = Draw::new(21);
    let template = draw.text(60);
    let pages: Vec<Vec<String>> = (0..300).map(|_| [template.clone(), draw.text(16)].concat()).collect();
    let copies: Vec<String> = pages.iter().map(|page| format!("{} changed", page.join(" "))).collect();
    let texts: Vec<String> = pages.iter().map(|page| page.join(" ")).chain(copies).collect();
    let corpus = corpus_of(&texts);
    let plan = plan(&corpus, &all_pairs_only(1, 0.8, Measure::Jaccard), &Silent).unwrap();
    assert_eq!(pairs(&plan), (0..300).map(|page| (page + 300, page)).collect::<Vec<_>>());
    assert_eq!(plan.stages()[0].n_passed_over, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn all_pairs_of_short_texts_are_found_for_both_measures(
        texts in prop::collection::vec("([a-e] ){0,9}", 0..24),
        keep in 0usize..4,
        threshold in prop::sample::select(vec![0.1, 0.34, 0.5, 0.75, 1.0]),
        is_containment: bool,
        n_references in 0usize..12,
        only_references: bool,
    ) {
        let measure = if is_containment { Measure::Containment } else { Measure::Jaccard };
        let keep: Keep = ["first", "longest", "shortest", "random:5"][keep].parse().unwrap();
        let config = DedupConfig { keep, ..all_pairs_only(2, threshold, measure) };
        let (references, own) = texts.split_at(n_references.min(texts.len()));
        let against = DedupConfig { only_references, ..config.clone() };
        assert_naive(&corpus_against(own, references), &against);
        let corpus = corpus_of(&texts);
        assert_naive(&corpus, &config);
        if !is_containment {
            let config = DedupConfig { clustering: Clustering::Transitive, ..config };
            let found = pairs(&plan(&corpus, &config, &Silent).unwrap());
            prop_assert_eq!(&found, &naive_components(&corpus, &config));
            prop_assert_eq!(found, pairs(&crate::finder::plan(&corpus, &config, &little(), &Silent).unwrap()));
        }
    }
}
