//! AdamW with moments that can be saved, and gradient clipping by the global norm.
//!
//! Candle's optimiser keeps its moments to itself, so a run could not be resumed with the same bytes.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_lm::Parameters;

use crate::error::Result;

/// The constants of AdamW (Loshchilov and Hutter 2019, algorithm 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Decay rate of the first moment.
    pub beta_1: f64,
    /// Decay rate of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices; vectors (biases, norms) never decay.
    pub weight_decay: f64,
}

/// Numbers of a parameter that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// AdamW over named parameters.
#[derive(Debug)]
pub(crate) struct AdamW {
    config: AdamWConfig,
    n_steps: u64,
    shapes: BTreeMap<String, Vec<usize>>,
    values: Parameters,
    /// The first and the second moment.
    moments: [Parameters; 2],
}

impl AdamW {
    /// An optimiser at rest: no steps, moments zero.
    pub(crate) fn new(config: AdamWConfig, tensors: &BTreeMap<String, Tensor>) -> Result<AdamW> {
        let mut values = Parameters::new();
        for (name, tensor) in tensors {
            values.insert(name.clone(), tensor.flatten_all()?.to_vec1()?);
        }
        let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
        let moments = [zeros(&values), zeros(&values)];
        Ok(AdamW { config, n_steps: 0, shapes, values, moments })
    }

    /// Puts back what a saved state held, with the same names and lengths.
    pub(crate) fn restore(&mut self, n_steps: u64, values: Parameters, moments: [Parameters; 2]) {
        assert!(values.keys().eq(self.values.keys()), "the caller checked the names");
        (self.n_steps, self.values, self.moments) = (n_steps, values, moments);
    }

    /// Steps taken.
    pub(crate) fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// The parameters.
    pub(crate) fn values(&self) -> &Parameters {
        &self.values
    }

    /// The first and the second moment of each parameter.
    pub(crate) fn moments(&self) -> &[Parameters; 2] {
        &self.moments
    }

    /// The parameters as tensors, in the order of their names.
    pub(crate) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let tensor = |(name, values): (&String, &Vec<f32>)| {
            let shape = self.shapes[name].as_slice();
            Ok((name.clone(), Tensor::from_slice(values, shape, &Device::Cpu)?))
        };
        self.values.iter().map(tensor).collect()
    }

    /// One update with a gradient for each parameter.
    pub(crate) fn step(&mut self, learning_rate: f64, gradients: &Parameters) {
        assert!(gradients.keys().eq(self.values.keys()), "one gradient for each parameter");
        self.n_steps += 1;
        let n_steps = i32::try_from(self.n_steps).unwrap_or(i32::MAX);
        let AdamWConfig { beta_1, beta_2, epsilon, weight_decay } = self.config;
        let step_size = (learning_rate / (1.0 - beta_1.powi(n_steps))) as f32;
        let root_correction = (1.0 - beta_2.powi(n_steps)).sqrt() as f32;
        let (beta_1, beta_2, epsilon) = (beta_1 as f32, beta_2 as f32, epsilon as f32);
        let [firsts, seconds] = &mut self.moments;
        let moments = firsts.values_mut().zip(seconds.values_mut());
        for (((name, values), (first, second)), gradient) in
            self.values.iter_mut().zip(moments).zip(gradients.values())
        {
            let keep =
                if self.shapes[name].len() >= 2 { 1.0 - learning_rate * weight_decay } else { 1.0 } as f32;
            let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
            let chunks = values.par_chunks_mut(CHUNK).zip(moments).zip(gradient.par_chunks(CHUNK));
            chunks.for_each(|((values, (firsts, seconds)), gradient)| {
                let moments = firsts.iter_mut().zip(seconds);
                for ((value, (first, second)), &g) in values.iter_mut().zip(moments).zip(gradient) {
                    *first = beta_1 * *first + (1.0 - beta_1) * g;
                    *second = beta_2 * *second + (1.0 - beta_2) * g * g;
                    *value = *value * keep - step_size * *first / (second.sqrt() / root_correction + epsilon);
                }
            });
        }
    }
}

/// Zeros for each parameter.
pub(crate) fn zeros(parameters: &Parameters) -> Parameters {
    parameters.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect()
}

