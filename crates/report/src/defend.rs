//! What defences came to: one row for each, privacy beside cost, and the field's claims held against them.

use std::collections::BTreeSet;

use serde::Serialize;
use verbatim_extraction::{Exposure, Placement};
use verbatim_lab::defend::{Claim, Defended, FPR, Measured, Moment, Row, SliceRow, Verdict};
use verbatim_lab::guard::{Detection, Judged, Loss};

use crate::figure::{Rate, counted, placement_words, rounded};
use crate::infer::SeparationRow;
use crate::measure::Measure;
use crate::provenance::Provenance;
use crate::report::Body;
use crate::svg::{self, Column, Estimate, ForestRow};
use crate::terminal::{Align, Table, warnings, wrap};
use crate::train::LossPoint;

/// What defences came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefendBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What a gate can hold against a bound: of the undefended model and of each defence.
    pub measures: Vec<Measure>,
    /// Members that were told from non-members.
    pub n_members: u64,
    /// Non-members.
    pub n_non_members: u64,
    /// Epsilon that private training claims.
    pub epsilon: f64,
    /// The undefended model, and each defence.
    pub rows: Vec<DefenceRow>,
    /// The field's claims.
    pub claims: Vec<ClaimRow>,
    /// The undefended model at the end of each epoch.
    pub moments: Vec<MomentRow>,
    /// Its members by what they are like.
    pub slices: Vec<MemberSlice>,
    /// Its secrets by how often they were planted.
    pub copies: Vec<CopiesRow>,
    /// Detectors on requests of attackers and of others.
    pub detectors: Vec<DetectorRow>,
    /// What attackers have got before each guard cut them off.
    pub guards: Vec<GuardRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for DefendBody {
    const KIND: &'static str = "defend";
}

/// One defence: what is given away with it, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefenceRow {
    /// The defence.
    pub name: String,
    /// `baseline`, `data`, `training` or `serving`.
    pub kind: String,
    /// Secrets that were planted more than once and are recited.
    pub recited: Rate,
    /// Those of which greedy decoding writes at least an approximation: BLEU-4 above 0.75.
    pub approximate: Rate,
    /// Those that are recited, by how their copies stood in the corpus.
    pub recited_by_placement: Vec<PlacementRow>,
    /// The median exposure of those secrets, in bits.
    pub exposure: Option<ExposureFigure>,
    /// The signal that tells members best, and how well.
    pub best: Option<SeparationRow>,
    /// How well the loss tells them.
    pub loss: SeparationRow,
    /// Epsilon is at least so much, by all signals.
    pub epsilon_shown: f64,
    /// Epsilon that the training claims; none without noise.
    pub epsilon_claimed: Option<f64>,
    /// The mean loss of texts that were not trained on, in nats a token, as it is told.
    pub validation_nats: Option<f64>,
    /// The training; none where the undefended model is served.
    pub training: Option<TrainingRow>,
}

/// Secrets of one placement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacementRow {
    /// How their copies stand in the corpus.
    pub placement: String,
    /// Those that are recited.
    pub recited: Rate,
    /// How often their texts stand in the training corpus; none where no model was trained.
    pub copies_left: Option<u64>,
}

/// A median exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ExposureFigure {
    /// The median, in bits.
    pub median: f64,
    /// Lower end of its interval; none with few secrets.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
}

/// What a training took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrainingRow {
    /// Documents that were trained on.
    pub n_documents: u64,
    /// Tokens of one pass.
    pub n_tokens: u64,
    /// Updates.
    pub n_steps: u64,
    /// Weights.
    pub n_parameters: u64,
}

/// A claim, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimRow {
    /// Its name.
    pub name: String,
    /// What is claimed.
    pub statement: String,
    /// `supported`, `refuted`, `inconclusive` or `untested`.
    pub verdict: String,
    /// What the effect is, in words.
    pub effect: String,
    /// The effect.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// What it rests on.
    pub n: u64,
}

/// The undefended model at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MomentRow {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The mean loss of the members, in nats a token.
    pub member_nats: f64,
    /// The mean loss of the non-members, in nats a token.
    pub non_member_nats: f64,
    /// The area under the ROC curve of the loss.
    pub auc: f64,
    /// Planted secrets that are recited.
    pub n_recited: u64,
}

/// Members of the undefended model that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberSlice {
    /// `rarity`, `length` or `source`.
    pub by: String,
    /// The slice: its third, 1 for the lowest, or its source.
    pub name: String,
    /// Members and non-members in it.
    pub n: [u64; 2],
    /// The area under the ROC curve of the loss.
    pub auc: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

