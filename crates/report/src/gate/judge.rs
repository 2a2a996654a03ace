//! One limit against one measure. The rule is one for every end of every interval: a bound holds when the whole interval
//! is on its right side, it does not when the whole interval is on its wrong side, and otherwise there were too few trials
//! to tell, which is never a pass.

use serde::Serialize;
use verbatim_membership::{newcombe, trials_to_show_below};

use crate::figure::{grouped, percent, rounded};
use crate::gate::policy::{Bound, LimitKind};
use crate::measure::{Measure, Unit};

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateVerdict {
    /// Every bound is shown to hold, or is waived.
    Pass,
    /// Nothing is shown either way.
    Inconclusive,
    /// A bound is shown not to hold.
    Fail,
}

impl GateVerdict {
    /// Its name, as in a report.
    pub fn name(self) -> &'static str {
        match self {
            GateVerdict::Pass => "pass",
            GateVerdict::Inconclusive => "inconclusive",
            GateVerdict::Fail => "fail",
        }
    }

    /// The exit code that a program ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            GateVerdict::Pass => 0,
            GateVerdict::Fail => 1,
            GateVerdict::Inconclusive => 3,
        }
    }
}

/// How far a share lies above that of the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Increase {
    /// The share of the baseline.
    pub baseline: f64,
    /// How far this one lies above it; negative when it lies below.
    pub value: f64,
    /// Lower end of Newcombe's interval of the difference.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Level of the interval.
    pub level: f64,
}

/// How many trials would show that a bound holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrialsNeeded {
    /// About how many, if the true share is the observed one; none where it is not on the right side.
    pub as_observed: Option<u64>,
    /// The fewest of all, when no trial speaks against the bound; none where no number would do.
    pub at_best: Option<u64>,
}

/// What one limit says of one measure.
pub(crate) struct Judged {
    pub(crate) verdict: GateVerdict,
    pub(crate) reason: String,
    pub(crate) increase: Option<Increase>,
}

impl Judged {
    pub(crate) fn inconclusive(reason: impl Into<String>) -> Judged {
        Judged { verdict: GateVerdict::Inconclusive, reason: reason.into(), increase: None }
    }
}

/// A number, its interval, and which side of the limit is the wrong one.
struct Held {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
    is_upper: bool,
}

/// Holds a measure against a largest or a smallest value; `level` is what intervals must have.
pub(crate) fn judge(measure: &Measure, bound: &Bound, level: f64) -> Judged {
    let Some(value) = measure.value else { return Judged::inconclusive("nothing was tried") };
    if let Some(cause) = too_weak(measure, level) {
        return Judged::inconclusive(cause);
    }
    let is_upper = bound.kind != LimitKind::Min;
    let held = Held { value, low: measure.low, high: measure.high, is_upper };
    let (verdict, reason) = decide(&held, bound, measure.n_trials);
    Judged { verdict, reason, increase: None }
}

/// Holds the increase from a baseline's measure against the largest one.
pub(crate) fn judge_increase(measure: &Measure, baseline: &Measure, bound: &Bound, level: f64) -> Judged {
    let (Some(after), Some(before)) = (measure.successes(), baseline.successes()) else {
        let is_share = measure.unit == Unit::Share && baseline.unit == Unit::Share;
        return Judged::inconclusive(match is_share {
            true => "nothing was tried, here or in the baseline",
            false => "only of shares is the increase known with an interval",
        });
    };
    if let Some(cause) = too_weak(measure, level) {
        return Judged::inconclusive(cause);
    }
    let interval = newcombe((after, measure.n_trials), (before, baseline.n_trials), measure.level);
    let shares = [(after, measure.n_trials), (before, baseline.n_trials)].map(|(k, n)| k as f64 / n as f64);
    let increase = Increase {
        baseline: rounded(shares[1]),
        value: rounded(shares[0] - shares[1]),
        low: rounded(interval.low),
        high: rounded(interval.high),
        level: measure.level,
    };
    let (low, high) = (Some(interval.low), Some(interval.high));
    let held = Held { value: shares[0] - shares[1], low, high, is_upper: true };
    let (verdict, mut reason) = decide(&held, bound, measure.n_trials.min(baseline.n_trials));
    if verdict == GateVerdict::Pass && increase.low > 0.0 {
        reason = "there is an increase, within what the policy allows".to_owned();
    }
    Judged { verdict, reason, increase: Some(increase) }
}

fn too_weak(measure: &Measure, level: f64) -> Option<String> {
    let is_weak = measure.level < level - 1e-9;
    is_weak.then(|| format!("its interval has level {}, and the policy asks for {level}", measure.level))
}

