//! Trains a GPT-2 on documents: AdamW, warm-up and cosine, clipping, validation, resume.
//!
//! Everything random is drawn from (seed, step) or (seed, epoch) and sums have a fixed order, so a run gives the
//! same bytes for any number of threads, and whether or not it was interrupted.

use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use verbatim_lm::{Gpt2, Gpt2Config, Gpt2Gradient, Kernel};
use verbatim_store::Progress;
use xxhash_rust::xxh3::Xxh3;

use crate::data::{TrainingData, epoch_rows, pack};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::gradient::{Batch, BatchGradient, batch_gradient, mean_loss};
use crate::optimizer::{AdamW, AdamWConfig, clip};
use crate::private::{PrivacySpent, PrivateConfig, PrivateRun};
use crate::state::{self, Progressed};

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Passes over the data.
    Epochs(u64),
    /// Updates.
    Steps(u64),
}

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Initial weights, order of the data, dropout and validation split.
    pub seed: u64,
    /// How long.
    pub length: Length,
    /// Rows of one context length in a step; in a private training, documents of a step in the mean, all of them if there are
    /// fewer.
    pub batch_rows: usize,
    /// Rows that go through the model together: what bounds the memory, and part of the recipe.
    pub micro_rows: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// What the cosine ends at, as a fraction of the highest.
    pub final_fraction: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// The optimiser's constants.
    pub adamw: AdamWConfig,
    /// Largest joint norm of the gradients; not used in a private training, which clips each example's.
    pub clip_norm: f64,
    /// Probability of a document to be held out.
    pub validation_fraction: f64,
    /// Stop when the validation loss has not fallen for so many epochs. In a private training as well: when it stops depends on
    /// weights, which noise protects, and on documents that are not trained on, which nothing protects.
    pub patience: Option<u64>,
    /// Steps between two saved states.
    pub save_every: u64,
    /// Privately, and how; absent from the recipe of any other training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateConfig>,
}

impl TrainConfig {
    /// What suits a model of about a million parameters and a few hundred kilobytes of text.
    pub fn standard(seed: u64) -> TrainConfig {
        TrainConfig {
            seed,
            length: Length::Epochs(12),
            batch_rows: 16,
            micro_rows: 16,
            learning_rate: 2e-3,
            final_fraction: 0.1,
            warmup_steps: 50,
            adamw: AdamWConfig { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1 },
            clip_norm: 1.0,
            validation_fraction: 0.0,
            patience: None,
            save_every: 100,
            private: None,
        }
    }
}

/// Losses at the end of an epoch, in nats for each token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLosses {
    /// Steps done by then.
    pub step: u64,
    /// Mean over the epoch's steps; in a private training over its documents, each with the mean of its tokens. An epoch that
    /// drew none is told with the next.
    pub train_loss: f64,
    /// Of the held-out documents, if any.
    pub validation_loss: Option<f64>,
}

/// A trained model.
#[derive(Debug)]
pub struct Trained {
    /// The configuration of the model.
    pub model: Gpt2Config,
    /// The weights, by Hugging Face's names without prefix, in the order of names.
    pub tensors: Vec<(String, Tensor)>,
    /// Updates done.
    pub n_steps: u64,
    /// Updates in one pass over the data.
    pub steps_per_epoch: u64,
    /// Losses by epoch.
    pub history: Vec<EpochLosses>,
    /// What a private training cost.
    pub privacy: Option<PrivacySpent>,
}

/// Sees the model at the end of each epoch; what it reports ends the training.
pub type Observer<'a> = &'a mut dyn FnMut(&Trained) -> Result<()>;

