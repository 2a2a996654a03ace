//! Was this text in the training set: signals of a text, intervals for counts, and what was seen of what there is.
//!
//! Everything is a pure function of what a model said of the text's tokens; no corpus, no file, no model runs here.

pub mod interval;
pub mod richness;
pub mod signal;
mod zlib;

pub use interval::{Interval, Method, clopper_pearson, wilson};
pub use richness::{Estimate, Frequencies, Growth, Richness, richness, share};
pub use zlib::{ZLIB_LEVEL, zlib_len};
