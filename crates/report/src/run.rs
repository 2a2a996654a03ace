//! What happened to be so in one run and may differ in the next: command line, times, threads, machine.
//! Secrets are taken out of the command line here, before anything is kept.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::figure::rounded;

/// One run of the program. Nothing in it can change the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The command line, without secrets.
    pub command: Vec<String>,
    /// When it started, UTC, RFC 3339.
    pub started: String,
    /// Wall clock, in seconds.
    pub seconds: f64,
    /// Wall clock of each stage, in order.
    pub stages: Vec<StageTime>,
    /// Worker threads.
    pub threads: usize,
    /// Operating system and processor family.
    pub machine: String,
    /// Features of the processor that the arithmetic may use.
    pub cpu_features: Vec<String>,
}

/// The wall clock of one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageTime {
    /// Its name.
    pub name: String,
    /// Its wall clock, in seconds.
    pub seconds: f64,
}

impl Run {
    /// A run that began at `started` with the command line `arguments` (program name first).
    pub fn new(arguments: &[String], started: SystemTime, threads: usize) -> Run {
        Run {
            command: without_secrets(arguments),
            started: rfc3339(started),
            seconds: 0.0,
            stages: Vec::new(),
            threads,
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu_features: cpu_features(),
        }
    }

    /// The run with its wall clock, in whole and by stage.
    #[must_use]
    pub fn finished(mut self, elapsed: Duration, stages: &[(String, Duration)]) -> Run {
        self.seconds = milliseconds(elapsed);
        self.stages = stages
            .iter()
            .map(|(name, elapsed)| StageTime { name: name.clone(), seconds: milliseconds(*elapsed) })
            .collect();
        self
    }
}

fn milliseconds(elapsed: Duration) -> f64 {
    rounded((elapsed.as_secs_f64() * 1e3).round() / 1e3)
}

/// The processor features that the arithmetic may use, in the order of their age.
fn cpu_features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known: [(&str, bool); 0] = [];
    known.iter().filter(|(_, present)| *present).map(|(name, _)| (*name).to_owned()).collect()
}

/// Seconds since 1970 as a date and time of day in UTC, by the civil calendar.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to year, month and day by Hinnant's "chrono-compatible low-level date algorithms", civil_from_days,
    // for days from 1970 on: years begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

const REMOVED: &str = "[removed]";

/// The command line without what may be a secret: values of flags that name one, credentials and query strings
/// in addresses, and words that look like an access token.
fn without_secrets(arguments: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(arguments.len());
    let mut hide_next = false;
    for argument in arguments {
        let hidden = std::mem::take(&mut hide_next);
        if hidden {
            kept.push(REMOVED.to_owned());
        } else if let Some((flag, value)) = argument.split_once('=').filter(|_| argument.starts_with('-')) {
            let value = if names_a_secret(flag) { REMOVED.to_owned() } else { without_credentials(value) };
            kept.push(format!("{flag}={value}"));
        } else {
            hide_next = argument.starts_with("--") && names_a_secret(argument);
            kept.push(without_credentials(argument));
        }
    }
    kept
}

fn names_a_secret(flag: &str) -> bool {
    const WORDS: [&str; 9] =
        ["token", "secret", "password", "passphrase", "key", "apikey", "auth", "credential", "credentials"];
    flag.split('-').any(|part| WORDS.contains(&part.to_ascii_lowercase().as_str()))
}

fn without_credentials(word: &str) -> String {
    const TOKEN_STARTS: [&str; 6] = ["hf_", "api_org_", "ghp_", "github_pat_", "sk-", "AKIA"];
    if TOKEN_STARTS.iter().any(|start| word.starts_with(start) && word.len() >= start.len() + 16) {
        return REMOVED.to_owned();
    }
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let rest = match rest.split_once('?') {
        Some((address, _)) => format!("{address}?{REMOVED}"),
        None => rest.to_owned(),
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{REMOVED}{}", &rest[at..]),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn secrets_leave_the_command_line() {
        let token = format!("hf_{}", "a".repeat(34));
        let line = format!(
            "verbatim extract --model https://me:pw@host/m?sig=1 --token {token} --api-key=abc --max-new-tokens 256 \
             --tokenizer t.json {token} -o out"
        );
        let kept = without_secrets(&words(&line)).join(" ");
        assert_eq!(
            kept,
            "verbatim extract --model https://[removed]@host/m?[removed] --token [removed] --api-key=[removed] \
             --max-new-tokens 256 --tokenizer t.json [removed] -o out"
        );
    }

    #[test]
    fn times_are_civil_dates() {
        // GNU date: date -u -d @SECONDS +%FT%TZ
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in known {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
