//! Private training (DP-SGD; Abadi et al. 2016, algorithm 1): each document is drawn with the same probability, its gradient
//! is clipped, and normal noise is added to the sum. What the optimiser makes of that sum costs nothing more.
//!
//! The guarantee holds for what is published of a run when the seed is not: draws and noise follow from it, which is what
//! makes a run resumable and repeatable, so whoever has the seed can take the noise off again. It holds for the ideal normal
//! distribution: noise is computed in f64 and added in f32, and what the last bits of a weight give away (Mironov 2012) is not
//! counted. Training losses are computed without noise and are not covered either.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_lm::{Gpt2Config, Gpt2Gradient, Kernel, Parameters};

use crate::accountant::{Conversion, SampledGaussian, epsilon_spent, noise_for_epsilon};
use crate::data::TrainingData;
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::gradient::{Batch, add_batch_gradient};
use crate::optimizer::zeros;
use crate::train::{Length, TrainConfig, dropout_seed};

/// What one example is, in [`PrivacySpent::example`].
const EXAMPLE: &str = "one document";

/// Numbers in memory for all gradients of examples that are computed at the same time, and for weights beside them.
const MAX_NUMBERS: usize = 1 << 28;

/// How privately to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivateConfig {
    /// The largest norm of an example's gradient; longer ones are scaled down to it, up to the rounding of f32. Without one
    /// nothing is clipped, which only a run without noise may do.
    pub clip_norm: Option<f64>,
    /// Standard deviation of the noise in each coordinate of the summed gradients, divided by the clipping norm. 0 is no noise,
    /// and no guarantee.
    pub noise_multiplier: f64,
    /// The delta for which epsilon is told.
    pub delta: f64,
}

/// What a private training cost: it is (epsilon, delta)-differentially private for data sets that differ by one example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacySpent {
    /// [`epsilon_spent`] by [`Conversion::Tight`]; none when there is no bound, for want of noise.
    pub epsilon: Option<f64>,
    /// As configured.
    pub delta: f64,
    /// As configured.
    pub noise_multiplier: f64,
    /// As configured.
    pub clip_norm: Option<f64>,
    /// The probability of each example to be in a step.
    pub sampling_rate: f64,
    /// Updates done.
    pub n_steps: u64,
    /// What one example is: a text that stands in several is protected less, see
    /// [`epsilon_of_copies`](crate::epsilon_of_copies).
    pub example: String,
}

/// The delta of a run that names none: 1e-5, or the largest power of ten that is at most a tenth of one over the number of
/// documents, where that is smaller. A delta of one over the number would allow a mechanism that publishes one document.
pub fn standard_delta(n_documents: usize) -> f64 {
    let tenth = 10.0 * n_documents as f64;
    let mut exponent = 5;
    while 10f64.powi(exponent) < tenth {
        exponent += 1;
    }
    1.0 / 10f64.powi(exponent)
}

impl TrainConfig {
    /// The smallest noise multiplier with which a private training of this batch and length on `n_documents` keeps `epsilon`
    /// at `delta`, if it is not stopped early; that only lowers epsilon.
    ///
    /// # Errors
    /// As [`noise_for_epsilon`].
    pub fn noise_for_epsilon(&self, epsilon: f64, delta: f64, n_documents: usize) -> Result<f64> {
        let plan = self.private_plan(n_documents);
        let n_steps = match self.length {
            Length::Epochs(epochs) => epochs * plan.steps_per_epoch,
            Length::Steps(steps) => steps,
        };
        noise_for_epsilon(epsilon, delta, plan.sampling_rate, n_steps)
    }

    /// How documents are drawn in a private training.
    pub(crate) fn private_plan(&self, n_documents: usize) -> Plan {
        let expected_batch = self.batch_rows.clamp(1, n_documents.max(1));
        Plan {
            expected_batch,
            sampling_rate: expected_batch as f64 / n_documents.max(1) as f64,
            steps_per_epoch: n_documents.div_ceil(expected_batch) as u64,
        }
    }
}

