//! RMIA and InfoRMIA: how much likelier a text has become by the training than texts of the population have.
//!
//! A loss is in nats a token, and exp(-loss) the probability of a token, as the papers take a text's probability.

use crate::roc::{Refusal, Scores};
use crate::ties::{Ties, auc_of};

use super::{finite, mean};

/// What [`rmia_line`] takes of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmiaText<'a> {
    /// Its loss under the model in question.
    pub loss: f64,
    /// Its losses under models that did not see it.
    pub losses_without: &'a [f64],
}

/// The line of [`offline_marginal`] by which RMIA tells the texts of a stand-in apart best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmiaLine {
    /// 0 to 1.
    pub a: f64,
    /// The AUC with it, of the texts that it was chosen by: as the highest of eleven it lies above what others will show.
    pub auc: f64,
}

/// The ratios of texts of the population, which are not members, sorted once for all texts that are compared with them.
#[derive(Clone, Debug, PartialEq)]
pub struct RmiaPopulation {
    /// Rising.
    ratios: Vec<f64>,
}

/// A text's marginal probability p(x) from models without it alone: ((1 + a) p_out + 1 - a) / 2, where p_out is its mean
/// probability under them and a p_out + 1 - a stands for what it would be under models with it (Zarifzadeh et al. 2024).
///
/// `None` without models, or where a loss is not finite.
///
/// # Panics
/// If `a` is not in 0 to 1.
pub fn offline_marginal(losses_without: &[f64], a: f64) -> Option<f64> {
    assert!((0.0..=1.0).contains(&a), "a line with an a of {a}");
    Some(f64::midpoint((1.0 + a) * mean_probability(losses_without)?, 1.0 - a))
}

/// A text's marginal probability p(x): the mean of its mean probability under models with it and of that under models without
/// it, each kind counting one half (Zarifzadeh et al. 2024).
///
/// `None` without models of either kind, or where a loss is not finite.
pub fn online_marginal(losses_with: &[f64], losses_without: &[f64]) -> Option<f64> {
    Some(f64::midpoint(mean_probability(losses_with)?, mean_probability(losses_without)?))
}

/// How many times likelier a text is under the model than it is at large: p(x | theta) / p(x), from its loss and its marginal
/// probability (Zarifzadeh et al. 2024).
///
/// `None` where the loss is not finite or the marginal is not above zero.
pub fn rmia_ratio(loss: f64, marginal: f64) -> Option<f64> {
    finite(marginal).filter(|marginal| *marginal > 0.0)?;
    finite((0.0 - finite(loss)?).exp() / marginal)
}

impl RmiaPopulation {
    /// Of one [`rmia_ratio`] for each text of the population.
    ///
    /// `None` without any, or where one is negative or not finite.
    pub fn new(ratios: &[f64]) -> Option<RmiaPopulation> {
        if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio < 0.0) {
            return None;
        }
        let mut ratios = ratios.to_vec();
        ratios.sort_unstable_by(f64::total_cmp);
        Some(RmiaPopulation { ratios })
    }

    /// RMIA: the share of the population than which a text has become more than `gamma` times likelier by the training
    /// (Zarifzadeh et al. 2024; gamma 1). As likely is not likelier, so a text of the population does not beat itself.
    ///
    /// `None` for a ratio that is not finite.
    ///
    /// # Panics
    /// If gamma is negative or not finite.
    pub fn share_beaten(&self, ratio: f64, gamma: f64) -> Option<f64> {
        assert!(gamma >= 0.0 && gamma.is_finite(), "a gamma of {gamma}");
        let ratio = finite(ratio)?;
        // Multiplied out, for the ratio of the other may be zero.
        let n_beaten = self.ratios.partition_point(|other| ratio > gamma * other);
        finite(n_beaten as f64 / self.ratios.len() as f64)
    }
}

