//! Where data goes that does not fit in memory, and how a run that was killed goes on with it.
//!
//! A run's folder holds files and a journal. A line is added to the journal only when the files that it names are on
//! disk whole, so whatever moment a process is killed at, the next one knows what it can use.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::shards::Shards;
use crate::{Bytes, Error, Result, Share};

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";
const RUN_SUFFIX: &str = ".run";
const MAGIC: &str = "verbatim run";
const VERSION: u32 = 2;

/// A file of a run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub n_bytes: u64,
    /// The xxh3-128 of its bytes.
    #[serde(with = "hex")]
    pub checksum: u128,
}

impl RunFile {
    /// Opens it in its folder, and checks that it is what was written; with its path.
    pub(crate) fn open_in(&self, folder: &Path) -> Result<(PathBuf, Bytes)> {
        let path = folder.join(&self.name);
        let bytes = Bytes::open(&path)?;
        if bytes.len() as u64 != self.n_bytes {
            let cause = format!("{} bytes, {} were written", bytes.len(), self.n_bytes);
            return Err(Error::damaged(&path, cause));
        }
        match xxh3_128(&bytes) == self.checksum {
            true => Ok((path, bytes)),
            false => Err(Error::damaged(&path, "its checksum is not that of what was written")),
        }
    }
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What was done.
    pub step: String,
    /// Where to go on, as the step counts.
    pub end: u64,
    /// What was written.
    pub files: Vec<RunFile>,
}

/// A folder for temporary files.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Whether files have names.
    is_named: bool,
    run: Option<Run>,
    /// The questions that this process answers.
    share: Share,
    /// Where the answers of all shares are, each with what it noted.
    shards: Vec<(PathBuf, Vec<Note>)>,
}

#[derive(Debug)]
struct Run {
    task: Value,
    journal: Mutex<Journal>,
    /// What an earlier process noted.
    notes: Vec<Note>,
    /// Locked as long as it is open.
    _lock: File,
}

#[derive(Debug)]
struct Journal {
    file: File,
    /// What this process noted.
    notes: Vec<Note>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    magic: String,
    version: u32,
    task: Value,
}

impl Scratch {
    /// Files without a name in this folder: nothing is left behind however the process ends, and nothing to go on with.
    pub fn unnamed(folder: &Path) -> Self {
        Scratch::plain(folder, false)
    }

    /// The folder of one run, which keeps its files until [`Scratch::discard`]; made if it is not there.
    ///
    /// `task` says what is to be done, to whatever detail decides about the result. Where the folder holds the files
    /// of a run that ended early, they are of use for the same task only.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process uses the folder, [`Error::OtherTask`] where its files are of another task,
    /// [`Error::Damaged`] where its journal cannot be read, [`Error::NotReplaceable`] where it holds anything else.
    pub fn of_run(folder: &Path, task: &Value) -> Result<Self> {
        Scratch::open_run(folder, task, task)
    }

    /// As [`Scratch::of_run`], for a process that answers a share of the task's questions.
    ///
    /// # Errors
    /// As [`Scratch::of_run`]; the files of another share are those of another task.
    pub fn of_share(folder: &Path, task: &Value, share: Share) -> Result<Self> {
        let shared = json!({ "shard": share, "of": task });
        Ok(Scratch { share, ..Scratch::open_run(folder, &shared, task)? })
    }

