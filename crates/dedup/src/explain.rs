//! Why one document goes or stays, told again from a plan and its corpus.

mod differences;

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Shingler;

use crate::emit::Copies;
use crate::plan::{Plan, Removal};

pub use differences::{Differences, Granularity, Piece, differences};

/// What became of a document, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The document.
    pub doc: DocId,
    /// Why it goes and for which document, if it does.
    pub removal: Option<Removal>,
    /// Documents in its cluster, itself included.
    pub cluster_size: u64,
    /// The documents that go for it.
    pub goes_for_it: Vec<Removal>,
}

/// Explains a document of the plan's corpus.
pub fn explain(plan: &Plan, doc: DocId) -> Explanation {
    let cluster = Copies::new(plan).cluster(doc);
    Explanation {
        doc,
        removal: cluster.removal.copied(),
        cluster_size: cluster.size,
        goes_for_it: plan
            .removals()
            .iter()
            .filter(|removal| removal.kept == doc && removal.doc != doc)
            .copied()
            .collect(),
    }
}

/// The documents that a name means: those with this id; else the one at this place, `file:line` with the file's name in
/// the corpus or its path.
pub fn documents_named(corpus: &Corpus, name: &str) -> Vec<DocId> {
    let all = |is_meant: &(dyn Fn(DocId) -> bool + Sync)| -> Vec<DocId> {
        (0..corpus.n_documents()).into_par_iter().map(DocId).filter(|&doc| is_meant(doc)).collect()
    };
    let found = all(&|doc| corpus.label(doc) == name);
    let place = name.rsplit_once(':').and_then(|(path, line)| Some((path, line.parse::<u64>().ok()?)));
    match place {
        Some((path, line)) if found.is_empty() => all(&|doc| {
            let location = corpus.location(doc);
            location.line == line && (location.path == path || corpus.shard_name(doc) == path)
        }),
        _ => found,
    }
}

/// How the shingle sets of two documents overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// Different shingles in both.
    pub shared: u64,
    /// Different shingles in the first only.
    pub only_first: u64,
    /// Different shingles in the second only.
    pub only_second: u64,
}

/// Counts the shingles of two texts.
pub fn overlap(shingler: &Shingler, first: &str, second: &str) -> Overlap {
    let (first, second) = (shingler.shingles(first), shingler.shingles(second));
    let (shared, _) = first.jaccard(&second);
    Overlap {
        shared: shared as u64,
        only_first: (first.len() - shared) as u64,
        only_second: (second.len() - shared) as u64,
    }
}
