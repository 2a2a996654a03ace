//! The lm room against independent implementations: PyTorch, candle's Llama, finite differences, itself.

mod faults;
mod gradients;
mod invariance;
mod llama;
mod torch;
mod windows;
