//! Checkpoints in one GGUF file, as llama.cpp has them: weights dequantised once, so that every position can be scored,
//! and configuration, names and tokenizer translated to those of Hugging Face, which the rest of this room knows.

mod header;
mod translate;
mod vocabulary;

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::{Device, Tensor};

use self::header::{Entry, Header};
use crate::checkpoint::{FileHash, Hashing};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::precheck::open_regular;
use crate::runtime::Runtime;

/// What a GGUF file holds.
pub(crate) struct Gguf {
    pub(crate) config: ModelConfig,
    /// By their names in Hugging Face's checkpoints.
    pub(crate) tensors: HashMap<String, Tensor>,
    /// A `tokenizer.json` that says what the file says.
    pub(crate) tokenizer_json: Vec<u8>,
    pub(crate) file: FileHash,
}

/// Reads a GGUF file from front to end, if there is the memory for it.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::BadFile`] for a damaged or hostile file, [`Error::Config`] for a model of another family, [`Error::Io`].
pub(crate) fn read(path: &Path, runtime: Runtime) -> Result<Gguf> {
    let (file, n_bytes) = open_regular(path)?;
    let mut reader = Hashing::new(BufReader::with_capacity(1 << 16, file));
    let bad = |cause| Error::BadFile { path: path.to_path_buf(), cause };
    let header = header::read(&mut reader, n_bytes).map_err(bad)?;
    let config = translate::config(&header)?;
    // They are dequantised to f32 first.
    runtime.check_memory(&config, 4 * config.n_parameters() as u64, path)?;
    let tokenizer_json = vocabulary::tokenizer_json(&header).map_err(bad)?;
    let failed = |source| Error::Io { path: path.to_path_buf(), doing: "read the weights", source };
    let tensors = match runtime.has_weights() {
        true => read_tensors(&mut reader, &header, &config, path)?,
        false => HashMap::new(),
    };
    io::copy(&mut reader, &mut io::sink()).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = FileHash { name, sha256: reader.hex(), n_bytes };
    Ok(Gguf { config, tensors, tokenizer_json, file })
}

fn read_tensors(
    reader: &mut impl Read,
    header: &Header,
    config: &ModelConfig,
    path: &Path,
) -> Result<HashMap<String, Tensor>> {
    let failed = |source| Error::Io { path: path.to_path_buf(), doing: "read the weights", source };
    let mut tensors = HashMap::new();
    let mut position = header.n_read;
    let mut bytes = Vec::new();
    for Entry { name, dtype, shape, start, n_bytes } in &header.tensors {
        io::copy(&mut reader.take(start - position), &mut io::sink()).map_err(failed)?;
        // The place was checked against the file's length, so this allocates no more than the file has.
        bytes.resize(*n_bytes as usize, 0);
        reader.read_exact(&mut bytes).map_err(failed)?;
        position = start + n_bytes;
        let quantized = qtensor_from_ggml(*dtype, &bytes, shape.clone(), &Device::Cpu)?;
        if let Some((name, tensor)) = translate::tensor(config, name, quantized.dequantize(&Device::Cpu)?)? {
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}
