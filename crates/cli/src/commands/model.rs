//! A checkpoint from a folder or from the hub; the only place that reads the environment for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sysinfo::System;
use verbatim_lab::TrainingRecord;
use verbatim_lm::hub::{self, HubConfig, Token};
use verbatim_lm::{Checkpoint, Device, LanguageModel, Runtime};
use verbatim_report::{FileUsed, ModelUsed};
use verbatim_store::Bytes;

use crate::args::{ModelFlags, RuntimeFlags};
use crate::commands::Context;
use crate::failure;

/// Samples drawn at once where memory is no matter: more make nothing faster.
const MAX_BATCH: u64 = 64;

/// Opens a folder in Hugging Face layout or a GGUF file, or fetches `organisation/name` and opens what was fetched.
pub(crate) fn open(
    name: &str,
    revision: &str,
    runtime: Runtime,
    context: &Context<'_>,
) -> anyhow::Result<Checkpoint> {
    let path = Path::new(name);
    // Where all answers are there already, nothing is asked.
    let device = if context.shards.is_some() { Device::Nowhere } else { runtime.device };
    let runtime = Runtime { device, free_memory: free_memory(), ..runtime };
    if path.exists() {
        return Checkpoint::open(path, runtime).with_context(|| format!("cannot load the model {name}"));
    }
    if name.split('/').count() != 2 || name.starts_with(['.', '/']) {
        return Err(failure::missing(format!(
            "{name}: no such folder or file, and not a hub name like openai-community/gpt2"
        )));
    }
    let snapshot = hub::fetch(&hub_config()?, name, revision, context.teller)
        .with_context(|| format!("{name} is no folder here, and fetching it from the hub failed"))?;
    let mut checkpoint =
        Checkpoint::open(&snapshot.dir, runtime).with_context(|| format!("cannot load the model {name}"))?;
    name.clone_into(&mut checkpoint.name);
    checkpoint.revision = Some(snapshot.commit);
    Ok(checkpoint)
}

/// [`open`] of what the flags name.
pub(crate) fn open_asked(
    flags: &ModelFlags,
    runtime_flags: &RuntimeFlags,
    context: &Context<'_>,
) -> anyhow::Result<Checkpoint> {
    open(&flags.model, &flags.revision, runtime(runtime_flags), context)
}

/// What the flags ask for.
pub(crate) fn runtime(flags: &RuntimeFlags) -> Runtime {
    let device = match flags.device {
        Device::Cpu(_) => Device::Cpu(flags.kernel),
        elsewhere => elsewhere,
    };
    Runtime { device, dtype: flags.dtype, free_memory: None }
}

/// What decides about the last bits of a model's answers, for a report.
pub(crate) fn arithmetic(runtime: Runtime) -> String {
    match runtime.device {
        Device::Cpu(kernel) => {
            format!("{} weights, {} arithmetic on a CPU", runtime.dtype.name(), kernel.arithmetic())
        }
        Device::Cuda(_) => format!("{} on a GPU", runtime.dtype.name()),
        Device::Nowhere => "none".to_owned(),
    }
}

/// How many samples of up to `n_tokens` are drawn at once where nobody said it.
pub(crate) fn batch(model: &dyn LanguageModel, n_tokens: usize) -> usize {
    let fitting = free_memory().unwrap_or(0) / 4 / model.sequence_bytes(n_tokens).max(1);
    fitting.clamp(1, MAX_BATCH) as usize
}

/// Bytes of memory that this process may still take, where the system tells.
fn free_memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    Some(system.cgroup_limits().map_or(system.available_memory(), |limits| limits.free_memory))
}

/// What tells a checkpoint from others: the hashes of its files.
pub(crate) fn hashes(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.files.iter().map(|file| file.sha256.as_str()).collect()
}

/// The model as a report names it.
pub(crate) fn used(role: &str, checkpoint: &Checkpoint) -> ModelUsed {
    ModelUsed {
        role: role.to_owned(),
        name: checkpoint.name.clone(),
        revision: checkpoint.revision.clone(),
        trained_on: None,
        tokenizer_sha256: checkpoint.tokenizer.sha256().to_owned(),
        files: checkpoint
            .files
            .iter()
            .map(|file| FileUsed {
                name: file.name.clone(),
                sha256: file.sha256.clone(),
                n_bytes: file.n_bytes,
            })
            .collect(),
    }
}

/// Fingerprint of the corpus that a checkpoint was trained on, where its folder has a training.json that is of it.
pub(crate) fn trained_on(folder: &Path, checkpoint: &Checkpoint) -> Option<String> {
    let record = Bytes::open(&folder.join("training.json")).ok()?;
    let record: TrainingRecord = serde_json::from_slice(&record).ok()?;
    (record.tokenizer_sha256 == checkpoint.tokenizer.sha256()).then_some(record.corpus_fingerprint)
}

/// The hub as `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE` describe it.
fn hub_config() -> anyhow::Result<HubConfig> {
    let home = match (path("HF_HOME"), path("XDG_CACHE_HOME"), path("HOME")) {
        (Some(home), _, _) => home,
        (None, Some(cache), _) => cache.join("huggingface"),
        (None, None, Some(user)) => user.join(".cache/huggingface"),
        (None, None, None) => return Err(failure::usage("no folder for models; set HF_HOME")),
    };
    let mut config = HubConfig::standard(path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")));
    if let Some(endpoint) = text("HF_ENDPOINT") {
        config.endpoint = endpoint;
    }
    let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
    let token = text("HF_TOKEN").or_else(|| fs::read_to_string(token_file).ok());
    config.token = match token.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(token) => Some(Token::new(token)?),
    };
    config.offline = text("HF_HUB_OFFLINE")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    Ok(config)
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
