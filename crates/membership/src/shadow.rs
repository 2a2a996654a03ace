//! Attacks with shadow models: what models that saw a text and models that did not say of it, and what follows for the model in
//! question.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Error, Passage, Resources, Run, TextModel, TokenRecord, score_passages};
use verbatim_store::Within;

use crate::classifier::Classifier;
use crate::infer::{beginning, passage};
use crate::signal::{
    self, Gaussian, RmiaPopulation, RmiaText, mean_loss, offline_marginal, online_marginal, rmia_line,
    rmia_ratio,
};

/// Shadow models from which on each text has a deviation of its own; with fewer, all texts share one (Carlini et al. 2022).
const MANY_MODELS: usize = 64;

/// How much likelier than another text a text must have become to beat it.
const GAMMA: f64 = 1.0;

/// The penalty of the classifier: with thousands of rows it decides nothing but that there is one minimum.
const PENALTY: f64 = 1.0;

/// What a model said of a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The log-probability of each token; empty where the model's numbers are not finite.
    pub log_probs: Vec<f32>,
    /// What the classifier of [`Attack::Classifier`] is given.
    features: Vec<Option<f64>>,
}

impl Observation {
    fn new(records: &[TokenRecord], text: &str) -> Observation {
        let features = vec![
            signal::loss_signal(records),
            signal::zlib_signal(records, text.as_bytes()),
            signal::window_signal(records, 50),
            signal::min_k(records, 0.2),
            signal::min_k_plus_plus(records, 0.2),
            signal::k_max(records, 0.2),
            signal::surp(records, 0.4, 2.0),
            signal::log_rank_signal(records),
            signal::entropy_signal(records),
        ];
        Observation { log_probs: records.iter().map(|record| record.log_prob).collect(), features }
    }

    /// The mean loss in nats a token.
    pub fn loss(&self) -> Option<f64> {
        mean_loss(self.log_probs.iter().copied())
    }
}

/// What a model says of texts, of each from its first token to the last of `most_tokens`.
///
/// # Errors
/// The model's own.
pub fn observe(
    model: TextModel<'_>,
    texts: &[&str],
    most_tokens: usize,
    resources: Resources<'_>,
) -> Result<Vec<Observation>, Error> {
    let read: Vec<String> = texts.iter().map(|text| beginning(model, text, most_tokens)).collect();
    let passages: Vec<_> = read.iter().map(|text| passage(model, &model.tokenizer.encode(text))).collect();
    let records = score_passages(model.model, &passages, resources.batch, &Within(resources.progress))?;
    let observation = |(records, text): (Option<Vec<TokenRecord>>, &String)| {
        Observation::new(&records.unwrap_or_default(), text)
    };
    Ok(records.into_iter().zip(&read).map(observation).collect())
}

/// An attack; of its scores, higher is more likely a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attack {
    /// The loss of the model in question alone, which the others are measured against.
    Loss,
    /// The mean loss of models without the text less the loss of the model in question (Watson et al. 2022).
    Calibrated,
    /// [`signal::lira_online`] of the logit of the text's probability.
    LiraOnline,
    /// [`signal::lira_offline`] of the same.
    LiraOffline,
    /// [`signal::sequence_lira`] of the log-probabilities of all tokens.
    LiraSequence,
    /// [`signal::rmia_ratio`] with models of both kinds, against the other texts.
    RmiaOnline,
    /// The same with models without the text alone, on the line that tells the members of a shadow model best.
    RmiaOffline,
    /// A classifier of signals, trained on the shadow models' own members (Shokri et al. 2017).
    Classifier,
}

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 8] = [
        Attack::Loss,
        Attack::Calibrated,
        Attack::LiraOnline,
        Attack::LiraOffline,
        Attack::LiraSequence,
        Attack::RmiaOnline,
        Attack::RmiaOffline,
        Attack::Classifier,
    ];

    /// The name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Attack::Loss => "loss",
            Attack::Calibrated => "calibrated-loss",
            Attack::LiraOnline => "lira-online",
            Attack::LiraOffline => "lira-offline",
            Attack::LiraSequence => "lira-sequence",
            Attack::RmiaOnline => "rmia-online",
            Attack::RmiaOffline => "rmia-offline",
            Attack::Classifier => "classifier",
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a model in question and its shadow models said of N texts.
#[derive(Clone, Copy, Debug)]
pub struct Shadowed<'a> {
    /// What the model in question said, (N).
    pub target: &'a [Observation],
    /// What each shadow model said, (N) each.
    pub shadows: &'a [Vec<Observation>],
    /// Which texts each shadow model saw, (N) each.
    pub saw: &'a [Vec<bool>],
}

