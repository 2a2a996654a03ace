//! Inversion of a template: the most likely ways to fill its holes, the most likely first (Carlini et al. 2019, section 6).
//!
//! The ways are a tree of tokens, and log-probabilities only fall along a path. So the open node with the highest one is
//! opened next, and a finished text that is ahead of all open nodes is ahead of every other text: no beam, no sampling.

mod automaton;
mod next;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Passage, Resources, TextModel, Tokenizer, score_passages};
use verbatim_store::{Progress, Within, answer_each};

use self::automaton::{Automaton, Step};
use self::next::{Continuations, Question};
use crate::error::{Error, Result};
use crate::template::Template;

/// Nodes that are opened in one pass of the model: the best ones, of which only the first is sure to be needed.
const BATCH: usize = 8;

/// The largest space that is gone through text by text.
pub const MAX_EXHAUSTIVE: u64 = 100_000;

/// Texts of an exhaustive search that are in memory at once.
const CHUNK: u64 = 1024;

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvertConfig {
    /// Answers that are wanted.
    pub top: usize,
    /// Nodes that may be opened: each takes one distribution of next tokens from the model.
    pub max_evaluations: u64,
    /// Open nodes that are remembered; the least likely ones beyond are given up, which the outcome takes into account.
    pub max_open: usize,
}

/// One way to fill the holes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What stands after the prefix.
    pub filling: String,
    /// The log-probability of the tokens after the [`Inversion::n_given`] first, in nats.
    pub log_prob: f64,
}

impl std::fmt::Debug for Answer {
    /// Leaves the text out: a log line must never carry what a model recited.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Answer").field("log_prob", &self.log_prob).finish_non_exhaustive()
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// What was asked for is answered.
    Answered,
    /// There are no more texts.
    Exhausted,
    /// The budget is spent: any other text is at most as likely as the best open node.
    Budget {
        /// That node's log-probability.
        bound: f64,
    },
    /// Nodes were given up for lack of room, and one of them may be ahead of what is open.
    Memory {
        /// The highest log-probability of those.
        bound: f64,
    },
}

/// A known secret, as the search sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// 1 if it is the most likely of all; none if the search ended before it was reached.
    pub rank: Option<u64>,
    /// Its log-probability, as in [`Answer::log_prob`]; none where it was not reached.
    pub log_prob: Option<f64>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inversion {
    /// The most likely texts, in order.
    pub answers: Vec<Answer>,
    /// Texts found, of which the first are the answers.
    pub n_found: u64,
    /// The known secret, if there is one.
    pub known: Option<Known>,
    /// Tokens of the beginning that the model is given; those after them have to be found.
    pub n_given: usize,
    /// Nodes that were opened.
    pub n_evaluations: u64,
    /// Finished paths that are not the tokens of their text, which were passed over.
    pub n_noncanonical: u64,
    /// Why it ended.
    pub outcome: Outcome,
}

/// Where a template's search begins.
pub(crate) struct Start {
    /// The tokens that the model is given.
    pub(crate) prompt: Vec<u32>,
    /// How many of them are of the text: none when it is only the token that begins one.
    n_given: usize,
    /// The bytes of the prefix that the prompt leaves over.
    rest: Vec<u8>,
}

impl Start {
    /// The prompt ends a word before the first hole: what stands in the hole may change the tokens of the word before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the tokenizer changes the text, or the text begins with the hole and the model
    /// has no token that begins one.
    pub(crate) fn new(template: &Template, tokenizer: &Tokenizer, bos: Option<u32>) -> Result<Start> {
        let (prefix, filling) = (template.prefix(), template.filling(0));
        let words = prefix.trim_end();
        let head = words.rfind(char::is_whitespace).map_or("", |end| prefix[..end].trim_end());
        let all = tokenizer.encode(&format!("{prefix}{filling}"));
        let n_given = tokenizer.encode(head).iter().zip(&all).take_while(|(a, b)| a == b).count();
        let (bytes, given) = (tokenizer.decode(&all), tokenizer.decode(&all[..n_given]));
        // A tokenizer may put a blank before the text; anything else that it changes cannot be searched.
        let rest = bytes.strip_suffix(filling.as_bytes()).and_then(|before| {
            before.ends_with(prefix.as_bytes()).then(|| before.get(given.len()..)).flatten()
        });
        let rest = rest.ok_or_else(|| invalid("the tokenizer changes the template's text"))?.to_vec();
        let prompt = if n_given > 0 { all[..n_given].to_vec() } else { vec![bos.ok_or_else(no_start)?] };
        Ok(Start { prompt, n_given, rest })
    }

