//! Finds strings: the index proposes where they may stand, and the texts decide.

use std::ops::Range;

use rayon::prelude::*;
use verbatim_corpus::DocId;
use verbatim_store::Progress;

use super::{Indexed, SubstringIndex, kept_hash, place};
use crate::error::{Error, Result, stop_if};
use crate::occurrences::Occurrences;
use crate::symbols::TOKEN_BYTES;

/// Places that are compared before the next look at the wish to stop; they take 24 bytes each.
const CANDIDATES_AT_ONCE: usize = if cfg!(test) { 7 } else { 1 << 21 };

/// Entries of one hash, and what they propose: that a string stands `offset` bytes before them.
pub(super) struct Proposed {
    pub(super) entries: Range<usize>,
    pub(super) offset: usize,
    pub(super) string: usize,
}

/// A place at which a string may stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// Of the anchor, over all texts.
    pub(super) place: u64,
    /// Bytes of the string before the anchor.
    pub(super) offset: usize,
    pub(super) string: usize,
}

impl Indexed<'_> {
    /// Finds strings of at least [`Indexed::min_len`] bytes, or tokens as [`crate::token_bytes`], with the first `most_places` of their places.
    ///
    /// # Errors
    /// [`Error::TooShort`] for a shorter string, [`Error::BadIndex`] and those of the store for a damaged index.
    pub fn find(
        &self,
        strings: &[&[u8]],
        most_places: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Occurrences>> {
        let width = self.symbols().width();
        progress.stage("looking up", Some(strings.len() as u64), "strings");
        let rarest = |(string, text): (usize, &&[u8])| {
            progress.advance(1);
            self.index.rarest_anchor(string, text)
        };
        let proposed: Result<Vec<Proposed>> = strings.par_iter().enumerate().map(rarest).collect();
        let mut found = vec![Occurrences::default(); strings.len()];
        // The last document that a string was found in: all candidates of a string come in the order of their places.
        let mut last = vec![None; strings.len()];
        self.for_each_document(
            &proposed?,
            progress,
            |doc, text, start, candidates| {
                let stands = |candidate: &Candidate| {
                    let string = strings[candidate.string];
                    let at = ((candidate.place - start) as usize).checked_sub(candidate.offset)?;
                    let rest = text.get(at * width..)?;
                    rest.starts_with(string).then_some((candidate.string, doc, at as u64))
                };
                candidates.iter().filter_map(stands).collect()
            },
            |(string, doc, byte): (usize, u64, u64)| {
                let occurrences: &mut Occurrences = &mut found[string];
                occurrences.n_documents += u64::from(last[string].replace(doc) != Some(doc));
                occurrences.n_occurrences += 1;
                if occurrences.places.len() < most_places {
                    occurrences.places.push((DocId(doc), byte));
                }
            },
        )?;
        Ok(found)
    }

    /// Goes through what the entries propose, document by document: `look` in parallel at the candidates of each text
    /// (with its number and first place), `take` what it finds in the order of documents.
    ///
    /// A document is decoded once in each round, whatever is proposed there.
    pub(super) fn for_each_document<T: Send>(
        &self,
        proposed: &[Proposed],
        progress: &dyn Progress,
        look: impl Fn(u64, &[u8], u64, &[Candidate]) -> Vec<T> + Sync,
        mut take: impl FnMut(T),
    ) -> Result<()> {
        let n_candidates = proposed.iter().map(|proposed| proposed.entries.len() as u64).sum();
        progress.stage("comparing", Some(n_candidates), "places");
        let mut rest = proposed.iter().map(|proposed| (proposed.entries.clone(), proposed)).peekable();
        while rest.peek().is_some() {
            stop_if(progress)?;
            let mut round: Vec<(Range<usize>, &Proposed)> = Vec::new();
            let mut n = 0;
            while let Some((entries, proposed)) = rest.peek_mut() {
                let taken = entries.len().min(CANDIDATES_AT_ONCE - n);
                round.push((entries.start..entries.start + taken, *proposed));
                entries.start += taken;
                n += taken;
                if entries.start < entries.end {
                    break;
                }
                rest.next();
            }
            let candidates: Result<Vec<Vec<Candidate>>> = round
                .into_par_iter()
                .map(|(entries, &Proposed { offset, string, .. })| {
                    let candidate = |entry| Candidate { place: place(entry), offset, string };
                    Ok(self.index.entries.numbers(entries)?.map(candidate).collect())
                })
                .collect();
            let mut candidates = candidates?.concat();
            candidates.par_sort_unstable();
            for found in self.look_at(&candidates, &look)? {
                found.into_iter().for_each(&mut take);
            }
            progress.advance(n as u64);
        }
        Ok(())
    }

    /// What is found at candidates in order, document by document.
    fn look_at<T: Send>(
        &self,
        mut candidates: &[Candidate],
        look: &(impl Fn(u64, &[u8], u64, &[Candidate]) -> Vec<T> + Sync),
    ) -> Result<Vec<Vec<T>>> {
        let mut by_document = Vec::new();
        while let [first, ..] = candidates {
            let doc = self.index.document_of(first.place)?;
            let places = self.index.text_of(doc)?;
            let n = candidates.partition_point(|candidate| candidate.place < places.end).max(1);
            let (of_document, others) = candidates.split_at(n);
            by_document.push((doc, places, of_document));
            candidates = others;
        }
        by_document
            .into_par_iter()
            .map(|(doc, places, candidates)| {
                let text = self.text(doc, &places)?;
                let are_within = candidates.iter().all(|candidate| places.contains(&candidate.place));
                if !are_within {
                    return Err(self.index.bad("its tables are not in order"));
                }
                Ok(look(doc, &text, places.start, candidates))
            })
            .collect()
    }
}

impl SubstringIndex {
    /// The entries of the anchor of a string that the fewest others share.
    fn rarest_anchor(&self, string: usize, text: &[u8]) -> Result<Proposed> {
        let mut rarest: Option<Proposed> = None;
        for proposed in self.anchors_of(string, text)? {
            if rarest.as_ref().is_none_or(|rarest| proposed.entries.len() < rarest.entries.len()) {
                rarest = Some(proposed);
            }
        }
        let width = if self.tokens.is_some() { TOKEN_BYTES } else { 1 };
        rarest.ok_or(Error::TooShort { len: text.len() / width, min_len: self.min_len() })
    }

    /// The entries of each anchor of a string; none if it is too short.
    pub(super) fn anchors_of(&self, string: usize, text: &[u8]) -> Result<Vec<Proposed>> {
        let mut anchors = Vec::new();
        let take = |offset, hash| anchors.push((offset, hash));
        match &self.tokens {
            None => self.sampling.for_each_anchor::<1>(text.as_chunks().0, take),
            Some(_) => self.sampling.for_each_anchor::<TOKEN_BYTES>(text.as_chunks().0, take),
        }
        let proposed =
            |(offset, hash)| Ok(Proposed { entries: self.entries_of(kept_hash(hash))?, offset, string });
        anchors.into_iter().map(proposed).collect()
    }
}
