//! Documents that share a key, such as that of a band: the key becomes a bucket, or nothing where no other has it.

use std::iter::Peekable;

use verbatim_store::{Merge, Room, Sorted, Sorter};

use crate::error::Result;
use crate::signs::Posting;

/// The buckets of two and more documents.
///
/// A bucket is named by the first of its places in a table for the documents that it remembers: it has one place for
/// their number and one for each.
pub(crate) struct Buckets {
    /// Rank and bucket.
    postings: Sorted<2>,
    n_places: usize,
}

impl Buckets {
    /// The buckets of the documents, by rank, that stay so far; each remembers up to `most` of its documents.
    pub(crate) fn new(
        keys: Sorted<2>,
        stays: impl Fn(u64) -> bool,
        most: usize,
        room: &Room<'_>,
    ) -> Result<Self> {
        let mut postings: Sorter<2> = room.sorter("buckets");
        let mut n_places = 0;
        let mut staying = keys.iter().filter(|&[_, rank]| stays(rank)).peekable();
        while let Some([key, first]) = staying.next() {
            let mut n_documents = 1;
            while let Some([_, rank]) = staying.next_if(|posting| posting[0] == key) {
                if n_documents == 1 {
                    postings.extend([[first, n_places as u64]]);
                }
                postings.extend([[rank, n_places as u64]]);
                n_documents += 1;
                postings.spill_if_full(room.scratch)?;
            }
            if n_documents > 1 {
                n_places += 1 + n_documents.min(most);
            }
        }
        Ok(Buckets { postings: postings.finish(), n_places })
    }

    /// Number of places in the table.
    pub(crate) fn n_places(&self) -> usize {
        self.n_places
    }

    /// The documents that share a bucket with another, ascending by rank, with their buckets.
    pub(crate) fn documents(&self) -> Documents<'_> {
        Documents { postings: self.postings.iter().peekable() }
    }
}

/// An iterator over documents and their buckets.
pub(crate) struct Documents<'a> {
    postings: Peekable<Merge<'a, 2>>,
}

impl Documents<'_> {
    /// The rank of the next document.
    pub(crate) fn peek(&mut self) -> Option<u64> {
        self.postings.peek().map(|&[rank, _]| rank)
    }
}

impl Iterator for Documents<'_> {
    type Item = (u64, Vec<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let [rank, first]: Posting = self.postings.next()?;
        let mut buckets = vec![first as usize];
        while let Some([_, bucket]) = self.postings.next_if(|posting| posting[0] == rank) {
            buckets.push(bucket as usize);
        }
        Some((rank, buckets))
    }
}
