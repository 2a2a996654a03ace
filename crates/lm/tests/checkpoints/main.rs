//! What becomes of good and bad checkpoints: folders, tokenizers, and hubs that lie.

mod folder;
mod hub;
mod loopback;
mod tokenizer;
