//! What models have answered, kept in a run's folder as it comes, so that a run that was killed need not ask again.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_store::{Note, Progress, Scratch};

use crate::error::Result;
use crate::store::{read_line, write_line};

/// Work that a kill may cost.
const INTERVAL: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 20 });

/// What asking models may take, and who watches. Nothing of it changes an answer.
#[derive(Clone, Copy)]
pub struct Resources<'a> {
    /// The most sequences computed at once.
    pub batch: usize,
    /// Where answers are kept, if it is the folder of a run.
    pub scratch: &'a Scratch,
    /// Who is told, and may interrupt.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Resources<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resources").field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// One of the answers of [`answer_each`].
#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    number: usize,
    answer: T,
}

/// The answers to `n` questions about which the models are asked one after the other; those that earlier processes kept
/// are not asked again.
///
/// # Errors
/// The first one of `ask`, those of a run's folder.
pub(crate) fn answer_each<T: Serialize + DeserializeOwned>(
    scratch: &Scratch,
    step: &'static str,
    n: usize,
    mut ask: impl FnMut(usize) -> Result<T>,
) -> Result<Vec<T>> {
    let (earlier, mut answers) = Answers::open::<Numbered<T>>(scratch, step)?;
    let mut all: Vec<Option<T>> = (0..n).map(|_| None).collect();
    for Numbered { number, answer } in earlier {
        // An earlier process may have asked for more.
        if let Some(place) = all.get_mut(number) {
            *place = Some(answer);
        }
    }
    let mut ask_missing = |(number, place): (usize, &mut Option<T>)| -> Result<()> {
        if place.is_none() {
            let answered = Numbered { number, answer: ask(number)? };
            answers.keep(&answered)?;
            *place = Some(answered.answer);
        }
        Ok(())
    };
    let outcome = all.iter_mut().enumerate().try_for_each(&mut ask_missing);
    // What was answered before an interruption is of use.
    answers.save()?;
    outcome?;
    Ok(all.into_iter().flatten().collect())
}

/// The answers to one question: lines of JSON, in as many files as there were intervals.
pub(crate) struct Answers<'a> {
    scratch: &'a Scratch,
    step: &'static str,
    n_files: usize,
    lines: Vec<u8>,
    n_kept: u64,
    last: Instant,
}

impl<'a> Answers<'a> {
    /// Those that earlier processes kept, and room for more.
    pub(crate) fn open<T: DeserializeOwned>(
        scratch: &'a Scratch,
        step: &'static str,
    ) -> Result<(Vec<T>, Self)> {
        let mut earlier = Vec::new();
        let mut n_files = 0;
        for file in scratch.notes().iter().filter(|note| note.step == step).flat_map(|note| &note.files) {
            let bytes = scratch.open(file)?;
            n_files += 1;
            let path = scratch.folder().join(&file.name);
            let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
            for (text, line) in lines.filter(|(text, _)| !text.is_empty()) {
                earlier.push(read_line(&path, line, text)?);
            }
        }
        let n_kept = earlier.len() as u64;
        let answers = Answers { scratch, step, n_files, lines: Vec::new(), n_kept, last: Instant::now() };
        Ok((earlier, answers))
    }

    /// Keeps one more; it is on disk at the end of the interval.
    pub(crate) fn keep(&mut self, answer: &impl Serialize) -> verbatim_store::Result<()> {
        if !self.scratch.is_kept() {
            return Ok(());
        }
        write_line(&mut self.lines, answer).expect("memory takes it, and answers have only string keys");
        self.n_kept += 1;
        if self.last.elapsed() < INTERVAL { Ok(()) } else { self.save() }
    }

    /// Brings what was kept to disk.
    pub(crate) fn save(&mut self) -> verbatim_store::Result<()> {
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
