//! Integration tests: one binary that drives the program and checks the tree it is built from.

mod tidy;
