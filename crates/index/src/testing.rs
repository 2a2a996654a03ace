//! What tests of several modules need.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use verbatim_store::Progress;

/// Interrupts after so many looks.
pub(crate) struct Impatient(AtomicUsize);

impl Impatient {
    pub(crate) fn after(n_looks: usize) -> Self {
        Impatient(AtomicUsize::new(n_looks))
    }
}

impl Progress for Impatient {
    fn stage(&self, _: &str, _: Option<u64>, _: &'static str) {}

    fn advance(&self, _: u64) {}

    fn interrupted(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(1))) == Ok(0)
    }
}
