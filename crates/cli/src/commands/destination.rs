//! Where a clean corpus goes: a folder, or a prefix of an object store, for which it is built in a temporary folder first.

use std::path::Path;

use verbatim_corpus::{OpenConfig, Prefix, is_object_url};
use verbatim_store::{Access, Existing, StagedDir};

use crate::commands::{Context, reading};

/// What readers take for the sign that an output is whole: it comes last.
const LAST: &str = "_verbatim/report.json";

/// An output under way.
pub(crate) struct Destination {
    staged: StagedDir,
    prefix: Option<Prefix>,
}

impl Destination {
    /// Looks whether the output can be made, and makes room to build it.
    pub(crate) fn create(output: &Path, existing: Existing, context: &Context<'_>) -> anyhow::Result<Self> {
        if !is_object_url(output) {
            let staged = StagedDir::create(output, Access::Shared, existing)?;
            return Ok(Destination { staged, prefix: None });
        }
        let prefix = Prefix::open(output, existing, &reading::here(OpenConfig::standard()), context.teller)?;
        let built = std::env::temp_dir().join("verbatim-output");
        let staged = StagedDir::create(&built, Access::Private, Existing::Replace)?;
        Ok(Destination { staged, prefix: Some(prefix) })
    }

    /// Where to build.
    pub(crate) fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Lets the output appear.
    pub(crate) fn commit(self, context: &Context<'_>) -> anyhow::Result<()> {
        match self.prefix {
            None => self.staged.commit()?,
            Some(prefix) => prefix.publish(self.staged.path(), Path::new(LAST), context.teller)?,
        }
        Ok(())
    }
}