/// Secrets of the undefended model that were planted equally often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CopiesRow {
    /// How often each stands in the corpus.
    pub copies: u64,
    /// Those that are recited.
    pub recited: Rate,
    /// Their median exposure, in bits.
    pub exposure: Option<ExposureFigure>,
}

/// How well a detector finds the clients of one attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectorRow {
    /// The detector.
    pub detector: String,
    /// The attack.
    pub attack: String,
    /// Attacking clients above the threshold that benign clients of which none is judged have set, for an FPR of 1 %.
    pub found: Rate,
    /// Judged benign clients above it.
    pub false_alarms: Rate,
}

/// What a guard keeps back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardRow {
    /// The guard: `none`, `rate limit`, a detector that cuts clients off, or `all`.
    pub guard: String,
    /// The attack.
    pub attack: String,
    /// Secrets that were told before the attackers were cut off.
    pub lost: Rate,
    /// Benign clients to whom an answer was refused.
    pub refused: Rate,
}

impl DefendBody {
    /// The report.
    pub fn new(
        provenance: Provenance,
        defended: &Defended,
        epsilon: f64,
        warnings: Vec<String>,
    ) -> DefendBody {
        let mut body = DefendBody {
            provenance,
            measures: Vec::new(),
            n_members: defended.n[0],
            n_non_members: defended.n[1],
            epsilon,
            rows: defended.rows.iter().map(DefenceRow::new).collect(),
            claims: defended.claims.iter().map(ClaimRow::new).collect(),
            moments: defended.moments.iter().map(MomentRow::new).collect(),
            slices: defended.slices.iter().map(MemberSlice::new).collect(),
            copies: defended.rows.first().map_or_else(Vec::new, |row| copies_rows(&row.measured)),
            detectors: Vec::new(),
            guards: Vec::new(),
            warnings,
        };
        match &defended.guards {
            Ok(judged) => {
                body.detectors = judged.detections.iter().map(DetectorRow::new).collect();
                body.guards = guard_rows(judged);
            }
            Err(_) => body.warnings.push("too few secrets or texts to judge guards by".to_owned()),
        }
        body.measures = body.rows.iter().flat_map(DefenceRow::measures).collect();
        body
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let n = |verdict: &str| self.claims.iter().filter(|claim| claim.verdict == verdict).count();
        let none = self.rows.first().map_or_else(String::new, |row| {
            format!("Undefended, the model recites {} secrets. ", row.recited.fraction())
        });
        format!(
            "{none}Of {}, {} are supported, {} refuted, {} inconclusive.",
            counted(self.claims.len() as u64, "claim", "claims"),
            n("supported"),
            n("refuted"),
            n("inconclusive") + n("untested")
        )
    }

    /// The loss along the undefended training, as a curve.
    pub fn curve(&self) -> Vec<LossPoint> {
        let n_steps = self.rows.first().and_then(|row| Some(row.training?.n_steps)).unwrap_or(0);
        let n = (self.moments.len() as u64).max(1);
        let point = |moment: &MomentRow| LossPoint {
            step: moment.epoch * n_steps / n,
            train_nats: moment.member_nats,
            validation_nats: Some(moment.non_member_nats),
        };
        self.moments.iter().map(point).collect()
    }

    /// What leaks and what it costs, as a plot: a line for each defence.
    pub fn forest(&self) -> String {
        let losses = self.rows.iter().filter_map(|row| row.validation_nats);
        let most = losses.fold(1.0_f64, f64::max).ceil();
        let columns = [
            Column { title: "secrets recited", ends: (0.0, 1.0), decimals: 0 },
            Column { title: "best AUC", ends: (0.4, 1.0), decimals: 1 },
            Column { title: "held-out loss", ends: (0.0, most), decimals: 0 },
        ];
        let rate = |rate: &Rate| Some(Estimate { value: rate.share?, ends: Some((rate.low, rate.high)) });
        let area = |row: &DefenceRow| {
            let auc = row.best.as_ref()?.auc?;
            Some(Estimate { value: auc.value, ends: Some((auc.joint_low, auc.joint_high)) })
        };
        let loss = |row: &DefenceRow| Some(Estimate { value: row.validation_nats?, ends: None });
        let rows: Vec<ForestRow> = self
            .rows
            .iter()
            .map(|row| ForestRow {
                label: row.name.clone(),
                marks: vec![rate(&row.recited), area(row), loss(row)],
            })
            .collect();
        svg::forest(&columns, &rows, "What leaks with each defence, and what it costs")
    }

