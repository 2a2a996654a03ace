//! What is measured of each model: what it recites, how exposed secrets are, how well members are told, and what it is worth.

use verbatim_extraction::{
    Canary, Exposure, ExposureConfig, Recitation, Shape, audit_canaries, audit_exposure, likenesses,
    summarize_exposure,
};
use verbatim_lm::{Resources, TextModel};
use verbatim_membership::{
    Auc, AuditedEpsilon, Confidence, Inferring, Need, Separation, Signal, audited_epsilon, separation,
    text_signals,
};
use verbatim_store::Within;

use crate::error::Result;

/// The false positive rate at which members are counted.
pub const FPR: f64 = 0.01;

/// What is decoded is approximately a secret where it is more like it than this (Ippolito et al. 2023, section 4).
const APPROXIMATE: f64 = 0.75;

/// What is asked of every model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Questions<'a> {
    /// Planted secrets and controls.
    pub(super) ledger: &'a [Canary],
    /// Texts that every training sees once and as they are.
    pub(super) members: &'a [String],
    /// Texts of the same kind that none sees.
    pub(super) non_members: &'a [String],
    /// References for each secret.
    pub(super) n_references: usize,
    /// The level of intervals.
    pub(super) level: f64,
    /// The seed of the references.
    pub(super) seed: u64,
}

/// What one signal says of each text.
#[derive(Clone, Debug)]
pub struct SignalScores {
    /// The signal.
    pub signal: Signal,
    /// Of the members, in their order.
    pub members: Vec<Option<f64>>,
    /// Of the non-members.
    pub non_members: Vec<Option<f64>>,
}

/// What was measured of one model.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Each planted secret and each control.
    pub recitations: Vec<Recitation>,
    /// Of each, how much what is decoded is like the secret (BLEU-4).
    pub likenesses: Vec<f64>,
    /// How exposed each is.
    pub exposures: Vec<Exposure>,
    /// What each signal says, the loss first.
    pub signals: Vec<SignalScores>,
    /// The mean loss of the non-members in nats a token, each text counting the same.
    pub validation_nats: Option<f64>,
    /// That of the members.
    pub member_nats: Option<f64>,
    /// A lower bound of epsilon by the best of the signals.
    pub epsilon: AuditedEpsilon,
    level: f64,
}

impl Measured {
    /// Asks a model everything.
    ///
    /// # Errors
    /// The model's own.
    pub(super) fn of(
        model: TextModel<'_>,
        questions: &Questions<'_>,
        delta: f64,
        resources: Resources<'_>,
    ) -> Result<Measured> {
        let within = Within(resources.progress);
        let resources = Resources { progress: &within, ..resources };
        let Questions { ledger, level, .. } = *questions;
        let recitations = audit_canaries(model, ledger, resources)?;
        let likenesses = likenesses(model, ledger, resources)?;
        let config = ExposureConfig { n_references: questions.n_references, seed: questions.seed, level };
        let exposures = audit_exposure(model, ledger, &config, resources)?;
        let asked: Vec<Signal> =
            Signal::ALL.into_iter().filter(|signal| signal.needs() == Need::Nothing).collect();
        let texts: Vec<&str> =
            questions.members.iter().chain(questions.non_members).map(String::as_str).collect();
        let said = text_signals(&mut Inferring::alone(model), &asked, &texts, resources)?;
        let column = |at: usize| said.iter().map(|text| text.values[at]).collect::<Vec<_>>();
        let signals: Vec<_> = asked
            .into_iter()
            .enumerate()
            .map(|(at, signal)| {
                let mut members = column(at);
                let non_members = members.split_off(questions.members.len());
                SignalScores { signal, members, non_members }
            })
            .collect();
        let scores: Vec<_> =
            signals.iter().map(|said| [said.members.clone(), said.non_members.clone()]).collect();
        let nats = |scores: &[Option<f64>]| {
            let losses: Vec<f64> = scores.iter().copied().flatten().map(|signal| 0.0 - signal).collect();
            (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
        };
        let SignalScores { members, non_members, .. } = &signals[0];
        Ok(Measured {
            recitations,
            likenesses,
            exposures,
            validation_nats: nats(non_members),
            member_nats: nats(members),
            epsilon: audited_epsilon(&scores, (delta, level), questions.seed),
            signals,
            level,
        })
    }

    /// How well the loss tells members from non-members.
    pub fn by_loss(&self) -> Separation {
        let SignalScores { members, non_members, .. } = &self.signals[0];
        separation(members, non_members, &[FPR], Confidence { level: self.level, n_together: 1 })
    }

    /// The signal that tells them best, with the interval that holds for all signals together.
    pub fn best(&self) -> Option<(Signal, Separation)> {
        let confidence = Confidence { level: self.level, n_together: self.signals.len() };
        let all = self
            .signals
            .iter()
            .map(|said| (said.signal, separation(&said.members, &said.non_members, &[FPR], confidence)));
        let area = |found: &Separation| found.auc.as_ref().map_or(0.0, |auc: &Auc| auc.auc);
        all.reduce(|one, other| if area(&other.1) > area(&one.1) { other } else { one })
    }

    /// The median exposure of the planted secrets for which `wanted`, in bits, with its interval where there are enough.
    pub fn median_exposure(&self, wanted: impl Fn(&Exposure) -> bool) -> Option<(f64, Option<(f64, f64)>)> {
        // As one group, whatever they look like and however often each was planted.
        let alike = |exposure: &Exposure| Exposure { shape: Shape::Random, copies: 2, ..exposure.clone() };
        let asked = self.exposures.iter().filter(|exposure| wanted(exposure) && !exposure.control);
        let summary = summarize_exposure(&asked.map(alike).collect::<Vec<_>>(), self.level);
        let group = summary.groups.first()?;
        Some((group.quartiles?[1], group.median_interval))
    }

    /// Of the planted secrets for which `wanted`, how many were recited, and how many there are.
    pub fn recited(&self, wanted: impl Fn(&Recitation) -> bool) -> (u64, u64) {
        let asked = self.recitations.iter().filter(|one| one.log_prob.is_some() && wanted(one));
        asked.fold((0, 0), |(n, all), one| (n + u64::from(one.recited), all + 1))
    }

    /// Of the planted secrets for which `wanted`, how many are written out at least approximately, and how many there are.
    pub fn approximately_recited(&self, wanted: impl Fn(&Recitation) -> bool) -> (u64, u64) {
        let asked = self.recitations.iter().zip(&self.likenesses);
        let asked = asked.filter(|(one, _)| one.log_prob.is_some() && wanted(one));
        asked.fold((0, 0), |(n, all), (_, likeness)| (n + u64::from(*likeness > APPROXIMATE), all + 1))
    }
}
