//! `read_jsonl`: the lines of a file as rows, found and checked as the program does it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{LargeBinaryBuilder, LargeStringBuilder};
use arrow_array::{Int64Array, RecordBatch};
use arrow_pyarrow::PyArrowType;
use pyo3::{PyResult, Python, pyfunction};
use verbatim_corpus::{Corpus, OpenConfig, TextBuffer};
use verbatim_store::Silent;

use crate::failure::{Failure, run_batch};
use crate::rows::batch;

/// The lines of a file of JSON lines, each with its end, and the text in a field of each.
#[pyfunction]
pub(crate) fn read_jsonl(py: Python<'_>, path: PathBuf, text: &str) -> PyResult<PyArrowType<RecordBatch>> {
    run_batch(py, || {
        let text_field = text.parse().map_err(Failure::from)?;
        let config = OpenConfig { text_field, id_field: None, ..OpenConfig::standard() };
        let corpus = Corpus::open(&[path], &config, &Silent)?;
        let (n_lines, n_bytes) = (corpus.n_documents() as usize, corpus.record_bytes() as usize);
        let mut lines = LargeBinaryBuilder::with_capacity(n_lines, n_bytes + 2 * n_lines);
        let mut texts = LargeStringBuilder::with_capacity(n_lines, corpus.text_bytes() as usize);
        let (mut lengths, mut line, mut buffer) =
            (Vec::with_capacity(n_lines), Vec::new(), TextBuffer::default());
        for id in corpus.ids() {
            let record = corpus.record(id);
            line.clear();
            line.extend_from_slice(record);
            line.extend_from_slice(corpus.line_end(id));
            lines.append_value(&line);
            texts.append_value(corpus.text_str_in(id, &mut buffer));
            lengths.push(record.len() as i64);
        }
        corpus.verify_unchanged()?;
        batch([
            ("line", Arc::new(lines.finish())),
            ("text", Arc::new(texts.finish())),
            ("n_bytes", Arc::new(Int64Array::from(lengths))),
        ])
    })
}
