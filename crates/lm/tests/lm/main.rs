//! The lm room against independent implementations: PyTorch, candle's Llama, finite differences, itself.

// `cfg(test)` always holds here; it tells the lints that helpers belong to tests, too.
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gradients;
#[cfg(test)]
mod invariance;
#[cfg(test)]
mod llama;
#[cfg(test)]
mod torch;
#[cfg(test)]
mod windows;