/// How documents are drawn in a private training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Documents of a step in the mean.
    pub(crate) expected_batch: usize,
    /// Their share of all documents.
    pub(crate) sampling_rate: f64,
    /// Steps in which each document is drawn once in the mean.
    pub(crate) steps_per_epoch: u64,
}

/// Refuses what cannot be carried out.
pub(crate) fn check(private: &PrivateConfig) -> Result<()> {
    let refuse = |cause: &str| Err(Error::Config(cause.to_owned()));
    if !(private.noise_multiplier >= 0.0 && private.noise_multiplier.is_finite()) {
        return refuse("the noise multiplier must be 0 or above");
    }
    if private.clip_norm.is_some_and(|norm| !(norm > 0.0 && norm.is_finite())) {
        return refuse("the clipping norm of an example must be positive");
    }
    if private.clip_norm.is_none() && private.noise_multiplier > 0.0 {
        return refuse("noise needs a clipping norm, of which it is a multiple");
    }
    if !(private.delta > 0.0 && private.delta < 1.0) {
        return refuse("delta must be above 0 and below 1");
    }
    Ok(())
}

/// The rows of one document: end-of-text, its tokens, end-of-text; cut every `context` tokens, with one shared id, so that
/// each token after the first is predicted once. All rows but the last have `context + 1` ids.
fn example_rows(document: &[u32], end_of_text: u32, context: usize) -> Vec<Vec<u32>> {
    let ids: Vec<u32> =
        [end_of_text].into_iter().chain(document.iter().copied()).chain([end_of_text]).collect();
    let n_predictions = ids.len() - 1;
    let row = |start| ids[start..=n_predictions.min(start + context)].to_vec();
    (0..n_predictions).step_by(context).map(row).collect()
}

/// The documents of a step, in order: each with the same probability, independently of all others and of other steps.
fn drawn(n_documents: usize, sampling_rate: f64, (seed, step): (u64, u64)) -> Vec<usize> {
    let mut draw = Draw::new(seed, "private batch", step);
    (0..n_documents).filter(|_| draw.happens(sampling_rate)).collect()
}

/// A private run: what it draws, and the memory for its gradients.
pub(crate) struct PrivateRun<'a> {
    data: &'a TrainingData,
    config: &'a TrainConfig,
    private: &'a PrivateConfig,
    plan: Plan,
    workers: Vec<Worker>,
    sum: Parameters,
}

/// Computes the gradient of one example at a time; between two examples the gradient is zero.
struct Worker {
    model: Gpt2Gradient,
    gradient: Parameters,
}

