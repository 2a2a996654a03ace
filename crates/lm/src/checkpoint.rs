//! A checkpoint in the Hugging Face layout: configuration, weights and tokenizer of one folder.
//!
//! Each file is read once, from front to end, and hashed on the way: the hashes are those of the very bytes
//! that were loaded. Weights are copied, so that nothing that later happens to the files reaches the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::gguf::{self, Gguf};
use crate::model::LanguageModel;
use crate::precheck::{Dtype, TensorEntry, open_regular, read_capped, read_header, refuse_pickle_name};
use crate::runtime::Runtime;
use crate::text_model::TextModel;
use crate::tokenizer::Tokenizer;

/// The model's configuration.
pub(crate) const CONFIG: &str = "config.json";
/// The tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The weights, where they are one file.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// Which file holds which tensor, where the weights are several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The longest configuration that is read, in bytes.
pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// The longest index of shards that is read, in bytes.
pub(crate) const MAX_INDEX_BYTES: u64 = 16 << 20;
/// How many ids more than the tokenizer a model may have, because embeddings are padded to a round size.
const MAX_PADDING: usize = 1024;

/// One file of a checkpoint, named by its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// The name inside the folder.
    pub name: String,
    /// SHA-256 of the bytes that were read, as 64 hexadecimal digits.
    pub sha256: String,
    /// The length of the file in bytes.
    pub n_bytes: u64,
}

/// A model with its tokenizer, and the hashes of the files that it came from.
pub struct Checkpoint {
    /// The model, its weights in memory; no file stays mapped.
    pub model: Box<dyn LanguageModel>,
    /// What the model is.
    pub config: ModelConfig,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Every file that was read, in the order of reading.
    pub files: Vec<FileHash>,
    /// The model's name on the hub for a snapshot of a hub's cache, else the last part of the folder's path.
    pub name: String,
    /// The commit, where the folder is a snapshot of a hub's cache.
    pub revision: Option<String>,
    /// The folder or file.
    pub(crate) path: PathBuf,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Checkpoint").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Reads a folder with `config.json`, `tokenizer.json` and `model.safetensors`, single or sharded, in
    /// f32, f16 or bf16, or one GGUF file. Pickled weights are never opened.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Refused`] for pickles, [`Error::Config`] for a configuration that is
    /// absurd or of no supported family, [`Error::BadFile`] for a damaged or hostile file, [`Error::Tensors`] for
    /// weights that do not fit or are not numbers, [`Error::InvalidArgument`] for a runtime that is not to be had,
    /// [`Error::TooLarge`] where the memory does not suffice, [`Error::Io`].
    pub fn open(dir: &Path, runtime: Runtime) -> Result<Self> {
        runtime.check()?;
        refuse_pickle_name(dir)?;
        if dir.is_file() {
            return Self::open_gguf(dir, runtime);
        }
        let dir = match fs::canonicalize(dir) {
            Ok(real) if real.is_dir() => real,
            _ => {
                return Err(Error::Missing {
                    path: dir.to_path_buf(),
                    cause: format!(
                        "no such folder; give the folder that holds {CONFIG} and {WEIGHTS}, or a GGUF file"
                    ),
                });
            }
        };
        let mut files = Vec::new();
        let config = read_config(&dir, &mut files)?;
        // The tokenizer comes before the weights, because it is small and as likely to be wrong.
        let tokenizer_path = dir.join(TOKENIZER);
        let tokenizer = Tokenizer::open(&tokenizer_path)?;
        let n_bytes = fs::metadata(&tokenizer_path).map_or(0, |metadata| metadata.len());
        files.push(FileHash { name: TOKENIZER.to_owned(), sha256: tokenizer.sha256().to_owned(), n_bytes });
        check_vocabulary(&config, &tokenizer, tokenizer_path)?;
        let tensors = read_weights(&dir, (&config, runtime), &mut files)?;
        let (name, revision) = name_and_revision(&dir);
        Ok(Self {
            model: runtime.load(&config, tensors)?,
            config,
            tokenizer,
            files,
            name,
            revision,
            path: dir,
        })
    }