    /// Opens the folder of a run whose journal names its task as `noted`.
    fn open_run(folder: &Path, noted: &Value, task: &Value) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|e| Error::create(folder, e))?;
        let path = folder.join(JOURNAL);
        if !path.exists() && has_entries(folder, |name| name != LOCK)? {
            let expected = "an empty folder or that of a run";
            return Err(Error::NotReplaceable { path: folder.to_path_buf(), expected });
        }
        let lock = lock(folder)?;
        let notes = match File::open(&path) {
            Ok(mut file) => read_journal(&path, &mut file, noted)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => begin_journal(&path, noted)?,
            Err(e) => return Err(Error::input(&path, e)),
        };
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| Error::create(&path, e))?;
        sweep(folder, &notes)?;
        let journal = Mutex::new(Journal { file, notes: Vec::new() });
        let run = Run { task: task.clone(), journal, notes, _lock: lock };
        Ok(Scratch { run: Some(run), ..Scratch::plain(folder, true) })
    }

    /// A folder of files that were written with names and are not to be removed, such as one that is being staged.
    pub fn saved(folder: &Path) -> Self {
        Scratch::plain(folder, true)
    }

    /// The answers of all shards of a run, for that run, which keeps nothing more; what else it has to put somewhere lies in
    /// `folder`, without a name.
    ///
    /// # Errors
    /// [`Error::Shards`] where the task is not the one that the shards are of.
    pub fn of_shards(shards: &Shards, task: &Value, folder: &Path) -> Result<Self> {
        let differences = differences(shards.task(), task);
        match differences.is_empty() {
            true => Ok(Scratch { shards: shards.notes().to_vec(), ..Scratch::unnamed(folder) }),
            false => {
                Err(Error::Shards(format!("what the shards were asked is not what is here: {differences}")))
            }
        }
    }

    fn plain(folder: &Path, is_named: bool) -> Self {
        let folder = folder.to_path_buf();
        Scratch { folder, is_named, run: None, share: Share::WHOLE, shards: Vec::new() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True where files are kept for another process to go on with.
    pub fn is_kept(&self) -> bool {
        self.run.is_some()
    }

    /// What an earlier process has done.
    pub fn notes(&self) -> &[Note] {
        self.run.as_ref().map_or(&[], |run| &run.notes)
    }

    /// Notes what has been done, for a process that may have to go on from here; without a run's folder does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take the line.
    pub fn note(&self, note: &Note) -> Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let path = self.folder.join(JOURNAL);
        let mut line = serde_json::to_vec(note).expect("a note has only string keys");
        line.push(b'\n');
        let mut journal = run.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.file.write_all(&line).map_err(|e| Error::io(&path, "write", e))?;
        journal.file.sync_all().map_err(|e| Error::io(&path, "flush to disk", e))?;
        journal.notes.push(note.clone());
        Ok(())
    }

    /// The questions that this process answers.
    pub fn share(&self) -> Share {
        self.share
    }

    /// The files that were kept of a step when this folder was opened, with their paths, in the order of their notes.
    pub(crate) fn kept(&self, step: &str) -> Result<Vec<(PathBuf, Bytes)>> {
        let shards = self.shards.iter().map(|(folder, notes)| (folder, &notes[..]));
        let mut files = Vec::new();
        for (folder, notes) in std::iter::once((&self.folder, self.notes())).chain(shards) {
            for file in notes.iter().filter(|note| note.step == step).flat_map(|note| &note.files) {
                files.push(file.open_in(folder)?);
            }
        }
        Ok(files)
    }

    /// The task of a run's folder, and all that was noted in it; none without such a folder.
    pub(crate) fn noted(&self) -> Option<(&Value, Vec<Note>)> {
        let run = self.run.as_ref()?;
        let journal = run.journal.lock().unwrap_or_else(PoisonError::into_inner);
        Some((&run.task, run.notes.iter().chain(&journal.notes).cloned().collect()))
    }

    /// Writes a whole file into a run's folder, whose name and number no other file of it has.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn write(
        &self,
        (name, number): (&'static str, usize),
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<RunFile> {
        let (file, name) = self.create(name, number)?;
        let path = self.path_of(&name);
        let failed = |e| Error::io(&path, "write", e);
        let mut out = BufWriter::with_capacity(1 << 18, file);
        fill(&mut out).map_err(failed)?;
        let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        let bytes = self.map(file, &path)?;
        Ok(RunFile { name, n_bytes: bytes.len() as u64, checksum: xxh3_128(&bytes) })
    }

    /// Opens a file of a run's folder and checks that it is what was written.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not.
    pub fn open(&self, file: &RunFile) -> Result<Bytes> {
        file.open_in(&self.folder).map(|(_, bytes)| bytes)
    }

    /// Removes the files of a run that has reached its end, and the folder.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be removed.
    pub fn discard(self) -> Result<()> {
        if self.run.is_none() {
            return Ok(());
        }
        // The journal goes first: without it nothing else is believed.
        let removed = fs::remove_file(self.folder.join(JOURNAL));
        removed.map_err(|e| Error::io(&self.folder.join(JOURNAL), "remove", e))?;
        sweep(&self.folder, &[])?;
        let _ = fs::remove_file(self.folder.join(LOCK));
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// The path of a file of this folder.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new file, and its name.
    pub(crate) fn create(&self, name: &'static str, number: usize) -> Result<(File, String)> {
        let name = format!("{name}-{number}{RUN_SUFFIX}");
        let file = match self.is_named {
            false => self.nameless()?,
            true => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).mode(0o600);
                file.open(self.path_of(&name)).map_err(|e| Error::create(&self.path_of(&name), e))?
            }
        };
        Ok((file, name))
    }

    /// A file without a name, whichever kind of folder this is.
    pub(crate) fn nameless(&self) -> Result<File> {
        tempfile::tempfile_in(&self.folder).map_err(|e| Error::create(&self.folder, e))
    }

    /// Maps a file that was just written, after it is on disk where it is kept.
    pub(crate) fn map(&self, file: File, path: &Path) -> Result<Bytes> {
        self.flush(&file, path)?;
        Bytes::map_file(file, path).map(Bytes::without_identity)
    }

    fn flush(&self, file: &File, path: &Path) -> Result<()> {
        match self.is_named {
            false => Ok(()),
            true => file.sync_all().map_err(|e| Error::io(path, "flush to disk", e)),
        }
    }
}