/// The losses of a text under the models that saw it and under those that did not.
struct Losses {
    inside: Vec<f64>,
    outside: Vec<f64>,
}

impl Shadowed<'_> {
    /// What an attack says of each text; none where it is undefined, such as where no shadow model saw a text or all did.
    ///
    /// # Panics
    /// When the numbers of texts or of models differ.
    pub fn scores(&self, attack: Attack) -> Vec<Option<f64>> {
        assert_eq!(self.shadows.len(), self.saw.len(), "which texts each shadow model saw");
        let n_texts = self.target.len();
        assert!(self.shadows.iter().all(|said| said.len() == n_texts), "one observation for each text");
        assert!(self.saw.iter().all(|saw| saw.len() == n_texts), "one fate for each text");
        let each = |score: &dyn Fn(usize) -> Option<f64>| (0..n_texts).map(score).collect();
        match attack {
            Attack::Loss => each(&|text| Some(0.0 - self.target[text].loss()?)),
            Attack::Calibrated => each(&|text| {
                let outside = self.losses(text)?.outside;
                signal::counterfactual_memorization(&outside, &[self.target[text].loss()?])
            }),
            Attack::LiraOnline => self.lira(true),
            Attack::LiraOffline => self.lira(false),
            Attack::LiraSequence => each(&|text| self.sequence_lira(text)),
            Attack::RmiaOnline => self.rmia_online(),
            Attack::RmiaOffline => self.rmia_offline(),
            Attack::Classifier => self.classified(),
        }
    }

    /// Counterfactual memorization of each text: the mean probability of its tokens, as exp(-loss), under shadow models that saw
    /// it less that under those that did not ([`signal::counterfactual_memorization`]).
    pub fn memorization(&self) -> Vec<Option<f64>> {
        let probability = |losses: &[f64]| losses.iter().map(|loss| (0.0 - loss).exp()).collect::<Vec<f64>>();
        let of_text = |text| {
            let Losses { inside, outside } = self.losses(text)?;
            signal::counterfactual_memorization(&probability(&inside), &probability(&outside))
        };
        (0..self.target.len()).map(of_text).collect()
    }

    /// None where a shadow model's numbers are not finite.
    fn losses(&self, text: usize) -> Option<Losses> {
        let mut losses = Losses { inside: Vec::new(), outside: Vec::new() };
        for (said, saw) in self.shadows.iter().zip(self.saw) {
            let side = if saw[text] { &mut losses.inside } else { &mut losses.outside };
            side.push(said[text].loss()?);
        }
        Some(losses)
    }

    fn lira(&self, online: bool) -> Vec<Option<f64>> {
        let statistics = |losses: &[f64]| {
            losses.iter().map(|loss| signal::logit_confidence(*loss)).collect::<Option<Vec<f64>>>()
        };
        let all: Vec<Option<[Vec<f64>; 2]>> = (0..self.target.len())
            .map(|text| {
                let Losses { inside, outside } = self.losses(text)?;
                Some([statistics(&inside)?, statistics(&outside)?])
            })
            .collect();
        let deviation = |side: usize| {
            let of_side: Vec<&[f64]> = all.iter().flatten().map(|both| &both[side][..]).collect();
            signal::fixed_deviation(&of_side)
        };
        let fixed = (self.shadows.len() < MANY_MODELS).then(|| [deviation(0), deviation(1)]);
        let gaussian = |both: &[Vec<f64>; 2], side: usize| -> Option<Gaussian> {
            match fixed {
                Some(fixed) => {
                    Some(Gaussian { centre: signal::median(&both[side])?, deviation: fixed[side]? })
                }
                None => signal::shadow_gaussian(&both[side]),
            }
        };
        let score = |(text, both): (usize, &Option<[Vec<f64>; 2]>)| {
            let both = both.as_ref()?;
            let statistic = signal::logit_confidence(self.target[text].loss()?)?;
            let outside = gaussian(both, 1)?;
            match online {
                true => signal::lira_online(statistic, gaussian(both, 0)?, outside),
                false => signal::lira_offline(statistic, outside),
            }
        };
        all.iter().enumerate().map(score).collect()
    }

    /// With as many shadow models of either kind, the first of each.
    fn sequence_lira(&self, text: usize) -> Option<f64> {
        let log_probs = |said: &[Observation]| -> Vec<f64> {
            said[text].log_probs.iter().map(|log_prob| f64::from(*log_prob)).collect()
        };
        let of_kind = |wanted: bool| -> Vec<Vec<f64>> {
            let kind = self.shadows.iter().zip(self.saw).filter(|(_, saw)| saw[text] == wanted);
            kind.map(|(said, _)| log_probs(said)).collect()
        };
        let (inside, outside) = (of_kind(true), of_kind(false));
        let n = inside.len().min(outside.len());
        let [inside, outside] =
            [&inside, &outside].map(|kind| kind.iter().take(n).map(Vec::as_slice).collect::<Vec<_>>());
        signal::sequence_lira(&log_probs(self.target), &inside, &outside)
    }

    /// The share of the other texts that each text beats, from the ratio of each.
    fn shares_beaten(ratios: Vec<Option<f64>>) -> Vec<Option<f64>> {
        let defined: Vec<f64> = ratios.iter().copied().flatten().collect();
        let population = RmiaPopulation::new(&defined);
        let share = |ratio: Option<f64>| population.as_ref()?.share_beaten(ratio?, GAMMA);
        ratios.into_iter().map(share).collect()
    }

    fn rmia_online(&self) -> Vec<Option<f64>> {
        let ratio = |text: usize| {
            let Losses { inside, outside } = self.losses(text)?;
            rmia_ratio(self.target[text].loss()?, online_marginal(&inside, &outside)?)
        };
        Shadowed::shares_beaten((0..self.target.len()).map(ratio).collect())
    }

    fn rmia_offline(&self) -> Vec<Option<f64>> {
        let Some(a) = self.line() else { return vec![None; self.target.len()] };
        let ratio = |text: usize| {
            let outside = self.losses(text)?.outside;
            rmia_ratio(self.target[text].loss()?, offline_marginal(&outside, a)?)
        };
        Shadowed::shares_beaten((0..self.target.len()).map(ratio).collect())
    }

    /// The line of RMIA that tells the members of the first shadow model best, by the other shadow models.
    fn line(&self) -> Option<f64> {
        let ([stand_in, others @ ..], [is_member, saw @ ..]) = (self.shadows, self.saw) else { return None };
        let among_others = Shadowed { target: stand_in, shadows: others, saw };
        let with_losses = |text: usize| {
            let loss = stand_in[text].loss()?;
            let outside = among_others.losses(text)?.outside;
            (!outside.is_empty()).then_some((is_member[text], loss, outside))
        };
        let all: Vec<(bool, f64, Vec<f64>)> = (0..self.target.len()).filter_map(with_losses).collect();
        let of = |wanted: Option<bool>| -> Vec<RmiaText<'_>> {
            let kind = all.iter().filter(|(is_member, ..)| wanted.is_none_or(|wanted| wanted == *is_member));
            kind.map(|(_, loss, losses_without)| RmiaText { loss: *loss, losses_without }).collect()
        };
        Some(rmia_line(&of(Some(true)), &of(Some(false)), &of(None), GAMMA).ok()?.a)
    }

    fn classified(&self) -> Vec<Option<f64>> {
        let rows = |wanted: bool| -> Vec<&[Option<f64>]> {
            let all = self.shadows.iter().zip(self.saw).flat_map(|(said, saw)| said.iter().zip(saw));
            all.filter(|(_, saw)| **saw == wanted).map(|(said, _)| &said.features[..]).collect()
        };
        let classifier = Classifier::fit(&rows(true), &rows(false), PENALTY);
        self.target.iter().map(|said| classifier.as_ref()?.score(&said.features)).collect()
    }
}

