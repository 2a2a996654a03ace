//! Parquet, writing: a file again with some of its rows, and parts of some texts. Row groups that stay
//! whole are copied as they are; others are decoded and encoded column by column, levels and all, so
//! that schema and values stay equal.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::column::writer::{ColumnCloseResult, ColumnWriter, ColumnWriterImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::ColumnDescriptor;
use verbatim_store::Bytes;

use crate::error::{Error, Result};
use crate::formats::damaged;
use crate::formats::parquet::{BATCH_ROWS, ParquetFile};
use crate::schema::FieldPath;

/// What of a file is written.
pub(crate) struct Rows<'a> {
    /// For each row whether it stays.
    pub(crate) keep: Vec<bool>,
    /// Rows, ascending, whose text is another one: its pieces.
    pub(crate) texts: Vec<(usize, Vec<&'a [u8]>)>,
    /// The column that holds the texts.
    pub(crate) text_field: &'a FieldPath,
}

/// The part of [`Rows`] that is one row group.
struct GroupRows<'a> {
    first: usize,
    keep: &'a [bool],
    texts: &'a [(usize, Vec<&'a [u8]>)],
    text_column: usize,
}

impl<'a> Rows<'a> {
    /// The texts of some rows that are other ones.
    pub(crate) fn texts_of(&self, rows: Range<usize>) -> &[(usize, Vec<&'a [u8]>)] {
        let of_row = |row: usize| self.texts.partition_point(|text| text.0 < row);
        &self.texts[of_row(rows.start)..of_row(rows.end)]
    }

    fn group(&self, rows: Range<usize>, text_column: usize) -> GroupRows<'_> {
        let texts = self.texts_of(rows.clone());
        GroupRows { first: rows.start, keep: &self.keep[rows], texts, text_column }
    }
}

impl GroupRows<'_> {
    fn stays_whole(&self) -> bool {
        self.texts.is_empty() && !self.keep.contains(&false)
    }

    /// What becomes of the text in a row of the group.
    fn text(&self, row: usize, text: ByteArray) -> ByteArray {
        match self.texts.binary_search_by_key(&(self.first + row), |text| text.0) {
            Ok(i) => ByteArray::from(self.texts[i].1.concat()),
            Err(_) => text,
        }
    }
}

/// Writes the rows that stay. The path names the source.
///
/// # Errors
/// A damaged source, or a sink that refuses bytes.
pub(crate) fn rewrite(
    (file, path): (&Arc<Bytes>, &Path),
    rows: &Rows<'_>,
    sink: &mut (impl Write + Send),
) -> Result<()> {
    let source = ParquetFile::open(file, path)?;
    let text_column = source.text_column(rows.text_field)?;
    let failed = |e| write_error(e, path);
    let schema = source.metadata().file_metadata().schema_descr().root_schema_ptr();
    let properties = Arc::new(properties(&source));
    let mut writer = SerializedFileWriter::new(sink, schema, properties).map_err(failed)?;
    let mut start = 0;
    for (group, metadata) in source.metadata().row_groups().iter().enumerate() {
        let n_rows = usize::try_from(metadata.num_rows()).expect("row counts were checked at opening");
        let rows = rows.group(start..start + n_rows, text_column);
        start += n_rows;
        if !rows.keep.contains(&true) {
            continue;
        }
        let written: ParquetResult<()> = source.in_group(group, || {
            Ok((|| {
                let mut group_writer = writer.next_row_group()?;
                if rows.stays_whole() {
                    copy_group(&source.bytes, metadata, &mut group_writer)?;
                } else {
                    let reader = source.reader.get_row_group(group)?;
                    filter_group(reader.as_ref(), &mut group_writer, &rows)?;
                }
                group_writer.close().map(drop)
            })())
        })?;
        written.map_err(failed)?;
    }
    writer.close().map(drop).map_err(failed)
}