    /// The model with its tokenizer.
    #[must_use]
    pub fn text_model(&self) -> TextModel<'_> {
        TextModel { model: self.model.as_ref(), tokenizer: &self.tokenizer }
    }

    fn open_gguf(path: &Path, runtime: Runtime) -> Result<Self> {
        let Gguf { config, tensors, tokenizer_json, file } = gguf::read(path, runtime)?;
        let tokenizer = Tokenizer::from_bytes(&tokenizer_json).map_err(|error| error.of_file(path))?;
        check_vocabulary(&config, &tokenizer, path.to_path_buf())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let model = runtime.load(&config, tensors)?;
        Ok(Self {
            model,
            config,
            tokenizer,
            files: vec![file],
            name,
            revision: None,
            path: path.to_path_buf(),
        })
    }

    /// The tensors by their names in the files, which are read once more.
    ///
    /// # Errors
    /// [`Error::BadFile`] when a file has changed, those of [`Checkpoint::open`].
    pub(crate) fn tensors(&self) -> Result<HashMap<String, Tensor>> {
        let mut files = Vec::new();
        let tensors = if self.path.is_file() {
            let Gguf { tensors, file, .. } = gguf::read(&self.path, Runtime::default())?;
            files.push(file);
            tensors
        } else {
            read_weights(&self.path, (&self.config, Runtime::default()), &mut files)?
        };
        match files.iter().find(|file| !self.files.contains(file)) {
            None => Ok(tensors),
            Some(file) => {
                let cause = format!("{} has changed since the model was opened", file.name);
                Err(Error::BadFile { path: self.path.clone(), cause })
            }
        }
    }
}

/// Reads the configuration.
fn read_config(dir: &Path, files: &mut Vec<FileHash>) -> Result<ModelConfig> {
    let bytes = read_capped(&dir.join(CONFIG), MAX_CONFIG_BYTES)?;
    files.push(FileHash {
        name: CONFIG.to_owned(),
        sha256: verbatim_store::sha256_hex(&bytes),
        n_bytes: bytes.len() as u64,
    });
    ModelConfig::parse(&bytes)
}

/// The tokenizer must not know ids that the model lacks. The model may know a few more, where its embeddings
/// are padded to a multiple of 64.
fn check_vocabulary(config: &ModelConfig, tokenizer: &Tokenizer, path: PathBuf) -> Result<()> {
    let (model, tokens) = (config.vocab_size(), tokenizer.vocab_size());
    let padded = model > tokens && model.is_multiple_of(64) && model - tokens < MAX_PADDING;
    if model == tokens || padded {
        return Ok(());
    }
    let cause = format!("{tokens} tokens, but the model has {model}: this is another model's tokenizer");
    Err(Error::BadFile { path, cause })
}

/// Reads every tensor by its name in the file, if there is the memory for them.
fn read_weights(
    dir: &Path,
    (config, runtime): (&ModelConfig, Runtime),
    files: &mut Vec<FileHash>,
) -> Result<HashMap<String, Tensor>> {
    let index = if dir.join(WEIGHTS).exists() { None } else { Some(read_index(dir, files)?) };
    let shards = index.as_ref().map_or_else(|| BTreeSet::from([WEIGHTS]), ShardIndex::shards);
    let n_bytes = |shard: &&str| fs::metadata(dir.join(shard)).map_or(0, |metadata| metadata.len());
    runtime.check_memory(config, shards.iter().map(n_bytes).fold(0, u64::saturating_add), dir)?;
    let mut tensors = HashMap::new();
    for shard in shards {
        match runtime.has_weights() {
            true => read_shard(dir, shard, files, &mut tensors)?,
            false => files.push(hash_of(dir, shard)?),
        }
    }
    let names = index.iter().filter(|_| runtime.has_weights()).flat_map(|index| index.weight_map.keys());
    match names.into_iter().find(|name| !is_buffer(name) && !tensors.contains_key(*name)) {
        Some(name) => {
            Err(Error::BadFile { path: dir.join(INDEX), cause: format!("no shard holds tensor `{name}`") })
        }
        None => Ok(tensors),
    }
}

/// What a file is, of which nothing else is wanted.
fn hash_of(dir: &Path, name: &str) -> Result<FileHash> {
    let path = dir.join(name);
    let (file, n_bytes) = open_regular(&path)?;
    let mut reader = Hashing::new(BufReader::with_capacity(1 << 16, file));
    let read = io::copy(&mut reader, &mut io::sink());
    read.map_err(|source| Error::Io { path, doing: "read the weights", source })?;
    Ok(FileHash { name: name.to_owned(), sha256: reader.hex(), n_bytes })
}

/// Reads which shard holds which tensor; every shard is there.
fn read_index(dir: &Path, files: &mut Vec<FileHash>) -> Result<ShardIndex> {
    if !dir.join(INDEX).exists() {
        return Err(no_weights(dir));
    }
    let bytes = read_capped(&dir.join(INDEX), MAX_INDEX_BYTES)?;
    files.push(FileHash {
        name: INDEX.to_owned(),
        sha256: verbatim_store::sha256_hex(&bytes),
        n_bytes: bytes.len() as u64,
    });
    let bad = |cause| Error::BadFile { path: dir.join(INDEX), cause };
    let index = ShardIndex::parse(&bytes).map_err(bad)?;
    for shard in index.shards() {
        refuse_pickle_name(&dir.join(shard))?;
        if !dir.join(shard).exists() {
            return Err(bad(format!("shard `{shard}` is missing")));
        }
    }
    Ok(index)
}

