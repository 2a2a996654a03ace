//! One number that a gate can hold against a bound: its name, its unit, how often it was tried, and its interval. What
//! the name means is the report's business; a gate knows names from a policy only.

use serde::{Deserialize, Serialize};

use crate::figure::LEVEL;

/// What a measure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// From 0 to 1: so many of so many trials.
    Share,
    /// A number of things.
    Count,
    /// Bits of information.
    Bits,
}

/// A measured number with its interval.
///
/// The ends are those of a two-sided interval: each alone is a bound at (1 + level) / 2, 97.5% for 95%.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What was measured, in letters, digits and `-._:/+`: `canary-recited-share`.
    pub name: String,
    /// What it counts in.
    pub unit: Unit,
    /// The number itself; none where nothing was tried.
    pub value: Option<f64>,
    /// Of a share, how many of the trials succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many trials it rests on.
    pub n_trials: u64,
    /// Lower end of the interval; none where there is no interval.
    pub low: Option<f64>,
    /// Upper end of the interval; none where there is no interval or it has no end.
    pub high: Option<f64>,
    /// Level of the interval.
    pub level: f64,
    /// The list of the result that names what was found: `findings` or `canaries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

impl Measure {
    /// So many of so many, with the interval of Clopper and Pearson at [`LEVEL`]. Without trials there is no value, and the
    /// interval is the whole range.
    ///
    /// # Panics
    /// When `count` is above `n_trials`: a mistake of ours.
    pub fn share(name: &str, count: u64, n_trials: u64) -> Measure {
        let interval = verbatim_membership::clopper_pearson(count, n_trials, LEVEL);
        let value = (n_trials > 0).then(|| significant(count as f64 / n_trials as f64));
        let ends = Some((interval.low, interval.high));
        Measure { count: Some(count), ..Measure::number(name, Unit::Share, value, n_trials).within(ends) }
    }

    /// A number of things found by `n_trials`, with Garwood's interval for how many such trials find on average. Without
    /// trials there is neither.
    pub fn count(name: &str, count: u64, n_trials: u64) -> Measure {
        let measure = |value| Measure::number(name, Unit::Count, value, n_trials);
        if n_trials == 0 {
            return measure(None);
        }
        let interval = verbatim_membership::garwood(count, LEVEL);
        measure(Some(count as f64)).within(Some((interval.low, interval.high)))
    }

    /// A number without an interval.
    pub fn number(name: &str, unit: Unit, value: Option<f64>, n_trials: u64) -> Measure {
        let (name, value) = (name.to_owned(), value.map(significant));
        Measure {
            name,
            unit,
            value,
            count: None,
            n_trials,
            low: None,
            high: None,
            level: LEVEL,
            evidence: None,
        }
    }

    /// The measure with these ends of its interval.
    #[must_use]
    pub fn within(mut self, ends: Option<(f64, f64)>) -> Measure {
        (self.low, self.high) = (ends.map(|ends| significant(ends.0)), ends.map(|ends| significant(ends.1)));
        self
    }

    /// The measure with the list of the result that names what was found.
    #[must_use]
    pub fn proven_by(mut self, list: &str) -> Measure {
        self.evidence = Some(list.to_owned());
        self
    }

