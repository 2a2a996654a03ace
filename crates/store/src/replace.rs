//! Outputs that are old or new, never half: written beside the target, flushed, then renamed.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::{NamedTempFile, TempDir};

use crate::{Error, Result};

/// Who may read an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only: files 0600, folders 0700. For anything that may hold a finding.
    Private,
    /// Everybody whom the umask allows: files 0644, folders 0755.
    Shared,
}

impl Access {
    fn file_mode(self) -> u32 {
        match self {
            Access::Private => 0o600,
            Access::Shared => 0o644,
        }
    }

    fn folder_mode(self) -> u32 {
        match self {
            Access::Private => 0o700,
            Access::Shared => 0o755,
        }
    }
}

/// What to do about an output that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and fail.
    Refuse,
    /// Replace it in one step, at the end.
    Replace,
}

/// One output file that appears at its target only when it is finished.
///
/// Dropped unfinished, it leaves the target as it was and no temporary file behind.
#[derive(Debug)]
#[must_use = "the target does not appear before `finish`"]
pub struct Replace {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
    existing: Existing,
}

impl Replace {
    /// Starts a file beside `target`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotReplaceable`] or [`Error::Create`].
    pub fn create(target: &Path, access: Access, existing: Existing) -> Result<Replace> {
        check_target(target, existing, "a regular file", fs::FileType::is_file)?;
        let file = tempfile::Builder::new()
            .prefix(".verbatim-")
            .permissions(Permissions::from_mode(access.file_mode()))
            .tempfile_in(parent(target))
            .map_err(|e| Error::create(target, e))?;
        Ok(Replace { file: BufWriter::new(file), target: target.to_path_buf(), existing })
    }

    /// Flushes to disk and moves the file to its target.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take the bytes, [`Error::Exists`] when somebody else
    /// has made the target meanwhile and it was not to be replaced.
    pub fn finish(self) -> Result<()> {
        let Replace { file, target, existing } = self;
        let file = file.into_inner().map_err(|e| Error::io(&target, "write", e.into_error()))?;
        file.as_file().sync_all().map_err(|e| Error::io(&target, "flush to disk", e))?;
        let persisted = match existing {
            Existing::Refuse => file.persist_noclobber(&target),
            Existing::Replace => file.persist(&target),
        };
        persisted.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: target.clone() },
            _ => Error::create(&target, e.error),
        })?;
        sync_folder(parent(&target))
    }
}

impl Write for Replace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A whole output folder that appears at its target only when it is committed.
///
/// Dropped uncommitted, it leaves the target as it was and removes what was built.
#[derive(Debug)]
#[must_use = "the target does not appear before `commit`"]
pub struct StagedDir {
    staged: TempDir,
    /// Locked as long as it is open, which tells that somebody still builds here; `None` where folders cannot be locked.
    _lock: Option<File>,
    target: PathBuf,
    existing: Existing,
}

impl StagedDir {
    /// Starts a folder beside `target`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotReplaceable`] or [`Error::Create`].
    pub fn create(target: &Path, access: Access, existing: Existing) -> Result<StagedDir> {
        check_target(target, existing, "a folder", fs::FileType::is_dir)?;
        sweep(parent(target));
        loop {
            let staged = tempfile::Builder::new()
                .prefix(STAGED_PREFIX)
                .permissions(Permissions::from_mode(access.folder_mode()))
                .tempdir_in(parent(target))
                .map_err(|e| Error::create(target, e))?;
            // Another process that sweeps may have come between; then it has the lock, or the folder is gone.
            let folder = File::open(staged.path());
            let locked = folder.as_ref().ok().map(File::try_lock);
            let _lock = match (folder, locked) {
                (Err(e), _) if e.kind() == io::ErrorKind::NotFound => continue,
                (_, Some(Err(TryLockError::WouldBlock))) => continue,
                (Ok(folder), Some(Ok(()))) if staged.path().exists() => Some(folder),
                (Ok(_), Some(Ok(()))) => continue,
                _ => None,
            };
            return Ok(StagedDir { staged, _lock, target: target.to_path_buf(), existing });
        }
    }

