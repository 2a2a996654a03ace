//! The program: parse, run, exit code.

mod args;
mod commands;
mod failure;
mod progress;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::args::Arguments;
use crate::commands::Context;
use crate::failure::Signals;
use crate::progress::Teller;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    verbatim_store::install_truncation_handler();
    failure::silence_panics();
    let signals = match failure::catch_signals() {
        Ok(signals) => signals,
        Err(_) => return ExitCode::from(70),
    };
    let outcome =
        std::panic::catch_unwind(|| run(arguments, &signals)).unwrap_or_else(|_| Err(failure::internal()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = signals.refine(failure::exit_code(&error));
            if code != 0 {
                // Nothing is left to do when standard error is closed as well.
                let _ = writeln!(std::io::stderr(), "verbatim: {}", failure::message(&error));
            }
            ExitCode::from(code)
        }
    }
}

fn run(arguments: Arguments, signals: &Signals) -> anyhow::Result<()> {
    if let Some(threads) = arguments.global.threads {
        rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global()?;
    }
    let teller = Teller::new(arguments.global.progress, Arc::clone(&signals.interrupted));
    let context = Context::new(&teller, &arguments.global);
    let outcome = commands::run(arguments.command, &context);
    teller.finish();
    outcome
}
