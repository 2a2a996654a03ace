//! The recipe of the demo: its corpus, its canaries and its two checkpoints, all from seeds.
//!
//! The files in `corpora/demo` and `models` are what these functions make; tests compare them.

use std::path::Path;

use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_dedup::{
    Clustering, DedupConfig, Empty, ExactConfig, Keep, MinhashConfig, Resources, RunUnit, Snap,
    SubstringConfig,
};
use verbatim_index::{Normalizer, Shingler, Step, Unit};
use verbatim_store::{Access, Existing, Progress, StagedDir, write_shared};

use crate::error::Result;
use crate::plant::{LedgerLine, PlantConfig, plan_planting, plant_documents};
use crate::recipe::{Destination, ModelShape, Recipe, TrainingRecord, train_checkpoint, train_tokenizer};
use crate::synth::{SynthConfig, SynthDocument, synthesize, write_documents};
use crate::train::TrainConfig;

/// The seed of everything in the demo.
pub const SEED: u64 = 2021;
/// Tokens of the demo's tokenizer.
pub const VOCAB_SIZE: usize = 512;
/// Name of the checkpoint that was trained on the corpus as it is.
pub const RAW: &str = "demo-raw";
/// Name of its twin, trained on the deduplicated corpus.
pub const DEDUP: &str = "demo-dedup";

/// The demo corpus with its ledger.
#[derive(Clone, Debug)]
pub struct DemoCorpus {
    /// Originals and planted documents, in order.
    pub documents: Vec<SynthDocument>,
    /// The truth: what was planted where.
    pub ledger: Vec<LedgerLine>,
}

impl DemoCorpus {
    /// Writes `corpus.jsonl` and `ledger.jsonl` into a folder that has neither.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("corpus.jsonl");
        let mut bytes = Vec::new();
        write_documents(&self.documents, &mut bytes, &path)?;
        write_shared(&path, &bytes)?;
        Ok(verbatim_extraction::write_ledger(&folder.join("ledger.jsonl"), &self.ledger, Access::Shared)?)
    }
}

/// The demo corpus, anew from its seed.
pub fn build_demo_corpus() -> Result<DemoCorpus> {
    let originals = synthesize(&SynthConfig::standard(SEED));
    let planting = plan_planting(originals.len() as u64, &PlantConfig::standard(SEED))?;
    Ok(DemoCorpus { documents: plant_documents(originals, &planting), ledger: planting.ledger })
}

/// How the demo's corpus is deduplicated for the twin: `verbatim dedup --exact --minhash --substring 100b`.
pub fn demo_dedup_config() -> Result<DedupConfig> {
    let normalizer = Normalizer::new(vec![Step::Nfc, Step::Casefold, Step::Whitespace]);
    let shingler = Shingler::new(Unit::Word, 5, normalizer.clone(), None)?;
    Ok(DedupConfig {
        empty: Empty::Keep,
        exact: Some(ExactConfig { normalizer, key: None }),
        minhash: Some(MinhashConfig {
            shingler,
            threshold: 0.8,
            recall: 0.99,
            bands_rows: None,
            preset: None,
            seed: 1,
        }),
        all_pairs: None,
        clustering: Clustering::Star,
        edit_similarity: None,
        lines: None,
        substring: Some(SubstringConfig {
            unit: RunUnit::Bytes,
            min_len: 100,
            min_count: 2,
            strike_all: false,
            snap: Snap::Char,
            min_left_bytes: 1,
            until_clean: false,
        }),
        only_references: false,
        keep: Keep::First,
    })
}

/// How both checkpoints are trained.
pub fn demo_recipe() -> Recipe {
    let shape = ModelShape { n_layer: 4, n_head: 4, n_embd: 128, n_positions: 128, dropout: 0.0 };
    Recipe { shape, train: TrainConfig::standard(SEED) }
}

