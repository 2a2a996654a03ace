//! A report as one self-contained page: templates in `templates/`, plots from `svg`, no script, nothing loaded.

use askama::Template;

use crate::audit::{AuditBody, DoublingRow, ScalingTable, TextRow};
use crate::calls::CallsBody;
use crate::contamination::ContaminationBody;
use crate::dedup::{DedupBody, Outcome};
use crate::defend::DefendBody;
use crate::demo::{DemoBody, DemoRow};
use crate::elicit::ElicitBody;
use crate::error::{Error, Result};
use crate::extract::{CanaryRow, CellRow, ExtractBody, Verification};
use crate::figure::{Rate, grouped, percent, placement_words};
use crate::infer::InferBody;
use crate::invert::InvertBody;
use crate::report::{HTML_NAME, Report};
use crate::shadow::ShadowBody;
use crate::svg::{self, Bar, Group, Panel};
use crate::train::{PlantBody, TrainBody};

/// Findings that a page shows; the JSON has all.
const SHOWN_FINDINGS: usize = 40;

/// Strip charts that a page shows; the JSON has all.
const SHOWN_CHARTS: usize = 12;

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
page!(ContaminationBody, ContaminationPage, "contamination.html");
page!(ExtractBody, ExtractPage, "extract.html");
page!(AuditBody, AuditPage, "audit.html");
page!(InvertBody, InvertPage, "invert.html");
page!(ElicitBody, ElicitPage, "elicit.html");
page!(InferBody, InferPage, "infer.html");
page!(ShadowBody, ShadowPage, "shadow.html");
page!(DefendBody, DefendPage, "defend.html");
page!(CallsBody, CallsPage, "calls.html");
page!(TrainBody, TrainPage, "train.html");
page!(PlantBody, PlantPage, "plant.html");

/// What templates may call on a value, after its name and a bar.
#[expect(unreachable_pub, reason = "askama's macro makes each filter a type that is pub")]
mod filters {
    use std::fmt::Display;

    use askama::Values;

    use crate::printable::PrintableLine;

    /// Text from outside, printable and on one line; askama escapes it after.
    #[askama::filter_fn]
    pub fn line(text: impl Display, _: &dyn Values) -> askama::Result<String> {
        Ok(PrintableLine(&text.to_string()).to_string())
    }

    /// A parameter's value as a person would write it.
    #[askama::filter_fn]
    pub fn setting(value: &serde_json::Value, _: &dyn Values) -> askama::Result<String> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(PrintableLine(&text).to_string())
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

/// The chosen texts that were asked for window by window.
fn charts(texts: &[TextRow]) -> impl Iterator<Item = &TextRow> {
    texts.iter().filter(|text| !text.strip.is_empty()).take(SHOWN_CHARTS)
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
    recited_by_copies(&demo_groups(rows).map(panel).collect::<Vec<_>>())
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
    recited_by_copies(&canary_groups(rows).map(panel).collect::<Vec<_>>())
}

fn recited_by_copies(panels: &[Panel]) -> String {
    let title = "Share of planted secrets that are recited, by number of copies";
    svg::shares(panels, title, "copies of the secret in the raw corpus")
}

/// How extraction grows: a panel for each number that it is told by.
fn scaling_plot(tables: &[ScalingTable]) -> String {
    let group = |row: &DoublingRow| Group {
        label: grouped(row.from),
        bars: vec![bar("raw", "extracted", row.extracted)],
    };
    let panel = |table: &ScalingTable| Panel {
        title: table.by.clone(),
        groups: table.rows.iter().map(group).collect(),
    };
    let panels: Vec<Panel> = tables.iter().map(panel).collect();
    svg::shares(
        &panels,
        "Share that is extracted, and what it depends on",
        "from so many on, each bar a doubling",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use verbatim_store::{Access, Existing, Replace};

    use super::*;
    use crate::printable::PrintableLine;
    use crate::redact::Reveal;
    use crate::report::Body;
    use crate::samples::{self, HOSTILE};
    use crate::secrets::SecretCount;

    /// Elements that a page may have; no other has any business in it.
    const ELEMENTS: &str = "html head meta title style body main header section footer figure figcaption p h1 h2 h3 ul li \
        b br code bdi span div table caption thead tbody tfoot tr th td dl dt dd svg g rect line path circle text";

    const VOID: [&str; 3] = ["meta", "br", "!doctype"];

    /// Reads a page as a browser would, as far as our pages go: names of elements in order, and the text between
    /// them with its character references resolved. Fails where tags do not nest.
    fn parse(page: &str) -> (Vec<String>, String) {
        let (mut open, mut elements, mut text) = (Vec::new(), Vec::new(), String::new());
        let mut rest = page;
        while let Some(start) = rest.find('<') {
            text.push_str(&rest[..start]);
            let end = start + rest[start..].find('>').expect("a tag that ends");
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
            if tag.starts_with('/') {
                assert_eq!(
                    open.pop().as_ref(),
                    Some(&name),
                    "</{name}> before {}",
                    &rest[..rest.len().min(80)]
                );
            } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
                open.push(name.clone());
            }
            if name == "style" && !tag.starts_with('/') {
                rest = &rest[rest.find("</style").expect("a style that ends")..];
            }
            elements.push(name);
        }
        assert!(open.is_empty(), "{open:?} left open");
        let entities = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#60;", "<"),
            ("&#62;", ">"),
            ("&#34;", "\""),
            ("&#39;", "'"),
        ];
        let text = entities.iter().fold(text, |text, (entity, character)| text.replace(entity, character));
        (elements, text.replace("&#38;", "&").replace("&amp;", "&"))
    }

