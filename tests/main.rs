//! Integration tests: one binary that drives the program and checks the tree it is built from.

#[cfg(test)]
mod against;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod contamination;
#[cfg(test)]
mod dedup;
#[cfg(test)]
mod defend;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod evaluate;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod extract;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod index;
#[cfg(test)]
mod infer;
#[cfg(test)]
mod invert;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod order;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod runners;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod shadow;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod substring;
#[cfg(test)]
mod tidy;