/// Locks the folder until the file is dropped.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::create(&path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: folder.to_path_buf() }),
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, "lock", e)),
        }
        // The process that had the lock may have removed the file before it let go.
        let inode = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|m| (m.dev(), m.ino()));
        if inode(file.metadata()) == inode(fs::metadata(&path)) {
            return Ok(file);
        }
    }
}

fn has_entries(folder: &Path, counts: impl Fn(&str) -> bool) -> Result<bool> {
    let entries = fs::read_dir(folder).map_err(|e| Error::input(folder, e))?;
    for entry in entries {
        let name = entry.map_err(|e| Error::input(folder, e))?.file_name();
        if name.to_str().is_none_or(&counts) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn begin_journal(path: &Path, task: &Value) -> Result<Vec<Note>> {
    let header = json!({ "magic": MAGIC, "version": VERSION, "task": task });
    crate::Replace::create(path, crate::Access::Private, crate::Existing::Refuse).and_then(|mut file| {
        writeln!(file, "{header}").map_err(|e| Error::io(path, "write", e))?;
        file.finish()
    })?;
    Ok(Vec::new())
}

/// The notes of a journal for this very task. A last line without its end was being written when the process was
/// killed, and is cut off.
fn read_journal(path: &Path, file: &mut File, task: &Value) -> Result<Vec<Note>> {
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(|e| Error::io(path, "read", e))?;
    let whole = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    if whole < content.len() {
        let writable = OpenOptions::new().write(true).open(path).map_err(|e| Error::create(path, e))?;
        writable.set_len(whole as u64).map_err(|e| Error::io(path, "write", e))?;
    }
    let mut lines = content[..whole].split_inclusive(|&byte| byte == b'\n').zip(1u64..);
    let damaged =
        |line: u64| Error::damaged(path, format!("line {line} is not what was written; remove the folder"));
    let (header, _) = lines.next().ok_or_else(|| damaged(1))?;
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged(1))?;
    if header.magic != MAGIC || header.version != VERSION {
        return Err(Error::damaged(path, "it is of another version of this program; remove the folder"));
    }
    let differences = differences(&header.task, task);
    if !differences.is_empty() {
        return Err(Error::OtherTask { path: path.to_path_buf(), differences });
    }
    lines.map(|(line, number)| serde_json::from_slice(line).map_err(|_| damaged(number))).collect()
}

/// Where two descriptions differ, as `place: there X, here Y`, separated by commas; empty where they do not.
pub fn differences(there: &Value, here: &Value) -> String {
    let mut differences = Vec::new();
    compare("", there, here, &mut differences);
    differences.join(", ")
}

fn compare(place: &str, there: &Value, here: &Value, differences: &mut Vec<String>) {
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                let [x, y] = [a, b].map(|map| map.get(key).unwrap_or(&Value::Null));
                compare(&inner, x, y, differences);
            }
        }
        _ if there == here => {}
        _ => differences.push(format!("{place}: there {there}, here {here}")),
    }
}

/// Removes the run files that no note names.
fn sweep(folder: &Path, notes: &[Note]) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| Error::input(folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::input(folder, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_noted = notes.iter().flat_map(|note| &note.files).any(|file| file.name == name);
        if name.ends_with(RUN_SUFFIX) && !is_noted {
            fs::remove_file(&path).map_err(|e| Error::io(&path, "remove", e))?;
        }
    }
    Ok(())
}

