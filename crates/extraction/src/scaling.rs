//! How extraction grows with copies, context and the length of documents: shares by doubling, and a line through them.

use std::collections::BTreeMap;

use verbatim_membership::{Trend, Trials, log_linear};

use crate::target::doubling;

/// Targets for which a number lies in one doubling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubling {
    /// The least number of the doubling: a power of two.
    pub from: u64,
    /// The largest.
    pub to: u64,
    /// Targets that were extracted.
    pub k: u64,
    /// Targets.
    pub n: u64,
}

/// How the share of targets that are extracted grows with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// By doublings of the number, ascending; those without targets are left out.
    pub groups: Vec<Doubling>,
    /// The line through the single targets; none where there is nothing to fit.
    pub trend: Option<Trend>,
}

/// How the share of outcomes that are true grows with a number of at least 1.
pub fn scaling(outcomes: impl IntoIterator<Item = (u64, bool)>, level: f64) -> Scaling {
    let mut counts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (number, outcome) in outcomes {
        let (k, n) = counts.entry(number.max(1)).or_default();
        *k += u64::from(outcome);
        *n += 1;
    }
    let mut groups: Vec<Doubling> = Vec::new();
    for (number, (k, n)) in &counts {
        let from = 1 << doubling(*number);
        match groups.last_mut().filter(|group| group.from == from) {
            Some(group) => {
                group.k += k;
                group.n += n;
            }
            None => groups.push(Doubling { from, to: from - 1 + from, k: *k, n: *n }),
        }
    }
    let trials: Vec<Trials> =
        counts.into_iter().map(|(number, (k, n))| Trials { x: number as f64, k, n }).collect();
    Scaling { groups, trend: log_linear(&trials, level) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_doubling_and_fitted_one_by_one() {
        let outcomes =
            [(1, false), (1, false), (2, false), (3, true), (4, true), (7, false), (64, true), (0, false)];
        let scaling = scaling(outcomes, 0.95);
        let groups: Vec<_> =
            scaling.groups.iter().map(|group| (group.from, group.to, group.k, group.n)).collect();
        assert_eq!(groups, [(1, 1, 0, 3), (2, 3, 1, 2), (4, 7, 1, 2), (64, 127, 1, 1)]);
        let trials = [(1, 0, 3), (2, 0, 1), (3, 1, 1), (4, 1, 1), (7, 0, 1), (64, 1, 1)]
            .map(|(x, k, n)| Trials { x: f64::from(x), k, n });
        assert_eq!(scaling.trend, log_linear(&trials, 0.95));
        assert!(scaling.trend.is_some_and(|trend| trend.slope > 0.0));
    }

    #[test]
    fn nothing_scales_where_nothing_was_asked() {
        assert_eq!(scaling([], 0.95), Scaling { groups: Vec::new(), trend: None });
    }
}