    fn check(page: &str) -> String {
        let (elements, text) = parse(page);
        let allowed: Vec<&str> = ELEMENTS.split_whitespace().chain(["!doctype"]).collect();
        for element in &elements {
            assert!(allowed.contains(&element.as_str()), "<{element}> in a page");
        }
        for forbidden in ["http://", "https://", "url(", "@import", "src=", "href="] {
            assert!(!page.replace("src=x onerror", "").contains(forbidden), "{forbidden} in a page");
        }
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
        text
    }

    fn all_pages() -> Vec<(&'static str, String)> {
        vec![
            ("demo", samples::demo(Reveal::Redacted).to_html().unwrap()),
            ("dedup", samples::dedup().to_html().unwrap()),
            ("contamination", samples::contamination(Reveal::Redacted).0.to_html().unwrap()),
            ("extract", samples::extract(Reveal::Redacted).to_html().unwrap()),
            ("audit", samples::audit(Reveal::Redacted).to_html().unwrap()),
            ("invert", samples::invert(Reveal::Redacted).to_html().unwrap()),
            ("elicit", samples::elicit(Reveal::Redacted).to_html().unwrap()),
            ("infer", samples::infer().to_html().unwrap()),
            ("shadow", samples::shadow().to_html().unwrap()),
            ("defend", samples::defend().to_html().unwrap()),
            ("calls", samples::calls().to_html().unwrap()),
            ("train", samples::train().to_html().unwrap()),
            ("plant", samples::plant().to_html().unwrap()),
        ]
    }

    /// Keeps a page to look at in the folder that `VERBATIM_PAGES` names, if it is set.
    fn keep(name: &str, page: &str) {
        let Some(folder) = std::env::var_os("VERBATIM_PAGES") else { return };
        let path = std::path::Path::new(&folder).join(name).with_extension("html");
        let mut file = Replace::create(&path, Access::Shared, Existing::Replace).unwrap();
        file.write_all(page.as_bytes()).unwrap();
        file.finish().unwrap();
    }

    #[test]
    fn every_page_is_well_formed_and_self_contained() {
        for (name, page) in all_pages() {
            check(&page);
            keep(name, &page);
        }
    }

    fn hostile<B: Body>(mut report: Report<B>) -> Report<B> {
        report.run.command.push(HOSTILE.into());
        report.run.stages[0].name = HOSTILE.into();
        report
    }

