//! How much of everything that was drawn stands in the corpus, not only of what ranks best (Nasr et al. 2023, section 4).
//!
//! Samples are looked up some at a time: all their windows of so many tokens, each once. Beside the samples, what is kept
//! grows with the windows that stand in the corpus, not with those that were looked for.

use std::ops::Range;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use verbatim_index::ending_matches;
use verbatim_lm::Tokenizer;
use verbatim_membership::{Estimate, Richness, richness, share};
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_128;

use crate::draw::DrawnSample;
use crate::error::{Error, Result};
use crate::prompts::Strategy;
use crate::verify::{Needle, Proof, locate};

/// Tokens of the samples that are looked up at once; without an index, each time is a pass over the corpus.
const TOKENS_AT_ONCE: usize = if cfg!(test) { 50 } else { 1 << 20 };

/// What of one sample stands in the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recital {
    /// How the sample was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// Tokens drawn.
    pub n_tokens: u64,
    /// Tokens that lie in a memorized window.
    pub n_memorized_tokens: u64,
    /// The token with which the last memorized window begins.
    pub last_window: Option<u64>,
    /// Memorized windows in the order of the sample; those that have tokens in common stand in one run. Windows of equal
    /// bytes have equal numbers, in all samples.
    pub runs: Vec<Vec<u32>>,
}

/// Looks for every window of `n_window_tokens` tokens of every sample: memorized is one that stands verbatim in one
/// document. Samples that failed are left out.
///
/// A sample has a memorized window if and only if [`verify`](crate::verify) calls it memorized.
///
/// # Errors
/// [`Error::InvalidArgument`] for windows of no tokens, an index that is damaged, [`Error::Interrupted`].
pub fn recitals(
    proof: Proof<'_>,
    tokenizer: &Tokenizer,
    samples: &[DrawnSample],
    n_window_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Recital>> {
    if n_window_tokens == 0 {
        return Err(Error::InvalidArgument("windows of 0 tokens, expected at least 1".to_owned()));
    }
    let mut numbers = FxHashMap::default();
    let mut all = Vec::with_capacity(samples.len());
    let mut rest: Vec<&DrawnSample> = samples.iter().filter(|sample| sample.error.is_none()).collect();
    rest.reverse();
    while !rest.is_empty() {
        let mut some = Vec::new();
        let mut n_tokens = 0;
        while let Some(sample) =
            rest.pop_if(|next| n_tokens == 0 || n_tokens + next.tokens.len() <= TOKENS_AT_ONCE)
        {
            n_tokens += sample.tokens.len();
            some.push(sample);
        }
        let windows: Vec<Windows> =
            some.par_iter().map(|sample| Windows::new(sample, tokenizer, n_window_tokens)).collect();
        let stands = look_up(proof, &windows, &numbers, progress)?;
        for (sample, windows) in some.into_iter().zip(windows) {
            let memorized = windows.all.iter().filter_map(|window| {
                if stands.get(&window.hash) == Some(&true) {
                    let next = u32::try_from(numbers.len()).expect("memory has no room for 2^32 windows");
                    numbers.entry(window.hash).or_insert(next);
                }
                numbers.get(&window.hash).map(|number| (window.first_token, *number))
            });
            all.push(recital(sample, memorized, n_window_tokens));
        }
    }
    Ok(all)
}

/// The windows of one sample.
struct Windows {
    needle: Needle,
    all: Vec<Window>,
}

struct Window {
    first_token: usize,
    bytes: Range<usize>,
    /// Of the bytes. Two windows of equal hash count as one.
    hash: u128,
}

impl Windows {
    fn new(sample: &DrawnSample, tokenizer: &Tokenizer, n_tokens: usize) -> Windows {
        let needle = Needle::new(sample, tokenizer);
        let window = |(first_token, bytes): (usize, Range<usize>)| {
            let hash = xxh3_128(&needle.bytes[bytes.clone()]);
            Window { first_token, bytes, hash }
        };
        let all = needle.places(n_tokens).map(window).collect();
        Windows { needle, all }
    }
}

/// Which windows stand in the corpus, of those that are not known to; each is looked for once.
fn look_up(
    proof: Proof<'_>,
    samples: &[Windows],
    known: &FxHashMap<u128, u32>,
    progress: &dyn Progress,
) -> Result<FxHashMap<u128, bool>> {
    let mut stands = FxHashMap::default();
    let (mut in_index, mut in_corpus) = (Vec::new(), Vec::new());
    let least = proof.index.map_or(usize::MAX, |index| index.min_len());
    for (i, sample) in samples.iter().enumerate() {
        for window in sample.all.iter().filter(|window| !known.contains_key(&window.hash)) {
            if stands.insert(window.hash, false).is_none() {
                let part = (i, window.bytes.clone());
                if window.bytes.len() >= least {
                    in_index.push((part, window.hash))
                } else {
                    in_corpus.push((part, window.hash))
                }
            }
        }
    }
    if !in_index.is_empty() {
        let (parts, hashes): (Vec<_>, Vec<_>) = in_index.into_iter().unzip();
        let needles: Vec<&Needle> = samples.iter().map(|sample| &sample.needle).collect();
        for (hash, located) in hashes.into_iter().zip(locate(proof, &needles, &parts, progress)?) {
            stands.insert(hash, located.occurrences.n_occurrences > 0);
        }
    }
    if !in_corpus.is_empty() {
        let (parts, hashes): (Vec<_>, Vec<_>) = in_corpus.into_iter().unzip();
        for (hash, is_there) in hashes.into_iter().zip(scan(proof, samples, &parts, progress)) {
            stands.insert(hash, is_there);
        }
    }
    if progress.interrupted() { Err(Error::Interrupted) } else { Ok(stands) }
}

/// Whether parts of samples stand in the corpus, by reading it. Parts are in the order of samples and of their ends; those
/// that overlap are read as one string.
fn scan(
    proof: Proof<'_>,
    samples: &[Windows],
    parts: &[(usize, Range<usize>)],
    progress: &dyn Progress,
) -> Vec<bool> {
    let overlap = |(i, a): &(usize, Range<usize>), (j, b): &(usize, Range<usize>)| i == j && b.start < a.end;
    let strings: Vec<&[(usize, Range<usize>)]> = parts.chunk_by(overlap).collect();
    let bytes: Vec<Vec<u8>> = strings
        .iter()
        .map(|parts| {
            let (sample, end) = (parts[0].0, parts[parts.len() - 1].1.end);
            samples[sample].needle.bytes[parts[0].1.start..end].to_vec()
        })
        .collect();
    let shortest = parts.iter().map(|(_, part)| part.len()).min().unwrap_or(1);
    let endings = ending_matches(proof.corpus, &bytes, shortest, progress);
    strings
        .iter()
        .zip(endings)
        .flat_map(|(parts, endings)| {
            let start = parts[0].1.start;
            parts.iter().map(move |(_, part)| endings[part.end - 1 - start] as usize >= part.len())
        })
        .collect()
}

/// A sample with its memorized windows, each the token that it begins with and its number.
fn recital(
    sample: &DrawnSample,
    memorized: impl Iterator<Item = (usize, u32)>,
    n_window_tokens: usize,
) -> Recital {
    let (mut runs, mut last): (Vec<Vec<u32>>, Option<usize>) = (Vec::new(), None);
    let mut n_memorized_tokens = 0;
    for (first, number) in memorized {
        let step = last.map_or(n_window_tokens, |last| first - last);
        n_memorized_tokens += step.min(n_window_tokens) as u64;
        match runs.last_mut().filter(|_| step < n_window_tokens) {
            Some(run) => run.push(number),
            None => runs.push(vec![number]),
        }
        last = Some(first);
    }
    Recital {
        strategy: sample.strategy,
        index: sample.index,
        n_tokens: sample.tokens.len() as u64,
        n_memorized_tokens,
        last_window: last.map(|last| last as u64),
        runs,
    }
}

/// What samples came to, taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Samples that were looked up.
    pub n_samples: u64,
    /// Those that have a memorized window.
    pub n_memorized_samples: u64,
    /// Tokens drawn.
    pub n_tokens: u64,
    /// Tokens that lie in a memorized window.
    pub n_memorized_tokens: u64,
    /// Their share, with the interval that takes the tokens of a sample as one draw; none without tokens.
    pub token_share: Option<Estimate>,
    /// Distinct memorized windows after those that overlap in a sample are taken as one.
    pub n_sequences: u64,
    /// Distinct memorized windows, and what they say of those not drawn. A window counts once for each sample that has it.
    pub windows: Richness,
}

