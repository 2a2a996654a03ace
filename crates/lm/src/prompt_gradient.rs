//! How the loss of a continuation would change if a token of its prompt were another: what a search for prompts follows.

use rayon::prelude::*;

use crate::Passage;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::gpt2_gradient::{Gpt2Gradient, Parameters};
use crate::loss_gradient;

/// Gradients of a GPT-2 by its prompt. Weights are f32 and take four times their size in memory.
#[derive(Debug)]
pub struct PromptGradient {
    model: Gpt2Gradient,
    parameters: Parameters,
}

impl PromptGradient {
    /// Of a checkpoint's model, whose weights are read once more.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model of another family than GPT-2, [`Error::BadFile`] when a file has changed, those
    /// of [`Checkpoint::open`].
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let (model, parameters) = loss_gradient::loaded(checkpoint)?;
        Ok(Self { model, parameters })
    }

    /// The loss of a continuation given its prompt, in nats, and its derivative by how much of each token of the vocabulary
    /// stands at each place of the prompt, (P, V): a place has one token once, and the others not at all. Putting token w
    /// where v stands changes the loss by about `derivative[w] - derivative[v]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where either is empty, an id is outside the vocabulary, or the two do not fit the context;
    /// [`Error::NotFinite`].
    pub fn by_prompt(&mut self, passage: &Passage) -> Result<(f64, Vec<f32>)> {
        let n_prompt = passage.prompt.len();
        if n_prompt == 0 || passage.continuation.is_empty() {
            return Err(Error::InvalidArgument("a prompt and a continuation need tokens".to_owned()));
        }
        let row = [&passage.prompt[..], &passage.continuation].concat();
        let c = self.model.config().n_embd;
        let (loss, by_embedding) = self.model.by_embedding(&self.parameters, row, n_prompt)?;
        let places = &by_embedding[..n_prompt * c];
        if !loss.is_finite() || places.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite { text: 0, position: n_prompt });
        }
        let embeddings = &self.parameters["wte.weight"];
        let by_token =
            |place: &[f32], embedding: &[f32]| place.iter().zip(embedding).map(|(x, y)| x * y).sum();
        let pairs = places.par_chunks(c).flat_map(|place| {
            embeddings.par_chunks(c).map(move |embedding| -> f32 { by_token(place, embedding) })
        });
        Ok((loss, pairs.collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Tensor;
    use verbatim_store::Silent;

    use super::*;
    use crate::{Gpt2, Gpt2Config, LanguageModel};

    fn config(tied: bool) -> Gpt2Config {
        serde_json::from_value(serde_json::json!({
            "vocab_size": 17, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2,
            "tie_word_embeddings": tied, "initializer_range": 0.3
        }))
        .unwrap()
    }

    fn gradient(config: &Gpt2Config, tensors: HashMap<String, Tensor>) -> PromptGradient {
        let (model, parameters) = loss_gradient::of_tensors(config, tensors).unwrap();
        PromptGradient { model, parameters }
    }

    fn passage() -> Passage {
        Passage { prompt: vec![3, 0, 11, 5], continuation: vec![7, 7, 2] }
    }

    fn loss(model: &Gpt2, passage: &Passage) -> f64 {
        let text = [&passage.prompt[..], &passage.continuation].concat();
        let records = model.score(&[text], 1, &Silent).unwrap().remove(0);
        records[passage.prompt.len() - 1..].iter().map(|record| -f64::from(record.log_prob)).sum()
    }

    /// What stands at a place of the prompt is its token's embedding; here it is moved towards another token's, by giving
    /// that place a token of its own.
    #[test]
    fn derivatives_are_what_moving_an_embedding_towards_another_does_to_the_loss() {
        for tied in [false, true] {
            let (config, passage) = (config(tied), passage());
            let tensors: HashMap<String, Tensor> =
                Gpt2::initial_tensors(&config, 4).unwrap().into_iter().collect();
            let plain = Gpt2::new(config.clone(), tensors.clone()).unwrap();
            let (total, by_prompt) = gradient(&config, tensors.clone()).by_prompt(&passage).unwrap();
            assert!((total - loss(&plain, &passage)).abs() < 1e-4);
            assert_eq!(by_prompt.len(), 4 * 17);
            // Token 16 stands nowhere else, and what its embedding does as a row of a tied head is left out of the loss.
            for (place, other) in [(0, 9), (2, 1), (3, 14)] {
                let (own, step) = (passage.prompt[place], 2e-3);
                let at = |amount: f64| {
                    let mut rows: Vec<Vec<f32>> = tensors["wte.weight"].to_vec2().unwrap();
                    let towards = rows[other].clone();
                    for (at, (x, y)) in rows[own as usize].clone().iter().zip(towards).enumerate() {
                        rows[16][at] = x + (amount as f32) * (y - x);
                    }
                    let wte = Tensor::new(rows, &candle_core::Device::Cpu).unwrap();
                    let mut moved = tensors.clone();
                    moved.insert("wte.weight".to_owned(), wte.clone());
                    let untied = Gpt2Config { tie_word_embeddings: false, ..config.clone() };
                    let head =
                        if tied { tensors["wte.weight"].clone() } else { moved["lm_head.weight"].clone() };
                    moved.insert("lm_head.weight".to_owned(), head);
                    let mut moved_passage = passage.clone();
                    moved_passage.prompt[place] = 16;
                    loss(&Gpt2::new(untied, moved).unwrap(), &moved_passage)
                };
                let expected = (at(step) - at(-step)) / (2.0 * step);
                let got = f64::from(by_prompt[place * 17 + other] - by_prompt[place * 17 + own as usize]);
                assert!((expected - got).abs() < 2e-2 * expected.abs().max(0.1), "{expected} {got}");
            }
        }
    }

    #[test]
    fn fault_65_what_has_no_gradient_is_refused() {
        let tensors = Gpt2::initial_tensors(&config(true), 4).unwrap().into_iter().collect();
        let mut gradient = gradient(&config(true), tensors);
        let good = passage();
        for bad in [
            Passage { prompt: vec![], ..good.clone() },
            Passage { continuation: vec![], ..good.clone() },
            Passage { prompt: vec![17], ..good.clone() },
            Passage { continuation: vec![1; 40], ..good.clone() },
        ] {
            assert!(matches!(gradient.by_prompt(&bad), Err(Error::InvalidArgument(_))));
        }
    }
}
