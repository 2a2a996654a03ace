//! Why a document was removed or kept: its cluster, the comparison with the kept document, and on request the texts.

use serde::Serialize;
use verbatim_dedup::{Differences, Granularity, Overlap, Piece, Removal};

use crate::columns::{Cell, side_by_side};
use crate::figure::{counted, grouped};
use crate::provenance::Provenance;
use crate::redact::Reveal;
use crate::report::Body;
use crate::terminal::{shortened, warnings, wrap};

/// Places of differences that a report lists.
const N_LISTED: usize = 1000;
/// Places of differences, and documents, that one screen shows.
const N_SHOWN: usize = 10;

/// Why a document was removed or kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// The document.
    pub document: DocumentRow,
    /// Why it goes, if it does.
    pub removal: Option<RemovalRow>,
    /// Documents in its cluster, itself included.
    pub cluster_size: u64,
    /// The field that the exact stage compared instead of the text, if any.
    pub exact_key: Option<String>,
    /// Whether all documents of a cluster go (`--keep none`).
    pub nothing_is_kept: bool,
    /// The documents that go for it.
    pub goes_for_it: Vec<GoneRow>,
    /// The document beside the kept one, if it goes.
    pub comparison: Option<ComparisonBody>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for ExplainBody {
    const KIND: &'static str = "explain";
}

/// A document, told without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DocumentRow {
    /// Its id, or `file:line`.
    pub id: String,
    /// Its file.
    pub path: String,
    /// Its line or row.
    pub line: u64,
    /// Length of its text in bytes.
    pub n_bytes: u64,
    /// Length of its text in characters.
    pub n_chars: u64,
}

/// Why a document goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemovalRow {
    /// The stage that found it.
    pub stage: String,
    /// Its similarity to the kept document.
    pub similarity: f64,
    /// The document that is kept for it.
    pub kept: DocumentRow,
}

/// A document that goes for a kept one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoneRow {
    /// The stage that found it.
    pub stage: String,
    /// Its similarity to the kept document.
    pub similarity: f64,
    /// The document that goes.
    pub document: DocumentRow,
}

impl GoneRow {
    /// A removal with its document.
    pub fn new(removal: &Removal, document: DocumentRow) -> GoneRow {
        GoneRow { stage: removal.stage.to_string(), similarity: removal.similarity, document }
    }
}

/// How the removed and the kept document differ. Positions count characters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonBody {
    /// Shingles of both, recomputed with the plan's parameters; none where the plan has no near-copy stage, or one of
    /// tokens without its tokenizer.
    pub shingles: Option<ShingleCounts>,
    /// `word`, `line` or `text`: what was compared.
    pub granularity: &'static str,
    /// Places where the texts differ.
    pub n_differences: u64,
    /// The first of these places.
    pub differences: Vec<DifferenceRow>,
    /// Both texts in pieces, in order: only where the person asked to reveal them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Vec<PieceRow>>,
}

/// Shingles that two documents share or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShingleCounts {
    /// In both.
    pub shared: u64,
    /// In the removed document only.
    pub only_removed: u64,
    /// In the kept document only.
    pub only_kept: u64,
}

/// A place where two texts differ: the characters from `start` to `end`, which is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceRow {
    /// First character in the removed document.
    pub removed_start: u64,
    /// End in the removed document.
    pub removed_end: u64,
    /// First character in the kept document.
    pub kept_start: u64,
    /// End in the kept document.
    pub kept_end: u64,
}

/// A piece of both texts.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PieceRow {
    /// Of the removed document.
    pub removed: String,
    /// Of the kept document.
    pub kept: String,
    /// True if the two are the same but for white space.
    pub is_equal: bool,
}

impl std::fmt::Debug for PieceRow {
    /// Leaves the texts out: a log line must never carry them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PieceRow").field("is_equal", &self.is_equal).finish_non_exhaustive()
    }
}

impl ComparisonBody {
    /// The comparison of a removed and a kept text.
    pub fn new(
        (removed, kept): (&str, &str),
        found: &Differences,
        overlap: Option<Overlap>,
        reveal: Reveal,
    ) -> ComparisonBody {
        let places = places((removed, kept), &found.pieces);
        let piece = |piece: &Piece| PieceRow {
            removed: removed[piece.first.clone()].to_owned(),
            kept: kept[piece.second.clone()].to_owned(),
            is_equal: piece.is_equal,
        };
        ComparisonBody {
            shingles: overlap.map(|overlap| ShingleCounts {
                shared: overlap.shared,
                only_removed: overlap.only_first,
                only_kept: overlap.only_second,
            }),
            granularity: match found.granularity {
                Granularity::Word => "word",
                Granularity::Line => "line",
                Granularity::Text => "text",
            },
            n_differences: places.len() as u64,
            differences: places.into_iter().take(N_LISTED).collect(),
            pieces: (reveal == Reveal::Revealed).then(|| found.pieces.iter().map(piece).collect()),
        }
    }
}

