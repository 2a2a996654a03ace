//! Was this text in the training set: signals of a text, and intervals for counts.
//!
//! Everything is a pure function of what a model said of the text's tokens; no corpus, no file, no model runs here.

mod count;
mod difference;
pub mod interval;
pub mod signal;
mod trials;
mod zlib;

pub use count::garwood;
pub use difference::newcombe;
pub use interval::{Interval, Method, clopper_pearson, wilson};
pub use trials::{trials_to_show_below, trials_without_any};
pub use zlib::{ZLIB_LEVEL, zlib_len};
