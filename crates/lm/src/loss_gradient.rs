//! How a text's loss would change with the weights of the model: how large its gradient is by all of them.

use std::collections::HashMap;
use std::fmt;

use candle_core::{DType, Tensor};

use crate::Kernel;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::gpt2_config::Gpt2Config;
use crate::gpt2_gradient::{Gpt2Gradient, Parameters};
use crate::tensors;

/// Gradients of a GPT-2 by its weights. They are f32 and, with what is kept of a pass, take some five times their size in
/// memory.
pub struct LossGradient {
    model: Gpt2Gradient,
    parameters: Parameters,
    gradients: Parameters,
}

impl fmt::Debug for LossGradient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LossGradient").field("config", self.model.config()).finish_non_exhaustive()
    }
}

/// How large a gradient is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNorms {
    /// The Euclidean norm over all weights together.
    pub euclidean: f64,
    /// The mean over the tensors of weights of the largest absolute value in each.
    pub mean_of_largest: f64,
}

impl LossGradient {
    /// Of a checkpoint's model, whose weights are read once more.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model of another family than GPT-2, [`Error::BadFile`] when a file has changed, those
    /// of [`Checkpoint::open`].
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let (model, parameters) = loaded(checkpoint)?;
        Ok(Self::with(model, parameters))
    }

    /// Of a model made of tensors, by their names in the checkpoint.
    ///
    /// # Errors
    /// [`Error::Tensors`] where some are missing or do not fit, [`Error::Config`] for an absurd configuration.
    pub fn new(config: &Gpt2Config, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let (model, parameters) = of_tensors(config, tensors::take(&config.tensors(), "", tensors)?)?;
        Ok(Self::with(model, parameters))
    }

    fn with(model: Gpt2Gradient, parameters: Parameters) -> Self {
        let zeros = |(name, values): (&String, &Vec<f32>)| (name.clone(), vec![0.0; values.len()]);
        let gradients = parameters.iter().map(zeros).collect();
        Self { model, parameters, gradients }
    }

    /// The norms of the gradient, by all weights, of the mean loss of a text's tokens from the second on, in nats.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for fewer than two tokens, for more than one above the context, or for an id outside the
    /// vocabulary; [`Error::NotFinite`].
    pub fn norms(&mut self, tokens: &[u32]) -> Result<GradientNorms> {
        self.gradients.values_mut().for_each(|gradient| gradient.fill(0.0));
        let scale = 1.0 / tokens.len().saturating_sub(1).max(1) as f32;
        let Self { model, parameters, gradients } = self;
        model.add_gradient(parameters, &[tokens.to_vec()], (scale, None), gradients)?;
        let (mut squares, mut largest) = (0.0, 0.0);
        for gradient in gradients.values() {
            squares += gradient.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
            largest += f64::from(gradient.iter().fold(0.0f32, |most, x| most.max(x.abs())));
        }
        let norms = GradientNorms {
            euclidean: squares.sqrt(),
            mean_of_largest: largest / gradients.len().max(1) as f64,
        };
        match norms.euclidean.is_finite() {
            true => Ok(norms),
            false => Err(Error::NotFinite { text: 0, position: 1 }),
        }
    }
}

/// A checkpoint's model for gradients, and its weights.
pub(crate) fn loaded(checkpoint: &Checkpoint) -> Result<(Gpt2Gradient, Parameters)> {
    let ModelConfig::Gpt2(config) = &checkpoint.config else {
        return Err(Error::InvalidArgument("gradients are there for GPT-2 models only".to_owned()));
    };
    let tensors = checkpoint.tensors()?;
    of_tensors(config, tensors::take(&config.tensors(), "transformer.", &tensors)?)
}

/// The same of tensors.
pub(crate) fn of_tensors(
    config: &Gpt2Config,
    tensors: HashMap<String, Tensor>,
) -> Result<(Gpt2Gradient, Parameters)> {
    let values = |tensor: Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
    let parameters = tensors.into_iter().map(|(name, tensor)| Ok((name, values(tensor)?)));
    let parameters = parameters.collect::<Result<Parameters>>()?;
    let mut model = Gpt2Gradient::new(config.clone(), Kernel::default())?;
    model.load(&parameters);
    Ok((model, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gpt2;

    fn model(tied: bool) -> LossGradient {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 7, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2,
            "tie_word_embeddings": tied, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, 4).unwrap().into_iter().collect();
        LossGradient::new(&config, &tensors).unwrap()
    }

    /// Every weight is moved up and down, one after the other, and the change of the loss is what its derivative is.
    #[test]
    fn norms_are_those_of_finite_differences() {
        let text = [3, 0, 6, 6, 2];
        for tied in [false, true] {
            let mut gradient = model(tied);
            let norms = gradient.norms(&text).unwrap();
            let (step, mut parameters) = (2e-2, gradient.parameters.clone());
            let (mut squares, mut largest) = (0.0, 0.0);
            for name in gradient.parameters.keys() {
                let mut of_tensor = 0.0f64;
                for at in 0..gradient.parameters[name].len() {
                    let own = gradient.parameters[name][at];
                    let mut loss = |weight: f32| {
                        parameters.get_mut(name).unwrap()[at] = weight;
                        gradient.model.load(&parameters);
                        gradient.model.loss(&parameters, &[text.to_vec()]).unwrap() / 4.0
                    };
                    let derivative = (loss(own + step) - loss(own - step)) / f64::from(2.0 * step);
                    loss(own);
                    squares += derivative * derivative;
                    of_tensor = of_tensor.max(derivative.abs());
                }
                largest += of_tensor;
            }
            let expected = [squares.sqrt(), largest / gradient.parameters.len() as f64];
            for (got, expected) in [norms.euclidean, norms.mean_of_largest].into_iter().zip(expected) {
                assert!((got / expected - 1.0).abs() < 5e-3, "{tied}: {got} {expected}");
            }
            gradient.model.load(&gradient.parameters);
            assert_eq!(gradient.norms(&text).unwrap(), norms, "nothing is left of an earlier text");
        }
    }

    #[test]
    fn fault_65_a_text_without_a_gradient_is_refused() {
        for text in [&[][..], &[1], &[1; 8], &[7, 1]] {
            assert!(matches!(model(true).norms(text), Err(Error::InvalidArgument(_))), "{text:?}");
        }
    }
}
