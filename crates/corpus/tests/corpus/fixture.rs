//! Folders of small inputs, and short ways to open them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use verbatim_corpus::{Corpus, Error, MaxBad, OnBad, OpenConfig, Result};
use verbatim_store::Silent;

/// A folder that goes away with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::options().write(true).create_new(true).open(&path).unwrap();
        file.write_all(content.as_ref()).unwrap();
        path
    }
}

pub(crate) fn skip() -> OpenConfig {
    OpenConfig { on_bad: OnBad::Skip, max_bad: MaxBad::Fraction(1.0), ..OpenConfig::standard() }
}

pub(crate) fn open(path: &Path, config: &OpenConfig) -> Result<Corpus> {
    Corpus::open(&[path.to_path_buf()], config, &Silent)
}

/// Opens one file with this name and content.
pub(crate) fn open_bytes(name: &str, content: impl AsRef<[u8]>, config: &OpenConfig) -> Result<Corpus> {
    let folder = Folder::new();
    open(&folder.write(name, content), config)
}

pub(crate) fn texts(corpus: &Corpus) -> Vec<String> {
    corpus.ids().map(|id| corpus.text_str(id).into_owned()).collect()
}

pub(crate) fn causes(corpus: &Corpus) -> Vec<String> {
    corpus.rejects().iter().map(|reject| reject.cause.to_string()).collect()
}

/// The error of opening a bad input: 65 in error mode, with what the message must hold.
pub(crate) fn assert_bad(result: Result<Corpus>, parts: &[&str]) {
    assert_error(result, 65, parts);
}

pub(crate) fn assert_error(result: Result<Corpus>, exit_code: u8, parts: &[&str]) {
    let error: Error = result.expect_err("this input must not open");
    let message = error.to_string();
    assert_eq!(error.exit_code(), exit_code, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd_frame(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(content), &mut out).unwrap();
    out
}