    /// What is wrong with a measure that came from a file.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !is_name(&self.name) {
            return Some("a measure's name is 1 to 100 letters, digits and -._:/+");
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Some("a level is above 0 and below 1");
        }
        let numbers = [self.value, self.low, self.high];
        if numbers.into_iter().flatten().any(|number| !number.is_finite() || number < 0.0) {
            return Some("a value and its interval are finite and not negative");
        }
        if self.unit == Unit::Share && numbers.into_iter().flatten().any(|number| number > 1.0) {
            return Some("a share is at most 1");
        }
        if self.n_trials == 0 && self.value.is_some() {
            return Some("a value without any trial");
        }
        if self.n_trials > 0 && self.value.is_none() {
            return Some("trials without a value");
        }
        // Each number was rounded by itself.
        let above = |one: Option<f64>, other: Option<f64>| {
            one.zip(other).is_some_and(|(one, other)| one > other * (1.0 + 1e-5))
        };
        if above(self.low, self.high) || above(self.low, self.value) || above(self.value, self.high) {
            return Some("the value does not lie in its interval");
        }
        match (self.count, self.value) {
            (Some(count), _) if count > self.n_trials => Some("more successes than trials"),
            (Some(count), Some(value)) if (count as f64 / self.n_trials as f64 - value).abs() > 1e-5 => {
                Some("the count is not the share of the trials")
            }
            _ => None,
        }
    }

    /// Of a share, how many of the trials succeeded; none without trials.
    pub(crate) fn successes(&self) -> Option<u64> {
        self.value?;
        let counted = || Some((self.value? * self.n_trials as f64).round() as u64);
        (self.unit == Unit::Share)
            .then(|| self.count.or_else(counted))
            .flatten()
            .map(|k| k.min(self.n_trials))
    }
}

/// Whether a measure can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/+".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Rounds to six significant digits, so that an upper end close to zero stays above it; whole numbers stay as they are.
pub(crate) fn significant(value: f64) -> f64 {
    if value.fract() == 0.0 {
        return value;
    }
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_exact_interval_and_never_an_upper_end_of_zero() {
        // scipy 1.17.1, beta.ppf(.975, 1, 10**7): 3.688878766e-07.
        let measure = Measure::share("x", 0, 10_000_000);
        assert_eq!((measure.value, measure.low, measure.high), (Some(0.0), Some(0.0), Some(3.68888e-7)));
        let none = Measure::share("x", 0, 0);
        assert_eq!((none.value, none.low, none.high, none.fault()), (None, Some(0.0), Some(1.0), None));
    }

    #[test]
    fn a_count_has_garwoods_interval() {
        let measure = Measure::count("x", 10, 600);
        assert_eq!((measure.value, measure.low, measure.high), (Some(10.0), Some(4.79539), Some(18.3904)));
        assert_eq!(Measure::count("x", 1_234_567, 9).value, Some(1_234_567.0));
        assert_eq!(Measure::count("x", 0, 0), Measure::number("x", Unit::Count, None, 0));
    }

    #[test]
    fn what_cannot_be_measured_is_a_fault() {
        let good = Measure::share("x", 3, 50);
        assert_eq!(good.fault(), None);
        let with = |change: &dyn Fn(&mut Measure)| {
            let mut measure = good.clone();
            change(&mut measure);
            measure.fault()
        };
        let bad: [&dyn Fn(&mut Measure); 11] = [
            &|measure| measure.name = "<b>".into(),
            &|measure| measure.name.clear(),
            &|measure| measure.level = 1.0,
            &|measure| measure.level = f64::NAN,
            &|measure| measure.value = Some(f64::NAN),
            &|measure| measure.low = Some(-0.1),
            &|measure| measure.high = Some(1.5),
            &|measure| (measure.low, measure.high) = (Some(0.3), Some(0.2)),
            &|measure| measure.n_trials = 0,
            &|measure| measure.count = Some(51),
            &|measure| measure.count = Some(30),
        ];
        for (number, change) in bad.into_iter().enumerate() {
            assert!(with(change).is_some(), "{number}");
        }
        assert_eq!(with(&|measure| measure.unit = Unit::Bits), None);
    }

    #[test]
    fn rounded_numbers_of_our_own_are_no_fault() {
        for n in [1, 7, 300, 1_234_567] {
            for k in [0, 1, n / 3, n - 1, n] {
                assert_eq!(Measure::share("x", k, n).fault(), None, "{k} of {n}");
                assert_eq!(Measure::count("x", k, n).fault(), None, "{k} of {n}");
            }
        }
    }
}