/// Trains a model of the given configuration from scratch, or from the state at `state` if that file exists.
///
/// With `state`, the run is saved there every `save_every` steps and when `progress` is interrupted.
///
/// # Errors
/// [`Error::Config`], [`Error::Resume`], [`Error::Interrupted`], [`Error::Diverged`], or what the model or the
/// disk reports.
pub fn train(
    data: &TrainingData,
    model: &Gpt2Config,
    config: &TrainConfig,
    state: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Trained> {
    let mut run = Run::start(data, model, config)?;
    if let Some(path) = state
        && let Some(progressed) = state::load(path, &run.key, &mut run.optimizer)?
    {
        run.progressed = progressed;
    }
    run.complete(state, None, progress)
}

/// As [`train`], from scratch; `observe` sees the model as it is at the end of each epoch, the last one included, so that one
/// training gives the models along it.
///
/// # Errors
/// As [`train`], and what `observe` reports, which ends the training.
pub fn train_observed(
    data: &TrainingData,
    model: &Gpt2Config,
    config: &TrainConfig,
    observe: Observer<'_>,
    progress: &dyn Progress,
) -> Result<Trained> {
    Run::start(data, model, config)?.complete(None, Some(observe), progress)
}

/// A run under way.
struct Run<'a> {
    data: &'a TrainingData,
    config: &'a TrainConfig,
    key: String,
    model: Gpt2Gradient,
    optimizer: AdamW,
    progressed: Progressed,
    validation_rows: Vec<Vec<u32>>,
    /// The epoch of the last step of a training that is not private, and its rows.
    epoch_rows: (u64, Vec<Vec<u32>>),
    private: Option<PrivateRun<'a>>,
    steps_per_epoch: u64,
    n_steps: u64,
}

impl<'a> Run<'a> {
    fn start(data: &'a TrainingData, model: &Gpt2Config, config: &'a TrainConfig) -> Result<Run<'a>> {
        check(data, config)?;
        let seed = Draw::new(config.seed, "weights", 0).seed();
        let optimizer = AdamW::new(config.adamw.clone(), &Gpt2::initial_tensors(model, seed)?)?;
        // The weights are made first, because that checks the model's sizes.
        let private = match &config.private {
            Some(private) => Some(PrivateRun::new(data, model, (config, private), optimizer.values())?),
            None => None,
        };
        let rows_per_epoch = data.n_train_tokens().div_ceil(model.n_positions);
        let steps_per_epoch = match &private {
            Some(private) => private.plan().steps_per_epoch,
            None => rows_per_epoch.div_ceil(config.batch_rows) as u64,
        };
        let held_out: Vec<usize> = (0..data.validation.len()).collect();
        Ok(Run {
            data,
            config,
            key: run_key(data, model, config),
            model: Gpt2Gradient::new(model.clone(), Kernel::default())?,
            optimizer,
            progressed: Progressed::default(),
            validation_rows: pack(&data.validation, &held_out, data.end_of_text, model.n_positions),
            epoch_rows: (u64::MAX, Vec::new()),
            private,
            steps_per_epoch,
            n_steps: match config.length {
                Length::Epochs(epochs) => epochs * steps_per_epoch,
                Length::Steps(steps) => steps,
            },
        })
    }

    fn step(&self) -> u64 {
        self.optimizer.n_steps()
    }

    /// All steps that are left. With `state`, saved there now and then; `observe` sees the model after each epoch.
    fn complete(
        mut self,
        state: Option<&Path>,
        mut observe: Option<Observer<'_>>,
        progress: &dyn Progress,
    ) -> Result<Trained> {
        progress.stage("train", Some(self.n_steps), "steps");
        progress.advance(self.step());
        while self.step() < self.n_steps && !self.stalled() {
            self.update()?;
            progress.advance(1);
            let interrupted = progress.interrupted();
            let is_due = interrupted || self.step().is_multiple_of(self.config.save_every);
            if let Some(path) = state.filter(|_| is_due) {
                state::save(path, &self.key, &self.optimizer, &self.progressed)?;
            }
            if interrupted {
                return Err(Error::Interrupted { step: self.step() });
            }
            if let Some(observe) = observe.as_mut().filter(|_| self.ends_epoch()) {
                observe(&self.trained()?)?;
            }
        }
        self.trained()
    }

    /// Whether the last step was the last one of an epoch.
    fn ends_epoch(&self) -> bool {
        self.step().is_multiple_of(self.steps_per_epoch) || self.step() == self.n_steps
    }

    /// One step.
    fn update(&mut self) -> Result<()> {
        let (step, rate) = (self.step(), learning_rate(self.config, self.step(), self.n_steps));
        match &mut self.private {
            Some(private) => {
                let (loss_sum, gradient) = private.gradient(self.optimizer.values(), step)?;
                self.optimizer.step(rate, gradient);
                self.progressed.loss_sum += loss_sum;
            }
            None => {
                let gradient = self.batch_gradient(step)?;
                self.optimizer.step(rate, &gradient.gradients);
                self.progressed.loss_sum += gradient.loss;
            }
        }
        if self.ends_epoch() {
            self.close_epoch()?;
        }
        Ok(())
    }

    /// Of the step's share of its epoch's rows, clipped.
    fn batch_gradient(&mut self, step: u64) -> Result<BatchGradient> {
        let (config, epoch) = (self.config, step / self.steps_per_epoch);
        let context = self.model.config().n_positions;
        if self.epoch_rows.0 != epoch {
            self.epoch_rows = (epoch, epoch_rows(self.data, context, config.seed, epoch));
        }
        let rows = &self.epoch_rows.1;
        let first =
            usize::try_from(step % self.steps_per_epoch).expect("fewer than rows") * config.batch_rows;
        let batch = Batch {
            rows: &rows[first..rows.len().min(first + config.batch_rows)],
            micro_rows: config.micro_rows,
            dropout_seed: dropout_seed(self.model.config(), config.seed, step),
        };
        let mut gradient = batch_gradient(&mut self.model, self.optimizer.values(), &batch)?;
        let norm = clip(&mut gradient.gradients, config.clip_norm);
        if !(gradient.loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step: step + 1 });
        }
        Ok(gradient)
    }

    fn close_epoch(&mut self) -> Result<()> {
        let begin = self.progressed.history.last().map_or(0, |epoch| epoch.step);
        let n_losses = match &self.private {
            Some(private) => private.n_drawn(begin..self.step()) as u64,
            None => self.step() - begin,
        };
        if n_losses == 0 {
            return Ok(());
        }
        let validation_loss = if self.validation_rows.is_empty() {
            None
        } else {
            let (rows, micro_rows) = (&self.validation_rows, self.config.micro_rows);
            Some(mean_loss(&mut self.model, self.optimizer.values(), rows, micro_rows)?)
        };
        self.progressed.history.push(EpochLosses {
            step: self.step(),
            train_loss: self.progressed.loss_sum / n_losses as f64,
            validation_loss,
        });
        self.progressed.loss_sum = 0.0;
        Ok(())
    }

    /// Whether the last `patience` epochs brought nothing below the best before them.
    fn stalled(&self) -> bool {
        let losses: Vec<f64> =
            self.progressed.history.iter().filter_map(|epoch| epoch.validation_loss).collect();
        let patience = self.config.patience.and_then(|epochs| usize::try_from(epochs).ok());
        let Some(best_before) = patience.and_then(|epochs| losses.len().checked_sub(epochs)) else {
            return false;
        };
        let lowest = |losses: &[f64]| losses.iter().copied().fold(f64::INFINITY, f64::min);
        best_before > 0 && lowest(&losses[best_before..]) >= lowest(&losses[..best_before])
    }

    /// The model as it is.
    fn trained(&self) -> Result<Trained> {
        Ok(Trained {
            model: self.model.config().clone(),
            tensors: self.optimizer.tensors()?,
            n_steps: self.step(),
            steps_per_epoch: self.steps_per_epoch,
            history: self.progressed.history.clone(),
            privacy: self.private.as_ref().map(|private| private.spent(self.step())).transpose()?,
        })
    }
}

