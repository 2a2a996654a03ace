//! What names and answers of a hub are let through: repositories, revisions, commits, files and their hashes,
//! each against a pattern. Nothing that a hub sends becomes part of a path unless it has passed here.

use std::fmt;

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Refuses what cannot be a model's name: `name` or `owner/name`, as the hub allows them.
pub(super) fn check_repo(repo: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && !part.contains("--")
            && !part.contains("..")
    };
    if repo.split('/').count() <= 2 && repo.split('/').all(part) {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "{repo:?} is no model on a hub; expected `name` or `owner/name` of letters, digits, `.`, `_` and `-`"
    )))
}

/// Refuses what cannot be a branch, a tag or a commit.
pub(super) fn check_revision(revision: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'))
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.contains("..")
    };
    if revision.len() <= 200 && revision.split('/').all(part) {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("{revision:?} is no revision; expected a branch, a tag or a commit")))
}

/// Whether this is a commit: 40 lower-case hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The hash that a file's contents must have, which is also its name in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// SHA-256 of the contents, as large files have it.
    Sha256(String),
    /// SHA-1 of git's blob, its header included, as small files have it.
    GitBlob(String),
}

impl Hash {
    /// The hash with this spelling: 64 or 40 lower-case hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.len() {
            64 if is_hex(text) => Some(Self::Sha256(text.to_owned())),
            40 if is_hex(text) => Some(Self::GitBlob(text.to_owned())),
            _ => None,
        }
    }

    /// The hasher for contents of `n_bytes`.
    pub(super) fn hasher(&self, n_bytes: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitBlob(_) => Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {n_bytes}\0"))),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Sha256(text) | Self::GitBlob(text)) = self;
        f.write_str(text)
    }
}

/// A hash under way.
pub(super) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Hash {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => Hash::Sha256(hex(&hasher.finalize())),
            Self::GitBlob(hasher) => Hash::GitBlob(hex(&hasher.finalize())),
        }
    }
}

/// One file that the hub offers, with what it must turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) n_bytes: u64,
    pub(super) hash: Hash,
}

/// One commit of a model and its files.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    siblings: Vec<Sibling>,
}

/// The fields of the hub's model information that we read; asked for with `blobs=true`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl Listing {
    /// Parses the hub's answer; the error says what is wrong.
    pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let raw: RawListing = serde_json::from_slice(bytes).map_err(|e| format!("no list of files: {e}"))?;
        if !is_commit(&raw.sha) {
            return Err(format!("{:?} is no commit", raw.sha));
        }
        Ok(Self { commit: raw.sha, siblings: raw.siblings })
    }

    /// Whether the commit has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.siblings.iter().any(|sibling| sibling.rfilename == name)
    }

    /// The names of all files, as the hub spells them: for comparison, never for a path.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.siblings.iter().map(|sibling| sibling.rfilename.as_str())
    }

    /// The size and hash of the file with this name, if the hub declares both.
    pub(super) fn file(&self, name: &str) -> Option<RemoteFile> {
        let sibling = self.siblings.iter().find(|sibling| sibling.rfilename == name)?;
        let (n_bytes, hash) = match &sibling.lfs {
            Some(lfs) => (lfs.size, Hash::parse(&lfs.sha256).filter(|hash| matches!(hash, Hash::Sha256(_)))?),
            None => (sibling.size?, Hash::parse(sibling.blob_id.as_deref()?)?),
        };
        Some(RemoteFile { name: name.to_owned(), n_bytes, hash })
    }
}
