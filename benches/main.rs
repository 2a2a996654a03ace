//! Side-by-side timings: each figure is the median of five runs and stands beside what limits it, measured in turns in the
//! same process. `cargo bench`, or on JSON lines of your own with a field `text`, `cargo bench -- FILE`; of one subject
//! alone, `cargo bench -- repeats FILE` (`dedup`, `repeats`, `index`, `lm`).
//!
//! Absolute times depend on the machine; read the ratios.

mod dedup;
mod index;
mod lm;
mod repeats;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use verbatim_lab::{SynthConfig, synthesize, write_documents};
use verbatim_store::{Access, Existing, Replace};

/// Runs of which the median is told.
const N_RUNS: usize = 5;
/// Text above which a suffix array is left out, in bytes.
const MAX_SUFFIX_BYTES: usize = 256 << 20;

/// A name, and something to time that gives a number which the compiler cannot know.
type Run<'a> = (&'a str, &'a dyn Fn() -> usize);

/// What is measured, on JSON lines, with a folder for files.
type Subject = (&'static str, fn(&Path, &Path));

const SUBJECTS: [Subject; 4] =
    [("dedup", dedup::run), ("repeats", repeats::run), ("index", index::run), ("lm", lm::run)];

/// The median seconds of each, run in turns.
fn medians(runs: &[Run<'_>]) -> Vec<f64> {
    let mut seconds = vec![Vec::new(); runs.len()];
    for _ in 0..N_RUNS {
        for ((_, run), seconds) in runs.iter().zip(&mut seconds) {
            let start = Instant::now();
            black_box(run());
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[N_RUNS / 2]
    };
    seconds.into_iter().map(median).collect()
}

fn generated(folder: &Path) -> PathBuf {
    let path = folder.join("corpus.jsonl");
    let documents = synthesize(&SynthConfig { n_documents: 40_000, ..SynthConfig::standard(7) });
    let mut file = Replace::create(&path, Access::Shared, Existing::Refuse).expect("a temporary file");
    write_documents(&documents, &mut file, &path).expect("a temporary file");
    file.finish().expect("a temporary file");
    path
}

fn main() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    // Cargo passes flags of its own.
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let given = arguments.iter().find(|argument| argument.is_file());
    let path = given.cloned().unwrap_or_else(|| generated(folder.path()));
    let is_named = |name: &str| arguments.iter().any(|argument| argument.as_path() == Path::new(name));
    let is_one_named = SUBJECTS.iter().any(|(name, _)| is_named(name));
    for (_, run) in SUBJECTS.iter().filter(|(name, _)| !is_one_named || is_named(name)) {
        run(&path, folder.path());
    }
}
