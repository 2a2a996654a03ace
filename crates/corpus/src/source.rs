//! Finds the input files that a person's arguments name: files, folders, patterns, standard input, and objects and
//! folders of object stores.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use verbatim_store::{Bytes, Progress, Spool};

use crate::document::printable;
use crate::error::{Error, Result};
use crate::formats::promise;
use crate::remote::{Buckets, Found, Object, is_object_url};
use crate::schema::OpenConfig;

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
    pub(crate) content: Content,
}

/// Where the bytes of an input are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In the file at the path.
    File,
    /// Here: they came through standard input.
    Spooled(Bytes),
    /// In an object store.
    Object(Object),
}

impl Source {
    /// How many bytes the progress of reading will count: what is brought here is counted again as it is read.
    pub(crate) fn n_bytes_to_read(&self) -> u64 {
        match self.content {
            Content::File | Content::Spooled(_) => self.n_bytes,
            Content::Object(_) => 2 * self.n_bytes,
        }
    }
}

/// Lists the input files in order: arguments as given, folders and patterns by bytes of the path.
///
/// # Errors
/// Inputs that are missing or no files, and two inputs of one name.
pub(crate) fn find(
    inputs: &[PathBuf],
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Result<(Vec<Source>, Vec<String>)> {
    let mut buckets = Buckets::new(config, progress);
    let mut list = List {
        config,
        sources: Vec::new(),
        warnings: Vec::new(),
        seen: HashSet::new(),
        names: BTreeMap::new(),
    };
    for input in inputs {
        if input.as_os_str() == "-" {
            list.add_stdin()?;
            continue;
        }
        if is_object_url(input) {
            for found in buckets.find(input)? {
                list.add_remote(found)?;
            }
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

/// What makes two inputs the same.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    File(DeviceInode),
    Object(PathBuf),
}

type DeviceInode = (u64, u64);

struct List<'a> {
    config: &'a OpenConfig,
    sources: Vec<Source>,
    warnings: Vec<String>,
    /// What is listed.
    seen: HashSet<Identity>,
    /// Output name to the input that has it.
    names: BTreeMap<PathBuf, PathBuf>,
}

impl List<'_> {
    /// A file or folder that a person named; links are followed.
    fn add(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        if metadata.is_dir() {
            return self.add_folder(path);
        }
        let name = path.file_name().map_or_else(|| path.to_path_buf(), PathBuf::from);
        self.add_file(path.to_path_buf(), name, metadata)
    }

    fn add_file(&mut self, path: PathBuf, name: PathBuf, metadata: &Metadata) -> Result<()> {
        let source = Source { path, name, n_bytes: metadata.len(), content: Content::File };
        self.add_once(Identity::File(identity(metadata)), source)
    }

    fn add_object(&mut self, name: PathBuf, object: Object) -> Result<()> {
        let (path, n_bytes) = (object.url(), object.n_bytes());
        let source = Source { path: path.clone(), name, n_bytes, content: Content::Object(object) };
        self.add_once(Identity::Object(path), source)
    }

    fn add_once(&mut self, identity: Identity, source: Source) -> Result<()> {
        if !self.seen.insert(identity) && !self.config.allow_repeat {
            let path = printable(&source.path);
            self.warnings.push(format!("{path}: the same file as an input before it; read once"));
            return Ok(());
        }
        self.push(source)
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
        let mut spool = Spool::create(&self.config.scratch)?;
        let path = PathBuf::from("-");
        let copied = io::copy(&mut io::stdin().lock(), &mut spool);
        let n_bytes = copied.map_err(|e| verbatim_store::Error::io(&path, "read", e))?;
        let content = Content::Spooled(spool.into_bytes()?);
        self.push(Source { path, name: PathBuf::from("stdin.jsonl"), n_bytes, content })
    }

    /// Everything below a folder that has a known suffix. Links are followed only if asked for, so that there are no
    /// loops and nothing from outside the folder.
    fn add_folder(&mut self, root: &Path) -> Result<()> {
        let mut files = Vec::new();
        let mut ignored = Vec::new();
        let top = fs::metadata(root).map_err(|e| unreadable(root, e))?;
        // Each folder with itself and those around it, which a link must not lead back to.
        let mut folders = vec![(PathBuf::new(), vec![identity(&top)])];
        while let Some((folder, around)) = folders.pop() {
            let at = root.join(&folder);
            for entry in fs::read_dir(&at).map_err(|e| unreadable(&at, e))? {
                let entry = entry.map_err(|e| unreadable(&at, e))?;
                let name = folder.join(entry.file_name());
                let own_name = entry.file_name();
                if is_ours(&own_name) {
                    continue;
                }
                let is_hidden = is_hidden(&own_name);
                let is_data = promise(&name).is_data_in_a_folder();
                let Some(metadata) = self.look(&entry, !is_hidden && is_data)? else {
                    ignored.push(name);
                    continue;
                };
                if metadata.is_dir() && !is_hidden {
                    let own = identity(&metadata);
                    if around.contains(&own) {
                        self.warnings.push(format!(
                            "{}: a link to a folder around it; not followed",
                            printable(root.join(&name))
                        ));
                    } else {
                        folders.push((name, [&around[..], &[own]].concat()));
                    }
                } else if metadata.is_file() && !is_hidden && is_data {
                    files.push((name, metadata));
                } else {
                    ignored.push(name);
                }
            }
        }
        files.sort_by(|a, b| by_bytes(&a.0, &b.0));
        ignored.sort_by(|a, b| by_bytes(a, b));
        self.warnings.extend(ignored_warning(root, &ignored));
        for (name, metadata) in files {
            self.add_file(root.join(&name), name, &metadata)?;
        }
        Ok(())
    }

    /// An object that a person named, or all below a prefix, by the rules of folders.
    fn add_remote(&mut self, found: Found) -> Result<()> {
        let (url, objects) = match found {
            Found::Folder { url, objects } => (url, objects),
            Found::Object(object) => {
                let name = object.url().file_name().map(PathBuf::from).unwrap_or_default();
                return self.add_object(name, object);
            }
        };
        let mut ignored = Vec::new();
        let mut data = Vec::new();
        for (name, object) in objects {
            // The first part of the name that keeps it out of the corpus, with the folders around that part.
            let mut parts = name.ancestors().filter_map(|at| Some((at, at.file_name()?))).collect::<Vec<_>>();
            parts.reverse();
            match parts.into_iter().find(|(_, part)| is_ours(part) || is_hidden(part)) {
                Some((_, part)) if is_ours(part) => {}
                Some((at, _)) => ignored.push(at.to_path_buf()),
                None if promise(&name).is_data_in_a_folder() => data.push((name, object)),
                None => ignored.push(name),
            }
        }
        ignored.dedup();
        self.warnings.extend(ignored_warning(&url, &ignored));
        data.into_iter().try_for_each(|(name, object)| self.add_object(name, object))
    }

    /// What an entry of a folder is; `None` for a link that is not to be followed, or leads nowhere and need not.
    fn look(&self, entry: &DirEntry, must_exist: bool) -> Result<Option<Metadata>> {
        let failed = |e| unreadable(&entry.path(), e);
        if !entry.file_type().map_err(failed)?.is_symlink() {
            return entry.metadata().map(Some).map_err(failed);
        }
        match fs::metadata(entry.path()) {
            _ if !self.config.follow_links => Ok(None),
            Err(e) if must_exist => Err(failed(e)),
            found => Ok(found.ok()),
        }
    }
}

/// Whether this program writes files or folders of this name beside corpora.
fn is_ours(name: &OsStr) -> bool {
    name == NOTES_FOLDER || name.as_bytes().starts_with(TEMPORARY_PREFIX)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn identity(metadata: &Metadata) -> DeviceInode {
    (metadata.dev(), metadata.ino())
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

fn by_bytes(a: &Path, b: &Path) -> Ordering {
    a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes())
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
    found.sort_by(|a, b| by_bytes(a, b));
    Ok(found)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Store(verbatim_store::Error::Input { path: path.to_path_buf(), source })
}
