//! Parquet, reading: the text column row by row into a temporary file, other columns when asked for.
//!
//! The parquet crate panics on some damaged files, so each row group is read under `catch_unwind`.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Type;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::Result as ParquetResult;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use verbatim_store::{Bytes, Progress};

use crate::document::printable;
use crate::error::{Error, Result};
use crate::formats::texts::Texts;
use crate::formats::{damaged, guard};
use crate::ids::IdHash;
use crate::records::Records;
use crate::schema::{FieldPath, OpenConfig};

/// Rows decoded at a time; bounds memory, any number gives the same result.
pub(crate) const BATCH_ROWS: usize = 256;

/// A parquet file over mapped bytes.
pub(crate) struct ParquetFile<'p> {
    pub(crate) bytes: bytes::Bytes,
    pub(crate) reader: SerializedFileReader<bytes::Bytes>,
    path: &'p Path,
}

/// Lets the parquet crate share the mapping.
struct Shared(Arc<Bytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<'p> ParquetFile<'p> {
    /// Reads the footer.
    pub(crate) fn open(file: &Arc<Bytes>, path: &'p Path) -> Result<ParquetFile<'p>> {
        let bytes = bytes::Bytes::from_owner(Shared(Arc::clone(file)));
        let reader = guard(path, "footer", || SerializedFileReader::new(bytes.clone()))?;
        Ok(ParquetFile { bytes, reader, path })
    }

    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// Runs a step that reads row group `group`, turning errors and panics of the parquet crate into ours.
    pub(crate) fn in_group<T>(&self, group: usize, step: impl FnOnce() -> ParquetResult<T>) -> Result<T> {
        guard(self.path, &format!("row group {group}"), step)
    }

    /// The number of the leaf column at a path.
    fn column(&self, field: &FieldPath) -> Option<usize> {
        let columns = self.metadata().file_metadata().schema_descr().columns();
        columns.iter().position(|column| column.path().parts() == field.names())
    }

    /// The number of the leaf column at a path, if it has one value a row at most.
    fn scalar_column(&self, field: &FieldPath) -> Option<usize> {
        let schema = self.metadata().file_metadata().schema_descr();
        self.column(field).filter(|&i| schema.column(i).max_rep_level() == 0)
    }

    /// Visits the values of a scalar column in one row group; `None` for nulls.
    fn each_value(&self, group: usize, column: usize, visit: &mut dyn FnMut(Option<Value>)) -> Result<()> {
        let max_definition = self.metadata().file_metadata().schema_descr().column(column).max_def_level();
        self.in_group(group, || {
            let reader = self.reader.get_row_group(group)?.get_column_reader(column)?;
            read_values(reader, max_definition, visit)
        })
    }

    fn ids(&self, group: usize, column: usize) -> Result<Vec<Option<IdHash>>> {
        let mut ids = Vec::new();
        self.each_value(group, column, &mut |value| ids.push(value.and_then(IdHash::of)))?;
        Ok(ids)
    }

    /// The number of the column that holds the texts.
    pub(crate) fn text_column(&self, field: &FieldPath) -> Result<usize> {
        let columns = self.metadata().file_metadata().schema_descr().columns();
        let is_text =
            |i: &usize| columns[*i].physical_type() == Type::BYTE_ARRAY && columns[*i].max_rep_level() == 0;
        self.column(field).filter(is_text).ok_or_else(|| Error::NoColumn {
            path: printable(self.path),
            field: field.to_string(),
            columns: columns.iter().map(|c| printable(c.path().string())).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Decodes all texts of a file, one after the other.
///
/// # Errors
/// A damaged file, no text column, too many bytes; rows without a text are rejects of the records.
pub(crate) fn decode(
    file: &Arc<Bytes>,
    path: &Path,
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Result<(Bytes, Records)> {
    let file = ParquetFile::open(file, path)?;
    let column = file.text_column(&config.text_field)?;
    let max_definition = file.metadata().file_metadata().schema_descr().column(column).max_def_level();
    let id_column = config.id_field.as_ref().and_then(|field| file.scalar_column(field));
    let mut texts = Texts::new(path, config)?;
    for (group, metadata) in file.metadata().row_groups().iter().enumerate() {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        // An id column that cannot be read is none; the text column of the group then says what is wrong.
        let mut ids =
            id_column.and_then(|column| file.ids(group, column).ok()).unwrap_or_default().into_iter();
        file.in_group(group, || {
            let ColumnReader::ByteArrayColumnReader(reader) =
                file.reader.get_row_group(group)?.get_column_reader(column)?
            else {
                unreachable!("the text column holds byte arrays")
            };
            each_row(reader, max_definition, |value| {
                texts.push(value.map(|value| value.data()), ids.next().flatten())
            })
        })??;
        let n_rows = texts.end_group()?;
        if i64::try_from(n_rows) != Ok(metadata.num_rows()) {
            let cause = format!("row group {group}: {} rows promised, {n_rows} there", metadata.num_rows());
            return Err(damaged(path, cause));
        }
        progress.advance(metadata.compressed_size().try_into().unwrap_or(0));
    }
    texts.finish()
}

/// All values of one scalar column by row; `None` for nulls. An empty list where there is no such
/// column, it is repeated, or it cannot be read.
pub(crate) fn values(file: &Arc<Bytes>, path: &Path, field: &FieldPath) -> Vec<Option<Value>> {
    let read = || -> Result<Vec<Option<Value>>> {
        let file = ParquetFile::open(file, path)?;
        let mut values = Vec::new();
        if let Some(column) = file.scalar_column(field) {
            for group in 0..file.metadata().num_row_groups() {
                file.each_value(group, column, &mut |value| values.push(value))?;
            }
        }
        Ok(values)
    };
    read().unwrap_or_default()
}

fn read_values(
    reader: ColumnReader,
    max_definition: i16,
    visit: &mut dyn FnMut(Option<Value>),
) -> ParquetResult<()> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map_or(Value::Null, Value::from);
    match reader {
        ColumnReader::BoolColumnReader(r) => convert(r, max_definition, visit, |v| Value::from(*v)),
        ColumnReader::Int32ColumnReader(r) => convert(r, max_definition, visit, |v| Value::from(*v)),
        ColumnReader::Int64ColumnReader(r) => convert(r, max_definition, visit, |v| Value::from(*v)),
        ColumnReader::FloatColumnReader(r) => convert(r, max_definition, visit, |v| Value::from(*v)),
        ColumnReader::DoubleColumnReader(r) => convert(r, max_definition, visit, |v| Value::from(*v)),
        ColumnReader::ByteArrayColumnReader(r) => convert(r, max_definition, visit, |v| text(v.data())),
        ColumnReader::FixedLenByteArrayColumnReader(r) => {
            convert(r, max_definition, visit, |v| text(v.data()))
        }
        // A 96-bit time stamp has no JSON value.
        ColumnReader::Int96ColumnReader(r) => convert(r, max_definition, visit, |_| Value::Null),
    }
}

fn convert<T: DataType>(
    reader: ColumnReaderImpl<T>,
    max_definition: i16,
    visit: &mut dyn FnMut(Option<Value>),
    to_json: impl Fn(&T::T) -> Value,
) -> ParquetResult<()> {
    let Ok(()) = each_row(reader, max_definition, |value| {
        visit(value.map(&to_json));
        Ok::<(), Infallible>(())
    })?;
    Ok(())
}

/// Visits the values of a column that is not repeated, row by row; nulls are `None`. The outer error
/// is the parquet crate's, the inner one the visitor's.
fn each_row<T: DataType, E>(
    mut reader: ColumnReaderImpl<T>,
    max_definition: i16,
    mut visit: impl FnMut(Option<&T::T>) -> Result<(), E>,
) -> ParquetResult<Result<(), E>> {
    let (mut definitions, mut values) = (Vec::new(), Vec::new());
    loop {
        definitions.clear();
        values.clear();
        let (n_rows, ..) = reader.read_records(BATCH_ROWS, Some(&mut definitions), None, &mut values)?;
        if n_rows == 0 {
            return Ok(Ok(()));
        }
        let has_value = |row: usize| max_definition == 0 || definitions[row] == max_definition;
        let mut values = values.iter();
        for row in 0..n_rows {
            if let Err(e) = visit(if has_value(row) { values.next() } else { None }) {
                return Ok(Err(e));
            }
        }
    }
}
