//! The tensors that a configuration asks for, found in a checkpoint and checked, all complaints at once.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};

/// One tensor that a model needs, named without the prefix of its family.
#[derive(Clone, Debug)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// What other versions of the libraries call it.
    pub(crate) alias: Option<&'static str>,
}

impl TensorSpec {
    pub(crate) fn new(name: impl Into<String>, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), alias: None }
    }

    pub(crate) fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The tensors of a list, by their names in it; in the checkpoint, they may have `prefix` before them.
pub(crate) fn take(
    specs: &[TensorSpec],
    prefix: &str,
    tensors: &HashMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>> {
    let mut checked = HashMap::new();
    let mut complaints = Vec::new();
    for spec in specs {
        let prefixed = format!("{prefix}{}", spec.name);
        let names = [Some(spec.name.as_str()), Some(&prefixed), spec.alias];
        let found = names.into_iter().flatten().find_map(|name| tensors.get(name));
        let Some(tensor) = found else {
            complaints.push(format!("`{}` is missing, expected shape {:?}", spec.name, spec.shape));
            continue;
        };
        match complaint(tensor, spec)? {
            None => {
                checked.insert(spec.name.clone(), tensor.clone());
            }
            Some(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() { Ok(checked) } else { Err(Error::Tensors(complaints)) }
}

/// Why a tensor does not fit, if so.
fn complaint(tensor: &Tensor, spec: &TensorSpec) -> Result<Option<String>> {
    let (name, expected, got) = (&spec.name, &spec.shape, tensor.dims());
    if got != expected {
        let transposed = expected.iter().rev().eq(got);
        return Ok(Some(if transposed {
            format!("`{name}` is transposed: expected shape {expected:?}, got {got:?}")
        } else {
            format!("`{name}`: expected shape {expected:?}, got {got:?}")
        }));
    }
    if !tensor.dtype().is_float() {
        return Ok(Some(format!("`{name}` holds {:?}, expected floating-point numbers", tensor.dtype())));
    }
    // x * 0 is zero, or NaN where x is NaN or infinite, and so is the sum.
    let probe = (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok((probe != 0.0).then(|| format!("`{name}` holds NaN or infinity")))
}

/// Refuses sizes that are zero or absurd, before anything is allocated from them.
pub(crate) fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, value, limit)| !(1..=*limit).contains(value)) {
        None => Ok(()),
        Some((field, value, limit)) => {
            Err(Error::Config(format!("{field} is {value}, expected 1 to {limit}")))
        }
    }
}