    /// Every text that comes from outside is in the page as text, printable, and nothing else is in the page.
    #[test]
    fn hostile_text_stays_text() {
        let harmless = PrintableLine(HOSTILE).to_string();
        let mut dedup = hostile(samples::dedup());
        dedup.result.provenance = samples::hostile_provenance();
        dedup.result.clusters.largest[0].kept = HOSTILE.into();
        dedup.result.keep = HOSTILE.into();
        dedup.result.sources.rows[0].source = Some(HOSTILE.into());
        dedup.result.warnings = vec![HOSTILE.into()];
        let text = check(&dedup.to_html().unwrap());
        // Nine of the provenance, two of the run, a cluster, a source, the policy and a warning.
        assert_eq!(text.matches(&harmless).count(), 9 + 2 + 4, "{text}");

        let mut contamination = hostile(samples::contamination(Reveal::Revealed).0);
        let result = &mut contamination.result;
        result.files[0].name = HOSTILE.into();
        result.fields[0].name = HOSTILE.into();
        for holder in [&mut result.documents[0], &mut result.items[0]] {
            (holder.id, holder.path) = (HOSTILE.into(), HOSTILE.into());
        }
        let row = &mut result.matches[0];
        (row.part, row.text) = (HOSTILE.into(), samples::redactor(Reveal::Revealed).show("match", HOSTILE));
        for place in [&mut row.document, &mut row.item] {
            (place.id, place.path) = (HOSTILE.into(), HOSTILE.into());
        }
        let text = check(&contamination.to_html().unwrap());
        // Two of the run, a file, a field, two of each holder, and six of the match.
        assert_eq!(text.matches(&harmless).count(), 2 + 2 + 4 + 6, "{text}");

        let mut audit = hostile(samples::audit(Reveal::Revealed));
        let result = &mut audit.result;
        result.findings[0].text = samples::redactor(Reveal::Revealed).show("suffix", HOSTILE);
        for name in [
            &mut result.findings[0].label,
            &mut result.texts[0].label,
            &mut result.decodings[0].name,
            &mut result.scalings[0].by,
            &mut result.warnings[0],
        ] {
            *name = HOSTILE.into();
        }
        let text = check(&audit.to_html().unwrap());
        // Two of the run, two of the finding; a text in chart and table, a decoding, a warning; and in caption, panel and
        // the titles of its five bars what is counted.
        assert_eq!(text.matches(&harmless).count(), 2 + 2 + 2 + 1 + 1 + 2 + 5, "{text}");

        let mut extract = hostile(samples::extract(Reveal::Revealed));
        let finding = &mut extract.result.findings[0];
        finding.text = samples::redactor(Reveal::Revealed).show("match", HOSTILE);
        (finding.first, finding.best_metric) = (Some(HOSTILE.into()), HOSTILE.into());
        finding.category = Some(HOSTILE.into());
        finding.secrets = vec![SecretCount { kind: HOSTILE.into(), n: 2, n_proven: 1 }];
        extract.result.secrets.kinds[0].kind = HOSTILE.into();
        extract.result.secrets.values[0] = samples::redactor(Reveal::Revealed).show(HOSTILE, HOSTILE);
        let canaries = extract.result.canaries.as_mut().unwrap();
        canaries.recited[0].secret = samples::redactor(Reveal::Revealed).show(HOSTILE, HOSTILE);
        canaries.recited[0].id = HOSTILE.into();
        canaries.rows[0].placement = HOSTILE.into();
        let page = extract.to_html().unwrap();
        keep("hostile", &page);
        let text = check(&page);
        // Two of the run, five of the finding, a kind, two of a value, three of the canary, and the placement in table,
        // plot and titles.
        assert_eq!(text.matches(&harmless).count(), 2 + 5 + 1 + 2 + 3 + 3, "{text}");
        for hidden in ['\0', '\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2028}', '\u{200b}'] {
            assert!(!text.contains(hidden));
        }
    }

    #[test]
    fn a_redacted_page_holds_no_secret_and_a_revealed_one_does() {
        let secrets: Vec<String> = samples::cases().into_iter().map(|case| case.canary.secret).collect();
        let holds = |page: &str| secrets.iter().any(|secret| page.contains(secret.as_str()));
        for (reveal, expected) in [(Reveal::Redacted, false), (Reveal::Revealed, true)] {
            let report = samples::demo(reveal);
            assert_eq!(holds(&report.to_html().unwrap()), expected);
            assert_eq!(holds(&report.to_json().unwrap()), expected);
        }
    }

    #[test]
    fn an_audits_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        samples::extract(Reveal::Redacted).write(folder.path(), Access::Private).unwrap();
        for name in ["report.json", "report.html"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
