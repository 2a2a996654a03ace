//! A made-up report of membership inference.

use verbatim_membership::{AuditedEpsilon, Confidence, judge, separation};

use super::{model, provenance};
use crate::calls::{CallsBody, CallsFacts};
use crate::figure::LEVEL;
use crate::infer::{DatasetRow, InferFacts, SeparationRow, ShotsRow};

/// What is asked for.
pub(crate) const FPRS: [f64; 3] = [0.1, 0.01, 0.001];

/// Scores from 0 to 1 in an order that looks like chance, and the members' higher by `shift`.
fn row(name: &str, shift: f64) -> SeparationRow {
    let of = |from: u64, shift: f64| -> Vec<Option<f64>> {
        (from..from + 240).map(|i| Some((i * 7919 % 1009) as f64 / 1009.0 + shift)).collect()
    };
    let (members, others) = (of(0, shift), of(5000, 0.0));
    let confidence = Confidence { level: LEVEL, n_together: 3 };
    SeparationRow::new(name, &FPRS, &separation(&members, &others, &FPRS, confidence))
}

/// One signal that tells nothing, one that tells much.
pub(crate) fn infer_facts() -> InferFacts {
    InferFacts {
        provenance: provenance().model(model("asked")),
        n: [240, 240],
        signals: vec![row("loss", 0.0), row("min-k++", 0.6)],
        blind: vec![row("bag of words", -0.01), row("length", 0.01)],
        control: vec![row("loss", 0.0), row("min-k++", 0.0)],
        epsilon: AuditedEpsilon {
            epsilon: 1.7514,
            signal: Some(1),
            n_signals: 2,
            n: [120, 120],
            level: LEVEL,
        },
        dataset: Some(DatasetRow { p_value: 1.2e-9, control_p_value: Some(0.41), n_tested: [120, 120] }),
        shots: Some(ShotsRow { recall: 12, con_recall: [10, 10] }),
        warnings: vec![],
    }
}

/// Texts of which a part scores above all of the calibration.
pub(crate) fn calls() -> CallsBody {
    let of = |from: u64, shift: f64| -> Vec<Option<f64>> {
        (from..from + 240).map(|i| Some((i * 7919 % 1009) as f64 / 1009.0 + shift)).collect()
    };
    let mut texts = [of(0, 0.0), of(400, 0.6)].concat();
    texts[7] = None;
    let judged = judge(&texts, &of(5000, 0.0), 0.01).expect("240 are enough for 1%");
    CallsBody::new(CallsFacts {
        provenance: provenance().model(model("asked")),
        signal: "loss",
        judged: &judged,
        blind: vec![row("bag of words", -0.01), row("length", 0.01)],
        n_shared: 2,
        warnings: vec![],
    })
}
