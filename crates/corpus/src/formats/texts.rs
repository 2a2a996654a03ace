//! The texts of a file of columns, one after the other in a temporary file, as its reader decodes them.

use std::io::Write;
use std::path::Path;

use verbatim_store::{Bytes, Spool};

use crate::document::{index, size};
use crate::error::{Error, Result};
use crate::ids::IdHash;
use crate::records::{Found, Records, Rules, Scan};
use crate::reject::Cause;
use crate::schema::OpenConfig;

/// Takes the texts of a file, row by row.
pub(crate) struct Texts<'a> {
    spool: Spool,
    records: Records,
    /// What was found since the last [`Texts::end_group`].
    scan: Scan,
    rules: Rules,
    path: &'a Path,
    max_decoded_bytes: Option<u64>,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(path: &'a Path, config: &OpenConfig) -> Result<Texts<'a>> {
        let rules = Rules::new(path, config);
        Ok(Texts {
            spool: Spool::create(&config.scratch)?,
            records: Records::new(&rules),
            scan: Scan::default(),
            rules,
            path,
            max_decoded_bytes: config.max_decoded_bytes,
        })
    }

    /// Takes the text of the next row; a row without one is a reject.
    ///
    /// # Errors
    /// Too many bytes, or no room for them.
    pub(crate) fn push(&mut self, text: Option<&[u8]>, id: Option<IdHash>) -> Result<()> {
        match self.check(text) {
            Ok(text) => {
                let offset = self.spool.n_bytes();
                if let Some(max_decoded_bytes) = self.max_decoded_bytes
                    && offset + size(text.len()) > max_decoded_bytes
                {
                    return Err(Error::TooLarge { path: self.rules.path.clone(), max_decoded_bytes });
                }
                let found = Found { text: 0..text.len(), n_text_bytes: text.len(), id };
                self.scan.push(index(offset), text, found);
                let written = self.spool.write_all(text);
                Ok(written.map_err(|e| verbatim_store::Error::io(self.path, "write the texts of", e))?)
            }
            Err((cause, byte)) => {
                self.scan.reject(&self.rules.path, byte, cause, text.map_or(0, <[u8]>::len));
                Ok(())
            }
        }
    }

    /// Ends a group of rows; gives their number.
    pub(crate) fn end_group(&mut self) -> Result<u64> {
        let n_rows = self.scan.n_lines();
        self.records.append(std::mem::take(&mut self.scan))?;
        Ok(n_rows)
    }

    /// All texts, and where they are.
    pub(crate) fn finish(self) -> Result<(Bytes, Records)> {
        Ok((self.spool.into_bytes()?, self.records))
    }

    fn check<'t>(&self, text: Option<&'t [u8]>) -> Result<&'t [u8], (Cause, usize)> {
        let field = || self.rules.text_field.to_string();
        let max_doc_bytes = self.rules.max_doc_bytes;
        let text = text.ok_or_else(|| (Cause::NotAString { field: field(), found: "null".into() }, 0))?;
        if size(text.len()) > max_doc_bytes {
            return Err((Cause::TooLong { max_doc_bytes }, 0));
        }
        match std::str::from_utf8(text) {
            Ok(_) => Ok(text),
            Err(e) => Err((Cause::InvalidUtf8, e.valid_up_to())),
        }
    }
}
