//! A made-up exposure of canaries.

use crate::exposure::{ControlRow, ExposedRow, ExposureRow, ExposureTable};

pub(crate) fn exposure() -> ExposureTable {
    let row = |shape: &str, copies, median: f64| ExposureRow {
        shape: shape.into(),
        copies,
        n: 6,
        n_saturated: if median < 10.0 { 0 } else { 4 },
        lower_quartile: Some(median - 0.5),
        median: Some(median),
        upper_quartile: Some(median + 0.5),
        median_low: Some(median - 1.0),
        median_high: Some(median + 1.0),
        extrapolated_median: Some(2.0 * median),
        n_extrapolated: 5,
    };
    let control = |shape: &str, n| ControlRow {
        shape: shape.into(),
        n,
        mean: Some(1.51),
        chance_low: Some(0.92),
        chance_high: Some(2.07),
        at_chance: Some(true),
    };
    let canary = ExposedRow {
        id: "document-64-1".into(),
        shape: "pii".into(),
        placement: "document".into(),
        copies: 64,
        n_alike: 36,
        space_bits: 39.863137,
        n_references: 1023,
        rank: Some(1),
        bits: Some(10.0),
        low: Some(8.116201),
        high: Some(39.863137),
        saturated: true,
        extrapolated_bits: Some(22.7),
        cause: Some("a cause".into()),
    };
    ExposureTable {
        level: 0.95,
        rows: vec![row("random", 1, 1.5), row("random", 64, 10.0), row("pii", 64, 9.1)],
        controls: vec![control("random", 12), control("pii", 12), control("all", 24)],
        canaries: vec![canary],
    }
}
