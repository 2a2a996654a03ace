//! The corpus room as its users see it: faults by number, formats against naive readers, writing.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]

mod arrow;
mod beside;
mod cut;
mod faults;
mod faults_streams;
mod fixture;
mod jsonl;
mod parquet;
mod real_data;
mod write;
