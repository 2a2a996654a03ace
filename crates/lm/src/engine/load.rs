//! From a checkpoint's tensors to packed weights, one tensor after the other: each is dropped once it is packed.

use std::collections::HashMap;

use candle_core::{DType, Storage, Tensor};

use crate::engine::Embeddings;
use crate::engine::math::Norm;
use crate::engine::packed::{Packed, WeightType};
use crate::error::Result;

/// Checked tensors of a model, taken one by one.
pub(crate) struct Weights {
    tensors: HashMap<String, Tensor>,
    weight_type: WeightType,
}

impl Weights {
    pub(crate) fn new(tensors: HashMap<String, Tensor>, weight_type: WeightType) -> Self {
        Self { tensors, weight_type }
    }

    /// What `read` makes of the numbers of a tensor, in the order of its dimensions.
    ///
    /// # Panics
    /// When the tensor is not there, or was taken before: names come from the list that the tensors were checked by.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
        let tensor = self.tensors.remove(name).expect("a tensor of the checked list, taken once");
        // Neither step copies what is as it should be.
        let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
        let (storage, layout) = tensor.storage_and_layout();
        let numbers = match &*storage {
            Storage::Cpu(numbers) => numbers.as_slice::<f32>()?,
            _ => unreachable!("checkpoints are read into the CPU's memory"),
        };
        Ok(read(&numbers[layout.start_offset()..][..tensor.elem_count()]))
    }

    /// The numbers of a tensor.
    pub(crate) fn vector(&mut self, name: &str) -> Result<Vec<f32>> {
        self.read(name, <[f32]>::to_vec)
    }

    /// A projection stored as (in, out), with its bias: the Conv1D of GPT-2.
    pub(crate) fn conv1d(&mut self, name: &str, (k, n): (usize, usize)) -> Result<Packed> {
        let weight_type = self.weight_type;
        let packed = self.read(&format!("{name}.weight"), |values| {
            Packed::new((k, n), weight_type, |depth, column| values[depth * n + column])
        })?;
        Ok(packed.with_bias(&self.vector(&format!("{name}.bias"))?))
    }

    /// A projection stored as (out, in), with its bias if there is one; column n of the result is row `row(n)`.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        (k, n): (usize, usize),
        row: impl Fn(usize) -> usize + Sync,
    ) -> Result<Packed> {
        let weight_type = self.weight_type;
        let packed = self.read(&format!("{name}.weight"), |values| {
            Packed::new((k, n), weight_type, |depth, column| values[row(column) * k + depth])
        })?;
        Ok(match self.bias(name)? {
            Some(bias) => packed.with_bias(&(0..n).map(|column| bias[row(column)]).collect::<Vec<f32>>()),
            None => packed,
        })
    }

    /// Projections stored as (out, in) of the same input, one beside the other.
    pub(crate) fn side_by_side(&mut self, names: &[String], k: usize) -> Result<Packed> {
        let (mut values, mut biases) = (Vec::new(), Vec::new());
        for name in names {
            self.read(&format!("{name}.weight"), |more| values.extend_from_slice(more))?;
            biases.extend(self.bias(name)?.unwrap_or_default());
        }
        let n = values.len() / k;
        let packed = Packed::new((k, n), self.weight_type, |depth, column| values[column * k + depth]);
        Ok(if biases.is_empty() { packed } else { packed.with_bias(&biases) })
    }

    /// The token embeddings and the head of C inputs and V tokens; without an own name the head is the embeddings.
    pub(crate) fn ends(
        &mut self,
        embeddings: &str,
        head: Option<&str>,
        (c, v): (usize, usize),
    ) -> Result<(Embeddings, Packed)> {
        let embeddings = self.linear(embeddings, (c, v), |row| row)?;
        Ok(match head {
            None => (Embeddings::Tied, embeddings),
            Some(head) => (Embeddings::Own(embeddings), self.linear(head, (c, v), |row| row)?),
        })
    }

    fn bias(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        let name = format!("{name}.bias");
        if self.tensors.contains_key(&name) { Ok(Some(self.vector(&name)?)) } else { Ok(None) }
    }

    /// A norm, with a bias if there is one.
    pub(crate) fn norm(&mut self, name: &str, epsilon: f64) -> Result<Norm> {
        let weight = self.vector(&format!("{name}.weight"))?;
        Ok(Norm { weight, bias: self.bias(name)?, epsilon: epsilon as f32 })
    }
}
