//! Files that are read in any order and can be larger than memory: each block has a checksum, which is compared when the
//! block is first looked at.
//!
//! After the content stand the xxh3-128 hashes of its blocks, 16 bytes each, the least significant first.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::replace::create_file;
use crate::scratch::hex;
use crate::{Access, Bytes, Error, Existing, Output, Progress, Replace, Result};

/// Bytes of content in a block. Small in tests, so that they cross the borders.
const BLOCK_BYTES: usize = if cfg!(test) { 64 } else { 1 << 16 };
const SUM_BYTES: usize = 16;

/// What is known of a sealed file before it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The name of the file in its folder.
    pub name: String,
    /// Bytes of content.
    pub n_bytes: u64,
    /// The xxh3-128 of the checksums of all blocks.
    #[serde(with = "hex")]
    pub checksum: u128,
}

/// Writes a sealed file.
#[derive(Debug)]
#[must_use = "the file is not whole before `finish`"]
pub struct SealedWriter {
    out: Target,
    path: PathBuf,
    name: String,
    block: Vec<u8>,
    sums: Vec<u8>,
    n_bytes: u64,
}

impl SealedWriter {
    /// Starts a file in a folder that is not yet in use, for its owner only.
    ///
    /// # Errors
    /// Those of [`create_file`].
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let out = Target::New(create_file(&path, Access::Private)?);
        Ok(SealedWriter::new(out, path, name))
    }

    /// Starts a file that appears in its folder only when it is finished, in place of an older one; for its owner only.
    ///
    /// # Errors
    /// Those of [`Replace::create`].
    pub fn replace(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let out = Target::Replaced(Replace::create(&path, Access::Private, Existing::Replace)?);
        Ok(SealedWriter::new(out, path, name))
    }

    fn new(out: Target, path: PathBuf, name: &str) -> Self {
        let block = Vec::with_capacity(BLOCK_BYTES);
        SealedWriter { out, path, name: name.to_owned(), block, sums: Vec::new(), n_bytes: 0 }
    }

    /// Writes a number as eight bytes, the least significant first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn number(&mut self, number: u64) -> Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            self.n_bytes += now.len() as u64;
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.seal_block()?;
            }
        }
        Ok(())
    }

    /// Writes what is left, flushes to disk, and tells what a reader must know.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<Seal> {
        self.seal_block()?;
        let written = self.out.write_all(&self.sums);
        written.map_err(|e| Error::io(&self.path, "write", e))?;
        match self.out {
            Target::New(file) => file.finish()?,
            Target::Replaced(file) => file.finish()?,
        }
        Ok(Seal { name: self.name, n_bytes: self.n_bytes, checksum: xxh3_128(&self.sums) })
    }

    fn seal_block(&mut self) -> Result<()> {
        if !self.block.is_empty() {
            self.sums.extend_from_slice(&xxh3_128(&self.block).to_le_bytes());
            let written = self.out.write_all(&self.block);
            written.map_err(|e| Error::io(&self.path, "write", e))?;
            self.block.clear();
        }
        Ok(())
    }
}

/// Where a sealed file is written.
#[derive(Debug)]
enum Target {
    New(Output),
    Replaced(Replace),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::New(file) => file.write(bytes),
            Target::Replaced(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::New(file) => file.flush(),
            Target::Replaced(file) => file.flush(),
        }
    }
}

/// A sealed file that is open.
#[derive(Debug)]
pub struct Sealed {
    bytes: Bytes,
    path: PathBuf,
    /// Bytes of content.
    n_bytes: usize,
    /// Which blocks were found to be what was written.
    checked: Vec<AtomicBool>,
}

impl Sealed {
    /// Opens a file of a folder. Of the content nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not the file that the seal is of, those of [`Bytes::open`].
    pub fn open(folder: &Path, seal: &Seal) -> Result<Self> {
        let path = folder.join(&seal.name);
        if Path::new(&seal.name).file_name() != Some(seal.name.as_ref()) {
            return Err(Error::damaged(&path, "its name is not that of a file of the folder"));
        }
        let bytes = Bytes::open(&path)?;
        let lengths = usize::try_from(seal.n_bytes).ok().and_then(|n_bytes| {
            let n_blocks = n_bytes.div_ceil(BLOCK_BYTES);
            let expected = n_blocks.checked_mul(SUM_BYTES)?.checked_add(n_bytes)?;
            (bytes.len() == expected).then_some((n_bytes, n_blocks))
        });
        let Some((n_bytes, n_blocks)) = lengths else {
            return Err(Error::damaged(&path, "its length is not that of what was written"));
        };
        if xxh3_128(&bytes[n_bytes..]) != seal.checksum {
            return Err(Error::damaged(&path, "its checksums are not those of what was written"));
        }
        let checked = (0..n_blocks).map(|_| AtomicBool::new(false)).collect();
        Ok(Sealed { bytes, path, n_bytes, checked })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of content.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Numbers of eight bytes in the content.
    pub fn n_numbers(&self) -> usize {
        self.n_bytes / 8
    }

    /// Some bytes of the content.
    ///
    /// # Errors
    /// [`Error::Damaged`] where they end beyond it, or where a block that holds some is not what was written.
    pub fn get(&self, range: Range<usize>) -> Result<&[u8]> {
        if range.start > range.end || range.end > self.n_bytes {
            return Err(Error::damaged(&self.path, "something else points beyond its end"));
        }
        for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            self.check(block)?;
        }
        Ok(&self.bytes[range])
    }

