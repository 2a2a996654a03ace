//! A report as one self-contained page: templates in `templates/`, plots from `svg`, no script, nothing loaded.

use askama::Template;

use crate::dedup::DedupBody;
use crate::demo::{DemoBody, DemoRow};
use crate::error::{Error, Result};
use crate::extract::{CanaryRow, CellRow, ExtractBody, Verification};
use crate::figure::{Rate, grouped, percent, placement_words};
use crate::report::{HTML_NAME, Report};
use crate::svg::{self, Bar, Group, Panel};
use crate::train::{PlantBody, TrainBody};

/// Findings that a page shows; the JSON has all.
const SHOWN_FINDINGS: usize = 40;

/// A report that can be shown as a page.
pub trait Page {
    /// The whole page.
    ///
    /// # Errors
    /// When a template fails: a mistake of ours.
    fn to_html(&self) -> Result<String>;
}

macro_rules! page {
    ($body:ty, $template:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $template<'a> {
            report: &'a Report<$body>,
            result: &'a $body,
        }

        impl Page for Report<$body> {
            fn to_html(&self) -> Result<String> {
                let template = $template { report: self, result: &self.result };
                template
                    .render()
                    .map_err(|error| Error::Render { path: HTML_NAME.into(), cause: error.to_string() })
            }
        }
    };
}

page!(DemoBody, DemoPage, "demo.html");
page!(DedupBody, DedupPage, "dedup.html");
page!(ExtractBody, ExtractPage, "extract.html");
page!(TrainBody, TrainPage, "train.html");
page!(PlantBody, PlantPage, "plant.html");

/// What templates may call on a value, after its name and a bar.
mod filters {
    use std::fmt::Display;

    use askama::Values;

    use crate::printable::PrintableLine;

    /// Text from outside, printable and on one line; askama escapes it after.
    #[askama::filter_fn]
    pub fn line(text: impl Display, _: &dyn Values) -> askama::Result<String> {
        Ok(PrintableLine(&text.to_string()).to_string())
    }

    /// A count with its thousands separated.
    #[askama::filter_fn]
    pub fn count(number: &u64, _: &dyn Values) -> askama::Result<String> {
        Ok(super::grouped(*number))
    }

    /// A share as a percentage.
    #[askama::filter_fn]
    pub fn percent(share: &f64, _: &dyn Values) -> askama::Result<String> {
        Ok(super::percent(*share))
    }
}

/// Rows of one placement together, in their order.
fn demo_groups(rows: &[DemoRow]) -> impl Iterator<Item = &[DemoRow]> {
    rows.chunk_by(|a, b| a.placement == b.placement)
}

fn cell_groups(cells: &[CellRow]) -> impl Iterator<Item = &[CellRow]> {
    cells.chunk_by(|a, b| a.strategy == b.strategy)
}

fn canary_groups(rows: &[CanaryRow]) -> impl Iterator<Item = &[CanaryRow]> {
    rows.chunk_by(|a, b| a.placement == b.placement)
}

fn bar(class: &'static str, name: &'static str, rate: Rate) -> Bar {
    Bar { class, name, rate }
}

/// The demo's plot: a panel for each placement, raw beside deduplicated.
fn demo_plot(rows: &[DemoRow]) -> String {
    let group = |row: &DemoRow| Group {
        label: grouped(row.copies),
        bars: vec![
            bar("raw", "raw checkpoint", row.recited.raw),
            bar("deduplicated", "deduplicated twin", row.recited.deduplicated),
        ],
    };
    let panel = |rows: &[DemoRow]| Panel {
        title: placement_words(&rows[0].placement).to_owned(),
        groups: rows.iter().map(group).collect(),
    };
    svg::recited_by_copies(&demo_groups(rows).map(panel).collect::<Vec<_>>())
}

/// An audit's plot: a panel for each placement.
fn canary_plot(rows: &[CanaryRow]) -> String {
    let group = |row: &CanaryRow| Group {
        label: grouped(row.copies),
        bars: vec![bar("raw", "recited", row.recited)],
    };
    let panel = |rows: &[CanaryRow]| Panel {
        title: placement_words(&rows[0].placement).to_owned(),
        groups: rows.iter().map(group).collect(),
    };
    svg::recited_by_copies(&canary_groups(rows).map(panel).collect::<Vec<_>>())
}
