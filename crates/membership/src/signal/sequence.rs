//! LiRA over the tokens of a text: not one statistic of it, but one for each token, with how they vary together.

use crate::cholesky::{dot, solve};

use super::{finite, mean};

/// Sequence LiRA: the log-likelihood ratio of a text's statistics, one for each token, under shadow models with the text and
/// under those without it, both normal with one covariance (Rossi et al. 2025). The statistics are log-probabilities or
/// [`logit_confidence`](super::logit_confidence), (T); `inside` and `outside` have those of each shadow model.
///
/// The covariance is that within the two kinds, over n - 2 for n models, shrunk towards a multiple of the identity with the
/// same trace by the closed form of Chen et al. (2010, equation 23, of n - 2 vectors). As T is much larger than n, no T x T
/// matrix is made: by the identity of Woodbury it takes n x n equations and n^2 T steps.
///
/// With T = 1 it is [`lira_online`](super::lira_online) with means for centres and the one
/// [`fixed_deviation`](super::fixed_deviation) of both kinds. With more models of one kind than of the other the ratio leans
/// towards that kind, whose mean errs less, the more so the longer the text: take as many of each.
///
/// `None` without tokens, with fewer than two models of either kind, where the models have not as many statistics as the text
/// or one is not finite, or where the models of either kind all agree.
pub fn sequence_lira(statistics: &[f64], inside: &[&[f64]], outside: &[&[f64]]) -> Option<f64> {
    let differs = |side: &[&[f64]]| side.iter().any(|model| model.len() != statistics.len());
    if statistics.is_empty() || inside.len().min(outside.len()) < 2 || differs(inside) || differs(outside) {
        return None;
    }
    let (centre_in, centre_out) = (centre(inside)?, centre(outside)?);
    let residuals: Vec<Vec<f64>> = [(inside, &centre_in), (outside, &centre_out)]
        .into_iter()
        .flat_map(|(side, centre)| side.iter().map(|model| less(model, centre)))
        .collect();
    let gap = less(&centre_in, &centre_out);
    let middle: Vec<f64> = centre_in.iter().zip(&centre_out).map(|(a, b)| f64::midpoint(*a, *b)).collect();
    let from_middle = less(statistics, &middle);
    Covariance::shrunk(&residuals, statistics.len())?.inverse_product(&gap, &from_middle)
}

/// scale * identity + X' X * weight, of residuals X, (n, T).
struct Covariance<'a> {
    residuals: &'a [Vec<f64>],
    /// X X', (n, n).
    gram: Vec<f64>,
    scale: f64,
    weight: f64,
}

impl Covariance<'_> {
    /// Of the residuals from two means. `None` where there are none but zeros.
    fn shrunk(residuals: &[Vec<f64>], n_tokens: usize) -> Option<Covariance<'_>> {
        let gram: Vec<f64> =
            residuals.iter().flat_map(|one| residuals.iter().map(|other| dot(one, other))).collect();
        let freedom = residuals.len() as f64 - 2.0;
        // Of X' X / freedom and of its square: X X' has the same.
        let trace = gram.iter().step_by(residuals.len() + 1).sum::<f64>() / freedom;
        let square_trace = dot(&gram, &gram) / freedom / freedom;
        finite(trace).filter(|trace| *trace > 0.0)?;
        let shrinkage = oracle_approximating((trace, square_trace), n_tokens as f64, freedom);
        let scale = shrinkage * trace / n_tokens as f64;
        Some(Covariance { residuals, gram, scale, weight: (1.0 - shrinkage) / freedom })
    }

    /// u' C^-1 v, by the identity of Woodbury.
    fn inverse_product(&self, u: &[f64], v: &[f64]) -> Option<f64> {
        let n = self.residuals.len();
        let projected = |vector: &[f64]| -> Vec<f64> {
            self.residuals.iter().map(|residual| dot(residual, vector)).collect()
        };
        let scaled = |(at, product): (usize, &f64)| {
            self.weight * product + if at % (n + 1) == 0 { self.scale } else { 0.0 }
        };
        let system = self.gram.iter().enumerate().map(scaled).collect();
        let solved = solve(system, projected(v))?;
        finite((dot(u, v) - self.weight * dot(&projected(u), &solved)) / self.scale)
    }
}

