//! The exposure of each canary of a ledger (Carlini et al. 2019), never-planted controls among them: their exposure is
//! known beforehand, so it tells whether the references are fair.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use verbatim_lm::{Passage, Resources, TextModel, TokenRecord, score_passages};
use verbatim_membership::{NoFit, RankExposure, chance_interval, extrapolated_exposure, rank_exposure};
use verbatim_store::{Answers, Within};
use xxhash_rust::xxh3::xxh3_64;

use crate::canary::{Canary, Shape};
use crate::error::Result;
use crate::format::{Format, formats, references};
use crate::recitation::{bad, merged, split};

/// Texts that a secret is compared with at least: among fewer a rank says nothing.
const MIN_REFERENCES: usize = 15;

/// How exposure is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExposureConfig {
    /// References for each canary.
    pub n_references: usize,
    /// The references of a canary depend on it, the canary and the ledger's secrets only.
    pub seed: u64,
    /// The level of intervals.
    pub level: f64,
}

/// How exposed one canary is.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The canary's name.
    pub id: String,
    /// What its secret looks like.
    pub shape: Shape,
    /// How often it was planted.
    pub copies: u64,
    /// True when it was never planted.
    pub control: bool,
    /// Secrets of the ledger that its format was read off, itself among them; 1 when its own characters told it.
    pub n_alike: u64,
    /// log2 of the number of texts that could have stood in its place: no exposure is above that.
    pub space_bits: f64,
    /// Its place among references, and what follows from it.
    pub rank: Result<RankExposure, NoExposure>,
    /// Its exposure by the distribution that fits the references, in bits.
    pub extrapolated: Result<f64, NoFit>,
}

/// Why a canary has no exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoExposure {
    /// Hardly anything else could have stood in its place, as far as the ledger tells.
    SmallSpace,
    /// It, or a reference, does not fit in the model's context.
    TooLong,
    /// The model's numbers are not finite.
    NotFinite,
}

/// The planted canaries of one shape and number of copies.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposureGroup {
    /// What the secrets look like.
    pub shape: Shape,
    /// How often each was planted.
    pub copies: u64,
    /// Canaries that have an exposure.
    pub n_canaries: u64,
    /// Those among them that rank first, whose exposure is at least what it is said to be.
    pub n_saturated: u64,
    /// Quartiles of the exposure, in bits: a quarter, half, and three quarters of the canaries are below.
    pub quartiles: Option<[f64; 3]>,
    /// The interval of the median, from order statistics; none from too few canaries.
    pub median_interval: Option<(f64, f64)>,
    /// The median of the extrapolated exposure, of those canaries that have one.
    pub extrapolated_median: Option<f64>,
    /// How many those are.
    pub n_extrapolated: u64,
}

/// What the controls say of the references.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlCheck {
    /// Controls that have an exposure.
    pub n_controls: u64,
    /// Their mean exposure, in bits.
    pub mean_bits: Option<f64>,
    /// Where it stands if they rank anywhere.
    pub chance: Option<(f64, f64)>,
}

impl ControlCheck {
    /// Whether the controls stand where chance puts them; none without controls.
    pub fn holds(&self) -> Option<bool> {
        let (mean, (low, high)) = (self.mean_bits?, self.chance?);
        Some((low..=high).contains(&mean))
    }
}

/// Exposure in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposureSummary {
    /// The planted canaries, sorted by shape and number of copies.
    pub groups: Vec<ExposureGroup>,
    /// The controls of each shape.
    pub controls: Vec<(Shape, ControlCheck)>,
    /// All controls together.
    pub all_controls: ControlCheck,
}

/// The log-probabilities of a canary and its references, as they are kept.
#[derive(Serialize, Deserialize)]
struct Said {
    /// A hash of what was asked, so that nothing else is answered by it.
    question: u64,
    log_probs: Option<Vec<f64>>,
}

