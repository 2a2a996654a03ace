//! What values of flags may be.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use verbatim_corpus::is_object_url;
use verbatim_index::MIN_REPEAT_LEN;
use verbatim_report::Day;

use super::MaxBad;
use super::RunLength;

/// The longest passage that can be asked for.
const MAX_RUN_LEN: u64 = 1 << 20;

/// A file or folder on this machine, not in an object store.
pub(crate) fn local() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_object_url(&path) {
        true => Err(
            "only a clean corpus (`dedup -o`, `apply -o`) is written to an object store; take a local folder",
        ),
        false => Ok(path),
    })
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().map_err(|_| "not a number".to_owned())
}

fn within(text: &str, range: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    let value = number(text)?;
    if holds(value) { Ok(value) } else { Err(format!("must be {range}")) }
}

pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    within(text, "from 0 to below 1", |value| (0.0..1.0).contains(&value))
}

pub(crate) fn max_bad(text: &str) -> Result<MaxBad, String> {
    match text.parse() {
        Ok(n) => Ok(MaxBad::Records(n)),
        Err(_) => fraction(text).map(MaxBad::Share),
    }
}

pub(crate) fn open_fraction(text: &str) -> Result<f64, String> {
    within(text, "above 0 and below 1", |value| value > 0.0 && value < 1.0)
}

pub(crate) fn threshold(text: &str) -> Result<f64, String> {
    within(text, "above 0 and at most 1", |value| value > 0.0 && value <= 1.0)
}

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    within(text, "above 0", |value| value > 0.0 && value.is_finite())
}

pub(crate) fn non_negative(text: &str) -> Result<f64, String> {
    within(text, "0 or above", |value| value >= 0.0 && value.is_finite())
}

pub(crate) fn probability(text: &str) -> Result<f32, String> {
    threshold(text).map(|value| value as f32)
}

/// A number of bytes with an optional binary suffix.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(suffix, shift)| text.strip_suffix(suffix).map(|digits| (digits, *shift)))
        .unwrap_or((text, 0));
    let count: u64 = digits.trim().parse().map_err(|_| "not a size; write 4096, 64MiB or 2GiB".to_owned())?;
    match count.checked_mul(1 << shift) {
        Some(0) => Err("must be above 0".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

/// A length in bytes, `200b` or `200`, or in tokens, `50tok`.
pub(crate) fn run_length(text: &str) -> Result<RunLength, String> {
    let (digits, is_tokens) = match text.strip_suffix("tok") {
        Some(digits) => (digits, true),
        None => (text.strip_suffix('b').unwrap_or(text), false),
    };
    let len =
        digits.parse().map_err(|_| "not a length; write 200b for bytes, 50tok for tokens".to_owned())?;
    match (MIN_REPEAT_LEN as u64..=MAX_RUN_LEN).contains(&len) {
        true => Ok(RunLength { len, is_tokens }),
        false => Err(format!("choose a length from {MIN_REPEAT_LEN} to {MAX_RUN_LEN}")),
    }
}

/// A day of the calendar.
pub(crate) fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "not a day; write 2027-01-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_suffixes_and_refuse_nonsense() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for wrong in ["5Q", "", "-1", "0", "99999999999TiB", "1.5MiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_count_bytes_or_tokens() {
        assert_eq!(run_length("200b"), Ok(RunLength { len: 200, is_tokens: false }));
        assert_eq!(run_length("16"), Ok(RunLength { len: 16, is_tokens: false }));
        assert_eq!(run_length("50tok"), Ok(RunLength { len: 50, is_tokens: true }));
        for wrong in ["", "15", "-20", "50 tok", "50t", "tok", "9999999999", "1e3"] {
            assert!(run_length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_refuse_what_is_not_a_number_in_them() {
        for wrong in ["0", "-1", "1.01", "NaN", "x"] {
            assert!(threshold(wrong).is_err(), "{wrong}");
        }
        assert_eq!(threshold("1"), Ok(1.0));
        assert_eq!(max_bad("1"), Ok(MaxBad::Records(1)));
        assert_eq!(max_bad("0.5"), Ok(MaxBad::Share(0.5)));
        for wrong in ["-1", "1.0", "1.5", "NaN", ""] {
            assert!(max_bad(wrong).is_err(), "{wrong}");
        }
        assert!(positive("inf").is_err());
    }
}
