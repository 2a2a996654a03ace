//! What a result was computed from: version, parameters, seeds, and hashes of every input. All of it is part of
//! the result, so that two equal results had equal origins.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// What a result was computed from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Every parameter that can change the result, by its flag's name.
    pub parameters: BTreeMap<String, Value>,
    /// Every seed, by what it is for.
    pub seeds: BTreeMap<String, u64>,
    /// The corpora that were read.
    pub corpora: Vec<CorpusUsed>,
    /// The models that were asked.
    pub models: Vec<ModelUsed>,
}

impl Provenance {
    /// The provenance of a result of this program version, with no input yet.
    pub fn new(version: &str) -> Provenance {
        Provenance {
            version: version.to_owned(),
            parameters: BTreeMap::new(),
            seeds: BTreeMap::new(),
            corpora: Vec::new(),
            models: Vec::new(),
        }
    }

    /// Adds a parameter; anything that JSON can hold.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Into<Value>) -> Provenance {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a seed.
    #[must_use]
    pub fn seed(mut self, name: &str, seed: u64) -> Provenance {
        self.seeds.insert(name.to_owned(), seed);
        self
    }

    /// Adds a corpus.
    #[must_use]
    pub fn corpus(mut self, corpus: CorpusUsed) -> Provenance {
        self.corpora.push(corpus);
        self
    }

    /// Adds a model.
    #[must_use]
    pub fn model(mut self, model: ModelUsed) -> Provenance {
        self.models.push(model);
        self
    }
}

/// A corpus that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CorpusUsed {
    /// What it was read for: `input`, `verification`, ...
    pub role: String,
    /// The corpus room's fingerprint: xxh3-128 over shard names and records.
    pub fingerprint: String,
    /// Documents in it.
    pub n_documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Records that could not be read and were left out; not told where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_rejected: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A model that was asked, named by the hashes of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelUsed {
    /// What it was asked for: `audited`, `small`, `medium`, `raw`, `deduplicated`.
    pub role: String,
    /// Its name: a folder's name or a hub id.
    pub name: String,
    /// The resolved commit on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Fingerprint of the corpus that it was trained on, where a `training.json` beside it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// SHA-256 of its tokenizer.
    pub tokenizer_sha256: String,
    /// Its files.
    pub files: Vec<FileUsed>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileUsed {
    /// Its name in the model's folder.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its length.
    pub n_bytes: u64,
}

#[cfg(test)]
mod tests {
    use crate::html::Page;
    use crate::redact::Reveal;
    use crate::samples;

    #[test]
    fn records_that_could_not_be_read_are_told_where_there_are_any() {
        let mut report = samples::demo(Reveal::Redacted);
        for (n_rejected, json, html) in [
            (2, "\"n_rejected\": 2", "2 records that could not be read"),
            (1, "\"n_rejected\": 1", "1 record that could not be read"),
        ] {
            report.result.provenance.corpora[0].n_rejected = n_rejected;
            assert!(report.to_json().unwrap().contains(json));
            assert!(report.to_html().unwrap().contains(html));
        }
        report.result.provenance.corpora[0].n_rejected = 0;
        assert!(!report.to_json().unwrap().contains("n_rejected"));
        assert!(!report.to_html().unwrap().contains("could not be read"));
    }
}
