//! How many copies a document has, and what it weighs for that.

use std::fmt;

use rustc_hash::FxHashMap;
use serde_json::Number;
use verbatim_corpus::DocId;

use crate::plan::{Plan, Removal, Verdict};

/// The clusters of a plan, by document.
#[derive(Debug)]
pub struct Copies<'a> {
    plan: &'a Plan,
    /// Documents in the cluster of each kept document that others go for.
    sizes: FxHashMap<DocId, u64>,
}

/// What a document shares its cluster with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InCluster<'a> {
    /// The document that is kept; without copies the document itself.
    pub kept: DocId,
    /// Documents in the cluster; 1 without copies.
    pub size: u64,
    /// Why the document goes, if it does.
    pub removal: Option<&'a Removal>,
}

impl<'a> Copies<'a> {
    /// The clusters of a plan.
    pub fn new(plan: &'a Plan) -> Self {
        let mut sizes = FxHashMap::default();
        for removal in plan.removals().iter().filter(|removal| removal.doc != removal.kept) {
            *sizes.entry(removal.kept).or_insert(1) += 1;
        }
        Copies { plan, sizes }
    }

    /// The plan.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// The cluster of a document.
    pub fn cluster(&self, doc: DocId) -> InCluster<'a> {
        let (kept, removal) = match self.plan.verdict(doc) {
            Verdict::Removed(removal) => (removal.kept, Some(removal)),
            Verdict::Kept => (doc, None),
        };
        InCluster { kept, size: self.sizes.get(&kept).copied().unwrap_or(1), removal }
    }
}

/// How strongly copies lower a document's weight.
///
/// A document of a cluster of `size` documents weighs `1 / size^alpha`: with 0 every document weighs 1, as if there
/// were no copies; with 1 each cluster weighs as much as one document, as if all copies but one were removed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alpha(f64);

impl Alpha {
    /// The most that is accepted; with it, even a cluster of 2^32 documents has weights that are normal numbers.
    pub const MAX: f64 = 16.0;

    /// An exponent from 0 to [`Alpha::MAX`].
    pub fn new(alpha: f64) -> Option<Self> {
        (0.0..=Self::MAX).contains(&alpha).then_some(Alpha(alpha))
    }

    /// `1 / size^alpha`, rounded once, to twelve significant digits: mathematics libraries differ in the last ones.
    pub fn weight(self, size: u64) -> Number {
        let rounded = format!("{:.11e}", (size as f64).powf(-self.0)).parse();
        let weight: f64 = rounded.expect("a number that was written reads back");
        Number::from_f64(weight).expect("a power of a positive number is finite")
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_powers_of_the_sizes() {
        // Python 3.13: [float(f"{s ** -a:.11e}") for s, a in ...].
        let golden = [
            (1, 0.5, "1.0"),
            (4, 0.5, "0.5"),
            (3, 0.5, "0.57735026919"),
            (3, 1.0, "0.333333333333"),
            (7, 0.0, "1.0"),
            (1_000_000, 1.5, "1e-9"),
            (859_092, 0.7, "0.0000701733528828"),
        ];
        for (size, alpha, expected) in golden {
            let weight = Alpha::new(alpha).unwrap().weight(size);
            assert_eq!(weight.as_f64(), Some(expected.parse().unwrap()), "{size}^-{alpha}: {weight}");
        }
        assert_eq!([-0.1, f64::NAN, 17.0].map(Alpha::new), [None; 3]);
        assert!(Alpha::new(Alpha::MAX).unwrap().weight(1 << 32).as_f64().unwrap() > f64::MIN_POSITIVE);
    }
}