/// Adds up samples, and asks what more of them, `times` as many, would show.
pub fn scale(recitals: &[&Recital], times: &[f64], level: f64) -> Scale {
    let tokens: Vec<(u64, u64)> =
        recitals.iter().map(|recital| (recital.n_memorized_tokens, recital.n_tokens)).collect();
    let holdings: Vec<Vec<u32>> = recitals
        .iter()
        .filter(|recital| !recital.runs.is_empty())
        .map(|recital| {
            let mut windows = recital.runs.concat();
            windows.sort_unstable();
            windows.dedup();
            windows
        })
        .collect();
    let slices: Vec<&[u32]> = holdings.iter().map(Vec::as_slice).collect();
    Scale {
        n_samples: recitals.len() as u64,
        n_memorized_samples: holdings.len() as u64,
        n_tokens: tokens.iter().map(|(_, n)| n).sum(),
        n_memorized_tokens: tokens.iter().map(|(n, _)| n).sum(),
        token_share: share(&tokens, level),
        n_sequences: n_sequences(recitals),
        windows: richness(recitals.len() as u64, &slices, times, level),
    }
}

/// Groups of windows of which each has, in some run, the next of its group beside it.
fn n_sequences(recitals: &[&Recital]) -> u64 {
    let runs = || recitals.iter().flat_map(|recital| &recital.runs);
    let n = runs().flatten().max().map_or(0, |&last| last as usize + 1);
    // Each window leads to an earlier one of its group, or to itself; those that no run has lead nowhere.
    let mut leads = vec![u32::MAX; n];
    let mut n_groups = 0;
    for run in runs() {
        for &window in run {
            if leads[window as usize] == u32::MAX {
                leads[window as usize] = window;
                n_groups += 1;
            }
        }
        for pair in run.windows(2) {
            let (a, b) = (first_of(&mut leads, pair[0]), first_of(&mut leads, pair[1]));
            n_groups -= u64::from(a != b);
            leads[a.max(b) as usize] = a.min(b);
        }
    }
    n_groups
}

fn first_of(leads: &mut [u32], mut window: u32) -> u32 {
    while leads[window as usize] != window {
        leads[window as usize] = leads[leads[window as usize] as usize];
        window = leads[window as usize];
    }
    window
}

#[cfg(test)]
mod tests;