impl<'a> PrivateRun<'a> {
    /// With as many workers as there are threads and memory for; their number changes no byte.
    pub(crate) fn new(
        data: &'a TrainingData,
        model: &Gpt2Config,
        (config, private): (&'a TrainConfig, &'a PrivateConfig),
        parameters: &Parameters,
    ) -> Result<PrivateRun<'a>> {
        check(private)?;
        let plan = config.private_plan(data.train.len());
        // The gradient, and the matrices twice.
        let n_numbers = 3 * model.n_parameters();
        let n_workers = rayon::current_num_threads().min(plan.expected_batch);
        let n_workers = n_workers.clamp(1, (MAX_NUMBERS / n_numbers).max(1));
        let worker = |_| {
            let model = Gpt2Gradient::new(model.clone(), Kernel::default())?;
            Ok(Worker { model, gradient: zeros(parameters) })
        };
        let workers = (0..n_workers).map(worker).collect::<Result<_>>()?;
        Ok(PrivateRun { data, config, private, plan, workers, sum: zeros(parameters) })
    }

    /// How documents are drawn.
    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    /// What `n_steps` steps cost.
    pub(crate) fn spent(&self, n_steps: u64) -> Result<PrivacySpent> {
        let PrivateConfig { clip_norm, noise_multiplier, delta } = *self.private;
        let sampling_rate = self.plan.sampling_rate;
        let mechanism = SampledGaussian { noise_multiplier, sampling_rate, n_steps };
        let epsilon = Some(epsilon_spent(&mechanism, delta, Conversion::Tight)?);
        Ok(PrivacySpent {
            epsilon: epsilon.filter(|epsilon| epsilon.is_finite()),
            delta,
            noise_multiplier,
            clip_norm,
            sampling_rate,
            n_steps,
            example: EXAMPLE.to_owned(),
        })
    }

    /// How many documents the steps of a range draw together.
    pub(crate) fn n_drawn(&self, steps: std::ops::Range<u64>) -> usize {
        steps.map(|step| self.drawn(step).len()).sum()
    }

    fn drawn(&self, step: u64) -> Vec<usize> {
        drawn(self.data.train.len(), self.plan.sampling_rate, (self.config.seed, step))
    }

    /// The gradient of a step, and the sum of the losses of its examples, in nats a token each: clipped gradients are added up
    /// in the order of documents, noise is added, and all is divided by the number of documents that a step has in the mean.
    pub(crate) fn gradient(&mut self, parameters: &Parameters, step: u64) -> Result<(f64, &Parameters)> {
        let drawn = self.drawn(step);
        let n_workers = self.workers.len();
        self.sum.par_iter_mut().for_each(|(_, sums)| sums.fill(0.0));
        self.workers.par_iter_mut().take(drawn.len()).for_each(|worker| worker.model.load(parameters));
        let mut loss_sum = 0.0;
        for group in drawn.chunks(n_workers) {
            let (data, config, private) = (self.data, self.config, self.private);
            let examples = self.workers.par_iter_mut().zip(group).map(|(worker, &index)| {
                let context = worker.model.config().n_positions;
                let rows = example_rows(&data.train[index], data.end_of_text, context);
                let dropout_seed = dropout_seed(worker.model.config(), config.seed, step)
                    .map(|seed| Draw::new(seed, "example", index as u64).seed());
                let batch = Batch { rows: &rows, micro_rows: config.micro_rows, dropout_seed };
                let loss = add_batch_gradient(&mut worker.model, parameters, &batch, &mut worker.gradient)?;
                Ok((loss, clipping_factor(&worker.gradient, private.clip_norm)))
            });
            let examples = examples.collect::<Result<Vec<(f64, f32)>>>()?;
            for (loss, factor) in &examples {
                if !(loss.is_finite() && factor.is_finite()) {
                    return Err(Error::Diverged { step: step + 1 });
                }
                loss_sum += loss;
            }
            self.add_up(&examples.iter().map(|(_, factor)| *factor).collect::<Vec<f32>>());
        }
        self.finish(step);
        Ok((loss_sum, &self.sum))
    }

    /// Adds the first workers' gradients times these factors to the sum, one after the other, and leaves zeros.
    fn add_up(&mut self, factors: &[f32]) {
        let mut parameters: Vec<(&mut Vec<f32>, Vec<&mut Vec<f32>>)> =
            self.sum.values_mut().map(|sums| (sums, Vec::new())).collect();
        for worker in self.workers.iter_mut().take(factors.len()) {
            for ((_, gradients), gradient) in parameters.iter_mut().zip(worker.gradient.values_mut()) {
                gradients.push(gradient);
            }
        }
        parameters.into_par_iter().for_each(|(sums, gradients)| {
            for (gradient, factor) in gradients.into_iter().zip(factors) {
                for (sum, g) in sums.iter_mut().zip(gradient) {
                    *sum += factor * *g;
                    *g = 0.0;
                }
            }
        });
    }

    /// Noise, of a stream for each parameter and step, and the division.
    fn finish(&mut self, step: u64) {
        let deviation = self.private.clip_norm.unwrap_or(0.0) * self.private.noise_multiplier;
        let (seed, expected) = (self.config.seed, self.plan.expected_batch as f32);
        self.sum.par_iter_mut().for_each(|(name, sums)| {
            if deviation > 0.0 {
                let mut draw = Draw::new(seed, &format!("noise of {name}"), step);
                for pair in sums.chunks_mut(2) {
                    for (sum, normal) in pair.iter_mut().zip(draw.normal_pair()) {
                        *sum = (f64::from(*sum) + deviation * normal) as f32;
                    }
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= expected);
        });
    }
}

