//! From a corpus to a checkpoint folder in Hugging Face's layout, with the recipe beside the weights.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId};
use verbatim_lm::{Gpt2Config, Tokenizer};
use verbatim_store::{
    Access, Bytes, Existing, Progress, StagedDir, json_fault, sha256_hex, write_shared, xxh3_128_hex,
};

use crate::data::TrainingData;
use crate::error::{Error, Result};
use crate::private::PrivacySpent;
use crate::train::{EpochLosses, TrainConfig, Trained, train};

/// The size of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Transformer blocks.
    pub n_layer: usize,
    /// Attention heads; divides the width.
    pub n_head: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Tokens of context.
    pub n_positions: usize,
    /// Dropout in training.
    pub dropout: f64,
}

/// All that decides a checkpoint, besides corpus and tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The model.
    pub shape: ModelShape,
    /// The training.
    pub train: TrainConfig,
}

/// The texts that a model is trained on.
#[derive(Clone, Copy, Debug)]
pub struct TrainingTexts<'a> {
    /// Their corpus.
    pub corpus: &'a Corpus,
    /// The documents, ascending; none for all of them.
    pub documents: Option<&'a [DocId]>,
    /// Texts of elsewhere that measure the validation loss, besides the documents that are held out for it.
    pub validation: &'a [String],
}

impl<'a> From<&'a Corpus> for TrainingTexts<'a> {
    fn from(corpus: &'a Corpus) -> Self {
        Self { corpus, documents: None, validation: &[] }
    }
}

impl TrainingTexts<'_> {
    /// The documents, ascending.
    pub(crate) fn ids(&self) -> Vec<DocId> {
        self.documents.map_or_else(|| self.corpus.ids().collect(), <[DocId]>::to_vec)
    }

    /// Names the choice of documents, where not all of them are taken.
    pub(crate) fn subset_fingerprint(&self) -> Option<String> {
        let numbers: Vec<u8> = self.documents?.iter().flat_map(|id| id.0.to_le_bytes()).collect();
        Some(xxh3_128_hex(&numbers))
    }
}

/// Where a checkpoint goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The folder.
    pub target: &'a Path,
    /// What to do if it exists.
    pub existing: Existing,
    /// The file that keeps the state of an unfinished run, which the next run takes up.
    pub state: Option<&'a Path>,
}

/// The contents of `training.json`: what the model was trained on, how, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Version of this record's fields.
    pub schema: u32,
    /// [`Corpus::fingerprint`] of the corpus.
    pub corpus_fingerprint: String,
    /// Names the documents that were taken, where it was not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset_fingerprint: Option<String>,
    /// Documents that were taken.
    pub n_documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// Parameters of the model.
    pub n_parameters: usize,
    /// Tokens of one pass over the documents trained on.
    pub n_train_tokens: usize,
    /// Updates in one pass.
    pub steps_per_epoch: u64,
    /// Updates done.
    pub n_steps: u64,
    /// Model and training.
    pub recipe: Recipe,
    /// Losses by epoch.
    pub history: Vec<EpochLosses>,
    /// What a private training cost; absent in the record of any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySpent>,
}

/// Trains a byte-level BPE on the texts of a corpus; returns the bytes of a `tokenizer.json`.
pub fn train_tokenizer(corpus: &Corpus, vocab_size: usize) -> Result<Vec<u8>> {
    let texts: Vec<_> = corpus.ids().map(|id| corpus.text_str(id)).collect();
    Ok(Tokenizer::train(texts.into_iter(), vocab_size)?)
}

