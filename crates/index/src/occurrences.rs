//! Where and how often a string stands in a corpus.

use verbatim_corpus::DocId;

/// Where and how often a string stands in the documents of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occurrences {
    /// Documents that hold the string.
    pub n_documents: u64,
    /// Occurrences in all documents; they may overlap.
    pub n_occurrences: u64,
    /// The first of them, as many as were asked for: the document, and the byte of its text.
    pub places: Vec<(DocId, u64)>,
}

impl Occurrences {
    /// The first document that holds the string, and where in its text; only where places were asked for.
    pub fn first(&self) -> Option<(DocId, u64)> {
        self.places.first().copied()
    }
}
