//! Which personal data and secrets a sample says, and which of them are proven: stand in the corpus with the match.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use verbatim_index::{Secret, SecretKind};

use crate::draw::DrawnSample;

/// Something in a sample that is personal data or a secret by its form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenSecret {
    /// What it is.
    pub kind: SecretKind,
    /// Where it begins in the sample's bytes.
    pub start_byte: u64,
    /// Its bytes.
    pub n_bytes: u64,
    /// Whether all of it lies in the longest match, so that it stands in the corpus word for word, whether or not the
    /// match has tokens enough for the sample to count as memorized.
    pub proven: bool,
}

impl SpokenSecret {
    /// Its value in the bytes of its sample, as one that is written otherwise would be written too.
    pub fn value(&self, text: &[u8]) -> String {
        let start = (self.start_byte as usize).min(text.len());
        let end = (start + self.n_bytes as usize).min(text.len());
        self.kind.normalized(&text[start..end])
    }
}

/// What a sample says, before anything is looked up.
pub fn spoken_secrets(sample: &DrawnSample) -> Vec<SpokenSecret> {
    secrets_in(&sample.text_bytes(), None)
}

/// What a text says, proven where it lies in the matched part.
pub(crate) fn secrets_in(text: &[u8], matched: Option<Range<usize>>) -> Vec<SpokenSecret> {
    let spoken = |Secret { kind, range }: Secret| SpokenSecret {
        kind,
        start_byte: range.start as u64,
        n_bytes: range.len() as u64,
        proven: matched.as_ref().is_some_and(|m| m.start <= range.start && range.end <= m.end),
    };
    verbatim_index::secrets(text).into_iter().map(spoken).collect()
}
