//! The folder that the tasks of a search share: one that all machines see, or a prefix of an object store, of which each task
//! has a copy.

use std::path::{Path, PathBuf};

use verbatim_corpus::{Mirror, OpenConfig, is_object_url};
use verbatim_dedup::{StageName, Stages};

use crate::commands::{Context, reading};

/// What is done with the folder.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// Only the rows of units are looked at.
    Rows,
    /// A stage is run.
    Stage(StageName),
    /// All of it is read.
    All,
}

impl Use {
    /// Whether a file of the folder is looked at. A stage reads what those before it wrote; `verify` may be asked by `cluster`.
    fn wants(self, name: &Path) -> bool {
        let is_of = |stage: &StageName| name.starts_with(stage.name());
        let is_row = is_row(name);
        match self {
            Use::All => true,
            Use::Rows => is_row,
            Use::Stage(stage) => {
                let is_before = StageName::ALL.iter().take_while(|before| **before < stage).any(is_of);
                let is_asked = stage == StageName::Verify && is_of(&StageName::Cluster);
                is_row || is_before || is_asked
            }
        }
    }
}

/// Whether a file is a row or a plan, which tell of other files.
fn is_row(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "json")
}

/// The folder as this process sees it.
pub(crate) struct Shared {
    /// By the name that all tasks know.
    name: PathBuf,
    mirror: Option<Mirror>,
}

impl Shared {
    pub(crate) fn open(folder: &Path, using: Use, context: &Context<'_>) -> anyhow::Result<Self> {
        if !is_object_url(folder) {
            return Ok(Shared { name: std::path::absolute(folder)?, mirror: None });
        }
        let config = reading::here(OpenConfig::standard());
        let mirror = Mirror::open(folder, |name| using.wants(name), &config, context.teller)?;
        Ok(Shared { name: folder.to_owned(), mirror: Some(mirror) })
    }

    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &Path {
        self.mirror.as_ref().map_or(&self.name, Mirror::folder)
    }

    /// The search that was planned there.
    pub(crate) fn stages(&self) -> anyhow::Result<Stages> {
        Ok(Stages::open((self.folder(), &self.name), env!("CARGO_PKG_VERSION"))?)
    }

    /// Lets the others see what was written, rows after what they tell of.
    pub(crate) fn send(&mut self, context: &Context<'_>) -> anyhow::Result<()> {
        match &mut self.mirror {
            None => Ok(()),
            Some(mirror) => Ok(mirror.send(is_row, context.teller)?),
        }
    }
}
