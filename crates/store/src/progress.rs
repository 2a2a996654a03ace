//! How long-running functions tell what they are doing, without knowing a terminal.

/// Receives the stages and steps of a long-running function.
///
/// Implementations must be cheap: `advance` is called from many threads.
pub trait Progress: Sync {
    /// A new stage begins; `total` counts `unit`s where it is known.
    fn stage(&self, name: &'static str, total: Option<u64>, unit: &'static str);

    /// `n` more units of the current stage are done.
    fn advance(&self, n: u64);

    /// True once the caller wants the function to stop as soon as it can.
    fn interrupted(&self) -> bool {
        false
    }
}

/// A step of a longer stage: it tells nothing of its own, and stops when the stage is to stop.
pub struct Within<'a>(pub &'a dyn Progress);

impl Progress for Within<'_> {
    fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}

    fn advance(&self, _n: u64) {}

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

impl std::fmt::Debug for Within<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Within").finish_non_exhaustive()
    }
}

/// A [`Progress`] that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}

    fn advance(&self, _n: u64) {}
}
