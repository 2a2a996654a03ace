//! The longest part of a string that stands in a document.

use verbatim_store::Progress;

use super::Indexed;
use super::lookup::{Candidate, Proposed};
use crate::error::{Error, Result};
use crate::repeats::{common_prefix, common_suffix};
use crate::scan::Match;

/// Places that the anchors of one needle may propose: of more than these, as in texts of one byte, a scan is faster.
const MOST_CANDIDATES: usize = if cfg!(test) { 200 } else { 1 << 22 };

/// A stretch of a needle that stands in a document.
struct Stretch {
    needle: usize,
    start: usize,
    len: usize,
}

impl Indexed<'_> {
    /// The longest substring of each needle that stands inside one document, if it has at least [`Indexed::min_len`]
    /// bytes: what [`crate::longest_matches`] finds by reading the corpus.
    ///
    /// # Errors
    /// As [`Indexed::find`]; [`Error::NotOfBytes`] for an index of tokens.
    pub fn longest_matches(&self, needles: &[&[u8]], progress: &dyn Progress) -> Result<Vec<Option<Match>>> {
        if self.index.tokens.is_some() {
            return Err(Error::NotOfBytes);
        }
        let min_len = self.min_len();
        let mut proposed: Vec<Proposed> = Vec::new();
        let mut scanned: Vec<usize> = Vec::new();
        for (i, needle) in needles.iter().enumerate() {
            let of_needle = self.index.anchors_of(i, needle)?;
            match of_needle.iter().map(|proposed| proposed.entries.len()).sum::<usize>() > MOST_CANDIDATES {
                true => scanned.push(i),
                false => proposed.extend(of_needle),
            }
        }
        // The longest stretch of each needle, and the leftmost of those.
        let mut longest: Vec<(usize, usize)> = vec![(0, 0); needles.len()];
        self.for_each_document(
            &proposed,
            progress,
            |_, text, start, candidates| stretches(needles, text, start, candidates),
            |Stretch { needle, start, len }| {
                let (at, most) = longest[needle];
                if len > most || len == most && start < at {
                    longest[needle] = (start, len);
                }
            },
        )?;
        let is_long = |&(_, len): &(usize, usize)| len >= min_len;
        let found: Vec<usize> = (0..needles.len()).filter(|&i| is_long(&longest[i])).collect();
        let strings: Vec<&[u8]> =
            found.iter().map(|&i| &needles[i][longest[i].0..][..longest[i].1]).collect();
        let mut matches = vec![None; needles.len()];
        for (i, occurrences) in found.iter().copied().zip(self.find(&strings, 1, progress)?) {
            let (needle_start, len_bytes) = longest[i];
            matches[i] = Match::new(needle_start, len_bytes, &occurrences);
        }
        let strings: Vec<Vec<u8>> = scanned.iter().map(|&i| needles[i].to_vec()).collect();
        let by_scan = crate::scan::longest_matches(self.corpus, &strings, min_len, progress);
        scanned.into_iter().zip(by_scan).for_each(|(i, found)| matches[i] = found);
        Ok(matches)
    }
}

/// The stretches around anchors of needles that also stand around places of a text, as far as both are equal.
fn stretches(needles: &[&[u8]], text: &[u8], start: u64, candidates: &[Candidate]) -> Vec<Stretch> {
    let mut places: Vec<(usize, i128, usize, usize)> = candidates
        .iter()
        .map(|&Candidate { place, offset, string }| {
            let at = (place - start) as usize;
            (string, at as i128 - offset as i128, offset, at)
        })
        .collect();
    // Anchors that are as far from each other in both lie in one stretch, if they lie in any.
    places.sort_unstable();
    let mut found: Vec<Stretch> = Vec::new();
    let mut last = None;
    for (needle, diagonal, offset, at) in places {
        if last == Some((needle, diagonal))
            && found.last().is_some_and(|found| offset < found.start + found.len)
        {
            continue;
        }
        last = Some((needle, diagonal));
        let pattern = needles[needle];
        let n_before = common_suffix(&pattern[..offset], &text[..at]);
        let n_after = common_prefix(&pattern[offset..], &text[at..]);
        found.push(Stretch { needle, start: offset - n_before, len: n_before + n_after });
    }
    found
}
