//! What text can be got out of a model: draw samples, rank them, verify them in the corpus;
//! and audit a checkpoint with planted canaries.

mod canary;

pub use canary::{Canary, Placement, Shape};
