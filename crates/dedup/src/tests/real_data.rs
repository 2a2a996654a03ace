//! Real licences and real revisions, against brute force and against a table that others computed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_store::Silent;

use super::fixture::plan;
use super::fixture::{all_pairs, near, near_only};
use super::quality::{are_candidates, pairs_missed};
use crate::keep::Keep;

pub(super) fn data(name: &str) -> Option<PathBuf> {
    match std::env::var_os("VERBATIM_DATA") {
        Some(folder) => Some(PathBuf::from(folder).join(name)),
        None => {
            eprintln!("SKIPPED: {name}: VERBATIM_DATA does not name the data folder");
            None
        }
    }
}

pub(super) fn open(path: PathBuf) -> Corpus {
    Corpus::open(&[path], &OpenConfig::standard(), &Silent).unwrap()
}

/// The sets of 5-grams as the published table has them: lower case, Python's `\w+`.
fn table_shingles(text: &str) -> BTreeSet<Vec<String>> {
    let lower = text.to_lowercase();
    let tokens: Vec<String> = lower
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect();
    tokens.windows(5).map(<[String]>::to_vec).collect()
}

#[test]
fn every_similar_pair_of_licences_is_found_and_no_other() {
    let Some(path) = data("dedup/spdx_licenses.jsonl.zst") else { return };
    let corpus = open(path);
    assert_eq!(corpus.n_documents(), 727);
    let minhash = near(5, 0.8);
    let pairs = all_pairs(&corpus, &minhash.shingler, 0.8);
    let (_, choice) = minhash.resolve().unwrap();
    let found = are_candidates(&corpus, &minhash.shingler, choice, minhash.seed, &pairs);
    let n_found = found.iter().filter(|&&found| found).count();
    eprintln!("spdx: {} pairs at 0.8 and above, {n_found} share a band ({choice:?})", pairs.len());
    assert!(n_found as f64 >= minhash.recall * pairs.len() as f64);
    for keep in ["first", "longest", "shortest", "random:1"] {
        let plan = plan(&corpus, &near_only(minhash.clone(), keep.parse().unwrap()), &Silent).unwrap();
        let missed = pairs_missed(&corpus, &plan, &minhash, &pairs);
        eprintln!(
            "spdx, keep {keep}: {} removed, {missed} pairs missed, {:?}",
            plan.removals().len(),
            plan.stages()
        );
        assert!(missed as f64 <= (1.0 - minhash.recall) * pairs.len() as f64);
        assert_eq!(plan.stages()[0].n_passed_over, 0);
    }
}

#[test]
fn licences_agree_with_the_published_table_up_to_the_tokenisers() {
    let (Some(texts), Some(table)) =
        (data("dedup/spdx_licenses.jsonl.zst"), data("dedup/spdx_pairs_jaccard_ge_0.3.tsv"))
    else {
        return;
    };
    let corpus = open(texts);
    let docs: BTreeMap<String, _> = corpus.ids().map(|doc| (corpus.label(doc), doc)).collect();
    let shingler = near(5, 0.8).shingler;
    let (mut n_pairs, mut n_crossing, mut largest) = (0, 0, 0.0f64);
    let table = std::fs::read_to_string(table).unwrap();
    let theirs: BTreeMap<&str, _> =
        docs.iter().map(|(label, &doc)| (label.as_str(), table_shingles(&corpus.text_str(doc)))).collect();
    for line in table.lines().skip(1) {
        let mut columns = line.split('\t');
        let [a, b, published] = std::array::from_fn(|_| columns.next().unwrap());
        let published: f64 = published.parse().unwrap();
        // Their tokens give their figures: the texts and the formula are the same.
        let shared = theirs[a].intersection(&theirs[b]).count();
        let union = theirs[a].len() + theirs[b].len() - shared;
        assert!((shared as f64 / union as f64 - published).abs() < 1e-4, "{a} {b}");
        // Our words differ: "don't", "3.14" and "example.com" are one word each, two or three in the table.
        let (shared, union) = shingler
            .shingles(&corpus.text_str(docs[a]))
            .jaccard(&shingler.shingles(&corpus.text_str(docs[b])));
        let ours = shared as f64 / union as f64;
        largest = largest.max((ours - published).abs());
        n_crossing += usize::from((ours >= 0.8) != (published >= 0.8));
        n_pairs += 1;
    }
    eprintln!(
        "spdx table: {n_pairs} pairs, largest difference {largest:.4}, {n_crossing} on other sides of 0.8"
    );
    assert_eq!(n_pairs, 3080);
    assert!(largest < 0.11 && n_crossing <= 3);
}

#[test]
fn revisions_of_proposals_are_found_within_their_own_cluster() {
    let Some(path) = data("dedup/pep_revisions.jsonl.zst") else { return };
    let corpus = open(path);
    let minhash = near(5, 0.8);
    let pairs = all_pairs(&corpus, &minhash.shingler, 0.8);
    let plan = plan(&corpus, &near_only(minhash.clone(), Keep::Longest), &Silent).unwrap();
    let missed = pairs_missed(&corpus, &plan, &minhash, &pairs);
    let cluster = |doc| corpus.field(doc, &"cluster".parse().unwrap()).unwrap();
    let across = plan.removals().iter().filter(|r| cluster(r.doc) != cluster(r.kept)).count();
    eprintln!(
        "pep_revisions: {} documents, {} pairs, {} removed, {missed} missed, {across} for another proposal",
        corpus.n_documents(),
        pairs.len(),
        plan.removals().len()
    );
    assert!(missed as f64 <= (1.0 - minhash.recall) * pairs.len() as f64);
    assert!(across * 50 <= plan.removals().len());
}