    /// The rows that changed the corpus, and the undefended one before them.
    pub fn levels(&self) -> impl Iterator<Item = &DefenceRow> {
        self.rows.iter().filter(|row| row.kind == "data" || row.kind == "baseline")
    }
}

impl DefenceRow {
    fn new(row: &Row) -> DefenceRow {
        let measured = &row.measured;
        let rate = |(count, n): (u64, u64)| Rate::new(count, n);
        let placements = [Placement::Document, Placement::NearCopy, Placement::Passage];
        let by_placement = placements.map(|placement| PlacementRow {
            placement: placement.name().to_owned(),
            recited: rate(measured.recited(|one| one.copies > 1 && one.placement == placement)),
            copies_left: row.training.as_ref().and_then(|_| row.copies_left.get(&placement).copied()),
        });
        DefenceRow {
            name: row.defence.name().to_owned(),
            kind: format!("{:?}", row.defence.kind()).to_lowercase(),
            recited: rate(measured.recited(|one| one.copies > 1)),
            approximate: rate(measured.approximately_recited(|one| one.copies > 1)),
            recited_by_placement: by_placement.into_iter().filter(|one| one.recited.n > 0).collect(),
            exposure: ExposureFigure::of(measured, |one| one.copies > 1),
            best: measured.best().map(|(signal, found)| SeparationRow::new(signal.name(), &[FPR], &found)),
            loss: SeparationRow::new("loss", &[FPR], &measured.by_loss()),
            epsilon_shown: rounded(measured.epsilon.epsilon),
            epsilon_claimed: row
                .training
                .as_ref()
                .and_then(|training| Some(rounded(training.privacy.as_ref()?.epsilon?))),
            validation_nats: measured.validation_nats.map(rounded),
            training: row.training.as_ref().map(|training| TrainingRow {
                n_documents: training.n_documents,
                n_tokens: training.n_tokens,
                n_steps: training.n_steps,
                n_parameters: training.n_parameters,
            }),
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let recited =
            Measure::share(&format!("recited-share:{}", self.name), self.recited.count, self.recited.n);
        let area = self.best.as_ref().and_then(|row| Some((row, row.auc?))).map(|(row, auc)| {
            let n_trials = row.n[0].min(row.n[1]);
            Measure::number(
                &format!("membership-auc:{}", self.name),
                crate::measure::Unit::Share,
                Some(auc.value),
                n_trials,
            )
            .within(Some((auc.joint_low, auc.joint_high)))
        });
        std::iter::once(recited).chain(area).collect()
    }

    /// "8.0 (6.7–8.0)".
    pub fn exposure_text(&self) -> String {
        self.exposure.map_or_else(|| "–".to_owned(), ExposureFigure::text)
    }

    /// "min-k++ 0.998 (0.990–1.000)", the interval that holds for all signals together.
    pub fn best_text(&self) -> String {
        self.best.as_ref().map_or_else(
            || "–".to_owned(),
            |row| format!("{} {} ({})", row.name, row.auc_text(), row.joint_text()),
        )
    }

    /// The members that the best signal finds.
    pub fn tpr_text(&self) -> String {
        let point = self.best.as_ref().and_then(|row| row.at_fpr.first());
        point.map_or_else(|| "–".to_owned(), crate::infer::FprRow::text)
    }

    /// "2.741".
    pub fn validation_text(&self) -> String {
        self.validation_nats.map_or_else(|| "–".to_owned(), |nats| format!("{nats:.3}"))
    }
}

impl ExposureFigure {
    fn of(measured: &Measured, wanted: impl Fn(&Exposure) -> bool) -> Option<ExposureFigure> {
        measured.median_exposure(wanted).map(|(median, interval)| ExposureFigure {
            median: rounded(median),
            low: interval.map(|ends| rounded(ends.0)),
            high: interval.map(|ends| rounded(ends.1)),
        })
    }

