//! The wheel: kernels of the rooms below over Arrow record batches, for engines that move batches between machines.
//!
//! It has no shuffle and no scheduler: the engine brings rows together and tries again. Every
//! function lets other threads of Python run, and what goes wrong becomes an exception.

mod config;
mod count;
mod failure;
mod kernels;
mod read;
mod rows;
#[cfg(feature = "models")]
mod score;

/// Kernels over Arrow record batches; see the package `verbatim`.
#[pyo3::pymodule]
mod _verbatim {
    #[pymodule_export]
    use crate::config::check;
    #[pymodule_export]
    use crate::count::count;
    #[pymodule_export]
    use crate::kernels::{cluster, link, rewrite, route, sign, verify};
    #[pymodule_export]
    use crate::read::read_jsonl;
    #[cfg(feature = "models")]
    #[pymodule_export]
    use crate::score::Model;
}
