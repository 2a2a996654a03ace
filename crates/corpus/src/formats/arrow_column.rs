//! One scalar column of an Arrow record batch, by row: text or JSON values, through structs and dictionaries.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use serde_json::Value;

use crate::schema::FieldPath;

/// A column of one record batch.
pub(crate) struct Column {
    /// Rows that are null here or in a struct around it.
    nulls: Option<NullBuffer>,
    /// The place of each row's value, where values are kept apart in a dictionary.
    keys: Option<Vec<usize>>,
    values: ArrayRef,
}

/// True for columns that hold one text a row.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

impl Column {
    /// The column at a path; names after the first are members of structs.
    pub(crate) fn find(batch: &RecordBatch, path: &FieldPath) -> Option<Column> {
        let [first, below @ ..] = path.names() else { return None };
        let mut array = batch.column_by_name(first)?;
        let mut nulls = array.nulls().cloned();
        for name in below {
            array = array.as_struct_opt()?.column_by_name(name)?;
            nulls = NullBuffer::union(nulls.as_ref(), array.nulls());
        }
        let Some(dictionary) = array.as_any_dictionary_opt() else {
            return Some(Column { nulls, keys: None, values: array.clone() });
        };
        // Without values there are no keys, and every row is null.
        let n_values = dictionary.values().len();
        let keys = if n_values == 0 { Vec::new() } else { dictionary.normalized_keys() };
        let nulls = if n_values == 0 { Some(NullBuffer::new_null(array.len())) } else { nulls };
        Some(Column { nulls, keys: Some(keys), values: dictionary.values().clone() })
    }

    /// The text of a row, in a column of which [`is_text`] is true.
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        let i = self.place(row)?;
        match self.values.data_type() {
            DataType::Utf8 => Some(self.values.as_string::<i32>().value(i)),
            DataType::LargeUtf8 => Some(self.values.as_string::<i64>().value(i)),
            DataType::Utf8View => Some(self.values.as_string_view().value(i)),
            _ => None,
        }
    }

    /// The value of a row; none for types that JSON has no scalar for.
    pub(crate) fn value(&self, row: usize) -> Option<Value> {
        let i = self.place(row)?;
        let values = &self.values;
        Some(match values.data_type() {
            DataType::Boolean => values.as_boolean().value(i).into(),
            DataType::Int8 => values.as_primitive::<Int8Type>().value(i).into(),
            DataType::Int16 => values.as_primitive::<Int16Type>().value(i).into(),
            DataType::Int32 => values.as_primitive::<Int32Type>().value(i).into(),
            DataType::Int64 => values.as_primitive::<Int64Type>().value(i).into(),
            DataType::UInt8 => values.as_primitive::<UInt8Type>().value(i).into(),
            DataType::UInt16 => values.as_primitive::<UInt16Type>().value(i).into(),
            DataType::UInt32 => values.as_primitive::<UInt32Type>().value(i).into(),
            DataType::UInt64 => values.as_primitive::<UInt64Type>().value(i).into(),
            DataType::Float32 => values.as_primitive::<Float32Type>().value(i).into(),
            DataType::Float64 => values.as_primitive::<Float64Type>().value(i).into(),
            _ => self.text(row)?.into(),
        })
    }

    /// Where a row's value is in the values; none for nulls.
    fn place(&self, row: usize) -> Option<usize> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let i = self.keys.as_ref().map_or(row, |keys| keys[row]);
        self.values.is_valid(i).then_some(i)
    }
}