fn decide(held: &Held, bound: &Bound, n_trials: u64) -> (GateVerdict, String) {
    use GateVerdict::{Fail, Inconclusive, Pass};
    let is_beyond = |number: f64| if held.is_upper { number > bound.limit } else { number < bound.limit };
    let (near, far) = if held.is_upper { (held.low, held.high) } else { (held.high, held.low) };
    if near.is_some_and(is_beyond) {
        return (Fail, "the whole interval lies beyond the bound".to_owned());
    }
    if n_trials < bound.min_trials {
        let (n, min) = (grouped(n_trials), grouped(bound.min_trials));
        return (Inconclusive, format!("{n} trials are too few; the policy asks for {min}"));
    }
    if bound.strict && is_beyond(held.value) {
        return (Fail, "the value lies beyond the bound, and the bound is strict".to_owned());
    }
    match far {
        None => (Inconclusive, "it has no interval on that side, so that nothing is shown".to_owned()),
        Some(far) if is_beyond(far) => {
            let value =
                if is_beyond(held.value) { "the value lies beyond the bound" } else { "the value does not" };
            (Inconclusive, format!("the interval reaches beyond the bound, {value}: too few trials to tell"))
        }
        Some(_) => (Pass, "the whole interval lies within the bound".to_owned()),
    }
}

/// How many trials would show that the bound holds, for a share.
pub(crate) fn trials_needed(measure: &Measure, bound: &Bound) -> Option<TrialsNeeded> {
    if measure.unit != Unit::Share {
        return None;
    }
    // That a share is at least so much is that the rest is at most so much.
    let turned = |share: f64| match bound.kind {
        LimitKind::Max => Some(share),
        LimitKind::Min => Some(1.0 - share),
        LimitKind::MaxIncrease => None,
    };
    let limit = turned(bound.limit)?;
    let needed = |share: f64| trials_to_show_below(share, limit, measure.level);
    let as_observed = measure.value.and_then(|value| needed(turned(value)?));
    Some(TrialsNeeded {
        as_observed: as_observed.map(|n| n.max(bound.min_trials)),
        at_best: needed(0.0).map(|n| n.max(bound.min_trials)),
    })
}

