//! A model whose answers are written down, for tests of what is built on top.
