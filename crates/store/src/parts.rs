//! Files of a folder that many processes write to: each is whole or not there.

use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::{Access, Bytes, Error, Existing, Replace, Result, RunFile};

/// Writes a file of such a folder, for its owner only, in place of an older one.
///
/// # Errors
/// Those of writing a file.
pub fn write_part(
    folder: &Path,
    name: &str,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<RunFile> {
    let path = folder.join(name);
    let file = Replace::create(&path, Access::Private, Existing::Replace)?;
    let mut out = Hashed { file, hasher: Xxh3::new(), n_bytes: 0 };
    fill(&mut out).map_err(|e| Error::io(&path, "write", e))?;
    let Hashed { file, hasher, n_bytes } = out;
    file.finish()?;
    Ok(RunFile { name: name.to_owned(), n_bytes, checksum: hasher.digest128() })
}

/// Opens such a file and checks that it is what was written.
///
/// # Errors
/// [`Error::Damaged`] if it is not, or lies elsewhere; those of [`Bytes::open`].
pub fn open_part(folder: &Path, file: &RunFile) -> Result<Bytes> {
    let path = folder.join(&file.name);
    if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
        return Err(Error::damaged(&path, "its name is not that of a file of the folder"));
    }
    let bytes = Bytes::open(&path)?;
    if bytes.len() as u64 != file.n_bytes || xxh3_128(&bytes) != file.checksum {
        return Err(Error::damaged(&path, "it is not what was written"));
    }
    Ok(bytes)
}

struct Hashed {
    file: Replace,
    hasher: Xxh3,
    n_bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
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
    fn a_part_reads_back_as_it_was_written_or_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        write_part(folder.path(), "a", |out| out.write_all(b"old")).unwrap();
        let part = write_part(folder.path(), "a", |out| out.write_all(b"new words")).unwrap();
        assert_eq!(&open_part(folder.path(), &part).unwrap()[..], b"new words");
        for damaged in [
            RunFile { checksum: part.checksum ^ 1, ..part.clone() },
            RunFile { n_bytes: 8, ..part.clone() },
            RunFile { name: "../a".to_owned(), ..part.clone() },
        ] {
            assert_eq!(open_part(folder.path(), &damaged).unwrap_err().exit_code(), 65, "{damaged:?}");
        }
        let failed = write_part(folder.path(), "a", |_| Err(io::ErrorKind::Other.into()));
        assert!(failed.is_err());
        assert_eq!(&open_part(folder.path(), &part).unwrap()[..], b"new words", "the old one stays");
    }
}
