//! How the program fails: one line in the user's words, and the exit code of the table in `--help`.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The run was stopped by a signal after what it had was put in order.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; nothing half-written is left")]
pub(crate) struct Interrupted;

/// A mistake in how the program was called that only shows after the arguments are parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// What was found goes beyond what the caller tolerates.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Gate(pub(crate) String);

/// What was found does not show whether it goes beyond what the caller tolerates.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Inconclusive(pub(crate) String);

/// Standard output was the product, and not all of it could be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed or is full before all was written")]
pub(crate) struct Product;

/// An input that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Missing(pub(crate) String);

/// Tasks on other machines failed, as those who ran them have told; with the exit code of the first.
#[derive(Debug, thiserror::Error)]
#[error("not all tasks were done; what is done stays, and the same command goes on")]
pub(crate) struct Runner(u8);

/// A defect of ours: a panic that reached the top.
#[derive(Debug, thiserror::Error)]
#[error("internal error in verbatim {}; please report it with the line above", env!("CARGO_PKG_VERSION"))]
pub(crate) struct Internal;

pub(crate) fn internal() -> anyhow::Error {
    Internal.into()
}

pub(crate) fn runner(code: i32) -> anyhow::Error {
    Runner(u8::try_from(code).unwrap_or(70)).into()
}

pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// The failure of a run whose product goes to standard output: a reader that left early did not get it.
pub(crate) fn product(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    if has_left(&error) { Product.into() } else { error }
}

pub(crate) fn missing(message: impl Into<String>) -> anyhow::Error {
    Missing(message.into()).into()
}

pub(crate) fn gate(message: impl Into<String>) -> anyhow::Error {
    Gate(message.into()).into()
}

pub(crate) fn inconclusive(message: impl Into<String>) -> anyhow::Error {
    Inconclusive(message.into()).into()
}

/// The flags that signals set.
pub(crate) struct Signals {
    /// Set by any signal that asks the program to stop.
    pub(crate) interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// Sets the flags at the first interrupt; the second one ends the program at once.
pub(crate) fn catch_signals() -> io::Result<Signals> {
    let signals = Signals { interrupted: Arc::default(), terminated: Arc::default() };
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&signals.interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&signals.interrupted))?;
    }
    signal_hook::flag::register(SIGTERM, Arc::clone(&signals.terminated))?;
    Ok(signals)
}

impl Signals {
    /// An interrupted run ends with 143 where the signal was SIGTERM.
    pub(crate) fn refine(&self, code: u8) -> u8 {
        if code == 130 && self.terminated.load(Ordering::Relaxed) { 143 } else { code }
    }
}

/// A panic says where, never with what: its message could hold text of a document.
pub(crate) fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let _ = writeln!(io::stderr(), "verbatim: panic at {place}");
    }));
}

/// The whole chain of causes on one line.
pub(crate) fn message(error: &anyhow::Error) -> String {
    verbatim_report::Printable(&format!("{error:#}")).to_string()
}

/// The exit code for an error: that of the first cause in the chain that has one. A reader of a summary that left
/// early is no failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if has_left(error) {
        return 0;
    }
    error.chain().find_map(code_of).unwrap_or(70)
}

fn has_left(error: &anyhow::Error) -> bool {
    let left = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(left))
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    macro_rules! rooms {
        ($($room:ident),*) => {
            $(if let Some(error) = cause.downcast_ref::<$room::Error>() { return Some(error.exit_code()); })*
        };
    }
    rooms!(
        verbatim_store,
        verbatim_corpus,
        verbatim_index,
        verbatim_dedup,
        verbatim_lm,
        verbatim_extraction,
        verbatim_lab,
        verbatim_report
    );
    if cause.is::<Interrupted>() {
        return Some(130);
    }
    if cause.is::<Gate>() {
        return Some(1);
    }
    if cause.is::<Inconclusive>() {
        return Some(3);
    }
    if cause.is::<Usage>() {
        return Some(2);
    }
    if cause.is::<Missing>() {
        return Some(66);
    }
    if let Some(Runner(code)) = cause.downcast_ref() {
        return Some(*code);
    }
    (cause.is::<Product>() || cause.is::<io::Error>()).then_some(74)
}
