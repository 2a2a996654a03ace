//! `verbatim gate`: the measures of runs against a policy.

use std::io::Write;
use std::path::{Path, PathBuf};

use verbatim_report::{
    Day, GateBody, GateFacts, GateVerdict, JSON_NAME, MeasuredRun, Policy, Provenance, Report, gate_junit,
    gate_markdown, gate_sarif, gate_text,
};
use verbatim_store::{Access, Bytes, Replace, xxh3_128_hex};

use crate::args::{Gate, GateFormat};
use crate::commands::{Context, check_apart, existing};
use crate::failure;

/// How a report is read back.
type Parse = fn(&str, &Path, &[u8]) -> verbatim_report::Result<MeasuredRun>;

pub(crate) fn run(arguments: &Gate, context: &Context<'_>) -> anyhow::Result<()> {
    if context.json && arguments.output.is_none() && arguments.format.is_some_and(|it| it != GateFormat::Json)
    {
        return Err(failure::usage("--json and --format ask for two things on standard output; give -o"));
    }
    let read = arguments.results.iter().chain(&arguments.baseline).chain([&arguments.policy]);
    if let Some(output) = &arguments.output {
        check_apart(read.map(PathBuf::as_path), output)?;
    }
    let policy_bytes = Bytes::open(&arguments.policy)?;
    let policy = Policy::parse(&arguments.policy, &policy_bytes)?;
    let today = arguments.today.unwrap_or_else(|| Day::of(context.started));
    let (runs, results_xxh3) = open(&arguments.results, MeasuredRun::parse)?;
    let (baselines, baselines_xxh3) = open(&arguments.baseline, MeasuredRun::parse_baseline)?;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .parameter("policy_xxh3", xxh3_128_hex(&policy_bytes))
        .parameter("results_xxh3", results_xxh3)
        .parameter("baselines_xxh3", baselines_xxh3);
    let policy_name = arguments.policy.display().to_string();
    let body = GateBody::new(GateFacts {
        provenance,
        policy_name,
        policy: &policy,
        runs: &runs,
        baselines: &baselines,
        today,
    });
    let report = Report::new(body, context.run());
    let told = tell(&report, arguments, context);
    // A reader that left early must not turn a verdict green.
    match report.result.verdict {
        GateVerdict::Pass => told,
        _ if told.as_ref().is_err_and(|error| failure::exit_code(error) != 0) => told,
        GateVerdict::Fail => Err(failure::gate(report.result.headline())),
        GateVerdict::Inconclusive => Err(failure::inconclusive(report.result.headline())),
    }
}

/// Opens the reports of some runs, with the hashes of what was read.
fn open(folders: &[PathBuf], parse: Parse) -> anyhow::Result<(Vec<MeasuredRun>, Vec<String>)> {
    let mut opened = (Vec::new(), Vec::new());
    for folder in folders {
        let path = if folder.is_file() { folder.clone() } else { folder.join(JSON_NAME) };
        let bytes = Bytes::open(&path)?;
        opened.0.push(parse(&folder.display().to_string(), &path, &bytes)?);
        opened.1.push(xxh3_128_hex(&bytes));
        bytes.verify_unchanged()?;
    }
    Ok(opened)
}

fn tell(report: &Report<GateBody>, arguments: &Gate, context: &Context<'_>) -> anyhow::Result<()> {
    let body = &report.result;
    let rendered = match arguments.format {
        None => return context.tell(report, &gate_text(body)),
        Some(GateFormat::Json) => report.to_json()?,
        Some(GateFormat::Junit) => gate_junit(body)?,
        Some(GateFormat::Sarif) => gate_sarif(body)?,
        Some(GateFormat::Markdown) => gate_markdown(body),
    };
    match &arguments.output {
        // The verdict is the product here.
        None => context.tell(report, &rendered).map_err(failure::product),
        Some(path) => {
            let mut file = Replace::create(path, Access::Shared, existing(arguments.force))?;
            file.write_all(rendered.as_bytes())?;
            file.finish()?;
            context.tell(report, &gate_text(body))
        }
    }
}
