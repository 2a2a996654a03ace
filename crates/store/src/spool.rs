//! A temporary file without a name, for data that must be mapped but exists only as a stream.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Bytes, Error, Result};

/// Collects a stream on disk, in a folder for temporary files, and maps it.
///
/// The file has no name, so nothing is left behind however the process ends.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<File>,
    n_bytes: u64,
}

impl Spool {
    /// An empty spool in this folder.
    ///
    /// # Errors
    /// [`Error::Create`] when the folder cannot be written.
    pub fn create(folder: &Path) -> Result<Spool> {
        let file = tempfile::tempfile_in(folder).map_err(|e| Error::create(folder, e))?;
        Ok(Spool { file: BufWriter::with_capacity(1 << 18, file), n_bytes: 0 })
    }

    /// How many bytes were written so far.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Maps what was written.
    ///
    /// # Errors
    /// [`Error::Io`] when the last bytes cannot be written or read back.
    pub fn into_bytes(self) -> Result<Bytes> {
        let path = Path::new("temporary file");
        let file = self.file.into_inner().map_err(|e| Error::io(path, "write", e.into_error()))?;
        Bytes::map_file(file, path).map(Bytes::without_identity)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_was_written() {
        let folder = tempfile::TempDir::new().unwrap();
        for n in [0_usize, 3, 1 << 20] {
            let mut spool = Spool::create(folder.path()).unwrap();
            let content: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
            spool.write_all(&content).unwrap();
            assert_eq!(spool.n_bytes(), n as u64);
            let bytes = spool.into_bytes().unwrap();
            assert!(bytes[..] == content[..]);
            bytes.verify_unchanged().unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        let missing = Spool::create(&folder.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing: cannot create"), "{missing}");
    }
}
