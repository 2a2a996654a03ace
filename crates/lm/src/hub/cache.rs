//! The hub's cache on this machine, in Hugging Face's layout, which other programs share:
//! `models--owner--name/{blobs/<hash>, snapshots/<commit>/<file> -> ../../blobs/<hash>, refs/<revision>}`.
//!
//! Nothing in it is believed: a blob is hashed before each use, and its name is the hash that it must have.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo};
use verbatim_store::{Access, Existing, Progress, Replace};

use super::listing::{Hash, RemoteFile, is_commit};
use crate::checkpoint::{CONFIG, INDEX, MAX_INDEX_BYTES, ShardIndex, TOKENIZER, WEIGHTS};
use crate::error::{Error, Result};
use crate::precheck::read_capped;

/// One model's folder in the cache.
pub(super) struct RepoCache {
    root: PathBuf,
    dir: PathBuf,
}

impl RepoCache {
    /// The folder of a checked repository name; nothing is created yet.
    pub(super) fn new(root: &Path, repo: &str) -> Self {
        Self { root: root.to_path_buf(), dir: root.join(Repo::model(repo.to_owned()).folder_name()) }
    }

    /// The folder with the files of one commit.
    pub(super) fn snapshot_dir(&self, repo: &str, commit: &str) -> PathBuf {
        Cache::new(self.root.clone()).model(repo.to_owned()).pointer_path(commit)
    }

    fn blob_path(&self, hash: &Hash) -> PathBuf {
        self.dir.join("blobs").join(hash.to_string())
    }

    /// The commit that a checked revision last stood for.
    pub(super) fn commit_of(&self, revision: &str) -> Result<String> {
        let path = self.dir.join("refs").join(revision);
        let bytes = read_capped(&path, 64)?;
        match String::from_utf8(bytes) {
            Ok(text) if is_commit(text.trim()) => Ok(text.trim().to_owned()),
            _ => Err(Error::BadFile { path, cause: "holds no commit; remove it".to_owned() }),
        }
    }

    /// Checks that a snapshot holds a whole model and that every file has its hash.
    pub(super) fn check_snapshot(&self, dir: &Path, progress: &dyn Progress) -> Result<()> {
        let mut names = vec![CONFIG.to_owned(), TOKENIZER.to_owned()];
        if fs::symlink_metadata(dir.join(WEIGHTS)).is_ok() {
            names.push(WEIGHTS.to_owned());
        } else {
            self.check_file(dir, INDEX, progress)?;
            let path = dir.join(INDEX);
            let index = ShardIndex::parse(&read_capped(&path, MAX_INDEX_BYTES)?);
            let index = index.map_err(|cause| Error::BadFile { path, cause })?;
            names.extend(index.shards().into_iter().map(str::to_owned));
        }
        names.iter().try_for_each(|name| self.check_file(dir, name, progress))
    }

    fn check_file(&self, dir: &Path, name: &str, progress: &dyn Progress) -> Result<()> {
        let path = dir.join(name);
        let Ok(target) = fs::read_link(&path) else {
            return Err(Error::Missing { path, cause: "not in the model cache".to_owned() });
        };
        let hash = target.file_name().and_then(|name| name.to_str()).and_then(Hash::parse);
        match hash {
            Some(hash) if target == pointer_target(&hash) && self.holds(&hash, None, progress)? => Ok(()),
            _ => Err(Error::BadFile {
                path,
                cause: "the cached file is not what its name says; fetch it again".to_owned(),
            }),
        }
    }

    /// Whether the cache holds these contents, of this size if it is known.
    fn holds(&self, hash: &Hash, n_bytes: Option<u64>, progress: &dyn Progress) -> Result<bool> {
        let path = self.blob_path(hash);
        // A planted link is not followed: only a regular file of the right size is opened.
        let found = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => found.len(),
            _ => return Ok(false),
        };
        if n_bytes.is_some_and(|n| n != found) {
            return Ok(false);
        }
        let io = |source| Error::Io { path: path.clone(), doing: "read the cached file", source };
        let mut file = File::open(&path).map_err(io)?;
        let mut hasher = hash.hasher(found);
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish() == *hash),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io(e)),
            }
        }
    }

    /// Makes the folders for one commit.
    pub(super) fn prepare(&self, snapshot: &Path) -> Result<()> {
        fs::create_dir_all(&self.root).map_err(|source| cannot(&self.root, "make a folder", source))?;
        for dir in [&self.dir, &self.dir.join("blobs"), &self.dir.join("snapshots"), snapshot] {
            make_dir(dir)?;
        }
        Ok(())
    }

    /// Whether a file is in the cache already; what stands in its place but is wrong is removed.
    pub(super) fn has(&self, file: &RemoteFile, progress: &dyn Progress) -> Result<bool> {
        if self.holds(&file.hash, Some(file.n_bytes), progress)? {
            return Ok(true);
        }
        let path = self.blob_path(&file.hash);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot(&path, "remove a damaged file", e)),
            _ => Ok(false),
        }
    }

    /// Starts the contents of a file, under a name of its own until they are known to be right.
    pub(super) fn start(&self, file: &RemoteFile) -> Result<Replace> {
        Ok(Replace::create(&self.blob_path(&file.hash), Access::Shared, Existing::Replace)?)
    }

    /// The contents of a small file that is in the cache.
    pub(super) fn read(&self, file: &RemoteFile, max_bytes: u64) -> Result<Vec<u8>> {
        read_capped(&self.blob_path(&file.hash), max_bytes)
    }

    /// Puts a file that is in the cache into a snapshot.
    pub(super) fn link(&self, snapshot: &Path, file: &RemoteFile) -> Result<()> {
        let path = snapshot.join(&file.name);
        let target = pointer_target(&file.hash);
        let is_linked = || fs::read_link(&path).is_ok_and(|found| found == target);
        // The link is made before anything is removed: another run may be making the same one.
        match symlink(&target, &path) {
            Ok(()) => Ok(()),
            Err(_) if is_linked() => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path).map_err(|e| cannot(&path, "replace a link", e))?;
                symlink(&target, &path).map_err(|e| cannot(&path, "make a link", e))
            }
            Err(e) => Err(cannot(&path, "make a link", e)),
        }
    }

    /// Notes which commit a checked revision stands for.
    pub(super) fn note(&self, revision: &str, commit: &str) -> Result<()> {
        let mut path = self.dir.join("refs");
        make_dir(&path)?;
        let mut parts = revision.split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some() {
                make_dir(&path)?;
            }
        }
        let mut file = Replace::create(&path, Access::Shared, Existing::Replace)?;
        file.write_all(commit.as_bytes()).map_err(|source| Error::Io { path, doing: "write", source })?;
        Ok(file.finish()?)
    }
}

/// Where a snapshot's link points.
fn pointer_target(hash: &Hash) -> PathBuf {
    Path::new("../../blobs").join(hash.to_string())
}

/// Makes one folder, or accepts a real one; a link in its place could lead out of the cache.
fn make_dir(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(cannot(path, "make a folder", e)),
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(|e| cannot(path, "make a folder", e))?;
    if found.is_dir() {
        return Ok(());
    }
    Err(cannot(
        path,
        "make a folder",
        io::Error::new(io::ErrorKind::NotADirectory, "something else stands there"),
    ))
}

fn cannot(path: &Path, doing: &'static str, source: io::Error) -> Error {
    Error::Cache { path: path.to_path_buf(), doing, source }
}