/// Scales the gradients so that their joint Euclidean norm is at most `max_norm`; returns the norm before.
pub(crate) fn clip(gradients: &mut Parameters, max_norm: f64) -> f64 {
    let squares = gradients.values().flatten().map(|&g| f64::from(g) * f64::from(g));
    let norm = squares.sum::<f64>().sqrt();
    if norm > max_norm {
        let scale = (max_norm / norm) as f32;
        gradients.values_mut().flatten().for_each(|g| *g *= scale);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from torch 2.13.0, `torch.optim.AdamW`, betas (0.9, 0.95), eps 1e-8, decay 0.1 on the matrix
    /// and 0 on the vector, three steps with learning rates 0.01, 0.02 and 0.005.
    #[test]
    fn three_steps_agree_with_torch() {
        let device = Device::Cpu;
        let matrix = [0.5f32, -1.25, 2.0, 0.0, 3.0, -0.75];
        let tensors = BTreeMap::from([
            ("a".to_owned(), Tensor::from_slice(&matrix, (2, 3), &device).unwrap()),
            ("b".to_owned(), Tensor::from_slice(&[0.1f32, -0.2, 0.3], 3, &device).unwrap()),
        ]);
        let config = AdamWConfig { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
        let mut optimizer = AdamW::new(config, &tensors).unwrap();
        let steps: [(f64, [f32; 6], [f32; 3]); 3] = [
            (0.01, [0.1, -0.2, 0.3, 1e-6, 5.0, -4.0], [1.0, -1.0, 0.0]),
            (0.02, [-0.3, 0.0, 0.25, 0.0, -5.0, 2.0], [0.5, 0.25, -0.125]),
            (0.005, [0.7, 0.01, -0.02, 1e-3, 0.5, 0.0], [-2.0, 3.0, 1e-4]),
        ];
        let golden: [([f64; 6], [f64; 3]); 3] = [
            (
                [0.489_500_02, -1.238_75, 1.988_000_04, -0.009_900_99, 2.986_999_99, -0.739_250_004],
                [0.090_000_004, -0.19, 0.3],
            ),
            (
                [0.498_306_96, -1.222_699_52, 1.964_155_55, -0.023_262_43, 2.982_078_79, -0.732_404_113],
                [0.071_214_14, -0.180_504_68, 0.314_699_203],
            ),
            (
                [0.495_975_047, -1.219_598_65, 1.959_455_61, -0.026_369_384, 2.980_564_83, -0.730_987_251],
                [0.072_231_24, -0.182_888_97, 0.317_573_994],
            ),
        ];
        for ((learning_rate, on_matrix, on_vector), (matrix, vector)) in steps.into_iter().zip(golden) {
            let gradients = Parameters::from([
                ("a".to_owned(), on_matrix.to_vec()),
                ("b".to_owned(), on_vector.to_vec()),
            ]);
            optimizer.step(learning_rate, &gradients);
            let (on_matrix, on_vector) = (&optimizer.values()["a"], &optimizer.values()["b"]);
            let close = |ours: &[f32], torch: &[f64]| {
                ours.iter().zip(torch).all(|(&a, b)| (f64::from(a) - b).abs() < 5e-7)
            };
            assert!(close(on_matrix, &matrix), "{on_matrix:?}\n{matrix:?}");
            assert!(close(on_vector, &vector), "{on_vector:?}");
        }
    }

    /// `torch.nn.utils.clip_grad_norm_` of the same gradients gives norm 13 and these numbers.
    #[test]
    fn clipping_is_by_the_global_norm() {
        let mut gradients =
            Parameters::from([("a".to_owned(), vec![3.0f32, -4.0]), ("b".to_owned(), vec![12.0, 0.0])]);
        assert!((clip(&mut gradients, 1.0) - 13.0).abs() < 1e-12);
        let golden = [0.230_769_23f64, -0.307_692_3, 0.923_076_93, 0.0];
        assert!(
            gradients.values().flatten().zip(golden).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-6),
            "{gradients:?}"
        );
        let before = gradients.clone();
        assert!(clip(&mut gradients, 2.0) < 1.001);
        assert_eq!(gradients, before);
    }
}
