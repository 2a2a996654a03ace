//! SaMIA: how much of a text the model says of its own when it is given the first half. It asks for text only, no probability.

use verbatim_lm::{Error, Passage, SampleRequest, SamplingConfig, Temperature};

use super::{Asking, Read};
use crate::signal;

/// Samples of each text (Kaneko et al. 2024).
const N_SAMPLES: u64 = 10;

/// Tokens that one is drawn from (Kaneko et al. 2024).
const TOP_K: usize = 50;

/// What a text's second half is, and what the model made of its first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sampled {
    samples: Vec<String>,
    rest: String,
}

/// SaMIA of each text, none for one of fewer than two tokens. What is beyond the first context of a text is left out.
pub(super) fn signals(asking: &Asking<'_>, texts: &[Read]) -> Result<Vec<Option<f64>>, Error> {
    let sampled = sampled(asking, texts)?;
    let signal = |sampled: Option<Sampled>| {
        let Sampled { samples, rest } = sampled?;
        signal::samia(&samples, &rest)
    };
    Ok(sampled.into_iter().map(signal).collect())
}

/// Ten samples of each text, each with as many tokens as the second half has at most; none where the model breaks.
fn sampled(asking: &Asking<'_>, texts: &[Read]) -> Result<Vec<Option<Sampled>>, Error> {
    let target = asking.target;
    let halves: Vec<Option<(Vec<u32>, Vec<u32>)>> =
        texts.iter().map(|read| halves(read.within(target.model.context_len()))).collect();
    // One request for each sample of each text, with a number of its own.
    let mut requests = Vec::new();
    let mut owners = Vec::new();
    for (number, (first, _)) in
        (0..).zip(&halves).filter_map(|(number, halves)| Some((number, halves.as_ref()?)))
    {
        for sample in 0..N_SAMPLES {
            let index = texts[number].number * N_SAMPLES + sample;
            requests.push(SampleRequest { index, prompt: first.clone() });
            owners.push(number);
        }
    }
    let most = halves.iter().flatten().map(|(_, rest)| rest.len()).max().unwrap_or(1);
    let config = SamplingConfig {
        max_new_tokens: most,
        top_k: Some(TOP_K.min(target.model.vocab_size())),
        top_p: None,
        temperature: Temperature::Fixed(1.0),
        seed: asking.seed,
        batch: asking.resources.batch,
        stop_token: target.tokenizer.end_of_text().filter(|id| (*id as usize) < target.model.vocab_size()),
    };
    let text = |tokens: &[u32]| String::from_utf8_lossy(&target.tokenizer.decode(tokens)).into_owned();
    let whole = |halves: &(Vec<u32>, Vec<u32>)| Sampled { samples: Vec::new(), rest: text(&halves.1) };
    let mut all: Vec<Option<Sampled>> = halves.iter().map(|halves| halves.as_ref().map(whole)).collect();
    let progress = verbatim_store::Within(asking.resources.progress);
    for (sample, number) in target.model.sample(&requests, &config, &progress)?.into_iter().zip(owners) {
        let Some((_, rest)) = &halves[number] else { continue };
        match (&mut all[number], sample.error) {
            // A sample that is drawn on is the same up to where it would have ended.
            (Some(sampled), None) => {
                sampled.samples.push(text(&sample.tokens[..rest.len().min(sample.tokens.len())]))
            }
            (place, _) => *place = None,
        }
    }
    Ok(all)
}

/// What the model is given of a text, and the rest, half of the tokens each.
fn halves(passage: Passage) -> Option<(Vec<u32>, Vec<u32>)> {
    let Passage { mut prompt, continuation } = passage;
    let n_text = continuation.len();
    if n_text < 2 {
        return None;
    }
    prompt.extend(&continuation[..n_text / 2]);
    Some((prompt, continuation[n_text / 2..].to_vec()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::infer::testing::{Table, with_asking};

    /// mia_llms_benchmark builds ten inputs of each text and samples from one.
    #[test]
    fn peer_07_ten_candidates_of_each_text_are_drawn_one_by_one_and_used() {
        let table = Table::new();
        let texts = ["x y ".repeat(12), "y y x ".repeat(8)];
        let texts = texts.each_ref().map(|text| text.trim_end());
        with_asking(&table, &texts, |asking, reads| {
            let all: Vec<Sampled> = sampled(asking, reads).unwrap().into_iter().flatten().collect();
            assert_eq!(all.len(), 2);
            for sampled in &all {
                assert_eq!(sampled.samples.len(), 10);
                assert_eq!(BTreeSet::from_iter(&sampled.samples).len(), 10, "{sampled:?}");
            }
            assert_ne!(all[0].samples, all[1].samples);
            // Every candidate counts: without one, the mean is another.
            let whole = signal::samia(&all[0].samples, &all[0].rest);
            let recalls: BTreeSet<u64> = all[0]
                .samples
                .iter()
                .map(|sample| signal::rouge_1_recall(sample, &all[0].rest).unwrap().to_bits())
                .collect();
            assert!(recalls.len() > 1 && whole.is_some());
            assert_eq!(signals(asking, reads).unwrap()[0], whole);
            // The second text alone has the same samples: what else is asked makes no difference.
            assert_eq!(sampled(asking, &reads[1..]).unwrap()[0].as_ref(), Some(&all[1]));
        });
    }
}
