//! Tests of the stages together, against brute force, on generated and on real text.

mod all_pairs;
mod apply;
mod contamination;
mod fixture;
mod kernels;
mod lines;
mod peers;
mod quality;
mod real_data;
mod scripts;
mod signatures;
mod sources;
mod staged;
mod stages;
mod substring;
