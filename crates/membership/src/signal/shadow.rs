//! Signals from shadow models, of which half saw a text and half did not.
//!
//! A loss is in nats a token, and exp(-loss) the probability of a token, as the papers take a text's probability.

use super::{LOSS_FLOOR, finite, mean};

/// A normal distribution of a statistic over shadow models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    /// Where it is centred.
    pub centre: f64,
    /// Its standard deviation, above zero.
    pub deviation: f64,
}

/// ln(p / (1 - p)) of p = exp(-loss): the statistic whose distribution over shadow models is about normal (Carlini et al.
/// 2022). A loss below [`LOSS_FLOOR`] counts as that.
pub fn logit_confidence(loss: f64) -> Option<f64> {
    let loss = finite(loss)?.max(LOSS_FLOOR);
    finite(0.0 - loss - (0.0 - (-loss).exp_m1()).ln())
}

/// The normal distribution of a text's statistics under shadow models: their median, as in the authors' code, and their standard
/// deviation of n - 1.
///
/// `None` with fewer than two, or where all are equal: then [`fixed_deviation`] has to give the spread.
pub fn shadow_gaussian(statistics: &[f64]) -> Option<Gaussian> {
    let deviation = fixed_deviation(&[statistics])?;
    Some(Gaussian { centre: median(statistics)?, deviation })
}

/// One standard deviation for all texts, where there are too few shadow models for one each (Carlini et al. 2022).
///
/// Each item has the statistics of one text under the models of one kind, with it or without. It is the spread within
/// texts, over n - 1 each; the authors' code takes the differences between texts in as well. `None` where no text has two
/// statistics, or they do not differ.
pub fn fixed_deviation(statistics_by_text: &[&[f64]]) -> Option<f64> {
    let (mut squares, mut freedom) = (0.0, 0);
    for statistics in statistics_by_text.iter().filter(|statistics| statistics.len() > 1) {
        let centre = mean(statistics.iter().copied())?;
        squares += statistics.iter().map(|statistic| (statistic - centre).powi(2)).sum::<f64>();
        freedom += statistics.len() - 1;
    }
    finite((squares / freedom as f64).sqrt()).filter(|deviation| *deviation > 0.0)
}

/// LiRA, online: the log-likelihood ratio of a statistic under shadow models with the text and under those without it (Carlini et
/// al. 2022, algorithm 1). The statistic is higher for members, as [`logit_confidence`] is.
///
/// With the deviation of each text's own shadow models, or with two of [`fixed_deviation`].
///
/// `None` where a value is not finite or a deviation is not above zero.
pub fn lira_online(statistic: f64, inside: Gaussian, outside: Gaussian) -> Option<f64> {
    let ln_density = |gaussian: Gaussian| {
        let distance = standardised(statistic, gaussian)?;
        Some(0.0 - distance * distance / 2.0 - gaussian.deviation.ln())
    };
    finite(ln_density(inside)? - ln_density(outside)?)
}

/// LiRA, offline: by how many standard deviations a statistic is above its centre under shadow models without the text (Carlini
/// et al. 2022).
///
/// The paper's score is the normal probability of so little or less. Its order is the same, but it is 1 for all that are far
/// above.
pub fn lira_offline(statistic: f64, outside: Gaussian) -> Option<f64> {
    standardised(statistic, outside)
}

/// Counterfactual memorization: the mean score of a text under models that saw it less that under models that did not (Zhang
/// et al. 2023). The score is higher for what a model knows: an accuracy, a probability, the opposite of a loss.
///
/// `None` without models of either kind.
pub fn counterfactual_memorization(inside: &[f64], outside: &[f64]) -> Option<f64> {
    finite(mean(inside.iter().copied())? - mean(outside.iter().copied())?)
}