fn check(data: &TrainingData, config: &TrainConfig) -> Result<()> {
    let refuse = |cause: &str| Err(Error::Config(cause.to_owned()));
    if data.train.is_empty() {
        return refuse("no document is left to train on");
    }
    if config.batch_rows == 0 || config.micro_rows == 0 || config.save_every == 0 {
        return refuse("batch rows, micro-batch rows and steps between saved states must be positive");
    }
    if config.patience == Some(0) || (config.patience.is_some() && data.validation.is_empty()) {
        return refuse("early stopping needs held-out documents and a patience of at least one epoch");
    }
    if !(config.learning_rate > 0.0 && config.clip_norm > 0.0) {
        return refuse("learning rate and clipping norm must be positive");
    }
    Ok(())
}

/// The seed of a step's dropout, where there is any.
pub(crate) fn dropout_seed(model: &Gpt2Config, seed: u64, step: u64) -> Option<u64> {
    let drops = [model.embd_pdrop, model.attn_pdrop, model.resid_pdrop].iter().any(|&p| p > 0.0);
    drops.then(|| Draw::new(seed, "dropout", step).seed())
}

/// Linear warm-up, then a cosine down to `final_fraction` (Loshchilov and Hutter 2017, one cycle).
fn learning_rate(config: &TrainConfig, step: u64, n_steps: u64) -> f64 {
    let warm_up = ((step + 1) as f64 / config.warmup_steps.max(1) as f64).min(1.0);
    let after = step.saturating_sub(config.warmup_steps) as f64;
    let share = after / (n_steps.saturating_sub(config.warmup_steps)).max(1) as f64;
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
    config.learning_rate * warm_up * (config.final_fraction + (1.0 - config.final_fraction) * cosine)
}