    /// The tokens of the text with a filling, after those that are given; none if the text does not begin with those.
    fn path(&self, template: &Template, filling: &str, tokenizer: &Tokenizer) -> Option<Vec<u32>> {
        let all = tokenizer.encode(&format!("{}{filling}", template.prefix()));
        let given = if self.n_given > 0 { &self.prompt[..] } else { &[] };
        all.strip_prefix(given).map(<[u32]>::to_vec)
    }
}

fn no_start() -> Error {
    invalid(
        "the template begins with a hole or its first word, and the model has no token that begins a text",
    )
}

fn invalid(cause: &str) -> Error {
    Error::InvalidArgument(cause.to_owned())
}

/// [`invert`] for several templates, each with its known secret if there is one. In a run's folder, a search that has ended is
/// not made again. None for a template in another process's share.
///
/// # Errors
/// Those of [`invert`] and of a run's folder.
pub fn invert_each(
    target: TextModel<'_>,
    asked: &[(&Template, Option<&str>)],
    config: &InvertConfig,
    resources: Resources<'_>,
) -> Result<Vec<Option<Inversion>>> {
    resources.progress.stage("invert templates", Some(asked.len() as u64), "templates");
    answer_each(resources.scratch, "invert", asked.len(), |number| {
        let (template, secret) = asked[number];
        let inversion = invert(target, template, secret, config, resources.progress)?;
        resources.progress.advance(1);
        Ok(inversion)
    })
}

/// Searches for the most likely fillings of a template; with a known secret, until that is found as well.
///
/// A text counts if its path is what the tokenizer makes of it. Its likelihood includes the fixed text after the holes, with
/// which it ends.
///
/// # Errors
/// [`Error::InvalidArgument`] for a template that the tokenizer changes or a secret that does not fill it,
/// [`Error::Interrupted`], the model's own.
pub fn invert(
    target: TextModel<'_>,
    template: &Template,
    secret: Option<&str>,
    config: &InvertConfig,
    progress: &dyn Progress,
) -> Result<Inversion> {
    let start =
        Start::new(template, target.tokenizer, target.model.bos().or(target.tokenizer.end_of_text()))?;
    let known = secret.map(|secret| start.path(template, secret, target.tokenizer).ok_or_else(not_filling));
    let automaton = Automaton::new(&start.rest, template.slots(), target);
    let n_most = start.prompt.len() + automaton.max_bytes();
    let mut next = Continuations::new(target.model, &start.prompt, (BATCH, n_most))?;
    let mut search = Search::new(automaton, *config);
    search.context_len = target.model.context_len().saturating_sub(start.prompt.len());
    let known = match known.transpose()? {
        Some(path) if !search.automaton.accepts(&target.tokenizer.decode(&path)) => return Err(not_filling()),
        known => known,
    };
    let canonical = |path: &[u32]| {
        let bytes = target.tokenizer.decode(path);
        // The blank that some tokenizers put before a text is in the rest.
        let filling = String::from_utf8(bytes.get(start.rest.len()..)?.to_vec()).ok()?;
        (start.path(template, &filling, target.tokenizer)? == path).then_some(filling)
    };
    search.run(&mut next, known.as_deref(), &canonical, progress)?;
    Ok(Inversion {
        answers: search.answers,
        n_found: search.n_found,
        known: known.map(|_| search.known),
        n_given: start.n_given,
        n_evaluations: search.n_evaluations,
        n_noncanonical: search.n_noncanonical,
        outcome: search.outcome,
    })
}

fn not_filling() -> Error {
    invalid("the secret does not fill the template")
}