/// The source's key-value metadata, format version, sort order and compression. Page indexes and
/// Bloom filters are left out: they are optional, and copied row groups could not carry theirs.
fn properties(source: &ParquetFile<'_>) -> WriterProperties {
    let metadata = source.metadata().file_metadata();
    let mut properties = WriterProperties::builder()
        .set_key_value_metadata(metadata.key_value_metadata().cloned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    if let Some(group) = source.metadata().row_groups().first() {
        properties = properties.set_sorting_columns(group.sorting_columns().cloned());
        for column in group.columns() {
            properties =
                properties.set_column_compression(column.column_path().clone(), column.compression());
        }
    }
    properties.build()
}

/// Copies the encoded bytes of every column.
fn copy_group<W: Write + Send>(
    bytes: &bytes::Bytes,
    metadata: &RowGroupMetaData,
    writer: &mut SerializedRowGroupWriter<'_, W>,
) -> ParquetResult<()> {
    for column in metadata.columns() {
        let close = ColumnCloseResult {
            bytes_written: column.compressed_size().try_into()?,
            rows_written: metadata.num_rows().try_into()?,
            metadata: column.clone(),
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        writer.append_column(bytes, close)?;
    }
    Ok(())
}

/// Decodes every column and encodes the rows that are kept.
fn filter_group<W: Write + Send>(
    reader: &dyn RowGroupReader,
    writer: &mut SerializedRowGroupWriter<'_, W>,
    rows: &GroupRows<'_>,
) -> ParquetResult<()> {
    let keep = rows.keep;
    for i in 0..reader.num_columns() {
        let descriptor = reader.metadata().column(i).column_descr();
        let mut column = writer.next_column()?.expect("the writer has the reader's columns");
        match (reader.get_column_reader(i)?, column.untyped()) {
            (ColumnReader::BoolColumnReader(r), ColumnWriter::BoolColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::Int32ColumnReader(r), ColumnWriter::Int32ColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::Int64ColumnReader(r), ColumnWriter::Int64ColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::Int96ColumnReader(r), ColumnWriter::Int96ColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::FloatColumnReader(r), ColumnWriter::FloatColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::DoubleColumnReader(r), ColumnWriter::DoubleColumnWriter(w)) => {
                filter(r, w, descriptor, keep, same)
            }
            (ColumnReader::ByteArrayColumnReader(r), ColumnWriter::ByteArrayColumnWriter(w)) => {
                let text = |row, text| if i == rows.text_column { rows.text(row, text) } else { text };
                filter(r, w, descriptor, keep, text)
            }
            (
                ColumnReader::FixedLenByteArrayColumnReader(r),
                ColumnWriter::FixedLenByteArrayColumnWriter(w),
            ) => filter(r, w, descriptor, keep, same),
            _ => unreachable!("reader and writer have the same schema"),
        }?;
        column.close()?;
    }
    Ok(())
}

/// The value as it is, whatever its row.
fn same<T>(_row: usize, value: T) -> T {
    value
}

/// Copies the kept rows of one column, their values as `edit` gives them for a row. A row begins where the repetition level is 0; a value stands
/// where the definition level is the highest (Melnik et al. 2010, section 4.1).
fn filter<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    writer: &mut ColumnWriterImpl<'_, T>,
    descriptor: &ColumnDescriptor,
    keep: &[bool],
    edit: impl Fn(usize, T::T) -> T::T,
) -> ParquetResult<()> {
    let (max_definition, max_repetition) = (descriptor.max_def_level(), descriptor.max_rep_level());
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut n_rows_begun = 0;
    loop {
        definitions.clear();
        repetitions.clear();
        values.clear();
        let (n_rows, _, n_levels) =
            reader.read_records(BATCH_ROWS, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if n_rows == 0 {
            return Ok(());
        }
        let (mut kept_definitions, mut kept_repetitions, mut kept_values) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut values = values.drain(..);
        for level in 0..n_levels {
            if max_repetition == 0 || repetitions[level] == 0 {
                n_rows_begun += 1;
            }
            let value = if max_definition == 0 || definitions[level] == max_definition {
                values.next()
            } else {
                None
            };
            let is_kept = keep.get(n_rows_begun - 1).copied();
            if is_kept.ok_or_else(|| ParquetError::General("more rows than promised".to_owned()))? {
                kept_values.extend(value.map(|value| edit(n_rows_begun - 1, value)));
                kept_definitions.extend(definitions.get(level));
                kept_repetitions.extend(repetitions.get(level));
            }
        }
        let definitions = (max_definition > 0).then_some(kept_definitions.as_slice());
        let repetitions = (max_repetition > 0).then_some(kept_repetitions.as_slice());
        writer.write_batch(&kept_values, definitions, repetitions)?;
    }
}

/// Tells a refusing disk from a damaged source.
fn write_error(error: ParquetError, path: &Path) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(e) => Error::Store(verbatim_store::Error::io(path, "write the survivors of", *e)),
            Err(inner) => damaged(path, inner.to_string()),
        },
        error => damaged(path, error.to_string()),
    }
}
