//! `Model.score`: membership signals of the texts of a batch, of one pass of a model over each.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_pyarrow::PyArrowType;
use pyo3::types::PyAnyMethods;
use pyo3::{PyResult, Python, pyclass, pymethods};
use verbatim_lm::{Checkpoint, Resources, Runtime};
use verbatim_membership::{Inferring, Need, Signal, text_signals};
use verbatim_store::{Scratch, Silent};

use crate::failure::{Failure, run, run_batch};
use crate::rows::{Columns, numbers_i64};

/// A causal language model on this machine's processor, its weights in memory.
#[pyclass(frozen, module = "verbatim")]
#[derive(Debug)]
pub(crate) struct Model {
    checkpoint: Checkpoint,
    path: PathBuf,
}

#[pymethods]
impl Model {
    /// Read a folder with `config.json`, `tokenizer.json` and safetensors, or a GGUF file.
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let checkpoint = run(py, || Ok(Checkpoint::open(&path, Runtime::default())?))?;
        Ok(Model { checkpoint, path })
    }

    /// The path, so that a copy in another process reads the model there.
    fn __reduce__(slf: &pyo3::Bound<'_, Self>) -> (Py, (PathBuf,)) {
        (slf.get_type().into_any().unbind(), (slf.get().path.clone(),))
    }

    /// The names of the signals that one pass gives, in the order of reports.
    #[staticmethod]
    fn signals() -> Vec<&'static str> {
        of_one_pass().map(Signal::name).collect()
    }

    /// Signals of the texts of a batch, a row for each; null where one is not defined.
    fn score(
        &self,
        py: Python<'_>,
        batch: PyArrowType<RecordBatch>,
        signals: Vec<String>,
    ) -> PyResult<PyArrowType<RecordBatch>> {
        run_batch(py, || {
            let asked: Result<Vec<Signal>, Failure> = signals.iter().map(|name| signal(name)).collect();
            let asked = asked?;
            let texts = Columns(&batch.0).texts("text")?;
            let texts: Vec<&str> = (0..texts.len()).map(|row| texts.get(row).unwrap_or_default()).collect();
            let scratch = Scratch::unnamed(&std::env::temp_dir());
            let resources = Resources { batch: BATCH, scratch: &scratch, progress: &Silent };
            let mut inferring = Inferring::alone(self.checkpoint.text_model());
            let said = text_signals(&mut inferring, &asked, &texts, resources)?;
            let n_tokens: Int64Array = numbers_i64(said.iter().map(|text| text.n_tokens));
            let zlib_bytes: Int64Array = numbers_i64(said.iter().map(|text| text.zlib_bytes));
            let mut columns: Vec<(&str, ArrayRef)> =
                vec![("n_tokens", Arc::new(n_tokens)), ("zlib_bytes", Arc::new(zlib_bytes))];
            for (at, signal) in asked.iter().enumerate() {
                let values: Float64Array = said.iter().map(|text| text.values[at]).collect();
                columns.push((signal.name(), Arc::new(values)));
            }
            Ok(RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().map(|(name, column)| (name, column, true)),
            )?)
        })
    }
}

type Py = pyo3::Py<pyo3::PyAny>;

/// Texts that are computed at once.
const BATCH: usize = 8;

fn of_one_pass() -> impl Iterator<Item = Signal> {
    Signal::ALL.into_iter().filter(|signal| signal.needs() == Need::Nothing)
}

fn signal(name: &str) -> Result<Signal, Failure> {
    let names = || of_one_pass().map(Signal::name).collect::<Vec<_>>().join(" ");
    let unknown = || Failure::Value(format!("no signal of one pass `{name}`; choose from {}", names()));
    of_one_pass().find(|signal| signal.name() == name).ok_or_else(unknown)
}
