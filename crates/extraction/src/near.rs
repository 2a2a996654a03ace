//! How likely a decoding is to draw nearly a given continuation: a lower bound by beam search, without a single draw.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Decoding, LanguageModel, Passage, Resources, Run};
use verbatim_store::answer_each;

use crate::error::{Error, Result};
use crate::target::Target;

/// What counts as one edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Tokens replaced.
    Hamming,
    /// Tokens replaced, inserted or left out; what was drawn has as many tokens as the continuation.
    Levenshtein,
}

/// How near, and how hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearConfig {
    /// What counts as one edit.
    pub distance: Distance,
    /// The most edits.
    pub most_edits: usize,
    /// How tokens are drawn.
    pub decoding: Decoding,
    /// Sequences that are kept from one token to the next.
    pub beam: usize,
    /// The likeliest tokens of each that are tried.
    pub branch: usize,
}

/// What was found near a continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearMass {
    /// The log-probability of drawing any of the sequences that were found: at most that of drawing any that is near.
    pub log_mass: f64,
    /// The log-probability of drawing the continuation itself; minus infinity where the decoding cuts it off.
    pub log_verbatim: f64,
    /// Sequences that were found.
    pub n_found: usize,
}

/// The near continuations of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The number of the target.
    pub target: u64,
    /// What was found.
    pub mass: NearMass,
}

/// A [`NearMass`] as it is kept: JSON has no infinity.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Kept {
    n_found: usize,
    log_mass: Option<f64>,
    log_verbatim: Option<f64>,
}

/// Looks for the near continuations of some targets, after the base cell's prefix. One for which the model's numbers are not
/// finite is left out, and so is one in another process's share.
///
/// # Errors
/// [`Error::Interrupted`], those of [`near_mass`] and of a run's folder.
pub(crate) fn near(
    model: &dyn LanguageModel,
    targets: &[(u64, &Target)],
    (n_prefix, n_suffix): (usize, usize),
    config: &NearConfig,
    resources: Resources<'_>,
) -> Result<Vec<Near>> {
    resources.progress.stage("near continuations", Some(targets.len() as u64), "places");
    let look = |number: usize| {
        if resources.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut passage = targets[number].1.passage(n_prefix);
        passage.continuation.truncate(n_suffix);
        let found = near_mass(model, &passage, config);
        resources.progress.advance(1);
        let finite = |log: f64| log.is_finite().then_some(log);
        match found {
            // As with the others, it counts neither way.
            Err(Error::Model(verbatim_lm::Error::NotFinite { .. })) => Ok(None),
            found => found.map(|NearMass { log_mass, log_verbatim, n_found }| {
                Some(Kept { n_found, log_mass: finite(log_mass), log_verbatim: finite(log_verbatim) })
            }),
        }
    };
    let all = answer_each(resources.scratch, "near", targets.len(), look)?;
    let near = |(kept, (target, _)): (Option<Option<Kept>>, &(u64, &Target))| {
        let Kept { n_found, log_mass, log_verbatim } = kept.flatten()?;
        let [log_mass, log_verbatim] = [log_mass, log_verbatim].map(|log| log.unwrap_or(f64::NEG_INFINITY));
        Some(Near { target: *target, mass: NearMass { log_mass, log_verbatim, n_found } })
    };
    Ok(all.into_iter().zip(targets).filter_map(near).collect())
}

/// A sequence that may still end near the continuation.
struct Beam {
    log_prob: f64,
    is_verbatim: bool,
    /// Edits between its tokens and each start of the continuation, or, for Hamming, edits so far alone.
    edits: Vec<usize>,
    slot: usize,
}

/// A beam and a token that may follow it.
struct Step {
    parent: usize,
    token: u32,
    log_prob: f64,
    is_verbatim: bool,
    edits: Vec<usize>,
}

