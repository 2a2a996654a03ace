//! What is really a copy of what: labels of documents, or pairs.

use std::path::Path;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;
use verbatim_store::{Bytes, json_fault};

use crate::error::{Error, Result};

/// Which documents, numbered from 0, are copies of which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// The cluster of each document: all documents of a cluster are copies of each other.
    Clusters(Vec<u32>),
    /// Pairs of copies; a copy of a copy need not be one. The smaller number first, sorted, each once.
    Pairs {
        /// Documents in all.
        n_documents: u32,
        /// The pairs.
        pairs: Vec<(u32, u32)>,
    },
}

/// True copies of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Copies {
    /// Other documents that are its copies.
    pub(super) n_true: u64,
    /// Of them those in its cluster.
    pub(super) n_found: u64,
}

impl Truth {
    /// The truth of pairs in any order and direction.
    pub fn pairs(n_documents: u32, pairs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let ordered = pairs.into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b)));
        let mut pairs: Vec<(u32, u32)> = ordered.collect();
        pairs.sort_unstable();
        pairs.dedup();
        Truth::Pairs { n_documents, pairs }
    }

    pub(super) fn n_documents(&self) -> usize {
        match self {
            Truth::Clusters(labels) => labels.len(),
            Truth::Pairs { n_documents, .. } => *n_documents as usize,
        }
    }

    pub(super) fn are_copies(&self, a: u32, b: u32) -> bool {
        match self {
            Truth::Clusters(labels) => labels[a as usize] == labels[b as usize],
            Truth::Pairs { pairs, .. } => pairs.binary_search(&(a.min(b), a.max(b))).is_ok(),
        }
    }

    /// Pairs of copies both of which hold.
    pub(super) fn n_pairs_among(&self, holds: &dyn Fn(u32) -> bool) -> u64 {
        match self {
            Truth::Clusters(labels) => {
                let n_holding = |set: &[u32]| set.iter().filter(|&&doc| holds(doc)).count() as u64;
                Partition::new(labels).sets().map(|set| super::pairs_of(n_holding(set))).sum()
            }
            Truth::Pairs { pairs, .. } => pairs.iter().filter(|&&(a, b)| holds(a) && holds(b)).count() as u64,
        }
    }

    /// For each document how many true copies it has, and how many of them share its cluster.
    pub(super) fn copies(&self, clusters: &[u32]) -> Vec<Copies> {
        let mut copies = vec![Copies::default(); self.n_documents()];
        match self {
            Truth::Clusters(labels) => {
                for set in Partition::new(labels).sets() {
                    let mut found: Vec<(u32, u32)> =
                        set.iter().map(|&doc| (clusters[doc as usize], doc)).collect();
                    found.sort_unstable();
                    for shared in found.chunk_by(|a, b| a.0 == b.0) {
                        let own = Copies { n_true: set.len() as u64 - 1, n_found: shared.len() as u64 - 1 };
                        shared.iter().for_each(|&(_, doc)| copies[doc as usize] = own);
                    }
                }
            }
            Truth::Pairs { pairs, .. } => {
                for &(a, b) in pairs {
                    let is_found = clusters[a as usize] == clusters[b as usize];
                    for doc in [a, b] {
                        copies[doc as usize].n_true += 1;
                        copies[doc as usize].n_found += u64::from(is_found);
                    }
                }
            }
        }
        copies
    }

    /// A label for each document: that of its cluster, or the least document that pairs connect it with.
    pub(super) fn components(&self) -> Vec<u32> {
        match self {
            Truth::Clusters(labels) => labels.clone(),
            Truth::Pairs { n_documents, pairs } => {
                let mut parents: Vec<u32> = (0..*n_documents).collect();
                for &(a, b) in pairs {
                    let (a, b) = (root(&mut parents, a), root(&mut parents, b));
                    parents[a.max(b) as usize] = a.min(b);
                }
                (0..*n_documents).map(|doc| root(&mut parents, doc)).collect()
            }
        }
    }
}