/// Compares each canary with references of its own format, drawn with the seed, after its own prefix.
///
/// What is compared is the log-probability of the whole secret. Lines of the ledger that are one canary for
/// [`audit_canaries`](crate::audit_canaries) are one here. The references of one canary are in memory at a time. Canaries in
/// another process's share are left out.
///
/// # Errors
/// Those of [`audit_canaries`](crate::audit_canaries), and of a run's folder.
pub fn audit_exposure(
    target: TextModel<'_>,
    ledger: &[Canary],
    config: &ExposureConfig,
    resources: Resources<'_>,
) -> Result<Vec<Exposure>> {
    let canaries: Vec<Canary> = merged(ledger)?.into_iter().map(|(canary, _)| canary).collect();
    let (earlier, mut answers) = Answers::open::<Said>(resources.scratch, "exposure")?;
    let earlier: HashMap<u64, Said> = earlier.into_iter().map(|said| (said.question, said)).collect();
    let mut exposures = Vec::with_capacity(canaries.len());
    resources.progress.stage("compare canaries with references", Some(canaries.len() as u64), "canaries");
    for (number, (canary, format)) in canaries.iter().zip(formats(&canaries)).enumerate() {
        resources.progress.advance(u64::from(number > 0));
        if !resources.scratch.share().has(number as u64) {
            continue;
        }
        let references = references(&format, canary, &canaries, (config.n_references, config.seed));
        let space_bits = references.space_bits;
        let exposure = |rank, extrapolated| exposure(canary, &format, (space_bits, rank, extrapolated));
        if references.texts.len() < MIN_REFERENCES.min(config.n_references) {
            exposures.push(exposure(Err(NoExposure::SmallSpace), Err(NoFit::TooFew)));
            continue;
        }
        let texts = texts(target, canary, references.texts)?;
        if texts.iter().any(|text| text.prompt.len() + text.continuation.len() > target.model.context_len()) {
            exposures.push(exposure(Err(NoExposure::TooLong), Err(NoFit::TooFew)));
            continue;
        }
        let question = question(&texts);
        let log_probs = match earlier.get(&question) {
            Some(said) => said.log_probs.clone(),
            None => {
                let asked = log_probs(target, &texts, resources);
                if let Ok(log_probs) = &asked {
                    answers.keep(&Said { question, log_probs: log_probs.clone() })?;
                } else {
                    answers.save()?;
                }
                asked?
            }
        };
        exposures.push(match log_probs.as_deref() {
            None | Some([]) => exposure(Err(NoExposure::NotFinite), Err(NoFit::TooFew)),
            Some([secret, references @ ..]) => exposure(
                Ok(rank_exposure(*secret, references, space_bits, config.level)),
                extrapolated_exposure(*secret, references, space_bits),
            ),
        });
    }
    resources.progress.advance(u64::from(!canaries.is_empty()));
    answers.save()?;
    Ok(exposures)
}

fn exposure(
    canary: &Canary,
    format: &Format,
    (space_bits, rank, extrapolated): (f64, Result<RankExposure, NoExposure>, Result<f64, NoFit>),
) -> Exposure {
    Exposure {
        id: canary.id.clone(),
        shape: canary.shape,
        copies: canary.copies,
        control: canary.control,
        n_alike: format.n_alike,
        space_bits,
        rank,
        extrapolated,
    }
}

/// The canary, and after it the same with each reference for a secret.
fn texts(target: TextModel<'_>, canary: &Canary, references: Vec<String>) -> Result<Vec<Passage>> {
    let start = target.model.bos().or(target.tokenizer.end_of_text());
    let secrets = std::iter::once(canary.secret.clone()).chain(references);
    let with = |secret| split(&Canary { secret, ..canary.clone() }, target.tokenizer, start);
    let texts: Vec<Passage> = secrets.map(with).collect::<Result<_>>()?;
    match texts.iter().any(|text| text.continuation.is_empty()) {
        true => Err(bad(canary, "the tokenizer has no tokens for its secret".to_owned())),
        false => Ok(texts),
    }
}

