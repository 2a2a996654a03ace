//! What a served model gives away: ways to tell less of its scores, to refuse and to decode, and what attackers make of each.
//!
//! Each is a [`Release`](verbatim_lm::Release) for [`LanguageModel::served`](verbatim_lm::LanguageModel::served). A server
//! decodes before it tells: [`Rounded`], [`TopK`], [`Noise`], [`Tempered`] and [`LabelOnly`] change scores and no text,
//! [`LowMargin`] and [`MemFree`] change text. Where something is withheld, what is told instead is the best guess of an attacker
//! who knows the rule, so that every attack on scores is already the adaptive one; [`TemperatureUndone`] and [`Averaged`]
//! are those that take more than a guess.

mod attack;
mod bloom;
mod mem_free;
mod noise;
mod refusal;
mod scores;

use crate::error::{Error, Result};

pub(crate) use mem_free::gram_hash;

pub use attack::{Averaged, TemperatureUndone};
pub use bloom::Bloom;
pub use mem_free::MemFree;
pub use noise::{Noise, NoiseKind};
pub use refusal::LowMargin;
pub use scores::{LabelOnly, Rounded, Tempered, TopK};

/// ln of the sum of e^x over log-probabilities, one at least, all finite.
fn log_sum_exp(log_probs: impl Iterator<Item = f32> + Clone) -> f64 {
    let max = f64::from(log_probs.clone().fold(f32::NEG_INFINITY, f32::max));
    max + log_probs.map(|log_prob| (f64::from(log_prob) - max).exp()).sum::<f64>().ln()
}

/// As f32, and so far from its ends that differences of two are finite.
fn to_f32(log_prob: f64) -> f32 {
    let end = f64::from(f32::MAX / 4.0);
    log_prob.clamp(-end, end) as f32
}

/// The most likely token, the lowest id among equals.
fn first_choice(log_probs: &[f32]) -> usize {
    (0..log_probs.len()).fold(0, |best, id| if log_probs[id] > log_probs[best] { id } else { best })
}

