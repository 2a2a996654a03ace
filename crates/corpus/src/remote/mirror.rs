//! A folder that processes share by an object store: each has a copy of what it reads, and sends what it wrote.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use verbatim_store::{Access, Existing, Progress, StagedDir, write_private};

use super::bucket::{Buckets, Object};
use super::upload::{Prefix, find_files};
use crate::error::{Error, Result};
use crate::schema::OpenConfig;

/// A copy of what is below a prefix of an object store, in a temporary folder that is gone with it.
#[derive(Debug)]
pub struct Mirror {
    prefix: Prefix,
    folder: StagedDir,
    /// The files that the store has as well, with their numbers in the file system: one that is replaced has another.
    same: BTreeMap<PathBuf, u64>,
}

impl Mirror {
    /// Fetches the files with names, relative to the prefix, that are wanted.
    ///
    /// # Errors
    /// A URL that is none, a store that does not answer, no room, [`Error::Interrupted`].
    pub fn open(
        url: &Path,
        is_wanted: impl Fn(&Path) -> bool,
        config: &OpenConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (bucket, key) = Buckets::new(config, progress).of(url)?;
        let prefix = Prefix::look(bucket, key.trim_end_matches('/'), progress)?;
        let folder = config.scratch.join("verbatim-mirror");
        let folder = StagedDir::create(&folder, Access::Private, Existing::Replace)?;
        let named = prefix.there.iter().map(|meta| (prefix.name_of(meta), meta));
        let wanted: Vec<_> = named.filter(|(name, _)| is_plain(name) && is_wanted(name)).collect();
        progress.stage("downloading", Some(wanted.iter().map(|(_, meta)| meta.size).sum()), "bytes");
        let mut same = BTreeMap::new();
        for (name, meta) in wanted {
            let object = Object { bucket: Arc::clone(&prefix.bucket), meta: meta.clone() };
            let path = folder.path().join(&name);
            let parent = path.parent().unwrap_or(folder.path());
            fs::create_dir_all(parent).map_err(|e| verbatim_store::Error::io(parent, "make", e))?;
            write_private(&path, &object.download(&config.scratch, progress)?)?;
            same.insert(name, number_of(&path)?);
        }
        Ok(Mirror { prefix, folder, same })
    }

    /// Where the copy is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends the files that are new or were replaced since they were fetched or sent, those that `come_last` after the others.
    ///
    /// # Errors
    /// As [`Prefix::publish`].
    pub fn send(&mut self, come_last: impl Fn(&Path) -> bool, progress: &dyn Progress) -> Result<()> {
        let mut files = Vec::new();
        find_files(self.folder(), Path::new(""), &mut files)?;
        let mut new = Vec::new();
        for (name, n_bytes) in files {
            let number = number_of(&self.folder().join(&name))?;
            if self.same.get(&name) != Some(&number) {
                new.push((come_last(&name), name, n_bytes, number));
            }
        }
        new.sort();
        progress.stage("uploading", Some(new.iter().map(|(_, _, n_bytes, _)| n_bytes).sum()), "bytes");
        for (_, name, _, number) in new {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            self.prefix.put(&self.folder().join(&name), &self.prefix.key_of(&name)?, progress)?;
            self.same.insert(name, number);
        }
        Ok(())
    }
}

/// Whether a name leads to a place below where it is looked for: a store may say anything.
fn is_plain(name: &Path) -> bool {
    let mut parts = name.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn number_of(path: &Path) -> Result<u64> {
    let about = fs::symlink_metadata(path).map_err(|e| verbatim_store::Error::io(path, "read", e))?;
    Ok(about.ino())
}
