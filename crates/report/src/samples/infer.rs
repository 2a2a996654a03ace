//! A made-up report of membership inference.

use verbatim_membership::{Confidence, separation};

use super::{model, provenance};
use crate::figure::LEVEL;
use crate::infer::{InferFacts, SeparationRow};

const FPRS: [f64; 3] = [0.1, 0.01, 0.001];

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
        warnings: vec![],
    }
}
