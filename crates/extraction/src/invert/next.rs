//! What a search asks of a model: the log-probabilities of the tokens that may come after a path.

use std::sync::Arc;

use verbatim_lm::{LanguageModel, Run, Session};

use super::automaton::Step;
use crate::error::Result;

/// A path, and the tokens that may come after it.
pub(crate) struct Question {
    pub(crate) path: Vec<u32>,
    pub(crate) steps: Arc<[Step]>,
}

/// A model after a prompt, which it has read once.
///
/// Slot 0 of its session holds the prompt but for the last token, and each other slot that and the path of a question,
/// of which the next question in the slot takes what it has in common.
pub(crate) struct Continuations<'a> {
    session: Box<dyn Session + 'a>,
    n_shared: usize,
    last: u32,
    /// What each of the other slots holds after the shared tokens.
    held: Vec<Vec<u32>>,
}

impl<'a> Continuations<'a> {
    /// Reads the prompt, which has at least one token. Up to `n` questions can be asked at once, about texts of up to
    /// `n_tokens` tokens, or as many as the model sees.
    pub(crate) fn new(
        model: &'a dyn LanguageModel,
        prompt: &[u32],
        (n, n_tokens): (usize, usize),
    ) -> Result<Continuations<'a>> {
        let mut session = model.session(n + 1, n_tokens.min(model.context_len()))?;
        let (last, shared) = prompt.split_last().expect("a prompt has a token");
        if !shared.is_empty() {
            session.extend(&[Run { slot: 0, tokens: shared }], &mut |_, _| {})?;
            for slot in 1..=n {
                session.fork(0, slot, shared.len())?;
            }
        }
        Ok(Continuations { session, n_shared: shared.len(), last: *last, held: vec![Vec::new(); n] })
    }

    /// For each question, the log-probability of each of its steps.
    pub(crate) fn next(&mut self, questions: &[Question]) -> Result<Vec<Vec<f32>>> {
        let mut n_held = Vec::with_capacity(questions.len());
        for ((question, held), slot) in questions.iter().zip(&mut self.held).zip(1..) {
            let tokens = [&[self.last], &question.path[..]].concat();
            // At least one token is read anew: what comes after it is what is asked for.
            let n = held.iter().zip(&tokens[..tokens.len() - 1]).take_while(|(a, b)| a == b).count();
            self.session.fork(slot, slot, self.n_shared + n)?;
            *held = tokens;
            n_held.push(n);
        }
        let held = self.held.iter().zip(n_held).zip(1..);
        let runs: Vec<Run<'_>> = held.map(|((held, n), slot)| Run { slot, tokens: &held[n..] }).collect();
        let mut answers = vec![Vec::new(); questions.len()];
        let mut take = |number: usize, log_probs: &[f32]| {
            let steps = &questions[number].steps;
            answers[number] = steps.iter().map(|step| log_probs[step.token as usize]).collect();
        };
        self.session.extend(&runs, &mut take)?;
        Ok(answers)
    }
}
