//! What greedy decoding makes of a prefix, token by token: how much of the suffix it is where it is not all of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use verbatim_lm::{LanguageModel, Resources, Sample, SampleRequest, SamplingConfig, Temperature};
use verbatim_store::Answers;

use crate::error::Result;
use crate::overlap::{bleu, rouge_l};
use crate::target::Target;

/// A greedy continuation beside the suffix that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decoded {
    /// The number of the target.
    pub target: u64,
    /// Tokens of the suffix.
    pub n_suffix: u64,
    /// Places at which both have the same token (Biderman et al. 2023: of 32).
    pub n_equal: u64,
    /// Tokens from the first on that are the same.
    pub n_leading: u64,
    /// BLEU-4 over tokens (Papineni et al. 2002); above 0.75 the suffix is approximately memorized (Ippolito et al. 2023).
    pub bleu: f64,
    /// ROUGE-L over tokens (Lin 2004).
    pub rouge_l: f64,
}

impl Decoded {
    /// True when greedy decoding spells the whole suffix.
    pub fn is_exact(&self) -> bool {
        self.n_equal == self.n_suffix
    }
}

/// Decodes greedily after the base cell's prefix of some targets, as many tokens as its suffix has, and compares. The
/// end-of-text token is a token like others. A continuation that breaks off because the model's numbers are not finite is
/// compared as far as it came. Targets in another process's share are left out.
///
/// # Errors
/// The model's own, those of a run's folder.
pub(crate) fn decode(
    model: &dyn LanguageModel,
    targets: &[(u64, &Target)],
    (n_prefix, n_suffix): (usize, usize),
    resources: Resources<'_>,
) -> Result<Vec<Decoded>> {
    let (mut all, mut answers) = Answers::open::<Decoded>(resources.scratch, "decode")?;
    let wanted: BTreeSet<u64> = targets.iter().map(|(number, _)| *number).collect();
    all.retain(|decoded| wanted.contains(&decoded.target));
    let known: BTreeSet<u64> = all.iter().map(|decoded| decoded.target).collect();
    let share = resources.scratch.share();
    let is_missing = |(number, _): &&(u64, &Target)| share.has(*number) && !known.contains(number);
    let missing: Vec<&(u64, &Target)> = targets.iter().filter(is_missing).collect();
    let requests: Vec<SampleRequest> = missing
        .iter()
        .map(|(number, target)| SampleRequest { index: *number, prompt: target.passage(n_prefix).prompt })
        .collect();
    let config = SamplingConfig {
        max_new_tokens: n_suffix,
        top_k: None,
        top_p: None,
        temperature: Temperature::Fixed(0.0),
        seed: 0,
        batch: resources.batch,
        stop_token: None,
    };
    let mut take = |asked: usize, sample: Sample| {
        let (number, target) = missing[asked];
        let suffix = &target.continuation[..n_suffix.min(target.continuation.len())];
        let decoded = compare(*number, &sample.tokens, suffix);
        answers.keep(&decoded)?;
        all.push(decoded);
        Ok(())
    };
    let outcome = model.sample_each(&requests, &config, &mut take, resources.progress);
    // What was decoded before an interruption is of use.
    answers.save()?;
    outcome?;
    all.sort_by_key(|decoded| decoded.target);
    Ok(all)
}

fn compare(target: u64, drawn: &[u32], suffix: &[u32]) -> Decoded {
    // A given suffix may be shorter than what was drawn.
    let drawn = &drawn[..drawn.len().min(suffix.len())];
    let is_equal = |(a, b): &(&u32, &u32)| a == b;
    Decoded {
        target,
        n_suffix: suffix.len() as u64,
        n_equal: drawn.iter().zip(suffix).filter(is_equal).count() as u64,
        n_leading: drawn.iter().zip(suffix).take_while(is_equal).count() as u64,
        bleu: bleu(drawn, suffix),
        rouge_l: rouge_l(drawn, suffix),
    }
}
