//! Sequences that grow and fork as a search wants them, with the whole distribution of the next token after each.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::logits::Logits;
use crate::model::{Forward, Run, check_ids, check_length, in_pool};
use crate::sampling::passes;
use crate::served;

/// Some sequences in numbered slots.
pub trait Session: Send {
    /// Appends runs to their sequences, slots ascending, and tells of each run, in its order, the log-probabilities
    /// of the next token, (V); of a served model, as far as they are told.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an id outside the vocabulary or a sequence that outgrows the context,
    /// [`Error::NotFinite`], with the slot and the length of its sequence.
    fn extend(&mut self, runs: &[Run<'_>], take: &mut (dyn FnMut(usize, &[f32]) + Send)) -> Result<()>;

    /// Makes the sequence in slot `to` the first `n` tokens of that in slot `from`; 0 empties it.
    ///
    /// # Errors
    /// When the engine fails.
    fn fork(&mut self, from: usize, to: usize, n: usize) -> Result<()>;
}

/// The sequences of any engine.
pub(crate) struct Sequences<'m, M: Forward + ?Sized> {
    model: &'m M,
    cache: M::Cache,
    logits: Logits,
    /// The tokens of each slot.
    texts: Vec<Vec<u32>>,
}

impl<'m, M: Forward + ?Sized> Sequences<'m, M> {
    pub(crate) fn new(model: &'m M, n_slots: usize, capacity: usize) -> Result<Self> {
        let capacity = capacity.min(model.context_len());
        let cache = model.new_cache(n_slots, capacity)?;
        Ok(Self { model, cache, logits: model.new_logits(), texts: vec![Vec::new(); n_slots] })
    }

    /// The log-probabilities after each run of a pass, (V) each.
    fn pass(&mut self, runs: &[Run<'_>]) -> Result<Vec<Vec<f32>>> {
        let states = self.model.hidden(runs, &mut self.cache)?;
        let mut n_rows = 0;
        let last = |run: &Run<'_>| {
            n_rows += run.tokens.len();
            n_rows - 1
        };
        let rows: Vec<usize> = runs.iter().map(last).collect();
        let mut all = Vec::with_capacity(rows.len());
        for (rows, runs) in rows.chunks(self.model.head_rows()).zip(runs.chunks(self.model.head_rows())) {
            self.model.logits(&states, rows, &mut self.logits)?;
            let logits = &self.logits;
            let log_probs = (0..rows.len()).into_par_iter().map(|row| {
                let context = &self.texts[runs[row].slot];
                served::told(self.model.release(), context, logits.row(row), |row| {
                    let distribution = row.distribution()?;
                    Some(row.parts().flatten().map(|logit| distribution.log_prob(*logit)).collect())
                })
            });
            for (log_probs, run) in log_probs.collect::<Vec<Option<Vec<f32>>>>().into_iter().zip(runs) {
                let (text, position) = (run.slot, self.texts[run.slot].len());
                all.push(log_probs.ok_or(Error::NotFinite { text, position })?);
            }
        }
        Ok(all)
    }
}

impl<M: Forward + ?Sized> Session for Sequences<'_, M> {
    fn extend(&mut self, runs: &[Run<'_>], take: &mut (dyn FnMut(usize, &[f32]) + Send)) -> Result<()> {
        for run in runs {
            check_ids(run.tokens, self.model.vocab_size(), || format!("slot {}", run.slot))?;
            check_length(self.texts[run.slot].len(), run.tokens.len(), self.model.context_len())?;
            self.texts[run.slot].extend(run.tokens);
        }
        let mut number = 0;
        for pass in passes(runs, self.model.max_positions()) {
            for log_probs in in_pool(|| self.pass(pass))? {
                take(number, &log_probs);
                number += 1;
            }
        }
        Ok(())
    }

    fn fork(&mut self, from: usize, to: usize, n: usize) -> Result<()> {
        self.texts[to] = self.texts[from][..n].to_vec();
        self.model.copy_prefix(&mut self.cache, from, to, n)
    }
}

#[cfg(test)]
mod tests {
    use verbatim_store::Silent;

    use super::*;
    use crate::{Gpt2, Gpt2Config, LanguageModel, Ngram};

    fn gpt2() -> Gpt2 {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 23, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, 5).unwrap().into_iter().collect();
        Gpt2::new(config, tensors).unwrap()
    }

    /// Grows and forks sequences, and compares each distribution with the records of the whole sequence.
    fn agrees_with_scoring(model: &dyn LanguageModel) {
        let mut session = model.session(3, 16).unwrap();
        let mut seen: Vec<Vec<u32>> = vec![Vec::new(); 3];
        let steps: [&[(usize, &[u32])]; 3] =
            [&[(0, &[1, 2, 3]), (2, &[4])], &[(0, &[2]), (1, &[4, 4]), (2, &[1, 3])], &[(1, &[0])]];
        for (step, runs) in steps.iter().enumerate() {
            for (slot, tokens) in *runs {
                seen[*slot].extend(*tokens);
            }
            let runs: Vec<Run<'_>> = runs.iter().map(|&(slot, tokens)| Run { slot, tokens }).collect();
            let mut answers = Vec::new();
            session
                .extend(&runs, &mut |number, log_probs| answers.push((number, log_probs.to_vec())))
                .unwrap();
            assert!(answers.iter().map(|(number, _)| *number).eq(0..runs.len()));
            for (run, (_, log_probs)) in runs.iter().zip(&answers) {
                for token in 0..model.vocab_size() as u32 {
                    let text = [&seen[run.slot][..], &[token]].concat();
                    let records = model.score(&[text], 1, &Silent).unwrap().remove(0);
                    assert_eq!(records.last().unwrap().log_prob, log_probs[token as usize]);
                }
            }
            // Two tokens of the first sequence begin the second one.
            if step == 0 {
                session.fork(0, 1, 2).unwrap();
                seen[1] = seen[0][..2].to_vec();
            }
        }
    }

    #[test]
    fn sequences_that_grow_and_fork_are_as_if_each_were_scored_alone() {
        agrees_with_scoring(&gpt2());
        agrees_with_scoring(&Ngram::new((5, 32), 2, 0.1, &[vec![0, 1, 2, 1, 3, 1, 2, 4, 1, 2, 0, 1, 3]]));
    }

    #[test]
    fn a_served_model_tells_a_session_what_it_tells_of_a_whole_text() {
        /// Tells the log-probabilities of id + (sum of the context).
        struct Turned;
        impl crate::Release for Turned {
            fn tell(&self, context: &[u32], log_probs: &mut [f32]) {
                let n = context.iter().sum::<u32>() as usize % log_probs.len();
                log_probs.rotate_left(n);
            }
        }
        agrees_with_scoring(&*gpt2().served(&Turned));
    }

    #[test]
    fn fault_65_what_cannot_be_appended_is_refused() {
        let model = gpt2();
        let mut session = model.session(1, 16).unwrap();
        for tokens in [&[23][..], &[1; 17], &[]] {
            let outcome = session.extend(&[Run { slot: 0, tokens }], &mut |_, _| {});
            assert!(matches!(outcome, Err(Error::InvalidArgument(_))));
        }
    }
}
