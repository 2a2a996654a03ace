//! Real corpora, where `VERBATIM_DATA` names a folder that has them.

use std::path::PathBuf;

use verbatim_corpus::{OpenConfig, write_survivors};
use verbatim_store::Silent;

use crate::fixture::{Folder, open};

/// (file below the folder, documents).
const FILES: [(&str, u64); 2] =
    [("corpora/tinystories_1000.jsonl.zst", 1000), ("dedup/spdx_licenses.jsonl.zst", 727)];

#[test]
fn real_corpora_open_and_come_back_unchanged() {
    let Some(data) = std::env::var_os("VERBATIM_DATA") else {
        eprintln!("SKIPPED: VERBATIM_DATA is not set");
        return;
    };
    for (name, n_documents) in FILES {
        let corpus = open(&PathBuf::from(&data).join(name), &OpenConfig::standard()).unwrap();
        assert_eq!(corpus.n_documents(), n_documents, "{name}");
        let out = Folder::new();
        write_survivors(&corpus, &vec![true; n_documents as usize], out.path(), &Silent).unwrap();
        let again = open(out.path(), &OpenConfig::standard()).unwrap();
        assert_eq!(again.fingerprint(), corpus.fingerprint());
        assert_eq!(again.text_bytes(), corpus.text_bytes());
    }
}
