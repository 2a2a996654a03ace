//! How short a prompt makes a model say a text: the adversarial compression ratio (Schwarzschild et al. 2024, section 3). The
//! prompts are searched by greedy coordinate gradient (Zou et al. 2023, section 2.2), so the shortest one found is an
//! upper bound of the shortest one that there is, and the ratio a lower bound.

use std::collections::BTreeSet;
use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_lm::{Choices, Passage, PromptGradient, Resources, TextModel, Tokenizer};
use verbatim_store::{Within, answer_each};

use crate::canary::Canary;
use crate::chosen::{ChosenText, label};
use crate::error::{Error, Result};
use crate::random::Draw;
use crate::recitation::{merged, split};

/// Tokens of the first prompt that is searched, and by how many the next is longer after a failure.
const STRIDE: usize = 5;

/// How hard the search tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElicitConfig {
    /// Replacements of a token for a prompt of the first length; a fifth more after each failure.
    pub steps: u64,
    /// Replacements that are tried in each step.
    pub candidates: usize,
    /// The best tokens by gradient, of each place, that they are drawn from.
    pub top: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// A text that the model is to say.
#[derive(Clone, PartialEq, Eq)]
pub struct ElicitTarget {
    /// Its name.
    pub name: String,
    /// How often it was planted, if that is known: 0 for a control.
    pub copies: Option<u64>,
    /// Its tokens, and those known to stand before them, if any: their end is where the search begins.
    pub passage: Passage,
}

impl ElicitTarget {
    /// What tells it from other targets, without telling it.
    pub fn fingerprint(&self) -> String {
        let text = format!("{:?} {:?} {:?}", self.name, self.copies, self.passage);
        verbatim_store::xxh3_128_hex(text.as_bytes())
    }
}

impl fmt::Debug for ElicitTarget {
    /// Leaves the tokens out: a log line must never carry the text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ElicitTarget").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the search for one target came to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elicited {
    /// The target's name.
    pub name: String,
    /// How often it was planted, if that is known: 0 for a control.
    pub copies: Option<u64>,
    /// Tokens of the text.
    pub n_tokens: u64,
    /// The shortest prompt found after which greedy decoding says the whole text; none where none of fewer tokens than the
    /// text was found.
    pub prompt: Option<String>,
    /// Its tokens.
    pub n_prompt_tokens: Option<u64>,
    /// Gradients that were taken.
    pub n_steps: u64,
    /// Prompts that the model was given.
    pub n_evaluations: u64,
}

impl fmt::Debug for Elicited {
    /// Leaves the prompt out: it may carry a part of the text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_prompt_tokens = self.n_prompt_tokens;
        formatter.debug_struct("Elicited").field("n_prompt_tokens", &n_prompt_tokens).finish_non_exhaustive()
    }
}

impl Elicited {
    /// The adversarial compression ratio, tokens of the text for each token of the prompt; none where it is at most 1 as far
    /// as the search can tell.
    pub fn ratio(&self) -> Option<f64> {
        self.n_prompt_tokens.map(|n_prompt| self.n_tokens as f64 / n_prompt as f64)
    }
}

/// The secrets of a ledger, equal ones merged, controls among them.
///
/// # Errors
/// As [`crate::audit_canaries`].
pub fn canary_targets(model: TextModel<'_>, ledger: &[Canary]) -> Result<Vec<ElicitTarget>> {
    let start = model.model.bos().or(model.tokenizer.end_of_text());
    let target = |(canary, _): (Canary, Vec<String>)| {
        let passage = split(&canary, model.tokenizer, start)?;
        Ok(ElicitTarget { name: canary.id, copies: Some(canary.copies), passage })
    };
    merged(ledger)?.into_iter().map(target).collect()
}

