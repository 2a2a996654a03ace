//! The loss of a batch and its gradient, the same bytes for any number of threads: a batch is cut into fixed
//! micro-batches, which run in parallel, and their gradients are added up in order.

use std::panic::resume_unwind;
use std::slice::Chunks;
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use verbatim_lm::{Dropout, Gpt2};

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::optimizer::{AdamW, Parameter};

/// The rows of one step and how to go through them.
pub(crate) struct Batch<'a> {
    /// Rows of ids, each one longer than the context.
    pub(crate) rows: &'a [Vec<u32>],
    /// Rows that go through the model together; part of the recipe, since sums depend on it.
    pub(crate) micro_rows: usize,
    /// The seed of the masks of this step; no dropout without one.
    pub(crate) dropout_seed: Option<u64>,
}

/// What one batch says.
pub(crate) struct BatchGradient {
    /// Mean loss in nats for each predicted token.
    pub(crate) loss: f64,
    /// One gradient for each parameter of the optimiser, in its order.
    pub(crate) gradients: Vec<Vec<f32>>,
}

/// The mean loss of a batch and its gradient.
pub(crate) fn batch_gradient(model: &Gpt2, optimizer: &AdamW, batch: &Batch<'_>) -> Result<BatchGradient> {
    let n_predictions = n_predictions(batch.rows);
    let parts = in_order(batch.rows.chunks(batch.micro_rows), |index, rows| {
        let dropout = batch
            .dropout_seed
            .map(|step_seed| Dropout { seed: Draw::new(step_seed, "micro-batch", index as u64).seed() });
        let logits = model.forward_train(&inputs(rows)?, dropout.as_ref())?; // (B, T, V)
        let (loss, by_logit) = cross_entropy(&logits, rows, n_predictions)?;
        // The gradient of this product by the logits is `by_logit`: the graph begins at the logits and
        // needs none of the many small operations of a log-softmax.
        let store = (logits * by_logit)?.sum_all()?.backward()?;
        let gradient = |parameter: &Parameter| match store.get(parameter.variable()) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; parameter.values.len()]),
        };
        let gradients: candle_core::Result<Vec<Vec<f32>>> =
            optimizer.parameters().iter().map(gradient).collect();
        Ok((loss, gradients?))
    })?;
    let mut parts = parts.into_iter();
    let (mut loss, mut gradients) = parts.next().expect("a batch has rows");
    for (part_loss, part) in parts {
        loss += part_loss;
        for (sum, addend) in gradients.iter_mut().zip(part) {
            sum.iter_mut().zip(addend).for_each(|(sum, addend)| *sum += addend);
        }
    }
    Ok(BatchGradient { loss: loss / n_predictions as f64, gradients })
}