/// A number in the words of its unit.
pub(crate) fn number_text(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => percent(number),
        Unit::Count => format!("{}", rounded(number)),
        Unit::Bits => format!("{} bits", rounded(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::policy::Severity;

    fn bound(kind: LimitKind, limit: f64) -> Bound {
        let (rule, measure) = ("m/max".to_owned(), "m".to_owned());
        Bound { rule, measure, kind, limit, severity: Severity::High, min_trials: 0, strict: false, line: 1 }
    }

    fn verdict(count: u64, n: u64, bound: &Bound) -> GateVerdict {
        judge(&Measure::share("m", count, n), bound, 0.95).verdict
    }

    #[test]
    fn a_bound_holds_when_the_upper_end_is_within_and_fails_when_the_lower_end_is_beyond() {
        // scipy 1.17.1, binomtest(k, n).proportion_ci(.95, 'exact'): 3 of 1000 is 0.0006 to 0.0087, 9 of 1000 is 0.0041
        // to 0.0170, 30 of 1000 is 0.0203 to 0.0426.
        let max = bound(LimitKind::Max, 0.01);
        assert_eq!(
            [3, 9, 30].map(|k| verdict(k, 1000, &max)),
            [GateVerdict::Pass, GateVerdict::Inconclusive, GateVerdict::Fail]
        );
        let min = bound(LimitKind::Min, 0.99);
        assert_eq!(
            [997, 991, 970].map(|k| verdict(k, 1000, &min)),
            [GateVerdict::Pass, GateVerdict::Inconclusive, GateVerdict::Fail]
        );
    }

    #[test]
    fn a_straddling_interval_is_inconclusive_on_either_side_of_the_value() {
        let max = bound(LimitKind::Max, 0.01);
        for k in [9, 12] {
            let judged = judge(&Measure::share("m", k, 1000), &max, 0.95);
            assert_eq!(judged.verdict, GateVerdict::Inconclusive);
            assert_eq!(judged.reason.contains("the value lies beyond"), k == 12, "{}", judged.reason);
        }
        let strict = Bound { strict: true, ..max };
        assert_eq!(
            [9, 12].map(|k| verdict(k, 1000, &strict)),
            [GateVerdict::Inconclusive, GateVerdict::Fail]
        );
    }

    #[test]
    fn too_few_trials_are_never_a_pass_and_no_excuse() {
        let max = Bound { min_trials: 300, ..bound(LimitKind::Max, 0.5) };
        assert_eq!(verdict(0, 299, &max), GateVerdict::Inconclusive);
        assert_eq!(verdict(0, 300, &max), GateVerdict::Pass);
        // Nineteen of twenty prove it all the same.
        assert_eq!(verdict(19, 20, &max), GateVerdict::Fail);
        assert_eq!(verdict(12, 20, &Bound { strict: true, ..max }), GateVerdict::Inconclusive);
    }

    #[test]
    fn zero_trials_are_inconclusive() {
        for kind in [LimitKind::Max, LimitKind::Min] {
            for limit in [0.0, 0.5, 1.0] {
                assert_eq!(verdict(0, 0, &bound(kind, limit)), GateVerdict::Inconclusive);
            }
        }
        assert_eq!(
            judge(&Measure::count("m", 0, 0), &bound(LimitKind::Max, 9.0), 0.95).verdict,
            GateVerdict::Inconclusive
        );
    }

    #[test]
    fn a_bound_of_nothing_can_fail_but_no_number_of_trials_passes_it() {
        let none = bound(LimitKind::Max, 0.0);
        assert_eq!(verdict(0, 1_000_000_000, &none), GateVerdict::Inconclusive);
        assert_eq!(verdict(1, 1_000, &none), GateVerdict::Fail);
        let needed = trials_needed(&Measure::share("m", 0, 10), &none).unwrap();
        assert_eq!(needed, TrialsNeeded { as_observed: None, at_best: None });
        let count = |k| judge(&Measure::count("m", k, 600), &none, 0.95).verdict;
        assert_eq!([0, 1].map(count), [GateVerdict::Inconclusive, GateVerdict::Fail]);
    }

    #[test]
    fn without_an_interval_a_value_passes_nothing() {
        let bits = Measure::number("m", Unit::Bits, Some(3.0), 10);
        assert_eq!(judge(&bits, &bound(LimitKind::Max, 5.0), 0.95).verdict, GateVerdict::Inconclusive);
        assert_eq!(judge(&bits, &bound(LimitKind::Max, 2.0), 0.95).verdict, GateVerdict::Inconclusive);
        let strict = Bound { strict: true, ..bound(LimitKind::Max, 2.0) };
        assert_eq!(judge(&bits, &strict, 0.95).verdict, GateVerdict::Fail);
    }

    #[test]
    fn a_lower_level_than_asked_for_shows_nothing() {
        let measure = Measure { level: 0.8, ..Measure::share("m", 0, 1000) };
        let max = bound(LimitKind::Max, 0.01);
        assert_eq!(judge(&measure, &max, 0.95).verdict, GateVerdict::Inconclusive);
        assert_eq!(judge(&measure, &max, 0.8).verdict, GateVerdict::Pass);
    }

    #[test]
    fn an_increase_counts_when_the_interval_of_the_difference_is_beyond_the_margin() {
        let judged = |before: (u64, u64), after: (u64, u64), limit| {
            let share = |(k, n)| Measure::share("m", k, n);
            judge_increase(&share(after), &share(before), &bound(LimitKind::MaxIncrease, limit), 0.95)
        };
        // Newcombe 1998, table II (a), method 10: 56/70 - 48/80 is 0.0524 to 0.3339.
        let example = judged((48, 80), (56, 70), 0.05);
        assert_eq!((example.verdict, example.increase.unwrap().baseline), (GateVerdict::Fail, 0.6));
        assert!((example.increase.unwrap().low - 0.0524).abs() < 5e-5);
        assert_eq!(judged((48, 80), (56, 70), 0.06).verdict, GateVerdict::Inconclusive);
        let within = judged((48, 80), (56, 70), 0.34);
        assert!(within.verdict == GateVerdict::Pass && within.reason.contains("there is an increase"));
        assert_eq!(judged((10, 1000), (10, 1000), 0.0).verdict, GateVerdict::Inconclusive);
        assert_eq!(judged((10, 1000), (10, 1000), 0.02).verdict, GateVerdict::Pass);
        assert_eq!(judged((0, 0), (10, 1000), 1.0).verdict, GateVerdict::Inconclusive);
        let counts = judge_increase(
            &Measure::count("m", 9, 10),
            &Measure::count("m", 1, 10),
            &bound(LimitKind::MaxIncrease, 0.0),
            0.95,
        );
        assert!(counts.verdict == GateVerdict::Inconclusive && counts.reason.contains("only of shares"));
    }

    #[test]
    fn the_trials_that_are_asked_for_would_pass() {
        let max = bound(LimitKind::Max, 0.01);
        let needed = trials_needed(&Measure::share("m", 1, 200), &max).unwrap();
        assert_eq!(needed.at_best, Some(368));
        assert_eq!(verdict(0, 368, &max), GateVerdict::Pass);
        let n = needed.as_observed.unwrap();
        assert_eq!(verdict(n / 200, n, &max), GateVerdict::Pass, "{n}");
        let min = bound(LimitKind::Min, 0.99);
        let needed = trials_needed(&Measure::share("m", 199, 200), &min).unwrap();
        assert_eq!((needed.at_best, needed.as_observed), (Some(368), Some(n)));
        assert_eq!(trials_needed(&Measure::share("m", 9, 200), &max).unwrap().as_observed, None);
    }
}