    /// Where to build.
    pub fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Flushes the folders to disk and moves the whole to its target, in one step.
    ///
    /// Files must have been flushed by who wrote them ([`Output::finish`] does).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Exists`] or [`Error::Create`]; the target is then as it was.
    pub fn commit(self) -> Result<()> {
        let StagedDir { staged, target, existing, _lock } = self;
        sync_tree(staged.path())?;
        match (rename(staged.path(), &target, RenameFlags::NOREPLACE), existing) {
            (Ok(()), _) => forget(staged),
            (Err(Errno::EXIST), Existing::Refuse) => return Err(Error::Exists { path: target }),
            (Err(Errno::EXIST), Existing::Replace) => {
                match rename(staged.path(), &target, RenameFlags::EXCHANGE) {
                    // The temporary name now holds the old folder.
                    Ok(()) => {
                        staged.close().map_err(|e| Error::io(&target, "remove the old folder of", e))?
                    }
                    Err(e) if is_unsupported(e) => replace_in_two_steps(staged, &target)?,
                    Err(e) => return Err(Error::create(&target, e.into())),
                }
            }
            (Err(e), _) if is_unsupported(e) => match (target.exists(), existing) {
                (false, _) => {
                    fs::rename(staged.path(), &target).map_err(|e| Error::create(&target, e))?;
                    forget(staged);
                }
                (true, Existing::Refuse) => return Err(Error::Exists { path: target }),
                (true, Existing::Replace) => replace_in_two_steps(staged, &target)?,
            },
            (Err(e), _) => return Err(Error::create(&target, e.into())),
        }
        sync_folder(parent(&target))
    }
}

const STAGED_PREFIX: &str = ".verbatim-";

/// Removes what killed processes were building beside a target. What cannot be looked at or removed is left alone: it is
/// in nobody's way.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let drawn = name.as_encoded_bytes().strip_prefix(STAGED_PREFIX.as_bytes());
        let is_staged =
            drawn.is_some_and(|drawn| drawn.len() == 6 && drawn.iter().all(u8::is_ascii_alphanumeric));
        if is_staged && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let Ok(staged) = File::open(entry.path()) else { continue };
            if staged.try_lock().is_ok() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A new file inside a folder that is not yet in use, such as a [`StagedDir`].
#[derive(Debug)]
#[must_use = "bytes may still be in memory before `finish`"]
pub struct Output {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Output {
    /// The path as it was given, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is buffered and flushes to disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take the bytes.
    pub fn finish(self) -> Result<()> {
        let file = self.file.into_inner().map_err(|e| Error::io(&self.path, "write", e.into_error()))?;
        file.sync_all().map_err(|e| Error::io(&self.path, "flush to disk", e))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Creates a file that must not exist yet.
///
/// # Errors
/// [`Error::Exists`] or [`Error::Create`].
pub fn create_file(path: &Path, access: Access) -> Result<Output> {
    let file =
        OpenOptions::new().write(true).create_new(true).mode(access.file_mode()).open(path).map_err(|e| {
            match e.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_path_buf() },
                _ => Error::create(path, e),
            }
        })?;
    Ok(Output { file: BufWriter::with_capacity(1 << 17, file), path: path.to_path_buf() })
}

/// Writes a new file that only its owner may read.
///
/// # Errors
/// Those of [`create_file`] and [`Output::finish`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_new(path, Access::Private, bytes)
}

/// Writes a new file that everybody may read.
///
/// # Errors
/// Those of [`create_file`] and [`Output::finish`].
pub fn write_shared(path: &Path, bytes: &[u8]) -> Result<()> {
    write_new(path, Access::Shared, bytes)
}

fn write_new(path: &Path, access: Access, bytes: &[u8]) -> Result<()> {
    let mut output = create_file(path, access)?;
    output.write_all(bytes).map_err(|e| Error::io(path, "write", e))?;
    output.finish()
}

/// Fails early, before hours of work, when the target cannot be made or replaced at the end.
fn check_target(
    target: &Path,
    existing: Existing,
    expected: &'static str,
    is_expected: fn(&fs::FileType) -> bool,
) -> Result<()> {
    match (fs::symlink_metadata(target), existing) {
        (Err(e), _) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(e), _) => Err(Error::create(target, e)),
        (Ok(_), Existing::Refuse) => Err(Error::Exists { path: target.to_path_buf() }),
        (Ok(found), Existing::Replace) if is_expected(&found.file_type()) => Ok(()),
        (Ok(_), Existing::Replace) => Err(Error::NotReplaceable { path: target.to_path_buf(), expected }),
    }
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> rustix::io::Result<()> {
    renameat_with(CWD, from, CWD, to, flags)
}

/// True when a file system has no exclusive or exchanging rename (NFS among others).
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Replaces a folder where the file system cannot exchange two. A crash between the steps leaves the
/// old folder whole, but under a temporary name beside the target.
fn replace_in_two_steps(staged: TempDir, target: &Path) -> Result<()> {
    let failed = |e| Error::create(target, e);
    let aside = tempfile::Builder::new().prefix(".verbatim-").tempdir_in(parent(target)).map_err(failed)?;
    let old = aside.path().join("old");
    fs::rename(target, &old).map_err(failed)?;
    if let Err(e) = fs::rename(staged.path(), target) {
        return match fs::rename(&old, target) {
            Ok(()) => Err(failed(e)),
            Err(e) => Err(Error::io(&aside.keep(), "move the old output back from", e)),
        };
    }
    forget(staged);
    aside.close().map_err(|e| Error::io(target, "remove the old folder of", e))
}