/// Calls `work` on each micro-batch with its index, on as many threads as rayon has here; results in order.
///
/// Not a parallel iterator: candle's matrix products call rayon themselves, and at this size splitting them costs
/// more than it saves. So each thread is a rayon pool of its own, in which such a split stays at home. Candle's
/// second pool, for large element-wise operations, spins at a barrier and would undo this on a busy machine; only
/// `CANDLE_NUM_THREADS=1` in the environment switches it off, which is the program's business.
fn in_order<T: Send>(
    micro_batches: Chunks<'_, Vec<u32>>,
    work: impl Fn(usize, &[Vec<u32>]) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let n_threads = rayon::current_num_threads().min(micro_batches.len());
    let queue = Mutex::new(micro_batches.enumerate());
    let next = || queue.lock().expect("nobody panics with the queue in hand").next();
    let worker = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        let pool = pool.map_err(|error| Error::Config(format!("cannot start a thread: {error}")))?;
        let done = std::iter::from_fn(next).map(|(index, rows)| Ok((index, work(index, rows)?))).collect();
        drop(pool);
        done
    };
    let mut results: Vec<(usize, T)> = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let done: Result<Vec<(usize, T)>> = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            results.extend(done?);
        }
        Ok(())
    })?;
    results.sort_by_key(|&(index, _)| index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// The mean loss in nats for each predicted token of `rows`, without dropout or gradient.
///
/// `weights` are plain tensors, so that no graph is kept.
pub(crate) fn mean_loss(
    weights: &[(String, Tensor)],
    model: &Gpt2,
    rows: &[Vec<u32>],
    micro_rows: usize,
) -> Result<f64> {
    let model = Gpt2::new(model.config().clone(), weights.iter().cloned().collect())?;
    let losses = in_order(rows.chunks(micro_rows), |_, rows| {
        Ok(cross_entropy(&model.forward_train(&inputs(rows)?, None)?, rows, 1)?.0)
    })?;
    Ok(losses.iter().sum::<f64>() / n_predictions(rows) as f64)
}

fn n_predictions(rows: &[Vec<u32>]) -> usize {
    rows.iter().map(|row| row.len() - 1).sum()
}

/// All ids of the rows but the last of each: (B, T).
fn inputs(rows: &[Vec<u32>]) -> Result<Tensor> {
    let context = rows[0].len() - 1;
    let ids: Vec<u32> = rows.iter().flat_map(|row| &row[..context]).copied().collect();
    Ok(Tensor::from_vec(ids, (rows.len(), context), &Device::Cpu)?)
}

/// The summed loss in nats, and the gradient of that sum over `n_predictions` by the logits (B, T, V).
fn cross_entropy(logits: &Tensor, rows: &[Vec<u32>], n_predictions: usize) -> Result<(f64, Tensor)> {
    let vocab_size = logits.dim(2)?;
    let mut values: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    let scale = 1.0 / n_predictions as f32;
    let targets = rows.iter().flat_map(|row| &row[1..]);
    let mut loss = 0.0;
    for (logits, &target) in values.chunks_exact_mut(vocab_size).zip(targets) {
        let target = usize::try_from(target).expect("ids are below the vocabulary's size");
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let of_target = logits[target] - largest;
        let mut sum = 0.0f32;
        for logit in logits.iter_mut() {
            *logit = (*logit - largest).exp();
            sum += *logit;
        }
        loss += f64::from(sum.ln() - of_target);
        logits.iter_mut().for_each(|exp| *exp *= scale / sum);
        logits[target] -= scale;
    }
    Ok((loss, Tensor::from_vec(values, logits.shape(), &Device::Cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::AdamWConfig;
    use verbatim_lm::Gpt2Config;

    fn tiny() -> (Gpt2, AdamW) {
        let config: Gpt2Config = serde_json::from_str(
            r#"{"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2,
                "embd_pdrop": 0.2, "attn_pdrop": 0.2, "resid_pdrop": 0.2}"#,
        )
        .unwrap();
        let adamw = AdamWConfig { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
        let optimizer = AdamW::new(adamw, &Gpt2::initial_tensors(&config, 3).unwrap()).unwrap();
        let model = Gpt2::new(config, optimizer.variables().collect()).unwrap();
        (model, optimizer)
    }

    fn rows() -> Vec<Vec<u32>> {
        (0..5u32).map(|row| (0..7).map(|column| (row * 3 + column * column) % 11).collect()).collect()
    }

    /// Candle's own cross-entropy, with its own gradient, over the whole batch at once.
    #[test]
    fn loss_and_gradient_agree_with_candles_cross_entropy() {
        let (model, optimizer) = tiny();
        let rows = rows();
        let ours =
            batch_gradient(&model, &optimizer, &Batch { rows: &rows, micro_rows: 2, dropout_seed: None })
                .unwrap();
        let targets: Vec<u32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        let targets = Tensor::from_vec(targets, 30, &Device::Cpu).unwrap();
        let logits = model.forward_train(&inputs(&rows).unwrap(), None).unwrap().flatten_to(1).unwrap();
        let loss = candle_nn::loss::cross_entropy(&logits, &targets).unwrap();
        let store = loss.backward().unwrap();
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - ours.loss).abs() < 1e-5);
        for (parameter, gradient) in optimizer.parameters().iter().zip(&ours.gradients) {
            let theirs: Vec<f32> =
                store.get(parameter.variable()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let largest = theirs.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
            assert!(
                largest > 0.0 && theirs.iter().zip(gradient).all(|(a, b)| (a - b).abs() < 1e-5),
                "{}",
                parameter.name
            );
        }
        let weights: Vec<(String, Tensor)> = optimizer.variables().collect();
        assert!((mean_loss(&weights, &model, &rows, 2).unwrap() - ours.loss).abs() < 1e-5);
    }

    #[test]
    fn threads_do_not_change_a_bit_and_dropout_depends_on_its_seed() {
        let (model, optimizer) = tiny();
        let rows = rows();
        let run = |n_threads, dropout_seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let batch = Batch { rows: &rows, micro_rows: 1, dropout_seed };
            pool.install(|| batch_gradient(&model, &optimizer, &batch)).unwrap().gradients
        };
        assert_eq!(run(1, Some(4)), run(2, Some(4)));
        assert_eq!(run(1, Some(4)), run(8, Some(4)));
        assert_ne!(run(1, Some(4)), run(1, Some(5)));
        assert_ne!(run(1, Some(4)), run(1, None));
    }
}
