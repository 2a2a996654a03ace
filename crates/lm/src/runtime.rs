//! What a model runs on: the CPU engine, candle on a GPU, or nothing where nothing is asked.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use candle_core::{DType, Tensor};

use crate::config::ModelConfig;
use crate::engine::CpuEngine;
use crate::engine::kernel::Kernel;
use crate::engine::packed::WeightType;
use crate::error::{Error, Result};
use crate::model::LanguageModel;
use crate::unasked::Unasked;

/// Where a model is computed.
#[derive(Clone, Copy, Debug)]
pub enum Device {
    /// On this machine's processor, with these vector instructions.
    Cpu(Kernel),
    /// On the GPU with this number; in builds with the feature `cuda` only.
    Cuda(usize),
    /// Nowhere: its files are hashed but no weights are loaded, and it answers nothing. For runs whose answers are there.
    Nowhere,
}

impl Default for Device {
    fn default() -> Self {
        Self::Cpu(Kernel::default())
    }
}

/// How weights are stored in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits; on the CPU everything is computed in it.
    #[default]
    F32,
    /// The upper half of an f32.
    Bf16,
    /// IEEE 754's half precision; on a GPU only.
    F16,
}

impl FromStr for Device {
    type Err = String;

    /// Reads `cpu` or `cuda:N`; the CPU's kernel is the fastest.
    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(number)) => Ok(Self::Cuda(number)),
            None if name == "cpu" => Ok(Self::default()),
            _ => Err(format!("`{name}` is no device; choose cpu or cuda:N")),
        }
    }
}

impl Dtype {
    /// The name, as [`Dtype::from_str`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    fn n_bytes(self) -> u64 {
        if self == Self::F32 { 4 } else { 2 }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(format!("`{name}` is no type of weights; choose f32, bf16 or f16")),
        }
    }
}

/// What a model runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runtime {
    /// Where it is computed.
    pub device: Device,
    /// How its weights are stored.
    pub dtype: Dtype,
    /// The memory that there is for it, in bytes, if that is known.
    pub free_memory: Option<u64>,
}

impl Runtime {
    /// Refuses what this build cannot run, before anything is read for it.
    pub(crate) fn check(self) -> Result<()> {
        match (self.device, self.dtype) {
            (Device::Cpu(_), Dtype::F16) => Err(Error::InvalidArgument(
                "weights in f16 run on a GPU only; on the CPU choose f32 or bf16".to_owned(),
            )),
            (Device::Cuda(_), _) if !cfg!(feature = "cuda") => Err(Error::InvalidArgument(
                "this build runs models on the CPU only; docs/cuda/build.sh makes one for NVIDIA GPUs"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Whether weights are read.
    pub(crate) fn has_weights(self) -> bool {
        !matches!(self.device, Device::Nowhere)
    }

    /// Refuses a model that takes more memory than there is, before its weights are read.
    ///
    /// `n_stored` bytes are what the weights take as they were read. Each is packed, and dropped: at most there are all of
    /// one kind, and the largest once more on its way.
    pub(crate) fn check_memory(self, config: &ModelConfig, n_stored: u64, path: &Path) -> Result<()> {
        let Some(free) = self.free_memory else { return Ok(()) };
        let (n_all, n_largest) = (config.n_parameters() as u64, config.n_largest() as u64);
        let takes = |dtype: Dtype| n_stored.max(n_all * dtype.n_bytes()) + n_largest * (4 + dtype.n_bytes());
        let needed = match self.device {
            Device::Cpu(_) => takes(self.dtype),
            Device::Cuda(_) => n_stored,
            Device::Nowhere => 0,
        };
        if needed <= free {
            return Ok(());
        }
        let halves = matches!(self.device, Device::Cpu(_)) && takes(Dtype::Bf16) < needed / 4 * 3;
        Err(Error::TooLarge { path: path.to_path_buf(), needed, free, halves })
    }

    /// Makes a model of named tensors, with or without the prefix of their family.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what this build or machine cannot run; [`Error::Tensors`] lists every tensor that
    /// is missing or has another shape, or holds NaN or infinity.
    pub fn load(
        self,
        config: &ModelConfig,
        tensors: HashMap<String, Tensor>,
    ) -> Result<Box<dyn LanguageModel>> {
        self.check()?;
        match (self.device, self.dtype) {
            (Device::Cpu(kernel), dtype) => {
                let weight_type = if dtype == Dtype::Bf16 { WeightType::Bf16 } else { WeightType::F32 };
                Ok(Box::new(CpuEngine::new(config, tensors, kernel, weight_type)?))
            }
            (Device::Cuda(number), dtype) => {
                let device = candle_core::Device::new_cuda(number).map_err(|e| {
                    Error::InvalidArgument(format!("no GPU with number {number} can be used: {e}"))
                })?;
                let dtype = match dtype {
                    Dtype::F32 => DType::F32,
                    Dtype::Bf16 => DType::BF16,
                    Dtype::F16 => DType::F16,
                };
                let moved = tensors
                    .into_iter()
                    .map(|(name, tensor)| Ok((name, tensor.to_dtype(dtype)?.to_device(&device)?)));
                config.readable(moved.collect::<Result<_>>()?)
            }
            (Device::Nowhere, _) => Ok(Box::new(Unasked::of(config))),
        }
    }
}
