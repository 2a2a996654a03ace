//! Integration tests: one binary that drives the program and checks the tree it is built from.

mod dedup;
mod demo;
mod extract;
mod harness;
mod lab;
mod tidy;
