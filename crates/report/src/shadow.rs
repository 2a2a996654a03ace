//! What attacks with shadow models came to: the table of membership inference, how far each attack is better than the loss alone,
//! what the shadow models say of single texts, and which tokens give a text away.

use serde::Serialize;
use verbatim_lab::ShadowRecord;
use verbatim_membership::PairedDifference;

use crate::figure::{counted, grouped, rounded};
use crate::infer::{InferBody, InferFacts, infer_text};
use crate::provenance::{FileUsed, Provenance};
use crate::report::Body;
use crate::terminal::{Align, Table, warnings, wrap};

/// What training shadow models came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowTrainBody {
    /// What it was computed from; the recipe is in its parameters.
    pub provenance: Provenance,
    /// Different texts, each of which half of the models saw.
    pub n_texts: u64,
    /// The models.
    pub models: Vec<ShadowRow>,
    /// Their files.
    pub files: Vec<FileUsed>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// One shadow model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShadowRow {
    /// Documents that it was trained on.
    pub n_documents: u64,
    /// The last training loss in nats a token.
    pub train_nats: f64,
}

impl Body for ShadowTrainBody {
    const KIND: &'static str = "shadow-train";
}

impl ShadowTrainBody {
    /// The body of an ensemble, with the files that were written.
    pub fn new(record: &ShadowRecord, provenance: Provenance, files: Vec<FileUsed>) -> ShadowTrainBody {
        let rows = record.n_documents.iter().zip(&record.train_loss);
        ShadowTrainBody {
            provenance,
            n_texts: record.n_texts,
            models: rows
                .map(|(n_documents, loss)| ShadowRow {
                    n_documents: *n_documents,
                    train_nats: rounded(*loss),
                })
                .collect(),
            files,
            warnings: Vec::new(),
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let losses = self.models.iter().map(|row| row.train_nats);
        let (low, high) = losses
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| (low.min(loss), high.max(loss)));
        format!(
            "{} on halves of {}: losses of {low:.3} to {high:.3} nats a token.",
            counted(self.models.len() as u64, "shadow model", "shadow models"),
            counted(self.n_texts, "text", "texts")
        )
    }
}

/// Shadow models on one screen.
pub fn shadow_train_text(body: &ShadowTrainBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    warnings(&body.warnings, &mut out);
    out
}

/// What attacks with shadow models came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowBody {
    /// The attacks, in the place of the signals of membership inference.
    #[serde(flatten)]
    pub inference: InferBody,
    /// Shadow models.
    pub n_shadows: u64,
    /// How far each attack is better than the loss alone.
    pub beside_loss: Vec<BesideLossRow>,
    /// What the shadow models say of the texts, whoever the target is.
    pub memorization: Memorization,
    /// The texts that the target gives away most, token by token.
    pub heat: Vec<HeatRow>,
}

impl Body for ShadowBody {
    const KIND: &'static str = "shadow";
}

/// How far an attack is better than the loss alone, on the same texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BesideLossRow {
    /// The attack.
    pub name: String,
    /// `auc`, or `tpr-at-` and the FPR.
    pub metric: String,
    /// The attack's.
    pub value: f64,
    /// That of the loss.
    pub loss: f64,
    /// The first less the second.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

impl BesideLossRow {
    /// The row of a difference.
    pub fn new(name: &str, metric: String, found: &PairedDifference) -> BesideLossRow {
        BesideLossRow {
            name: name.to_owned(),
            metric,
            value: rounded(found.first),
            loss: rounded(found.second),
            difference: rounded(found.difference),
            low: rounded(found.interval.low),
            high: rounded(found.interval.high),
        }
    }

    /// "+0.120 (0.081–0.164)".
    pub fn text(&self) -> String {
        format!("{:+.3} ({:.3} to {:.3})", self.difference, self.low, self.high)
    }
}