/// 128-bit numbers as 32 hexadecimal digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{number:032x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sorter;

    fn spilled(scratch: &Scratch, records: &[[u64; 1]]) -> RunFile {
        let mut sorter = Sorter::<1>::new("keys", 1 << 20);
        for note in scratch.notes() {
            note.files.iter().for_each(|file| sorter.take_up(scratch, file).unwrap());
        }
        sorter.extend(records.iter().copied());
        sorter.spill(scratch).unwrap().unwrap()
    }

    fn overwrite(path: &Path, content: &[u8]) {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(content).unwrap();
    }

    fn note(end: u64, file: RunFile) -> Note {
        Note { step: "signing".to_owned(), end, files: vec![file] }
    }

    #[test]
    fn fault_47_a_run_goes_on_with_what_was_noted_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/run");
        let task = json!({ "threshold": 0.8 });
        let first = Scratch::of_run(&folder, &task).unwrap();
        let file = spilled(&first, &[[2], [1]]);
        first.note(&note(2, file.clone())).unwrap();
        // The next file is written, but the process is killed in the middle of its note.
        let mut lost = Sorter::<1>::new("keys", 8);
        lost.take_up(&first, &file).unwrap();
        lost.extend([[9]]);
        lost.spill(&first).unwrap();
        drop(first);
        let mut journal = OpenOptions::new().append(true).open(folder.join(JOURNAL)).unwrap();
        journal.write_all(b"{\"step\":\"signing\",\"end\":3").unwrap();
        drop(journal);

        let second = Scratch::of_run(&folder, &task).unwrap();
        assert_eq!(second.notes().iter().map(|note| note.end).collect::<Vec<_>>(), [2]);
        let file = spilled(&second, &[[3]]);
        second.note(&note(3, file)).unwrap();
        drop(second);

        let third = Scratch::of_run(&folder, &task).unwrap();
        let mut sorter = Sorter::<1>::new("keys", 8);
        for note in third.notes() {
            note.files.iter().for_each(|file| sorter.take_up(&third, file).unwrap());
        }
        assert!(sorter.finish().iter().eq([[1], [2], [3]]));
        third.discard().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn fault_48_a_folder_in_use_is_75() {
        let folder = tempfile::tempdir().unwrap();
        let first = Scratch::of_run(folder.path(), &json!(1)).unwrap();
        assert_eq!(Scratch::of_run(folder.path(), &json!(1)).unwrap_err().exit_code(), 75);
        drop(first);
        Scratch::of_run(folder.path(), &json!(1)).unwrap();
    }

    #[test]
    fn fault_41_files_of_another_task_are_refused_with_the_difference() {
        let folder = tempfile::tempdir().unwrap();
        let task = |threshold: f64| json!({ "corpus": "c", "minhash": { "threshold": threshold, "n": 5 } });
        drop(Scratch::of_run(folder.path(), &task(0.8)).unwrap());
        let error = Scratch::of_run(folder.path(), &task(0.7)).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        assert!(error.to_string().contains("minhash.threshold: there 0.8, here 0.7"), "{error}");
        Scratch::of_run(folder.path(), &task(0.8)).unwrap();
    }

    #[test]
    fn fault_46_damage_is_65_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::of_run(folder.path(), &json!(1)).unwrap();
        let file = spilled(&scratch, &[[5], [6]]);
        let path = folder.path().join(&file.name);
        let whole = fs::read(&path).unwrap();
        for damage in [&whole[..15], &[], &[&whole[..15], b"x"].concat()] {
            overwrite(&path, damage);
            let error = Sorter::<1>::new("keys", 8).take_up(&scratch, &file).unwrap_err();
            assert_eq!(error.exit_code(), 65);
            assert!(error.to_string().contains("keys-0.run"), "{error}");
        }
        drop(scratch);
        for journal in ["", "x\n", "{\"magic\":\"other\",\"version\":1,\"task\":1}\n"] {
            overwrite(&folder.path().join(JOURNAL), journal.as_bytes());
            assert_eq!(Scratch::of_run(folder.path(), &json!(1)).unwrap_err().exit_code(), 65, "{journal}");
        }
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        overwrite(&folder.path().join("thesis.txt"), b"x");
        assert_eq!(Scratch::of_run(folder.path(), &json!(1)).unwrap_err().exit_code(), 73);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
