//! Files as byte slices: mapped where it pays, read where it does not.
//!
//! This is the only file of the project with `unsafe` code. What a mapping cannot promise is that
//! nobody writes to the file; `Bytes` says how that is met.

#![expect(unsafe_code, reason = "mapping a file and catching SIGBUS have no safe interface")]

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapMut};

use crate::{Error, Result, Scratch};

/// Smaller files are read: a mapping costs one of the process's 65,530 (Linux's default) mappings,
/// which a folder of many small files would use up.
const MIN_MAPPED_BYTES: u64 = 1 << 14;

/// The content of a file, or bytes owned, as one slice.
///
/// A mapped file that another process changes shows those changes: nothing here crashes on it, but
/// results would be of no use. So [`Bytes::verify_unchanged`] compares size, modification time and
/// inode with those at opening; call it before results are committed. A mapped file that is cut
/// short raises SIGBUS on access, see [`install_truncation_handler`].
pub struct Bytes {
    content: Content,
    identity: Option<Identity>,
}

enum Content {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

#[derive(PartialEq)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Bytes {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::NotRegular`] when it cannot be opened as a file,
    /// [`Error::Io`] when reading fails.
    pub fn open(path: &Path) -> Result<Bytes> {
        Bytes::map_file(open_regular(path)?, path)
    }

    /// Opens a regular file and reads it into memory: it then cannot be cut short under the reader.
    ///
    /// # Errors
    /// As [`Bytes::open`].
    pub fn read(path: &Path) -> Result<Bytes> {
        let mut file = open_regular(path)?;
        let identity = Identity::of(&file.metadata().map_err(|e| Error::io(path, "read", e))?, path);
        let content = Content::Owned(read(&mut file, path, identity.len)?);
        Ok(Bytes { content, identity: Some(identity) })
    }

    /// Takes the content of an open regular file; `path` is for messages and comparison.
    ///
    /// # Errors
    /// [`Error::NotRegular`] for pipes, devices and files that do not know their size (`/proc`),
    /// [`Error::Io`] when reading fails.
    pub fn map_file(mut file: File, path: &Path) -> Result<Bytes> {
        let identity = Identity::of(&file.metadata().map_err(|e| Error::io(path, "read", e))?, path);
        let len = identity.len;
        let mapped = if len >= MIN_MAPPED_BYTES { map(&file) } else { None };
        let content = match mapped {
            Some(mapping) => Content::Mapped(mapping),
            None => Content::Owned(read(&mut file, path, len)?),
        };
        Ok(Bytes { content, identity: Some(identity) })
    }

    /// Wraps bytes that stand in memory already.
    pub fn from_vec(bytes: Vec<u8>) -> Bytes {
        Bytes { content: Content::Owned(bytes), identity: None }
    }

    /// Checks that the file at the path is still the one that was opened.
    ///
    /// # Errors
    /// [`Error::Changed`] when size, modification time, inode or device differ or the file is gone.
    pub fn verify_unchanged(&self) -> Result<()> {
        let Some(identity) = &self.identity else { return Ok(()) };
        match std::fs::metadata(&identity.path) {
            Ok(metadata) if Identity::of(&metadata, &identity.path) == *identity => Ok(()),
            _ => Err(Error::Changed { path: identity.path.clone() }),
        }
    }

    /// The same bytes, for a file without a name that only this process can reach.
    pub(crate) fn without_identity(self) -> Bytes {
        Bytes { identity: None, ..self }
    }
}

/// Numbers at places that are written and read in any order: in memory where they fit, else in a mapped file without a
/// name, whose memory the system can take back.
pub struct Table {
    numbers: Numbers,
}

enum Numbers {
    Memory(Vec<u64>),
    Mapped(MmapMut),
}

impl Table {
    /// A table of zeros that takes no more than `most_bytes` of memory.
    ///
    /// # Errors
    /// [`Error::Create`] and [`Error::Io`] when the file cannot be made or mapped.
    pub fn zeros(n: usize, most_bytes: usize, scratch: &Scratch) -> Result<Table> {
        if n <= most_bytes / 8 || n == 0 {
            return Ok(Table { numbers: Numbers::Memory(vec![0; n]) });
        }
        let file = scratch.nameless()?;
        let failed = |e| Error::io(Path::new("temporary file"), "map", e);
        // Room is taken now: a full disk would otherwise end the process at a write to memory.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 8 * n as u64)
            .or_else(|_| rustix::fs::ftruncate(&file, 8 * n as u64))
            .map_err(|e| failed(e.into()))?;
        // SAFETY: The file has no name and its only handle is closed here, so nobody else can write to it or cut it
        // short; the mapping is the only way to its bytes.
        let mapping = unsafe { MmapMut::map_mut(&file) }.map_err(failed)?;
        Ok(Table { numbers: Numbers::Mapped(mapping) })
    }
}

