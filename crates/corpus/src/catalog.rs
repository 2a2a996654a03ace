//! Where the documents of listed files are, saved by the process that scanned them, so that others open the corpus without
//! a scan.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use verbatim_store::{Bytes, Error as StoreError, Progress, RunFile, open_part, write_part};

use crate::corpus::{Corpus, open_shards};
use crate::document::size;
use crate::error::{Error, Result};
use crate::formats::{Container, Format};
use crate::ids::ShardIds;
use crate::listing::Listing;
use crate::reject::Reject;
use crate::schema::{MaxBad, OpenConfig};
use crate::shard::{Notes, Shard};
use crate::source::Source;
use crate::spans::Spans;

/// Where the documents of some files of a listing are. The tables stand in files of a folder beside it; so do the contents
/// of compressed files and the texts of files of columns, which would else be unpacked again by everyone who looks at a
/// document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The number in the listing of the first file.
    first: usize,
    shards: Vec<Saved>,
}

/// A shard without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    container: Container,
    format: Format,
    n_documents: u64,
    n_lines: u64,
    n_text_bytes: u64,
    n_record_bytes: u64,
    /// The two halves of the digest.
    digest: [u64; 2],
    spans: RunFile,
    decoded: Option<RunFile>,
    /// The hashes of ids, if any document has one.
    ids: Option<RunFile>,
    rejects: Vec<Reject>,
    warnings: Vec<String>,
}

impl Catalog {
    /// Scans some files of a listing and saves in a folder where their documents are. The corpus is of these files only, and
    /// whose they are does not matter to it.
    ///
    /// # Errors
    /// As [`Corpus::open`], but that nothing is said of how many bad records are too many; [`Error::NotAsListed`].
    pub fn scan(
        (listing, files): (&Listing, Range<usize>),
        config: &OpenConfig,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<(Corpus, Catalog)> {
        let first = files.start;
        let sources = listing.sources(files)?;
        progress.stage("reading", Some(sources.iter().map(Source::n_bytes_to_read).sum()), "bytes");
        let opened: Result<Vec<(Shard, Notes)>> =
            open_shards(sources, config, progress).into_iter().map_while(|shard| shard).collect();
        let opened = opened?;
        let shards: Result<Vec<Saved>> =
            opened.par_iter().enumerate().map(|(i, opened)| Saved::save(opened, first + i, folder)).collect();
        let catalog = Catalog { first, shards: shards? };
        let n_files = opened.len();
        // Ids are compared where all of them are at hand.
        let opened =
            opened.into_iter().map(|(shard, notes)| (shard, Notes { ids: ShardIds::default(), ..notes }));
        let tolerant =
            OpenConfig { max_bad: MaxBad::Records(u64::MAX), require_documents: false, ..config.clone() };
        Ok((Corpus::assembled((opened.collect(), n_files), Vec::new(), &tolerant)?, catalog))
    }

    /// Documents in its files.
    pub fn n_documents(&self) -> u64 {
        self.shards.iter().map(|shard| shard.n_documents).sum()
    }
}

impl Corpus {
    /// Opens the files that some catalogs are of, in the order of the listing, without a scan.
    ///
    /// Of all files it is the corpus that [`Corpus::open_against`] opens, but for the warning about repeated ids, for which
    /// see [`Corpus::reopen_with_ids`].
    ///
    /// # Errors
    /// [`Error::NotAsListed`] for inputs that changed; files of the catalogs that are missing or damaged; and too many bad
    /// records in all of them.
    pub fn reopen(
        listing: &Listing,
        (catalogs, folder): (&[Catalog], &Path),
        config: &OpenConfig,
    ) -> Result<Corpus> {
        reopen(listing, (catalogs, folder), config, |_, _| Ok(ShardIds::default()))
    }

    /// As [`Corpus::reopen`], with that warning.
    ///
    /// # Errors
    /// As [`Corpus::reopen`].
    pub fn reopen_with_ids(
        listing: &Listing,
        (catalogs, folder): (&[Catalog], &Path),
        config: &OpenConfig,
    ) -> Result<Corpus> {
        reopen(listing, (catalogs, folder), config, |saved, folder| {
            let Some(file) = &saved.ids else { return Ok(ShardIds::default()) };
            let bytes = open_part(folder, file)?;
            Ok(ShardIds::of_numbers(bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number))))
        })
    }
}