/// The differing pieces, in characters.
fn places((removed, kept): (&str, &str), pieces: &[Piece]) -> Vec<DifferenceRow> {
    let (mut removed_at, mut kept_at) = (0, 0);
    let mut places = Vec::new();
    for piece in pieces {
        let removed_start = removed_at;
        let kept_start = kept_at;
        removed_at += removed[piece.first.clone()].chars().count() as u64;
        kept_at += kept[piece.second.clone()].chars().count() as u64;
        if !piece.is_equal {
            places.push(DifferenceRow {
                removed_start,
                removed_end: removed_at,
                kept_start,
                kept_end: kept_at,
            });
        }
    }
    places
}

impl ExplainBody {
    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let stays = if self.nothing_is_kept { "which goes as well" } else { "which is kept" };
        let compared = self.exact_key.as_ref().map_or("text".to_owned(), |key| format!("field `{key}`"));
        match &self.removal {
            Some(removal) if removal.stage == "empty" => "Removed: its text is empty.".to_owned(),
            Some(removal) if self.nothing_is_kept && removal.kept == self.document => {
                let copies = counted(self.cluster_size.saturating_sub(1), "copy", "copies");
                format!("Removed: it has {copies}, and nothing of the cluster is kept.")
            }
            Some(removal) if removal.stage == "exact" => {
                format!("Removed: its {compared} equals that of {}, {stays}.", removal.kept.id)
            }
            Some(removal) => format!(
                "Removed by the {} stage: similarity {} to {}, {stays}.",
                removal.stage, removal.similarity, removal.kept.id
            ),
            None if self.goes_for_it.is_empty() => {
                "Kept: no other document was found to be a copy of it.".to_owned()
            }
            None => {
                let n = self.goes_for_it.len() as u64;
                format!("Kept: {} for it.", counted(n, "document goes", "documents go"))
            }
        }
    }
}

/// An explanation on a screen of so many columns.
pub fn explain_text(body: &ExplainBody, columns: usize) -> String {
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    out.push('\n');
    let mut documents = vec![("document", &body.document)];
    documents.extend(body.removal.iter().map(|removal| ("kept", &removal.kept)));
    for (role, row) in documents {
        wrap(&format!("{role:<9} {}", document_words(row)), &mut out);
    }
    out.push_str(&format!("cluster   {}\n", counted(body.cluster_size, "document", "documents")));
    if let Some(comparison) = &body.comparison {
        comparison_text(comparison, columns, &mut out);
    }
    if !body.goes_for_it.is_empty() {
        out.push_str("\nDocuments that go for it\n");
    }
    for row in body.goes_for_it.iter().take(N_SHOWN) {
        wrap(&format!("{:<9} {:<11} {}", row.stage, row.similarity, document_words(&row.document)), &mut out);
    }
    if body.goes_for_it.len() > N_SHOWN {
        out.push_str(&format!(
            "and {} more; --json lists all\n",
            grouped((body.goes_for_it.len() - N_SHOWN) as u64)
        ));
    }
    warnings(&body.warnings, &mut out);
    out
}

fn document_words(row: &DocumentRow) -> String {
    let place = format!("{}:{}", row.path, row.line);
    let (n_chars, n_bytes) = (grouped(row.n_chars), grouped(row.n_bytes));
    format!("{} at {place}, {n_chars} characters, {n_bytes} bytes", shortened(&row.id, 80))
}

fn comparison_text(comparison: &ComparisonBody, columns: usize, out: &mut String) {
    if let Some(ShingleCounts { shared, only_removed, only_kept }) = comparison.shingles {
        let [shared, only_removed, only_kept] = [shared, only_removed, only_kept].map(grouped);
        out.push_str(&format!(
            "shingles  {shared} in both, {only_removed} only in the removed document, {only_kept} only in the kept one\n"
        ));
    }
    let n = comparison.n_differences;
    let by = match comparison.granularity {
        "word" => "words",
        "line" => "lines (too long to be compared by words)",
        _ => "the whole between their common beginning and end (too long to be compared by lines)",
    };
    out.push_str(&format!(
        "texts     {} by {by}; white space is not compared\n",
        counted(n, "difference", "differences")
    ));
    if let Some(pieces) = &comparison.pieces {
        let cells = pieces.iter().map(|piece| Cell {
            left: &piece.removed,
            right: &piece.kept,
            is_equal: piece.is_equal,
        });
        out.push('\n');
        side_by_side(("removed", "kept"), cells, columns, out);
        return;
    }
    for row in comparison.differences.iter().take(N_SHOWN) {
        out.push_str(&format!(
            "  characters {}-{} of the removed document, {}-{} of the kept one\n",
            row.removed_start, row.removed_end, row.kept_start, row.kept_end
        ));
    }
    if n > N_SHOWN as u64 {
        out.push_str(&format!("  and {} more; --json lists them\n", grouped(n - N_SHOWN as u64)));
    }
    out.push_str("The texts are shown with --reveal.\n");
}
