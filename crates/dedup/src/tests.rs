//! Tests of the stages together, against brute force, on generated and on real text.

mod apply;
mod fixture;
mod lines;
mod peers;
mod quality;
mod real_data;
mod sources;
mod stages;
