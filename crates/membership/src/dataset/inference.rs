//! Dataset inference: many features of each text, weighed by what one half of the texts says and tested on the other half.

use serde::{Deserialize, Serialize};

use crate::classifier::{Classifier, defined};
use crate::random::order;

use super::{Welch, welch};

/// The share of a feature's values that is cut off at either end (Maini et al. 2024).
const TAIL: f64 = 0.025;

/// What dataset inference found, and by what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetInference {
    /// Whether the suspects' scores lie above those of the controls, on texts that the classifier never saw.
    pub test: Welch,
    /// Suspects and controls that the classifier was fitted on.
    pub n_fitted: [u64; 2],
    /// Suspects and controls that were tested.
    pub n_tested: [u64; 2],
    /// Texts left out, for one of their features is undefined.
    pub n_undefined: u64,
    /// The weights that tell suspects from controls.
    pub classifier: Classifier,
}

/// Whether a set of texts was used to train: each text is a row of features, of `suspects` and of `controls` that surely were
/// not used and are drawn like them, (N, F) each (Maini et al. 2024).
///
/// Either set is split by chance into two halves, the second one larger by one where the number is odd. On the first
/// halves each feature's values are cut off at its quantiles of 2.5 and 97.5 % and a [`Classifier`] with a `penalty` is
/// fitted; on the second ones, cut off at the same values, the classifier's scores of suspects and controls are
/// compared by [`welch`]. The authors' code takes quantiles and deviations of both halves. Rows with an undefined feature are
/// left out first.
///
/// The classifier learns whichever way the sets differ: a small p-value is a sign of training only as far as nothing else makes
/// them differ. It is that of one split; splitting again and keeping the best is no test.
///
/// `None` where the second half of either set has fewer than two rows, or there is no classifier or no test.
///
/// # Panics
/// If the rows are not of one length, or the penalty is not above zero.
pub fn dataset_inference<R: AsRef<[Option<f64>]>>(
    suspects: &[R],
    controls: &[R],
    penalty: f64,
    seed: u64,
) -> Option<DatasetInference> {
    let n_features = suspects.iter().chain(controls).next()?.as_ref().len();
    let is_even = |row: &R| row.as_ref().len() == n_features;
    assert!(suspects.iter().chain(controls).all(is_even), "rows of features that are not of one length");
    let sides = [suspects, controls].map(|rows| {
        let rows: Vec<Vec<f64>> = rows.iter().filter_map(|row| defined(row.as_ref())).collect();
        let (first, second) = halves(rows.len(), seed);
        let of = |half: &[usize]| half.iter().map(|&row| rows[row].clone()).collect::<Vec<Vec<f64>>>();
        [of(&first), of(&second)]
    });
    let n_of = |half: usize| sides.each_ref().map(|side| side[half].len() as u64);
    let (n_fitted, n_tested) = (n_of(0), n_of(1));
    let n_undefined =
        (suspects.len() + controls.len()) as u64 - n_fitted.iter().chain(&n_tested).sum::<u64>();
    let ends: Option<Vec<[f64; 2]>> = (0..n_features)
        .map(|at| ends(sides.iter().flat_map(|[fitted, _]| fitted).map(|row| row[at]).collect()))
        .collect();
    let ends = ends?;
    let cut = |rows: &[Vec<f64>]| -> Vec<Vec<Option<f64>>> {
        let cut = |(value, [low, high]): (&f64, &[f64; 2])| Some(value.clamp(*low, *high));
        rows.iter().map(|row| row.iter().zip(&ends).map(cut).collect()).collect()
    };
    let [suspects, controls] = &sides;
    let classifier = Classifier::fit(&cut(&suspects[0]), &cut(&controls[0]), penalty)?;
    let scores =
        |rows: &[Vec<f64>]| cut(rows).iter().map(|row| classifier.score(row)).collect::<Option<Vec<f64>>>();
    let test = welch(&scores(&suspects[1])?, &scores(&controls[1])?)?;
    Some(DatasetInference { test, n_fitted, n_tested, n_undefined, classifier })
}

/// The numbers below `n` in two halves by chance, each rising.
fn halves(n: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut first = order(n, seed);
    let mut second = first.split_off(n / 2);
    first.sort_unstable();
    second.sort_unstable();
    (first, second)
}

