//! How well a score tells two sets of texts apart, beside baselines that never see the model and a control that has nothing to
//! tell.

use crate::blind::{self, BlindScores, Folds};
use crate::interval::Interval;
use crate::random::order;
use crate::roc::{self, Auc, OperatingPoint, Refusal, Scores};

/// Folds of the bag of words.
const N_FOLDS: u64 = 5;

/// The name of the baseline that learns which set is which, and so leans below one half where there is nothing to tell.
pub const BAG_OF_WORDS: &str = "bag of words";

/// The names of the baselines, in the order of [`blind_scores`].
pub const BLIND_NAMES: [&str; 3] = [BAG_OF_WORDS, "length", "latest year"];

/// How well a score tells members from non-members.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    /// Members and non-members for which it is defined.
    pub n: [u64; 2],
    /// Texts for which it is not; they are left out.
    pub n_undefined: u64,
    /// The area under the ROC curve; none where one of the sets is empty.
    pub auc: Result<Auc, Refusal>,
    /// The area's interval that holds for all scores of a table together (Bonferroni).
    pub joint: Result<Interval, Refusal>,
    /// The TPR at each FPR that was asked for.
    pub at_fpr: Vec<Result<OperatingPoint, Refusal>>,
}

/// How sure intervals are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// The level of each.
    pub level: f64,
    /// Scores whose joint intervals hold together at that level.
    pub n_together: usize,
}

/// The separation of two sets by a score of each text, none where it is undefined.
pub fn separation(
    members: &[Option<f64>],
    non_members: &[Option<f64>],
    fprs: &[f64],
    Confidence { level, n_together }: Confidence,
) -> Separation {
    let defined = |scores: &[Option<f64>]| scores.iter().copied().flatten().collect::<Vec<f64>>();
    let [inside, outside] = [members, non_members].map(defined);
    let n = [inside.len() as u64, outside.len() as u64];
    let scores = Scores::new(&inside, &outside);
    Separation {
        n,
        n_undefined: (members.len() + non_members.len()) as u64 - n[0] - n[1],
        auc: scores.map(|scores| roc::auc(scores, level)),
        joint: scores.map(|scores| roc::auc(scores, 1.0 - (1.0 - level) / n_together as f64).interval),
        at_fpr: fprs
            .iter()
            .map(|fpr| scores.and_then(|scores| roc::tpr_at_fpr(scores, *fpr, level)))
            .collect(),
    }
}

/// Scores of texts that never see a model, in the order of [`BLIND_NAMES`]: where one of these tells the two sets apart, so may
/// every signal (after Das et al. 2024).
pub fn blind_scores(members: &[&str], non_members: &[&str], seed: u64) -> [BlindScores; 3] {
    [
        blind::bag_of_words(members, non_members, Folds { n_folds: N_FOLDS, seed }),
        blind::length(members, non_members),
        blind::latest_year_signal(members, non_members),
    ]
}

/// What [`blind_scores`] tell apart, each with its name.
pub fn blind_separations(
    scores: [BlindScores; 3],
    fprs: &[f64],
    level: f64,
) -> [(&'static str, Separation); 3] {
    let confidence = Confidence { level, n_together: scores.len() };
    let some = |scores: Vec<f64>| scores.into_iter().map(Some).collect::<Vec<_>>();
    let mut names = BLIND_NAMES.into_iter();
    scores.map(|BlindScores { members, non_members }| {
        let found = separation(&some(members), &some(non_members), fprs, confidence);
        (names.next().unwrap_or_default(), found)
    })
}

/// The control: non-members divided by chance into two halves, which a signal has no way to tell apart.
pub fn control_separation(non_members: &[Option<f64>], confidence: Confidence, seed: u64) -> Separation {
    let order = order(non_members.len(), seed);
    let (first, second) = order.split_at(order.len() / 2);
    let of = |numbers: &[usize]| numbers.iter().map(|number| non_members[*number]).collect::<Vec<_>>();
    separation(&of(first), &of(second), &[], confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Confidence = Confidence { level: 0.95, n_together: 1 };

    #[test]
    fn halves_of_one_set_are_a_division_of_it_by_chance() {
        let scores: Vec<Option<f64>> = (0..101).map(|i| Some(f64::from(i))).collect();
        let found = control_separation(&scores, ALONE, 3);
        assert_eq!(found.n, [50, 51]);
        let auc = found.auc.unwrap();
        assert!(auc.interval.low < 0.5 && auc.interval.high > 0.5);
        assert_ne!(control_separation(&scores, ALONE, 4).auc.unwrap().auc, auc.auc);
    }

    #[test]
    fn texts_that_differ_in_words_are_told_apart_without_a_model() {
        let members: Vec<String> = (0..60).map(|i| format!("the cat number {i} of 1999")).collect();
        let others: Vec<String> = (0..60).map(|i| format!("a dog called {i} in the year 2020")).collect();
        let [members, others] =
            [&members, &others].map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        let rows = blind_separations(blind_scores(&members, &others, 1), &[0.1], 0.95);
        let auc = |row: usize| rows[row].1.auc.as_ref().unwrap().auc;
        assert_eq!(
            rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["bag of words", "length", "latest year"]
        );
        assert!(auc(0) > 0.99);
        assert!((1..3).all(|row| (auc(row) - 0.5).abs() > 0.49), "{} {}", auc(1), auc(2));
    }
}