/// A value that must be above `low` and below `high`.
fn between(name: &str, value: f64, (low, high): (f64, f64)) -> Result<f64> {
    if value > low && value < high {
        return Ok(value);
    }
    Err(Error::Config(format!("{name} is {value}, expected more than {low} and less than {high}")))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use verbatim_lm::{
        Choices, Decoding, LanguageModel, Ngram, Passage, Release, Sample, SampleRequest, SamplingConfig,
        Temperature,
    };
    use verbatim_store::Silent;

    use super::*;

    /// What is told of these probabilities after a context.
    pub(super) fn told_after(release: &dyn Release, context: &[u32], p: &[f64]) -> Vec<f64> {
        let mut log_probs: Vec<f32> = p.iter().map(|p| p.ln() as f32).collect();
        release.tell(context, &mut log_probs);
        assert!(log_probs.iter().all(|log_prob| log_prob.is_finite()), "{log_probs:?}");
        let log_sum = log_sum_exp(log_probs.iter().copied());
        log_probs.iter().map(|log_prob| (f64::from(*log_prob) - log_sum).exp()).collect()
    }

    pub(super) fn told(release: &dyn Release, p: &[f64]) -> Vec<f64> {
        told_after(release, &[], p)
    }

    pub(super) fn assert_near(found: &[f64], expected: &[f64]) {
        let is_near = found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(is_near && found.len() == expected.len(), "{found:?}, expected {expected:?}");
    }

    /// Samples of twelve tokens after prompts of two.
    pub(super) fn samples(model: &dyn LanguageModel, temperature: f32, batch: usize) -> Vec<Sample> {
        let config = SamplingConfig {
            max_new_tokens: 12,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(temperature),
            seed: 3,
            batch,
            stop_token: None,
        };
        let request = |index: u64| SampleRequest { index, prompt: vec![index as u32 % 5, 1] };
        model.sample(&(0..10).map(request).collect::<Vec<_>>(), &config, &Silent).unwrap()
    }

    pub(super) fn ngram() -> Ngram {
        let text = |n: u32| (0..40).map(|t| (t * t * n + t) % 5).collect();
        Ngram::new((5, 64), 3, 0.2, &(1..9).map(text).collect::<Vec<_>>())
    }

    fn choices(model: &dyn LanguageModel) -> Choices {
        let mut all = Vec::new();
        let mut take = |_, choices| {
            all.push(choices);
            Ok(())
        };
        let passage = Passage { prompt: vec![0, 1], continuation: vec![2, 4, 4, 1, 0, 3] };
        let plain = Decoding { temperature: 1.0, top_k: None, top_p: None };
        let decodings = [plain, Decoding { temperature: 0.0, ..plain }, Decoding { top_k: Some(2), ..plain }];
        model.choose_each((&[passage], &decodings), 1, &mut take, &Silent).unwrap();
        all.remove(0)
    }

    #[test]
    fn releases_of_scores_leave_every_text_alone() {
        let noise = Noise::new(NoiseKind::Gaussian, 3.0, 1).unwrap();
        let (rounded, tempered) = (Rounded::new(1).unwrap(), Tempered::new(4.0).unwrap());
        let (top_k, label) = (TopK::new(2), LabelOnly::new(0.1).unwrap());
        let model = ngram();
        for (name, release) in [
            ("rounded", &rounded as &dyn Release),
            ("top-k", &top_k),
            ("noise", &noise),
            ("tempered", &tempered),
            ("label", &label),
        ] {
            let served = model.served(release);
            for temperature in [0.0, 1.0] {
                let plain = samples(&model, temperature, 4);
                let shown = samples(&*served, temperature, 3);
                assert!(shown.iter().zip(&plain).all(|(one, other)| one.tokens == other.tokens), "{name}");
                assert!(shown.iter().zip(&plain).any(|(one, other)| one.records != other.records), "{name}");
            }
            let (shown, plain) = (choices(&*served), choices(&model));
            assert_eq!((shown.margins, shown.log_probs), (plain.margins, plain.log_probs), "{name}");
            assert_eq!(shown.is_first, plain.is_first, "{name}");
        }
    }

    #[test]
    fn what_is_told_does_not_depend_on_what_is_asked_beside_it() {
        let noise = Noise::new(NoiseKind::Laplace, 1.0, 5).unwrap();
        let rounded = Rounded::new(2).unwrap();
        let model = ngram();
        let noisy = model.served(&noise);
        let served = noisy.served(&rounded);
        let texts: Vec<Vec<u32>> =
            (2..30).map(|n| (0..n).map(|t| (t * n + t / 3) as u32 % 5).collect()).collect();
        let alone: Vec<_> =
            texts.iter().map(|text| served.score(from_ref(text), 1, &Silent).unwrap().remove(0)).collect();
        assert_eq!(served.score(&texts, 7, &Silent).unwrap(), alone);
        for sample in samples(&*served, 1.0, 4) {
            let text = [&sample.prompt[..], &sample.tokens].concat();
            assert_eq!(sample.records, served.score(&[text], 1, &Silent).unwrap()[0][1..]);
        }
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Tempered::new(temperature).is_err() && TemperatureUndone::new(temperature).is_err());
            assert!(Noise::new(NoiseKind::Gaussian, temperature, 0).is_err());
        }
        for share in [0.0, 1.0, f64::NAN] {
            assert!(LabelOnly::new(share).is_err() && LowMargin::new(share).is_err());
            assert!(MemFree::new([&[1u32, 2][..]], 2, share).is_err());
        }
        assert!(Rounded::new(16).is_err() && MemFree::new([&[1u32, 2][..]], 0, 0.01).is_err());
        let noise = Noise::new(NoiseKind::Gaussian, 1.0, 0).unwrap();
        assert!(Averaged::new(noise, 0).is_err());
    }

    #[test]
    fn extreme_distributions_stay_finite() {
        let noise = Noise::new(NoiseKind::Gaussian, 1e30, 1).unwrap();
        let (rounded, cold) = (Rounded::new(15).unwrap(), Tempered::new(1e-300).unwrap());
        let (hot, undone) = (Tempered::new(1e300).unwrap(), TemperatureUndone::new(1e300).unwrap());
        let (top_k, label) = (TopK::new(1), LabelOnly::new(1e-300).unwrap());
        let margin = LowMargin::new(0.5).unwrap();
        let averaged = Averaged::new(noise, 3).unwrap();
        let releases: [&dyn Release; 9] =
            [&noise, &rounded, &cold, &hot, &undone, &top_k, &label, &margin, &averaged];
        for log_probs in [vec![0.0, -1e30, -3e37], vec![-1.0986; 3], vec![0.0]] {
            for release in releases {
                let mut told = log_probs.clone();
                release.tell(&[1], &mut told);
                assert!(told.iter().all(|log_prob: &f32| log_prob.is_finite()), "{told:?} of {log_probs:?}");
                assert!(verbatim_lm::TokenRecord::from_logits(&told, 0).is_some());
            }
        }
    }
}