/// Trains a model on texts and writes `config.json`, `model.safetensors`, `tokenizer.json` and
/// `training.json`, all at once when the training is over.
///
/// # Errors
/// Those of [`train`], what the disk reports, and a corpus that changed meanwhile; no folder is left then.
pub fn train_checkpoint(
    texts: TrainingTexts<'_>,
    tokenizer_json: &[u8],
    recipe: &Recipe,
    destination: &Destination<'_>,
    progress: &dyn Progress,
) -> Result<TrainingRecord> {
    // The target is checked before the minutes of training, not after.
    let staged = StagedDir::create(destination.target, Access::Shared, destination.existing)?;
    let tokenizer = Tokenizer::from_bytes(tokenizer_json)?;
    let config = &recipe.train;
    let data = TrainingData::encode(texts, &tokenizer, config.seed, config.validation_fraction)?;
    let model = model_config(&recipe.shape, &tokenizer);
    let trained = train(&data, &model, config, destination.state, progress)?;
    let record = TrainingRecord {
        schema: 1,
        corpus_fingerprint: texts.corpus.fingerprint().to_owned(),
        subset_fingerprint: texts.subset_fingerprint(),
        n_documents: texts.ids().len() as u64,
        text_bytes: texts.ids().iter().map(|id| texts.corpus.text(*id).len() as u64).sum(),
        tokenizer_sha256: tokenizer.sha256().to_owned(),
        n_parameters: model.n_parameters(),
        n_train_tokens: data.n_train_tokens(),
        steps_per_epoch: trained.steps_per_epoch,
        n_steps: trained.n_steps,
        recipe: recipe.clone(),
        history: trained.history.clone(),
        privacy: trained.privacy.clone(),
    };
    write_files(staged.path(), &trained, tokenizer_json, &record)?;
    texts.corpus.verify_unchanged()?;
    staged.commit()?;
    // A finished run has nothing to go on with; its state would only stand in the next one's way.
    if let Some(path) = destination.state.filter(|path| path.exists()) {
        std::fs::remove_file(path).map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
    }
    Ok(record)
}

/// The checkpoint in the folder `target`, trained unless it is there from an earlier run, with the state of the training beside
/// it.
///
/// # Errors
/// Those of [`train_checkpoint`]; [`Error::Resume`] for a checkpoint of another corpus, tokenizer or recipe.
pub(crate) fn train_once(
    texts: TrainingTexts<'_>,
    tokenizer_json: &[u8],
    recipe: &Recipe,
    target: &Path,
    progress: &dyn Progress,
) -> Result<TrainingRecord> {
    let path = target.join("training.json");
    if path.exists() {
        let bad = |cause: &str| Error::Resume { path: path.clone(), cause: cause.to_owned() };
        let record: TrainingRecord =
            serde_json::from_slice(&Bytes::open(&path)?).map_err(|error| bad(json_fault(&error)))?;
        let is_the_same = record.corpus_fingerprint == texts.corpus.fingerprint()
            && record.subset_fingerprint == texts.subset_fingerprint()
            && record.tokenizer_sha256 == sha256_hex(tokenizer_json)
            && record.recipe == *recipe;
        return match is_the_same {
            true => Ok(record),
            false => Err(bad("it belongs to another corpus, tokenizer or recipe")),
        };
    }
    let mut state = target.as_os_str().to_owned();
    state.push(".train-state");
    let state = PathBuf::from(state);
    let destination = Destination { target, existing: Existing::Refuse, state: Some(&state) };
    train_checkpoint(texts, tokenizer_json, recipe, &destination, progress)
}

pub(crate) fn model_config(shape: &ModelShape, tokenizer: &Tokenizer) -> Gpt2Config {
    Gpt2Config {
        vocab_size: tokenizer.vocab_size(),
        n_positions: shape.n_positions,
        n_embd: shape.n_embd,
        n_layer: shape.n_layer,
        n_head: shape.n_head,
        n_inner: None,
        activation_function: "gelu_new".to_owned(),
        layer_norm_epsilon: 1e-5,
        initializer_range: 0.02,
        embd_pdrop: shape.dropout,
        attn_pdrop: shape.dropout,
        resid_pdrop: shape.dropout,
        scale_attn_weights: true,
        scale_attn_by_inverse_layer_idx: false,
        tie_word_embeddings: true,
        bos_token_id: tokenizer.end_of_text(),
        eos_token_id: tokenizer.end_of_text(),
    }
}