fn reopen(
    listing: &Listing,
    (catalogs, folder): (&[Catalog], &Path),
    config: &OpenConfig,
    ids: impl Fn(&Saved, &Path) -> Result<ShardIds> + Sync,
) -> Result<Corpus> {
    let mut files = Vec::new();
    for catalog in catalogs {
        let sources = listing.sources(catalog.first..catalog.first + catalog.shards.len())?;
        files.extend(sources.into_iter().zip(&catalog.shards));
    }
    let n_own = catalogs
        .iter()
        .flat_map(|catalog| catalog.first..catalog.first + catalog.shards.len())
        .filter(|&file| file < listing.n_own())
        .count();
    let opened: Result<Vec<(Shard, Notes)>> = files
        .into_par_iter()
        .map(|(source, saved)| {
            let notes = Notes {
                ids: ids(saved, folder)?,
                rejects: saved.rejects.clone(),
                warnings: saved.warnings.clone(),
            };
            Ok((saved.open(source, folder, config)?, notes))
        })
        .collect();
    Corpus::assembled((opened?, n_own), listing.warnings().to_vec(), config)
}

impl Saved {
    fn save((shard, notes): &(Shard, Notes), file: usize, folder: &Path) -> Result<Saved> {
        let part = |suffix: &str, bytes: &[u8]| {
            write_part(folder, &format!("file-{file}.{suffix}"), |out| out.write_all(bytes))
        };
        let ids: Vec<u8> = notes.ids.numbers().flat_map(u64::to_le_bytes).collect();
        Ok(Saved {
            container: shard.container,
            format: shard.format,
            n_documents: size(shard.spans.len()),
            n_lines: shard.n_lines,
            n_text_bytes: shard.n_text_bytes,
            n_record_bytes: shard.n_record_bytes,
            digest: [(shard.digest >> 64) as u64, shard.digest as u64],
            spans: part("spans", shard.spans.as_bytes())?,
            decoded: shard.decoded.as_ref().map(|content| part("texts", content)).transpose()?,
            ids: (!ids.is_empty()).then(|| part("ids", &ids)).transpose()?,
            rejects: notes.rejects.clone(),
            warnings: notes.warnings.clone(),
        })
    }

    fn open(&self, source: Source, folder: &Path, config: &OpenConfig) -> Result<Shard> {
        let file = if config.map_files { Bytes::open(&source.path)? } else { Bytes::read(&source.path)? };
        let decoded = match &self.decoded {
            None => None,
            Some(part) => {
                // Of what is as long as a corpus, the length must do.
                let path = folder.join(&part.name);
                let content = Bytes::open(&path)?;
                if content.len() as u64 != part.n_bytes {
                    return Err(damaged(&path));
                }
                Some(content)
            }
        };
        let content_len = decoded.as_ref().map_or(file.len(), |content| content.len());
        let spans = Spans::of_saved(open_part(folder, &self.spans)?, content_len, self.n_lines)
            .filter(|spans| size(spans.len()) == self.n_documents)
            .ok_or_else(|| damaged(&folder.join(&self.spans.name)))?;
        let [high, low] = self.digest;
        Ok(Shard {
            name: source.name,
            path: source.path,
            container: self.container,
            format: self.format,
            text_field: config.text_field.clone(),
            file: Arc::new(file),
            object: None,
            decoded,
            columns: Mutex::default(),
            spans,
            n_lines: self.n_lines,
            n_text_bytes: self.n_text_bytes,
            n_record_bytes: self.n_record_bytes,
            digest: u128::from(high) << 64 | u128::from(low),
        })
    }
}

