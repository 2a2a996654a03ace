//! What query limits and detectors are worth: traffic of people and of attackers, answered by the undefended model and replayed
//! through each guard.

use std::collections::BTreeMap;

use verbatim_extraction::Canary;
use verbatim_lm::{Passage, Resources, SampleRequest, SamplingConfig, Temperature, TextModel};
use verbatim_membership::Refusal;
use verbatim_store::Within;

use crate::error::Result;
use crate::guard::{
    Judged, Judging, Material, PrefixProbing, RateLimit, Recited, RepeatedPrompt, TrafficConfig, judge,
    traffic,
};

/// Tokens of a canary's secret and of a document that stand in an answer for it to count as recited.
const CANARY_GRAM: usize = 4;
const CORPUS_GRAM: usize = 20;
/// Tokens of an answer.
const ANSWER_TOKENS: usize = 24;

/// Benign clients, half of which set thresholds: enough for an FPR of 1 %.
const N_BENIGN: u64 = 240;

/// Replays a log through all guards; a refusal where there is too little to judge by.
pub(super) fn guarded(
    model: TextModel<'_>,
    (documents, held_out): (&[String], &[String]),
    ledger: &[Canary],
    (seed, level): (u64, f64),
    resources: Resources<'_>,
) -> Result<std::result::Result<Judged, Refusal>> {
    let encode = |texts: &[String]| {
        texts
            .iter()
            .map(|text| model.tokenizer.encode(text))
            .filter(|tokens| !tokens.is_empty())
            .collect::<Vec<_>>()
    };
    let (documents, held_out) = (encode(documents), encode(held_out));
    let repeated = ledger.iter().filter(|canary| canary.copies > 1 && !canary.prefix.is_empty());
    let canaries: Vec<Passage> = repeated
        .map(|canary| Passage {
            prompt: model.tokenizer.encode(&canary.prefix),
            continuation: model.tokenizer.encode(&canary.secret),
        })
        .collect();
    if canaries.is_empty() {
        return Ok(Err(Refusal::NoMembers));
    }
    let material = Material { held_out: &held_out, documents: &documents, canaries: &canaries };
    let config =
        TrafficConfig { seed, n_benign: N_BENIGN, n_attackers: 20, n_requests: 20, prompt_tokens: 20 };
    // The prompts do not depend on the answers, so that all are answered together.
    let mut answers: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    traffic(material, &config, &mut |prompt| {
        answers.insert(prompt.to_vec(), Vec::new());
        Vec::new()
    })?;
    answer(model, &mut answers, resources)?;
    let log = traffic(material, &config, &mut |prompt| answers.get(prompt).cloned().unwrap_or_default())?;
    let secrets = canaries.iter().map(|canary| &canary.continuation[..]);
    let in_canaries = Recited::new("canary n-grams", secrets, CANARY_GRAM);
    let in_corpus = Recited::new("corpus n-grams", documents.iter().map(Vec::as_slice), CORPUS_GRAM);
    let probing = PrefixProbing::new(documents.iter().map(Vec::as_slice), 8, 0.8);
    let judging = Judging { fpr: 0.01, level, limit: RateLimit { per_minute: 6, burst: 10 } };
    Ok(judge(&log, &[&in_canaries, &in_corpus, &probing, &RepeatedPrompt], &canaries, &judging))
}

/// What greedy decoding says after each prompt, of which the model sees the last tokens where it is too long.
fn answer(
    model: TextModel<'_>,
    answers: &mut BTreeMap<Vec<u32>, Vec<u32>>,
    resources: Resources<'_>,
) -> Result<()> {
    let start = model.model.bos().or(model.tokenizer.end_of_text());
    let most = model.model.context_len().saturating_sub(ANSWER_TOKENS + 1).max(1);
    let prompt = |prompt: &Vec<u32>| -> Vec<u32> {
        let shown = &prompt[prompt.len().saturating_sub(most)..];
        start.into_iter().chain(shown.iter().copied()).collect()
    };
    let requests: Vec<SampleRequest> = (0..)
        .zip(answers.keys())
        .map(|(index, asked)| SampleRequest { index, prompt: prompt(asked) })
        .collect();
    let greedy = SamplingConfig {
        max_new_tokens: ANSWER_TOKENS,
        top_k: None,
        top_p: None,
        temperature: Temperature::Fixed(0.0),
        seed: 0,
        batch: resources.batch,
        stop_token: start,
    };
    let samples = model.model.sample(&requests, &greedy, &Within(resources.progress))?;
    for (answer, sample) in answers.values_mut().zip(samples) {
        *answer = sample.tokens;
    }
    Ok(())
}