/// What each token of a text gives away, in nats: [`signal::info_rmia_token`] of the model in question against one that did not
/// see the text, of the same tokenizer. Beside each stands the token's text.
///
/// # Errors
/// The models' own, for numbers that are not finite among them.
pub fn token_heat(
    [target, reference]: [TextModel<'_>; 2],
    text: &str,
    most_tokens: usize,
) -> Result<Vec<(String, f64)>, Error> {
    let read = beginning(target, text, most_tokens);
    let places = target.tokenizer.encode_with_places(&read);
    let Passage { prompt, continuation } = passage(target, &target.tokenizer.encode(&read));
    let n_tokens = continuation.len().min(target.model.context_len()).min(reference.model.context_len());
    let n_before = places.len() - continuation.len();
    let mut sessions = [target.model.session(1, n_tokens)?, reference.model.session(1, n_tokens)?];
    let mut last = prompt;
    let mut heat = Vec::with_capacity(n_tokens);
    for (at, token) in continuation.iter().take(n_tokens).enumerate() {
        let mut said = [Vec::new(), Vec::new()];
        for (session, said) in sessions.iter_mut().zip(&mut said) {
            let run = Run { slot: 0, tokens: &last };
            session
                .extend(&[run], &mut |_, log_probs| said.extend(log_probs.iter().map(|p| f64::from(*p))))?;
        }
        last = vec![*token];
        let start = places[n_before + at].1;
        let end = places.get(n_before + at + 1).map_or(read.len(), |(_, place)| *place);
        if let Some(nats) = signal::info_rmia_token(&said[0], &said[1], *token as usize) {
            heat.push((read[start..end].to_owned(), nats));
        }
    }
    Ok(heat)
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Scripted, Tokenizer};
    use verbatim_store::{Scratch, Silent};

    use super::*;
    use crate::random::Draw;
    use crate::roc::{Scores, auc};

    const N_TEXTS: usize = 300;
    const N_TOKENS: usize = 12;

    /// Texts that differ in how hard they are, by far more than having been seen makes them easier.
    struct Made {
        target: Vec<Observation>,
        is_member: Vec<bool>,
        shadows: Vec<Vec<Observation>>,
        saw: Vec<Vec<bool>>,
    }

    fn observation(log_probs: Vec<f32>) -> Observation {
        let records: Vec<TokenRecord> = log_probs
            .iter()
            .map(|log_prob| TokenRecord {
                token: 0,
                log_prob: *log_prob,
                mean_log_prob: -2.0,
                std_log_prob: 1.0,
                entropy: 2.0,
                rank: 0,
            })
            .collect();
        Observation::new(&records, "a text")
    }

    fn made(n_models: usize, gain: f64) -> Made {
        let hardness: Vec<f64> =
            (0..N_TEXTS).map(|text| 1.0 + 6.0 * Draw::new(1, text as u64).uniform()).collect();
        let mut all: Vec<(Vec<Observation>, Vec<bool>)> = (0..=n_models)
            .map(|model| {
                let mut coins = Draw::new(2, model as u64);
                let saw: Vec<bool> = (0..N_TEXTS).map(|_| coins.index(2) == 1).collect();
                let mut noise = Draw::new(3, model as u64);
                let mut said = |text: usize| {
                    let gain = if saw[text] { gain } else { 0.0 };
                    let token = |_| (0.2 * noise.normal() + gain - hardness[text]).min(-0.01) as f32;
                    observation((0..N_TOKENS).map(token).collect())
                };
                ((0..N_TEXTS).map(&mut said).collect(), saw.clone())
            })
            .collect();
        let (target, is_member) = all.remove(0);
        let (shadows, saw) = all.into_iter().unzip();
        Made { target, is_member, shadows, saw }
    }

    fn area(made: &Made, attack: Attack) -> f64 {
        let shadowed = Shadowed { target: &made.target, shadows: &made.shadows, saw: &made.saw };
        let scores = shadowed.scores(attack);
        let of = |wanted: bool| -> Vec<f64> {
            let kind = scores.iter().zip(&made.is_member).filter(|(_, is_member)| **is_member == wanted);
            kind.filter_map(|(score, _)| *score).collect()
        };
        let (inside, outside) = (of(true), of(false));
        auc(Scores::new(&inside, &outside).unwrap(), 0.95).auc
    }

    #[test]
    fn shadow_models_tell_members_where_the_loss_alone_tells_how_hard_a_text_is() {
        let made = made(16, 0.3);
        let loss = area(&made, Attack::Loss);
        assert!(loss < 0.6, "{loss}");
        let attacks =
            Attack::ALL.into_iter().filter(|attack| !matches!(attack, Attack::Loss | Attack::Classifier));
        for attack in attacks {
            let found = area(&made, attack);
            assert!(found > 0.95, "{attack}: {found}");
        }
        // It has no other text's loss to go by, and none of its features does better than the loss.
        assert!((area(&made, Attack::Classifier) - loss).abs() < 0.05);
    }

    /// What the number of shadow models with a text would say of the target must say nothing.
    #[test]
    fn where_there_is_nothing_to_tell_no_attack_tells_anything() {
        let made = made(16, 0.0);
        for attack in Attack::ALL {
            let found = area(&made, attack);
            assert!((found - 0.5).abs() < 0.12, "{attack}: {found}");
        }
    }

    #[test]
    fn memorization_is_what_having_been_seen_adds_to_the_probability() {
        let made = made(16, 0.3);
        let shadowed = Shadowed { target: &made.target, shadows: &made.shadows, saw: &made.saw };
        let found = shadowed.memorization();
        let text = 7;
        let mean = |wanted: bool| {
            let models = made.shadows.iter().zip(&made.saw).filter(|(_, saw)| saw[text] == wanted);
            let all: Vec<f64> = models.map(|(said, _)| (-said[text].loss().unwrap()).exp()).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        assert!((found[text].unwrap() - (mean(true) - mean(false))).abs() < 1e-12);
        assert!(found.iter().flatten().sum::<f64>() > 0.0);
    }

    #[test]
    fn a_text_that_no_shadow_model_saw_has_the_offline_scores_and_none_of_the_others() {
        let mut made = made(16, 0.3);
        made.saw.iter_mut().for_each(|saw| saw[3] = false);
        made.saw.iter_mut().for_each(|saw| saw[4] = true);
        made.shadows[5][6] = observation(Vec::new());
        let shadowed = Shadowed { target: &made.target, shadows: &made.shadows, saw: &made.saw };
        let defined = |attack: Attack| [3, 4, 6].map(|text| shadowed.scores(attack)[text].is_some());
        assert_eq!(defined(Attack::Loss), [true, true, true]);
        assert_eq!(defined(Attack::Classifier), [true, true, true]);
        for attack in [Attack::LiraOffline, Attack::RmiaOffline, Attack::Calibrated] {
            assert_eq!(defined(attack), [true, false, false], "{attack}");
        }
        for attack in [Attack::LiraOnline, Attack::LiraSequence, Attack::RmiaOnline] {
            assert!(!defined(attack)[0] && !defined(attack)[1], "{attack}");
        }
        assert_eq!([shadowed.memorization()[3], shadowed.memorization()[6]], [None, None]);
    }

    fn asked(
        model: &dyn verbatim_lm::LanguageModel,
        tokenizer: &Tokenizer,
    ) -> (Vec<Observation>, Vec<(String, f64)>) {
        let asked = TextModel { model, tokenizer };
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        let resources = Resources { batch: 2, scratch: &scratch, progress: &Silent };
        let said = observe(asked, &["the cat and the dog", "a b"], 8, resources).unwrap();
        (said, token_heat([asked, asked], "the cat \u{1f600}!", 64).unwrap())
    }

    #[test]
    fn a_model_is_asked_about_every_token_and_gives_nothing_away_beside_itself() {
        let json = Tokenizer::train(["the cat and the dog"].into_iter(), 270).unwrap();
        let tokenizer = Tokenizer::from_bytes(&json).unwrap();
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0);
        let (said, heat) = asked(&model, &tokenizer);
        let n_tokens = tokenizer.encode("a b").len();
        assert_eq!(said[1].log_probs.len(), n_tokens);
        assert!((said[1].loss().unwrap() - (tokenizer.vocab_size() as f64).ln()).abs() < 1e-5);
        let text: String = heat.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(text, "the cat \u{1f600}!");
        assert!(heat.iter().all(|(_, nats)| nats.abs() < 1e-6), "{heat:?}");
    }
}
