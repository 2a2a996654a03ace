//! A made-up audit.

use verbatim_extraction::{TextOrder, Try};

use crate::audit::{
    AuditBody, DecodedTable, DecodingTable, DoublingRow, DrawsRow, LengthRow, NearRow, NearTable,
    ScalingTable, Slope, StripPoint, TargetRow, TextRow,
};
use crate::figure::{LEVEL, Rate};
use crate::measure::Measure;
use crate::order::OrderTable;
use crate::redact::Reveal;

const N_DRAWS: [u64; 3] = [1, 100, 10_000];

/// An audit of a model that recites what stands often in its corpus.
pub(crate) fn audit_body(reveal: Reveal) -> AuditBody {
    let rate = |count| Rate::new(count, 300);
    let row = |from: u64, count, n| DoublingRow { from, to: 2 * from - 1, extracted: Rate::new(count, n) };
    let slope = |per_doubling| Slope {
        per_doubling,
        low: per_doubling - 0.01,
        high: per_doubling + 0.01,
        level: LEVEL,
    };
    AuditBody {
        provenance: super::provenance(),
        n_prefix: 50,
        n_suffix: 50,
        n_looked_at: 341,
        n_too_short: 41,
        n_uniform: 300,
        n_stratum: 88,
        n_chosen: 120,
        n_failed: 1,
        extracted: rate(21),
        unique: Some(Rate::new(20, 280)),
        ambiguous: Some(Rate::new(1, 20)),
        cells: [(50, 50, 21), (100, 50, 27)]
            .map(|(n_prefix, n_suffix, count)| LengthRow {
                n_prefix,
                n_suffix,
                extracted: rate(count),
                n_near_ties: 2,
                loss_nats: Some(2.4),
            })
            .to_vec(),
        probabilities: vec![0.1, 0.5, 0.9],
        decodings: [("temperature 1, top-k 40", 30), ("temperature 1", 11)]
            .map(|(name, shift)| DecodingTable { name: name.to_owned(), rows: draws(shift) })
            .to_vec(),
        scalings: vec![
            ScalingTable {
                by: "copies in the corpus".to_owned(),
                rows: vec![row(1, 3, 240), row(2, 4, 40), row(4, 9, 40), row(16, 20, 40), row(64, 26, 28)],
                slope: Some(slope(0.141)),
            },
            ScalingTable {
                by: "bytes of the document".to_owned(),
                rows: vec![row(512, 9, 190)],
                slope: None,
            },
        ],
        decoded: Some(decoded()),
        near: Some(near()),
        order: Some(order()),
        texts: texts(),
        findings: (0..8).map(|number| finding(number, reveal)).collect(),
        measures: vec![Measure::share("extraction-rate", 21, 300).proven_by("findings")],
        warnings: vec!["3 bad records left out: a.jsonl:7 byte 0".to_owned()],
    }
}

fn draws(shift: u64) -> Vec<DrawsRow> {
    let counts =
        |place: u64| [20, 10, 0].iter().map(|more| Rate::new(shift + 12 * place + more, 300)).collect();
    (0..).zip(N_DRAWS).map(|(place, n_draws)| DrawsRow { n_draws, extracted: counts(place) }).collect()
}

/// An order that finds 30 of 39 extractions among the first of 300 texts, and the others by and by.
fn order() -> OrderTable {
    let is_extracted =
        |place: u64| (place < 35 && place % 7 != 6) || (place > 100 && place.is_multiple_of(20));
    let tries: Vec<Try> =
        (0..300).map(|place| Try { n_queries: 2, is_extracted: is_extracted(place) }).collect();
    let order = TextOrder { texts: Vec::new(), n_unjudged: 1, n_repeated: 2, fingerprint: String::new() };
    OrderTable::new(&tries, 0, &order)
}

fn texts() -> Vec<TextRow> {
    let strip = |place: u64| StripPoint {
        byte: 40 * place,
        end: 40 * (place + 1),
        log_drawn: (place % 9 != 4).then(|| -0.3 * (place * place % 97) as f64),
        extracted: place % 17 < 3,
    };
    let text = |label: &str, n, strip: Vec<StripPoint>| TextRow {
        label: label.to_owned(),
        extracted: Rate::new(n / 6, n),
        n_failed: 0,
        loss_nats: Some(2.135),
        first_choices: Some(0.61),
        n_occurrences: Some(3),
        n_bytes: 40 * strip.len() as u64,
        strip,
    };
    vec![text("book.txt", 120, (0..120).map(strip).collect()), text("line 2", 1, Vec::new())]
}

fn finding(number: u64, reveal: Reveal) -> TargetRow {
    TargetRow {
        label: format!("corpus.jsonl:{}", 7 + 31 * number),
        byte: 120 * number,
        text: super::redactor(reveal).show("suffix", &format!(" in the year {number} the keeper wrote")),
        extracted: number < 4,
        log_drawn: Some(-0.4 - 2.5 * number as f64),
        draws_needed: (number < 7).then(|| 2f64.powi(3 * number as i32)),
        n_occurrences: Some(64 >> number),
        n_documents: Some(64 >> number),
    }
}

fn decoded() -> DecodedTable {
    DecodedTable {
        exact: Rate::new(7, 100),
        approximate: Rate::new(12, 100),
        mean_equal: 0.21,
        mean_bleu: 0.13,
        mean_rouge_l: 0.31,
        n_disagree: 1,
        n_disagree_near_ties: 1,
    }
}

fn near() -> NearTable {
    NearTable {
        what: "at most 5 tokens replaced, inserted or left out, drawn at temperature 1, top-k 40".to_owned(),
        rows: (1..)
            .zip(N_DRAWS)
            .map(|(place, n_draws)| NearRow {
                n_draws,
                verbatim: Rate::new(place, 20),
                near: Rate::new(2 * place, 20),
            })
            .collect(),
    }
}
