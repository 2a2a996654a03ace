//! How good a plan is, measured against labels: pure functions of clusters and truth.
//!
//! Everything counts documents and pairs exactly; the few fractions that are no count of a whole are `f64`.

mod truth;

use verbatim_corpus::DocId;

use crate::emit::Copies;
use crate::evaluation::truth::Partition;
use crate::plan::Plan;

pub use truth::{Labels, Truth};

/// What a plan did with the labelled documents, which are numbered from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// The cluster of each, any number.
    pub clusters: Vec<u32>,
    /// What became of each.
    pub fates: Vec<Fate>,
}

impl Decided {
    /// What a plan did with these documents of its corpus, ascending.
    pub fn new(plan: &Plan, docs: &[u64]) -> Self {
        let copies = Copies::new(plan);
        let mut decided = Decided::default();
        for &doc in docs {
            let cluster = copies.cluster(DocId(doc));
            // A plan has fewer than 2^32 documents.
            decided.clusters.push(cluster.kept.0 as u32);
            decided.fates.push(match (cluster.removal, docs.binary_search(&cluster.kept.0)) {
                (None, _) => Fate::Kept,
                (Some(_), Ok(kept)) => Fate::GoesFor(kept as u32),
                (Some(_), Err(_)) => Fate::GoesForUnlabelled,
            });
        }
        decided
    }
}

/// What a plan did with a labelled document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It goes for this labelled document.
    GoesFor(u32),
    /// It goes for a document without a label, so nobody can say whether that is right.
    GoesForUnlabelled,
}

/// `part` of `whole`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// How many.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
}

impl Part {
    /// The quotient; `None` of nothing.
    pub fn share(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

/// Precision and recall of one kind of decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scores {
    /// Right decisions of those made.
    pub precision: Part,
    /// Decisions made of those that the truth asks for.
    pub recall: Part,
}

impl Scores {
    /// `2PR / (P + R)`, the harmonic mean of precision P and recall R; 0 where both are 0, `None` where one is of
    /// nothing.
    pub fn f1(self) -> Option<f64> {
        let (precision, recall) = (self.precision.share()?, self.recall.share()?);
        let sum = precision + recall;
        Some(if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 })
    }
}

/// How good a plan is. The documents are the labelled ones; a component is a set of documents that the truth connects,
/// a single document included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Labelled documents.
    pub n_documents: u64,
    /// Pairs of documents. Made: both in one cluster of the plan. Asked for: copies of each other in the truth.
    pub pairs: Scores,
    /// Removals. Right: the document is, in the truth, a copy of the very document that is kept for it. Asked for: all
    /// documents of each component but one. Where copies of copies need not be copies, a plan that removes only copies
    /// of kept documents cannot reach a recall of 1.
    pub removals: Scores,
    /// Removed documents that have a copy in the truth, kept or not, of all removed.
    pub removed_with_copy: Part,
    /// Documents whose cluster, without themselves, is exactly the set of their true copies (the accuracy of the CORE
    /// benchmark).
    pub exact_sets: Part,
    /// Duplicates as a class of documents, as the CORE benchmark has it (Gyawali et al. 2020). A document is predicted
    /// to be one if it shares its cluster; that is right if it has true copies and all of them are in the cluster. Of
    /// the documents with true copies, those count for the recall that are predicted rightly or not at all.
    pub duplicates: Scores,
    /// The class of all others. Right: it is alone in its cluster and has no true copy.
    pub non_duplicates: Scores,
    /// The agreement of clusters and components beyond chance: 1 for equal partitions, 0 on average for random ones
    /// (Hubert and Arabie 1985).
    pub adjusted_rand_index: f64,
    /// Components that keep no document: content that is lost, of all components.
    pub lost_components: Part,
    /// True pairs of copies that both stay, of all true pairs.
    pub leaked_pairs: Part,
    /// Documents that go for one without a label. They count in no precision of removals.
    pub n_unjudged: u64,
}

impl Evaluation {
    /// The mean of the F1 of both classes. (The mean of their precisions, which benchmarks print under this name, says
    /// nothing about what was missed.)
    pub fn macro_f1(&self) -> Option<f64> {
        Some(self.duplicates.f1()?.midpoint(self.non_duplicates.f1()?))
    }
}

