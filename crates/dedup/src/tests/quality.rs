//! Precision and recall against brute force on generated text, and the statistics behind the prediction.

use std::collections::BTreeMap;

use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Shingler;
use verbatim_store::Silent;

use super::fixture::plan;
use super::fixture::{Draw, all_pairs, corpus_of, little, near, near_only, words};
use crate::buckets::Buckets;
use crate::config::MinhashConfig;
use crate::keep::Keep;
use crate::lsh::{BandChoice, candidate_probability};
use crate::minhash::Permutations;
use crate::plan::Plan;
use crate::signs::{Sign, Signing};
use crate::similarity::{Similarity, Threshold};

/// True where two documents share a band, for each pair.
pub(super) fn are_candidates(
    corpus: &Corpus,
    shingler: &Shingler,
    choice: BandChoice,
    seed: u64,
    pairs: &[(DocId, DocId, Similarity)],
) -> Vec<bool> {
    let ranking: Vec<DocId> = corpus.ids().collect();
    let permutations = Permutations::new(choice, seed);
    let near: Option<(&Shingler, &dyn Sign)> = Some((shingler, &permutations));
    let signing = Signing { step: "signing", exact: None, near, gone: &[], known: None, in_parts: true };
    let resources = little();
    let room = resources.room();
    let signs = signing.of(corpus, &ranking, &room, &Silent).unwrap();
    let buckets = Buckets::new(signs.keys.finish().iter(), |_| true, usize::MAX, &room).unwrap();
    let buckets: BTreeMap<u64, Vec<usize>> = buckets.documents().collect();
    let buckets_of = |doc: DocId| buckets.get(&doc.0).map_or(&[][..], Vec::as_slice);
    pairs.iter().map(|&(a, b, _)| buckets_of(a).iter().any(|bucket| buckets_of(b).contains(bucket))).collect()
}

/// Checks that nothing below the threshold went, and counts the pairs at and above it of which both stayed.
pub(super) fn pairs_missed(
    corpus: &Corpus,
    plan: &Plan,
    minhash: &MinhashConfig,
    pairs: &[(DocId, DocId, Similarity)],
) -> usize {
    let threshold = Threshold::new(minhash.threshold).unwrap();
    for removal in plan.removals() {
        let [a, b] = [removal.doc, removal.kept].map(|doc| minhash.shingler.shingles(&corpus.text_str(doc)));
        let (shared, union) = a.jaccard(&b);
        let similarity = Similarity { shared: shared as u64, whole: union as u64 };
        assert!(threshold.reached_by(similarity), "{removal:?}: {similarity:?}");
        assert_eq!(similarity.value(), removal.similarity);
    }
    let keep = plan.keep_mask();
    pairs.iter().filter(|(a, b, _)| keep[a.0 as usize] && keep[b.0 as usize]).count()
}

/// `n_bases` texts and for each some versions with up to `max_edits` words replaced.
fn generated(n_bases: usize, n_versions: usize, max_edits: u64) -> Corpus {
    let mut draw = Draw::new(11);
    let mut texts = Vec::new();
    for _ in 0..n_bases {
        let base = draw.text(120);
        for _ in 0..n_versions {
            let n_edits = draw.below(max_edits) as usize;
            texts.push(draw.edited(&base, n_edits).join(" "));
        }
    }
    corpus_of(&texts)
}

#[test]
fn precision_is_one_and_recall_as_promised_against_all_pairs() {
    let corpus = generated(100, 8, 8);
    for threshold in [0.6, 0.8, 0.9] {
        let minhash = near(3, threshold);
        let pairs = all_pairs(&corpus, &minhash.shingler, threshold);
        assert!(pairs.len() > 200, "{}", pairs.len());
        let (_, choice) = minhash.resolve().unwrap();
        let found = are_candidates(&corpus, &minhash.shingler, choice, minhash.seed, &pairs);
        let recall = found.iter().filter(|&&found| found).count() as f64 / pairs.len() as f64;
        assert!(recall >= minhash.recall, "{threshold}: {recall}");
        for keep in ["first", "longest", "shortest", "random:1"] {
            let config = near_only(minhash.clone(), keep.parse().unwrap());
            let plan = plan(&corpus, &config, &Silent).unwrap();
            let missed = pairs_missed(&corpus, &plan, &minhash, &pairs);
            let bound = (1.0 - minhash.recall) * pairs.len() as f64;
            assert!((missed as f64) <= bound, "{threshold} {keep}: {missed} of {}", pairs.len());
        }
    }
}

#[test]
fn candidates_appear_as_often_as_the_s_curve_predicts() {
    // Pairs over a wide range of similarities; the number found must agree with the sum of the predictions.
    let corpus = generated(700, 2, 25);
    let shingler = words(2);
    let pairs = all_pairs(&corpus, &shingler, 0.2);
    assert!(pairs.len() > 600);
    for (bands, rows) in [(16, 6), (9, 13), (40, 4), (60, 1)] {
        let choice = BandChoice { bands, rows, predicted_recall: 0.0, cost: 0.0 };
        let (mut expected, mut variance, mut found) = (0.0, 0.0, 0);
        for seed in 0..4 {
            for (pair, candidate) in
                pairs.iter().zip(are_candidates(&corpus, &shingler, choice, seed, &pairs))
            {
                let p = candidate_probability(pair.2.value(), bands, rows);
                expected += p;
                variance += p * (1.0 - p);
                found += usize::from(candidate);
            }
        }
        // Four standard deviations and one pair for rounding.
        let deviation = (found as f64 - expected).abs();
        assert!(
            deviation <= 4.0 * f64::sqrt(variance) + 1.0,
            "{bands}x{rows}: {found}, expected {expected:.1}"
        );
    }
}

#[test]
fn more_recall_and_a_lower_threshold_never_find_less() {
    let corpus = generated(60, 5, 30);
    let missed = |recall: f64| {
        let minhash = MinhashConfig { recall, ..near(3, 0.5) };
        let pairs = all_pairs(&corpus, &minhash.shingler, 0.5);
        let plan = plan(&corpus, &near_only(minhash.clone(), Keep::First), &Silent).unwrap();
        pairs_missed(&corpus, &plan, &minhash, &pairs)
    };
    assert_eq!(missed(0.999_999), 0);
    assert!(missed(0.3) > 0, "a test that cannot fail tells nothing");
}

#[test]
fn boilerplate_shared_by_thousands_of_distinct_documents_costs_bounded_work() {
    // 1,500 pages of one template, each twice with a small change. Templates alone are below the threshold.
    let mut draw = Draw::new(21);
    let template = draw.text(150);
    let pages: Vec<Vec<String>> = (0..1500).map(|_| [template.clone(), draw.text(40)].concat()).collect();
    let copies: Vec<String> = pages.iter().map(|page| format!("{} changed", page.join(" "))).collect();
    let texts: Vec<String> = pages.iter().map(|page| page.join(" ")).chain(copies).collect();
    let corpus = corpus_of(&texts);
    let plan = plan(&corpus, &near_only(near(1, 0.8), Keep::First), &Silent).unwrap();
    let own = plan.removals().iter().filter(|r| r.doc.0 == r.kept.0 + 1500).count();
    assert_eq!(own, plan.removals().len());
    assert!(own >= 1485, "{own}");
    let tally = plan.stages()[0];
    assert!(tally.n_compared <= 3000 * 128 && tally.n_passed_over > 0, "{tally:?}");
}
