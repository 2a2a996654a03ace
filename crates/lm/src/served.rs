//! A model as a server shows it: what is told of its scores, and which tokens decoding may choose.
//!
//! It knows no way to withhold anything: each is a [`Release`], which others write.

use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::logits::{Logits, Row};
use crate::model::{Forward, LanguageModel, Run};
use crate::record::TokenRecord;
use crate::sampling::Decoding;

/// What is shown of a model: a server's choice, or, on top of one, what an attacker makes of it.
///
/// The two views are apart, because a server decodes before it tells: what is done to the scores changes no text.
pub trait Release: Send + Sync {
    /// Turns the log-probabilities of the next token after `context` into what is told of them, (V).
    ///
    /// They are natural logarithms, ties to the lower id, and need not sum to one afterwards: what is told is always made a
    /// distribution again. All must stay finite, so that what is withheld is guessed, as an attacker would. The
    /// context is the text before the token, of which a model sees at most its last L tokens.
    ///
    /// [`LanguageModel::score_each`], [`LanguageModel::session`] and all records are about what is told.
    fn tell(&self, context: &[u32], log_probs: &mut [f32]);

    /// Sets to minus infinity the logits of the tokens that decoding must not choose after `context`, (V).
    ///
    /// Where that are all, there is no answer, and a sample ends. What [`LanguageModel::choose_each`] says of decodings, and
    /// the tokens of samples, come from what is left; by default that is everything.
    fn permit(&self, _context: &[u32], _logits: &mut [f32]) {}
}

/// Releases one on top of the other, the server's own first.
struct Chain<'a>(Vec<&'a dyn Release>);

impl Release for Chain<'_> {
    fn tell(&self, context: &[u32], log_probs: &mut [f32]) {
        for (number, release) in self.0.iter().enumerate() {
            // What the one before told is a distribution to the next.
            if number > 0 {
                normalise(log_probs);
            }
            release.tell(context, log_probs);
        }
    }

    fn permit(&self, context: &[u32], logits: &mut [f32]) {
        self.0.iter().for_each(|release| release.permit(context, logits));
    }
}

/// Makes finite logits log-probabilities.
fn normalise(logits: &mut [f32]) {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|logit| (f64::from(*logit) - max).exp()).sum::<f64>().ln();
    logits.iter_mut().for_each(|logit| *logit = (f64::from(*logit) - max - log_sum) as f32);
}

/// An engine behind releases: it computes the same, and questions are answered as these have it.
pub(crate) struct Served<'a, M> {
    model: &'a M,
    chain: Chain<'a>,
}

impl<'a, M: Forward> Served<'a, M> {
    pub(crate) fn new(model: &'a M, release: &'a dyn Release) -> Self {
        Self { model, chain: Chain(vec![release]) }
    }
}

impl<M: Forward> Forward for Served<'_, M> {
    type Cache = M::Cache;
    type States = M::States;

    fn vocab_size(&self) -> usize {
        Forward::vocab_size(self.model)
    }

    fn context_len(&self) -> usize {
        Forward::context_len(self.model)
    }

    fn bos(&self) -> Option<u32> {
        Forward::bos(self.model)
    }

    fn max_positions(&self) -> usize {
        self.model.max_positions()
    }

    fn head_rows(&self) -> usize {
        self.model.head_rows()
    }

    fn cache_bytes(&self, capacity: usize) -> u64 {
        self.model.cache_bytes(capacity)
    }

    fn new_cache(&self, n_slots: usize, capacity: usize) -> Result<M::Cache> {
        self.model.new_cache(n_slots, capacity)
    }

    fn new_scratch(&self, n_slots: usize, capacity: usize) -> Result<M::Cache> {
        self.model.new_scratch(n_slots, capacity)
    }

    fn hidden(&self, runs: &[Run<'_>], cache: &mut M::Cache) -> Result<M::States> {
        self.model.hidden(runs, cache)
    }

    fn copy_prefix(&self, cache: &mut M::Cache, from: usize, to: usize, n: usize) -> Result<()> {
        self.model.copy_prefix(cache, from, to, n)
    }

    fn new_logits(&self) -> Logits {
        self.model.new_logits()
    }

    fn logits(&self, states: &M::States, rows: &[usize], logits: &mut Logits) -> Result<()> {
        self.model.logits(states, rows, logits)
    }

    fn release(&self) -> Option<&dyn Release> {
        Some(&self.chain)
    }

    fn behind<'a>(&'a self, release: &'a dyn Release) -> Box<dyn LanguageModel + 'a> {
        let chain = Chain(self.chain.0.iter().copied().chain([release]).collect());
        Box::new(Served { model: self.model, chain })
    }
}

