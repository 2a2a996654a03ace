//! How fast the pairs of a head's numbers turn with the position (Su et al. 2021), as configurations say it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What newer configurations call `rope_parameters`, older ones `rope_scaling`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// `default` or `llama3`.
    #[serde(default, alias = "type")]
    pub rope_type: Option<String>,
    /// The base of the frequencies.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// The part of a head that is rotated.
    #[serde(default)]
    pub partial_rotary_factor: Option<f64>,
    /// llama3: what low frequencies are divided by.
    #[serde(default)]
    pub factor: Option<f64>,
    /// llama3: wave lengths longer than the original context divided by this are stretched.
    #[serde(default)]
    pub low_freq_factor: Option<f64>,
    /// llama3: wave lengths shorter than the original context divided by this are kept.
    #[serde(default)]
    pub high_freq_factor: Option<f64>,
    /// llama3: the context that the model was first trained with.
    #[serde(default)]
    pub original_max_position_embeddings: Option<f64>,
}

impl RopeParameters {
    /// Refuses numbers that make no sense and kinds that are not implemented.
    pub(crate) fn validate(&self) -> Result<()> {
        let numbers = [
            ("rope_theta", self.rope_theta),
            ("factor", self.factor),
            ("low_freq_factor", self.low_freq_factor),
            ("high_freq_factor", self.high_freq_factor),
            ("original_max_position_embeddings", self.original_max_position_embeddings),
        ];
        for (field, value) in numbers {
            if value.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
                return Err(Error::Config(format!("{field} is {value:?}, expected a positive number")));
            }
        }
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(()),
            Some("llama3") if self.llama3().is_some() => Ok(()),
            Some("llama3") => Err(Error::Config(
                "rope type llama3 needs factor, low_freq_factor < high_freq_factor and \
                 original_max_position_embeddings"
                    .to_owned(),
            )),
            Some(other) => {
                Err(Error::Config(format!("rope type `{other}`; supported are default and llama3")))
            }
        }
    }

    fn llama3(&self) -> Option<[f64; 4]> {
        let (low, high) = (self.low_freq_factor?, self.high_freq_factor?);
        (low < high).then_some([self.factor?, low, high, self.original_max_position_embeddings?])
    }

    /// The angle, in radians a position, of each pair of the first `n_rotated` numbers: theta^(-2 i / n).
    pub(crate) fn frequencies(&self, theta: f64, n_rotated: usize) -> Vec<f32> {
        let frequency = |pair: usize| 1.0 / theta.powf((2 * pair) as f64 / n_rotated as f64);
        (0..n_rotated / 2).map(|pair| self.stretched(frequency(pair)) as f32).collect()
    }

    /// Llama 3.1's rule (`rope_type` llama3 in `transformers`): long waves turn `factor` times as slowly, short ones as
    /// ever, those between in between.
    fn stretched(&self, frequency: f64) -> f64 {
        let Some([factor, low, high, context]) =
            self.llama3().filter(|_| self.rope_type.as_deref() == Some("llama3"))
        else {
            return frequency;
        };
        let wave = std::f64::consts::TAU / frequency;
        let smooth = ((context / wave - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}