impl Deref for Table {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match &self.numbers {
            Numbers::Memory(numbers) => numbers,
            Numbers::Mapped(mapping) => bytemuck::cast_slice(mapping),
        }
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut [u64] {
        match &mut self.numbers {
            Numbers::Memory(numbers) => numbers,
            Numbers::Mapped(mapping) => bytemuck::cast_slice_mut(mapping),
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn open_regular(path: &Path) -> Result<File> {
    // Opening a FIFO would wait for its writer, so the kind is asked first.
    let kind = std::fs::metadata(path).map_err(|e| Error::input(path, e))?.file_type();
    if kind.is_dir() {
        return Err(Error::input(path, std::io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() {
        return Err(Error::NotRegular { path: path.to_path_buf() });
    }
    File::open(path).map_err(|e| Error::input(path, e))
}

impl Identity {
    fn of(metadata: &std::fs::Metadata, path: &Path) -> Identity {
        Identity {
            path: path.to_path_buf(),
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A read-only mapping, or `None` where the file system or the process has no room for one.
fn map(file: &File) -> Option<Mmap> {
    // SAFETY: The mapping is private and read-only, and the slice is only ever read as plain bytes,
    // for which every value is valid. What remains: if another process writes to the file the bytes
    // change under a shared reference. No code here bases memory safety on them staying equal
    // (lengths come from the mapping, every offset is bounds-checked, and `str` is only made by
    // checking the bytes at the time of use or by lossy copies), and `verify_unchanged` finds the
    // change before a result is committed. If the file is cut short, access raises SIGBUS, which
    // ends the process with exit code 74 once `install_truncation_handler` was called.
    unsafe { Mmap::map(file) }.ok()
}

fn read(file: &mut (impl Read + Seek), path: &Path, len: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(path, "read", e);
    let n = usize::try_from(len).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(n).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
    file.rewind().map_err(failed)?;
    let all = file.take(len.saturating_add(1)).read_to_end(&mut bytes);
    all.map_err(|e| failed(io::Error::new(e.kind(), format!("{e} at byte {}", bytes.len()))))?;
    // Files of `/proc` say that they are empty and then are not.
    if bytes.len() != n {
        return match n {
            0 => Err(Error::NotRegular { path: path.to_path_buf() }),
            _ => Err(Error::Changed { path: path.to_path_buf() }),
        };
    }
    Ok(bytes)
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.content {
            Content::Mapped(mapping) => mapping,
            Content::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.content {
            Content::Mapped(_) => "mapped",
            Content::Owned(_) => "owned",
        };
        f.debug_struct("Bytes").field("kind", &kind).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Ends the process with exit code 74 when a mapped input is cut short, and makes a write over the
/// file size limit an ordinary error. For the program's `main`, once, before threads start.
pub fn install_truncation_handler() {
    // SAFETY: `on_sigbus` has the signature that `sa_handler` needs and calls only functions that
    // POSIX lists as safe inside a signal handler. A zeroed `sigaction` is valid (no flags, empty
    // mask). `SIG_IGN` is a valid disposition for SIGXFSZ. Both calls can only fail for invalid
    // signal numbers, which these are not.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as libc::sighandler_t;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Tells what happened and leaves: the access that raised the signal can never be completed.
///
/// # Safety
/// Only for the kernel to call: it ends the process without running any destructor.
unsafe extern "C" fn on_sigbus(_signal: libc::c_int) {
    const MESSAGE: &[u8] =
        b"verbatim: an input file was cut short while it was read; nothing was committed\n";
    // SAFETY: write and _exit are async-signal-safe; the pointer and length are those of a static.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(74);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        crate::write_private(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn empty_small_and_mapped_files_read_as_their_bytes() {
        for n in [0, 1, MIN_MAPPED_BYTES - 1, MIN_MAPPED_BYTES, 5 * MIN_MAPPED_BYTES + 3] {
            let content: Vec<u8> = (0..n).map(|i| (i % 253) as u8).collect();
            let (_dir, path) = file_of(&content);
            let bytes = Bytes::open(&path).unwrap();
            assert_eq!(matches!(bytes.content, Content::Mapped(_)), n >= MIN_MAPPED_BYTES);
            assert!(bytes[..] == content[..]);
            bytes.verify_unchanged().unwrap();
        }
    }

    #[test]
    fn a_table_holds_what_was_written_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        for (n, most_bytes, is_mapped) in [(0, 0, false), (1000, 8000, false), (1000, 7999, true)] {
            let mut table = Table::zeros(n, most_bytes, &scratch).unwrap();
            assert_eq!(matches!(table.numbers, Numbers::Mapped(_)), is_mapped);
            assert!(table.iter().all(|&number| number == 0) && table.len() == n);
            (0..n).rev().for_each(|i| table[i] = (i * i) as u64);
            assert!((0..n).all(|i| table[i] == (i * i) as u64));
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    /// Runs itself as a child process, which uses up its mappings.
    #[test]
    fn fault_30_a_file_that_cannot_be_mapped_is_read() {
        const CHILD: &str = "VERBATIM_STORE_TEST_MAPPINGS";
        if std::env::var_os(CHILD).is_some() {
            let content = vec![b'a'; MIN_MAPPED_BYTES as usize];
            let (_dir, path) = file_of(&content);
            let mut mapped = Vec::new();
            loop {
                let bytes = Bytes::open(&path).unwrap();
                bytes.verify_unchanged().unwrap();
                assert!(bytes[..] == content[..]);
                match bytes.content {
                    Content::Mapped(_) => mapped.push(bytes),
                    Content::Owned(_) => return,
                }
            }
        }
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        if limit.trim().parse::<u32>().is_ok_and(|limit| limit <= 1 << 18) {
            let name = "map::tests::fault_30_a_file_that_cannot_be_mapped_is_read";
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let child = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        } else {
            eprintln!("SKIPPED: too many mappings to use up, or how many is not known");
        }
    }

    #[test]
    fn fault_32_a_disk_that_fails_in_the_middle_is_74_with_the_byte() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0 {
                    0 => Err(io::Error::from_raw_os_error(libc::EIO)),
                    left => {
                        let n = buffer.len().min(left);
                        self.0 -= n;
                        Ok(n)
                    }
                }
            }
        }
        impl Seek for Broken {
            fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let error = read(&mut Broken(5000), Path::new("a.jsonl"), 20_000).unwrap_err();
        assert_eq!(error.exit_code(), 74);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("Input/output error") && cause.ends_with("at byte 5000"), "{cause}");
    }

    #[test]
    fn only_regular_files_with_a_known_size_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), Path::new("/dev/zero"), Path::new("/proc/version"), Path::new("missing")] {
            assert_eq!(Bytes::open(path).unwrap_err().exit_code(), 66, "{}", path.display());
        }
    }

    #[test]
    fn grown_rewritten_replaced_and_removed_files_are_noticed() {
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let changes: [fn(&Path); 4] = [
            |p| std::io::Write::write_all(&mut File::options().append(true).open(p).unwrap(), b"x").unwrap(),
            |p| File::options().write(true).open(p).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
            |p| {
                let beside = p.with_extension("new");
                std::fs::copy(p, &beside).unwrap();
                std::fs::rename(beside, p).unwrap();
            },
            |p| std::fs::remove_file(p).unwrap(),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let (_dir, path) = file_of(&vec![b'a'; 2 * MIN_MAPPED_BYTES as usize]);
            assert!(std::fs::metadata(&path).unwrap().modified().unwrap() > long_ago);
            let bytes = Bytes::open(&path).unwrap();
            change(&path);
            assert_eq!(bytes.verify_unchanged().unwrap_err().exit_code(), 74, "change {i}");
        }
    }

    #[test]
    fn debug_output_shows_no_content() {
        assert_eq!(
            format!("{:?}", Bytes::from_vec(b"secret".to_vec())),
            "Bytes { kind: \"owned\", len: 6, .. }"
        );
    }

    /// Runs itself as a child process that maps a file, cuts it short and reads on.
    #[test]
    fn a_mapped_file_cut_short_ends_the_process_with_74() {
        const CHILD: &str = "VERBATIM_STORE_TEST_TRUNCATED";
        if let Some(path) = std::env::var_os(CHILD) {
            install_truncation_handler();
            let bytes = Bytes::open(Path::new(&path)).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
            let sum: u64 = bytes.iter().map(|&b| u64::from(b)).sum();
            panic!("read {sum} from a file that is empty");
        }
        let (_dir, path) = file_of(&vec![1; 1 << 20]);
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "map::tests::a_mapped_file_cut_short_ends_the_process_with_74", "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(74));
        assert!(String::from_utf8_lossy(&child.stderr).contains("cut short"));
    }
}
