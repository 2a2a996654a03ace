//! Scores of members and of non-members, ranked: equal scores are one group, taken whole or not at all.

use crate::roc::Scores;

/// Which texts have equal scores.
pub(crate) struct Ties {
    /// The distinct scores, rising.
    pub(crate) scores: Vec<f64>,
    /// The group of each member: an index into `scores`.
    pub(crate) members: Vec<usize>,
    /// The group of each non-member.
    pub(crate) non_members: Vec<usize>,
}

/// How many texts a group has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) n_members: u64,
    pub(crate) n_non_members: u64,
}

/// The texts at or above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The lowest group among them; the number of groups where there is none.
    pub(crate) first_group: usize,
    pub(crate) n_members: u64,
    pub(crate) n_non_members: u64,
}

impl Ties {
    pub(crate) fn new(scores: Scores<'_>) -> Ties {
        let mut distinct: Vec<f64> = scores.members().iter().chain(scores.non_members()).copied().collect();
        // The two zeros, which the order tells apart, are equal and beside each other.
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup_by(|next, kept| next == kept);
        let groups = |texts: &[f64]| {
            texts.iter().map(|score| distinct.partition_point(|other| other < score)).collect::<Vec<usize>>()
        };
        let (members, non_members) = (groups(scores.members()), groups(scores.non_members()));
        Ties { scores: distinct, members, non_members }
    }

    /// How many texts each group has.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut groups = vec![Group::default(); self.scores.len()];
        self.members.iter().for_each(|&group| groups[group].n_members += 1);
        self.non_members.iter().for_each(|&group| groups[group].n_non_members += 1);
        groups
    }
}

/// The AUC of groups in rising order: an equal pair counts one half. Exact but for one division.
pub(crate) fn auc_of(groups: &[Group]) -> f64 {
    let (mut below, mut doubled_wins, mut n_members) = (0u64, 0u128, 0u64);
    for group in groups {
        doubled_wins += u128::from(group.n_members) * u128::from(2 * below + group.n_non_members);
        below += group.n_non_members;
        n_members += group.n_members;
    }
    doubled_wins as f64 / (2.0 * n_members as f64 * below as f64)
}

/// The most texts from the top of which at most `n_allowed` are non-members.
pub(crate) fn accept(groups: &[Group], n_allowed: u64) -> Accepted {
    let mut accepted = Accepted { first_group: groups.len(), n_members: 0, n_non_members: 0 };
    for (index, group) in groups.iter().enumerate().rev() {
        if accepted.n_non_members + group.n_non_members > n_allowed {
            break;
        }
        accepted = Accepted {
            first_group: index,
            n_members: accepted.n_members + group.n_members,
            n_non_members: accepted.n_non_members + group.n_non_members,
        };
    }
    accepted
}
