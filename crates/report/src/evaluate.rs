//! How good a deduplication is, measured against labels.

use serde::Serialize;
use verbatim_dedup::{Evaluation, Part, Scores};

use crate::figure::{Rate, counted, grouped, percent, rounded};
use crate::provenance::Provenance;
use crate::report::Body;
use crate::terminal::{warnings, wrap};

/// How good a deduplication is. What each figure counts is said at [`Evaluation`].
///
/// Rates of documents and components have the interval of a sample of independent ones. Pairs of one cluster are
/// anything but independent, so shares of pairs have none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluateBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Labelled documents.
    pub n_documents: u64,
    /// Documents without a label, which are left out.
    pub n_unlabelled: u64,
    /// Pairs of one cluster.
    pub pairs: ScoreRow<Share>,
    /// Removals.
    pub removals: ScoreRow<Rate>,
    /// Removed documents that have a true copy.
    pub removed_with_copy: Rate,
    /// Documents whose cluster is exactly the set of their true copies.
    pub exact_sets: Rate,
    /// Duplicates as a class.
    pub duplicates: ScoreRow<Rate>,
    /// Non-duplicates as a class.
    pub non_duplicates: ScoreRow<Rate>,
    /// Mean of the F1 of both classes.
    pub macro_f1: Option<f64>,
    /// Agreement of clusters and components beyond chance.
    pub adjusted_rand_index: f64,
    /// Components that keep no document.
    pub lost_components: Rate,
    /// True pairs of copies that both stay.
    pub leaked_pairs: Share,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for EvaluateBody {
    const KIND: &'static str = "evaluate";
}

/// Precision, recall and F1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreRow<S> {
    /// Right decisions of those made.
    pub precision: S,
    /// Right decisions of those asked for.
    pub recall: S,
    /// Harmonic mean of both; none where one is of nothing.
    pub f1: Option<f64>,
}

/// `count` of `n`, without an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub n: u64,
    /// The quotient; none of nothing.
    pub share: Option<f64>,
}

impl From<Part> for Share {
    fn from(part: Part) -> Share {
        Share { count: part.part, n: part.whole, share: part.share().map(rounded) }
    }
}

impl From<Part> for Rate {
    fn from(part: Part) -> Rate {
        Rate::new(part.part, part.whole)
    }
}

impl<S: From<Part>> From<Scores> for ScoreRow<S> {
    fn from(scores: Scores) -> ScoreRow<S> {
        let f1 = scores.f1().map(rounded);
        ScoreRow { precision: scores.precision.into(), recall: scores.recall.into(), f1 }
    }
}

impl EvaluateBody {
    /// The body of an evaluation.
    pub fn new(
        provenance: Provenance,
        found: &Evaluation,
        n_unlabelled: u64,
        warnings: Vec<String>,
    ) -> EvaluateBody {
        EvaluateBody {
            provenance,
            n_documents: found.n_documents,
            n_unlabelled,
            pairs: found.pairs.into(),
            removals: found.removals.into(),
            removed_with_copy: found.removed_with_copy.into(),
            exact_sets: found.exact_sets.into(),
            duplicates: found.duplicates.into(),
            non_duplicates: found.non_duplicates.into(),
            macro_f1: found.macro_f1().map(rounded),
            adjusted_rand_index: rounded(found.adjusted_rand_index),
            lost_components: found.lost_components.into(),
            leaked_pairs: found.leaked_pairs.into(),
            warnings,
        }
    }

    /// The one sentence that says what was measured.
    pub fn headline(&self) -> String {
        let lost = counted(self.lost_components.count, "component", "components");
        let labelled = counted(self.n_documents, "labelled document", "labelled documents");
        match self.lost_components.count {
            0 => format!("Of {labelled}, no component of true copies is lost."),
            1 => format!("Of {labelled}, {lost} of true copies keeps no document."),
            _ => format!("Of {labelled}, {lost} of true copies keep no document."),
        }
    }
}

/// An evaluation on one screen.
pub fn evaluate_text(body: &EvaluateBody) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push('\n');
    out.push_str(&format!("  {:<18} {:<32} {:<32} {:>6}\n", "", "precision", "recall", "F1"));
    let share = |share: &Share| {
        let percent = share.share.map_or_else(|| "–".to_owned(), percent);
        format!("{percent} ({} of {})", grouped(share.count), grouped(share.n))
    };
    let rate = |rate: &Rate| format!("{} ({})", rate.percent(), rate.fraction());
    let pairs = [share(&body.pairs.precision), share(&body.pairs.recall)];
    let rows = [
        ("removals", &body.removals),
        ("duplicates", &body.duplicates),
        ("non-duplicates", &body.non_duplicates),
    ];
    let rows = rows.map(|(name, row)| (name, [rate(&row.precision), rate(&row.recall)], row.f1));
    for (name, [precision, recall], f1) in [("pairs", pairs, body.pairs.f1)].into_iter().chain(rows) {
        out.push_str(&format!("  {name:<18} {precision:<32} {recall:<32} {:>6}\n", figure(f1)));
    }
    out.push('\n');
    for (name, told) in [
        ("macro F1", figure(body.macro_f1)),
        ("adjusted Rand", figure(Some(body.adjusted_rand_index))),
        ("exact sets", with_interval(&body.exact_sets)),
        ("removed, with copy", with_interval(&body.removed_with_copy)),
        ("lost components", with_interval(&body.lost_components)),
        ("leaked pairs", share(&body.leaked_pairs)),
        ("without a label", counted(body.n_unlabelled, "document", "documents")),
    ] {
        out.push_str(&format!("  {name:<18} {told}\n"));
    }
    warnings(&body.warnings, &mut out);
    out
}

fn with_interval(rate: &Rate) -> String {
    format!("{} ({}), interval {}", rate.percent(), rate.fraction(), rate.interval())
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}
