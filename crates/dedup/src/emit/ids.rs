//! Lists of ids, one a line: what scripts join on.

use std::io::Write;
use std::path::Path;

use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Access, create_file};

use crate::emit::for_each_line;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Writes `kept.txt` and `removed.txt`.
pub(super) fn write(corpus: &Corpus, plan: &Plan, folder: &Path) -> Result<()> {
    let mut kept = create_file(&folder.join("kept.txt"), Access::Shared)?;
    write_kept_ids(corpus, &plan.keep_mask(), &mut kept)?;
    kept.finish()?;
    let mut removed = create_file(&folder.join("removed.txt"), Access::Shared)?;
    let path = removed.path().to_owned();
    let mut docs = plan.removals().iter().map(|removal| removal.doc);
    write_ids(corpus, &mut docs, &mut removed, &path)?;
    Ok(removed.finish()?)
}

/// Writes the ids of the documents that `keep` marks, one a line, in input order.
///
/// An id stands as it is in the record, or as `file:line` where the record has none.
///
/// # Errors
/// [`Error::IdOfLines`] for an id that holds a line break: it would be two ids. What the stream refuses.
pub fn write_kept_ids(corpus: &Corpus, keep: &[bool], sink: &mut dyn Write) -> Result<()> {
    let mut docs = corpus.ids().zip(keep).filter(|&(_, &stays)| stays).map(|(doc, _)| doc);
    write_ids(corpus, &mut docs, sink, Path::new("the list of ids"))
}

fn write_ids(
    corpus: &Corpus,
    docs: &mut dyn Iterator<Item = DocId>,
    sink: &mut dyn Write,
    path: &Path,
) -> Result<()> {
    let line = |doc| {
        let id = corpus.label(doc);
        if id.contains(['\n', '\r']) { Err(Error::IdOfLines(corpus.location(doc))) } else { Ok(id) }
    };
    for_each_line(docs, line, |id| {
        writeln!(sink, "{id}").map_err(|error| verbatim_store::Error::io(path, "write", error).into())
    })
}
