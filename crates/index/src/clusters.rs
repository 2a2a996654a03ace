//! Which documents are copies of which: a union-find whose roots are the smallest members.

use verbatim_corpus::DocId;

/// Disjoint sets of documents 0 to n - 1; the root of a set is its smallest document.
#[derive(Debug, Clone)]
pub struct UnionFind {
    parents: Vec<u64>,
}

impl UnionFind {
    /// Every document alone.
    pub fn new(n_documents: u64) -> Self {
        UnionFind { parents: (0..n_documents).collect() }
    }

    /// The smallest document of the set.
    pub fn root(&mut self, doc: DocId) -> DocId {
        let mut node = doc.0;
        // Path halving (Tarjan and van Leeuwen 1984): each node met is hung on its grandparent.
        while self.parents[node as usize] != node {
            let grandparent = self.parents[self.parents[node as usize] as usize];
            self.parents[node as usize] = grandparent;
            node = grandparent;
        }
        DocId(node)
    }

    /// Joins the sets of two documents.
    pub fn union(&mut self, a: DocId, b: DocId) {
        let (a, b) = (self.root(a).0, self.root(b).0);
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// The sets of two documents and more.
    pub fn into_clusters(mut self) -> Clusters {
        let n_documents = self.parents.len() as u64;
        let mut members: Vec<(DocId, DocId)> =
            (0..n_documents).map(|doc| (self.root(DocId(doc)), DocId(doc))).collect();
        members.sort_unstable();
        let clusters = members
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|cluster| cluster.len() > 1)
            .map(|cluster| cluster.iter().map(|&(_, doc)| doc).collect())
            .collect();
        Clusters { clusters }
    }
}

/// Sets of two documents and more, each ascending, ordered by their smallest document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    clusters: Vec<Vec<DocId>>,
}

impl Clusters {
    /// The clusters; the first document of each is its root.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[DocId]> {
        self.clusters.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn roots_are_the_smallest_members() {
        let mut sets = UnionFind::new(6);
        for (a, b) in [(5, 4), (4, 2), (3, 1)] {
            sets.union(DocId(a), DocId(b));
        }
        let roots: Vec<u64> = (0..6).map(|doc| sets.root(DocId(doc)).0).collect();
        assert_eq!(roots, [0, 1, 2, 1, 2, 2]);
        let clusters: Vec<Vec<u64>> =
            sets.into_clusters().iter().map(|c| c.iter().map(|doc| doc.0).collect()).collect();
        assert_eq!(clusters, [vec![1, 3], vec![2, 4, 5]]);
    }

    proptest! {
        #[test]
        fn roots_equal_repeated_relabelling(pairs in prop::collection::vec((0u64..20, 0u64..20), 0..30)) {
            let mut sets = UnionFind::new(20);
            let mut labels: Vec<u64> = (0..20).collect();
            for (a, b) in pairs {
                sets.union(DocId(a), DocId(b));
                let (x, y) = (labels[a as usize], labels[b as usize]);
                for label in &mut labels {
                    if *label == x || *label == y {
                        *label = x.min(y);
                    }
                }
            }
            let roots: Vec<u64> = (0..20).map(|doc| sets.root(DocId(doc)).0).collect();
            prop_assert_eq!(roots, labels);
        }
    }
}
