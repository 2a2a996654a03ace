//! Sorts more records than memory holds: in memory where they fit, else in runs on disk that are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::{BufWriter, Write};

use rayon::slice::ParallelSliceMut;
use xxhash_rust::xxh3::Xxh3;

use crate::scratch::{RunFile, Scratch};
use crate::{Bytes, Error, Result};

/// Memory for records that are sorted, and where they go beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// Bytes of records in memory.
    pub n_bytes: usize,
    /// Where the others go.
    pub scratch: &'a Scratch,
}

impl Room<'_> {
    /// A sorter of its own; `name` begins the names of its files.
    pub fn sorter<const N: usize>(&self, name: &'static str) -> Sorter<N> {
        Sorter::new(name, self.n_bytes)
    }
}

/// Collects records of `N` numbers and gives them back in ascending order, first number first.
///
/// On disk a number is eight bytes, the least significant first.
#[derive(Debug)]
pub struct Sorter<const N: usize> {
    name: &'static str,
    room: usize,
    records: Vec<[u64; N]>,
    runs: Vec<Bytes>,
}

impl<const N: usize> Sorter<N> {
    /// An empty sorter that is full with `n_bytes` of records; `name` is the beginning of its files' names.
    pub fn new(name: &'static str, n_bytes: usize) -> Self {
        Sorter { name, room: (n_bytes / (8 * N)).max(1), records: Vec::new(), runs: Vec::new() }
    }

    /// Makes room for as many records at once, but no more than fit.
    pub fn reserve(&mut self, n_records: usize) {
        self.records.reserve_exact(n_records.min(self.room));
    }

    /// Takes records, whether or not the sorter is full.
    pub fn extend(&mut self, records: impl IntoIterator<Item = [u64; N]>) {
        self.records.extend(records);
    }

    /// True when the records ought to be spilled.
    pub fn is_full(&self) -> bool {
        self.records.len() >= self.room
    }

    /// Bytes of records in memory.
    pub fn n_bytes(&self) -> usize {
        8 * N * self.records.len()
    }

    /// True for a file that a sorter of this name has spilled.
    pub fn owns(&self, file: &RunFile) -> bool {
        file.name.rsplit_once('-').is_some_and(|(name, _)| name == self.name)
    }

    /// Writes the records that are in memory as one sorted run and forgets them; `None` if there are none.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn spill(&mut self, scratch: &Scratch) -> Result<Option<RunFile>> {
        if self.records.is_empty() {
            return Ok(None);
        }
        self.records.par_sort_unstable();
        let (file, name) = scratch.create(self.name, self.runs.len())?;
        let path = scratch.path_of(&name);
        let mut hasher = Xxh3::new();
        let mut out = BufWriter::with_capacity(1 << 18, file);
        let mut block = Vec::with_capacity(8 * N * BLOCK);
        for records in self.records.chunks(BLOCK) {
            block.clear();
            records.as_flattened().iter().for_each(|number| block.extend_from_slice(&number.to_le_bytes()));
            hasher.update(&block);
            out.write_all(&block).map_err(|e| Error::io(&path, "write", e))?;
        }
        let file = out.into_inner().map_err(|e| Error::io(&path, "write", e.into_error()))?;
        let run =
            RunFile { name, n_bytes: (8 * N * self.records.len()) as u64, checksum: hasher.digest128() };
        self.records.clear();
        self.runs.push(scratch.map(file, &path)?);
        Ok(Some(run))
    }

    /// Spills the records if the sorter is full.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn spill_if_full(&mut self, scratch: &Scratch) -> Result<()> {
        if self.is_full() {
            self.spill(scratch)?;
        }
        Ok(())
    }

    /// Takes a run that was spilled before, by a process that ended.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file is not what was written.
    pub fn take_up(&mut self, scratch: &Scratch, run: &RunFile) -> Result<()> {
        let bytes = scratch.open(run)?;
        if bytes.len() % (8 * N) != 0 {
            return Err(Error::damaged(&scratch.path_of(&run.name), "its length is not that of records"));
        }
        self.runs.push(bytes);
        Ok(())
    }

    /// Sorts what is in memory; nothing more is taken.
    pub fn finish(mut self) -> Sorted<N> {
        self.records.par_sort_unstable();
        Sorted { records: self.records, runs: self.runs }
    }
}