/// Compares what a plan decided with the truth.
///
/// # Panics
/// When the two are not about the same number of documents.
pub fn evaluate(decided: &Decided, truth: &Truth) -> Evaluation {
    let n = decided.clusters.len();
    assert!(n == decided.fates.len() && n == truth.n_documents(), "one cluster, fate and truth a document");
    let components = truth.components();
    let clusters = Partition::new(&decided.clusters);
    let copies = truth.copies(&decided.clusters);
    let mut evaluation = Evaluation {
        n_documents: n as u64,
        adjusted_rand_index: adjusted_rand_index(&decided.clusters, &components),
        ..EMPTY
    };
    let (mut made, mut asked, mut both) = (0, 0, 0);
    for (doc, copies) in copies.iter().enumerate() {
        let n_predicted = clusters.size(doc) - 1;
        made += n_predicted;
        asked += copies.n_true;
        both += copies.n_found;
        let has_all = copies.n_found == copies.n_true;
        evaluation.exact_sets.part += u64::from(has_all && copies.n_found == n_predicted);
        classify(&mut evaluation, (n_predicted > 0, copies.n_true > 0), has_all);
        evaluation.count_removal(doc as u32, decided.fates[doc], (truth, copies.n_true));
    }
    evaluation.exact_sets.whole = n as u64;
    evaluation.pairs = Scores {
        precision: Part { part: both / 2, whole: made / 2 },
        recall: Part { part: both / 2, whole: asked / 2 },
    };
    evaluation.count_components(&Partition::new(&components), &decided.fates);
    let is_kept = |doc: u32| decided.fates[doc as usize] == Fate::Kept;
    evaluation.leaked_pairs = Part { part: truth.n_pairs_among(&is_kept), whole: asked / 2 };
    evaluation
}

const NOTHING: Part = Part { part: 0, whole: 0 };
const NO_SCORES: Scores = Scores { precision: NOTHING, recall: NOTHING };
const EMPTY: Evaluation = Evaluation {
    n_documents: 0,
    pairs: NO_SCORES,
    removals: NO_SCORES,
    removed_with_copy: NOTHING,
    exact_sets: NOTHING,
    duplicates: NO_SCORES,
    non_duplicates: NO_SCORES,
    adjusted_rand_index: 0.0,
    lost_components: NOTHING,
    leaked_pairs: NOTHING,
    n_unjudged: 0,
};

/// Counts one document in its classes.
fn classify(evaluation: &mut Evaluation, (is_predicted, is_duplicate): (bool, bool), has_all: bool) {
    let Evaluation { duplicates, non_duplicates, .. } = evaluation;
    let hit = is_predicted && is_duplicate && has_all;
    let rejection = !is_predicted && !is_duplicate;
    for (scores, right, is_mine, is_missed) in [
        (duplicates, hit, is_predicted, !is_predicted && is_duplicate),
        (non_duplicates, rejection, !is_predicted, is_predicted && !hit),
    ] {
        scores.precision.part += u64::from(right);
        scores.precision.whole += u64::from(is_mine);
        scores.recall.part += u64::from(right);
        scores.recall.whole += u64::from(right || is_missed);
    }
}

impl Evaluation {
    fn count_removal(&mut self, doc: u32, fate: Fate, (truth, n_copies): (&Truth, u64)) {
        let right = match fate {
            Fate::Kept => return,
            Fate::GoesFor(kept) => Some(truth.are_copies(doc, kept)),
            Fate::GoesForUnlabelled => None,
        };
        self.removed_with_copy.whole += 1;
        self.removed_with_copy.part += u64::from(n_copies > 0);
        match right {
            None => self.n_unjudged += 1,
            Some(right) => {
                self.removals.precision.whole += 1;
                self.removals.precision.part += u64::from(right);
                self.removals.recall.part += u64::from(right);
            }
        }
    }

    fn count_components(&mut self, components: &Partition<'_>, fates: &[Fate]) {
        for component in components.sets() {
            self.lost_components.whole += 1;
            self.removals.recall.whole += component.len() as u64 - 1;
            let keeps_one = component.iter().any(|&doc| fates[doc as usize] == Fate::Kept);
            self.lost_components.part += u64::from(!keeps_one);
        }
    }
}

/// The adjusted Rand index of two partitions, given as a label for each element: with `n(i,j)` elements in set i of the
/// one and j of the other, sums over `C(n, 2)` = n(n-1)/2,
/// `(S_ij - S_i S_j / C(n, 2)) / ((S_i + S_j) / 2 - S_i S_j / C(n, 2))`. Where that is 0/0, both partitions are one set
/// or both are single elements, and the index is 1.
///
/// # Panics
/// When the two have different lengths.
pub fn adjusted_rand_index(first: &[u32], second: &[u32]) -> f64 {
    assert_eq!(first.len(), second.len(), "two labels for each element");
    let mut cells: Vec<(u32, u32)> = first.iter().copied().zip(second.iter().copied()).collect();
    cells.sort_unstable();
    let both: f64 = cells.chunk_by(|a, b| a == b).map(|cell| pairs_of(cell.len() as u64) as f64).sum();
    let [first, second] = [first, second].map(|labels| {
        Partition::new(labels).sets().map(|set| pairs_of(set.len() as u64) as f64).sum::<f64>()
    });
    let all = pairs_of(cells.len() as u64) as f64;
    if all == 0.0 || (first == 0.0 && second == 0.0) || (first == all && second == all) {
        return 1.0;
    }
    let expected = first * second / all;
    (both - expected) / (f64::midpoint(first, second) - expected)
}

/// n(n-1)/2.
fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests;
