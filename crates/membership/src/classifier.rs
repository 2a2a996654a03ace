//! A classifier that learns from shadow models which features members have, and scores those of a model in question.

use serde::{Deserialize, Serialize};

use crate::cholesky::{dot, solve};

/// Newton's steps at most; far from the end they halve what is left, near it they square it.
const MOST_STEPS: usize = 100;

/// The share of the loss below which what is left to gain is rounding.
const LEAST_GAIN: f64 = 1e-20;

/// A feature as a classifier takes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// The mean over the rows that it was fitted on.
    pub mean: f64,
    /// The standard deviation over them, of n.
    pub deviation: f64,
    /// By how many nats one deviation more raises the log-odds of a member.
    pub weight: f64,
}

/// A linear classifier of members and non-members: the log-odds of a member are the intercept plus each feature's weight times
/// its distance from its mean in deviations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classifier {
    /// In the order of the rows; none for a feature that has the same value in all of them.
    pub features: Vec<Option<Feature>>,
    /// The log-odds, in nats, of a row whose features all have their means.
    pub intercept: f64,
    /// Rows of members that it was fitted on.
    pub n_members: u64,
    /// Rows of non-members.
    pub n_non_members: u64,
    /// Rows left out, for one of their features is undefined.
    pub n_left_out: u64,
}

impl Classifier {
    /// Logistic regression on rows of features, the attack model of Shokri et al. (2017) where members and non-members are
    /// those of shadow models: the features of each text under each shadow model, in the order (N, F).
    ///
    /// It minimises the sum of the rows' losses plus `penalty` / 2 times the sum of the squared weights of standardised
    /// features, the intercept's not among them: a penalty of 1 is 1 / C = 1 of scikit-learn. The minimum is one point,
    /// found by Newton's steps from zero, halved where they go too far; nothing is drawn.
    ///
    /// `None` where no row of members or none of non-members has all features defined, or no feature differs.
    ///
    /// # Panics
    /// If the rows are not of one length, or the penalty is not above zero.
    ///
    /// ```
    /// use verbatim_membership::Classifier;
    /// let (members, others) = ([[Some(2.0)], [Some(3.0)]], [[Some(0.0)], [Some(1.0)]]);
    /// let classifier = Classifier::fit(&members, &others, 1.0).expect("a feature that differs");
    /// assert!(classifier.score(&[Some(2.5)]) > Some(0.0) && classifier.score(&[Some(0.5)]) < Some(0.0));
    /// assert_eq!(classifier.score(&[None]), None);
    /// ```
    pub fn fit<R: AsRef<[Option<f64>]>>(
        members: &[R],
        non_members: &[R],
        penalty: f64,
    ) -> Option<Classifier> {
        assert!(penalty > 0.0 && penalty.is_finite(), "a penalty of {penalty}");
        let n_features = members.iter().chain(non_members).next()?.as_ref().len();
        let is_even = |row: &R| row.as_ref().len() == n_features;
        assert!(
            members.iter().chain(non_members).all(is_even),
            "rows of features that are not of one length"
        );
        let defined = |rows: &[R]| rows.iter().filter_map(|row| defined(row.as_ref())).collect::<Vec<_>>();
        let (mut rows, mut others) = (defined(members), defined(non_members));
        let (n_members, n_non_members) = (rows.len(), others.len());
        if n_members == 0 || n_non_members == 0 {
            return None;
        }
        rows.append(&mut others);
        let mut features: Vec<Option<Feature>> = (0..n_features).map(|at| spread(&rows, at)).collect();
        if features.iter().all(Option::is_none) {
            return None;
        }
        let rows = rows.iter().map(|row| [standardised(&features, row), vec![1.0]].concat()).collect();
        let weights = Regression { rows, n_members, penalty }.minimum()?;
        features.iter_mut().flatten().zip(&weights).for_each(|(feature, weight)| feature.weight = *weight);
        Some(Classifier {
            features,
            intercept: weights[weights.len() - 1],
            n_members: n_members as u64,
            n_non_members: n_non_members as u64,
            n_left_out: (members.len() + non_members.len() - n_members - n_non_members) as u64,
        })
    }

