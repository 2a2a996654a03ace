//! What goes from documents that stay: the entries of a plan, their account and their list.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId, Location, Stretch};

use crate::config::Stage;
use crate::error::Result;
use crate::plan::Removal;

/// A stretch that goes from a document which stays, because the same text stands elsewhere.
///
/// Offsets count bytes of the decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The document that is shortened.
    pub doc: DocId,
    /// The first byte that goes.
    pub start: u64,
    /// The byte after the last that goes.
    pub end: u64,
    /// The document in which the text stays, or at least its first character; it may be the same one.
    pub kept: DocId,
    /// Where it begins there, or the token that holds its first byte; no cut takes that byte. Where no copy stays, the
    /// cut itself.
    pub kept_start: u64,
    /// Which stage found it.
    pub stage: Stage,
}

impl Cut {
    /// What goes, as the corpus room writes it.
    pub fn stretch(&self) -> Stretch {
        Stretch { doc: self.doc, start: self.start, end: self.end }
    }

    fn takes(&self, doc: DocId, byte: u64) -> bool {
        self.doc == doc && (self.start..self.end).contains(&byte)
    }
}

/// What the stages that compare documents decided, for one that looks inside those that stay.
pub(crate) struct Earlier<'a> {
    /// Ascending.
    removals: &'a [Removal],
    /// The documents that others went for, ascending.
    kept: Vec<DocId>,
}

impl<'a> Earlier<'a> {
    /// From removals in the order of a plan.
    pub(crate) fn new(removals: &'a [Removal]) -> Self {
        let mut kept: Vec<DocId> = removals.iter().map(|removal| removal.kept).collect();
        kept.sort_unstable();
        Earlier { removals, kept }
    }

    /// The same, where these documents are needed as well.
    pub(crate) fn with_needed(mut self, needed: impl Iterator<Item = DocId>) -> Self {
        self.kept.extend(needed);
        self.kept.sort_unstable();
        self
    }

    pub(crate) fn removals(&self) -> &[Removal] {
        self.removals
    }

    pub(crate) fn is_removed(&self, doc: DocId) -> bool {
        self.removals.binary_search_by_key(&doc, |removal| removal.doc).is_ok()
    }

    /// Whether another document went for it.
    pub(crate) fn is_needed(&self, doc: DocId) -> bool {
        self.kept.binary_search(&doc).is_ok()
    }
}

/// What a stage that looks inside documents decides.
#[derive(Debug, Default)]
pub(crate) struct Shortened {
    /// Documents of which too little would remain, ascending.
    pub(crate) removals: Vec<Removal>,
    /// What goes from the others, in the order of a plan.
    pub(crate) cuts: Vec<Cut>,
    /// Pairs of lines that were compared; stretches that repeat others.
    pub(crate) n_compared: u64,
}

/// How much goes from documents that stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutCount {
    /// Stretches of text: lines, paragraphs, passages.
    pub stretches: u64,
    /// Documents that are shortened.
    pub documents: u64,
    /// Bytes that their records lose.
    pub bytes: u64,
}

impl CutCount {
    /// Counts cuts that are in the order of a plan.
    ///
    /// # Errors
    /// Where a cut does not fall between characters of its document.
    pub(crate) fn of(corpus: &Corpus, cuts: &[Cut]) -> Result<CutCount> {
        let bytes: Vec<u64> = cuts
            .par_chunk_by(|a, b| a.doc == b.doc)
            .map(|cuts| {
                let stretches: Vec<Stretch> = cuts.iter().map(Cut::stretch).collect();
                Ok(corpus.cut_bytes(cuts[0].doc, &stretches)?)
            })
            .collect::<Result<_>>()?;
        Ok(CutCount {
            stretches: cuts.len() as u64,
            documents: bytes.len() as u64,
            bytes: bytes.iter().sum(),
        })
    }
}

/// Why cuts cannot be carried out as they stand, if so. References count as documents that text may
/// stay in; with `strike_all`, it may stay nowhere.
pub(crate) fn inconsistency(
    cuts: &[Cut],
    (n_documents, n_with_references): (u64, u64),
    strike_all: bool,
    is_removed: impl Fn(DocId) -> bool,
) -> Option<String> {
    if !cuts.is_sorted_by(|a, b| (a.doc, a.end) <= (b.doc, b.start)) {
        return Some("its cuts are not in order or overlap".to_owned());
    }
    cuts.iter().find_map(|cut| {
        let Cut { doc, start, end, kept, kept_start, .. } = *cut;
        if doc.0 >= n_documents || kept.0 >= n_with_references {
            return Some(format!("document {} of {n_documents}", doc.0.max(kept.0)));
        }
        if start >= end {
            return Some(format!("a cut in document {} from byte {start} to {end}", doc.0));
        }
        if let Some(removed) = [doc, kept].into_iter().find(|&doc| is_removed(doc)) {
            return Some(format!("document {} is in a cut and removed", removed.0));
        }
        // The last cut that begins at or before the kept place.
        let before = cuts.partition_point(|cut| (cut.doc, cut.start) <= (kept, kept_start));
        let is_cut = before > 0 && cuts[before - 1].takes(kept, kept_start);
        let is_struck = strike_all && (kept, kept_start) == (doc, start);
        (is_cut && !is_struck).then(|| format!("byte {kept_start} of document {} is kept and cut", kept.0))
    })
}

/// Counts the characters before ascending byte offsets of one text.
#[derive(Default)]
pub(crate) struct CharCounter {
    byte: usize,
    n_chars: usize,
}

impl CharCounter {
    /// The characters of the text before this byte, which is not before the last one asked for.
    pub(crate) fn at(&mut self, text: &[u8], offset: u64) -> usize {
        let offset = offset as usize;
        self.n_chars += String::from_utf8_lossy(&text[self.byte..offset]).chars().count();
        self.byte = offset;
        self.n_chars
    }
}

/// A line for each cut: where it is, in bytes and in characters, and where the same text stays.
///
/// A character is a Unicode scalar value, as in Python's strings; in a text that is not UTF-8, what cannot be read
/// counts as one each time that it is replaced by U+FFFD.
pub(crate) fn listed(corpus: &Corpus, cuts: &[Cut]) -> impl Iterator<Item = Value> {
    // Naming a document reads its record, and one document may be kept for a million cuts.
    let mut kept: Vec<DocId> = cuts.iter().map(|cut| cut.kept).collect();
    kept.par_sort_unstable();
    kept.dedup();
    let named: Vec<(String, Location)> =
        kept.par_iter().map(|&doc| (corpus.label(doc), corpus.location(doc))).collect();
    let named = Arc::new((kept, named));
    cuts.chunk_by(|a, b| a.doc == b.doc).flat_map(move |cuts| {
        let doc = cuts[0].doc;
        let (id, place, text) = (corpus.label(doc), corpus.location(doc), corpus.text(doc));
        let named = Arc::clone(&named);
        let mut chars = CharCounter::default();
        let mut char_at = move |offset| chars.at(&text, offset);
        cuts.iter().map(move |cut| {
            let (kept, kept_place) = &named.1[named.0.partition_point(|&doc| doc < cut.kept)];
            json!({
                "id": id, "path": place.path, "line": place.line, "stage": cut.stage,
                "start": cut.start, "end": cut.end,
                "char_start": char_at(cut.start), "char_end": char_at(cut.end),
                "kept": kept, "kept_path": kept_place.path, "kept_line": kept_place.line,
                "kept_start": cut.kept_start,
            })
        })
    })
}
