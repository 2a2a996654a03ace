//! How exposed planted canaries are, in bits, and what the never-planted ones say of the measurement.

use serde::Serialize;
use verbatim_extraction::{
    ControlCheck, Exposure, ExposureGroup, NoExposure, Placement, Recitation, summarize_exposure,
};
use verbatim_membership::NoFit;

use crate::figure::{LEVEL, grouped, rounded};
use crate::terminal::{Align, Table, wrap};

/// Exposure of the canaries of a ledger (Carlini et al. 2019).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposureTable {
    /// Level of every interval.
    pub level: f64,
    /// One row for each shape and number of copies.
    pub rows: Vec<ExposureRow>,
    /// The controls of each shape, and all of them.
    pub controls: Vec<ControlRow>,
    /// Each canary, in the order of the ledger.
    pub canaries: Vec<ExposedRow>,
}

/// Planted canaries of one shape, planted equally often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposureRow {
    /// What the secrets look like.
    pub shape: String,
    /// Copies of each.
    pub copies: u64,
    /// Canaries that have an exposure.
    pub n: u64,
    /// Those that rank before every reference: their exposure is at least what stands there.
    pub n_saturated: u64,
    /// A quarter of the canaries is below, in bits.
    pub lower_quartile: Option<f64>,
    /// The median, in bits.
    pub median: Option<f64>,
    /// A quarter of the canaries is above, in bits.
    pub upper_quartile: Option<f64>,
    /// Lower end of the interval of the median; none from fewer than six canaries.
    pub median_low: Option<f64>,
    /// Upper end of it.
    pub median_high: Option<f64>,
    /// Median of the extrapolated exposure, in bits.
    pub extrapolated_median: Option<f64>,
    /// Canaries that have one.
    pub n_extrapolated: u64,
}

/// Controls of one shape, or all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlRow {
    /// What the secrets look like, or `all`.
    pub shape: String,
    /// Controls that have an exposure.
    pub n: u64,
    /// Their mean exposure, in bits.
    pub mean: Option<f64>,
    /// Lower end of where it stands when they rank anywhere among their references.
    pub chance_low: Option<f64>,
    /// Upper end of it.
    pub chance_high: Option<f64>,
    /// Whether it stands there; none without controls.
    pub at_chance: Option<bool>,
}

/// The exposure of one canary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedRow {
    /// Its name in the ledger.
    pub id: String,
    /// What its secret looks like.
    pub shape: String,
    /// How the copies stand in the corpus.
    pub placement: String,
    /// Copies of it; 0 for a control.
    pub copies: u64,
    /// Secrets that its format was read off; 1 when its own characters told it.
    pub n_alike: u64,
    /// log2 of the number of texts of that format: no exposure is above it.
    pub space_bits: f64,
    /// References that it was compared with.
    pub n_references: u64,
    /// Its place among them, 1 for the first; a reference that is as likely goes first.
    pub rank: Option<u64>,
    /// Its exposure by that.
    pub bits: Option<f64>,
    /// Lower end of the interval that comes from the sampling of references.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Whether it ranks first, so that more references could only raise the exposure.
    pub saturated: bool,
    /// Its exposure by the skew-normal distribution that fits the references.
    pub extrapolated_bits: Option<f64>,
    /// Why something is missing.
    pub cause: Option<String>,
}

impl ExposureTable {
    /// The table of an audit; both lists are about the same canaries in the same order.
    pub fn new(exposures: &[Exposure], recitations: &[Recitation]) -> ExposureTable {
        let summary = summarize_exposure(exposures, LEVEL);
        let by_shape = summary.controls.iter().map(|(shape, check)| control_row(shape.name(), check));
        ExposureTable {
            level: LEVEL,
            rows: summary.groups.iter().map(row).collect(),
            controls: by_shape.chain([control_row("all", &summary.all_controls)]).collect(),
            canaries: exposures
                .iter()
                .zip(recitations)
                .map(|(one, other)| exposed(one, other.placement))
                .collect(),
        }
    }