    /// The log-odds of a member by a row of features, in nats; HIGHER means MORE LIKELY A MEMBER.
    ///
    /// `None` where a feature is undefined, be it one that the classifier leaves out.
    ///
    /// # Panics
    /// If the row has not as many features as those that it was fitted on.
    pub fn score(&self, row: &[Option<f64>]) -> Option<f64> {
        assert!(row.len() == self.features.len(), "{} features of {}", row.len(), self.features.len());
        let weights: Vec<f64> = self.features.iter().flatten().map(|feature| feature.weight).collect();
        let score = self.intercept + dot(&weights, &standardised(&self.features, &defined(row)?));
        score.is_finite().then_some(score)
    }
}

/// The values of a row that has all of them.
pub(crate) fn defined(row: &[Option<f64>]) -> Option<Vec<f64>> {
    row.iter().map(|value| value.filter(|value| value.is_finite())).collect()
}

/// The mean and the deviation of a feature, where it differs.
fn spread(rows: &[Vec<f64>], at: usize) -> Option<Feature> {
    let n = rows.len() as f64;
    if rows.iter().all(|row| row[at] == rows[0][at]) {
        return None;
    }
    let mean = rows.iter().map(|row| row[at]).sum::<f64>() / n;
    let deviation = (rows.iter().map(|row| (row[at] - mean).powi(2)).sum::<f64>() / n).sqrt();
    (deviation > 0.0 && deviation.is_finite()).then_some(Feature { mean, deviation, weight: 0.0 })
}

/// The features that differ, in deviations from their means.
fn standardised(features: &[Option<Feature>], row: &[f64]) -> Vec<f64> {
    let of_feature = |(feature, value): (&Option<Feature>, &f64)| {
        feature.map(|feature| (value - feature.mean) / feature.deviation)
    };
    features.iter().zip(row).filter_map(of_feature).collect()
}

/// What is minimised.
struct Regression {
    /// Standardised features and a one, those of members first.
    rows: Vec<Vec<f64>>,
    n_members: usize,
    penalty: f64,
}

impl Regression {
    /// The weights of the least loss, the intercept last.
    fn minimum(&self) -> Option<Vec<f64>> {
        let mut weights = vec![0.0; self.rows[0].len()];
        let mut loss = self.loss(&weights);
        for _ in 0..MOST_STEPS {
            let (step, gain) = self.newton_step(&weights)?;
            if gain <= LEAST_GAIN * loss {
                break;
            }
            let shares = (0..50).map(|halvings| 0.5f64.powi(halvings));
            let moved = shares.map(|share| -> Vec<f64> {
                weights.iter().zip(&step).map(|(weight, step)| weight - share * step).collect()
            });
            // Near the minimum a loss is as low as another but for rounding.
            let lower =
                moved.map(|moved| (self.loss(&moved), moved)).find(|(at, _)| *at <= loss * (1.0 + 1e-14));
            let Some((next_loss, next)) = lower else { break };
            (loss, weights) = (next_loss, next);
        }
        weights.iter().all(|weight| weight.is_finite()).then_some(weights)
    }

    /// The rows' losses, -ln of the probability of what each is, and the penalty.
    fn loss(&self, weights: &[f64]) -> f64 {
        let of_row = |(index, row): (usize, &Vec<f64>)| {
            let log_odds = dot(row, weights);
            let against = if index < self.n_members { 0.0 - log_odds } else { log_odds };
            // ln(1 + exp(x)), without overflow.
            against.max(0.0) + (0.0 - against.abs()).exp().ln_1p()
        };
        let penalised = &weights[..weights.len() - 1];
        let losses: f64 = self.rows.iter().enumerate().map(of_row).sum();
        losses + self.penalty / 2.0 * dot(penalised, penalised)
    }