/// Asks about a row of logits as it is told after a context; nothing where a logit is NaN or infinite.
pub(crate) fn told<T>(
    release: Option<&dyn Release>,
    context: &[u32],
    row: Row<'_>,
    answer: impl FnOnce(Row<'_>) -> Option<T>,
) -> Option<T> {
    let Some(release) = release else { return answer(row) };
    let distribution = row.distribution()?;
    let mut log_probs = row.to_vec();
    log_probs.iter_mut().for_each(|logit| *logit = distribution.log_prob(*logit));
    release.tell(context, &mut log_probs);
    answer(Logits::from_rows(log_probs, row.len()).row(0))
}

/// The logits of a row that decoding may choose from, the others being minus infinity, and their largest; nothing where none
/// are left.
pub(crate) fn permitted(release: &dyn Release, context: &[u32], row: Row<'_>) -> Option<(Logits, f32)> {
    let mut logits = row.to_vec();
    release.permit(context, &mut logits);
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (max > f32::NEG_INFINITY).then(|| (Logits::from_rows(logits, row.len()), max))
}

/// Draws the next token from what is permitted; its record is of what is told. `Some(None)` where there is no answer, `None`
/// where a logit is NaN or infinite.
pub(crate) fn draw(
    release: &dyn Release,
    context: &[u32],
    row: Row<'_>,
    (decoding, rng): (&Decoding, &mut ChaCha8Rng),
) -> Option<Option<TokenRecord>> {
    row.distribution()?;
    let Some((logits, max)) = permitted(release, context, row) else { return Some(None) };
    let drawn = decoding.draw(logits.row(0), max, rng)?;
    told(Some(release), context, row, |row| row.record(drawn.id)).map(Some)
}

#[cfg(test)]
mod tests {
    use verbatim_store::Silent;

    use super::*;
    use crate::{
        Choices, CpuEngine, Gpt2, Gpt2Config, Kernel, ModelConfig, Ngram, Passage, SampleRequest,
        SamplingConfig, Scripted, Temperature, WeightType,
    };

    /// Tells the log-probabilities of id + (sum of the context), so that a wrong context shows.
    struct Turned;

    impl Release for Turned {
        fn tell(&self, context: &[u32], log_probs: &mut [f32]) {
            let n = context.iter().sum::<u32>() as usize % log_probs.len();
            log_probs.rotate_left(n);
        }
    }

    /// Permits no token that the text has already; tells everything.
    struct NoneTwice;

    impl Release for NoneTwice {
        fn tell(&self, _: &[u32], _: &mut [f32]) {}

        fn permit(&self, context: &[u32], logits: &mut [f32]) {
            context.iter().for_each(|token| logits[*token as usize] = f32::NEG_INFINITY);
        }
    }

    fn ngram() -> Ngram {
        Ngram::new((5, 32), 2, 0.1, &[vec![0, 1, 2, 1, 3, 1, 2, 4, 1, 2, 0, 1, 3]])
    }

    fn gpt2() -> CpuEngine {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 23, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, 5).unwrap().into_iter().collect();
        CpuEngine::new(&ModelConfig::Gpt2(config), tensors, Kernel::default(), WeightType::F32).unwrap()
    }

    fn sampling(temperature: f32, batch: usize) -> SamplingConfig {
        let temperature = Temperature::Fixed(temperature);
        SamplingConfig {
            max_new_tokens: 9,
            top_k: None,
            top_p: None,
            temperature,
            seed: 3,
            batch,
            stop_token: None,
        }
    }

    fn requests() -> Vec<SampleRequest> {
        (0..12).map(|index| SampleRequest { index, prompt: vec![1, index as u32 % 4] }).collect()
    }

    fn choices(model: &dyn LanguageModel, passage: Passage, decodings: &[Decoding]) -> Choices {
        let mut all = Vec::new();
        let mut take = |_, choices| {
            all.push(choices);
            Ok(())
        };
        model.choose_each((&[passage], decodings), 1, &mut take, &Silent).unwrap();
        all.remove(0)
    }

    #[test]
    fn scores_are_of_what_is_told_after_the_text_before_the_token() {
        let model = ngram();
        let texts: Vec<Vec<u32>> = vec![vec![0, 1, 3, 1, 2], vec![4, 4, 1], (0..40).map(|i| i % 5).collect()];
        let served = model.served(&Turned);
        let records = served.score(&texts, 1, &Silent).unwrap();
        assert_eq!(records, served.score(&texts, 7, &Silent).unwrap());
        for (text, records) in texts.iter().zip(&records) {
            for (at, record) in (1..).zip(records) {
                let seen = &text[..at];
                let turned = (text[at] as usize + seen.iter().sum::<u32>() as usize) % 5;
                let p = model.probabilities(seen)[turned];
                assert!((f64::from(record.log_prob) - p.ln()).abs() < 1e-6, "{seen:?}");
            }
        }
    }

    #[test]
    fn what_is_done_to_scores_changes_no_text() {
        let (ngram, gpt2) = (ngram(), gpt2());
        for model in [&ngram as &dyn LanguageModel, &gpt2] {
            for temperature in [0.0, 0.7] {
                let plain = model.sample(&requests(), &sampling(temperature, 5), &Silent).unwrap();
                let served = model.served(&Turned);
                for batch in [1, 5] {
                    let samples = served.sample(&requests(), &sampling(temperature, batch), &Silent).unwrap();
                    assert!(samples.iter().zip(&plain).all(|(one, other)| one.tokens == other.tokens));
                    for sample in &samples {
                        let text = [&sample.prompt[..], &sample.tokens].concat();
                        let records = served.score(&[text], 1, &Silent).unwrap().remove(0);
                        assert_eq!(sample.records, records[sample.prompt.len() - 1..]);
                    }
                }
            }
        }
    }

    #[test]
    fn choices_have_the_records_that_are_told_and_what_decoding_does() {
        let model = ngram();
        let passage = Passage { prompt: vec![0, 1], continuation: vec![2, 1, 3] };
        let decodings = [Decoding { temperature: 0.7, top_k: Some(3), top_p: None }];
        let plain = choices(&model, passage.clone(), &decodings);
        let served = model.served(&Turned);
        let shown = choices(&*served, passage, &decodings);
        assert_eq!((&shown.margins, &shown.log_probs), (&plain.margins, &plain.log_probs));
        assert_eq!(shown.is_first, plain.is_first);
        assert_ne!(shown.records, plain.records);
        assert_eq!(shown.records, served.score(&[vec![0, 1, 2, 1, 3]], 1, &Silent).unwrap().remove(0)[1..]);
    }

    #[test]
    fn what_is_not_permitted_is_never_drawn_at_any_temperature() {
        let model = ngram();
        let served = model.served(&NoneTwice);
        for temperature in [0.0, 1.0, f32::MAX] {
            for sample in served.sample(&requests(), &sampling(temperature, 4), &Silent).unwrap() {
                let mut text = [&sample.prompt[..], &sample.tokens].concat();
                // All five ids are said once, and then there is no answer, which is no error.
                assert_eq!((sample.error, sample.records.len()), (None, sample.tokens.len()));
                text.sort_unstable();
                text.dedup();
                assert_eq!(text, [0, 1, 2, 3, 4]);
            }
        }
    }

    #[test]
    fn no_decoding_draws_what_is_not_permitted_nor_anything_where_there_is_no_answer() {
        let model = ngram();
        let served = model.served(&NoneTwice);
        let plain = Decoding { temperature: 1.0, top_k: None, top_p: None };
        let decodings = [plain, Decoding { temperature: 0.0, ..plain }];
        let passage = Passage { prompt: vec![0, 1, 2], continuation: vec![1, 4, 3, 0] };
        let shown = choices(&*served, passage, &decodings);
        let never = f32::NEG_INFINITY;
        assert_eq!((shown.margins[0], shown.log_probs[0][0], shown.log_probs[1][0]), (never, never, never));
        // After 0, 1, 2, 1 only 3 and 4 are left: 2.1 and 0.1 of the 2.2 that the five fractions leave them.
        assert!((f64::from(shown.log_probs[0][1]) - (0.1f64 / 2.2).ln()).abs() < 1e-6);
        assert_eq!(shown.log_probs[0][2], 0.0, "the only one left");
        // After all five nothing is left.
        assert_eq!((shown.margins[3], shown.log_probs[0][3], shown.log_probs[1][3]), (never, never, never));
        assert!(shown.records.iter().all(|record| record.log_prob.is_finite()));
        assert_eq!(shown.is_first, [false, false, true, false]);
    }

    #[test]
    fn releases_stand_on_top_of_each_other_in_their_order() {
        /// Doubles the log-probability of id 0.
        struct First;
        impl Release for First {
            fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
                log_probs[0] *= 2.0;
            }
        }
        let model = ngram();
        let text = vec![0, 1, 2];
        let log_prob = |model: &dyn LanguageModel| {
            model.score(std::slice::from_ref(&text), 1, &Silent).unwrap()[0][1].log_prob
        };
        // After 0, 1 the fractions are 0.1, 0.1, 3.1, 2.1, 0.1 of 5.5; one turn brings 1 to the place of 0, 2 to that of 1.
        let p = model.probabilities(&[0, 1]);
        let (one, other) = (model.served(&Turned), model.served(&First));
        let turned_first = log_prob(&*one.served(&First));
        let doubled_first = log_prob(&*other.served(&Turned));
        let rest = 1.0 - p[1] + p[1] * p[1];
        assert!((f64::from(turned_first) - (p[3] / rest).ln()).abs() < 1e-6);
        let rest = 1.0 - p[0] + p[0] * p[0];
        assert!((f64::from(doubled_first) - (p[3] / rest).ln()).abs() < 1e-6);
        assert_eq!(log_prob(&*one.served(&NoneTwice)), log_prob(&*one), "nothing more is withheld");
    }

    #[test]
    fn fault_64_logits_that_are_no_numbers_stay_an_error() {
        let model = Scripted::new(5, 16).breaks_after(2);
        let served = model.served(&Turned);
        let outcome = served.score(&[vec![2, 1]], 1, &Silent);
        assert!(matches!(outcome, Err(crate::Error::NotFinite { .. })));
        let request = SampleRequest { index: 0, prompt: vec![2] };
        let samples = served.sample(&[request], &sampling(1.0, 1), &Silent).unwrap();
        assert!(samples[0].error.is_some());
    }
}
