//! `count`: how often strings stand in the texts of a batch.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use arrow_pyarrow::PyArrowType;
use pyo3::{PyResult, Python, pyfunction};
use verbatim_index::count_in_texts;

use crate::failure::run_batch;
use crate::rows::{Columns, numbers_i64};

/// Count strings in the texts of a batch, overlapping occurrences included.
#[pyfunction]
pub(crate) fn count(
    py: Python<'_>,
    batch: PyArrowType<RecordBatch>,
    needles: Vec<String>,
) -> PyResult<PyArrowType<RecordBatch>> {
    run_batch(py, || {
        let columns = Columns(&batch.0);
        let texts = columns.texts("text")?;
        let texts: Vec<&[u8]> = (0..texts.len()).filter_map(|row| Some(texts.get(row)?.as_bytes())).collect();
        let strings: Vec<Vec<u8>> = needles.iter().map(|needle| needle.as_bytes().to_vec()).collect();
        let counts = count_in_texts(&texts, &strings);
        let n_documents: Int64Array = numbers_i64(counts.iter().map(|count| count.n_documents));
        let n_occurrences: Int64Array = numbers_i64(counts.iter().map(|count| count.n_occurrences));
        let columns: [(&str, ArrayRef); 3] = [
            ("needle", Arc::new(LargeStringArray::from_iter_values(&needles))),
            ("n_documents", Arc::new(n_documents)),
            ("n_occurrences", Arc::new(n_occurrences)),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    })
}