    fn text(self) -> String {
        match self {
            ExposureFigure { median, low: Some(low), high: Some(high) } => {
                format!("{median:.1} ({low:.1}–{high:.1})")
            }
            ExposureFigure { median, .. } => format!("{median:.1}"),
        }
    }
}

/// One row for each number of copies.
fn copies_rows(measured: &Measured) -> Vec<CopiesRow> {
    let planted = measured.recitations.iter().filter(|one| !one.control);
    let copies: BTreeSet<u64> = planted.map(|one| one.copies).collect();
    let row = |copies| {
        let (count, n) = measured.recited(|one| one.copies == copies);
        let exposure = ExposureFigure::of(measured, |one| one.copies == copies);
        CopiesRow { copies, recited: Rate::new(count, n), exposure }
    };
    copies.into_iter().map(row).collect()
}

impl CopiesRow {
    /// "8.0 (6.7–8.0)".
    pub fn exposure_text(&self) -> String {
        self.exposure.map_or_else(|| "–".to_owned(), ExposureFigure::text)
    }
}

impl PlacementRow {
    /// The placement for people.
    pub fn words(&self) -> &str {
        placement_words(&self.placement)
    }
}

impl ClaimRow {
    fn new(claim: &Claim) -> ClaimRow {
        let verdict = match claim.verdict {
            Verdict::Supported => "supported",
            Verdict::Refuted => "refuted",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Untested => "untested",
        };
        ClaimRow {
            name: claim.name.to_owned(),
            statement: claim.statement.to_owned(),
            verdict: verdict.to_owned(),
            effect: claim.effect.to_owned(),
            value: claim.value.map(rounded),
            low: claim.low.map(rounded),
            high: claim.high.map(rounded),
            n: claim.n,
        }
    }

    /// "+0.833 (0.421 to 0.970), n = 6".
    pub fn effect_text(&self) -> String {
        match (self.value, self.low, self.high) {
            (Some(value), Some(low), Some(high)) => {
                format!("{value:+.3} ({low:.3} to {high:.3}), n = {}", self.n)
            }
            (Some(value), Some(_), None) => format!("at least {value:.3}, n = {}", self.n),
            _ => "–".to_owned(),
        }
    }
}

impl MomentRow {
    fn new(moment: &Moment) -> MomentRow {
        MomentRow {
            epoch: moment.epoch,
            member_nats: rounded(moment.nats[0]),
            non_member_nats: rounded(moment.nats[1]),
            auc: rounded(moment.auc),
            n_recited: moment.n_recited,
        }
    }
}

impl MemberSlice {
    fn new(slice: &SliceRow) -> MemberSlice {
        MemberSlice {
            by: slice.by.to_owned(),
            name: slice.name.clone().unwrap_or_else(|| (slice.number + 1).to_string()),
            n: slice.n,
            auc: rounded(slice.auc),
            low: rounded(slice.low),
            high: rounded(slice.high),
        }
    }

    /// "0.998 (0.990–1.000)".
    pub fn auc_text(&self) -> String {
        format!("{:.3} ({:.3}–{:.3})", self.auc, self.low, self.high)
    }
}

impl DetectorRow {
    fn new(detection: &Detection) -> DetectorRow {
        DetectorRow {
            detector: detection.detector.clone(),
            attack: detection.traffic.name().to_owned(),
            found: Rate::new(detection.detected.k, detection.detected.n),
            false_alarms: Rate::new(detection.false_alarms.k, detection.false_alarms.n),
        }
    }
}

fn guard_rows(judged: &Judged) -> Vec<GuardRow> {
    let refused = |guard: &str| {
        let found = judged.refused.iter().find(|(name, _)| name == guard);
        found.map_or_else(|| Rate::new(0, 0), |(_, counted)| Rate::new(counted.k, counted.n))
    };
    let row = |loss: &Loss| GuardRow {
        guard: loss.guard.clone(),
        attack: loss.traffic.name().to_owned(),
        lost: Rate::new(loss.lost.k, loss.lost.n),
        refused: refused(&loss.guard),
    };
    judged.losses.iter().map(row).collect()
}

/// Defences on one screen.
pub fn defend_text(body: &DefendBody) -> String {
    use Align::{Left, Right};
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push('\n');
    let mut table = Table::new([
        ("defence", Left),
        ("recited", Right),
        ("nearly", Right),
        ("exposure", Right),
        ("best AUC (95%, joint)", Right),
        ("found at FPR 1%", Right),
        ("held-out loss", Right),
    ]);
    for row in &body.rows {
        table.row([
            row.name.clone(),
            row.recited.fraction(),
            row.approximate.fraction(),
            row.exposure_text(),
            row.best_text(),
            row.tpr_text(),
            row.validation_text(),
        ]);
    }
    table.finish(&mut out);
    out.push('\n');
    let mut table = Table::new([("claim", Left), ("verdict", Left), ("effect (95% interval)", Right)]);
    for claim in &body.claims {
        table.row([claim.name.clone(), claim.verdict.clone(), claim.effect_text()]);
    }
    table.finish(&mut out);
    warnings(&body.warnings, &mut out);
    out
}