    /// What the controls say, in words.
    pub fn verdict(&self) -> String {
        let Some(ControlRow {
            n,
            mean: Some(mean),
            chance_low: Some(low),
            chance_high: Some(high),
            at_chance,
            ..
        }) = self.controls.last()
        else {
            return "There are no controls, so nothing says whether the references are fair.".to_owned();
        };
        let stand = format!(
            "The {} never-planted controls have a mean exposure of {mean:.2} bits; secrets that rank anywhere have \
             {low:.2} to {high:.2}",
            grouped(*n)
        );
        match at_chance {
            Some(true) => format!("{stand}. The references are as likely as secrets that were not learnt."),
            _ => format!(
                "{stand}: the references are no fair match for the secrets, and exposures mean little."
            ),
        }
    }
}

fn row(group: &ExposureGroup) -> ExposureRow {
    let [lower_quartile, median, upper_quartile] =
        [0, 1, 2].map(|i| group.quartiles.map(|quartiles| rounded(quartiles[i])));
    ExposureRow {
        shape: group.shape.name().to_owned(),
        copies: group.copies,
        n: group.n_canaries,
        n_saturated: group.n_saturated,
        lower_quartile,
        median,
        upper_quartile,
        median_low: group.median_interval.map(|interval| rounded(interval.0)),
        median_high: group.median_interval.map(|interval| rounded(interval.1)),
        extrapolated_median: group.extrapolated_median.map(rounded),
        n_extrapolated: group.n_extrapolated,
    }
}

fn control_row(shape: &str, check: &ControlCheck) -> ControlRow {
    ControlRow {
        shape: shape.to_owned(),
        n: check.n_controls,
        mean: check.mean_bits.map(rounded),
        chance_low: check.chance.map(|chance| rounded(chance.0)),
        chance_high: check.chance.map(|chance| rounded(chance.1)),
        at_chance: check.holds(),
    }
}

fn exposed(exposure: &Exposure, placement: Placement) -> ExposedRow {
    let rank = exposure.rank.ok();
    let no_fit = exposure.extrapolated.err().filter(|_| rank.is_some()).map(no_fit_words);
    ExposedRow {
        id: exposure.id.clone(),
        shape: exposure.shape.name().to_owned(),
        placement: placement.name().to_owned(),
        copies: exposure.copies,
        n_alike: exposure.n_alike,
        space_bits: rounded(exposure.space_bits),
        n_references: rank.map_or(0, |rank| rank.n_references),
        rank: rank.map(|rank| rank.rank),
        bits: rank.map(|rank| rounded(rank.bits)),
        low: rank.map(|rank| rounded(rank.low)),
        high: rank.map(|rank| rounded(rank.high)),
        saturated: rank.is_some_and(|rank| rank.saturated),
        extrapolated_bits: exposure.extrapolated.ok().map(rounded),
        cause: exposure.rank.err().map(no_exposure_words).or(no_fit),
    }
}

fn no_exposure_words(cause: NoExposure) -> String {
    match cause {
        NoExposure::SmallSpace => "hardly anything else could stand in its place, as far as the ledger tells",
        NoExposure::TooLong => "it or a reference does not fit in the model's context",
        NoExposure::NotFinite => "the model's numbers are not finite",
        _ => "it could not be measured",
    }
    .to_owned()
}

fn no_fit_words(cause: NoFit) -> String {
    match cause {
        NoFit::TooFew => "not extrapolated: too few references".to_owned(),
        NoFit::NoSpread => "not extrapolated: all references are equally likely".to_owned(),
        NoFit::NotConverged => "not extrapolated: no skew-normal distribution fits best".to_owned(),
        NoFit::Poor { p_value } => {
            format!(
                "not extrapolated: the skew-normal distribution fits poorly (Kolmogorov-Smirnov, p = {p_value:.1e})"
            )
        }
    }
}

