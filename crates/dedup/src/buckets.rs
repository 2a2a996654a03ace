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
    /// The buckets of the documents, by rank, that stay so far, from keys in order; each remembers up to `most` of its documents.
    pub(crate) fn new(
        keys: impl Iterator<Item = Posting>,
        stays: impl Fn(u64) -> bool,
        most: usize,
        room: &Room<'_>,
    ) -> Result<Self> {
        let mut postings: Sorter<2> = room.sorter("buckets");
        let mut places = Places::new(most);
        for_each_shared(keys.filter(|&[_, rank]| stays(rank)), |[_, rank], nth| -> Result<()> {
            postings.extend([[rank, places.of(nth)]]);
            Ok(postings.spill_if_full(room.scratch)?)
        })?;
        Ok(Buckets { postings: postings.finish(), n_places: places.end as usize })
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

/// Calls `take` with each posting whose key another one has as well, and how many of its key stood before it. Postings
/// come in order, and go on in it.
pub(crate) fn for_each_shared<E>(
    postings: impl Iterator<Item = Posting>,
    mut take: impl FnMut(Posting, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut postings = postings.peekable();
    while let Some(first) = postings.next() {
        let mut nth = 0;
        while let Some(posting) = postings.next_if(|posting| posting[0] == first[0]) {
            if nth == 0 {
                take(first, 0)?;
            }
            nth += 1;
            take(posting, nth)?;
        }
    }
    Ok(())
}

/// Deals out the places of a table in which a bucket has one for a number, and one for each document that it remembers.
pub(crate) struct Places {
    /// Documents that a bucket remembers.
    most: u64,
    first: u64,
    end: u64,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Places { most: most as u64, first: 0, end: 0 }
    }

    /// The first place of the bucket of the next document, before which so many stood in it.
    pub(crate) fn of(&mut self, nth: u64) -> u64 {
        if nth == 0 {
            self.first = self.end;
            self.end += 1;
        }
        if nth < self.most {
            self.end += 1;
        }
        self.first
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
