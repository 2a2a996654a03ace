//! A day of the calendar, as policies and reports write it.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, NaiveDate};

/// A day of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(NaiveDate);

impl Day {
    /// The day that is written `2027-01-31`, if there is one.
    ///
    /// ```
    /// use verbatim_report::Day;
    /// assert!(Day::parse("2027-01-31") < Day::parse("2027-02-01"));
    /// assert_eq!(Day::parse("2027-02-29"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Day> {
        let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        is_plain.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Day)).flatten()
    }

    /// The day of a time.
    pub fn of(time: SystemTime) -> Day {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let known = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Day(known.map_or(NaiveDate::MAX, |time| time.date_naive()))
    }

    /// Days from `earlier` to this one; negative when it is later.
    pub(crate) fn days_since(self, earlier: Day) -> i64 {
        self.0.signed_duration_since(earlier.0).num_days()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_read_strictly_and_counted() {
        for wrong in [
            "",
            "2027-1-31",
            "2027-13-01",
            "2027-02-30",
            "20270131",
            " 2027-1-3 ",
            "2027-01-31T",
            "+027-01-31",
        ] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
        let [one, other] = ["2024-02-28", "2024-03-01"].map(|text| Day::parse(text).unwrap());
        assert_eq!((other.days_since(one), one.days_since(other)), (2, -2));
        // GNU date: date -u -d @1709251199 +%F
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_251_199);
        assert_eq!(Day::of(time).to_string(), "2024-02-29");
    }
}
