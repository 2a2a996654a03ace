//! A made-up report of defences.

use super::{infer_facts, provenance, run};
use crate::defend::{
    ClaimRow, CopiesRow, DefenceRow, DefendBody, DetectorRow, ExposureFigure, GuardRow, MemberSlice,
    MomentRow, PlacementRow, TrainingRow,
};
use crate::figure::Rate;
use crate::measure::Measure;
use crate::report::Report;

fn row(name: &str, kind: &str, n_recited: u64) -> DefenceRow {
    let [loss, best] = [0, 1].map(|at| infer_facts().signals[at].clone());
    let is_trained = kind != "serving";
    let placement = |placement: &str| PlacementRow {
        placement: placement.to_owned(),
        recited: Rate::new(n_recited / 3, 6),
        copies_left: is_trained.then_some(16 * n_recited),
    };
    DefenceRow {
        name: name.to_owned(),
        kind: kind.to_owned(),
        recited: Rate::new(n_recited, 18),
        approximate: Rate::new(n_recited, 18),
        recited_by_placement: ["document", "near-copy", "passage"].map(placement).into(),
        exposure: Some(ExposureFigure { median: 6.7, low: Some(5.1), high: Some(6.7) }),
        best: Some(best),
        loss,
        epsilon_shown: 1.2,
        epsilon_claimed: (name == "dp-sgd").then_some(1.0),
        validation_nats: Some(3.21),
        training: is_trained.then_some(TrainingRow {
            n_documents: 520,
            n_tokens: 51_000,
            n_steps: 300,
            n_parameters: 875_264,
        }),
    }
}

fn claim(name: &str, verdict: &str, low: Option<f64>, high: Option<f64>) -> ClaimRow {
    ClaimRow {
        name: name.to_owned(),
        statement: "Something lowers something else".to_owned(),
        verdict: verdict.to_owned(),
        effect: "share of secrets less".to_owned(),
        value: low.map(|low| low + 0.1),
        low,
        high,
        n: 18,
    }
}

pub(crate) fn defend() -> Report<DefendBody> {
    let moment = |epoch: u64| MomentRow {
        epoch,
        member_nats: 5.0 / epoch as f64,
        non_member_nats: 3.0,
        auc: 0.5 + 0.04 * epoch as f64,
        n_recited: epoch,
    };
    let body = DefendBody {
        provenance: provenance(),
        measures: vec![Measure::share("recited-share:none", 17, 18)],
        n_members: 170,
        n_non_members: 184,
        epsilon: 1.0,
        rows: vec![
            row("none", "baseline", 17),
            row("dedup-exact", "data", 12),
            row("dp-sgd", "training", 0),
            row("rounded", "serving", 17),
        ],
        claims: vec![
            claim("dedup-exact", "supported", Some(0.4), Some(0.9)),
            claim("broken-privacy-is-caught", "inconclusive", Some(0.9), None),
            claim("true-profiles-rank-first", "untested", None, None),
        ],
        moments: (1..=12).map(moment).collect(),
        slices: vec![MemberSlice {
            by: "rarity".into(),
            name: "1".into(),
            n: [57, 60],
            auc: 0.9,
            low: 0.8,
            high: 0.95,
        }],
        copies: vec![CopiesRow { copies: 16, recited: Rate::new(17, 18), exposure: None }],
        detectors: vec![DetectorRow {
            detector: "prefix probing".into(),
            attack: "prefix-extraction".into(),
            found: Rate::new(20, 20),
            false_alarms: Rate::new(1, 120),
        }],
        guards: vec![GuardRow {
            guard: "rate limit".into(),
            attack: "canary-completion".into(),
            lost: Rate::new(9, 18),
            refused: Rate::new(0, 120),
        }],
        warnings: vec![],
    };
    Report::new(body, run(2))
}
