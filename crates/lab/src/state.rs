//! The state of a training run on disk: parameters, moments, step and losses, in one file that is replaced whole.

use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use verbatim_lm::Parameters;
use verbatim_store::{Access, Bytes, Existing, Replace};

use crate::error::{Error, Result};
use crate::optimizer::AdamW;
use crate::train::EpochLosses;

const MAGIC: &str = "verbatim training state 2";
/// What is saved of each parameter.
const KINDS: [&str; 3] = ["value", "first", "second"];

/// What a run needs to go on, besides its optimiser.
#[derive(Debug, Default)]
pub(crate) struct Progressed {
    /// Losses of the epochs that are over.
    pub(crate) history: Vec<EpochLosses>,
    /// Sum of the losses of the epoch under way, one for each step.
    pub(crate) loss_sum: f64,
}

/// Saves a run under `path`; `run` names its data and recipe.
pub(crate) fn save(path: &Path, run: &str, optimizer: &AdamW, progressed: &Progressed) -> Result<()> {
    let mut tensors = Vec::new();
    let [first, second] = optimizer.moments();
    for (kind, parameters) in KINDS.into_iter().zip([optimizer.values(), first, second]) {
        for (name, values) in parameters {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            tensors.push((format!("{kind}.{name}"), tensor));
        }
    }
    // f64 tensors keep every bit, which decimal text need not.
    let mut losses = vec![progressed.loss_sum];
    for epoch in &progressed.history {
        losses.extend([epoch.train_loss, epoch.validation_loss.unwrap_or(f64::NAN)]);
    }
    tensors.push(("losses".to_owned(), Tensor::from_slice(&losses, losses.len(), &Device::Cpu)?));
    let ends: Vec<i64> =
        progressed.history.iter().map(|epoch| i64::try_from(epoch.step).unwrap_or(i64::MAX)).collect();
    tensors.push(("epoch_ends".to_owned(), Tensor::from_slice(&ends, ends.len(), &Device::Cpu)?));
    let facts =
        [("format", MAGIC.to_owned()), ("run", run.to_owned()), ("step", optimizer.n_steps().to_string())];
    let metadata = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| bad(path, &e.to_string()))?;
    let mut file = Replace::create(path, Access::Private, Existing::Replace)?;
    file.write_all(&bytes).map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
    Ok(file.finish()?)
}

/// Puts a saved run back into `optimizer`; nothing if there is no file at `path`.
pub(crate) fn load(path: &Path, run: &str, optimizer: &mut AdamW) -> Result<Option<Progressed>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Bytes::open(path)?;
    let (_, header) =
        safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| bad(path, &e.to_string()))?;
    let facts = header.metadata().clone().unwrap_or_default();
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    if fact("format") != MAGIC {
        return Err(bad(path, "it is not a training state of this version"));
    }
    if fact("run") != run {
        return Err(bad(path, "it belongs to another corpus, tokenizer or recipe"));
    }
    let n_steps = fact("step").parse().map_err(|_| bad(path, "its step is not a number"))?;
    let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    let mut take =
        |name: &str| tensors.remove(name).ok_or_else(|| bad(path, &format!("`{name}` is missing")));
    let mut parameters = |kind: &str| {
        let vector = |(name, current): (&String, &Vec<f32>)| {
            let vector: Vec<f32> = take(&format!("{kind}.{name}"))?.to_vec1()?;
            if vector.len() != current.len() {
                return Err(bad(path, &format!("`{kind}.{name}` has another length")));
            }
            Ok((name.clone(), vector))
        };
        optimizer.values().iter().map(vector).collect::<Result<Parameters>>()
    };
    let [values, first, second] = KINDS.map(&mut parameters);
    let (values, moments) = (values?, [first?, second?]);
    let losses: Vec<f64> = take("losses")?.to_dtype(DType::F64)?.to_vec1()?;
    let ends: Vec<i64> = take("epoch_ends")?.to_vec1()?;
    if losses.len() != 1 + 2 * ends.len() {
        return Err(bad(path, "its losses do not fit its epochs"));
    }
    optimizer.restore(n_steps, values, moments);
    let history = losses[1..].chunks_exact(2).zip(ends).map(|(losses, end)| EpochLosses {
        step: u64::try_from(end).unwrap_or(0),
        train_loss: losses[0],
        validation_loss: Some(losses[1]).filter(|loss| !loss.is_nan()),
    });
    Ok(Some(Progressed { history: history.collect(), loss_sum: losses[0] }))
}

fn bad(path: &Path, cause: &str) -> Error {
    Error::Resume { path: path.to_path_buf(), cause: cause.to_owned() }
}
