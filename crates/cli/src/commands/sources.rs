//! What the sources of a corpus may lose, from the arguments.

use verbatim_corpus::{Corpus, FieldPath};
use verbatim_dedup::{SourceTally, Sources};
use verbatim_report::PrintableLine;

use crate::args::SourceGuard;
use crate::failure;

/// Sources that a message names.
const N_NAMED: usize = 10;
/// Characters of a name that a message shows.
const N_SHOWN: usize = 80;

impl SourceGuard {
    /// The source of each document.
    pub(crate) fn sources(&self, corpus: &Corpus) -> anyhow::Result<Sources> {
        Ok(match self.field()? {
            None => Sources::by_folder(corpus),
            Some(field) => Sources::by_field(corpus, &field)?,
        })
    }

    /// The field that names a document's source, if one does.
    pub(crate) fn field(&self) -> anyhow::Result<Option<FieldPath>> {
        let Some(field) = &self.source_field else { return Ok(None) };
        let wrong = |error| failure::usage(format!("--source-field `{field}`: {error}"));
        Ok(Some(field.parse().map_err(wrong)?))
    }

    /// Names the sources that lose more than they may; none if they may lose everything.
    pub(crate) fn alarms(&self, losses: &[SourceTally]) -> Vec<String> {
        if self.allow_source_loss {
            return Vec::new();
        }
        let wiped: Vec<&SourceTally> =
            losses.iter().filter(|tally| tally.loses_more_than(self.max_source_loss)).collect();
        let mut alarms: Vec<String> = wiped.iter().take(N_NAMED).map(|tally| alarm(tally)).collect();
        if wiped.len() > N_NAMED {
            alarms.push(format!("and {} more sources", wiped.len() - N_NAMED));
        }
        alarms
    }

    /// Fails if a source loses more than it may.
    pub(crate) fn check(&self, losses: &[SourceTally]) -> anyhow::Result<()> {
        let alarms = self.alarms(losses);
        if alarms.is_empty() {
            return Ok(());
        }
        let max_loss = self.max_source_loss * 100.0;
        Err(failure::gate(format!(
            "{}; no source may lose more than {max_loss}% (--max-source-loss), so nothing was written; look with \
             --dry-run, and write all the same with --allow-source-loss",
            alarms.join("; ")
        )))
    }
}

fn alarm(tally: &SourceTally) -> String {
    let name = match &tally.source {
        None => "the documents without a source".to_owned(),
        Some(name) => {
            let shown: String = name.chars().take(N_SHOWN).collect();
            let cut = if shown.len() < name.len() { "…" } else { "" };
            format!("source `{}{cut}`", PrintableLine(&shown))
        }
    };
    format!("{name} would lose {} of {} documents", tally.removed, tally.read)
}