/// The a of 0, 0.1 to 1 with the highest AUC, the first of equals, by attacking a stand-in for the model in question: a model
/// trained like it whose members are known (Zarifzadeh et al. 2024).
///
/// Of each text `loss` is that under the stand-in, and `losses_without` those under other models that did not see it. An a with
/// which the ratio of any text is undefined is passed over.
///
/// # Errors
/// If there are no members, no non-members or no population, or with no a the ratios of all texts are defined.
///
/// # Panics
/// If gamma is negative or not finite.
pub fn rmia_line(
    members: &[RmiaText<'_>],
    non_members: &[RmiaText<'_>],
    population: &[RmiaText<'_>],
    gamma: f64,
) -> Result<RmiaLine, Refusal> {
    if population.is_empty() {
        return Err(Refusal::NoNonMembers);
    }
    let mut best: Result<RmiaLine, Refusal> = Err(Refusal::NotFinite);
    for a in (0..=10).map(|tenths| f64::from(tenths) / 10.0) {
        let ratios = |texts: &[RmiaText<'_>]| {
            let ratio =
                |text: &RmiaText<'_>| rmia_ratio(text.loss, offline_marginal(text.losses_without, a)?);
            texts.iter().map(ratio).collect::<Option<Vec<f64>>>()
        };
        let Some(population) = ratios(population).and_then(|ratios| RmiaPopulation::new(&ratios)) else {
            continue;
        };
        let shares = |texts: &[RmiaText<'_>]| {
            ratios(texts)?.into_iter().map(|ratio| population.share_beaten(ratio, gamma)).collect()
        };
        let sides: [Option<Vec<f64>>; 2] = [shares(members), shares(non_members)];
        let [Some(inside), Some(outside)] = sides else { continue };
        let auc = auc_of(&Ties::new(Scores::new(&inside, &outside)?).groups());
        if best.as_ref().map_or(true, |best| auc > best.auc) {
            best = Ok(RmiaLine { a, auc });
        }
    }
    best
}

/// InfoRMIA: ln of how much likelier the text has become by the training, plus the mean of how much less likely texts from the
/// population have, which estimates the divergence of the model from the reference (Tao and Shokri 2025).
///
/// Each pair has the loss under the model and the loss under the reference. The second term is the same for all texts of a
/// model: it makes models comparable and ranks no text. `None` without others.
pub fn info_rmia((loss, reference_loss): (f64, f64), others: &[(f64, f64)]) -> Option<f64> {
    let divergence = mean(others.iter().map(|(loss, reference_loss)| loss - reference_loss))?;
    finite(reference_loss - loss + divergence)
}

/// InfoRMIA of one token, in nats: ln of how much likelier the model makes it than the reference does, plus the divergence of
/// the model's distribution from the reference's, KL(reference || model), which needs no population (Tao and Shokri 2025).
///
/// `log_probs` and `reference_log_probs` are the natural log-probabilities of all tokens at its position, (V); `token` is the
/// index of the one that stands there. The expectation of the signal under the reference's distribution is zero.
///
/// `None` where the token is outside the vocabulary, the vocabularies differ, a value is NaN, or a token that the reference
/// holds possible is not so for the model.
pub fn info_rmia_token(log_probs: &[f64], reference_log_probs: &[f64], token: usize) -> Option<f64> {
    if log_probs.len() != reference_log_probs.len() {
        return None;
    }
    let gain = log_probs.get(token)? - reference_log_probs.get(token)?;
    let lost = |(log_prob, reference): (&f64, &f64)| {
        // A token that the reference holds impossible adds nothing, whatever the model says of it.
        if *reference == f64::NEG_INFINITY && !log_prob.is_nan() {
            0.0
        } else {
            reference.exp() * (reference - log_prob)
        }
    };
    let divergence: f64 = log_probs.iter().zip(reference_log_probs).map(lost).sum();
    finite(gain + divergence)
}

/// InfoRMIA of a text from its tokens: the mean of [`info_rmia_token`], so that texts of any length compare (Tao and Shokri
/// 2025).
///
/// `None` without tokens, or where one is not finite.
pub fn info_rmia_of_tokens(tokens: &[f64]) -> Option<f64> {
    mean(tokens.iter().copied())
}

/// The mean probability of a token over models.
fn mean_probability(losses: &[f64]) -> Option<f64> {
    if losses.iter().any(|loss| !loss.is_finite()) {
        return None;
    }
    mean(losses.iter().map(|loss| (0.0 - loss).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    fn near(value: Option<f64>, golden: f64) -> bool {
        value.is_some_and(|value| (value - golden).abs() < 1e-12)
    }

    fn losses(probabilities: &[f64]) -> Vec<f64> {
        probabilities.iter().map(|p| -p.ln()).collect()
    }

    fn text((loss, losses_without): &(f64, Vec<f64>)) -> RmiaText<'_> {
        RmiaText { loss: *loss, losses_without }
    }

    fn ratio_of(text: RmiaText<'_>, a: f64) -> f64 {
        rmia_ratio(text.loss, offline_marginal(text.losses_without, a).unwrap()).unwrap()
    }

    fn score(text: RmiaText<'_>, others: &[RmiaText<'_>], (a, gamma): (f64, f64)) -> Option<f64> {
        let ratios: Vec<f64> = others.iter().map(|other| ratio_of(*other, a)).collect();
        RmiaPopulation::new(&ratios).unwrap().share_beaten(ratio_of(text, a), gamma)
    }

    /// The definition: each text against each other one, with both ratios from the losses.
    fn pairwise(text: RmiaText<'_>, others: &[RmiaText<'_>], (a, gamma): (f64, f64)) -> f64 {
        let ratio = |text: RmiaText<'_>| {
            let n = text.losses_without.len() as f64;
            let without = text.losses_without.iter().map(|loss| (-loss).exp()).sum::<f64>() / n;
            (-text.loss).exp() / (((1.0 + a) * without + (1.0 - a)) / 2.0)
        };
        let beats = |other: &&RmiaText<'_>| ratio(text) > gamma * ratio(**other);
        others.iter().filter(beats).count() as f64 / others.len() as f64
    }

    /// By hand: p = 0.61, references 0.2 and 0.4. With a = 1 the marginal is 0.3 and the ratio about 2; with a = 0 it is 0.65.
    #[test]
    fn rmia_is_the_share_of_texts_that_gained_less() {
        let loss = |p: f64| -p.ln();
        let subject = (loss(0.61), losses(&[0.2, 0.4]));
        // Ratios with a = 1: 0.5, 2 and 3.
        let others = [
            (loss(0.25), losses(&[0.5, 0.5])),
            (loss(0.4), losses(&[0.1, 0.3])),
            (loss(0.3), losses(&[0.1, 0.1])),
        ];
        let others = others.each_ref().map(text);
        let score = |a, gamma| score(text(&subject), &others, (a, gamma));
        assert!(near(score(1.0, 1.0), 2.0 / 3.0), "{:?}", score(1.0, 1.0));
        assert!(near(score(1.0, 2.0), 1.0 / 3.0) && near(score(1.0, 5.0), 0.0));
        // With a = 0: 0.61 / 0.65 against 0.25 / 0.75, 0.4 / 0.6 and 0.3 / 0.55.
        assert!(near(score(0.0, 1.0), 1.0) && near(score(0.0, 1.5), 2.0 / 3.0), "{:?}", score(0.0, 1.5));
        let itself = self::score(text(&subject), &[text(&subject)], (0.3, 1.0));
        assert_eq!(itself, Some(0.0), "as likely is not likelier");
    }

    #[test]
    fn a_sorted_population_gives_the_share_of_every_pair_compared() {
        let mut draw = Draw::new(51, 0);
        // Of few distinct losses, so that many ratios are equal.
        let texts: Vec<(f64, Vec<f64>)> = (0..80)
            .map(|_| {
                let mut loss = || (1 + draw.index(3)) as f64 / 2.0;
                (loss(), (0..3).map(|_| loss()).collect())
            })
            .collect();
        let texts: Vec<RmiaText<'_>> = texts.iter().map(text).collect();
        for a in [0.0, 0.3, 1.0] {
            for gamma in [0.0, 0.5, 1.0, 1.0 + f64::EPSILON, 2.0] {
                for subject in &texts {
                    let found = score(*subject, &texts[20..], (a, gamma));
                    assert_eq!(found, Some(pairwise(*subject, &texts[20..], (a, gamma))), "{a} {gamma}");
                }
            }
        }
    }

    /// By hand: models with the text give 0.8 and 0.6, one without it 0.1; each kind counts one half.
    #[test]
    fn the_online_marginal_weighs_both_kinds_alike() {
        assert!(near(online_marginal(&losses(&[0.8, 0.6]), &losses(&[0.1])), 0.4));
        assert!(near(rmia_ratio(-f64::ln(0.6), 0.4), 1.5));
        assert!(near(offline_marginal(&losses(&[0.1, 0.3]), 0.5), (1.5 * 0.2 + 0.5) / 2.0));
    }

    /// Non-members are easy texts: by their ratio with a = 0 they win, and with a = 1 the members, which gained.
    #[test]
    fn the_line_is_the_one_that_tells_the_stand_in_apart_best() {
        let loss = |p: f64| -p.ln();
        let members = [(loss(0.2), losses(&[0.1])), (loss(0.1), losses(&[0.04]))];
        let non_members = [(loss(0.8), losses(&[0.8])), (loss(0.5), losses(&[0.6]))];
        let population =
            [(loss(0.3), losses(&[0.2])), (loss(0.6), losses(&[0.6])), (loss(0.1), losses(&[0.1]))];
        let (members, non_members) = (members.each_ref().map(text), non_members.each_ref().map(text));
        let population = population.each_ref().map(text);
        let line = rmia_line(&members, &non_members, &population, 1.0).unwrap();
        // By definition, over all pairs.
        let auc = |a: f64| {
            let share = |text: &RmiaText<'_>| pairwise(*text, &population, (a, 1.0));
            let win = |x: f64, y: f64| if x > y { 1.0 } else { f64::from(x == y) / 2.0 };
            let pairs = members.iter().flat_map(|x| non_members.iter().map(move |y| win(share(x), share(y))));
            pairs.sum::<f64>() / 4.0
        };
        let aucs: Vec<f64> = (0..=10).map(|tenths| auc(f64::from(tenths) / 10.0)).collect();
        let best = aucs.iter().copied().fold(0.0, f64::max);
        let first = aucs.iter().position(|auc| *auc == best).unwrap();
        assert!(aucs[0] == aucs[4] && aucs[4] < best && best == 1.0, "the case tells lines apart: {aucs:?}");
        assert_eq!(line, RmiaLine { a: first as f64 / 10.0, auc: best });
        let turned = rmia_line(&non_members, &members, &population, 1.0).unwrap();
        assert_eq!((turned.a, turned.auc), (0.0, 1.0 - aucs[0]), "of equals it is the first");
    }

    #[test]
    fn info_rmia_is_what_the_text_gained_beyond_what_others_lost() {
        // ln(0.6 / 0.3), and others that went from 0.5 to 0.25 and stayed.
        let ln = f64::ln;
        let others = [(-ln(0.25), -ln(0.5)), (-ln(0.4), -ln(0.4))];
        assert!(near(info_rmia((-ln(0.6), -ln(0.3)), &others), 1.5 * ln(2.0)));
    }

    /// By hand: the model says 1/2, 1/4, 1/4 and the reference 1/4, 1/4, 1/2, so that KL = (ln 2) / 4.
    #[test]
    fn info_rmia_of_a_token_is_its_gain_plus_the_divergence() {
        let ln = |p: [f64; 3]| p.map(f64::ln);
        let (model, reference) = (ln([0.5, 0.25, 0.25]), ln([0.25, 0.25, 0.5]));
        let tokens = [0, 1, 2].map(|token| info_rmia_token(&model, &reference, token));
        for (token, quarters) in tokens.into_iter().zip([5.0, 1.0, -3.0]) {
            assert!(near(token, quarters / 4.0 * 2f64.ln()), "{tokens:?}");
        }
        let expected: f64 =
            tokens.iter().zip(reference).map(|(token, ln_p)| token.unwrap() * ln_p.exp()).sum();
        assert!(expected.abs() < 1e-15, "under the reference nothing is gained");
        assert!(near(info_rmia_of_tokens(&tokens.map(Option::unwrap)), 2f64.ln() / 4.0));
        let possible = info_rmia_token(&ln([0.5, 0.25, 0.25]), &ln([0.5, 0.5, 0.0]), 0);
        assert!(near(possible, 0.5 * 2f64.ln()), "what the reference rules out adds nothing: {possible:?}");
    }

    #[test]
    fn fault_67_undefined_ratios_are_none() {
        assert_eq!(
            [offline_marginal(&[], 0.5), online_marginal(&[], &[1.0]), online_marginal(&[1.0], &[])],
            [None; 3]
        );
        assert_eq!([rmia_ratio(1.0, 0.0), rmia_ratio(1.0, -1.0), rmia_ratio(-1e9, 1.0)], [None; 3]);
        assert_eq!(rmia_ratio(1.0, offline_marginal(&[1e9], 1.0).unwrap()), None, "a marginal of zero");
        assert_eq!([RmiaPopulation::new(&[]), RmiaPopulation::new(&[-1.0])], [None, None]);
        let population = RmiaPopulation::new(&[1.0]).unwrap();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!([offline_marginal(&[1.0, bad], 0.5), online_marginal(&[bad], &[1.0])], [None; 2]);
            assert_eq!(
                [rmia_ratio(bad, 1.0), rmia_ratio(1.0, bad), population.share_beaten(bad, 1.0)],
                [None; 3]
            );
            assert_eq!(RmiaPopulation::new(&[1.0, bad]), None);
            assert_eq!(
                [info_rmia((bad, 1.0), &[(1.0, 1.0)]), info_rmia((1.0, 1.0), &[(bad, 1.0)])],
                [None; 2]
            );
            assert_eq!(info_rmia_of_tokens(&[1.0, bad]), None);
            let [one, other] = [[(bad, vec![1.0])], [(1.0, vec![1.0])]];
            let [one, other] = [&one, &other].map(|texts| texts.each_ref().map(text));
            assert_eq!(rmia_line(&one, &other, &other, 1.0), Err(Refusal::NotFinite));
            assert_eq!(rmia_line(&other, &other, &one, 1.0), Err(Refusal::NotFinite));
            assert_eq!(rmia_line(&[], &other, &other, 1.0), Err(Refusal::NoMembers));
            assert_eq!(rmia_line(&other, &other, &[], 1.0), Err(Refusal::NoNonMembers));
        }
        assert_eq!([info_rmia((1.0, 1.0), &[]), info_rmia_of_tokens(&[])], [None; 2]);
        let certain = [0.0, f64::NEG_INFINITY];
        let even = [0.5f64.ln(); 2];
        assert_eq!(info_rmia_token(&certain, &even, 0), None, "the divergence is infinite");
        assert_eq!([info_rmia_token(&even, &even[..1], 0), info_rmia_token(&even, &even, 2)], [None; 2]);
        assert_eq!(info_rmia_token(&[even[0], f64::NAN], &certain, 0), None);
    }
}