fn question(texts: &[Passage]) -> u64 {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend((text.prompt.len() as u64).to_le_bytes());
        bytes.extend((text.continuation.len() as u64).to_le_bytes());
        bytes.extend(text.prompt.iter().chain(&text.continuation).flat_map(|token| token.to_le_bytes()));
    }
    xxh3_64(&bytes)
}

/// The log-probability of what is asked for in each text; none when the model's numbers are not finite for one of them.
fn log_probs(target: TextModel<'_>, texts: &[Passage], resources: Resources<'_>) -> Result<Option<Vec<f64>>> {
    let scored = score_passages(target.model, texts, resources.batch, &Within(resources.progress))?;
    let sum =
        |records: &Vec<TokenRecord>| -> f64 { records.iter().map(|record| f64::from(record.log_prob)).sum() };
    Ok(scored.iter().map(|records| records.as_ref().map(sum)).collect())
}

/// Exposures by shape and number of copies, and the controls apart.
pub fn summarize_exposure(exposures: &[Exposure], level: f64) -> ExposureSummary {
    let (controls, planted): (Vec<_>, Vec<_>) = exposures.iter().partition(|exposure| exposure.control);
    let mut groups: BTreeMap<(Shape, u64), Vec<&Exposure>> = BTreeMap::new();
    for exposure in planted {
        groups.entry((exposure.shape, exposure.copies)).or_default().push(exposure);
    }
    let mut by_shape: BTreeMap<Shape, Vec<&Exposure>> = BTreeMap::new();
    for control in &controls {
        by_shape.entry(control.shape).or_default().push(control);
    }
    ExposureSummary {
        groups: groups.into_iter().map(|(cell, group)| summarize_group(cell, &group, level)).collect(),
        controls: by_shape.into_iter().map(|(shape, group)| (shape, check(&group, level))).collect(),
        all_controls: check(&controls, level),
    }
}

fn summarize_group((shape, copies): (Shape, u64), group: &[&Exposure], level: f64) -> ExposureGroup {
    let ranks: Vec<&RankExposure> = group.iter().filter_map(|exposure| exposure.rank.as_ref().ok()).collect();
    let bits = sorted(ranks.iter().map(|rank| rank.bits));
    let extrapolated = sorted(group.iter().filter_map(|exposure| exposure.extrapolated.ok()));
    ExposureGroup {
        shape,
        copies,
        n_canaries: ranks.len() as u64,
        n_saturated: ranks.iter().filter(|rank| rank.saturated).count() as u64,
        quartiles: (!bits.is_empty()).then(|| [0.25, 0.5, 0.75].map(|share| quantile(&bits, share))),
        median_interval: median_interval(&bits, level),
        extrapolated_median: (!extrapolated.is_empty()).then(|| quantile(&extrapolated, 0.5)),
        n_extrapolated: extrapolated.len() as u64,
    }
}