/// Names a run by everything that decides its bytes, so that a state is never taken up by another.
fn run_key(data: &TrainingData, model: &Gpt2Config, config: &TrainConfig) -> String {
    let mut hash = Xxh3::new();
    hash.update(format!("{model:?} {} {}", recipe_text(config), data.end_of_text).as_bytes());
    for part in [&data.train, &data.validation] {
        hash.update(&part.len().to_le_bytes());
        for document in part {
            hash.update(&document.len().to_le_bytes());
            document.iter().for_each(|id| hash.update(&id.to_le_bytes()));
        }
    }
    format!("{:032x}", hash.digest128())
}

fn recipe_text(config: &TrainConfig) -> String {
    // How often a state is saved changes nothing in the run.
    let config = TrainConfig { save_every: 1, ..config.clone() };
    // A training that is not private is named as it was before there were private ones.
    format!("{config:?}").replace(", private: None", "")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct StopAfter(AtomicU64);

    impl Progress for StopAfter {
        fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}
        fn advance(&self, n: u64) {
            self.0.fetch_sub(n, Ordering::Relaxed);
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }
    }

    fn model() -> Gpt2Config {
        serde_json::from_str(
            r#"{"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2,
                "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1}"#,
        )
        .unwrap()
    }

    fn config() -> TrainConfig {
        TrainConfig {
            length: Length::Epochs(4),
            batch_rows: 4,
            micro_rows: 2,
            learning_rate: 0.01,
            warmup_steps: 3,
            ..TrainConfig::standard(1)
        }
    }

    fn data() -> TrainingData {
        let count = |from: u32| (from..from + 6).map(|id| 1 + id % 15).collect();
        TrainingData { train: (0..12).map(count).collect(), validation: vec![count(3)], end_of_text: 0 }
    }

    fn bytes(trained: &Trained) -> Vec<Vec<f32>> {
        trained.tensors.iter().map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }

    fn run(n_threads: usize) -> Trained {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| train(&data(), &model(), &config(), None, &verbatim_store::Silent)).unwrap()
    }

    #[test]
    fn losses_fall_and_threads_do_not_change_a_bit() {
        let one = run(1);
        assert_eq!(one.history.len(), 4);
        assert_eq!(one.history[3].step, one.n_steps);
        assert!(one.history[3].train_loss < one.history[0].train_loss - 0.3, "{:?}", one.history);
        assert!(one.history[3].validation_loss < one.history[0].validation_loss);
        for n_threads in [2, 8] {
            let many = run(n_threads);
            assert_eq!(bytes(&one), bytes(&many));
            assert_eq!(one.history, many.history);
        }
    }

    #[test]
    fn an_interrupted_run_goes_on_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.safetensors");
        // In the first epoch, at its end, and in the second one.
        for stop in [1, run(1).steps_per_epoch, run(1).steps_per_epoch + 2] {
            let stopped = train(&data(), &model(), &config(), Some(&state), &StopAfter(AtomicU64::new(stop)));
            assert!(matches!(stopped, Err(Error::Interrupted { step }) if step == stop));
            let resumed = train(&data(), &model(), &config(), Some(&state), &verbatim_store::Silent).unwrap();
            assert_eq!(bytes(&resumed), bytes(&run(1)));
            assert_eq!(resumed.history, run(1).history);
            std::fs::remove_file(&state).unwrap();
        }
    }

    #[test]
    fn an_interrupted_private_run_goes_on_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.safetensors");
        let private = PrivateConfig { clip_norm: Some(0.5), noise_multiplier: 0.8, delta: 1e-5 };
        let config = TrainConfig { private: Some(private), ..config() };
        let go = |progress: &dyn Progress| train(&data(), &model(), &config, Some(&state), progress);
        let whole = go(&verbatim_store::Silent).unwrap();
        for stop in [1, 3, 5] {
            let stopped = go(&StopAfter(AtomicU64::new(stop)));
            assert!(matches!(stopped, Err(Error::Interrupted { step }) if step == stop));
            let resumed = go(&verbatim_store::Silent).unwrap();
            assert_eq!(bytes(&resumed), bytes(&whole));
            assert_eq!((&resumed.history, &resumed.privacy), (&whole.history, &whole.privacy));
            std::fs::remove_file(&state).unwrap();
        }
    }

    #[test]
    fn an_observer_sees_the_model_after_each_epoch_and_changes_nothing() {
        let private = PrivateConfig { clip_norm: Some(0.5), noise_multiplier: 0.8, delta: 1e-5 };
        for private in [None, Some(private)] {
            let config = TrainConfig { private, ..config() };
            let mut seen: Vec<Trained> = Vec::new();
            let mut observe = |trained: &Trained| {
                let tensors = trained.tensors.clone();
                seen.push(Trained {
                    model: trained.model.clone(),
                    tensors,
                    history: vec![],
                    privacy: None,
                    ..*trained
                });
                Ok(())
            };
            let trained =
                train_observed(&data(), &model(), &config, &mut observe, &verbatim_store::Silent).unwrap();
            let steps: Vec<u64> = seen.iter().map(|trained| trained.n_steps).collect();
            assert_eq!(steps, [1, 2, 3, 4].map(|epoch| epoch * trained.steps_per_epoch));
            assert!(seen.windows(2).all(|pair| bytes(&pair[0]) != bytes(&pair[1])));
            assert_eq!(bytes(&seen[3]), bytes(&trained));
            let unseen = train(&data(), &model(), &config, None, &verbatim_store::Silent).unwrap();
            assert_eq!(bytes(&trained), bytes(&unseen));
        }
        let mut refuse = |_: &Trained| Err(Error::Config("enough".to_owned()));
        let ended = train_observed(&data(), &model(), &config(), &mut refuse, &verbatim_store::Silent);
        assert!(matches!(ended, Err(Error::Config(_))));
    }

    #[test]
    fn a_run_that_is_not_private_has_the_name_that_it_always_had() {
        let text = "TrainConfig { seed: 1, length: Epochs(4), batch_rows: 4, micro_rows: 2, learning_rate: 0.01, \
            final_fraction: 0.1, warmup_steps: 3, adamw: AdamWConfig { beta_1: 0.9, beta_2: 0.95, \
            epsilon: 1e-8, weight_decay: 0.1 }, clip_norm: 1.0, validation_fraction: 0.0, patience: None, \
            save_every: 1 }";
        assert_eq!(recipe_text(&config()), text);
        let private = PrivateConfig { clip_norm: None, noise_multiplier: 0.0, delta: 1e-5 };
        assert!(
            recipe_text(&TrainConfig { private: Some(private), ..config() }).contains("noise_multiplier")
        );
    }

    #[test]
    fn a_state_of_another_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.safetensors");
        let stopped = train(&data(), &model(), &config(), Some(&state), &StopAfter(AtomicU64::new(1)));
        assert!(stopped.is_err());
        let other = TrainConfig { learning_rate: 0.02, ..config() };
        let resumed = train(&data(), &model(), &other, Some(&state), &verbatim_store::Silent);
        assert!(matches!(resumed, Err(Error::Resume { .. })));
    }

    #[test]
    fn training_stops_early_when_the_validation_loss_does_not_fall() {
        // What is held out contradicts what is trained on, so its loss rises.
        let contradiction = vec![(0..12).map(|n| 15 - n).collect::<Vec<u32>>()];
        let data = TrainingData { validation: contradiction, ..data() };
        let config = TrainConfig { length: Length::Epochs(200), patience: Some(2), ..config() };
        let trained = train(&data, &model(), &config, None, &verbatim_store::Silent).unwrap();
        assert!(trained.n_steps < 200 * trained.steps_per_epoch);
        let losses: Vec<f64> = trained.history.iter().filter_map(|epoch| epoch.validation_loss).collect();
        let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(losses.iter().position(|&loss| loss == lowest), Some(losses.len() - 3));
    }

    #[test]
    fn the_learning_rate_warms_up_and_falls_to_its_end() {
        let config = TrainConfig { learning_rate: 1.0, warmup_steps: 10, ..config() };
        let rate = |step| learning_rate(&config, step, 110);
        assert!((rate(0) - 0.1).abs() < 1e-12);
        assert!((rate(10) - 1.0).abs() < 1e-12);
        assert!((rate(60) - 0.55).abs() < 1e-12);
        assert!((rate(109) - 0.1).abs() < 1e-3);
    }
}
