//! What can go wrong in a kernel, as exceptions: `ValueError` for what the caller gave, `OSError` for files,
//! `RuntimeError` for the rest. A panic is a fault of ours, and becomes a `RuntimeError` as well.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_pyarrow::PyArrowType;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::{PyErr, PyResult, Python};

/// Why a kernel gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller gave what cannot be.
    Value(String),
    /// A file cannot be used.
    File(String),
    /// Something else.
    Other(String),
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        match failure {
            Failure::Value(message) => PyValueError::new_err(message),
            Failure::File(message) => PyOSError::new_err(message),
            Failure::Other(message) => PyRuntimeError::new_err(message),
        }
    }
}

impl From<verbatim_dedup::Error> for Failure {
    fn from(error: verbatim_dedup::Error) -> Failure {
        match error.exit_code() {
            2 => Failure::Value(told(&error)),
            _ => Failure::Other(told(&error)),
        }
    }
}

impl From<verbatim_corpus::Error> for Failure {
    fn from(error: verbatim_corpus::Error) -> Failure {
        if let verbatim_corpus::Error::Bad(reject) = &error {
            return Failure::Value(reject.to_string());
        }
        match error.exit_code() {
            2 | 65 => Failure::Value(told(&error)),
            66 | 74 | 77 => Failure::File(told(&error)),
            _ => Failure::Other(told(&error)),
        }
    }
}

impl From<verbatim_index::Error> for Failure {
    fn from(error: verbatim_index::Error) -> Failure {
        Failure::Value(told(&error))
    }
}

impl From<arrow_schema::ArrowError> for Failure {
    fn from(error: arrow_schema::ArrowError) -> Failure {
        Failure::Other(told(&error))
    }
}

#[cfg(feature = "models")]
impl From<verbatim_lm::Error> for Failure {
    fn from(error: verbatim_lm::Error) -> Failure {
        match error.exit_code() {
            2 => Failure::Value(told(&error)),
            65 | 66 | 74 | 77 => Failure::File(told(&error)),
            _ => Failure::Other(told(&error)),
        }
    }
}

/// An error and its causes, as the program prints them.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Runs a kernel while other threads of Python go on.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    kernel: impl FnOnce() -> Result<T, Failure> + Send,
) -> PyResult<T> {
    let done = py.detach(|| catch_unwind(AssertUnwindSafe(kernel)));
    Ok(done.unwrap_or_else(|_| Err(Failure::Other("a fault of the library; please report it".to_owned())))?)
}

/// The same for a kernel that gives a batch.
pub(crate) fn run_batch(
    py: Python<'_>,
    kernel: impl FnOnce() -> Result<RecordBatch, Failure> + Send,
) -> PyResult<PyArrowType<RecordBatch>> {
    run(py, kernel).map(PyArrowType)
}
