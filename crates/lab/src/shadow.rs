//! Shadow models: the same recipe on halves of a corpus that are drawn by chance, so that of every text there are models that
//! saw it and models that did not (Shokri et al. 2017; Carlini et al. 2022).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{
    Access, Bytes, Existing, Progress, StagedDir, Within, json_fault, read_manifest, sha256_hex,
    write_shared, xxh3_128_hex,
};

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, TrainingTexts, pretty, train_once};

const MAGIC: &str = "verbatim shadow models";
const VERSION: u32 = 1;
const MANIFEST_FILE: &str = "shadow.json";
const SPLIT_FILE: &str = "split.jsonl";

/// How shadow models are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowConfig {
    /// Models, 2 or more.
    pub n_models: usize,
    /// Seed of the halves and, with a model's number, of its training.
    pub seed: u64,
    /// How each is trained, but for its seed.
    pub recipe: Recipe,
}

/// What the folder of an ensemble says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowRecord {
    magic: String,
    version: u32,
    /// How it was trained.
    pub config: ShadowConfig,
    /// [`Corpus::fingerprint`] of the corpus.
    pub corpus_fingerprint: String,
    /// SHA-256 of the `tokenizer.json` of all models.
    pub tokenizer_sha256: String,
    /// Different texts that were drawn for.
    pub n_texts: u64,
    /// Documents that each model was trained on.
    pub n_documents: Vec<u64>,
    /// The last training loss of each, in nats a token.
    pub train_loss: Vec<f64>,
}

/// Shadow models in a folder, and which of them saw which text.
#[derive(Debug)]
pub struct Ensemble {
    folder: PathBuf,
    /// What they are.
    pub record: ShadowRecord,
    /// The models that saw a text, ascending, by the hash of its bytes.
    models_by_text: BTreeMap<String, Vec<usize>>,
}

/// A line of the split's file.
#[derive(Serialize, Deserialize)]
struct SplitLine {
    /// XXH3-128 of the text.
    text: String,
    /// The models that see it, ascending.
    models: Vec<usize>,
}

impl Ensemble {
    /// Opens what [`train_shadows`] wrote.
    ///
    /// # Errors
    /// [`Error::Ensemble`] for anything else, or what reading reports.
    pub fn open(folder: &Path) -> Result<Ensemble> {
        let path = folder.join(MANIFEST_FILE);
        if !folder.exists() {
            // The error of what is not there.
            Bytes::open(&path)?;
        }
        let bad = |cause: String| Error::Ensemble { path: path.clone(), cause };
        let record: ShadowRecord = read_manifest(&path, (MAGIC, VERSION), bad)?
            .ok_or_else(|| bad("this is no folder of shadow models".to_owned()))?;
        let path = folder.join(SPLIT_FILE);
        let bytes = Bytes::open(&path)?;
        let mut models_by_text = BTreeMap::new();
        let lines = bytes.split(|byte| *byte == b'\n').zip(1u64..).filter(|(line, _)| !line.is_empty());
        for (line, number) in lines {
            let bad = |cause: &str| Error::Ensemble {
                path: path.clone(),
                cause: format!("line {number}: {cause}"),
            };
            let SplitLine { text, models } =
                serde_json::from_slice(line).map_err(|error| bad(json_fault(&error)))?;
            if models.iter().any(|model| *model >= record.config.n_models) {
                return Err(bad("a model that there is not"));
            }
            models_by_text.insert(text, models);
        }
        Ok(Ensemble { folder: folder.to_path_buf(), record, models_by_text })
    }

    /// The number of models.
    pub fn n_models(&self) -> usize {
        self.record.config.n_models
    }

    /// The folder of a model's checkpoint.
    pub fn model_path(&self, model: usize) -> PathBuf {
        self.folder.join(model_name(model))
    }

    /// Of each model whether it saw a text; nothing where the text is not in the ensemble's corpus.
    pub fn models_with(&self, text: &str) -> Option<Vec<bool>> {
        let models = self.models_by_text.get(&xxh3_128_hex(text.as_bytes()))?;
        Some((0..self.n_models()).map(|model| models.contains(&model)).collect())
    }
}

/// The models of `n_models` that see a text, ascending: a fair coin for each.
///
/// Halves of the same size would give a target among them away: of a text that it saw, one model less would be left that did.
/// The coins are those of the text, so that all its copies have the same fate.
fn models_of_text(text_hash: u64, n_models: usize, seed: u64) -> Vec<usize> {
    let mut draw = Draw::new(seed, "shadow split", text_hash);
    (0..n_models).filter(|_| draw.below(2) == 1).collect()
}

