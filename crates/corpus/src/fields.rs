//! Fields that records get when they are written: inserted before the closing brace, every other byte as it was.

use std::fmt;
use std::io::{self, Write};

use rayon::prelude::*;
use serde_json::Value;

use crate::corpus::Corpus;
use crate::document::DocId;
use crate::error::{Error, Result};
use crate::formats::{Format, jsonl};

/// The value of a new field, by document.
pub type FieldValues<'a> = Box<dyn Fn(DocId) -> Value + Send + Sync + 'a>;

/// New fields of the records of JSON lines.
#[derive(Default)]
pub struct NewFields<'a> {
    /// Each name as JSON, and its values.
    fields: Vec<(String, FieldValues<'a>)>,
}

impl fmt::Debug for NewFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl<'a> NewFields<'a> {
    /// New members of the outermost object, after the members that it has.
    ///
    /// # Errors
    /// [`Error::NewField`] if the corpus holds anything but JSON lines, or a name stands twice in the list;
    /// [`Error::FieldExists`] for the first record that has such a member already: no record may have one name twice.
    pub fn new(corpus: &Corpus, fields: Vec<(String, FieldValues<'a>)>) -> Result<Self> {
        for (i, (name, _)) in fields.iter().enumerate() {
            if fields[..i].iter().any(|(other, _)| other == name) {
                return Err(Error::NewField {
                    name: name.clone(),
                    cause: "the name is given twice".to_owned(),
                });
            }
            check(corpus, name)?;
        }
        let quoted = |name: String| Value::String(name).to_string();
        Ok(NewFields { fields: fields.into_iter().map(|(name, values)| (quoted(name), values)).collect() })
    }

    /// Writes a record with its new fields.
    pub(crate) fn write(&self, id: DocId, record: &[u8], sink: &mut dyn Write) -> io::Result<()> {
        if self.fields.is_empty() {
            return sink.write_all(record);
        }
        let end = record.iter().rposition(|&byte| byte == b'}');
        let (members, brace) = record.split_at(end.expect("a record of JSON lines ends with a brace"));
        sink.write_all(members)?;
        for (name, values) in &self.fields {
            // The record has a member before this one: its text.
            write!(sink, ",{name}:{}", values(id))?;
        }
        sink.write_all(brace)
    }
}

fn check(corpus: &Corpus, name: &str) -> Result<()> {
    for (first, shard) in corpus.shards() {
        if shard.format != Format::Jsonl {
            let cause = format!("{} is not JSON lines", crate::document::printable(&shard.name));
            return Err(Error::NewField { name: name.to_owned(), cause });
        }
        let content = shard.content();
        let taken = (0..shard.spans.len())
            .into_par_iter()
            .position_first(|local| jsonl::has_member(shard.spans.get(local).record(content), name));
        if let Some(local) = taken {
            let location = corpus.location(DocId(first + crate::document::size(local)));
            return Err(Error::FieldExists { location, name: name.to_owned() });
        }
    }
    Ok(())
}