/// Every filling with its log-probability, the most likely first; among equals the one that sorts first.
///
/// # Errors
/// [`Error::InvalidArgument`] for more than [`MAX_EXHAUSTIVE`] fillings, and as [`invert`].
pub fn invert_exhaustively(
    target: TextModel<'_>,
    template: &Template,
    batch: usize,
    progress: &dyn Progress,
) -> Result<Vec<Answer>> {
    let start =
        Start::new(template, target.tokenizer, target.model.bos().or(target.tokenizer.end_of_text()))?;
    let n = template.n_fillings().filter(|n| *n <= MAX_EXHAUSTIVE);
    let n = n.ok_or_else(|| invalid("more than 100000 fillings are not gone through one by one"))?;
    let mut all = Vec::new();
    for from in (0..n).step_by(CHUNK as usize) {
        progress.advance(n.min(from + CHUNK) - from);
        let fillings: Vec<String> =
            (from..n.min(from + CHUNK)).map(|number| template.filling(number)).collect();
        let text = |filling: &String| {
            let continuation = start.path(template, filling, target.tokenizer).ok_or_else(not_filling)?;
            Ok(Passage { prompt: start.prompt.clone(), continuation })
        };
        let texts: Vec<Passage> = fillings.iter().map(text).collect::<Result<_>>()?;
        for (filling, records) in
            fillings.into_iter().zip(score_passages(target.model, &texts, batch, &Within(progress))?)
        {
            let records = records.ok_or_else(|| invalid("the model's log-probabilities are not finite"))?;
            let log_prob = records.iter().fold(0.0, |sum, record| sum + f64::from(record.log_prob));
            all.push(Answer { filling, log_prob });
        }
    }
    all.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob).then_with(|| a.filling.cmp(&b.filling)));
    all.dedup_by(|a, b| a.filling == b.filling);
    Ok(all)
}

/// An open node, or a finished text.
#[derive(Clone, Copy)]
struct Open {
    log_prob: f64,
    /// Nodes are numbered in the order in which they are found, which settles ties.
    number: u64,
    /// The opened node that it comes after; none at the root.
    parent: Option<u32>,
    token: u32,
    state: u32,
    is_end: bool,
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.log_prob.total_cmp(&other.log_prob).then_with(|| other.number.cmp(&self.number))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}

/// A best-first search under way.
struct Search {
    automaton: Automaton,
    config: InvertConfig,
    /// Tokens that a path may have.
    context_len: usize,
    open: BinaryHeap<Open>,
    n_numbered: u64,
    /// Nodes that were opened: the one before, and the token.
    opened: Vec<(Option<u32>, u32)>,
    /// The best of what was given up.
    given_up: f64,
    answers: Vec<Answer>,
    n_found: u64,
    known: Known,
    n_evaluations: u64,
    n_noncanonical: u64,
    outcome: Outcome,
}

impl Search {
    fn new(automaton: Automaton, config: InvertConfig) -> Search {
        let root = Open {
            log_prob: 0.0,
            number: 0,
            parent: None,
            token: 0,
            state: automaton.start(),
            is_end: false,
        };
        Search {
            automaton,
            config,
            context_len: usize::MAX,
            open: BinaryHeap::from([root]),
            n_numbered: 1,
            opened: Vec::new(),
            given_up: f64::NEG_INFINITY,
            answers: Vec::new(),
            n_found: 0,
            known: Known { rank: None, log_prob: None },
            n_evaluations: 0,
            n_noncanonical: 0,
            outcome: Outcome::Exhausted,
        }
    }

    /// Goes on until it ends; `canonical` gives the filling of a path that is what the tokenizer makes of it.
    fn run(
        &mut self,
        next: &mut Continuations<'_>,
        known: Option<&[u32]>,
        canonical: &dyn Fn(&[u32]) -> Option<String>,
        progress: &dyn Progress,
    ) -> Result<()> {
        loop {
            self.take_ends(known, canonical);
            let is_answered = self.answers.len() >= self.config.top;
            let best = self.open.peek().map_or(f64::NEG_INFINITY, |open| open.log_prob);
            self.outcome = if is_answered && (known.is_none() || self.known.rank.is_some()) {
                Outcome::Answered
            } else if self.open.is_empty() && self.given_up == f64::NEG_INFINITY {
                Outcome::Exhausted
            } else if best < self.given_up {
                Outcome::Memory { bound: self.given_up }
            } else if self.n_evaluations >= self.config.max_evaluations {
                Outcome::Budget { bound: best }
            } else if progress.interrupted() {
                return Err(Error::Interrupted);
            } else {
                self.open_best(next)?;
                continue;
            };
            return Ok(());
        }
    }

