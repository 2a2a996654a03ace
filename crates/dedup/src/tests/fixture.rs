//! Small corpora and configurations for tests.

use std::io::Write;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId, OpenConfig};
use verbatim_index::{Normalizer, Shingler, Shingles, Step, Unit};
use verbatim_store::{Progress, Scratch, Silent};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::config::{AllPairsConfig, Clustering, DedupConfig, Empty, ExactConfig, MinhashConfig};
use crate::error::Result;
use crate::exact::TextHash;
use crate::finder::Finder;
use crate::keep::Keep;
use crate::plan::Plan;
use crate::room::Resources;
use crate::similarity::{Measure, Similarity, Threshold};

fn file_of_records(records: &[serde_json::Value]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    for record in records {
        writeln!(file, "{record}").unwrap();
    }
    file
}

fn records_of<S: AsRef<str>>(texts: &[S]) -> Vec<serde_json::Value> {
    texts.iter().map(|text| serde_json::json!({ "text": text.as_ref() })).collect()
}

/// A corpus of these JSON records; its file is mapped, and gone when this returns.
pub(super) fn corpus_of_records(records: &[serde_json::Value]) -> Corpus {
    let file = file_of_records(records);
    Corpus::open(&[file.path().to_owned()], &OpenConfig::standard(), &Silent).unwrap()
}

/// A corpus of these texts, to be compared with others.
pub(super) fn corpus_against<S: AsRef<str>>(texts: &[S], others: &[S]) -> Corpus {
    let [own, others] = [texts, others].map(|texts| file_of_records(&records_of(texts)));
    let [own, others] = [&own, &others].map(|file| [file.path().to_owned()]);
    Corpus::open_against(&own, &others, &OpenConfig::standard(), &Silent).unwrap()
}

/// A corpus of these texts.
pub(super) fn corpus_of<S: AsRef<str>>(texts: &[S]) -> Corpus {
    corpus_of_records(&records_of(texts))
}

pub(super) fn words(n: usize) -> Shingler {
    Shingler::new(Unit::Word, n, Normalizer::new(vec![Step::Casefold]), None).unwrap()
}

pub(super) fn near(n: usize, threshold: f64) -> MinhashConfig {
    MinhashConfig { shingler: words(n), threshold, recall: 0.99, bands_rows: None, preset: None, seed: 1 }
}

pub(super) fn exact_only(steps: Vec<Step>) -> DedupConfig {
    let exact = Some(ExactConfig { normalizer: Normalizer::new(steps), key: None });
    DedupConfig {
        empty: Empty::Keep,
        exact,
        minhash: None,
        all_pairs: None,
        clustering: Clustering::Star,
        edit_similarity: None,
        lines: None,
        substring: None,
        only_references: false,
        keep: Keep::First,
    }
}

pub(super) fn near_only(minhash: MinhashConfig, keep: Keep) -> DedupConfig {
    DedupConfig { exact: None, minhash: Some(minhash), keep, ..exact_only(Vec::new()) }
}

pub(super) fn both(minhash: MinhashConfig) -> DedupConfig {
    DedupConfig { minhash: Some(minhash), ..exact_only(Vec::new()) }
}

/// The near-copy stage of all pairs alone.
pub(super) fn all_pairs_only(n: usize, threshold: f64, measure: Measure) -> DedupConfig {
    let all_pairs = Some(AllPairsConfig { shingler: words(n), threshold, measure, brute_force: false });
    DedupConfig { exact: None, all_pairs, ..exact_only(Vec::new()) }
}

/// What may be taken in tests: so little memory that nearly everything goes to disk.
pub(super) fn little() -> Resources {
    Resources { memory: 1 << 12, scratch: Scratch::unnamed(&std::env::temp_dir()), signatures: None }
}

pub(super) fn plan(corpus: &Corpus, config: &DedupConfig, progress: &dyn Progress) -> Result<Plan> {
    crate::finder::plan(corpus, config, &Resources::standard(&std::env::temp_dir()), progress)
}

/// A plan with a forged hash of texts.
pub(super) fn plan_with_hash(corpus: &Corpus, config: &DedupConfig, hash: TextHash) -> Plan {
    assert_ne!(hash(b"a"), xxh3_64(b"a"));
    Finder { corpus, config, hash, resources: &little(), linked: None }.plan(&Silent).unwrap()
}

/// The text of a plan file.
pub(super) fn json(plan: &Plan) -> String {
    let mut text = Vec::new();
    plan.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// (document, kept) of each removal.
pub(super) fn removed(corpus: &Corpus, config: &DedupConfig) -> Vec<(u64, u64)> {
    pairs(&plan(corpus, config, &Silent).unwrap())
}

pub(super) fn pairs(plan: &Plan) -> Vec<(u64, u64)> {
    plan.removals().iter().map(|removal| (removal.doc.0, removal.kept.0)).collect()
}

/// Words drawn from a small vocabulary, the same for the same seed.
pub(super) struct Draw {
    pub(super) seed: u64,
    pub(super) count: u64,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Draw { seed, count: 0 }
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.count += 1;
        xxh3_64_with_seed(&self.count.to_le_bytes(), self.seed) % n
    }

    pub(super) fn word(&mut self) -> String {
        format!("w{}", self.below(50_000))
    }

    pub(super) fn text(&mut self, n_words: usize) -> Vec<String> {
        (0..n_words).map(|_| self.word()).collect()
    }

    /// The text with some of its words replaced.
    pub(super) fn edited(&mut self, text: &[String], n_edits: usize) -> Vec<String> {
        let mut edited = text.to_vec();
        for _ in 0..n_edits {
            let at = self.below(edited.len() as u64) as usize;
            edited[at] = self.word();
        }
        edited
    }
}

/// Every pair whose exact similarity reaches the least one, by comparing all with all.
pub(super) fn all_pairs(corpus: &Corpus, shingler: &Shingler, least: f64) -> Vec<(DocId, DocId, Similarity)> {
    let least = Threshold::new(least).unwrap();
    let docs: Vec<DocId> = corpus.ids().collect();
    let sets: Vec<Shingles> = docs.par_iter().map(|&doc| shingler.shingles(&corpus.text_str(doc))).collect();
    docs.par_iter()
        .flat_map_iter(|&a| {
            let sets = &sets;
            docs[..a.0 as usize].iter().filter_map(move |&b| {
                let [a_set, b_set] = [a, b].map(|doc| &sets[doc.0 as usize]);
                let sizes = [a_set.len(), b_set.len()].map(|len| len as u64);
                let most = Similarity { shared: sizes[0].min(sizes[1]), whole: sizes[0].max(sizes[1]) };
                if !least.reached_by(most) {
                    return None;
                }
                let (shared, union) = a_set.jaccard(b_set);
                let similarity = Similarity { shared: shared as u64, whole: union as u64 };
                (union > 0 && least.reached_by(similarity)).then_some((b, a, similarity))
            })
        })
        .collect()
}