fn standardised(statistic: f64, gaussian: Gaussian) -> Option<f64> {
    finite(gaussian.deviation).filter(|deviation| *deviation > 0.0)?;
    finite((statistic - gaussian.centre) / gaussian.deviation)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let middle = [n.checked_sub(1)? / 2, n / 2].map(|rank| sorted[rank]);
    finite(f64::midpoint(middle[0], middle[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, golden: f64) -> bool {
        value.is_some_and(|value| (value - golden).abs() < 1e-12)
    }

    #[test]
    fn confidence_is_the_logit_of_the_probability() {
        for p in [0.5, 0.01, 0.99, 1e-6] {
            let confidence = logit_confidence(-f64::ln(p)).unwrap();
            assert!((confidence - (p / (1.0 - p)).ln()).abs() < 1e-9, "{p}: {confidence}");
        }
        assert!((logit_confidence(0.0).unwrap() - 20.723).abs() < 1e-3);
        assert!(logit_confidence(0.0) > logit_confidence(1e-3));
    }

    /// Goldens from scipy 1.17: `norm.logpdf(2.5, 2, .5) - norm.logpdf(2.5, 0, 1)`.
    #[test]
    fn lira_is_the_ratio_of_normal_densities() {
        let (inside, outside) =
            (Gaussian { centre: 2.0, deviation: 0.5 }, Gaussian { centre: 0.0, deviation: 1.0 });
        assert!(
            near(lira_online(2.5, inside, outside), 3.318_147_180_559_945),
            "{:?}",
            lira_online(2.5, inside, outside)
        );
        assert_eq!(lira_offline(2.5, Gaussian { centre: 0.5, deviation: 0.5 }), Some(4.0));
        let gaussian = shadow_gaussian(&[1.0, 7.0, 2.0, 2.0]).unwrap();
        // Mean 3: squares 4 + 16 + 1 + 1 over 3.
        assert!(gaussian.centre == 2.0 && near(Some(gaussian.deviation), (22.0f64 / 3.0).sqrt()));
        assert_eq!(shadow_gaussian(&[1.0, 7.0, 2.0]).unwrap().centre, 2.0);
        // Squares 2 and 2 over 1 + 2, whatever lies between the texts; a text with one statistic adds nothing.
        let fixed = fixed_deviation(&[&[0.0, 2.0], &[99.0, 100.0, 101.0], &[7.0]]);
        assert!(near(fixed, (4.0f64 / 3.0).sqrt()), "{fixed:?}");
    }

    /// lira-pytorch takes the deviation of models without a text from those with it.
    #[test]
    fn peer_10_the_deviation_of_each_side_is_its_own() {
        let (inside, outside) = ([[4.0, 4.2], [5.0, 5.2]], [[0.0, 2.0], [1.0, 3.0]]);
        let deviation =
            |side: &[[f64; 2]; 2]| fixed_deviation(&side.each_ref().map(|text| &text[..])).unwrap();
        let (deviation_in, deviation_out) = (deviation(&inside), deviation(&outside));
        assert!((deviation_out / deviation_in - 10.0).abs() < 1e-9);
        let (with, without) = (
            Gaussian { centre: 4.1, deviation: deviation_in },
            Gaussian { centre: 1.0, deviation: deviation_out },
        );
        let wrong = Gaussian { deviation: deviation_in, ..without };
        // 3 is within reach of models without the text, not of those with it; with the wrong spread it is a member.
        assert!(
            lira_online(3.0, with, without).unwrap() < 0.0 && lira_online(3.0, with, wrong).unwrap() > 0.0
        );
    }

    #[test]
    fn memorization_is_the_difference_that_a_text_makes_to_itself() {
        assert_eq!(counterfactual_memorization(&[1.0, 0.5], &[0.25, 0.0, 0.5]), Some(0.5));
        assert_eq!(counterfactual_memorization(&[], &[1.0]), None);
        assert_eq!(counterfactual_memorization(&[1.0], &[]), None);
    }

    #[test]
    fn fault_67_undefined_signals_of_shadow_models_are_none() {
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!([logit_confidence(bad), counterfactual_memorization(&[bad], &[1.0])], [None; 2]);
            assert_eq!([shadow_gaussian(&[bad, 1.0]), shadow_gaussian(&[1.0])], [None; 2]);
            let gaussian = Gaussian { centre: 0.0, deviation: 1.0 };
            assert_eq!(lira_online(bad, gaussian, gaussian), None);
            for broken in [Gaussian { centre: bad, ..gaussian }, Gaussian { deviation: bad, ..gaussian }] {
                assert_eq!([lira_online(1.0, gaussian, broken), lira_offline(1.0, broken)], [None; 2]);
            }
        }
        assert_eq!(lira_offline(1.0, Gaussian { centre: 0.0, deviation: 0.0 }), None);
        assert_eq!(
            [fixed_deviation(&[&[2.0, 2.0]]), fixed_deviation(&[&[1.0]]), fixed_deviation(&[])],
            [None; 3]
        );
    }
}
