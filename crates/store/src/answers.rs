//! Answers that took long, kept in a run's folder as they come, so that a run that was killed need not ask again.

use std::fmt;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Note, Result, Scratch, json_fault};

/// Work that a kill may cost.
const INTERVAL: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 20 });

/// One of the answers of [`answer_each`].
#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    number: usize,
    answer: T,
}

/// The answers to `n` questions, one after the other; those that earlier processes kept are not asked again. None for those
/// that are in another process's share.
///
/// # Errors
/// The first one of `ask`, those of a run's folder.
pub fn answer_each<T: Serialize + DeserializeOwned, E: From<Error>>(
    scratch: &Scratch,
    step: &'static str,
    n: usize,
    mut ask: impl FnMut(usize) -> Result<T, E>,
) -> Result<Vec<Option<T>>, E> {
    answer_chunks(scratch, step, (n, 1), |numbers| numbers.iter().map(|number| ask(*number)).collect())
}

/// As [`answer_each`], but up to `at_once` questions are asked together, by their numbers. What is asked together changes
/// no answer.
///
/// # Errors
/// As [`answer_each`].
pub fn answer_chunks<T: Serialize + DeserializeOwned, E: From<Error>>(
    scratch: &Scratch,
    step: &'static str,
    (n, at_once): (usize, usize),
    mut ask: impl FnMut(&[usize]) -> Result<Vec<T>, E>,
) -> Result<Vec<Option<T>>, E> {
    let (earlier, mut answers) = Answers::open::<Numbered<T>>(scratch, step)?;
    let mut all: Vec<Option<T>> = (0..n).map(|_| None).collect();
    for Numbered { number, answer } in earlier {
        // An earlier process may have asked for more.
        if let Some(place) = all.get_mut(number) {
            *place = Some(answer);
        }
    }
    let is_missing = |number: &usize| all[*number].is_none() && scratch.share().has(*number as u64);
    let missing: Vec<usize> = (0..n).filter(is_missing).collect();
    let mut ask_missing = |numbers: &[usize]| -> Result<(), E> {
        for (number, answer) in numbers.iter().zip(ask(numbers)?) {
            let answered = Numbered { number: *number, answer };
            answers.keep(&answered)?;
            all[*number] = Some(answered.answer);
        }
        Ok(())
    };
    let outcome = missing.chunks(at_once.max(1)).try_for_each(&mut ask_missing);
    // What was answered before an interruption is of use.
    answers.save()?;
    outcome?;
    Ok(all)
}

/// The answers to one question: lines of JSON, in as many files as there were intervals.
pub struct Answers<'a> {
    scratch: &'a Scratch,
    step: &'static str,
    n_files: usize,
    lines: Vec<u8>,
    n_kept: u64,
    last: Instant,
}

impl fmt::Debug for Answers<'_> {
    /// Leaves the answers out: they may hold what a model recited.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answers").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<'a> Answers<'a> {
    /// Those that earlier processes kept, and room for more.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is not such an answer, those of reading the folder.
    pub fn open<T: DeserializeOwned>(scratch: &'a Scratch, step: &'static str) -> Result<(Vec<T>, Self)> {
        let mut earlier = Vec::new();
        let files = scratch.kept(step)?;
        for (path, bytes) in &files {
            let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
            for (text, line) in lines.filter(|(text, _)| !text.is_empty()) {
                let answer = serde_json::from_slice(text).map_err(|error| {
                    let (column, fault) = (error.column(), json_fault(&error));
                    Error::damaged(path, format!("line {line}, column {column}: {fault}"))
                })?;
                earlier.push(answer);
            }
        }
        let n_kept = earlier.len() as u64;
        let n_files = files.len();
        let answers = Answers { scratch, step, n_files, lines: Vec::new(), n_kept, last: Instant::now() };
        Ok((earlier, answers))
    }

    /// Keeps one more; it is on disk at the end of the interval.
    ///
    /// # Errors
    /// Those of writing into the folder.
    ///
    /// # Panics
    /// When JSON has no way to write the answer: a map whose keys are no strings.
    pub fn keep(&mut self, answer: &impl Serialize) -> Result<()> {
        if !self.scratch.is_kept() {
            return Ok(());
        }
        serde_json::to_writer(&mut self.lines, answer)
            .expect("memory takes it, and answers have only string keys");
        self.lines.push(b'\n');
        self.n_kept += 1;
        if self.last.elapsed() < INTERVAL { Ok(()) } else { self.save() }
    }

    /// Brings what was kept to disk.
    ///
    /// # Errors
    /// Those of writing into the folder.
    pub fn save(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let file = self.scratch.write((self.step, self.n_files), |out| out.write_all(&self.lines))?;
        self.scratch.note(&Note { step: self.step.to_owned(), end: self.n_kept, files: vec![file] })?;
        self.n_files += 1;
        self.lines.clear();
        self.last = Instant::now();
        Ok(())
    }
}