/// The quantiles at which the tails of some values begin, on a straight line between the two values beside them.
fn ends(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |share: f64| {
        let place = share * last as f64;
        let below = place as usize;
        let above = (below + 1).min(last);
        values[below] + (values[above] - values[below]) * (place - below as f64)
    };
    let [low, high] = [TAIL, 1.0 - TAIL].map(quantile);
    (low.is_finite() && high.is_finite()).then_some([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::clopper_pearson;
    use crate::random::Draw;

    type Rows = Vec<Vec<Option<f64>>>;

    /// Rows of four features, of which two are raised.
    fn rows(draw: &mut Draw, n: usize, raise: f64) -> Rows {
        (0..n)
            .map(|_| {
                let first = draw.normal();
                let raised = [first + draw.normal() + raise, 100.0 * (draw.normal() + raise)];
                [first, draw.normal(), raised[0], raised[1]].map(Some).to_vec()
            })
            .collect()
    }

    /// Golden from numpy 2.4: `np.quantile(x, [.025, .975])`.
    #[test]
    fn tails_begin_at_the_quantiles_of_numpy() {
        let values: Vec<f64> = (0..30).map(|i| f64::from(i * 37 % 64) / 4.0).collect();
        let [low, high] = ends(values).unwrap();
        assert!((low - GOLDEN[0]).abs() < 1e-12 && (high - GOLDEN[1]).abs() < 1e-12, "{low} {high}");
        assert_eq!([ends(vec![3.0]), ends(Vec::new())], [Some([3.0, 3.0]), None]);
    }

    const GOLDEN: [f64; 2] = [0.3625, 15.20625];

    #[test]
    fn texts_of_one_kind_give_small_p_values_as_often_as_they_should() {
        let n_runs = 1000;
        let is_small = |run: &u64| {
            let mut draw = Draw::new(91, *run);
            let (suspects, controls) = (rows(&mut draw, 40, 0.0), rows(&mut draw, 50, 0.0));
            dataset_inference(&suspects, &controls, 1.0, *run).unwrap().test.p_value < 0.1
        };
        let n_small = (0..n_runs).filter(is_small).count() as u64;
        let share = clopper_pearson(n_small, n_runs, 0.95);
        assert!(share.low <= 0.1 && share.high >= 0.1, "{n_small} of {n_runs}");
    }

    #[test]
    fn texts_that_were_used_are_told_from_controls() {
        let mut draw = Draw::new(92, 0);
        let (mut suspects, controls) = (rows(&mut draw, 200, 0.7), rows(&mut draw, 201, 0.0));
        suspects[7][2] = Some(-1e9);
        suspects[8][0] = None;
        let found = dataset_inference(&suspects, &controls, 1.0, 5).unwrap();
        assert!(found.test.p_value < 1e-6, "{found:?}");
        assert_eq!((found.n_fitted, found.n_tested, found.n_undefined), ([99, 100], [100, 101], 1));
        let weights: Vec<f64> = found.classifier.features.iter().flatten().map(|f| f.weight).collect();
        assert!(weights[2] > 0.3 && weights[3] > 0.3, "one value far out says nothing: {weights:?}");
        let turned = dataset_inference(&controls, &suspects, 1.0, 5).unwrap();
        assert!(turned.test.p_value < 1e-6, "sets that differ are told apart, whichever is suspected");
        assert_eq!(dataset_inference(&suspects, &controls, 1.0, 5), Some(found.clone()));
        assert_ne!(dataset_inference(&suspects, &controls, 1.0, 6).unwrap().test, found.test);
    }

    #[test]
    fn halves_part_the_texts() {
        for n in [0, 1, 2, 9] {
            let (first, second) = halves(n, 3);
            assert_eq!((first.len(), second.len()), (n / 2, n - n / 2));
            let mut all = [first, second].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..n));
        }
    }

    #[test]
    fn fault_67_sets_too_small_to_part_have_no_inference() {
        let mut draw = Draw::new(93, 0);
        let (few, many) = (rows(&mut draw, 2, 0.0), rows(&mut draw, 20, 0.0));
        let infer = |suspects: &Rows, controls: &Rows| dataset_inference(suspects, controls, 1.0, 1);
        assert_eq!(
            [infer(&few, &many), infer(&many, &few), infer(&Vec::new(), &Vec::new())],
            [None, None, None]
        );
        let undefined = vec![vec![None; 4]; 20];
        assert_eq!([infer(&undefined, &many), infer(&undefined, &undefined)], [None, None]);
        let alike = vec![vec![Some(1.0); 4]; 20];
        assert_eq!(infer(&alike, &alike), None);
        assert!(infer(&rows(&mut draw, 3, 0.0), &many).is_some());
    }
}