/// Draws the halves of a corpus: the split's lines, in the order of the hashes, and the documents of each model.
fn split(corpus: &Corpus, n_models: usize, seed: u64) -> (Vec<SplitLine>, Vec<Vec<DocId>>) {
    let mut models_by_text = BTreeMap::new();
    let mut documents = vec![Vec::new(); n_models];
    for id in corpus.ids() {
        let text = corpus.text_str(id);
        let hash = xxh3_128_hex(text.as_bytes());
        let number = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        let models = models_by_text.entry(hash).or_insert_with(|| models_of_text(number, n_models, seed));
        models.iter().for_each(|model| documents[*model].push(id));
    }
    let lines = models_by_text.into_iter().map(|(text, models)| SplitLine { text, models });
    (lines.collect(), documents)
}

/// Trains the models of an ensemble one after the other, and writes `shadow.json`, `split.jsonl` and a checkpoint's folder for
/// each model, all at once when the last is trained.
///
/// The destination's state is a folder with the models that are ready and the state of the one under way: a run that finds it
/// goes on there, to the same bytes.
///
/// # Errors
/// [`Error::Config`], [`Error::Resume`], those of [`train_checkpoint`](crate::train_checkpoint).
pub fn train_shadows(
    corpus: &Corpus,
    tokenizer_json: &[u8],
    config: &ShadowConfig,
    (target, existing, state): (&Path, Existing, &Path),
    progress: &dyn Progress,
) -> Result<ShadowRecord> {
    if config.n_models < 2 {
        return Err(Error::Config("shadow models are two or more".to_owned()));
    }
    if config.recipe.train.validation_fraction > 0.0 {
        return Err(Error::Config("shadow models are trained on all of their halves".to_owned()));
    }
    let staged = StagedDir::create(target, Access::Shared, existing)?;
    let (lines, documents) = split(corpus, config.n_models, config.seed);
    let failed = |path: &Path, source| Error::Write { path: path.to_path_buf(), source };
    fs::create_dir_all(state).map_err(|source| failed(state, source))?;
    let mut records = Vec::with_capacity(config.n_models);
    progress.stage("train shadow models", Some(config.n_models as u64), "models");
    for (model, documents) in documents.iter().enumerate() {
        let texts = TrainingTexts { documents: Some(documents), ..corpus.into() };
        let (recipe, folder) = (recipe_of(config, model), state.join(model_name(model)));
        records.push(train_once(texts, tokenizer_json, &recipe, &folder, &Within(progress))?);
        progress.advance(1);
    }
    let record = ShadowRecord {
        magic: MAGIC.to_owned(),
        version: VERSION,
        config: config.clone(),
        corpus_fingerprint: corpus.fingerprint().to_owned(),
        tokenizer_sha256: sha256_hex(tokenizer_json),
        n_texts: lines.len() as u64,
        n_documents: records.iter().map(|record| record.n_documents).collect(),
        train_loss: records.iter().filter_map(|record| Some(record.history.last()?.train_loss)).collect(),
    };
    let mut split = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut split, line).expect("memory takes plain fields");
        split.push(b'\n');
    }
    write_shared(&staged.path().join(SPLIT_FILE), &split)?;
    write_shared(&staged.path().join(MANIFEST_FILE), &pretty(&record))?;
    for model in 0..config.n_models {
        let (from, to) = (state.join(model_name(model)), staged.path().join(model_name(model)));
        fs::rename(&from, &to).map_err(|source| failed(&from, source))?;
    }
    staged.commit()?;
    fs::remove_dir_all(state).map_err(|source| failed(state, source))?;
    Ok(record)
}

/// The recipe of one model: seeds of its own, so that models differ in more than their halves.
fn recipe_of(config: &ShadowConfig, model: usize) -> Recipe {
    let mut recipe = config.recipe.clone();
    // JSON readers that take numbers for f64 keep every bit of 53.
    recipe.train.seed = Draw::new(config.seed, "shadow model", model as u64).below(1 << 53);
    recipe
}