/// A lower bound on the probability with which `decoding` draws, after a passage's prompt, a sequence of as many tokens as
/// its continuation and within `most_edits` of it ((epsilon, n, p)-discoverable extraction, after Cooper et al. 2026).
///
/// All beams end as different sequences, so their probabilities add up to no more than those of all near ones. The
/// continuation itself is never pruned: the bound is at least its own probability.
///
/// # Errors
/// [`Error::InvalidArgument`] for a beam or branch of zero, or the model's own.
pub(crate) fn near_mass(
    model: &dyn LanguageModel,
    passage: &Passage,
    config: &NearConfig,
) -> Result<NearMass> {
    if config.beam == 0 || config.branch == 0 {
        return Err(Error::InvalidArgument("a beam or branch of 0, expected at least 1".to_owned()));
    }
    let Passage { prompt, continuation } = passage;
    let capacity = prompt.len() + continuation.len();
    let mut session = model.session(config.beam, capacity)?;
    let first = match config.distance {
        Distance::Hamming => vec![0],
        Distance::Levenshtein => (0..=continuation.len()).collect(),
    };
    let mut beams = vec![Beam { log_prob: 0.0, is_verbatim: true, edits: first, slot: 0 }];
    let mut appended: Vec<Vec<u32>> = vec![prompt.clone()];
    for position in 0..continuation.len() {
        let runs: Vec<Run<'_>> =
            beams.iter().zip(&appended).map(|(beam, tokens)| Run { slot: beam.slot, tokens }).collect();
        let mut steps = Vec::new();
        session.extend(&runs, &mut |parent, log_probs| {
            steps.extend(next(&beams[parent], parent, log_probs, (continuation, position), config));
        })?;
        steps.sort_unstable_by(likelier);
        steps.truncate(config.beam);
        let length = prompt.len() + position;
        (beams, appended) = advance(&beams, steps, config.beam, |from, to| session.fork(from, to, length))?;
    }
    let found: Vec<&Beam> =
        beams.iter().filter(|beam| beam.edits.last() <= Some(&config.most_edits)).collect();
    let mass: f64 = found.iter().map(|beam| beam.log_prob.exp()).sum();
    let verbatim = found.iter().find(|beam| beam.is_verbatim);
    Ok(NearMass {
        log_mass: mass.ln(),
        log_verbatim: verbatim.map_or(f64::NEG_INFINITY, |beam| beam.log_prob),
        n_found: found.len(),
    })
}

/// The continuation itself first, then the likelier; a total order.
fn likelier(a: &Step, b: &Step) -> Ordering {
    b.is_verbatim
        .cmp(&a.is_verbatim)
        .then(b.log_prob.total_cmp(&a.log_prob))
        .then((a.parent, a.token).cmp(&(b.parent, b.token)))
}

/// What may follow a beam at a position of the continuation.
fn next(
    beam: &Beam,
    parent: usize,
    log_probs: &[f32],
    (continuation, position): (&[u32], usize),
    config: &NearConfig,
) -> Vec<Step> {
    let expected = continuation[position];
    let mut tokens = config.decoding.likeliest(log_probs.to_vec(), config.branch);
    // A continuation that is unlikely is still the one that is asked about.
    if tokens.iter().all(|(token, _)| *token != expected) {
        let all = config.decoding.likeliest(log_probs.to_vec(), log_probs.len());
        tokens.extend(all.into_iter().find(|(token, _)| *token == expected));
    }
    let steps = tokens.into_iter().map(|(token, log_prob)| Step {
        parent,
        token,
        log_prob: beam.log_prob + log_prob,
        is_verbatim: beam.is_verbatim && token == expected,
        edits: match config.distance {
            Distance::Hamming => vec![beam.edits[0] + usize::from(token != expected)],
            Distance::Levenshtein => next_row(&beam.edits, continuation, token),
        },
    });
    steps.filter(|step| step.edits.iter().min() <= Some(&config.most_edits)).collect()
}

/// The next row of the matrix of edit distances (Wagner and Fischer 1974).
fn next_row(row: &[usize], continuation: &[u32], token: u32) -> Vec<usize> {
    let mut next = vec![row[0] + 1];
    for (j, expected) in continuation.iter().enumerate() {
        let replaced = row[j] + usize::from(*expected != token);
        next.push(replaced.min(row[j + 1] + 1).min(next[j] + 1));
    }
    next
}

