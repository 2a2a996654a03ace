//! An output in an object store: files first, and last the one that says that all of them are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectMeta, ObjectStoreExt};
use verbatim_store::{Bytes, Existing, Progress, Silent};

use super::bucket::{Bucket, Buckets};
use super::failure::failure;
use crate::document::{printable, size};
use crate::error::{Error, Result};
use crate::schema::OpenConfig;

/// Bytes that are sent at once, at least; a store takes some ten thousand parts of an object.
const PART_BYTES: usize = if cfg!(test) { 1 << 10 } else { 16 << 20 };
const MAX_PARTS: usize = 9_000;

/// A prefix of an object store that an output goes to.
#[derive(Debug)]
pub struct Prefix {
    pub(super) bucket: Arc<Bucket>,
    /// Without a slash at its end; empty for a whole bucket.
    key: String,
    /// What was below it at first.
    pub(super) there: Vec<ObjectMeta>,
}

impl Prefix {
    /// Connects to the store and looks at what is below the prefix.
    ///
    /// # Errors
    /// [`verbatim_store::Error::Exists`] where something is there that is not to be replaced; a URL that is none, and a store
    /// that does not answer.
    pub fn open(
        url: &Path,
        existing: Existing,
        config: &OpenConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (bucket, key) = Buckets::new(config, progress).of(url)?;
        Prefix::of(bucket, key.trim_end_matches('/'), existing, progress)
    }

    pub(super) fn of(
        bucket: Arc<Bucket>,
        key: &str,
        existing: Existing,
        progress: &dyn Progress,
    ) -> Result<Self> {
        if existing == Existing::Replace && key.is_empty() {
            let cause = "a whole bucket is not replaced; name a prefix in it".to_owned();
            return Err(Error::ObjectUrl { url: printable(bucket.url(key)), cause });
        }
        let prefix = Prefix::look(bucket, key, progress)?;
        if existing == Existing::Refuse && !prefix.there.is_empty() {
            return Err(verbatim_store::Error::Exists { path: prefix.bucket.url(key) }.into());
        }
        Ok(prefix)
    }

    /// The prefix with what is below it.
    pub(super) fn look(bucket: Arc<Bucket>, key: &str, progress: &dyn Progress) -> Result<Self> {
        let there = bucket.list(&bucket.parsed(key)?, progress)?;
        Ok(Prefix { bucket, key: key.to_owned(), there })
    }

    /// Puts the files of a folder below the prefix, `last` after all others. Of what was there before, a file of that name goes
    /// first, and what the folder does not have goes before the new one of that name comes: where it is, all is there.
    ///
    /// # Errors
    /// A store that refuses or does not answer, files that cannot be read, [`Error::Interrupted`]. What was put stays there,
    /// without `last`.
    pub fn publish(&self, folder: &Path, last: &Path, progress: &dyn Progress) -> Result<()> {
        let mut files = Vec::new();
        find_files(folder, Path::new(""), &mut files)?;
        files.sort_by_key(|(name, _)| (name == last, name.clone()));
        progress.stage("uploading", Some(files.iter().map(|(_, n_bytes)| n_bytes).sum()), "bytes");
        let last = self.key_of(last)?;
        self.remove(|key| *key == last, progress)?;
        let mut put = BTreeSet::new();
        for (name, _) in &files {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let key = self.key_of(name)?;
            if key == last {
                self.remove(|key| !put.contains(key), progress)?;
            }
            self.put(&folder.join(name), &key, progress)?;
            put.insert(key);
        }
        Ok(())
    }

    /// Removes some of what was there before.
    fn remove(&self, which: impl Fn(&Key) -> bool, progress: &dyn Progress) -> Result<()> {
        for object in self.there.iter().filter(|object| which(&object.location)) {
            match self.bucket.wait(self.bucket.store.delete(&object.location), progress)? {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(self.failed(&object.location, &e)),
            }
        }
        Ok(())
    }

    pub(super) fn put(&self, path: &Path, key: &Key, progress: &dyn Progress) -> Result<()> {
        let bytes = Bytes::open(path)?;
        if bytes.len() <= PART_BYTES {
            let put = self.bucket.store.put(key, bytes.to_vec().into());
            self.bucket.wait(put, progress)?.map_err(|e| self.failed(key, &e))?;
            progress.advance(size(bytes.len()));
            return Ok(());
        }
        let begun = self.bucket.wait(self.bucket.store.put_multipart(key), progress)?;
        let mut upload = begun.map_err(|e| self.failed(key, &e))?;
        let done = self.put_parts(&bytes, (key, &mut *upload), progress);
        if done.is_err() {
            // Parts without an end cost room. Where it fails as well, the first failure is the one to tell.
            let _ = self.bucket.wait(upload.abort(), &Silent);
        }
        done
    }

    fn put_parts(
        &self,
        bytes: &[u8],
        (key, upload): (&Key, &mut dyn MultipartUpload),
        progress: &dyn Progress,
    ) -> Result<()> {
        for part in bytes.chunks(PART_BYTES.max(bytes.len().div_ceil(MAX_PARTS))) {
            let put = upload.put_part(part.to_vec().into());
            self.bucket.wait(put, progress)?.map_err(|e| self.failed(key, &e))?;
            progress.advance(size(part.len()));
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
        }
        self.bucket.wait(upload.complete(), progress)?.map_err(|e| self.failed(key, &e))?;
        Ok(())
    }

    /// The name of what was there, relative to the prefix.
    pub(super) fn name_of(&self, object: &ObjectMeta) -> PathBuf {
        object.location.as_ref()[self.key.len()..].trim_start_matches('/').into()
    }

    pub(super) fn key_of(&self, name: &Path) -> Result<Key> {
        let names: Option<Vec<&str>> = name.iter().map(|part| part.to_str()).collect();
        let names = names.ok_or_else(|| Error::ObjectUrl {
            url: printable(self.bucket.url(&self.key).join(name)),
            cause: "not UTF-8".to_owned(),
        })?;
        let prefix = if self.key.is_empty() { String::new() } else { format!("{}/", self.key) };
        self.bucket.parsed(&format!("{prefix}{}", names.join("/")))
    }

    fn failed(&self, key: &Key, error: &object_store::Error) -> Error {
        failure(&printable(self.bucket.url(key.as_ref())), error)
    }
}

/// The files below a folder, by names relative to it, with their sizes.
pub(super) fn find_files(folder: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let place = folder.join(below);
    let unreadable = |e| Error::Store(verbatim_store::Error::io(&place, "read", e));
    for entry in fs::read_dir(&place).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, about) = (below.join(entry.file_name()), entry.metadata().map_err(unreadable)?);
        if about.is_dir() {
            find_files(folder, &name, files)?;
        } else {
            files.push((name, about.len()));
        }
    }
    Ok(())
}
