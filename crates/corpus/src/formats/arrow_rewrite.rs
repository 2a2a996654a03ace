//! Arrow IPC, writing: a file or a stream again with some of its rows, in the batches, the schema and the compression
//! of the source.

use std::io::Write;
use std::path::Path;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;

use crate::error::{Error, Result};
use crate::formats::arrow::ArrowFile;
use crate::formats::{damaged, guard};

/// Writes the rows that `keep` marks. `path` names the source.
///
/// # Errors
/// A damaged source, or a sink that refuses bytes.
pub(crate) fn rewrite(file: &[u8], path: &Path, keep: &[bool], sink: &mut impl Write) -> Result<()> {
    let source = ArrowFile::open(file, path)?;
    let failed = |e| write_error(e, path);
    let options = IpcWriteOptions::default().try_with_compression(source.compression()).map_err(failed)?;
    let mut rest = keep;
    let mut each_kept = |write: &mut dyn FnMut(&RecordBatch) -> Result<(), ArrowError>| {
        source.each_batch(&mut |batch, _| {
            let (rows, after) = rest
                .split_at_checked(batch.num_rows())
                .ok_or_else(|| damaged(path, "more rows than when it was opened"))?;
            rest = after;
            if !rows.contains(&true) {
                return Ok(());
            }
            let rows = BooleanArray::from(rows.to_vec());
            let batch = guard(path, "rows", || filter_record_batch(&batch, &rows))?;
            write(&batch).map_err(failed)
        })
    };
    if source.is_stream {
        let mut writer = StreamWriter::try_new_with_options(sink, &source.schema, options).map_err(failed)?;
        each_kept(&mut |batch| writer.write(batch))?;
        writer.finish().map_err(failed)
    } else {
        let mut writer = FileWriter::try_new_with_options(sink, &source.schema, options).map_err(failed)?;
        source.metadata.iter().for_each(|(key, value)| writer.write_metadata(key, value));
        each_kept(&mut |batch| writer.write(batch))?;
        writer.finish().map_err(failed)
    }
}

/// Tells a refusing disk from a damaged source.
fn write_error(error: ArrowError, path: &Path) -> Error {
    match error {
        ArrowError::IoError(_, e) => {
            Error::Store(verbatim_store::Error::io(path, "write the survivors of", e))
        }
        error => damaged(path, error.to_string()),
    }
}