/// Nothing is left at the temporary name, so there is nothing to remove.
fn forget(staged: TempDir) {
    let _ = staged.keep();
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(path, "flush to disk", e))
}

/// Flushes a folder and every folder below it; without that, names may be lost in a power cut.
fn sync_tree(root: &Path) -> Result<()> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        sync_folder(&folder)?;
        let failed = |e| Error::io(&folder, "list", e);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_killed_runs_left_is_swept_and_what_others_build_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let building = StagedDir::create(&target, Access::Shared, Existing::Refuse).unwrap();
        write_shared(&building.path().join("a"), b"a").unwrap();
        let left = folder.path().join(".verbatim-a1b2C3");
        fs::create_dir(&left).unwrap();
        write_shared(&left.join("b"), b"b").unwrap();
        fs::create_dir(folder.path().join(".verbatim-other")).unwrap();
        let second =
            StagedDir::create(&folder.path().join("out2"), Access::Shared, Existing::Refuse).unwrap();
        assert!(!left.exists() && folder.path().join(".verbatim-other").exists());
        building.commit().unwrap();
        second.commit().unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        write_shared(&target, b"old").unwrap();

        let mut dropped = Replace::create(&target, Access::Private, Existing::Replace).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["out"]);

        let mut finished = Replace::create(&target, Access::Private, Existing::Replace).unwrap();
        finished.write_all(b"new").unwrap();
        finished.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(mode(&target), 0o600);
    }

    #[test]
    fn an_existing_output_is_refused_at_the_start_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let late = Replace::create(&target, Access::Private, Existing::Refuse).unwrap();
        let late_dir = StagedDir::create(&target, Access::Private, Existing::Refuse).unwrap();
        write_shared(&target, b"old").unwrap();
        assert!(matches!(late.finish(), Err(Error::Exists { .. })));
        assert!(matches!(late_dir.commit(), Err(Error::Exists { .. })));
        let early = Replace::create(&target, Access::Private, Existing::Refuse).unwrap_err();
        assert_eq!(early.exit_code(), 73);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_cannot_be_created_or_replaced_is_73() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/out");
        let file = dir.path().join("file");
        write_shared(&file, b"old").unwrap();
        let codes = [
            Replace::create(&missing, Access::Shared, Existing::Replace).unwrap_err().exit_code(),
            StagedDir::create(&missing, Access::Shared, Existing::Replace).unwrap_err().exit_code(),
            StagedDir::create(&file, Access::Shared, Existing::Replace).unwrap_err().exit_code(),
            Replace::create(dir.path(), Access::Shared, Existing::Replace).unwrap_err().exit_code(),
            create_file(&missing, Access::Shared).unwrap_err().exit_code(),
        ];
        assert_eq!(codes, [73; 5]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut output = Output { file: BufWriter::new(file), path: "/dev/full".into() };
        output.write_all(b"buffered").unwrap();
        assert_eq!(output.finish().unwrap_err().exit_code(), 74);
    }

    #[test]
    fn private_outputs_are_private_whatever_the_umask() {
        let before = rustix::process::umask(rustix::fs::Mode::empty());
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("run");
        let staged = StagedDir::create(&target, Access::Private, Existing::Refuse).unwrap();
        write_private(&staged.path().join("findings"), b"x").unwrap();
        staged.commit().unwrap();
        let file = dir.path().join("file");
        Replace::create(&file, Access::Private, Existing::Refuse).unwrap().finish().unwrap();
        rustix::process::umask(before);
        assert_eq!(mode(&target), 0o700);
        assert_eq!(mode(&target.join("findings")), 0o600);
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all_and_replaces_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for content in ["first", "second"] {
            let dropped = StagedDir::create(&target, Access::Shared, Existing::Replace).unwrap();
            write_shared(&dropped.path().join("half"), b"").unwrap();
            drop(dropped);
            let staged = StagedDir::create(&target, Access::Shared, Existing::Replace).unwrap();
            fs::create_dir(staged.path().join("sub")).unwrap();
            write_shared(&staged.path().join("sub").join(content), content.as_bytes()).unwrap();
            staged.commit().unwrap();
            assert_eq!(names(dir.path()), ["out"]);
            assert_eq!(names(&target.join("sub")), [content]);
        }
    }

    #[test]
    fn a_file_system_without_exchange_replaces_in_two_steps() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        write_shared(&target.join("old"), b"").unwrap();
        let staged = tempfile::tempdir_in(dir.path()).unwrap();
        write_shared(&staged.path().join("new"), b"").unwrap();
        replace_in_two_steps(staged, &target).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(names(&target), ["new"]);

        let gone = tempfile::tempdir_in(dir.path()).unwrap();
        fs::remove_dir(gone.path()).unwrap();
        assert_eq!(replace_in_two_steps(gone, &target).unwrap_err().exit_code(), 73);
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(names(&target), ["new"]);
    }
}