/// How much of a covariance to replace by its mean variance, 0 to 1, from its trace and that of its square, for p variables and n
/// normal vectors of known mean (Chen et al. 2010, equation 23).
fn oracle_approximating((trace, square_trace): (f64, f64), p: f64, n: f64) -> f64 {
    let from_identity = square_trace - trace * trace / p;
    let shrinkage = ((1.0 - 2.0 / p) * square_trace + trace * trace) / ((n + 1.0 - 2.0 / p) * from_identity);
    // Where it is the mean variance already, as with one variable, there is nothing to replace.
    if from_identity <= 1e-12 * square_trace { 1.0 } else { shrinkage.min(1.0) }
}

/// The mean of each token's statistics.
fn centre(models: &[&[f64]]) -> Option<Vec<f64>> {
    (0..models[0].len()).map(|token| mean(models.iter().map(|model| model[token]))).collect()
}

fn less(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;
    use crate::roc::{Scores, auc};
    use crate::signal::{Gaussian, fixed_deviation, lira_online};

    fn parts(models: &[Vec<f64>]) -> Vec<&[f64]> {
        models.iter().map(Vec::as_slice).collect()
    }

    fn drawn(draw: &mut Draw, n_models: usize, n_tokens: usize) -> Vec<Vec<f64>> {
        (0..n_models)
            .map(|_| {
                let common = draw.normal();
                (0..n_tokens).map(|token| common + draw.normal() * (1.0 + token as f64 / 4.0)).collect()
            })
            .collect()
    }

    /// By definition, with the T x T matrix made and solved.
    fn dense(statistics: &[f64], inside: &[Vec<f64>], outside: &[Vec<f64>]) -> f64 {
        let p = statistics.len();
        let centre = |side: &[Vec<f64>]| -> Vec<f64> {
            (0..p).map(|t| side.iter().map(|model| model[t]).sum::<f64>() / side.len() as f64).collect()
        };
        let centres = [centre(inside), centre(outside)];
        let n = (inside.len() + outside.len() - 2) as f64;
        let mut covariance = vec![0.0; p * p];
        for (side, centre) in [inside, outside].into_iter().zip(&centres) {
            for model in side {
                for (at, value) in covariance.iter_mut().enumerate() {
                    let (i, j) = (at / p, at % p);
                    *value += (model[i] - centre[i]) * (model[j] - centre[j]) / n;
                }
            }
        }
        let trace: f64 = (0..p).map(|i| covariance[i * p + i]).sum();
        let square: f64 = covariance.iter().map(|value| value * value).sum();
        let p_f = p as f64;
        let over = (1.0 - 2.0 / p_f) * square + trace * trace;
        let rho = (over / ((n + 1.0 - 2.0 / p_f) * (square - trace * trace / p_f))).min(1.0);
        for (at, value) in covariance.iter_mut().enumerate() {
            let target = if at % (p + 1) == 0 { trace / p_f } else { 0.0 };
            *value = (1.0 - rho) * *value + rho * target;
        }
        let distance = |centre: &[f64]| {
            let from: Vec<f64> = statistics.iter().zip(centre).map(|(x, c)| x - c).collect();
            dot(&from, &solve(covariance.clone(), from.clone()).unwrap())
        };
        (distance(&centres[1]) - distance(&centres[0])) / 2.0
    }

    /// Goldens from numpy 2.4: the T x T covariance, `np.linalg.solve` and the differences of two squared distances.
    #[test]
    fn the_ratio_is_that_of_numpy() {
        let value = |model: u32, token: u32| {
            f64::from(model * 37 % 32) / 8.0 + f64::from((token * 53 + model * token * 7) % 32) / 16.0
        };
        let models = |n: u32, first: u32, raise: f64| -> Vec<Vec<f64>> {
            (0..n).map(|m| (0..6).map(|t| value(m + first, t) + raise).collect()).collect()
        };
        let (inside, outside) = (models(3, 0, 1.0), models(4, 5, 0.0));
        let statistics: Vec<f64> = (0..6).map(|t| f64::from(t * 5 % 7) / 2.0).collect();
        let found = sequence_lira(&statistics, &parts(&inside), &parts(&outside)).unwrap();
        assert!((found - GOLDEN).abs() < 1e-10, "{found}");
    }

    const GOLDEN: f64 = -0.104_372_969_076_556_91;

    #[test]
    fn the_small_equations_give_what_the_covariance_of_all_tokens_does() {
        let mut draw = Draw::new(61, 0);
        for (n_in, n_out, n_tokens) in [(2, 2, 2), (2, 3, 9), (8, 8, 5), (20, 20, 3), (4, 4, 40)] {
            let (inside, outside) = (drawn(&mut draw, n_in, n_tokens), drawn(&mut draw, n_out, n_tokens));
            let statistics = drawn(&mut draw, 1, n_tokens).remove(0);
            let found = sequence_lira(&statistics, &parts(&inside), &parts(&outside)).unwrap();
            let golden = dense(&statistics, &inside, &outside);
            assert!((found - golden).abs() < 1e-9 * golden.abs().max(1.0), "{n_tokens}: {found} {golden}");
        }
    }

    #[test]
    fn one_token_has_the_ratio_of_one_statistic() {
        let (inside, outside) = ([3.0, 2.0, 4.5], [0.5, -1.0]);
        let deviation = fixed_deviation(&[&inside, &outside]).unwrap();
        let gaussian = |side: &[f64]| Gaussian { centre: mean(side.iter().copied()).unwrap(), deviation };
        let side = |side: &[f64]| side.iter().map(|value| vec![*value]).collect::<Vec<_>>();
        for statistic in [-3.0, 1.0, 2.7] {
            let scalar = lira_online(statistic, gaussian(&inside), gaussian(&outside)).unwrap();
            let found = sequence_lira(&[statistic], &parts(&side(&inside)), &parts(&side(&outside))).unwrap();
            assert!((found - scalar).abs() < 1e-12, "{found} {scalar}");
        }
    }

    /// What all tokens share varies much; the training raises some tokens a little. The mean over tokens hides it.
    #[test]
    fn tokens_together_tell_what_their_mean_does_not() {
        let mut draw = Draw::new(62, 0);
        let mut model = |is_in: bool| -> Vec<f64> {
            let common = 3.0 * draw.normal();
            let raised = |token: usize| if is_in && token < 4 { 1.0 } else { 0.0 };
            (0..12).map(|token| common + draw.normal() + raised(token)).collect()
        };
        let (mut by_tokens, mut by_mean) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for text in 0..300 {
            let is_out = text % 2;
            let (inside, outside): (Vec<_>, Vec<_>) = (0..8).map(|_| (model(true), model(false))).unzip();
            let statistics = model(is_out == 0);
            let means = |models: &[Vec<f64>]| -> Vec<f64> {
                models.iter().map(|model| mean(model.iter().copied()).unwrap()).collect()
            };
            let (means_in, means_out) = (means(&inside), means(&outside));
            let deviation = fixed_deviation(&[&means_in, &means_out]).unwrap();
            let gaussian = |side: &[f64]| Gaussian { centre: mean(side.iter().copied()).unwrap(), deviation };
            let of_mean = means(std::slice::from_ref(&statistics))[0];
            by_mean[is_out].push(lira_online(of_mean, gaussian(&means_in), gaussian(&means_out)).unwrap());
            by_tokens[is_out].push(sequence_lira(&statistics, &parts(&inside), &parts(&outside)).unwrap());
        }
        let area = |scores: &[Vec<f64>; 2]| auc(Scores::new(&scores[0], &scores[1]).unwrap(), 0.99);
        let (tokens, mean) = (area(&by_tokens), area(&by_mean));
        assert!(tokens.interval.low > mean.interval.high.max(0.6), "{tokens:?} {mean:?}");
    }

    #[test]
    fn fault_67_tokens_without_a_ratio_are_none() {
        let (one, other) = (vec![vec![1.0, 2.0], vec![2.0, 2.5]], vec![vec![0.0, 1.0], vec![1.0, 0.0]]);
        let (inside, outside) = (parts(&one), parts(&other));
        assert!(sequence_lira(&[1.0, 1.0], &inside, &outside).is_some());
        assert_eq!(sequence_lira(&[1.0, 1.0], &inside[..1], &outside), None, "one model of a kind");
        assert_eq!(sequence_lira(&[1.0, 1.0], &inside, &outside[..1]), None);
        assert_eq!(sequence_lira(&[1.0], &inside, &outside), None, "lengths differ");
        assert_eq!(sequence_lira(&[1.0, 1.0], &inside, &[&[1.0, 2.0], &[1.0]]), None);
        assert_eq!(sequence_lira(&[], &[&[], &[]], &[&[], &[]]), None, "no tokens");
        assert_eq!(sequence_lira(&[1.0], &[&[1.0], &[1.0]], &[&[0.0], &[0.0]]), None, "no spread");
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!(sequence_lira(&[bad, 1.0], &inside, &outside), None);
            assert_eq!(sequence_lira(&[1.0, 1.0], &[&[bad, 1.0], &[0.0, 1.0]], &outside), None);
        }
    }
}