fn damaged(path: &Path) -> Error {
    Error::Store(StoreError::damaged(path, "it is not what was written"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::schema::OnBad;
    use verbatim_store::{Silent, write_private, write_shared};

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Files of several kinds, with bad records and repeated ids.
    fn inputs(folder: &Path) -> [Vec<PathBuf>; 2] {
        let files: [(&str, Vec<u8>); 5] = [
            (
                "a.jsonl",
                b"{\"id\": 1, \"text\": \"one\"}\n{\"text\": 2}\n\n{\"id\": 2, \"text\": \"two\"}\n".to_vec(),
            ),
            ("b.jsonl.gz", gzip("{\"text\": \"three\", \"id\": 2}\n{\"text\": \"\\u0066our\", \"id\": 1}\n")),
            ("c.txt", b"a text\nof two lines".to_vec()),
            ("d.jsonl", b"".to_vec()),
            ("e.jsonl", b"{\"text\": \"five\"}\nx\n".to_vec()),
        ];
        let paths = files.map(|(name, bytes)| {
            write_shared(&folder.join(name), &bytes).unwrap();
            folder.join(name)
        });
        [paths[..4].to_vec(), paths[4..].to_vec()]
    }

    #[test]
    fn a_corpus_that_is_opened_from_catalogs_is_the_one_that_was_scanned() {
        let (folder, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [own, others] = inputs(folder.path());
        let config =
            OpenConfig { on_bad: OnBad::Skip, max_bad: MaxBad::Records(1), ..OpenConfig::standard() };
        let expected = Corpus::open_against(&own, &others, &config, &Silent).unwrap();
        let listing = Listing::of([&own, &others], &config, &Silent).unwrap();
        let scan = |files| Catalog::scan((&listing, files), &config, shared.path(), &Silent).unwrap();
        let catalogs: Vec<Catalog> = [0..1, 1..4, 4..5].into_iter().map(|files| scan(files).1).collect();
        let catalogs: Vec<Catalog> =
            serde_json::from_str(&serde_json::to_string(&catalogs).unwrap()).unwrap();
        let found = Corpus::reopen_with_ids(&listing, (&catalogs, shared.path()), &config).unwrap();
        assert_eq!((found.n_documents(), found.references().len()), (5, 1));
        assert_eq!(found.fingerprint(), expected.fingerprint());
        assert_eq!(found.reference_fingerprint(), expected.reference_fingerprint());
        assert_eq!(
            (found.text_bytes(), found.record_bytes()),
            (expected.text_bytes(), expected.record_bytes())
        );
        assert_eq!(found.warnings(), expected.warnings());
        assert!(found.warnings().iter().any(|warning| warning.contains("2 ids stand more than once")));
        assert_eq!((found.rejects(), found.rejects().len()), (expected.rejects(), 1));
        for doc in found.ids().chain(found.references()) {
            assert_eq!(found.text(doc), expected.text(doc));
            assert_eq!(found.record(doc), expected.record(doc));
            assert_eq!(
                (found.label(doc), found.location(doc)),
                (expected.label(doc), expected.location(doc))
            );
        }
        let without = Corpus::reopen(&listing, (&catalogs, shared.path()), &config).unwrap();
        assert_eq!(without.warnings().len() + 1, expected.warnings().len());
        let part = Corpus::reopen(&listing, (&catalogs[1..2], shared.path()), &config).unwrap();
        assert!(part.ids().map(|doc| part.text(doc).into_owned()).eq([
            &b"three"[..],
            b"four",
            b"a text\nof two lines"
        ]));
    }

    #[test]
    fn inputs_that_changed_and_catalogs_that_are_damaged_are_refused() {
        let (folder, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [own, _] = inputs(folder.path());
        let config =
            OpenConfig { on_bad: OnBad::Skip, max_bad: MaxBad::Records(1), ..OpenConfig::standard() };
        let listing = Listing::of([&own, &[]], &config, &Silent).unwrap();
        let (_, catalog) = Catalog::scan((&listing, 0..4), &config, shared.path(), &Silent).unwrap();
        let reopen = || Corpus::reopen(&listing, (std::slice::from_ref(&catalog), shared.path()), &config);
        reopen().unwrap();
        let spans = shared.path().join("file-0.spans");
        let mut bytes = std::fs::read(&spans).unwrap();
        bytes[0] ^= 1;
        std::fs::remove_file(&spans).unwrap();
        write_private(&spans, &bytes).unwrap();
        let error = reopen().unwrap_err();
        assert!(error.exit_code() == 65 && error.to_string().contains("file-0.spans"), "{error}");
        std::fs::remove_file(&own[1]).unwrap();
        write_shared(&own[1], b"other").unwrap();
        let error = reopen().unwrap_err();
        assert!(error.to_string().contains("b.jsonl.gz: no longer the file that was listed"), "{error}");
        assert!(Catalog::scan((&listing, 1..2), &config, shared.path(), &Silent).is_err());
        for input in ["-", "s3://bucket/key"] {
            let error = Listing::of([&[input.into()], &[]], &config, &Silent).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
    }
}