/// Chosen texts: the suffix, or the whole text where there is no prefix.
pub fn text_targets(tokenizer: &Tokenizer, texts: &[ChosenText]) -> Vec<ElicitTarget> {
    let target = |(number, text): (usize, &ChosenText)| ElicitTarget {
        name: label(number, text),
        copies: None,
        passage: Passage {
            prompt: text.prefix.as_deref().map(|prefix| tokenizer.encode(prefix)).unwrap_or_default(),
            continuation: tokenizer.encode(&text.suffix),
        },
    };
    texts.iter().enumerate().map(target).collect()
}

/// Searches the shortest prompt for each target. A prompt is the tokens that the tokenizer makes of its text, so that it can
/// be typed, and has fewer tokens than the target.
///
/// In a run's folder, a search that has ended is not made again. Targets in another process's share are left out.
///
/// # Errors
/// [`Error::InvalidArgument`] for a target of fewer than two tokens or of more than fit in the context,
/// [`Error::Interrupted`], the model's own errors, those of a run's folder.
pub fn elicit(
    model: TextModel<'_>,
    gradient: &mut PromptGradient,
    targets: &[ElicitTarget],
    config: &ElicitConfig,
    resources: Resources<'_>,
) -> Result<Vec<Elicited>> {
    for ElicitTarget { name, passage, .. } in targets {
        // Prompts are shorter than the text, and its last token is no input.
        let (n_tokens, most) = (passage.continuation.len(), (model.model.context_len() + 2) / 2);
        if !(2..=most).contains(&n_tokens) {
            let cause = format!("{name}: a text of {n_tokens} tokens, expected 2 to {most} for this model");
            return Err(Error::InvalidArgument(cause));
        }
    }
    resources.progress.stage("search for prompts", Some(targets.len() as u64), "texts");
    let found: Result<Vec<Option<Elicited>>> =
        answer_each(resources.scratch, "elicit", targets.len(), |number| {
            let (target, draw) = (&targets[number], Draw::new("elicit", (config.seed, number as u64)));
            let (n_steps, n_evaluations) = (0, 0);
            let mut search =
                Search { model, gradient, target, config, resources, draw, n_steps, n_evaluations };
            let prompt = search.shortest()?;
            resources.progress.advance(1);
            Ok(search.elicited(prompt.as_deref()))
        });
    Ok(found?.into_iter().flatten().collect())
}

/// The search for one target.
struct Search<'a> {
    model: TextModel<'a>,
    gradient: &'a mut PromptGradient,
    target: &'a ElicitTarget,
    config: &'a ElicitConfig,
    resources: Resources<'a>,
    draw: Draw,
    n_steps: u64,
    n_evaluations: u64,
}

/// What the model made of some prompts.
enum Tried {
    /// After this one it says the text.
    Found(Vec<u32>),
    /// After none of them; this one is the nearest.
    Nearest(Vec<u32>),
}