/// The beams that steps lead to, and the token that each appends. The first step of a beam stays in its slot; the others go
/// into slots whose beams end here.
fn advance(
    beams: &[Beam],
    steps: Vec<Step>,
    n_slots: usize,
    mut fork: impl FnMut(usize, usize) -> verbatim_lm::Result<()>,
) -> Result<(Vec<Beam>, Vec<Vec<u32>>)> {
    let mut is_taken = vec![false; n_slots];
    steps.iter().for_each(|step| is_taken[beams[step.parent].slot] = true);
    let mut free = (0..n_slots).filter(|slot| !is_taken[*slot]).collect::<Vec<_>>().into_iter();
    let mut has_stayed = vec![false; beams.len()];
    let mut next = Vec::with_capacity(steps.len());
    for step in steps {
        let from = beams[step.parent].slot;
        let slot = if std::mem::replace(&mut has_stayed[step.parent], true) {
            let to = free.next().expect("no more beams than slots");
            fork(from, to)?;
            to
        } else {
            from
        };
        let beam = Beam { log_prob: step.log_prob, is_verbatim: step.is_verbatim, edits: step.edits, slot };
        next.push((beam, vec![step.token]));
    }
    // Sessions take runs with slots ascending.
    next.sort_by_key(|(beam, _)| beam.slot);
    Ok(next.into_iter().unzip())
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Checkpoint, Ngram, Runtime, SampleRequest, SamplingConfig, Temperature};
    use verbatim_store::Silent;

    use super::*;

    const PLAIN: Decoding = Decoding { temperature: 1.0, top_k: None, top_p: None };
    const V: u32 = 5;

    fn model() -> Ngram {
        Ngram::new((V as usize, 32), 2, 0.1, &[vec![0, 1, 2, 1, 3, 1, 2, 4, 1, 2, 0, 1, 3]])
    }

    fn config(distance: Distance, most_edits: usize, decoding: Decoding, beam: usize) -> NearConfig {
        NearConfig { distance, most_edits, decoding, beam, branch: V as usize }
    }

    /// Edit distance by its definition.
    fn levenshtein(a: &[u32], b: &[u32]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a @ ..], [y, b @ ..]) if x == y => levenshtein(a, b),
            ([x, a_rest @ ..], [y, b_rest @ ..]) => {
                let _ = (x, y);
                1 + levenshtein(a_rest, b_rest).min(levenshtein(a_rest, b)).min(levenshtein(a, b_rest))
            }
        }
    }

    fn is_near(distance: Distance, a: &[u32], b: &[u32], most: usize) -> bool {
        most >= match distance {
            Distance::Hamming => a.iter().zip(b).filter(|(x, y)| x != y).count(),
            Distance::Levenshtein => levenshtein(a, b),
        }
    }

    /// Every sequence, near or not, with its probability from teacher forcing.
    fn exhaustive(passage: &Passage, config: &NearConfig) -> f64 {
        let n = passage.continuation.len() as u32;
        let all = (0..V.pow(n)).map(|code| (0..n).map(|i| code / V.pow(i) % V).collect::<Vec<u32>>());
        let near: Vec<Passage> = all
            .filter(|other| is_near(config.distance, other, &passage.continuation, config.most_edits))
            .map(|continuation| Passage { prompt: passage.prompt.clone(), continuation })
            .collect();
        let mut mass = 0.0;
        let mut take = |_, choices: verbatim_lm::Choices| {
            mass += choices.log_probs[0].iter().map(|log_prob| f64::from(*log_prob)).sum::<f64>().exp();
            Ok(())
        };
        model().choose_each((&near, &[config.decoding]), 64, &mut take, &Silent).unwrap();
        mass
    }

    #[test]
    fn a_wide_beam_finds_all_of_the_mass_and_a_narrow_one_no_more() {
        let tempered = Decoding { temperature: 0.7, top_k: Some(4), top_p: None };
        for continuation in [vec![2, 1, 3, 1], vec![4, 4, 0, 2], vec![1, 2, 4, 1]] {
            let passage = Passage { prompt: vec![0, 1], continuation };
            for (distance, decoding) in
                [(Distance::Hamming, PLAIN), (Distance::Hamming, tempered), (Distance::Levenshtein, PLAIN)]
            {
                for most_edits in 0..=4 {
                    let wide = config(distance, most_edits, decoding, 625);
                    let exact = exhaustive(&passage, &wide);
                    let found = near_mass(&model(), &passage, &wide).unwrap();
                    assert!((found.log_mass.exp() - exact).abs() < 1e-6, "{distance:?} {most_edits} {exact}");
                    let mut before = 0.0;
                    for beam in [1, 3, 20] {
                        let narrow = near_mass(&model(), &passage, &NearConfig { beam, ..wide }).unwrap();
                        assert!(
                            narrow.log_mass.exp() <= exact + 1e-6 && narrow.log_mass >= narrow.log_verbatim
                        );
                        assert_eq!(narrow.log_verbatim, found.log_verbatim);
                        assert!(narrow.n_found <= beam);
                        before = narrow.log_mass.exp().max(before);
                    }
                    assert!(exact == 0.0 || most_edits == 0 || before > 0.0);
                }
            }
        }
    }

    /// Monte Carlo, as the definition has it: the share of draws that are near.
    fn is_not_above_what_sampling_finds(
        model: &dyn LanguageModel,
        passage: &Passage,
        decoding: Decoding,
        n_draws: u64,
    ) {
        let sampling = SamplingConfig {
            max_new_tokens: passage.continuation.len(),
            top_k: decoding.top_k,
            top_p: decoding.top_p,
            temperature: Temperature::Fixed(decoding.temperature),
            seed: 3,
            batch: 64,
            stop_token: None,
        };
        let requests: Vec<SampleRequest> =
            (0..n_draws).map(|index| SampleRequest { index, prompt: passage.prompt.clone() }).collect();
        let samples = model.sample(&requests, &sampling, &Silent).unwrap();
        for distance in [Distance::Hamming, Distance::Levenshtein] {
            for most_edits in 0..=3 {
                let near = |tokens: &[u32]| is_near(distance, tokens, &passage.continuation, most_edits);
                let k = samples.iter().filter(|sample| near(&sample.tokens)).count() as u64;
                let upper = verbatim_membership::clopper_pearson(k, n_draws, 0.999).high;
                let found = near_mass(model, passage, &config(distance, most_edits, decoding, 40)).unwrap();
                assert!(found.log_mass.exp() <= upper, "{distance:?} {most_edits} {k}");
            }
        }
    }

    #[test]
    fn the_mass_is_not_above_what_sampling_finds() {
        let passage = Passage { prompt: vec![0, 1], continuation: vec![2, 1, 3, 1, 2, 4] };
        is_not_above_what_sampling_finds(&model(), &passage, PLAIN, 20_000);
    }

    /// The same of a checkpoint, for what it knows by heart and for what it only half knows.
    #[test]
    fn the_mass_is_not_above_what_sampling_a_checkpoint_finds() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo-raw");
        let Checkpoint { model, tokenizer, .. } = Checkpoint::open(&folder, Runtime::default()).unwrap();
        let ledger = crate::read_ledger(&folder.join("../../corpora/demo/ledger.jsonl")).unwrap();
        for copies in [64, 4] {
            let canary = ledger.iter().find(|canary| canary.copies == copies).unwrap();
            let mut continuation = tokenizer.encode(&canary.secret);
            continuation.truncate(8);
            let passage = Passage { prompt: tokenizer.encode(&canary.prefix), continuation };
            for decoding in [PLAIN, Decoding { temperature: 0.8, top_k: Some(10), top_p: None }] {
                is_not_above_what_sampling_finds(model.as_ref(), &passage, decoding, 3_000);
            }
        }
    }

    #[test]
    fn what_the_decoding_cuts_off_has_no_mass() {
        let greedy = Decoding { temperature: 0.0, ..PLAIN };
        let passage = Passage { prompt: vec![0, 1], continuation: vec![4, 4] };
        let found = near_mass(&model(), &passage, &config(Distance::Hamming, 0, greedy, 3)).unwrap();
        assert_eq!((found.log_mass, found.n_found), (f64::NEG_INFINITY, 0));
    }
}
