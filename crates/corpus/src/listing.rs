//! The files of a corpus, listed once, so that processes that know nothing of each other read the same ones.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use verbatim_store::Progress;

use crate::document::printable;
use crate::error::{Error, Result};
use crate::origin;
use crate::remote::is_object_url;
use crate::schema::OpenConfig;
use crate::source::{self, Content, Source};

/// The files of a corpus, and of what it is compared with, as they were when they were listed. Nothing in them was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    files: Vec<Listed>,
    /// Files of the inputs; those of the references follow.
    n_own: usize,
    warnings: Vec<String>,
}

/// A file as it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    #[serde(with = "origin::name")]
    path: PathBuf,
    /// Its path relative to an output folder.
    #[serde(with = "origin::name")]
    name: PathBuf,
    n_bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Listing {
    /// Lists the files of inputs and references, in the order in which [`Corpus`](crate::Corpus) has them.
    ///
    /// # Errors
    /// Missing inputs, and those that another process cannot read: standard input, object stores.
    pub fn of(
        [inputs, references]: [&[PathBuf]; 2],
        config: &OpenConfig,
        progress: &dyn Progress,
    ) -> Result<Listing> {
        for input in inputs.iter().chain(references) {
            if input.as_os_str() == "-" || is_object_url(input) {
                return Err(Error::NotListed { input: printable(input) });
            }
        }
        let (mut sources, mut warnings) = source::find(inputs, config, progress)?;
        let n_own = sources.len();
        if !references.is_empty() {
            let (found, warned) = source::find(references, config, progress)?;
            sources.extend(found);
            warnings.extend(warned);
        }
        let listed = |Source { path, name, .. }: Source| -> Result<Listed> {
            let (n_bytes, modified) = identity(&path)?;
            Ok(Listed { path, name, n_bytes, modified })
        };
        let files: Result<Vec<Listed>> = sources.into_iter().map(listed).collect();
        Ok(Listing { files: files?, n_own, warnings })
    }

    /// Bytes of each file: those of the inputs, then those of the references.
    pub fn sizes(&self) -> impl ExactSizeIterator<Item = u64> {
        self.files.iter().map(|file| file.n_bytes)
    }

    /// Files of the inputs.
    pub fn n_own(&self) -> usize {
        self.n_own
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Some of the files, if they are still what they were.
    ///
    /// # Errors
    /// [`Error::NotAsListed`] if they are not.
    pub(crate) fn sources(&self, files: Range<usize>) -> Result<Vec<Source>> {
        let listed = self.files.get(files).unwrap_or_default();
        let source = |Listed { path, name, n_bytes, modified }: &Listed| match identity(path) {
            Ok(found) if found == (*n_bytes, *modified) => Ok(Source {
                path: path.clone(),
                name: name.clone(),
                n_bytes: *n_bytes,
                content: Content::File,
            }),
            Ok(_) | Err(Error::Store(_)) => Err(Error::NotAsListed { path: printable(path) }),
            Err(error) => Err(error),
        };
        listed.iter().map(source).collect()
    }
}

/// Size and time of the last change.
fn identity(path: &Path) -> Result<(u64, (i64, i64))> {
    let metadata = fs::metadata(path)
        .map_err(|source| verbatim_store::Error::Input { path: path.to_path_buf(), source })?;
    Ok((metadata.len(), (metadata.mtime(), metadata.mtime_nsec())))
}
