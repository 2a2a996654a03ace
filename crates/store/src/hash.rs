//! Hashes of bytes and files as lower-case hexadecimal: SHA-256 for trust, xxh3-128 for identity.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

const BUFFER_BYTES: usize = 1 << 16;

/// SHA-256 of a file's content, read in one pass with constant memory.
///
/// # Errors
/// [`Error::Input`] when it cannot be opened, [`Error::Io`] when reading fails.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::input(path, e))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io(path, "read", e)),
        }
    }
}

/// SHA-256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The 128-bit xxh3 hash of some bytes: fast, not meant against forgery.
pub fn xxh3_128_hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values_of_the_published_test_vectors() {
        // FIPS 180-4 example "abc"; `xxhsum -H128` of an empty input.
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(xxh3_128_hex(b""), "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn a_file_hashes_as_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let content = vec![7; 3 * BUFFER_BYTES + 5];
        crate::write_private(&path, &content).unwrap();
        assert_eq!(sha256_file(&path).unwrap(), sha256_hex(&content));
        assert_eq!(sha256_file(&dir.path().join("missing")).unwrap_err().exit_code(), 66);
    }
}