/// A number of bits, or a dash.
pub(crate) fn bits(value: &Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

impl ExposureRow {
    /// The quartiles for people, "3.1, 8.0, 10.0".
    pub fn quartiles_text(&self) -> String {
        format!("{}–{}", bits(&self.lower_quartile), bits(&self.upper_quartile))
    }

    /// The median for people, with a sign where it is a lower bound.
    pub fn median_text(&self) -> String {
        let sign = if 2 * self.n_saturated > self.n { "≥ " } else { "" };
        format!("{sign}{}", bits(&self.median))
    }

    /// The interval of the median for people.
    pub fn interval_text(&self) -> String {
        match (self.median_low, self.median_high) {
            (Some(low), Some(high)) => format!("{low:.1}–{high:.1}"),
            _ => "–".to_owned(),
        }
    }

    /// The extrapolated median for people.
    pub fn extrapolated_text(&self) -> String {
        bits(&self.extrapolated_median)
    }
}

/// The table of groups, and what the controls say.
pub(crate) fn exposure_text(table: &ExposureTable, out: &mut String) {
    use Align::{Left, Right};
    out.push_str("\nExposure of planted canaries, in bits\n");
    let mut rows = Table::new([
        ("secret", Left),
        ("copies", Right),
        ("canaries", Right),
        ("median", Right),
        ("95% interval", Right),
        ("quartiles", Right),
        ("extrapolated", Right),
    ]);
    for row in &table.rows {
        rows.row([
            row.shape.clone(),
            grouped(row.copies),
            grouped(row.n),
            row.median_text(),
            row.interval_text(),
            row.quartiles_text(),
            row.extrapolated_text(),
        ]);
    }
    rows.finish(out);
    wrap(&table.verdict(), out);
}

#[cfg(test)]
mod tests {
    use verbatim_extraction::Shape;
    use verbatim_membership::rank_exposure;

    use super::*;

    fn exposure(copies: u64, rank: Result<f64, NoExposure>) -> Exposure {
        let references: Vec<f64> = (0..1023).map(|i| -20.0 - f64::from(i) / 100.0).collect();
        Exposure {
            id: format!("c{copies}"),
            shape: Shape::Pii,
            copies,
            control: copies == 0,
            n_alike: 36,
            space_bits: 39.863_137_138,
            rank: rank.map(|log_prob| rank_exposure(log_prob, &references, 39.863_137_138, LEVEL)),
            extrapolated: Err(NoFit::Poor { p_value: 0.012_3 }),
        }
    }

    fn recitation(exposure: &Exposure) -> Recitation {
        Recitation {
            id: exposure.id.clone(),
            shape: exposure.shape,
            placement: Placement::Passage,
            copies: exposure.copies,
            control: exposure.control,
            merged: vec![],
            n_secret_tokens: 4,
            n_matched_tokens: 1,
            recited: false,
            log_prob: None,
        }
    }

    fn table(exposures: &[Exposure]) -> ExposureTable {
        let recitations: Vec<Recitation> = exposures.iter().map(recitation).collect();
        ExposureTable::new(exposures, &recitations)
    }

    #[test]
    fn saturation_intervals_and_causes_are_told() {
        let table =
            table(&[exposure(4, Ok(-1.0)), exposure(4, Ok(-20.5)), exposure(1, Err(NoExposure::TooLong))]);
        let [first, second, third] = &table.canaries[..] else { panic!() };
        assert_eq!(
            (first.rank, first.bits, first.high, first.saturated),
            (Some(1), Some(10.0), Some(39.863137), true)
        );
        assert!(first.low.unwrap() < 10.0 && second.bits.unwrap() < second.high.unwrap());
        assert!(second.cause.as_ref().unwrap().contains("p = 1.2e-2") && !second.saturated);
        assert_eq!((third.rank, third.bits, third.n_references), (None, None, 0));
        assert!(third.cause.as_ref().unwrap().contains("context"));
        assert_eq!((table.rows[0].n, table.rows[1].n, table.rows[1].n_saturated), (0, 2, 1));
        assert_eq!((table.rows[0].median_text(), table.rows[0].interval_text()), ("–".into(), "–".into()));
        assert!(table.verdict().contains("no controls"));
    }

    #[test]
    fn controls_say_whether_references_are_fair() {
        // Ranks spread evenly, and all in front.
        let even: Vec<Exposure> = (0..20).map(|i| exposure(0, Ok(-20.0 - 0.51 * f64::from(i)))).collect();
        assert!(
            table(&even).verdict().contains("as likely as secrets that were not learnt"),
            "{}",
            table(&even).verdict()
        );
        assert_eq!(table(&even).controls.last().unwrap().at_chance, Some(true));
        let ahead: Vec<Exposure> = (0..20).map(|_| exposure(0, Ok(-20.02))).collect();
        assert!(table(&ahead).verdict().contains("no fair match"));
    }
}