fn write_files(
    folder: &Path,
    trained: &Trained,
    tokenizer_json: &[u8],
    record: &TrainingRecord,
) -> Result<()> {
    let mut config = json!({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"});
    if let (Value::Object(config), Ok(Value::Object(fields))) =
        (&mut config, serde_json::to_value(&trained.model))
    {
        config.extend(fields);
    }
    write_shared(&folder.join("config.json"), &pretty(&config))?;
    let tensors: Vec<(String, &Tensor)> =
        trained.tensors.iter().map(|(name, tensor)| (format!("transformer.{name}"), tensor)).collect();
    // What transformers asks for: the framework that the layouts follow.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let path = folder.join("model.safetensors");
    let weights = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| Error::Write { path: path.clone(), source: std::io::Error::other(error) })?;
    write_shared(&path, &weights)?;
    write_shared(&folder.join("tokenizer.json"), tokenizer_json)?;
    Ok(write_shared(&folder.join("training.json"), &pretty(record))?)
}

pub(crate) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain fields serialize");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use verbatim_corpus::OpenConfig;
    use verbatim_store::Silent;

    use super::*;
    use crate::private::PrivateConfig;
    use crate::train::Length;

    /// Trains a very small model on a small corpus; `after_opening` sees the corpus file once it is open.
    fn train_small(
        folder: &Path,
        private: Option<PrivateConfig>,
        after_opening: impl FnOnce(&Path),
    ) -> Result<TrainingRecord> {
        let path = folder.join("corpus.jsonl");
        let line = "{\"text\":\"the sea, the sea and the tower\"}\n";
        write_shared(&path, line.repeat(4).as_bytes()).unwrap();
        let corpus = Corpus::open(std::slice::from_ref(&path), &OpenConfig::standard(), &Silent).unwrap();
        after_opening(&path);
        let shape = ModelShape { n_layer: 1, n_head: 1, n_embd: 8, n_positions: 8, dropout: 0.0 };
        let train = TrainConfig { length: Length::Steps(1), private, ..TrainConfig::standard(1) };
        let recipe = Recipe { shape, train };
        let tokenizer = train_tokenizer(&corpus, 260).unwrap();
        let target = folder.join("model");
        let destination = Destination { target: &target, existing: Existing::Refuse, state: None };
        train_checkpoint((&corpus).into(), &tokenizer, &recipe, &destination, &Silent)
    }

    #[test]
    fn a_record_from_before_private_training_loads_and_is_written_as_it_was() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        for name in [crate::demo::RAW, crate::demo::DEDUP] {
            let bytes = fs::read(folder.join(name).join("training.json")).unwrap();
            let record: TrainingRecord = serde_json::from_slice(&bytes).unwrap();
            assert!(record.recipe.train.private.is_none() && record.privacy.is_none());
            assert!(pretty(&record) == bytes, "{name}");
        }
    }

    #[test]
    fn a_private_training_is_told_in_the_record_and_its_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let private = PrivateConfig { clip_norm: Some(1.0), noise_multiplier: 2.0, delta: 1e-5 };
        let record = train_small(folder.path(), Some(private), |_| {}).unwrap();
        let text = fs::read(folder.path().join("model/training.json")).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["recipe"]["train"]["private"]["noise_multiplier"], 2.0);
        assert_eq!(value["privacy"]["example"], "one document");
        assert_eq!(value["privacy"]["n_steps"], 1);
        assert!(value["privacy"]["epsilon"].as_f64().unwrap() > 0.0);
        assert_eq!(serde_json::from_slice::<TrainingRecord>(&text).unwrap(), record);
    }

    #[test]
    fn no_checkpoint_is_left_of_a_corpus_that_changed_under_the_training() {
        let folder = tempfile::tempdir().unwrap();
        train_small(folder.path(), None, |_| {}).unwrap();
        assert!(folder.path().join("model/training.json").exists());

        let folder = tempfile::tempdir().unwrap();
        let error = train_small(folder.path(), None, |path| {
            let mut grown = fs::read(path).unwrap();
            grown.extend_from_slice(b"{\"text\":\"more\"}\n");
            // The open file keeps its bytes: what is at its path is another one.
            fs::rename(path, path.with_extension("old")).unwrap();
            write_shared(path, &grown).unwrap();
        })
        .unwrap_err();
        assert!(error.to_string().contains("corpus.jsonl"), "{error}");
        assert!(!folder.path().join("model").exists());
    }
}
