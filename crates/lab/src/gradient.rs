//! The loss of a batch or of one example, and its gradient. Rows go through the model in micro-batches, one after the
//! other, which bounds the memory; sums have a fixed order, so the number of threads changes no byte.

use verbatim_lm::{Dropout, Gpt2Gradient, Parameters};

use crate::draw::Draw;
use crate::error::Result;
use crate::optimizer::zeros;

/// The rows of one step and how to go through them.
pub(crate) struct Batch<'a> {
    /// Rows of ids, each one longer than what the model sees of it; none longer than the context and one.
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
    /// One gradient for each parameter.
    pub(crate) gradients: Parameters,
}

/// The mean loss of a batch and its gradient.
pub(crate) fn batch_gradient(
    model: &mut Gpt2Gradient,
    parameters: &Parameters,
    batch: &Batch<'_>,
) -> Result<BatchGradient> {
    let mut gradients = zeros(parameters);
    model.load(parameters);
    let loss = add_batch_gradient(model, parameters, batch, &mut gradients)?;
    Ok(BatchGradient { loss, gradients })
}

/// As [`batch_gradient`], with the weights of the last load: adds to `gradients`, and gives the mean loss. Rows of
/// different lengths go through the model one length after the other.
pub(crate) fn add_batch_gradient(
    model: &mut Gpt2Gradient,
    parameters: &Parameters,
    batch: &Batch<'_>,
    gradients: &mut Parameters,
) -> Result<f64> {
    let n_predictions = n_predictions(batch.rows);
    let of_one_length = batch.rows.chunk_by(|one, next| one.len() == next.len());
    let micro_batches = of_one_length.flat_map(|rows| rows.chunks(batch.micro_rows));
    let mut loss = 0.0;
    for (index, rows) in (0u64..).zip(micro_batches) {
        let dropout = batch
            .dropout_seed
            .map(|step_seed| Dropout { seed: Draw::new(step_seed, "micro-batch", index).seed() });
        let scale = 1.0 / n_predictions as f32;
        loss += model.add_gradient(parameters, rows, (scale, dropout), gradients)?;
    }
    Ok(loss / n_predictions as f64)
}

/// The mean loss in nats for each predicted token of `rows`, without dropout or gradient.
pub(crate) fn mean_loss(
    model: &mut Gpt2Gradient,
    parameters: &Parameters,
    rows: &[Vec<u32>],
    micro_rows: usize,
) -> Result<f64> {
    model.load(parameters);
    let mut loss = 0.0;
    for rows in rows.chunks(micro_rows) {
        loss += model.loss(parameters, rows)?;
    }
    Ok(loss / n_predictions(rows) as f64)
}

fn n_predictions(rows: &[Vec<u32>]) -> usize {
    rows.iter().map(|row| row.len() - 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor, Var};
    use std::collections::HashMap;
    use verbatim_lm::{Gpt2, Gpt2Config, Kernel};

    fn config() -> Gpt2Config {
        serde_json::from_str(
            r#"{"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2,
                "embd_pdrop": 0.2, "attn_pdrop": 0.2, "resid_pdrop": 0.2}"#,
        )
        .unwrap()
    }

    fn rows() -> Vec<Vec<u32>> {
        (0..5u32).map(|row| (0..7).map(|column| (row * 3 + column * column) % 11).collect()).collect()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn parameters() -> Parameters {
        let tensors = Gpt2::initial_tensors(&config(), 3).unwrap();
        tensors.iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect()
    }

    fn gradient(micro_rows: usize, dropout_seed: Option<u64>) -> BatchGradient {
        let mut model = Gpt2Gradient::new(config(), Kernel::default()).unwrap();
        let batch = Batch { rows: &rows(), micro_rows, dropout_seed };
        batch_gradient(&mut model, &parameters(), &batch).unwrap()
    }

    /// Candle's own cross-entropy, with its own gradient, over the whole batch at once.
    #[test]
    fn loss_and_gradient_agree_with_candles_cross_entropy() {
        let variables: HashMap<String, Var> = Gpt2::initial_tensors(&config(), 3)
            .unwrap()
            .iter()
            .map(|(name, tensor)| (name.clone(), Var::from_tensor(tensor).unwrap()))
            .collect();
        let tensors = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let rows = rows();
        let targets: Vec<u32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        let targets = Tensor::from_vec(targets, 30, &Device::Cpu).unwrap();
        let inputs: Vec<u32> = rows.iter().flat_map(|row| row[..6].to_vec()).collect();
        let inputs = Tensor::from_vec(inputs, (5, 6), &Device::Cpu).unwrap();
        let model = Gpt2::new(config(), tensors).unwrap();
        let logits = model.forward_train(&inputs, None).unwrap().flatten_to(1).unwrap();
        let loss = candle_nn::loss::cross_entropy(&logits, &targets).unwrap();
        let store = loss.backward().unwrap();
        let loss = f64::from(loss.to_scalar::<f32>().unwrap());
        for micro_rows in [1, 2, 5] {
            let ours = gradient(micro_rows, None);
            assert!((loss - ours.loss).abs() < 1e-5);
            for (name, gradient) in &ours.gradients {
                let theirs = values(store.get(variables[name].as_tensor()).unwrap());
                let largest = theirs.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
                let equal = theirs.iter().zip(gradient).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(largest > 0.0 && equal, "{name}");
            }
        }
        let mut model = Gpt2Gradient::new(config(), Kernel::default()).unwrap();
        assert!((mean_loss(&mut model, &parameters(), &rows, 2).unwrap() - loss).abs() < 1e-5);
    }

    #[test]
    fn threads_do_not_change_a_bit_and_dropout_depends_on_its_seed() {
        let run = |n_threads, dropout_seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| gradient(1, dropout_seed)).gradients
        };
        assert!(run(1, Some(4)) == run(2, Some(4)));
        assert!(run(1, Some(4)) == run(8, Some(4)));
        assert!(run(1, Some(4)) != run(1, Some(5)));
        assert!(run(1, Some(4)) != run(1, None));
    }
}