/// Makes both checkpoints anew, as [`RAW`] and [`DEDUP`] inside the new folder `out`: the corpus from its seed,
/// the tokenizer on it, one model on it, and one on what deduplication leaves of it.
///
/// # Errors
/// What deduplication, training or the disk report.
pub fn rebuild_models(out: &Path, progress: &dyn Progress) -> Result<[TrainingRecord; 2]> {
    let staged = StagedDir::create(out, Access::Shared, Existing::Refuse)?;
    // A staged folder that is never committed is scratch: it goes when it is dropped.
    let scratch = StagedDir::create(&out.with_extension("scratch"), Access::Shared, Existing::Replace)?;
    build_demo_corpus()?.write(scratch.path())?;
    let raw = Corpus::open(&[scratch.path().join("corpus.jsonl")], &OpenConfig::standard(), progress)?;
    let plan =
        verbatim_dedup::plan(&raw, &demo_dedup_config()?, &Resources::standard(scratch.path()), progress)?;
    let clean = StagedDir::create(&scratch.path().join("clean"), Access::Shared, Existing::Refuse)?;
    verbatim_dedup::apply(&raw, &plan, clean.path(), progress)?;
    let dedup = Corpus::open(&[clean.path().to_path_buf()], &OpenConfig::standard(), progress)?;
    let tokenizer = train_tokenizer(&raw, VOCAB_SIZE)?;
    let mut records = Vec::new();
    for (corpus, name) in [(&raw, RAW), (&dedup, DEDUP)] {
        let target = staged.path().join(name);
        let destination = Destination { target: &target, existing: Existing::Refuse, state: None };
        records.push(train_checkpoint(corpus.into(), &tokenizer, &demo_recipe(), &destination, progress)?);
    }
    staged.commit()?;
    Ok(records.try_into().expect("two checkpoints"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::path::PathBuf;

    use verbatim_extraction::{Canary, Placement, Recitation, audit_canaries};
    use verbatim_lm::{Checkpoint, Runtime, Tokenizer};
    use verbatim_store::{Scratch, Silent};

    use super::*;

    fn home(folder: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)
    }

    fn committed_corpus() -> Corpus {
        let path = home("corpora/demo/corpus.jsonl");
        Corpus::open(&[path], &OpenConfig::standard(), &Silent).unwrap()
    }

    fn record(name: &str) -> TrainingRecord {
        serde_json::from_slice(&std::fs::read(home("models").join(name).join("training.json")).unwrap())
            .unwrap()
    }

    #[test]
    fn the_committed_corpus_is_what_the_seed_gives() {
        let made = tempfile::tempdir().unwrap();
        build_demo_corpus().unwrap().write(made.path()).unwrap();
        for name in ["corpus.jsonl", "ledger.jsonl"] {
            let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert!(
                read(&home("corpora/demo")) == read(made.path()),
                "{name} differs from what the seed gives"
            );
        }
    }

    #[test]
    fn a_window_of_fifty_tokens_repeats_only_where_planted() {
        let DemoCorpus { documents, ledger } = build_demo_corpus().unwrap();
        let json = std::fs::read(home("models").join(RAW).join("tokenizer.json")).unwrap();
        assert!(json == train_tokenizer(&committed_corpus(), VOCAB_SIZE).unwrap(), "another tokenizer");
        let tokenizer = Tokenizer::from_bytes(&json).unwrap();
        let mut held: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for line in &ledger {
            for document in &line.documents {
                held.entry(document).or_default().insert(&line.canary.id);
            }
        }
        let encoded: Vec<Vec<u32>> =
            documents.iter().map(|document| tokenizer.encode(&document.text)).collect();
        let mut seen: HashMap<&[u32], &str> = HashMap::new();
        for (document, tokens) in documents.iter().zip(&encoded) {
            for window in tokens.windows(50) {
                let Some(other) = seen.insert(window, &document.id) else { continue };
                let shared = held.get(other).zip(held.get(document.id.as_str()));
                let planted = shared.is_some_and(|(a, b)| !a.is_disjoint(b));
                assert!(planted, "{other} and {} share a window", document.id);
            }
        }
    }

    #[test]
    fn deduplication_leaves_one_copy_of_documents_near_copies_and_passages() {
        let corpus = committed_corpus();
        let clean = tempfile::tempdir().unwrap();
        let resources = Resources::standard(clean.path());
        let plan = verbatim_dedup::plan(&corpus, &demo_dedup_config().unwrap(), &resources, &Silent).unwrap();
        verbatim_dedup::apply(&corpus, &plan, clean.path(), &Silent).unwrap();
        let clean = Corpus::open(&[clean.path().to_path_buf()], &OpenConfig::standard(), &Silent).unwrap();
        let ledger = build_demo_corpus().unwrap().ledger;
        let text = |canary: &Canary| format!("{}{}", canary.prefix, canary.secret).into_bytes();
        let texts: Vec<Vec<u8>> = ledger.iter().map(|line| text(&line.canary)).collect();
        for (line, left) in ledger.iter().zip(verbatim_index::count_strings(&clean, &texts, &Silent)) {
            assert_eq!(left.n_occurrences, line.canary.copies.min(1), "{}", line.canary.id);
        }
        // The checkpoints in the repository were trained on these very corpora, in the same way.
        let (raw, dedup) = (record(RAW), record(DEDUP));
        assert_eq!(raw.corpus_fingerprint, corpus.fingerprint());
        assert_eq!(dedup.corpus_fingerprint, clean.fingerprint());
        assert_eq!(raw.tokenizer_sha256, dedup.tokenizer_sha256);
        assert_eq!(raw.recipe, demo_recipe());
        assert_eq!(dedup.recipe, demo_recipe());
    }

    fn recite(name: &str) -> Vec<Recitation> {
        let checkpoint = Checkpoint::open(&home("models").join(name), Runtime::default()).unwrap();
        let ledger: Vec<Canary> =
            build_demo_corpus().unwrap().ledger.into_iter().map(|line| line.canary).collect();
        let scratch = Scratch::unnamed(&std::env::temp_dir());
        let resources = verbatim_lm::Resources { batch: 16, scratch: &scratch, progress: &Silent };
        audit_canaries(checkpoint.text_model(), &ledger, resources).unwrap()
    }

    #[test]
    fn the_committed_checkpoints_tell_the_demos_story() {
        let count = |recitations: &[Recitation], wanted: &dyn Fn(&Recitation) -> bool| {
            recitations.iter().filter(|one| one.recited && wanted(one)).count()
        };
        let (raw, dedup) = (recite(RAW), recite(DEDUP));
        for recitations in [&raw, &dedup] {
            assert_eq!(count(recitations, &|one| one.control), 0);
        }
        let by_copies = [1, 4, 16, 64].map(|copies| count(&raw, &|one| one.copies == copies));
        assert!(by_copies.is_sorted() && by_copies[0] <= 1 && by_copies[3] >= 15, "{by_copies:?}");
        for placement in [Placement::Document, Placement::NearCopy, Placement::Passage] {
            let of_placement = |one: &Recitation| one.placement == placement;
            let counts = [&raw, &dedup].map(|recitations| count(recitations, &of_placement));
            assert!(counts[0] >= 12 && counts[1] <= 1, "{placement:?}: {counts:?}");
        }
    }
}
