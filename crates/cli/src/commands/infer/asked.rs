//! Which signals are asked for, and whether they can be had.

use std::collections::BTreeSet;

use verbatim_membership::{Need, Signal};

use super::lacking;
use crate::args::{Infer, Wanted};

/// The signals that are asked for.
pub(super) struct Asked {
    /// In the order of reports.
    signals: Vec<Signal>,
    /// Those that were named one by one: without them there is no result.
    named: BTreeSet<Signal>,
    /// What became of others.
    warnings: Vec<String>,
}

impl Asked {
    /// Of two sets.
    pub(super) fn of_sets(arguments: &Infer) -> anyhow::Result<Asked> {
        let is_given = |signal: Signal| match signal.needs() {
            Need::Counts => !arguments.frequencies.is_empty(),
            Need::Reference => arguments.reference.is_some(),
            _ => true,
        };
        let mut named = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for one in &arguments.signals {
            match one {
                Wanted::All => wanted.extend(Signal::ALL.into_iter().filter(|signal| is_given(*signal))),
                Wanted::OnePass => {
                    let one_pass = Signal::ALL.into_iter().filter(|signal| is_of_one_pass(*signal));
                    wanted.extend(one_pass.filter(|signal| is_given(*signal)));
                }
                Wanted::One(signal) => {
                    named.insert(*signal);
                }
            }
        }
        named.iter().try_for_each(|signal| check(*signal, arguments))?;
        wanted.extend(&named);
        let signals = Signal::ALL.into_iter().filter(|signal| wanted.contains(signal)).collect();
        Ok(Asked { signals, named, warnings: Vec::new() })
    }

    /// Of kept records, which give some signals.
    pub(super) fn of_kept(arguments: &Infer, given: &[Signal]) -> anyhow::Result<Asked> {
        let mut signals = BTreeSet::new();
        for one in &arguments.signals {
            match one {
                Wanted::All => signals.extend(given),
                Wanted::OnePass => signals.extend(given.iter().filter(|signal| is_of_one_pass(**signal))),
                Wanted::One(signal) if given.contains(signal) => {
                    signals.insert(*signal);
                }
                Wanted::One(signal) => return Err(lacking(*signal, "is not among what --records keeps")),
            }
        }
        let signals = Signal::ALL.into_iter().filter(|signal| signals.contains(signal)).collect();
        Ok(Asked { signals, named: BTreeSet::new(), warnings: Vec::new() })
    }

    /// Of texts that are judged.
    pub(super) fn of_texts(arguments: &Infer) -> anyhow::Result<Asked> {
        let default = if arguments.reference.is_some() { Signal::ReferenceDifference } else { Signal::Loss };
        let signal = arguments.by.unwrap_or(default);
        check(signal, arguments)?;
        if signal.needs() == Need::BothSets {
            return Err(lacking(
                signal,
                "needs texts that are known to be members; give --members and --non-members",
            ));
        }
        Ok(Asked { signals: vec![signal], named: BTreeSet::from([signal]), warnings: Vec::new() })
    }

    pub(super) fn signals(&self) -> &[Signal] {
        &self.signals
    }

    pub(super) fn any(&self, need: Need) -> bool {
        self.signals.iter().any(|signal| signal.needs() == need)
    }

    /// Goes on without the signals of a need that cannot be met.
    ///
    /// # Errors
    /// The reason, where one of them was named.
    pub(super) fn leave_out(&mut self, need: Need, reason: impl Into<anyhow::Error>) -> anyhow::Result<()> {
        let reason = reason.into();
        if let Some(signal) = self.named.iter().find(|signal| signal.needs() == need) {
            return Err(reason.context(format!("the signal {signal} cannot be had")));
        }
        let gone: Vec<&str> =
            self.signals.iter().filter(|signal| signal.needs() == need).map(|signal| signal.name()).collect();
        if !gone.is_empty() {
            self.warnings.push(format!("{} left out: {reason:#}", gone.join(" and ")));
        }
        self.signals.retain(|signal| signal.needs() != need);
        Ok(())
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Whether one pass over each text gives a signal, with what else there is.
fn is_of_one_pass(signal: Signal) -> bool {
    matches!(signal.needs(), Need::Nothing | Need::Counts | Need::Reference)
}

/// Refuses a signal that lacks a flag.
fn check(signal: Signal, arguments: &Infer) -> anyhow::Result<()> {
    match signal.needs() {
        Need::Counts if arguments.frequencies.is_empty() => {
            Err(lacking(signal, "needs a corpus to count tokens in; give --frequencies"))
        }
        Need::Reference if arguments.reference.is_none() => {
            Err(lacking(signal, "needs a model that has not seen the members; give --reference"))
        }
        _ => Ok(()),
    }
}