/// What a gradient is multiplied by so that its joint Euclidean norm is at most `clip_norm`; not finite when the norm is not.
fn clipping_factor(gradient: &Parameters, clip_norm: Option<f64>) -> f32 {
    let norm = gradient.values().map(|values| square_sum(values)).sum::<f64>().sqrt();
    match clip_norm {
        _ if !norm.is_finite() => f32::NAN,
        Some(clip_norm) if norm > clip_norm => (clip_norm / norm) as f32,
        _ => 1.0,
    }
}

/// The sum of squares in f64, as eight sums side by side, which the processor adds to at once.
fn square_sum(values: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    for values in values.chunks(8) {
        sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use verbatim_lm::Gpt2;
    use verbatim_store::Silent;

    use super::*;
    use crate::optimizer::AdamW;
    use crate::train::{Trained, train};

    fn model(dropout: f64) -> Gpt2Config {
        let mut config: Gpt2Config = serde_json::from_str(
            r#"{"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}"#,
        )
        .unwrap();
        (config.embd_pdrop, config.attn_pdrop, config.resid_pdrop) = (dropout, dropout, dropout);
        config
    }

    /// Documents of 0 to 26 tokens: an empty one, some of one row, and some of several.
    fn data() -> TrainingData {
        let document = |n: u32| (n..3 * n).map(|id| 1 + id % 15).collect();
        TrainingData { train: (0..14).map(document).collect(), validation: Vec::new(), end_of_text: 0 }
    }

    fn config(private: PrivateConfig) -> TrainConfig {
        TrainConfig {
            length: Length::Epochs(3),
            batch_rows: 4,
            micro_rows: 2,
            learning_rate: 0.01,
            warmup_steps: 3,
            private: Some(private),
            ..TrainConfig::standard(1)
        }
    }

    const UNTOUCHED: PrivateConfig = PrivateConfig { clip_norm: None, noise_multiplier: 0.0, delta: 1e-5 };
    const NOISY: PrivateConfig = PrivateConfig { clip_norm: Some(0.5), noise_multiplier: 0.8, delta: 1e-5 };

    fn bits(trained: &Trained) -> Vec<u32> {
        let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        trained.tensors.iter().flat_map(|(_, tensor)| values(tensor)).map(f32::to_bits).collect()
    }

    fn optimizer(model: &Gpt2Config, config: &TrainConfig) -> AdamW {
        let seed = Draw::new(config.seed, "weights", 0).seed();
        AdamW::new(config.adamw.clone(), &Gpt2::initial_tensors(model, seed).unwrap()).unwrap()
    }

    /// The noised mean gradient of one step at the initial weights.
    fn step_gradient(data: &TrainingData, config: &TrainConfig, step: u64) -> Parameters {
        let optimizer = optimizer(&model(0.0), config);
        let private = config.private.as_ref().unwrap();
        let mut run = PrivateRun::new(data, &model(0.0), (config, private), optimizer.values()).unwrap();
        run.gradient(optimizer.values(), step).unwrap();
        // A second time, for a step leaves nothing behind.
        run.gradient(optimizer.values(), step).unwrap().1.clone()
    }

    fn norm(gradients: &Parameters) -> f64 {
        gradients.values().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn every_token_of_a_document_and_its_end_are_predicted_once() {
        assert_eq!(example_rows(&[], 9, 4), [[9, 9]]);
        assert_eq!(example_rows(&[1, 2, 3], 9, 4), [[9, 1, 2, 3, 9]]);
        assert_eq!(example_rows(&[1, 2, 3, 4, 5], 9, 4), [vec![9, 1, 2, 3, 4], vec![4, 5, 9]]);
    }

    #[test]
    fn documents_are_drawn_independently_with_one_probability_and_anew_at_each_step() {
        const N_STEPS: u64 = 2000;
        let draws: Vec<Vec<usize>> = (0..N_STEPS).map(|step| drawn(50, 0.1, (7, step))).collect();
        assert!(draws.iter().all(|drawn| drawn.is_sorted()));
        // Five deviations of counts with N_STEPS trials at 0.1, and at 0.01 for pairs.
        for document in [0, 17, 49] {
            let count = draws.iter().filter(|drawn| drawn.contains(&document)).count();
            assert!(count.abs_diff(200) < 68, "{document}: {count}");
            let pairs = draws.iter().filter(|drawn| drawn.contains(&document) && drawn.contains(&3)).count();
            assert!(pairs.abs_diff(20) < 23, "{document}: {pairs}");
        }
        // Numbers of documents vary as a binomial's, whose variance is 4.5; five deviations of the mean square.
        let variance =
            draws.iter().map(|drawn| (drawn.len() as f64 - 5.0).powi(2)).sum::<f64>() / N_STEPS as f64;
        assert!((variance - 4.5).abs() < 0.75, "{variance}");
        assert!(drawn(50, 0.0, (7, 0)).is_empty() && drawn(50, 1.0, (7, 0)).len() == 50);
        assert_ne!(drawn(50, 0.5, (7, 0)), drawn(50, 0.5, (8, 0)));
    }

    #[test]
    fn the_gradient_of_an_example_is_that_of_a_loop_over_its_rows_one_by_one() {
        for document in data().train {
            let one = TrainingData { train: vec![document.clone()], ..data() };
            let config = TrainConfig { micro_rows: 1, ..config(UNTOUCHED) };
            let ours = step_gradient(&one, &config, 0);
            let optimizer = optimizer(&model(0.0), &config);
            let mut gpt2 = Gpt2Gradient::new(model(0.0), Kernel::default()).unwrap();
            gpt2.load(optimizer.values());
            let mut theirs = zeros(optimizer.values());
            let scale = 1.0 / (document.len() + 1) as f32;
            for row in example_rows(&document, 0, 8) {
                gpt2.add_gradient(optimizer.values(), &[row], (scale, None), &mut theirs).unwrap();
            }
            assert!(norm(&theirs) > 0.1 && ours == theirs, "{document:?}");
            // Rows that go through the model together give the same up to rounding.
            let together = step_gradient(&one, &TrainConfig { micro_rows: 4, ..config.clone() }, 0);
            let apart = ours.values().flatten().zip(together.values().flatten());
            assert!(apart.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "{document:?}");
        }
    }

    /// Plain training over the same draws: one example after the other, added up and divided, no clipping and no noise.
    fn plain(data: &TrainingData, model: &Gpt2Config, config: &TrainConfig) -> Vec<u32> {
        let mut optimizer = optimizer(model, config);
        let mut gpt2 = Gpt2Gradient::new(model.clone(), Kernel::default()).unwrap();
        let n_steps = 3 * 4; // epochs, and 14 documents by 4
        for step in 0..n_steps {
            let mut draw = Draw::new(config.seed, "private batch", step);
            let mut sum = zeros(optimizer.values());
            gpt2.load(optimizer.values());
            for document in &data.train {
                if !draw.happens(4.0 / 14.0) {
                    continue;
                }
                let mut gradient = zeros(optimizer.values());
                let rows = example_rows(document, 0, 8);
                let scale = 1.0 / (document.len() + 1) as f32;
                let (whole, rest) =
                    rows.split_at(rows.iter().filter(|row| row.len() == rows[0].len()).count());
                for rows in whole.chunks(config.micro_rows).chain(rest.chunks(1)) {
                    gpt2.add_gradient(optimizer.values(), rows, (scale, None), &mut gradient).unwrap();
                }
                for (sum, g) in sum.values_mut().flatten().zip(gradient.values().flatten()) {
                    *sum += g;
                }
            }
            sum.values_mut().flatten().for_each(|sum| *sum /= 4.0);
            let warm_up = ((step + 1) as f64 / 3.0).min(1.0);
            let share = step.saturating_sub(3) as f64 / (n_steps - 3) as f64;
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
            optimizer.step(0.01 * warm_up * (0.1 + (1.0 - 0.1) * cosine), &sum);
        }
        optimizer.values().values().flatten().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn without_noise_and_clipping_training_is_plain_training_over_the_same_draws_bit_for_bit() {
        let config = config(UNTOUCHED);
        let trained = train(&data(), &model(0.0), &config, None, &Silent).unwrap();
        assert_eq!(trained.n_steps, 12);
        assert!(bits(&trained) == plain(&data(), &model(0.0), &config));
        // A norm that no gradient reaches clips nothing, and one that each exceeds does.
        let clipped = |norm| {
            let private = PrivateConfig { clip_norm: Some(norm), ..UNTOUCHED };
            bits(&train(&data(), &model(0.0), &self::config(private), None, &Silent).unwrap())
        };
        assert!(clipped(1e9) == bits(&trained) && clipped(0.01) != bits(&trained));
    }

    #[test]
    fn no_example_adds_more_than_the_clipping_norm() {
        let all = TrainConfig { batch_rows: 14, ..config(UNTOUCHED) };
        let mut sum = zeros(&step_gradient(&data(), &all, 0));
        for document in data().train {
            let one = TrainingData { train: vec![document], ..data() };
            let private = |clip_norm| config(PrivateConfig { clip_norm, ..UNTOUCHED });
            let whole = step_gradient(&one, &private(None), 0);
            let clipped = step_gradient(&one, &private(Some(0.5)), 0);
            let factor = 0.5 / norm(&whole);
            assert!(factor < 1.0 && (norm(&clipped) - 0.5).abs() < 1e-6, "{factor} {}", norm(&clipped));
            for (clipped, g) in clipped.values().flatten().zip(whole.values().flatten()) {
                assert!((f64::from(*clipped) - factor * f64::from(*g)).abs() < 1e-7);
            }
            sum.values_mut().flatten().zip(clipped.values().flatten()).for_each(|(sum, g)| *sum += g / 14.0);
        }
        // Examples are clipped one by one, not their sum.
        let all = TrainConfig { private: Some(PrivateConfig { clip_norm: Some(0.5), ..UNTOUCHED }), ..all };
        let together = step_gradient(&data(), &all, 0);
        let apart = together.values().flatten().zip(sum.values().flatten());
        assert!(apart.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn noise_is_normal_with_its_deviation_and_independent_by_step_and_parameter() {
        let quiet = PrivateConfig { noise_multiplier: 0.0, ..NOISY };
        let noise = |step| {
            let [with, without] =
                [NOISY, quiet].map(|private| step_gradient(&data(), &config(private), step));
            // In units of the deviation of the mean over four documents: 0.8 times 0.5, by 4.
            let of = |(a, b): (&Vec<f32>, &Vec<f32>)| -> Vec<f64> {
                a.iter().zip(b).map(|(a, b)| f64::from(a - b) / 0.1).collect()
            };
            with.values().zip(without.values()).map(of).collect::<Vec<Vec<f64>>>()
        };
        let [one, two] = [noise(0), noise(1)];
        let n = one.iter().flatten().count() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        // Five deviations of means of n numbers, whose variances are 1, 2 and 1.
        let five = |variance: f64| 5.0 * (variance / n).sqrt();
        assert!(n > 3000.0);
        assert!(mean(&mut one.iter().flatten().copied()).abs() < five(1.0));
        assert!((mean(&mut one.iter().flatten().map(|x| x * x)) - 1.0).abs() < five(2.0));
        let pairs = one.iter().flatten().zip(two.iter().flatten());
        assert!(mean(&mut pairs.map(|(a, b)| a * b)).abs() < five(1.0));
        // Parameters of one length have streams of their own.
        let differs = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() > 1e-9);
        let of_one_length: Vec<&Vec<f64>> = one.iter().filter(|values| values.len() == 16).collect();
        assert!(of_one_length.len() > 4);
        assert!(of_one_length.windows(2).all(|pair| differs(pair[0], pair[1])));
    }

    #[test]
    fn a_step_that_draws_nothing_is_a_step_with_noise_alone() {
        // With one document of fourteen in the mean, a third of the steps draw none.
        let config = TrainConfig { batch_rows: 1, ..config(NOISY) };
        let empty = (0..).find(|&step| drawn(14, 1.0 / 14.0, (1, step)).is_empty()).unwrap();
        let noise = step_gradient(&data(), &config, empty);
        let n = noise.values().flatten().count() as f64;
        assert!((norm(&noise) / (0.4 * n.sqrt()) - 1.0).abs() < 0.05, "{}", norm(&noise));
        let trained = train(&data(), &model(0.0), &config, None, &Silent).unwrap();
        assert!(trained.n_steps == 42 && trained.history.iter().all(|epoch| epoch.train_loss.is_finite()));
    }

    #[test]
    fn threads_do_not_change_a_bit_and_noise_follows_from_the_seed() {
        let run = |n_threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let config = TrainConfig { seed, ..config(NOISY) };
            pool.install(|| train(&data(), &model(0.1), &config, None, &Silent)).unwrap()
        };
        let one = run(1, 1);
        for n_threads in [2, 3, 8] {
            let many = run(n_threads, 1);
            assert!(bits(&one) == bits(&many) && one.history == many.history, "{n_threads}");
        }
        assert!(bits(&one) != bits(&run(1, 2)));
    }

    #[test]
    fn what_was_spent_is_what_the_accountant_says_of_the_steps_done() {
        let spent = |private, length| {
            let config = TrainConfig { length, ..config(private) };
            train(&data(), &model(0.0), &config, None, &Silent).unwrap().privacy.unwrap()
        };
        let privacy = spent(NOISY, Length::Epochs(1));
        let rate = 4.0 / 14.0;
        let mechanism = SampledGaussian { noise_multiplier: 0.8, sampling_rate: rate, n_steps: 4 };
        assert_eq!(privacy.epsilon, Some(epsilon_spent(&mechanism, 1e-5, Conversion::Tight).unwrap()));
        assert_eq!((privacy.sampling_rate, privacy.n_steps), (rate, 4));
        assert_eq!(spent(UNTOUCHED, Length::Steps(1)).epsilon, None);
        for length in [Length::Epochs(2), Length::Steps(5)] {
            let asked = TrainConfig { length, ..config(NOISY) };
            let noise_multiplier = asked.noise_for_epsilon(2.0, 1e-3, data().train.len()).unwrap();
            let epsilon = spent(PrivateConfig { noise_multiplier, delta: 1e-3, ..NOISY }, length).epsilon;
            assert!(epsilon.is_some_and(|epsilon| (1.9999..=2.0).contains(&epsilon)), "{epsilon:?}");
        }
    }

    #[test]
    fn the_standard_delta_is_at_most_a_tenth_of_one_over_the_documents() {
        for (n_documents, delta) in
            [(1, 1e-5), (10_000, 1e-5), (10_001, 1e-6), (60_000, 1e-6), (1_000_000, 1e-7)]
        {
            assert_eq!(standard_delta(n_documents), delta, "{n_documents}");
        }
    }

    #[test]
    fn a_private_training_that_means_nothing_is_refused() {
        for private in [
            PrivateConfig { clip_norm: None, ..NOISY },
            PrivateConfig { clip_norm: Some(0.0), ..NOISY },
            PrivateConfig { clip_norm: Some(f64::NAN), ..NOISY },
            PrivateConfig { noise_multiplier: -1.0, ..NOISY },
            PrivateConfig { noise_multiplier: f64::NAN, ..NOISY },
            PrivateConfig { delta: 0.0, ..NOISY },
            PrivateConfig { delta: 1.0, ..NOISY },
        ] {
            let refused = train(&data(), &model(0.0), &config(private), None, &Silent);
            assert!(matches!(refused, Err(Error::Config(_))), "{private:?}");
        }
    }
}