    /// H^-1 g of the gradient g and the matrix of second derivatives H, and g' H^-1 g, twice what the step is worth.
    fn newton_step(&self, weights: &[f64]) -> Option<(Vec<f64>, f64)> {
        let n = weights.len();
        let mut gradient: Vec<f64> = weights.iter().map(|weight| self.penalty * weight).collect();
        gradient[n - 1] = 0.0;
        let mut curvature = vec![0.0; n * n];
        (0..n - 1).for_each(|at| curvature[at * (n + 1)] = self.penalty);
        for (index, row) in self.rows.iter().enumerate() {
            let probability = 1.0 / (1.0 + (0.0 - dot(row, weights)).exp());
            let error = if index < self.n_members { probability - 1.0 } else { probability };
            let variance = probability * (1.0 - probability);
            for (at, value) in row.iter().enumerate() {
                gradient[at] += error * value;
                let line = &mut curvature[at * n..][..=at];
                line.iter_mut().zip(row).for_each(|(sum, other)| *sum += variance * value * other);
            }
        }
        let step = solve(curvature, gradient.clone())?;
        let gain = dot(&gradient, &step);
        Some((step, gain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    type Rows = Vec<Vec<Option<f64>>>;

    /// Twelve members and nine non-members with three features and one that is always the same.
    fn table() -> (Rows, Rows) {
        let value = |i: u32, at: u32| f64::from((i * 37 + at * 53 + i * at * 11) % 64) / 16.0;
        let row = |i: u32, raise: f64| {
            vec![Some(value(i, 0) + raise), Some(0.1), Some(value(i, 1) * 100.0), Some(value(i, 2) - raise)]
        };
        ((0..12).map(|i| row(i, 1.0)).collect(), (12..21).map(|i| row(i, 0.0)).collect())
    }

    /// Goldens from scikit-learn 1.9: `StandardScaler` and `LogisticRegression(C=1 / penalty, tol=1e-14,
    /// solver="newton-cholesky")`, `coef_` and `intercept_`.
    #[test]
    fn weights_are_those_of_scikit_learn() {
        let (members, others) = table();
        for (penalty, golden) in [(1.0, GOLDENS[0]), (0.01, GOLDENS[1])] {
            let classifier = Classifier::fit(&members, &others, penalty).unwrap();
            let weights: Vec<f64> = classifier.features.iter().flatten().map(|f| f.weight).collect();
            let found = [weights[0], weights[1], weights[2], classifier.intercept];
            assert!(found.iter().zip(golden).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?} {golden:?}");
            assert_eq!(
                (classifier.features.len(), classifier.features[1]),
                (4, None),
                "a feature without spread"
            );
            assert_eq!((classifier.n_members, classifier.n_non_members, classifier.n_left_out), (12, 9, 0));
        }
    }

    const GOLDENS: [[f64; 4]; 2] = [
        [0.215_899_840_067, -0.098_517_740_772, -0.556_667_699_499, 0.318_852_435_470],
        [0.248_850_655_064, -0.113_554_963_232, -0.685_750_570_861, 0.334_286_571_229],
    ];

    /// By definition: at the minimum the loss is level in every direction.
    #[test]
    fn no_other_weights_have_a_lower_loss() {
        let mut draw = Draw::new(81, 0);
        for (n, shift, penalty) in [(5, 9.0, 1e-6), (40, 0.3, 1.0), (40, 0.0, 100.0), (300, 3.0, 1e-3)] {
            let rows: Vec<Vec<f64>> = (0..2 * n)
                .map(|i| {
                    let raise = if i < n { shift } else { 0.0 };
                    let first = draw.normal() + raise;
                    vec![first, draw.normal() - first, 1.0]
                })
                .collect();
            let regression = Regression { rows, n_members: n, penalty };
            let minimum = regression.minimum().unwrap();
            let (_, gain) = regression.newton_step(&minimum).unwrap();
            let least = regression.loss(&minimum);
            assert!(gain <= 1e-12 * least.max(1e-12), "{n}: {gain} of {least}");
            for at in 0..3 {
                for change in [-1e-3, 1e-3] {
                    let mut moved = minimum.clone();
                    moved[at] += change * (1.0 + moved[at].abs());
                    assert!(regression.loss(&moved) > least, "{n} {at}");
                }
            }
        }
    }

    #[test]
    fn rows_with_an_undefined_feature_are_left_out_and_have_no_score() {
        let (members, others) = table();
        let whole = Classifier::fit(&members, &others, 1.0).unwrap();
        let (mut more, mut more_others) = (members, others);
        more.insert(3, vec![Some(9.0), None, Some(1.0), Some(1.0)]);
        more_others.push(vec![Some(f64::NAN), Some(0.1), Some(1.0), Some(1.0)]);
        let classifier = Classifier::fit(&more, &more_others, 1.0).unwrap();
        assert_eq!(classifier.n_left_out, 2);
        assert_eq!(Classifier { n_left_out: 0, ..classifier.clone() }, whole);
        assert_eq!([classifier.score(&more[3]), classifier.score(&more_others[9])], [None, None]);
        let unused = classifier.score(&[Some(1.0), Some(7.0), Some(1.0), Some(1.0)]);
        assert_eq!(unused, whole.score(&[Some(1.0), Some(0.1), Some(1.0), Some(1.0)]));
    }

    /// The attack: shadow models say what members look like, and the model in question is another one.
    #[test]
    fn what_shadow_models_taught_finds_members_of_another_model() {
        let mut draw = Draw::new(82, 0);
        let mut rows = |n: usize, raise: f64| -> Rows {
            let row = |_| {
                vec![Some(10.0 * draw.normal()), Some(draw.normal() + raise), Some(draw.normal() - raise)]
            };
            (0..n).map(row).collect()
        };
        let classifier = Classifier::fit(&rows(300, 0.7), &rows(500, 0.0), 1.0).unwrap();
        let (members, others) = (rows(200, 0.7), rows(200, 0.0));
        let score = |rows: &Rows| rows.iter().map(|row| classifier.score(row).unwrap()).collect::<Vec<f64>>();
        let (members, others) = (score(&members), score(&others));
        let auc = crate::roc::auc(crate::roc::Scores::new(&members, &others).unwrap(), 0.99);
        // Two features, each raised by 0.7 deviations: an AUC of 0.76.
        assert!(auc.interval.low > 0.6 && auc.interval.high > 0.76, "{auc:?}");
    }

    #[test]
    fn fault_67_rows_that_teach_nothing_have_no_classifier() {
        let fit =
            |members: &[[Option<f64>; 1]], others: &[[Option<f64>; 1]]| Classifier::fit(members, others, 1.0);
        assert_eq!(fit(&[], &[]), None);
        assert_eq!([fit(&[[Some(1.0)]], &[]), fit(&[], &[[Some(1.0)]])], [None, None]);
        assert_eq!(fit(&[[None]], &[[Some(1.0)]]), None, "no member is defined");
        assert_eq!(fit(&[[Some(1.0)]; 2], &[[Some(1.0)]]), None, "no feature differs");
        assert_eq!(fit(&[[Some(1e300)]], &[[Some(-1e300)]]), None, "no deviation is finite");
        assert_eq!(Classifier::fit::<[Option<f64>; 0]>(&[[]], &[[]], 1.0), None, "no features");
        let fitted = fit(&[[Some(1e-300)]], &[[Some(0.0)], [Some(2.0)]]).unwrap();
        assert_eq!(
            [fitted.score(&[Some(1e300)]), fitted.score(&[Some(f64::INFINITY)])].map(|s| s.is_some()),
            [true, false]
        );
    }
}
