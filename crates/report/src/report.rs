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
    /// The command: `dedup`, `contamination`, `explain`, `extract` and so on.
    pub kind: &'static str,
    /// Same input, seed, version and redaction key: the same bytes.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::redact::Reveal;
    use crate::samples;

    /// Every key of a value with the keys that lead to it; elements of an array are one.
    fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    keys(member, &format!("{path}.{name}"), found);
                }
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                elements.iter().for_each(|element| keys(element, &format!("{path}[]"), found));
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }

    /// The keys of every report are the ones in `schema.txt`. One that goes away or changes its meaning raises
    /// [`SCHEMA_VERSION`].
    #[test]
    fn the_keys_are_those_of_the_schema() {
        let mut found = BTreeSet::new();
        let reports = [
            samples::demo(Reveal::Redacted).to_json(),
            samples::dedup().to_json(),
            samples::contamination(Reveal::Revealed).0.to_json(),
            samples::explain(Reveal::Revealed).to_json(),
            samples::evaluate().to_json(),
            samples::extract(Reveal::Revealed).to_json(),
            samples::audit(Reveal::Revealed).to_json(),
            samples::invert(Reveal::Revealed).to_json(),
            samples::elicit(Reveal::Revealed).to_json(),
            samples::infer().to_json(),
            samples::shadow_train().to_json(),
            samples::shadow().to_json(),
            samples::defend().to_json(),
            samples::calls().to_json(),
            samples::train().to_json(),
            samples::plant().to_json(),
            crate::gate::sample().to_json(),
        ];
        for report in reports {
            let value: Value = serde_json::from_str(&report.unwrap()).unwrap();
            keys(&value, value["kind"].as_str().unwrap(), &mut found);
        }
        let found = found.into_iter().collect::<Vec<_>>().join("\n");
        assert_eq!(found, include_str!("../schema.txt").trim_end(), "schema.txt is to be:\n{found}\n");
    }

    #[test]
    fn the_result_does_not_depend_on_the_run() {
        let mut one = samples::demo(Reveal::Redacted);
        one.run = samples::run(1);
        let mut facts = samples::demo_facts();
        facts.cases.reverse();
        let body = crate::demo::DemoBody::new(facts, &samples::redactor(Reveal::Redacted));
        let eight = Report::new(body, samples::run(8));
        let result = |report: &Report<_>| serde_json::to_string(&report.result).unwrap();
        assert_eq!(result(&one), result(&eight));
        assert_ne!(one.to_json().unwrap(), eight.to_json().unwrap());
    }
}