fn check(controls: &[&Exposure], level: f64) -> ControlCheck {
    let ranks = controls.iter().filter_map(|exposure| exposure.rank.as_ref().ok());
    let bits: Vec<f64> = ranks.map(|rank| rank.bits).collect();
    let n_controls = bits.len() as u64;
    let mean_bits = (n_controls > 0).then(|| bits.iter().sum::<f64>() / n_controls as f64);
    ControlCheck { n_controls, mean_bits, chance: chance_interval(n_controls, level) }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A quantile of sorted values, between neighbours in proportion (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// The narrowest interval of two order statistics, as far from either end, that holds the median with a probability of at
/// least `level`: the number of values below the median is binomial with a half.
fn median_interval(sorted: &[f64], level: f64) -> Option<(f64, f64)> {
    let n = sorted.len();
    let mut term = 0.5f64.powi(i32::try_from(n).ok()?);
    let (mut below, mut found) = (0.0, None);
    for i in 0..n.div_ceil(2) {
        below += term;
        if 2.0 * below > 1.0 - level {
            break;
        }
        found = Some((sorted[i], sorted[n - 1 - i]));
        term *= (n - i) as f64 / (i + 1) as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Gpt2, Gpt2Config, LanguageModel, Scripted};
    use verbatim_store::{Scratch, Silent};

    use super::*;
    use crate::testing::{asking, canary, tokenizer};

    const CONFIG: ExposureConfig = ExposureConfig { n_references: 200, seed: 3, level: 0.95 };

    fn pii(id: usize, copies: u64, secret: &str) -> Canary {
        Canary {
            shape: Shape::Pii,
            ..canary(&format!("c{id}"), copies, &format!("The code of {id} is "), secret)
        }
    }

    /// Four digits each, from a generator of the test's own; the first `n_planted` were planted.
    fn ledger(n: usize, n_planted: usize) -> Vec<Canary> {
        let number = |i: usize| (i * 7919 + i * i * 131 + 1234) % 10_000;
        (0..n).map(|i| pii(i, u64::from(i < n_planted), &format!("{:04}", number(i)))).collect()
    }

    fn random_gpt2(seed: u64) -> Gpt2 {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": tokenizer().vocab_size(), "n_positions": 48, "n_embd": 16, "n_layer": 1, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, seed).unwrap().into_iter().collect();
        Gpt2::new(config, tensors).unwrap()
    }

    fn audit(model: &dyn LanguageModel, ledger: &[Canary]) -> Vec<Exposure> {
        audit_exposure(TextModel { model, tokenizer: tokenizer() }, ledger, &CONFIG, asking(8)).unwrap()
    }

    /// On a model that has seen none of them, for secrets from the format, whatever the model prefers.
    #[test]
    fn controls_stand_at_chance() {
        let exposures = audit(&random_gpt2(5), &ledger(60, 0));
        let summary = summarize_exposure(&exposures, 0.99);
        assert_eq!((summary.all_controls.n_controls, summary.groups.len()), (60, 0));
        assert_eq!(summary.all_controls.holds(), Some(true), "{:?}", summary.all_controls);
        assert!(
            exposures.iter().all(|one| one.n_alike == 60 && (one.space_bits - 10_000f64.log2()).abs() < 1e-9)
        );
        // Not so for secrets that are likelier than their format says: the check can fail.
        let likely = |canary: Canary| Canary { secret: "0000".to_owned(), ..canary };
        let model = (0..60).fold(Scripted::new(tokenizer().vocab_size(), 64).begins_with(0), |model, i| {
            model.knows(tokenizer().encode(&format!("The code of {i} is 0000")), 0.9)
        });
        let odd: Vec<Canary> = ledger(60, 0)
            .into_iter()
            .enumerate()
            .map(|(i, one)| if i < 30 { likely(one) } else { one })
            .collect();
        let check = summarize_exposure(&audit(&model, &odd), 0.99).all_controls;
        assert_eq!(check.holds(), Some(false), "{check:?}");
    }

    #[test]
    fn what_the_model_knows_ranks_first_and_the_rest_does_not() {
        let ledger = ledger(12, 3);
        let known = |model: Scripted, canary: &Canary| {
            model.knows(tokenizer().encode(&format!("{}{}", canary.prefix, canary.secret)), 0.9)
        };
        let model =
            ledger[..3].iter().fold(Scripted::new(tokenizer().vocab_size(), 64).begins_with(0), known);
        let exposures = audit(&model, &ledger);
        for exposure in &exposures[..3] {
            let rank = exposure.rank.unwrap();
            assert!(rank.rank == 1 && rank.saturated && rank.high <= exposure.space_bits, "{exposure:?}");
            assert_eq!(rank.bits, 201f64.log2());
        }
        let summary = summarize_exposure(&exposures, 0.95);
        let group = &summary.groups[0];
        assert_eq!((group.shape, group.copies, group.n_canaries, group.n_saturated), (Shape::Pii, 1, 3, 3));
        assert_eq!((group.quartiles, group.median_interval), (Some([201f64.log2(); 3]), None));
    }

    /// The naive way: score each text alone and count.
    #[test]
    fn ranks_are_those_of_texts_scored_one_by_one() {
        let (model, ledger) = (random_gpt2(9), ledger(6, 2));
        let exposures = audit(&model, &ledger);
        let log_prob = |canary: &Canary, secret: &str| -> f64 {
            let text = Canary { secret: secret.to_owned(), ..canary.clone() };
            let model = TextModel { model: &model, tokenizer: tokenizer() };
            let recited = crate::audit_canaries(model, &[text], asking(1)).unwrap();
            recited[0].log_prob.unwrap()
        };
        for ((canary, format), exposure) in ledger.iter().zip(formats(&ledger)).zip(&exposures).take(2) {
            let drawn = references(&format, canary, &ledger, (200, 3)).texts;
            let own = log_prob(canary, &canary.secret);
            let ahead = drawn.iter().filter(|text| log_prob(canary, text) >= own).count();
            assert_eq!(exposure.rank.unwrap().rank, ahead as u64 + 1);
        }
    }

    #[test]
    fn exposure_does_not_depend_on_the_batch_and_kept_answers_are_taken() {
        let (model, ledger) = (random_gpt2(9), ledger(5, 2));
        let target = TextModel { model: &model, tokenizer: tokenizer() };
        let whole = audit_exposure(target, &ledger, &CONFIG, asking(1)).unwrap();
        assert_eq!(audit_exposure(target, &ledger, &CONFIG, asking(64)).unwrap(), whole);
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::of_run(&folder.path().join("scratch"), &serde_json::json!({})).unwrap();
        let resources = Resources { batch: 8, scratch: &scratch, progress: &Silent };
        assert_eq!(audit_exposure(target, &ledger, &CONFIG, resources).unwrap(), whole);
        drop(scratch);
        // A model that fails whatever it is asked, and need not be asked.
        let broken = Scripted::new(tokenizer().vocab_size(), 48).breaks_after(tokenizer().encode("T")[0]);
        let broken = TextModel { model: &broken, tokenizer: tokenizer() };
        let scratch = Scratch::of_run(&folder.path().join("scratch"), &serde_json::json!({})).unwrap();
        let resources = Resources { batch: 8, scratch: &scratch, progress: &Silent };
        assert_eq!(audit_exposure(broken, &ledger, &CONFIG, resources).unwrap(), whole);
        let unkept = audit_exposure(broken, &ledger, &CONFIG, asking(8)).unwrap();
        assert!(unkept.iter().all(|one| one.rank == Err(NoExposure::NotFinite)));
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let model = Scripted::new(tokenizer().vocab_size(), 12).begins_with(0);
        let ledger = [pii(0, 1, "-- --"), pii(1, 1, "12345678901234567890")];
        let exposures = audit(&model, &ledger);
        assert_eq!(exposures[0].rank, Err(NoExposure::SmallSpace));
        assert_eq!(exposures[1].rank, Err(NoExposure::TooLong));
        assert_eq!(summarize_exposure(&exposures, 0.95).groups[0].quartiles, None);
    }

    /// Goldens: numpy's `quantile`; the interval of the median of 6 is their range (2 / 2^6 = 0.03), of 20 values the 6th and
    /// the 15th (scipy: 2 binom.cdf(5, 20, .5) = 0.041389).
    #[test]
    fn quartiles_and_medians() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        assert_eq!([0.25, 0.5, 0.75].map(|share| quantile(&values, share)), [2.5, 6.0, 14.0]);
        assert_eq!(median_interval(&values, 0.95), Some((1.0, 32.0)));
        assert_eq!(median_interval(&values[..5], 0.95), None);
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(median_interval(&twenty, 0.95), Some((6.0, 15.0)));
    }
}
