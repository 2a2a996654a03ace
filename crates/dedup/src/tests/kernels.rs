//! Kernels over records decide what a search in one process decides, whatever was verified first.

use std::collections::BTreeMap;

use proptest::prelude::*;
use verbatim_store::Silent;

use super::fixture::{Draw, corpus_of, exact_only, near, near_only, plan};
use crate::config::{Clustering, DedupConfig, MinhashConfig};
use crate::keep::Keep;
use crate::kernels::{Kernels, Links, link};

/// Links by the definition.
fn naive_links(postings: &[[u64; 2]], most: usize) -> Links {
    let mut documents: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for &[key, document] in postings {
        documents.entry(key).or_default().push(document);
    }
    let mut links = Links::default();
    for (key, documents) in &mut documents {
        documents.sort_unstable();
        if documents.len() > 1 {
            links.shared.extend(documents.iter().map(|&document| [*key, document]));
        }
        for (i, &document) in documents.iter().enumerate() {
            links.pairs.extend(documents[..i.min(most)].iter().map(|&other| [document, other]));
        }
    }
    links.pairs.sort_unstable();
    links.pairs.dedup();
    links
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn links_are_those_of_the_definition(
        keys in prop::collection::vec((0u64..12, 0u64..9), 0..60),
        most in 0usize..5,
    ) {
        let mut postings: Vec<[u64; 2]> = keys.into_iter().map(|(document, key)| [key, document]).collect();
        postings.sort_unstable();
        postings.dedup();
        let expected = naive_links(&postings, most);
        postings.reverse();
        prop_assert_eq!(link(&mut postings, most), expected);
    }
}

#[test]
fn what_is_asked_for_is_verified_until_all_is_decided_and_equals_one_search() {
    let mut draw = Draw::new(11);
    let bases: Vec<Vec<String>> = (0..12).map(|_| draw.text(30)).collect();
    let texts: Vec<String> = (0..400)
        .map(|_| {
            let n_edits = draw.below(9) as usize;
            let base = &bases[draw.below(12) as usize];
            draw.edited(base, n_edits).join(" ")
        })
        .collect();
    let corpus = corpus_of(&texts);
    let near = MinhashConfig { bands_rows: Some((12, 2)), ..near(2, 0.7) };
    let config = near_only(near, Keep::First);
    let expected = plan(&corpus, &config, &Silent).unwrap();
    let kernels = Kernels::new(&config).unwrap();
    let documents: Vec<(u64, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    let signs = kernels.sign(&documents);
    assert!(signs.hashes.is_empty() && signs.keys.len() == 400 * 12);
    for most in [0, 1, 16] {
        let links = link(&mut signs.keys.clone(), most);
        let verify = |pairs: &[[u64; 2]]| kernels.verify(pairs, |document| texts[document as usize].as_str());
        let mut verdicts = verify(&links.pairs);
        let n_bytes = |document| corpus.record(verbatim_corpus::DocId(document)).len();
        let mut n_rounds = 0;
        let decided = loop {
            let decided = kernels.cluster(&links.shared, &verdicts, &n_bytes).unwrap();
            if decided.open.is_empty() {
                break decided;
            }
            verdicts.extend(verify(&decided.open));
            verdicts.sort_unstable();
            n_rounds += 1;
            assert!(n_rounds < 20, "{most}: {} pairs are open", decided.open.len());
        };
        let removals: Vec<(u64, u64, f64)> = decided
            .copies
            .iter()
            .map(|&[copy, kept, shared, whole]| {
                (copy, kept, crate::similarity::Similarity { shared, whole }.value())
            })
            .collect();
        let told: Vec<(u64, u64, f64)> = expected
            .removals()
            .iter()
            .map(|removal| (removal.doc.0, removal.kept.0, removal.similarity))
            .collect();
        assert_eq!(removals, told, "{most}");
        let tally = expected.stages()[0];
        assert_eq!((decided.n_compared, decided.n_passed_over), (tally.n_compared, tally.n_passed_over));
        assert!(most == 0 || n_rounds <= 5, "{most}: {n_rounds} rounds");
    }
}

#[test]
fn what_kernels_cannot_do_is_refused() {
    let components =
        DedupConfig { clustering: Clustering::Transitive, ..near_only(near(2, 0.8), Keep::First) };
    for config in [exact_only(Vec::new()), components] {
        assert_eq!(Kernels::new(&config).unwrap_err().exit_code(), 2);
    }
}
