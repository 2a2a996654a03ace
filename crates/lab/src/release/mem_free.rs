//! A server that never says an n-gram of its training corpus (Ippolito et al. 2022, section 3).

use verbatim_lm::Release;
use xxhash_rust::xxh3::xxh3_128;

use super::bloom::Bloom;
use crate::error::{Error, Result};

/// `MemFree` decoding: a token that would complete an n-gram of the corpus is never chosen; n is 10 in the paper.
///
/// N-grams that begin in a prompt count. Where every token would complete one there is no answer, and the text ends. Scores are
/// told as they are: this guards what is written and nothing else, and what differs in one token of n is written.
#[derive(Clone, Debug)]
pub struct MemFree {
    filter: Bloom,
    n: usize,
}

impl MemFree {
    /// Of the n-grams of token ids inside each text, in a filter with a false positive rate between 0 and 1.
    ///
    /// # Errors
    /// [`Error::Config`] for an n of 0 or another rate.
    pub fn new<'t>(
        texts: impl IntoIterator<Item = &'t [u32]>,
        n: usize,
        false_positive_rate: f64,
    ) -> Result<MemFree> {
        if n == 0 {
            return Err(Error::Config("n-grams of 0 tokens, expected at least 1".to_owned()));
        }
        let hashes = texts.into_iter().flat_map(|text| text.windows(n)).map(gram_hash);
        Ok(MemFree { filter: Bloom::new(hashes.collect(), false_positive_rate)?, n })
    }

    /// Whether these n tokens may be an n-gram of the corpus; always where they are.
    ///
    /// # Panics
    /// When they are not n.
    pub fn contains(&self, gram: &[u32]) -> bool {
        assert_eq!(gram.len(), self.n, "an n-gram of n tokens");
        self.filter.contains(gram_hash(gram))
    }

    /// The filter.
    pub fn filter(&self) -> &Bloom {
        &self.filter
    }
}

/// The hash of an n-gram of token ids.
pub(crate) fn gram_hash(gram: &[u32]) -> u128 {
    xxh3_128(&bytes(gram))
}

fn bytes(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

impl Release for MemFree {
    fn tell(&self, _: &[u32], _: &mut [f32]) {}

    fn permit(&self, context: &[u32], logits: &mut [f32]) {
        let Some(start) = context.len().checked_sub(self.n - 1) else { return };
        let begun = bytes(&context[start..]);
        let mut gram = begun.clone();
        for (token, logit) in (0u32..).zip(logits) {
            gram.truncate(begun.len());
            gram.extend(token.to_le_bytes());
            if self.filter.contains(xxh3_128(&gram)) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{LanguageModel, SampleRequest, SamplingConfig, Scripted, Temperature};
    use verbatim_store::Silent;

    use super::*;
    use crate::release::tests::ngram;

    fn corpus() -> Vec<Vec<u32>> {
        (1..9).map(|n| (0..40).map(|t| (t * t * n + t / 2) % 5).collect()).collect()
    }

    fn mem_free(texts: &[Vec<u32>], n: usize) -> MemFree {
        MemFree::new(texts.iter().map(Vec::as_slice), n, 1e-6).unwrap()
    }

    fn write(model: &dyn LanguageModel, prompt: &[u32], temperature: f32) -> Vec<u32> {
        let config = SamplingConfig {
            max_new_tokens: 30,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(temperature),
            seed: 2,
            batch: 1,
            stop_token: None,
        };
        let request = SampleRequest { index: 0, prompt: prompt.to_vec() };
        let sample = model.sample(&[request], &config, &Silent).unwrap().remove(0);
        assert_eq!(sample.error, None);
        sample.tokens
    }

    #[test]
    fn every_n_gram_inside_a_text_is_known_and_none_across_two() {
        let texts = corpus();
        for n in [1, 3, 10] {
            let mem_free = mem_free(&texts, n);
            assert!(texts.iter().flat_map(|text| text.windows(n)).all(|gram| mem_free.contains(gram)));
            let mut distinct: Vec<&[u32]> = texts.iter().flat_map(|text| text.windows(n)).collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(mem_free.filter().n_items(), distinct.len() as u64);
        }
        let two = mem_free(&[vec![1, 2], vec![3, 4], vec![9]], 2);
        assert!(!two.contains(&[2, 3]) && two.contains(&[3, 4]));
    }

    #[test]
    fn no_n_gram_of_the_corpus_is_ever_written() {
        let texts = corpus();
        for n in [3, 4, 6] {
            let mem_free = mem_free(&texts, n);
            let model = ngram();
            let served = model.served(&mem_free);
            for temperature in [0.0, 1.0, 5.0] {
                for prompt in [&texts[0][..7], &[0, 1], &[4]] {
                    let text = [prompt, &write(&*served, prompt, temperature)].concat();
                    // The n-grams that lie within the prompt are the asker's own.
                    let first_new = (prompt.len() + 1).saturating_sub(n);
                    assert!(text[first_new..].windows(n).all(|gram| !mem_free.contains(gram)), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_known_by_heart_is_left_at_the_last_token_of_the_first_n_gram() {
        let text: Vec<u32> = (0..30).collect();
        let model = Scripted::new(40, 64).knows(text.clone(), 0.9);
        let mem_free = mem_free(std::slice::from_ref(&text), 5);
        let served = model.served(&mem_free);
        assert_eq!(write(&model, &[0], 0.0)[..29], text[1..]);
        let written = write(&*served, &[0], 0.0);
        assert_eq!(written[..3], [1, 2, 3]);
        assert_ne!(written[3], 4, "0 to 4 would be the first five");
        // Scores are told as they are.
        let score = |model: &dyn LanguageModel| model.score(std::slice::from_ref(&text), 1, &Silent).unwrap();
        let (told, plain) = (score(&*served).concat(), score(&model).concat());
        assert!(told.iter().zip(plain).all(|(told, plain)| (told.log_prob - plain.log_prob).abs() < 1e-6));
    }

    #[test]
    fn where_every_token_would_complete_an_n_gram_the_text_ends() {
        let all: Vec<Vec<u32>> = vec![vec![0, 0, 1, 1, 0]];
        let mem_free = mem_free(&all, 2);
        let model = Scripted::new(2, 16);
        assert!(write(&*model.served(&mem_free), &[0], 0.0).is_empty());
        assert_eq!(write(&model, &[0], 0.0).len(), 15, "up to the end of the context");
    }
}