/// Counterfactual memorization: the mean probability of a text's tokens under models that saw it less that under models that
/// did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memorization {
    /// Texts of which there are models of both kinds.
    pub n_texts: u64,
    /// The mean over them.
    pub mean: Option<f64>,
    /// Their median.
    pub median: Option<f64>,
    /// Those with the most, the most first.
    pub most: Vec<MemorizedRow>,
}

/// A text and its counterfactual memorization.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemorizedRow {
    /// The document.
    pub id: String,
    /// Its counterfactual memorization.
    pub value: f64,
    /// Whether the target saw it.
    pub is_member: bool,
}

/// What each token of a text gives away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatRow {
    /// The document.
    pub id: String,
    /// Whether the target saw it.
    pub is_member: bool,
    /// Its tokens, in order.
    pub tokens: Vec<HeatToken>,
}

/// What a token gives away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatToken {
    /// The token's text, where texts are revealed.
    pub text: Option<String>,
    /// How much likelier it has become than under a shadow model without the text, in nats, and how far the two distributions
    /// are apart there (InfoRMIA).
    pub nats: f64,
}

impl HeatToken {
    /// What is shown of it.
    pub fn shown(&self) -> &str {
        self.text.as_deref().unwrap_or("▪")
    }

    /// How strong its colour is, 0 to 100: full from 5 nats on.
    pub fn strength(&self) -> u8 {
        (self.nats.clamp(0.0, 5.0) * 20.0) as u8
    }
}

/// What a report of attacks with shadow models is made of, besides the table.
#[derive(Debug)]
pub struct ShadowFacts {
    /// The table.
    pub inference: InferFacts,
    /// Shadow models.
    pub n_shadows: u64,
    /// How far each attack is better than the loss alone.
    pub beside_loss: Vec<BesideLossRow>,
    /// The document, counterfactual memorization and membership of each text that has it.
    pub memorization: Vec<(String, f64, bool)>,
    /// The texts that the target gives away most.
    pub heat: Vec<HeatRow>,
}

/// Texts that are named as the most memorized.
const N_MOST: usize = 10;

impl ShadowBody {
    /// The report.
    pub fn new(facts: ShadowFacts) -> ShadowBody {
        let ShadowFacts { inference, n_shadows, beside_loss, mut memorization, heat } = facts;
        memorization.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let n = memorization.len();
        let middle = |at: usize| memorization.get(at).map(|row| row.1);
        let mean = memorization.iter().map(|row| row.1).sum::<f64>() / n as f64;
        let median = middle(n / 2).zip(middle(n.saturating_sub(1) / 2));
        let most = memorization.iter().take(N_MOST).map(|(id, value, is_member)| MemorizedRow {
            id: id.clone(),
            value: rounded(*value),
            is_member: *is_member,
        });
        ShadowBody {
            inference: InferBody::new(inference),
            n_shadows,
            beside_loss,
            memorization: Memorization {
                n_texts: n as u64,
                mean: (n > 0).then(|| rounded(mean)),
                median: median.map(|(one, other)| rounded(f64::midpoint(one, other))),
                most: most.collect(),
            },
            heat,
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        self.inference.headline()
    }
}

/// Attacks with shadow models on one screen.
pub fn shadow_text(body: &ShadowBody) -> String {
    use Align::{Left, Right};
    let mut out = infer_text(&body.inference);
    let mut table = Table::of(vec![
        (format!("beside the loss alone, {} shadow models", grouped(body.n_shadows)), Left),
        ("metric".to_owned(), Left),
        ("difference (95% interval)".to_owned(), Right),
    ]);
    for row in &body.beside_loss {
        table.cells(vec![row.name.clone(), row.metric.clone(), row.text()]);
    }
    out.push('\n');
    table.finish(&mut out);
    out
}

/// The base of all pages asks a result for its provenance.
impl std::ops::Deref for ShadowBody {
    type Target = InferBody;

    fn deref(&self) -> &InferBody {
        &self.inference
    }
}