    /// The number at an index.
    ///
    /// # Errors
    /// As [`Sealed::get`].
    pub fn number(&self, i: usize) -> Result<u64> {
        let start = i.saturating_mul(8);
        let bytes = self.get(start..start.saturating_add(8))?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// Numbers, by their indices.
    ///
    /// # Errors
    /// As [`Sealed::get`].
    pub fn numbers(&self, range: Range<usize>) -> Result<impl ExactSizeIterator<Item = u64>> {
        let bytes = self.get(range.start.saturating_mul(8)..range.end.saturating_mul(8))?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)))
    }

    /// Compares all blocks with their checksums.
    ///
    /// # Errors
    /// [`Error::Damaged`] for the first that is not what was written.
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        let damaged = (0..self.checked.len()).into_par_iter().find_map_first(|block| {
            progress.advance(self.block(block).len() as u64);
            self.check(block).err()
        });
        damaged.map_or(Ok(()), Err)
    }

    fn block(&self, block: usize) -> &[u8] {
        let start = block * BLOCK_BYTES;
        &self.bytes[start..self.n_bytes.min(start + BLOCK_BYTES)]
    }

    fn check(&self, block: usize) -> Result<()> {
        if self.checked[block].load(Ordering::Relaxed) {
            return Ok(());
        }
        let sum = &self.bytes[self.n_bytes + block * SUM_BYTES..][..SUM_BYTES];
        if xxh3_128(self.block(block)).to_le_bytes() != *sum {
            return Err(Error::damaged(&self.path, format!("block {block} is not what was written")));
        }
        self.checked[block].store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Silent, write_private};

    fn written(folder: &Path, numbers: &[u64]) -> Seal {
        let mut writer = SealedWriter::create(folder, "numbers").unwrap();
        numbers.iter().for_each(|&number| writer.number(number).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn numbers_come_back_in_any_order() {
        for n in [0, 1, 7, 8, 9, 100] {
            let folder = tempfile::tempdir().unwrap();
            let numbers: Vec<u64> = (0..n).map(|i| (i * i) << 40 | i).collect();
            let sealed = Sealed::open(folder.path(), &written(folder.path(), &numbers)).unwrap();
            assert_eq!((sealed.n_numbers() as u64, sealed.n_bytes() as u64), (n, 8 * n));
            for i in (0..numbers.len()).rev() {
                assert_eq!(sealed.number(i).unwrap(), numbers[i]);
                assert!(sealed.numbers(i / 2..i).unwrap().eq(numbers[i / 2..i].iter().copied()));
            }
            sealed.verify(&Silent).unwrap();
            for beyond in [n as usize, usize::MAX / 8, usize::MAX] {
                assert_eq!(sealed.number(beyond).unwrap_err().exit_code(), 65);
            }
            assert!(sealed.numbers(0..n as usize + 1).is_err());
        }
    }

    #[test]
    fn fault_46_a_changed_byte_is_told_with_its_block() {
        let folder = tempfile::tempdir().unwrap();
        let seal = written(folder.path(), &(0..30).collect::<Vec<u64>>());
        let path = folder.path().join("numbers");
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), 240 + 4 * 16);
        let rewrite = |bytes: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            write_private(&path, bytes).unwrap();
            Sealed::open(folder.path(), &seal)
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            match rewrite(&damaged) {
                Ok(sealed) => {
                    let block = at / BLOCK_BYTES;
                    let error = sealed.verify(&Silent).unwrap_err();
                    assert!(
                        error.to_string().contains(&format!("numbers: damaged: block {block} is not")),
                        "{error}"
                    );
                    assert_eq!(error.exit_code(), 65);
                    for i in 0..30 {
                        assert_eq!(sealed.number(i).is_err(), i / 8 == block);
                    }
                }
                Err(error) => assert!(at >= 240 && error.exit_code() == 65, "{error}"),
            }
        }
        for n in 0..whole.len() {
            assert_eq!(rewrite(&whole[..n]).unwrap_err().exit_code(), 65, "{n} bytes");
        }
        assert!(rewrite(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn fault_49_lengths_and_names_that_cannot_be_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let seal = written(folder.path(), &[1, 2, 3]);
        for n_bytes in [0, 23, 25, 1 << 60, u64::MAX] {
            assert!(Sealed::open(folder.path(), &Seal { n_bytes, ..seal.clone() }).is_err());
        }
        for name in ["../numbers", "/etc/passwd", "..", "", "a/b"] {
            let error = Sealed::open(folder.path(), &Seal { name: name.to_owned(), ..seal.clone() });
            assert!(error.unwrap_err().to_string().contains("its name is not"), "{name}");
        }
    }
}