fn root(parents: &mut [u32], mut doc: u32) -> u32 {
    while parents[doc as usize] != doc {
        // Halving the path keeps later walks short.
        parents[doc as usize] = parents[parents[doc as usize] as usize];
        doc = parents[doc as usize];
    }
    doc
}

/// Documents by label.
pub(super) struct Partition<'a> {
    labels: &'a [u32],
    /// The documents, those of one label together.
    docs: Vec<u32>,
    /// For each document the number of documents with its label.
    sizes: Vec<u64>,
}

impl<'a> Partition<'a> {
    pub(super) fn new(labels: &'a [u32]) -> Self {
        let mut docs: Vec<u32> = (0..labels.len() as u32).collect();
        docs.sort_by_key(|&doc| labels[doc as usize]);
        let mut partition = Partition { labels, docs, sizes: vec![0; labels.len()] };
        let sizes: Vec<(u32, u64)> =
            partition.sets().flat_map(|set| set.iter().map(|&doc| (doc, set.len() as u64))).collect();
        sizes.into_iter().for_each(|(doc, size)| partition.sizes[doc as usize] = size);
        partition
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &[u32]> {
        self.docs.chunk_by(|&a, &b| self.labels[a as usize] == self.labels[b as usize])
    }

    pub(super) fn size(&self, doc: usize) -> u64 {
        self.sizes[doc]
    }
}

/// A truth file, by ids.
///
/// Two forms are read, by the first character. JSON lines `{"id": …, "cluster": …}` give documents labels; documents that are not listed have
/// none and are left out of an evaluation. Lines of two ids, and maybe a similarity, with tabs between them are pairs of
/// copies; then every document has a label. A first line whose third column is no number names the columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    /// The truth about the labelled documents, in input order.
    pub truth: Truth,
    /// The document of the corpus that each labelled document is.
    pub docs: Vec<u64>,
    /// Ids in the file that no document has.
    pub n_unknown: u64,
}

/// A place in the file, and its meaning.
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl Labels {
    /// Reads a truth file about documents with these ids, in input order; `threshold` is the least similarity of a pair
    /// that counts.
    ///
    /// # Errors
    /// [`Error::BadTruth`] for a file that is in neither form, for an id that more than one document has or that is
    /// labelled twice, and if no id is known; [`Error::TruthThreshold`] if pairs have similarities and no threshold is
    /// given, or the other way round.
    pub fn read(path: &Path, ids: &[String], threshold: Option<f64>) -> Result<Self> {
        let bytes = Bytes::open(path)?;
        let file = TruthFile { path, known: known(ids), threshold };
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            file.bad(line, "not UTF-8")
        })?;
        let lines = text.lines().enumerate().map(|(i, text)| Line { number: i + 1, text });
        let lines = lines.filter(|line| !line.text.trim().is_empty());
        match text.trim_start().chars().next() {
            Some('{') => file.clusters(lines, ids.len()),
            Some(_) => file.pairs(lines, ids.len()),
            None => Err(file.bad(1, "holds nothing")),
        }
    }
}

/// The document of each id; `None` for an id that stands more than once.
fn known(ids: &[String]) -> FxHashMap<&str, Option<u32>> {
    let mut known = FxHashMap::default();
    for (doc, id) in ids.iter().enumerate() {
        known.entry(id.as_str()).and_modify(|doc| *doc = None).or_insert(Some(doc as u32));
    }
    known
}

struct TruthFile<'a> {
    path: &'a Path,
    known: FxHashMap<&'a str, Option<u32>>,
    threshold: Option<f64>,
}