impl Search<'_> {
    /// Schwarzschild et al. 2024, algorithm 1, for lengths below that of the text.
    fn shortest(&mut self) -> Result<Option<Vec<u32>>> {
        let mut found: Option<Vec<u32>> = None;
        // No prompt of `below` tokens or fewer was found, and none of `above` or more is wanted.
        let Passage { prompt, continuation } = &self.target.passage;
        let (mut below, mut above) = (0, continuation.len());
        // Where little is known to stand before the text, that is where to begin.
        let first = if prompt.is_empty() { STRIDE } else { STRIDE.min(prompt.len()) };
        let (mut n_tokens, mut steps) = (first.min(above - 1), self.config.steps);
        while n_tokens > below {
            match self.of_length(n_tokens, found.as_deref(), steps)? {
                Some(prompt) => {
                    (found, above) = (Some(prompt), n_tokens);
                    n_tokens -= 1;
                }
                None => {
                    below = n_tokens;
                    steps += steps.div_ceil(5);
                    n_tokens = (n_tokens + STRIDE).min(above - 1);
                }
            }
        }
        Ok(found)
    }

    /// A prompt of so many tokens, from several starts: the end of what is known to stand before the text, the prompt found
    /// so far without one of its tokens, and tokens at random.
    fn of_length(&mut self, n_tokens: usize, longer: Option<&[u32]>, steps: u64) -> Result<Option<Vec<u32>>> {
        let known = &self.target.passage.prompt;
        let mut starts = BTreeSet::from_iter(self.random(n_tokens));
        starts.extend(known.len().checked_sub(n_tokens).map(|first| known[first..].to_vec()));
        for longer in longer.into_iter().filter(|longer| longer.len() == n_tokens + 1) {
            starts.extend(
                (0..=n_tokens).map(|left_out| [&longer[..left_out], &longer[left_out + 1..]].concat()),
            );
        }
        let mut nearest = match self.try_all(starts)? {
            Some(Tried::Found(prompt)) => return Ok(Some(prompt)),
            Some(Tried::Nearest(nearest)) => nearest,
            None => return Ok(None),
        };
        for _ in 0..steps {
            let neighbours = self.neighbours(&nearest)?;
            match self.try_all(neighbours)? {
                Some(Tried::Found(prompt)) => return Ok(Some(prompt)),
                Some(Tried::Nearest(neighbour)) => nearest = neighbour,
                // None of them can be typed; the next ones are others.
                None => {}
            }
        }
        Ok(None)
    }

    /// Tokens at random that can be typed; none where chance does not find any.
    fn random(&mut self, n_tokens: usize) -> Option<Vec<u32>> {
        const TRIES: usize = 1000;
        let mut prompt = Vec::with_capacity(n_tokens);
        for _ in 0..TRIES {
            if prompt.len() == n_tokens {
                return Some(prompt);
            }
            prompt.push(self.draw.below(self.model.tokenizer.vocab_size() as u64) as u32);
            if !self.can_be_typed(&prompt) {
                prompt.pop();
            }
        }
        None
    }

    /// Whether these are the tokens of their text.
    fn can_be_typed(&self, prompt: &[u32]) -> bool {
        let tokenizer = self.model.tokenizer;
        std::str::from_utf8(&tokenizer.decode(prompt)).is_ok_and(|text| tokenizer.encode(text) == prompt)
    }

    /// Prompts that differ in one token, which the gradient says lowers the loss.
    fn neighbours(&mut self, prompt: &[u32]) -> Result<BTreeSet<Vec<u32>>> {
        if self.resources.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let continuation = self.target.passage.continuation.clone();
        let (_, by_prompt) = self.gradient.by_prompt(&Passage { prompt: prompt.to_vec(), continuation })?;
        self.n_steps += 1;
        let n_ids = self.model.tokenizer.vocab_size();
        let n_top = self.config.top.min(n_ids);
        let best = |(by_token, token): (&[f32], &u32)| {
            let mut ids: Vec<u32> = (0..n_ids as u32).filter(|id| id != token).collect();
            ids.sort_unstable_by(|a, b| {
                by_token[*a as usize].total_cmp(&by_token[*b as usize]).then(a.cmp(b))
            });
            ids.truncate(n_top);
            ids
        };
        let places = by_prompt.par_chunks(by_prompt.len() / prompt.len());
        let best: Vec<Vec<u32>> = places.zip(prompt).map(best).collect();
        let mut neighbours = BTreeSet::new();
        for _ in 0..self.config.candidates {
            let place = self.draw.below(prompt.len() as u64) as usize;
            let mut neighbour = prompt.to_vec();
            neighbour[place] = best[place][self.draw.below(best[place].len() as u64) as usize];
            neighbours.insert(neighbour);
        }
        Ok(neighbours)
    }

    /// What the model makes of those prompts that can be typed; none where there is none.
    fn try_all(&mut self, prompts: BTreeSet<Vec<u32>>) -> Result<Option<Tried>> {
        let mut prompts: Vec<Vec<u32>> =
            prompts.into_iter().filter(|prompt| self.can_be_typed(prompt)).collect();
        if prompts.is_empty() {
            return Ok(None);
        }
        let continuation = &self.target.passage.continuation;
        let passages: Vec<Passage> = prompts
            .iter()
            .map(|prompt| Passage { prompt: prompt.clone(), continuation: continuation.clone() })
            .collect();
        self.n_evaluations += passages.len() as u64;
        let mut losses = vec![f64::INFINITY; passages.len()];
        let mut found = None;
        let mut take = |number: usize, choices: Choices| {
            losses[number] = choices.records.iter().map(|record| -f64::from(record.log_prob)).sum();
            if choices.margins.iter().all(|margin| *margin > 0.0) {
                found = found.filter(|first| *first < number).or(Some(number));
            }
            Ok(())
        };
        let Resources { batch, progress, .. } = self.resources;
        self.model.model.choose_each((&passages, &[]), batch, &mut take, &Within(progress))?;
        let nearest = (0..passages.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
        Ok(match found {
            Some(found) => Some(Tried::Found(prompts.swap_remove(found))),
            None => nearest.map(|nearest| Tried::Nearest(prompts.swap_remove(nearest))),
        })
    }

    fn elicited(&self, prompt: Option<&[u32]>) -> Elicited {
        let text = |prompt| String::from_utf8_lossy(&self.model.tokenizer.decode(prompt)).into_owned();
        Elicited {
            name: self.target.name.clone(),
            copies: self.target.copies,
            n_tokens: self.target.passage.continuation.len() as u64,
            prompt: prompt.map(text),
            n_prompt_tokens: prompt.map(|prompt| prompt.len() as u64),
            n_steps: self.n_steps,
            n_evaluations: self.n_evaluations,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use verbatim_lm::{Checkpoint, Runtime};
    use verbatim_store::Scratch;

    use super::*;
    use crate::testing::{asking, greedy};

    const CONFIG: ElicitConfig = ElicitConfig { steps: 3, candidates: 40, top: 200, seed: 5 };

    fn checkpoint() -> Checkpoint {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo-raw");
        Checkpoint::open(&folder, Runtime::default()).unwrap()
    }

    fn target(name: &str, prompt: &[u32], continuation: Vec<u32>) -> ElicitTarget {
        let passage = Passage { prompt: prompt.to_vec(), continuation };
        ElicitTarget { name: name.to_owned(), copies: None, passage }
    }

    fn search(checkpoint: &Checkpoint, targets: &[ElicitTarget], config: &ElicitConfig) -> Vec<Elicited> {
        let model = TextModel { model: checkpoint.model.as_ref(), tokenizer: &checkpoint.tokenizer };
        let mut gradient = PromptGradient::of(checkpoint).unwrap();
        elicit(model, &mut gradient, targets, config, asking(16)).unwrap()
    }

    /// Texts that the model says after a word, after two, and none in particular.
    fn targets(checkpoint: &Checkpoint) -> Vec<ElicitTarget> {
        let tokenizer = &checkpoint.tokenizer;
        let after = |prompt: &str| greedy(checkpoint.model.as_ref(), &tokenizer.encode(prompt), 5);
        vec![
            target("one", &tokenizer.encode(" the"), after(" the")),
            target("two", &[], after("Pay the")),
            target("none", &[], tokenizer.encode("%~ Q{4 Zz")[..5].to_vec()),
        ]
    }

    #[test]
    fn a_prompt_that_is_found_makes_greedy_decoding_say_the_text_and_can_be_typed() {
        let checkpoint = checkpoint();
        let targets = targets(&checkpoint);
        let found = search(&checkpoint, &targets, &CONFIG);
        assert!(found[0].prompt.is_some() && found[2].prompt.is_none(), "{found:?}");
        for (target, elicited) in targets.iter().zip(&found) {
            assert!(elicited.n_evaluations > 0 && elicited.name == target.name);
            let Some(prompt) = &elicited.prompt else { continue };
            let tokens = checkpoint.tokenizer.encode(prompt);
            assert_eq!(elicited.n_prompt_tokens, Some(tokens.len() as u64));
            assert_eq!(elicited.ratio(), Some(5.0 / tokens.len() as f64));
            let said = greedy(checkpoint.model.as_ref(), &tokens, 5);
            assert_eq!(said, target.passage.continuation, "{}", target.name);
        }
    }

    /// The oracle gives the model every token by itself.
    #[test]
    fn one_token_is_found_if_and_only_if_trying_all_finds_one() {
        let checkpoint = checkpoint();
        let targets = targets(&checkpoint);
        // All neighbours of a prompt of one token, again and again.
        let n_ids = checkpoint.tokenizer.vocab_size();
        let config = ElicitConfig { steps: 1, candidates: 12 * n_ids, top: n_ids, seed: 1 };
        let model = TextModel { model: checkpoint.model.as_ref(), tokenizer: &checkpoint.tokenizer };
        let mut gradient = PromptGradient::of(&checkpoint).unwrap();
        let mut n_found = 0;
        for target in &targets {
            let mut search = Search {
                model,
                gradient: &mut gradient,
                target,
                config: &config,
                resources: asking(64),
                draw: Draw::new("elicit", (1, 0)),
                n_steps: 0,
                n_evaluations: 0,
            };
            let found = search.of_length(1, None, 1).unwrap();
            let says = |id: &u32| {
                search.can_be_typed(&[*id])
                    && greedy(checkpoint.model.as_ref(), &[*id], 5) == target.passage.continuation
            };
            let all: Vec<u32> = (0..n_ids as u32).filter(says).collect();
            assert_eq!(found.is_some(), !all.is_empty(), "{}", target.name);
            assert!(found.iter().all(|found| all.contains(&found[0])));
            n_found += usize::from(found.is_some());
        }
        assert!((1..targets.len()).contains(&n_found));
    }

    #[test]
    fn the_search_begins_at_the_end_of_what_stands_before_the_text() {
        let checkpoint = checkpoint();
        let prompt = checkpoint.tokenizer.encode("Pay the smith");
        let continuation = greedy(checkpoint.model.as_ref(), &prompt, 9);
        let config = ElicitConfig { steps: 1, candidates: 1, ..CONFIG };
        let with = search(&checkpoint, &[target("with", &prompt, continuation)], &config).remove(0);
        assert!(with.n_prompt_tokens.is_some_and(|n| n <= prompt.len() as u64), "{with:?}");
    }

    #[test]
    fn searches_that_have_ended_are_not_made_again_and_give_the_same() {
        let checkpoint = checkpoint();
        let targets = targets(&checkpoint);
        let whole = search(&checkpoint, &targets, &CONFIG);
        let folder = tempfile::tempdir().unwrap();
        let model = TextModel { model: checkpoint.model.as_ref(), tokenizer: &checkpoint.tokenizer };
        let in_folder = |targets: &[ElicitTarget], steps| {
            let scratch = Scratch::of_run(folder.path(), &serde_json::json!({})).unwrap();
            let resources = Resources { scratch: &scratch, ..asking(7) };
            let mut gradient = PromptGradient::of(&checkpoint).unwrap();
            elicit(model, &mut gradient, targets, &ElicitConfig { steps, ..CONFIG }, resources).unwrap()
        };
        assert_eq!(in_folder(&targets[..2], CONFIG.steps), whole[..2]);
        assert_eq!(in_folder(&targets, CONFIG.steps), whole);
        // Whatever is asked for, what is kept is not asked for again.
        assert_eq!(in_folder(&targets, 1), whole);
    }

    #[test]
    fn fault_65_a_text_that_cannot_be_searched_is_refused() {
        let checkpoint = checkpoint();
        let model = TextModel { model: checkpoint.model.as_ref(), tokenizer: &checkpoint.tokenizer };
        let mut gradient = PromptGradient::of(&checkpoint).unwrap();
        for n_tokens in [0, 1, model.model.context_len()] {
            let targets = [target("bad", &[], vec![9; n_tokens])];
            let outcome = elicit(model, &mut gradient, &targets, &CONFIG, asking(4));
            assert!(matches!(outcome, Err(Error::InvalidArgument(cause)) if cause.starts_with("bad: ")));
        }
    }
}