/// Which shard holds which tensor.
#[derive(Debug, Deserialize)]
pub(crate) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Parses an index; its shards must be plain names of files beside it.
    pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let index: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if let Some(shard) = index.shards().into_iter().find(|shard| !is_plain(shard)) {
            return Err(format!("shard name {shard:?} is not a plain file name"));
        }
        Ok(index)
    }

    /// The shards, each once, in the order of their names.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Whether this is the name of a file in the same folder and nothing else.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.len() <= 128 && !name.starts_with('.') && !name.is_empty() && name.bytes().all(plain)
}

/// What to say where no weights that we read are there: pickles beside it are the usual reason.
fn no_weights(dir: &Path) -> Error {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let pickles: BTreeSet<PathBuf> = names.filter(|path| refuse_pickle_name(path).is_err()).collect();
    match pickles.first().map(|path| refuse_pickle_name(path)) {
        Some(Err(refusal)) => refusal,
        _ => Error::Missing { path: dir.to_path_buf(), cause: format!("neither {WEIGHTS} nor {INDEX}") },
    }
}

/// Reads one safetensors file from front to end.
fn read_shard(
    dir: &Path,
    name: &str,
    files: &mut Vec<FileHash>,
    tensors: &mut HashMap<String, Tensor>,
) -> Result<()> {
    let path = dir.join(name);
    let (file, n_bytes) = open_regular(&path)?;
    let mut reader = Hashing::new(BufReader::with_capacity(1 << 16, file));
    let entries = read_header(&mut reader, n_bytes, &path)?;
    check_memory(&entries, &path)?;
    let mut bytes = Vec::new();
    for entry in entries {
        // The length was checked against the file's, so this allocates no more than the file has.
        bytes.resize(entry.n_bytes as usize, 0);
        let read = reader.read_exact(&mut bytes);
        read.map_err(|source| Error::Io { path: path.clone(), doing: "read the weights", source })?;
        if is_buffer(&entry.name) {
            continue;
        }
        let bad = |cause| Error::BadFile { path: path.clone(), cause };
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::Bf16 => DType::BF16,
            other => {
                return Err(bad(format!("tensor `{}` is {other:?}, expected F32, F16 or BF16", entry.name)));
            }
        };
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, &entry.shape, &Device::Cpu)?;
        if tensors.contains_key(&entry.name) {
            return Err(bad(format!("tensor `{}` stands in another shard, too", entry.name)));
        }
        tensors.insert(entry.name, tensor);
    }
    files.push(FileHash { name: name.to_owned(), sha256: reader.hex(), n_bytes });
    Ok(())
}

/// Causal masks and rotary frequencies that old exports keep among the weights; our models make their own.
fn is_buffer(name: &str) -> bool {
    [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".inv_freq"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Asks for the memory of all tensors at once, so that a lack of it is an error and not an abort.
fn check_memory(entries: &[TensorEntry], path: &Path) -> Result<()> {
    let n_bytes = entries.iter().map(|e| e.n_bytes / e.dtype.n_bytes() * 4).fold(0, u64::saturating_add);
    let enough = usize::try_from(n_bytes).is_ok_and(|n| Vec::<u8>::new().try_reserve_exact(n).is_ok());
    if enough {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::OutOfMemory, format!("{n_bytes} bytes of memory are needed"));
    Err(Error::Io { path: path.to_path_buf(), doing: "load the weights", source })
}

/// A reader that hashes what passes through it.
pub(crate) struct Hashing<R> {
    inner: R,
    sha256: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..n]);
        Ok(n)
    }
}

impl<R> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, sha256: Sha256::new() }
    }

    /// The SHA-256 of what has passed.
    pub(crate) fn hex(self) -> String {
        self.sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A hub cache keeps snapshots in `models--owner--name/snapshots/<commit>`; elsewhere a folder is its name.
fn name_and_revision(dir: &Path) -> (String, Option<String>) {
    let part =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let last = part(dir);
    let snapshots = dir.parent().filter(|parent| parent.ends_with("snapshots"));
    let repo = snapshots.and_then(Path::parent).map(part);
    match repo.as_deref().and_then(|folder| folder.strip_prefix("models--")) {
        Some(repo) => (repo.replacen("--", "/", 1), Some(last)),
        None => (last, None),
    }
}