fn model_name(model: usize) -> String {
    format!("model-{model:03}")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use verbatim_corpus::OpenConfig;
    use verbatim_store::Silent;

    use super::*;
    use crate::recipe::{ModelShape, TrainingRecord, train_tokenizer};
    use crate::train::{Length, TrainConfig};

    const N_MODELS: usize = 5;

    /// Twelve documents, the first of which stands there twice.
    fn corpus(folder: &Path) -> Corpus {
        let path = folder.join("corpus.jsonl");
        let line = |number: usize| format!("{{\"text\":\"the tower number {number} and the sea\"}}\n");
        let lines: String = (0..12).chain([0]).map(line).collect();
        if !path.exists() {
            write_shared(&path, lines.as_bytes()).unwrap();
        }
        Corpus::open(&[path], &OpenConfig::standard(), &Silent).unwrap()
    }

    fn config(n_steps: u64) -> ShadowConfig {
        let shape = ModelShape { n_layer: 1, n_head: 1, n_embd: 8, n_positions: 8, dropout: 0.0 };
        let train = TrainConfig { length: Length::Steps(n_steps), ..TrainConfig::standard(1) };
        ShadowConfig { n_models: N_MODELS, seed: 7, recipe: Recipe { shape, train } }
    }

    fn train_into(folder: &Path, config: &ShadowConfig, progress: &dyn Progress) -> Result<ShadowRecord> {
        let corpus = corpus(folder);
        let tokenizer = train_tokenizer(&corpus, 260).unwrap();
        let (target, state) = (folder.join("shadows"), folder.join("shadows.shadow-state"));
        train_shadows(&corpus, &tokenizer, config, (&target, Existing::Refuse, &state), progress)
    }

    fn bytes(folder: &Path) -> Vec<Vec<u8>> {
        let models = (0..N_MODELS).map(|model| format!("{}/model.safetensors", model_name(model)));
        let names = models.chain([MANIFEST_FILE.to_owned(), SPLIT_FILE.to_owned()]);
        names.map(|name| fs::read(folder.join("shadows").join(name)).unwrap()).collect()
    }

    #[test]
    fn models_are_trained_on_the_texts_that_the_split_says_and_on_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let record = train_into(folder.path(), &config(2), &Silent).unwrap();
        let ensemble = Ensemble::open(&folder.path().join("shadows")).unwrap();
        assert_eq!((ensemble.n_models(), record.n_texts), (N_MODELS, 12));
        assert_eq!(ensemble.record, record);
        let corpus = corpus(folder.path());
        for model in 0..N_MODELS {
            let seen: Vec<DocId> = corpus
                .ids()
                .filter(|id| ensemble.models_with(&corpus.text_str(*id)).unwrap()[model])
                .collect();
            let training = fs::read(ensemble.model_path(model).join("training.json")).unwrap();
            let training: TrainingRecord = serde_json::from_slice(&training).unwrap();
            let texts = TrainingTexts { documents: Some(&seen), ..(&corpus).into() };
            assert_eq!(training.subset_fingerprint, texts.subset_fingerprint());
            assert_eq!(training.n_documents, seen.len() as u64);
            assert_eq!(record.n_documents[model], seen.len() as u64);
        }
        assert_eq!(ensemble.models_with("another text"), None);
        assert!(!folder.path().join("shadows.shadow-state").exists());
    }

    /// Naive: a coin of the text's own generator for each model, in their order.
    #[test]
    fn coins_are_fair_and_those_of_the_text() {
        let fates: Vec<Vec<usize>> = (0..4000).map(|text| models_of_text(text, 16, 3)).collect();
        for model in 0..16 {
            let n_seen = fates.iter().filter(|models| models.contains(&model)).count();
            // Six standard deviations of a binomial with n = 4000 and p = 1/2.
            assert!(n_seen.abs_diff(2000) < 190, "model {model}: {n_seen}");
        }
        let both = fates.iter().filter(|models| models.contains(&0) && models.contains(&1)).count();
        assert!(both.abs_diff(1000) < 165, "{both}");
        assert_eq!(models_of_text(5, 16, 3), fates[5]);
        assert_ne!(models_of_text(5, 16, 4), fates[5]);
    }

    struct StopAtStep(AtomicBool);

    impl Progress for StopAtStep {
        fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}
        /// After the first model.
        fn advance(&self, _n: u64) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn an_interrupted_ensemble_goes_on_to_the_same_bytes_and_no_other_takes_it_up() {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train_into(whole.path(), &config(3), &Silent).unwrap();
        let stopped = train_into(parts.path(), &config(3), &StopAtStep(AtomicBool::new(false)));
        assert!(matches!(stopped, Err(Error::Interrupted { step: 1 })), "{stopped:?}");
        assert!(parts.path().join("shadows.shadow-state/model-000/training.json").exists());
        assert!(matches!(train_into(parts.path(), &config(4), &Silent), Err(Error::Resume { .. })));
        train_into(parts.path(), &config(3), &Silent).unwrap();
        assert_eq!(bytes(whole.path()), bytes(parts.path()));
    }

    #[test]
    fn a_folder_of_something_else_or_a_damaged_split_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Ensemble::open(folder.path()), Err(Error::Ensemble { .. })));
        train_into(folder.path(), &config(1), &Silent).unwrap();
        let path = folder.path().join("shadows").join(SPLIT_FILE);
        for (line, cause) in
            [("{\"text\":\"00\",\"models\":[9]}\n", "line 1: a model"), ("{\"text\"", "line 1: ")]
        {
            fs::remove_file(&path).unwrap();
            write_shared(&path, line.as_bytes()).unwrap();
            let error = Ensemble::open(&folder.path().join("shadows")).unwrap_err();
            assert!(error.to_string().contains(cause), "{error}");
        }
    }
}
