//! Arrow IPC, writing: a file or a stream again with some of its rows, and parts of some texts, in the batches, the schema and the compression
//! of the source.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, GenericStringArray, OffsetSizeTrait, RecordBatch, StringViewArray,
    StructArray,
};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType};
use arrow_select::filter::filter_record_batch;

use crate::document::printable;
use crate::error::{Error, Result};
use crate::formats::arrow::ArrowFile;
use crate::formats::parquet_rewrite::Rows;
use crate::formats::{damaged, guard};
use crate::schema::FieldPath;

/// Writes the rows that stay. The path names the source.
///
/// # Errors
/// A damaged source, a text to change in a dictionary, or a sink that refuses bytes.
pub(crate) fn rewrite((file, path): (&[u8], &Path), rows: &Rows<'_>, sink: &mut impl Write) -> Result<()> {
    let source = ArrowFile::open(file, path)?;
    let failed = |e| write_error(e, path);
    let options = IpcWriteOptions::default().try_with_compression(source.compression()).map_err(failed)?;
    let mut start = 0;
    let mut each_kept = |write: &mut dyn FnMut(&RecordBatch) -> Result<(), ArrowError>| {
        source.each_batch(&mut |batch, _| {
            let first = start;
            start += batch.num_rows();
            let keep = rows.keep.get(first..start);
            let keep = keep.ok_or_else(|| damaged(path, "more rows than when it was opened"))?;
            if !keep.contains(&true) {
                return Ok(());
            }
            let batch = with_texts(batch, rows.texts_of(first..start), first, (path, rows.text_field))?;
            let keep = BooleanArray::from(keep.to_vec());
            let batch = guard(path, "rows", || filter_record_batch(&batch, &keep))?;
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

/// A batch in which some rows, counted from `first`, have another text.
fn with_texts(
    batch: RecordBatch,
    texts: &[(usize, Vec<&[u8]>)],
    first: usize,
    (path, field): (&Path, &FieldPath),
) -> Result<RecordBatch> {
    let [name, below @ ..] = field.names() else { return Ok(batch) };
    let Some((column, _)) = batch.schema_ref().column_with_name(name).filter(|_| !texts.is_empty()) else {
        return Ok(batch);
    };
    let new_text = |row: usize| {
        let i = texts.binary_search_by_key(&(first + row), |text| text.0).ok()?;
        Some(String::from_utf8(texts[i].1.concat()).expect("cuts fall between characters"))
    };
    let edited = guard(path, "texts", || edited(batch.column(column), below, &new_text))?;
    let edited =
        edited.ok_or_else(|| Error::CutDictionary { path: printable(path), field: field.to_string() })?;
    let mut columns = batch.columns().to_vec();
    columns[column] = edited;
    guard(path, "texts", || RecordBatch::try_new(batch.schema(), columns))
}

/// The texts at a path of struct members, new where there is a new one; none where they are in a dictionary.
fn edited(
    array: &ArrayRef,
    path: &[String],
    new_text: &dyn Fn(usize) -> Option<String>,
) -> Result<Option<ArrayRef>, ArrowError> {
    if let [name, below @ ..] = path {
        let members = array.as_struct();
        let (i, _) = members.fields().find(name).expect("the text column was found at opening");
        let Some(member) = edited(members.column(i), below, new_text)? else { return Ok(None) };
        let mut columns = members.columns().to_vec();
        columns[i] = member;
        let members = StructArray::try_new(members.fields().clone(), columns, members.nulls().cloned())?;
        return Ok(Some(Arc::new(members)));
    }
    Ok(match array.data_type() {
        DataType::Utf8 => Some(strings::<i32>(array, new_text)),
        DataType::LargeUtf8 => Some(strings::<i64>(array, new_text)),
        DataType::Utf8View => {
            let texts = array.as_string_view().iter().enumerate();
            let texts = texts.map(|(row, text)| changed(row, text, new_text));
            Some(Arc::new(texts.collect::<StringViewArray>()))
        }
        _ => None,
    })
}

fn strings<O: OffsetSizeTrait>(array: &ArrayRef, new_text: &dyn Fn(usize) -> Option<String>) -> ArrayRef {
    let texts = array.as_string::<O>().iter().enumerate();
    Arc::new(texts.map(|(row, text)| changed(row, text, new_text)).collect::<GenericStringArray<O>>())
}

/// The text of a row, which stays null where it is.
fn changed<'a>(
    row: usize,
    text: Option<&'a str>,
    new_text: &dyn Fn(usize) -> Option<String>,
) -> Option<Cow<'a, str>> {
    text.map(|text| new_text(row).map_or(Cow::Borrowed(text), Cow::Owned))
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
