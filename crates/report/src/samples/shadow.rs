//! Made-up reports of shadow models.

use super::{infer_facts, provenance, run};
use crate::provenance::FileUsed;
use crate::report::Report;
use crate::shadow::{BesideLossRow, HeatRow, HeatToken, ShadowBody, ShadowFacts, ShadowRow, ShadowTrainBody};

fn beside(name: &str, difference: f64) -> BesideLossRow {
    BesideLossRow {
        name: name.to_owned(),
        metric: "tpr-at-0.01".to_owned(),
        value: 0.05 + difference,
        loss: 0.05,
        difference,
        low: difference - 0.03,
        high: difference + 0.04,
    }
}

pub(crate) fn shadow() -> Report<ShadowBody> {
    let token = |(text, nats): (&str, f64)| HeatToken { text: Some(text.to_owned()), nats };
    let tokens = [("The", -0.2), (" warden", 1.4), (" of", 0.1), (" the", 0.0), (" mill", 6.3), (".", 0.4)];
    let facts = ShadowFacts {
        inference: infer_facts(),
        n_shadows: 16,
        beside_loss: vec![beside("lira-online", 0.21), beside("classifier", 0.01)],
        memorization: (0..40).map(|i| (format!("d{i:03}"), 0.01 * f64::from(i), i % 2 == 0)).collect(),
        heat: vec![HeatRow { id: "d039".to_owned(), is_member: false, tokens: tokens.map(token).into() }],
    };
    Report::new(ShadowBody::new(facts), run(2))
}

pub(crate) fn shadow_train() -> Report<ShadowTrainBody> {
    let models = (0..16).map(|i| ShadowRow { n_documents: 500 + i, train_nats: 1.5 + 0.01 * i as f64 });
    let body = ShadowTrainBody {
        provenance: provenance(),
        n_texts: 1_016,
        models: models.collect(),
        files: vec![FileUsed { name: "shadow.json".to_owned(), sha256: "ab".repeat(32), n_bytes: 1_234 }],
        warnings: vec![],
    };
    Report::new(body, run(2))
}