impl TruthFile<'_> {
    fn bad(&self, line: usize, cause: &str) -> Error {
        Error::BadTruth { path: self.path.to_owned(), line: line as u64, cause: cause.to_owned() }
    }

    /// Fails if nothing in the file is about the corpus.
    fn check_known(&self, n_known: u64) -> Result<()> {
        match n_known {
            0 => Err(self.bad(1, "none of its ids is in the corpus; is it about another?")),
            _ => Ok(()),
        }
    }

    /// The document of an id, if there is one.
    fn doc(&self, line: &Line<'_>, id: &str) -> Result<Option<u32>> {
        match self.known.get(id) {
            None => Ok(None),
            Some(Some(doc)) => Ok(Some(*doc)),
            Some(None) => Err(self.bad(line.number, "more than one document of the corpus has this id")),
        }
    }

    fn clusters<'t>(&self, lines: impl Iterator<Item = Line<'t>>, n_documents: usize) -> Result<Labels> {
        #[derive(Deserialize)]
        struct Row {
            id: Value,
            cluster: Value,
        }
        if self.threshold.is_some() {
            return Err(Error::TruthThreshold("labels have no similarity"));
        }
        let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
        let mut labels: Vec<Option<u32>> = vec![None; n_documents];
        let mut n_unknown = 0;
        for line in lines {
            let row: Row =
                serde_json::from_str(line.text).map_err(|error| self.bad(line.number, json_fault(&error)))?;
            let (Some(id), Some(cluster)) = (name(row.id), name(row.cluster)) else {
                return Err(self.bad(line.number, "`id` and `cluster` must be strings or numbers"));
            };
            let Some(doc) = self.doc(&line, &id)? else {
                n_unknown += 1;
                continue;
            };
            let next = numbers.len() as u32;
            let label = *numbers.entry(cluster).or_insert(next);
            if labels[doc as usize].replace(label).is_some() {
                return Err(self.bad(line.number, "this id is labelled twice"));
            }
        }
        self.check_known(labels.iter().flatten().count() as u64)?;
        let labelled = || labels.iter().enumerate().filter_map(|(doc, label)| Some((doc as u64, (*label)?)));
        Ok(Labels {
            truth: Truth::Clusters(labelled().map(|(_, label)| label).collect()),
            docs: labelled().map(|(doc, _)| doc).collect(),
            n_unknown,
        })
    }

    fn pairs<'t>(&self, lines: impl Iterator<Item = Line<'t>>, n_documents: usize) -> Result<Labels> {
        let mut pairs = Vec::new();
        let (mut n_known, mut n_unknown) = (0, 0);
        for line in lines {
            let fields: Vec<&str> = line.text.split('\t').collect();
            let (a, b, similarity) = match fields[..] {
                [a, b] => (a, b, None),
                [a, b, similarity] => {
                    let number = similarity.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                    if number.is_none() && line.number == 1 {
                        // The names of the columns.
                        continue;
                    }
                    let bad = || self.bad(line.number, "the third column is no similarity");
                    (a, b, Some(number.ok_or_else(bad)?))
                }
                _ => {
                    let cause = "neither JSON with `id` and `cluster` nor two ids and maybe a similarity with tabs between";
                    return Err(self.bad(line.number, cause));
                }
            };
            let is_copy = match (similarity, self.threshold) {
                (Some(similarity), Some(threshold)) => similarity >= threshold,
                (None, None) => true,
                (Some(_), None) => return Err(Error::TruthThreshold("its pairs have similarities")),
                (None, Some(_)) => return Err(Error::TruthThreshold("its pairs have no similarity")),
            };
            let docs = [self.doc(&line, a)?, self.doc(&line, b)?];
            n_known += docs.iter().flatten().count() as u64;
            n_unknown += docs.iter().filter(|doc| doc.is_none()).count() as u64;
            if let ([Some(a), Some(b)], true) = (docs, is_copy) {
                pairs.push((a, b));
            }
        }
        self.check_known(n_known)?;
        let truth = Truth::pairs(n_documents as u32, pairs);
        Ok(Labels { truth, docs: (0..n_documents as u64).collect(), n_unknown })
    }
}

fn name(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
