//! Finds the input files that a person's arguments name: files, folders, patterns, standard input.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use verbatim_store::{Bytes, Spool};

use crate::document::printable;
use crate::error::{Error, Result};
use crate::formats::promise;

/// The folder that this program's own notes stand in; no part of a corpus.
const NOTES_FOLDER: &str = "_verbatim";
/// What the names of files and folders begin with while this program writes them. One is left behind when it is
/// killed; no part of a corpus, and nothing that a person put there.
const TEMPORARY_PREFIX: &[u8] = b".verbatim-";
/// How many ignored files a warning names.
const N_NAMED: usize = 20;

/// One input file, not yet opened.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Its path relative to an output folder.
    pub(crate) name: PathBuf,
    pub(crate) n_bytes: u64,
    /// What came through standard input.
    pub(crate) content: Option<Bytes>,
}

/// Lists the input files in order: arguments as given, folders and patterns by bytes of the path.
///
/// # Errors
/// Inputs that are missing or no files, and two inputs of one name.
pub(crate) fn find(inputs: &[PathBuf]) -> Result<(Vec<Source>, Vec<String>)> {
    let mut list = List::default();
    for input in inputs {
        if input.as_os_str() == "-" {
            list.add_stdin()?;
            continue;
        }
        match fs::metadata(input) {
            Ok(metadata) => list.add(input, &metadata)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound && is_pattern(input) => {
                for path in matches(input)? {
                    let metadata = fs::metadata(&path).map_err(|e| unreadable(&path, e))?;
                    list.add(&path, &metadata)?;
                }
            }
            Err(e) => return Err(unreadable(input, e)),
        }
    }
    Ok((list.sources, list.warnings))
}

#[derive(Default)]
struct List {
    sources: Vec<Source>,
    warnings: Vec<String>,
    /// (device, inode) of what is listed.
    seen: HashSet<(u64, u64)>,
    /// Output name to the input that has it.
    names: BTreeMap<PathBuf, PathBuf>,
}

impl List {
    /// A file or folder that a person named; links are followed.
    fn add(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        if metadata.is_dir() {
            return self.add_folder(path);
        }
        let name = path.file_name().map_or_else(|| path.to_path_buf(), PathBuf::from);
        self.add_file(path.to_path_buf(), name, metadata)
    }

    fn add_file(&mut self, path: PathBuf, name: PathBuf, metadata: &Metadata) -> Result<()> {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            self.warnings
                .push(format!("{}: the same file as an input before it; read once", printable(&path)));
            return Ok(());
        }
        self.push(Source { path, name, n_bytes: metadata.len(), content: None })
    }

    fn push(&mut self, source: Source) -> Result<()> {
        if let Some(first) = self.names.insert(source.name.clone(), source.path.clone()) {
            return Err(Error::SameName {
                name: printable(&source.name),
                first: printable(first),
                second: printable(&source.path),
            });
        }
        self.sources.push(source);
        Ok(())
    }

    fn add_stdin(&mut self) -> Result<()> {
        let mut spool = Spool::create()?;
        let path = PathBuf::from("-");
        let copied = io::copy(&mut io::stdin().lock(), &mut spool);
        let n_bytes = copied.map_err(|e| verbatim_store::Error::io(&path, "read", e))?;
        let content = Some(spool.into_bytes()?);
        self.push(Source { path, name: PathBuf::from("stdin.jsonl"), n_bytes, content })
    }

    /// Everything below a folder that has a known suffix. Links are not followed, so there are no
    /// loops and nothing from outside the folder.
    fn add_folder(&mut self, root: &Path) -> Result<()> {
        let mut files = Vec::new();
        let mut ignored = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let at = root.join(&folder);
            for entry in fs::read_dir(&at).map_err(|e| unreadable(&at, e))? {
                let entry = entry.map_err(|e| unreadable(&at, e))?;
                let name = folder.join(entry.file_name());
                let kind = entry.file_type().map_err(|e| unreadable(&entry.path(), e))?;
                let own_name = entry.file_name();
                if own_name == NOTES_FOLDER || own_name.as_bytes().starts_with(TEMPORARY_PREFIX) {
                    continue;
                }
                let is_hidden = own_name.as_bytes().starts_with(b".");
                if kind.is_dir() && !is_hidden {
                    folders.push(name);
                } else if kind.is_file() && !is_hidden && promise(&name).is_data_in_a_folder() {
                    files.push(name);
                } else {
                    ignored.push(name);
                }
            }
        }
        sort_by_bytes(&mut files);
        sort_by_bytes(&mut ignored);
        self.warnings.extend(ignored_warning(root, &ignored));
        for name in files {
            let path = root.join(&name);
            let metadata = fs::metadata(&path).map_err(|e| unreadable(&path, e))?;
            self.add_file(path, name, &metadata)?;
        }
        Ok(())
    }
}

fn ignored_warning(root: &Path, ignored: &[PathBuf]) -> Option<String> {
    if ignored.is_empty() {
        return None;
    }
    let mut names: Vec<String> = ignored.iter().take(N_NAMED).map(printable).collect();
    if ignored.len() > N_NAMED {
        names.push(format!("and {} more", ignored.len() - N_NAMED));
    }
    Some(format!("{}: ignored {}", printable(root), names.join(", ")))
}

fn sort_by_bytes(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
}

fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|b| b"*?[".contains(b))
}

/// The paths that a pattern matches, by bytes.
fn matches(pattern: &Path) -> Result<Vec<PathBuf>> {
    let no_input = || Error::NoInput { pattern: printable(pattern) };
    let paths = glob::glob(pattern.to_str().ok_or_else(no_input)?).map_err(|_| no_input())?;
    let mut found = Vec::new();
    for path in paths {
        found.push(path.map_err(|e| {
            Error::Store(verbatim_store::Error::Input { path: e.path().into(), source: e.into() })
        })?);
    }
    if found.is_empty() {
        return Err(no_input());
    }
    sort_by_bytes(&mut found);
    Ok(found)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Store(verbatim_store::Error::Input { path: path.to_path_buf(), source })
}
