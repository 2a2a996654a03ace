//! A report: a result that depends on input, seed and version only, and the run that computed it. Written as
//! `report.json` and `report.html`.

use std::path::Path;

use serde::Serialize;
use verbatim_store::Access;

use crate::error::{Error, Result};
use crate::html::Page;
use crate::run::Run;

/// Version of the JSON's keys; a key that changes its meaning or goes away raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// Name of the machine-readable file in an output folder.
pub const JSON_NAME: &str = "report.json";

/// Name of the page for people in an output folder.
pub const HTML_NAME: &str = "report.html";

/// What one command found, and the run that found it.
#[derive(Clone, Debug, Serialize)]
pub struct Report<B> {
    /// Always [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The command: `dedup`, `extract`, `train`, `plant` or `demo`.
    pub kind: &'static str,
    /// Same input, seed and version: the same bytes.
    pub result: B,
    /// What differs from run to run.
    pub run: Run,
}

/// What one command found: what a report's `result` can be.
pub trait Body: Serialize {
    /// The command's name.
    const KIND: &'static str;
}

impl<B: Body> Report<B> {
    /// A report of this schema version.
    pub fn new(result: B, run: Run) -> Report<B> {
        Report { schema_version: SCHEMA_VERSION, kind: B::KIND, result, run }
    }

    /// The whole report as indented JSON with a line end.
    ///
    /// # Errors
    /// When the body cannot be put into JSON: a mistake of ours.
    pub fn to_json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Render { path: JSON_NAME.into(), cause: error.to_string() })?;
        text.push('\n');
        Ok(text)
    }
}

impl<B: Body> Report<B>
where
    Report<B>: Page,
{
    /// Writes `report.json` and `report.html` into `folder`, a staged directory; an audit's are private.
    ///
    /// # Errors
    /// When a file exists already or cannot be written.
    pub fn write(&self, folder: &Path, access: Access) -> Result<()> {
        for (name, text) in [(JSON_NAME, self.to_json()?), (HTML_NAME, self.to_html()?)] {
            let path = folder.join(name);
            match access {
                Access::Private => verbatim_store::write_private(&path, text.as_bytes())?,
                Access::Shared => verbatim_store::write_shared(&path, text.as_bytes())?,
            }
        }
        Ok(())
    }
}
