//! Guards in front of a served model: a log of requests is replayed through a rate limit and through detectors, which says how
//! many attackers they find at which rate of false alarms, and what attackers have got before they were cut off.
//!
//! All is a function of the log. Who is refused in a replay does not try anything else, so that what a guard keeps back here is
//! the most that it would keep back. Texts are tokens.

mod detect;
mod judge;
mod limit;
mod traffic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use detect::{Detector, PrefixProbing, Recited, RepeatedPrompt};
pub use judge::{Counted, Detection, Judged, Judging, Loss, judge};
pub use limit::RateLimit;
pub use traffic::{Material, Traffic, TrafficConfig, traffic};

/// A request to a model and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it came, in milliseconds since some beginning.
    pub time_ms: u64,
    /// Who asked.
    pub client: String,
    /// What was asked, as tokens.
    pub prompt: Vec<u32>,
    /// What was answered, without the prompt.
    pub output: Vec<u32>,
}

/// A log of requests, and what each of their clients is up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// In the order of time.
    pub requests: Vec<Request>,
    /// The traffic that each client sends.
    pub clients: BTreeMap<String, Traffic>,
}

#[cfg(test)]
fn request(time_ms: u64, client: &str, prompt: &[u32], output: &[u32]) -> Request {
    Request { time_ms, client: client.to_owned(), prompt: prompt.to_vec(), output: output.to_vec() }
}
