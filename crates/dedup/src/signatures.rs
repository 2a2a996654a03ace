//! Signatures of a corpus, saved so that later corpora can be compared with it without reading all of it again.
//!
//! Texts are not saved: copies are confirmed in the corpus itself, which must still be what it was.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use verbatim_corpus::{Corpus, DocId, Origin};
use verbatim_store::{Progress, RunFile, Scratch, Sorted, read_manifest, write_shared};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::DedupConfig;
use crate::error::{Error, Result};
use crate::minhash::Permutations;
use crate::plan::{ExactParameters, MinhashParameters, Parameters};
use crate::room::Resources;
use crate::signs::{Sign, Signing};

const MANIFEST: &str = "manifest.json";
const MAGIC: &str = "verbatim signatures";
const VERSION: u32 = 1;

/// Saved signatures.
#[derive(Debug)]
pub struct Signatures {
    manifest: Manifest,
    /// The folder that they stand in.
    pub(crate) scratch: Scratch,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    magic: String,
    version: u32,
    /// Fingerprint of the corpus.
    corpus: String,
    n_documents: u64,
    source: Origin,
    exact: Option<ExactParameters>,
    minhash: Option<MinhashParameters>,
    files: Vec<RunFile>,
}

impl Signatures {
    /// Notes the signatures of a corpus and writes them into a folder that is being staged.
    ///
    /// # Errors
    /// Those of reading the corpus and writing files, and of a configuration that cannot be.
    pub fn build(
        (corpus, source): (&Corpus, Origin),
        config: &DedupConfig,
        (resources, folder): (&Resources, &Path),
        progress: &dyn Progress,
    ) -> Result<()> {
        let ranking: Vec<DocId> = corpus.ids().collect();
        let permutations = match &config.minhash {
            Some(minhash) => Some((&minhash.shingler, Permutations::new(minhash.resolve()?.1, minhash.seed))),
            None => None,
        };
        let signing = Signing {
            step: "signing",
            exact: config.exact.as_ref().map(|exact| (exact, xxh3_64 as _)),
            near: permutations
                .as_ref()
                .map(|(shingler, permutations)| (*shingler, permutations as &dyn Sign)),
            gone: &[],
            in_parts: false,
            known: None,
        };
        let mut signs = signing.of(corpus, &ranking, &resources.room(), progress)?;
        let scratch = Scratch::saved(folder);
        let hashes = write(&scratch, "hashes", &signs.take_hashes())?;
        let keys = write(&scratch, "keys", &signs.keys.finish())?;
        let parameters = Parameters::of(config)?;
        let manifest = Manifest {
            magic: MAGIC.to_owned(),
            version: VERSION,
            corpus: corpus.fingerprint().to_owned(),
            n_documents: corpus.n_documents(),
            source,
            exact: parameters.exact,
            minhash: parameters.minhash,
            files: vec![hashes, keys],
        };
        let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
        text.push(b'\n');
        corpus.verify_unchanged()?;
        Ok(write_shared(&folder.join(MANIFEST), &text)?)
    }

    /// Opens saved signatures; `None` where the folder holds none.
    ///
    /// # Errors
    /// [`Error::BadSignatures`] if they cannot be read.
    pub fn open(folder: &Path) -> Result<Option<Signatures>> {
        let path = folder.join(MANIFEST);
        let bad = |cause: String| Error::BadSignatures { path: path.clone(), cause };
        let manifest: Option<Manifest> = read_manifest(&path, (MAGIC, VERSION), bad)?;
        let Some(manifest) = manifest else { return Ok(None) };
        if manifest.files.iter().any(|file| Path::new(&file.name).file_name() != Some(file.name.as_ref())) {
            return Err(bad("it names a file elsewhere".to_owned()));
        }
        Ok(Some(Signatures { manifest, scratch: Scratch::saved(folder) }))
    }

    /// Where their corpus was read from, and how.
    pub fn source(&self) -> &Origin {
        &self.manifest.source
    }

    /// Documents of their corpus.
    pub(crate) fn n_documents(&self) -> u64 {
        self.manifest.n_documents
    }

    /// The files of keys and documents.
    pub(crate) fn files(&self) -> &[RunFile] {
        &self.manifest.files
    }

    /// Fails unless the records of a file are in order and of documents that there are: whoever wrote the checksum may have
    /// written anything else.
    fn check_records(&self, file: &RunFile) -> Result<()> {
        let bytes = self.scratch.open(file)?;
        let (records, rest) = bytes.as_chunks::<16>();
        let numbers = |record: &[u8; 16]| {
            let (numbers, _) = record.as_chunks::<8>();
            [numbers[0], numbers[1]].map(u64::from_le_bytes)
        };
        let are_theirs = records.iter().all(|record| numbers(record)[1] < self.manifest.n_documents);
        match rest.is_empty() && are_theirs && records.is_sorted_by_key(numbers) {
            true => Ok(()),
            false => {
                let cause = "its records are not those of its documents".to_owned();
                Err(Error::BadSignatures { path: self.scratch.folder().join(&file.name), cause })
            }
        }
    }

    /// Fails unless they are of the references of this corpus, and of what the configuration asks for.
    pub(crate) fn check(&self, corpus: &Corpus, config: &DedupConfig) -> Result<()> {
        let bad = |cause: String| Error::BadSignatures { path: self.scratch.folder().join(MANIFEST), cause };
        if corpus.references().len() as u64 != self.manifest.n_documents
            || corpus.reference_fingerprint() != self.manifest.corpus
        {
            return Err(bad("its corpus is no longer what it was".to_owned()));
        }
        let Parameters { exact, minhash, .. } = Parameters::of(config)?;
        if config.all_pairs.is_some() {
            return Err(bad("signatures serve the exact stage and MinHash, not all pairs".to_owned()));
        }
        self.manifest.files.iter().try_for_each(|file| self.check_records(file))?;
        let there = json!({ "exact": self.manifest.exact, "minhash": self.manifest.minhash });
        let differences = verbatim_store::differences(&there, &json!({ "exact": exact, "minhash": minhash }));
        match differences.is_empty() {
            true => Ok(()),
            false => Err(bad(format!("it was built with other settings ({differences})"))),
        }
    }
}

/// Writes records in order as one file.
fn write(scratch: &Scratch, name: &'static str, sorted: &Sorted<2>) -> Result<RunFile> {
    let mut records = sorted.iter();
    Ok(scratch.write((name, 0), |out| {
        records.try_for_each(|[key, rank]| {
            out.write_all(&key.to_le_bytes())?;
            out.write_all(&rank.to_le_bytes())
        })
    })?)
}
