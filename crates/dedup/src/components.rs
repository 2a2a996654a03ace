//! Near copies in connected components: a document goes for one that it is joined to through others, each similar to the
//! next.
//!
//! Every edge is verified, as in stars, but a chain a-b-c of which a and c differ is one component, and one document of it
//! stays. Two documents that are known to be in one component are not compared again.

use std::ops::Range;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use verbatim_store::{Progress, Room};

use crate::buckets::Buckets;
use crate::error::{Error, Result};
use crate::sets::{Comparer, Memory};
use crate::star::{Candidates, Document, NearCopies, NearCopy, Stars};

/// Finds the components of the documents that share buckets. The one of the best rank is kept for all others.
pub(crate) fn joined_copies<C: Comparer>(
    comparer: &mut C,
    buckets: &Buckets,
    candidates: &Candidates,
    room: &Room<'_>,
    progress: &dyn Progress,
) -> Result<NearCopies> {
    progress.stage("comparing", Some(buckets.documents().count() as u64), "documents");
    let mut found = NearCopies::default();
    let roles = comparer.roles();
    let stars = Stars::new(comparer, buckets, candidates, room)?;
    let mut joining = Joining { stars, parents: FxHashMap::default() };
    let mut documents = buckets.documents();
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let block = joining.stars.next_block(&mut documents, &mut found);
        if block.is_empty() {
            break;
        }
        joining.take_block(&block, &mut found);
        progress.advance(block.len() as u64);
    }
    let mut copies: Vec<(u64, u64)> = joining
        .parents
        .keys()
        .map(|&rank| (rank, joining.root(rank)))
        .filter(|(rank, root)| rank != root && roles.may_go(*rank))
        .collect();
    copies.sort_unstable();
    let comparer = &*joining.stars.comparer;
    let near_copy = |(copy, kept)| NearCopy { copy, kept, similarity: comparer.similarity(copy, kept) };
    found.copies = copies.into_par_iter().map(near_copy).collect();
    Ok(found)
}

struct Joining<'a, C> {
    /// Remembers every document, not only the kept ones.
    stars: Stars<'a, C>,
    /// For each document that is joined to another one of a better rank, or itself.
    parents: FxHashMap<u64, u64>,
}

/// The documents that one is similar to, of those that it was compared with.
struct Edges {
    to: Vec<u64>,
    n_compared: u64,
    n_passed_over: u64,
}

impl<C: Comparer> Joining<'_, C> {
    fn take_block(&mut self, block: &[Document], found: &mut NearCopies) {
        let joining = &*self;
        let comparer = &*joining.stars.comparer;
        let compared: Vec<(C::Content, Edges)> = block
            .par_iter()
            .map_init(Memory::default, |memory, document| {
                let content = comparer.content(document.0, memory);
                let earlier = 0..block[0].0;
                let edges = joining.edges(document, &content, earlier, |rank| comparer.cached(rank));
                (content, edges)
            })
            .collect();
        let mut fresh: FxHashMap<u64, C::Content> = FxHashMap::default();
        for (document, (content, earlier)) in block.iter().zip(compared) {
            earlier.to.iter().for_each(|&other| self.join(document.0, other));
            let block = block[0].0..document.0;
            let within = self.edges(document, &content, block, |rank| fresh[&rank].clone());
            within.to.iter().for_each(|&other| self.join(document.0, other));
            for edges in [&earlier, &within] {
                found.n_compared += edges.n_compared;
                found.n_passed_over += edges.n_passed_over;
            }
            found.n_passed_over += self.stars.keep(document.0, &document.1);
            fresh.insert(document.0, content);
        }
        for (rank, _) in block {
            let content = fresh.remove(rank).into_iter();
            content.for_each(|content| self.stars.comparer.remember(*rank, content));
        }
    }

    /// Compares a document with those of some ranks that share buckets with it, but for those of a component that it is
    /// known to be in.
    fn edges(
        &self,
        (rank, buckets): &Document,
        content: &C::Content,
        others: Range<u64>,
        content_of: impl Fn(u64) -> C::Content,
    ) -> Edges {
        let n_shingles = self.stars.comparer.n_shingles(content);
        let (candidates, n_passed_over) = self.stars.candidates((*rank, n_shingles), buckets, others.start);
        let mut edges = Edges { to: Vec::new(), n_compared: 0, n_passed_over };
        let mut components = vec![self.root(*rank)];
        for other in candidates.into_iter().filter(|other| others.contains(other)) {
            let component = self.root(other);
            if components.contains(&component) {
                continue;
            }
            edges.n_compared += 1;
            let copy = (*rank, content);
            if self.stars.comparer.similar(copy, (other, &content_of(other))).is_some() {
                edges.to.push(other);
                components.push(component);
            }
        }
        edges
    }

    /// The document of the best rank in a component, as far as it is known.
    fn root(&self, mut rank: u64) -> u64 {
        while let Some(&parent) = self.parents.get(&rank).filter(|&&parent| parent != rank) {
            rank = parent;
        }
        rank
    }

    fn join(&mut self, a: u64, b: u64) {
        let root = self.root(a).min(self.root(b));
        for mut rank in [a, b] {
            // All on the way hang on the root from now on, so ways stay short.
            while let Some(parent) = self.parents.insert(rank, root).filter(|&parent| parent != rank) {
                rank = parent;
            }
        }
    }
}
