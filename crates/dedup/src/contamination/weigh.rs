//! What the n-grams that a document shares with an item are worth.

use std::ops::Range;

use verbatim_corpus::DocId;

use super::grams::{Grams, Hits};
use super::items::places;
use super::run::{Common, longest_common};
use super::{ContaminationConfig, ContaminationMatch, RARE_DOCUMENTS, Run};

/// The n-grams of the items with what each is worth.
pub(super) struct Weights<'a> {
    grams: &'a Grams<'a>,
    config: &'a ContaminationConfig,
    /// In how many documents each n-gram stands.
    counts: Vec<u32>,
    n_documents: u64,
    /// Above so many documents an n-gram is common.
    most_rare: u64,
}

impl<'a> Weights<'a> {
    pub(super) fn new(
        grams: &'a Grams<'a>,
        counts: Vec<u32>,
        n_documents: u64,
        config: &'a ContaminationConfig,
    ) -> Self {
        let most_rare = RARE_DOCUMENTS.max((config.common * n_documents as f64) as u64);
        Weights { grams, config, counts, n_documents, most_rare }
    }

    /// The parts that stand in a document, ascending; `text_of` reads a part's text.
    pub(super) fn matches(
        &self,
        document: DocId,
        text: &str,
        text_of: impl Fn(usize) -> Option<String>,
    ) -> Vec<ContaminationMatch> {
        let Some(hits) = self.grams.find(text) else { return Vec::new() };
        let rare = hits.grams().filter(|&gram| u64::from(self.count(gram)) <= self.most_rare);
        let mut candidates: Vec<u32> = rare.flat_map(|gram| self.grams.parts(gram).iter().copied()).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut found: Vec<(ContaminationMatch, Common)> =
            candidates.into_iter().filter_map(|part| self.judge(document, part as usize, &hits)).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let normalizer = &self.config.normalizer;
        let last = found.iter().map(|(_, common)| common.in_document + common.n_words).max().unwrap_or(0);
        let document_places = places(text, normalizer, last);
        for (found, Common { n_words, in_part, in_document }) in &mut found {
            let item_places =
                text_of(found.part).and_then(|text| places(&text, normalizer, *in_part + *n_words));
            found.longest = Run {
                n_words: *n_words as u64,
                document_bytes: bytes(document_places.as_deref(), *in_document, *n_words),
                item_bytes: bytes(item_places.as_deref(), *in_part, *n_words),
            };
        }
        found.into_iter().map(|(found, _)| found).collect()
    }

    fn judge(&self, document: DocId, part: usize, hits: &Hits) -> Option<(ContaminationMatch, Common)> {
        let grams = self.grams.of_part(part);
        let (mut all, mut matched) = (0.0, 0.0);
        let (mut n_matched, mut rarest) = (0, u32::MAX);
        let mut places = Vec::new();
        for &gram in grams {
            let weight = self.weight(gram);
            all += weight;
            let before = places.len();
            places.extend(hits.places(gram).map(|at| at..at + self.grams.len(gram)));
            if places.len() > before {
                matched += weight;
                n_matched += 1;
                rarest = rarest.min(self.count(gram));
            }
        }
        let score = matched / all;
        if score < self.config.overlap {
            return None;
        }
        let words = &self.grams.items.words[self.grams.items.parts[part].words.clone()];
        let common = longest_common(words, &hits.words, &merged(places))?;
        let longest = Run { n_words: common.n_words as u64, document_bytes: None, item_bytes: None };
        let n_ngrams = grams.len() as u64;
        let rarest = u64::from(rarest);
        let found = ContaminationMatch { document, part, score, n_matched, n_ngrams, rarest, longest };
        (common.n_words >= self.config.min_words).then_some((found, common))
    }

    fn count(&self, gram: u32) -> u32 {
        self.counts[gram as usize]
    }

    /// Inverse document frequency in bits; above zero even for what stands in every document.
    fn weight(&self, gram: u32) -> f64 {
        ((self.n_documents + 1) as f64 / f64::from(self.count(gram).max(1))).log2()
    }
}

/// Ranges that overlap or touch as one, ascending.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn bytes(places: Option<&[Range<u64>]>, first: usize, n_words: usize) -> Option<Range<u64>> {
    let places = places?.get(first..first + n_words)?;
    Some(places.first()?.start..places.last()?.end)
}
