//! What becomes of good and bad checkpoints: folders, tokenizers, and hubs that lie.

// `cfg(test)` always holds here; it tells the lints that helpers belong to tests, too.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test plants its damaged files directly")]
mod folder;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test plants its damaged files directly")]
mod fuzz;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test plants its damaged files directly")]
mod gguf;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test plants its damaged files directly")]
mod hub;
#[cfg(test)]
mod loopback;
#[cfg(test)]
mod tokenizer;
