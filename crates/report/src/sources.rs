//! What each source of a corpus loses.

use serde::Serialize;
use verbatim_dedup::SourceTally;

use crate::figure::rounded;

/// Sources that a report names.
const N_LISTED: usize = 1000;

/// What each source of a corpus loses, those first that lose the largest share.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceTable {
    /// Sources in all.
    pub n_sources: u64,
    /// The first of them.
    pub rows: Vec<SourceRow>,
}

/// What one source loses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceRow {
    /// Its name; none for documents that name no source.
    pub source: Option<String>,
    /// Documents read.
    pub read: u64,
    /// Documents that stay.
    pub kept: u64,
    /// Documents that go.
    pub removed: u64,
    /// Removed of read.
    pub share: f64,
}

impl SourceTable {
    pub(crate) fn new(losses: &[SourceTally]) -> SourceTable {
        let row = |tally: &SourceTally| SourceRow {
            source: tally.source.clone(),
            read: tally.read,
            kept: tally.read - tally.removed,
            removed: tally.removed,
            share: rounded(tally.share()),
        };
        SourceTable { n_sources: losses.len() as u64, rows: losses.iter().take(N_LISTED).map(row).collect() }
    }

    /// The first rows, for people; none where there is but one source, whose losses are those of the whole.
    pub(crate) fn top(&self, n: usize) -> &[SourceRow] {
        if self.n_sources < 2 { &[] } else { &self.rows[..self.rows.len().min(n)] }
    }
}

impl SourceRow {
    /// The name, or words for none.
    pub(crate) fn name(&self) -> &str {
        self.source.as_deref().unwrap_or("(none)")
    }
}
