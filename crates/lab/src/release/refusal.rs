//! A server that refuses where it is not sure.

use verbatim_lm::Release;

use super::{between, log_sum_exp};
use crate::error::Result;

/// No answer where the most likely token is too little ahead of the second: p1 - p2 is below a margin.
///
/// Nothing is told there, which leaves an attacker with the guess that all tokens are alike; a text that is being written ends
/// before the token, without an error, so that what would have followed is not extracted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowMargin {
    margin: f64,
}

impl LowMargin {
    /// Refuses below this difference of two probabilities, between 0 and 1.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for another margin.
    pub fn new(margin: f64) -> Result<LowMargin> {
        Ok(LowMargin { margin: between("the margin", margin, (0.0, 1.0))? })
    }

    /// Whether there is no answer for these logits.
    fn refuses(self, logits: &[f32]) -> bool {
        let (first, second) =
            logits.iter().fold((f32::NEG_INFINITY, f32::NEG_INFINITY), |(first, second), &logit| {
                if logit > first { (logit, first) } else { (first, second.max(logit)) }
            });
        let log_sum = log_sum_exp(logits.iter().copied());
        let p = |logit: f32| (f64::from(logit) - log_sum).exp();
        p(first) - p(second) < self.margin
    }
}

impl Release for LowMargin {
    fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
        if self.refuses(log_probs) {
            log_probs.fill(0.0);
        }
    }

    fn permit(&self, _: &[u32], logits: &mut [f32]) {
        if self.refuses(logits) {
            logits.fill(f32::NEG_INFINITY);
        }
    }
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{
        Decoding, LanguageModel, Passage, SampleRequest, SamplingConfig, Scripted, Temperature,
    };
    use verbatim_store::Silent;

    use super::*;
    use crate::release::tests::{assert_near, told};

    #[test]
    fn nothing_is_told_below_the_margin() {
        let refusal = LowMargin::new(0.3).unwrap();
        assert_near(&told(&refusal, &[0.6, 0.2, 0.2]), &[0.6, 0.2, 0.2]);
        assert_near(&told(&refusal, &[0.3, 0.45, 0.25]), &[1.0 / 3.0; 3]);
        assert_near(&told(&refusal, &[0.45, 0.45, 0.1]), &[1.0 / 3.0; 3]);
        assert_near(&told(&refusal, &[1.0]), &[1.0]);
    }

    /// Each token of the first text has 0.9 and the others 0.1 / 7; of the second 0.3 and 0.1.
    #[test]
    fn a_text_ends_where_the_model_is_not_sure() {
        let model = Scripted::new(8, 32).knows(vec![0, 1, 2, 3], 0.9).knows(vec![4, 5, 6], 0.3);
        let refusal = LowMargin::new(0.25).unwrap();
        let served = model.served(&refusal);
        let config = SamplingConfig {
            max_new_tokens: 6,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(0.0),
            seed: 0,
            batch: 2,
            stop_token: None,
        };
        let requests = [0, 4].map(|token| SampleRequest { index: 0, prompt: vec![token] });
        let samples = served.sample(&requests, &config, &Silent).unwrap();
        assert_eq!((&samples[0].tokens[..], &samples[0].error), (&[1, 2, 3][..], &None));
        assert_eq!((samples[1].tokens.len(), &samples[1].error), (0, &None));
        let mut all = Vec::new();
        let greedy = Decoding { temperature: 0.0, top_k: None, top_p: None };
        let passages = [(0, [1, 2]), (4, [5, 6])];
        let passages =
            passages.map(|(first, rest)| Passage { prompt: vec![first], continuation: rest.to_vec() });
        let mut take = |_, choices| {
            all.push(choices);
            Ok(())
        };
        served.choose_each((&passages, &[greedy]), 1, &mut take, &Silent).unwrap();
        assert_eq!(all[0].log_probs[0], [0.0, 0.0]);
        assert_eq!(all[1].log_probs[0], [f32::NEG_INFINITY; 2]);
        assert!((f64::from(all[1].records[0].log_prob) - (1.0f64 / 8.0).ln()).abs() < 1e-6);
    }
}
