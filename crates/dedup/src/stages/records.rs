//! Files of records of `N` numbers in ascending order, as stages hand them on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use verbatim_store::{Seal, Sealed, SealedWriter, Silent};

use crate::error::Result;

/// Writes records as one file.
pub(super) fn write<const N: usize>(
    (folder, name): (&Path, &str),
    records: impl Iterator<Item = [u64; N]>,
) -> Result<Seal> {
    let mut out = SealedWriter::replace(folder, name)?;
    for record in records {
        push(&mut out, record)?;
    }
    Ok(out.finish()?)
}

/// Writes one record.
pub(super) fn push<const N: usize>(out: &mut SealedWriter, record: [u64; N]) -> Result<()> {
    Ok(record.iter().try_for_each(|&number| out.number(number))?)
}

/// A file of records. Blocks are compared with their checksums when they are first read.
#[derive(Debug)]
pub(super) struct Records<const N: usize> {
    sealed: Sealed,
}

impl<const N: usize> Records<N> {
    pub(super) fn open(folder: &Path, seal: &Seal) -> Result<Self> {
        Ok(Records { sealed: Sealed::open(folder, seal)? })
    }

    /// The same, with all of it compared with its checksums, so that nothing can be wrong with it later.
    pub(super) fn open_whole(folder: &Path, seal: &Seal) -> Result<Self> {
        let records = Self::open(folder, seal)?;
        records.sealed.verify(&Silent)?;
        Ok(records)
    }

    pub(super) fn path(&self) -> &Path {
        self.sealed.path()
    }

    pub(super) fn len(&self) -> usize {
        self.sealed.n_numbers() / N
    }

    /// Some of the records, by their places.
    pub(super) fn range(&self, places: Range<usize>) -> Result<impl Iterator<Item = [u64; N]> + Send + Sync> {
        let bytes = self.sealed.get(8 * N * places.start..8 * N * places.end)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let (records, _) = numbers.as_chunks::<N>();
        Ok(records.iter().map(|record| record.map(u64::from_le_bytes)))
    }

    /// All records of a file that was opened whole.
    pub(super) fn iter(&self) -> impl Iterator<Item = [u64; N]> + Send + Sync {
        self.range(0..self.len()).into_iter().flatten()
    }

    /// The places of the records whose first number is in a range; the end of the range can be past all numbers.
    pub(super) fn places(&self, numbers: Range<u128>) -> Result<Range<usize>> {
        Ok(self.first_at(numbers.start)?..self.first_at(numbers.end)?)
    }

    fn first_at(&self, number: u128) -> Result<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if u128::from(self.sealed.number(N * middle)?) < number {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// The records of several iterators, each in order, in order.
pub(super) fn merged<const N: usize, I: Iterator<Item = [u64; N]>>(
    mut runs: Vec<I>,
) -> impl Iterator<Item = [u64; N]> + use<N, I> {
    let heads = runs.iter_mut().enumerate().filter_map(|(i, run)| Some(Reverse((run.next()?, i))));
    let mut heads: BinaryHeap<Reverse<([u64; N], usize)>> = heads.collect();
    std::iter::from_fn(move || {
        let Reverse((record, run)) = heads.pop()?;
        heads.extend(runs[run].next().map(|next| Reverse((next, run))));
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_their_first_number_and_merge_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<[u64; 2]> = (0..5000).map(|i| [i / 3 * 7, i]).chain([[u64::MAX, 0]]).collect();
        let seal = write((folder.path(), "a"), records.iter().copied()).unwrap();
        let file: Records<2> = Records::open_whole(folder.path(), &seal).unwrap();
        assert!(file.iter().eq(records.iter().copied()));
        for (start, end) in [(0, 1), (7, 14), (8, 14), (100, 40_000), (11_655, 1 << 64), (1 << 64, 1 << 64)] {
            let places = file.places(start..end).unwrap();
            let expected = records.iter().filter(|record| (start..end).contains(&u128::from(record[0])));
            assert!(file.range(places).unwrap().eq(expected.copied()), "{start}..{end}");
        }
        let runs = (0..4).map(|i| records.iter().copied().skip(i).step_by(4)).collect();
        assert!(merged(runs).eq(records.iter().copied()));
    }
}