/// Records that are written at once.
const BLOCK: usize = 1 << 12;

/// Records in order, in memory and in runs on disk.
#[derive(Debug, Default)]
pub struct Sorted<const N: usize> {
    records: Vec<[u64; N]>,
    runs: Vec<Bytes>,
}

impl<const N: usize> Sorted<N> {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len() / (8 * N)).sum::<usize>() + self.records.len()
    }

    /// True if there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All records, ascending.
    pub fn iter(&self) -> Merge<'_, N> {
        let runs = self.runs.iter().map(|run| Run::Disk(run));
        let mut runs: Vec<Run<'_, N>> = runs.chain([Run::Memory(&self.records)]).collect();
        let heads = runs.iter_mut().enumerate().filter_map(|(i, run)| Some(Reverse((run.next()?, i))));
        let heads = heads.collect();
        Merge { runs, heads }
    }
}

/// An iterator over the records of several runs.
#[derive(Debug)]
pub struct Merge<'a, const N: usize> {
    runs: Vec<Run<'a, N>>,
    heads: BinaryHeap<Reverse<([u64; N], usize)>>,
}

impl<const N: usize> Iterator for Merge<'_, N> {
    type Item = [u64; N];

    fn next(&mut self) -> Option<[u64; N]> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((record, run)) = *head;
        match self.runs[run].next() {
            Some(next) => *head = Reverse((next, run)),
            None => drop(PeekMut::pop(head)),
        }
        Some(record)
    }
}

/// What is left of a run.
#[derive(Debug)]
enum Run<'a, const N: usize> {
    Disk(&'a [u8]),
    Memory(&'a [[u64; N]]),
}

impl<const N: usize> Iterator for Run<'_, N> {
    type Item = [u64; N];

    fn next(&mut self) -> Option<[u64; N]> {
        match self {
            Run::Memory(records) => records.split_off_first().copied(),
            Run::Disk(bytes) => {
                let mut record = [0; N];
                for number in &mut record {
                    *number = u64::from_le_bytes(*bytes.split_first_chunk().map(|(first, rest)| {
                        *bytes = rest;
                        first
                    })?);
                }
                Some(record)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: usize) -> Vec<[u64; 2]> {
        // Many equal first numbers, and some records twice.
        (0..n as u64).map(|i| [i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60, i * i % 1000]).collect()
    }

    #[test]
    fn records_come_back_in_order_however_often_they_were_spilled() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        for n in [0, 1, 2, 1000, 10_000] {
            let mut expected = records(n);
            expected.sort_unstable();
            for room in [1, 7, 1000, 1 << 20] {
                let mut sorter = Sorter::new("test", 16 * room);
                sorter.reserve(n);
                for chunk in records(n).chunks(600) {
                    sorter.extend(chunk.iter().copied());
                    if sorter.is_full() {
                        let run = sorter.spill(&scratch).unwrap().unwrap();
                        assert!(run.n_bytes > 0 && sorter.owns(&run));
                    }
                }
                assert!(sorter.n_bytes() <= 16 * room.max(600));
                let sorted = sorter.finish();
                assert_eq!((sorted.len(), sorted.is_empty()), (n, n == 0));
                for _ in 0..2 {
                    assert!(sorted.iter().eq(expected.iter().copied()), "{n} {room}");
                }
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn nothing_is_spilled_where_nothing_is() {
        let scratch = Scratch::unnamed(&std::env::temp_dir());
        assert!(Sorter::<1>::new("test", 8).spill(&scratch).unwrap().is_none());
    }
}