    /// Takes the finished texts that are ahead of every open node.
    fn take_ends(&mut self, known: Option<&[u32]>, canonical: &dyn Fn(&[u32]) -> Option<String>) {
        while let Some(end) = self.open.peek().filter(|open| open.is_end && open.log_prob >= self.given_up) {
            if self.answers.len() >= self.config.top && (known.is_none() || self.known.rank.is_some()) {
                return;
            }
            let (end, path) = (*end, self.path(end));
            self.open.pop();
            let Some(filling) = canonical(&path) else {
                self.n_noncanonical += 1;
                continue;
            };
            self.n_found += 1;
            if known == Some(&path[..]) {
                self.known = Known { rank: Some(self.n_found), log_prob: Some(end.log_prob) };
            }
            if self.answers.len() < self.config.top {
                self.answers.push(Answer { filling, log_prob: end.log_prob });
            }
        }
    }

    fn path(&self, open: &Open) -> Vec<u32> {
        let mut path = Vec::new();
        let (mut parent, mut token) = (open.parent, open.token);
        if open.number == 0 {
            return path;
        }
        loop {
            path.push(token);
            match parent {
                // The root, which has no token.
                Some(0) | None => break,
                Some(number) => (parent, token) = self.opened[number as usize],
            }
        }
        path.reverse();
        path
    }

    /// Opens the best open nodes.
    fn open_best(&mut self, next: &mut Continuations<'_>) -> Result<()> {
        let left = self.config.max_evaluations - self.n_evaluations;
        let (mut nodes, mut ends) = (Vec::new(), Vec::new());
        while nodes.len() < BATCH && (nodes.len() as u64) < left {
            let Some(open) = self.open.pop() else { break };
            if open.log_prob < self.given_up {
                ends.push(open);
                break;
            }
            if open.is_end { ends.push(open) } else { nodes.push(open) }
        }
        self.open.extend(ends);
        let mut questions = Vec::with_capacity(nodes.len());
        for open in &nodes {
            questions.push(Question { path: self.path(open), steps: self.automaton.steps(open.state) });
        }
        let answers = next.next(&questions)?;
        self.n_evaluations += nodes.len() as u64;
        for ((open, question), log_probs) in nodes.iter().zip(&questions).zip(answers) {
            let number = u32::try_from(self.opened.len()).expect("the budget is below 2^32");
            self.opened.push((open.parent, open.token));
            let is_full = question.path.len() >= self.context_len;
            for (step, log_prob) in question.steps.iter().zip(log_probs) {
                let log_prob = open.log_prob + f64::from(log_prob).min(0.0);
                if is_full {
                    self.given_up = self.given_up.max(log_prob);
                } else {
                    self.found(*step, log_prob, number);
                }
            }
        }
        self.bound_memory();
        Ok(())
    }

    /// What a step leads to: a node, an end, or both.
    fn found(&mut self, step: Step, log_prob: f64, parent: u32) {
        for is_end in [true, false] {
            let is_there =
                if is_end { self.automaton.is_end(step.state) } else { self.automaton.goes_on(step.state) };
            if is_there && log_prob > f64::NEG_INFINITY {
                let (token, state) = (step.token, step.state);
                self.open.push(Open {
                    log_prob,
                    number: self.n_numbered,
                    parent: Some(parent),
                    token,
                    state,
                    is_end,
                });
                self.n_numbered += 1;
            }
        }
    }

    /// Gives up the worst half of what is open when it is too much.
    fn bound_memory(&mut self) {
        if self.open.len() <= self.config.max_open {
            return;
        }
        let mut sorted = std::mem::take(&mut self.open).into_sorted_vec();
        let n_kept = self.config.max_open.div_ceil(2);
        let n_given_up = sorted.len() - n_kept;
        self.given_up = self.given_up.max(sorted[n_given_up - 1].log_prob);
        self.open = sorted.split_off(n_given_up).into();
    }
}
