//! Documents that share a band: the key of each band becomes the number of a bucket, or nothing.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::signs::Signs;

const ALONE: u32 = u32::MAX;

/// The buckets of two and more documents.
pub(crate) struct Buckets {
    /// The ranks of the documents that share a bucket with another, ascending.
    docs: Vec<u32>,
    /// `bands` bucket numbers for each of `docs`; `ALONE` where no other document has that band.
    numbers: Vec<u32>,
    bands: usize,
    n_buckets: usize,
}

impl Buckets {
    /// The buckets of documents that have signs and are not `gone`, by rank.
    pub(crate) fn new(signs: &Signs, bands: usize, gone: &[bool]) -> Result<Self> {
        let n = signs.docs.len();
        let mut numbers = vec![ALONE; n * bands];
        let mut n_buckets = 0u32;
        // One band at a time: 16 bytes for each document, not for each document and band.
        for band in 0..bands {
            let mut keyed: Vec<(u64, u32)> = (0..n)
                .into_par_iter()
                .filter(|&i| !gone[signs.docs[i] as usize])
                .map(|i| (signs.keys[i * bands + band], i as u32))
                .collect();
            keyed.par_sort_unstable();
            for bucket in keyed.chunk_by(|a, b| a.0 == b.0).filter(|bucket| bucket.len() > 1) {
                bucket.iter().for_each(|&(_, i)| numbers[i as usize * bands + band] = n_buckets);
                n_buckets = n_buckets
                    .checked_add(1)
                    .filter(|&next| next != ALONE)
                    .ok_or(Error::TooManyDocuments(n as u64))?;
            }
        }
        let mut buckets =
            Buckets { docs: Vec::new(), numbers: Vec::new(), bands, n_buckets: n_buckets as usize };
        for (&doc, numbers) in signs.docs.iter().zip(numbers.chunks(bands)) {
            if numbers.iter().any(|&number| number != ALONE) {
                buckets.docs.push(doc);
                buckets.numbers.extend_from_slice(numbers);
            }
        }
        Ok(buckets)
    }

    /// The ranks of the documents that share a bucket with another, ascending.
    pub(crate) fn docs(&self) -> &[u32] {
        &self.docs
    }

    /// Number of buckets; they are numbered from 0.
    pub(crate) fn len(&self) -> usize {
        self.n_buckets
    }

    /// The buckets that the `index`th of [`Buckets::docs`] shares with others.
    pub(crate) fn of(&self, index: usize) -> impl Iterator<Item = usize> {
        let numbers = &self.numbers[index * self.bands..(index + 1) * self.bands];
        numbers.iter().filter(|&&number| number != ALONE).map(|&number| number as usize)
    }
}
