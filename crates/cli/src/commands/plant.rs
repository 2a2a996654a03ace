//! `verbatim plant`: canaries in a corpus, and the ledger of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use verbatim_corpus::{Corpus, OpenConfig, write_json_line};
use verbatim_extraction::{Placement, Shape};
use verbatim_lab::{PlantConfig, Planting, check_secrets, plan_planting, write_documents};
use verbatim_report::{PlantBody, PlantedRow, Provenance, Report, plant_text};
use verbatim_store::{Access, Silent, StagedDir, create_file};

use crate::args::Plant;
use crate::commands::{Context, check_apart, reading};
use crate::failure;

pub(crate) fn run(arguments: &Plant, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(arguments.inputs.iter().map(PathBuf::as_path), &output.output)?;
    let config = config(arguments)?;
    let staged = StagedDir::create(&output.output, Access::Shared, output.existing())?;
    let corpus = arguments.reading.open(&arguments.inputs, context)?;
    let planting = plan_planting(corpus.n_documents(), &config)?;
    check_secrets(&corpus, &planting, context.teller)?;
    let path = staged.path().join("corpus.jsonl");
    write_planted(&corpus, &planting, &path)?;
    let folder = staged.path().join("_verbatim");
    std::fs::create_dir(&folder)?;
    verbatim_extraction::write_ledger(&folder.join("ledger.jsonl"), &planting.ledger, Access::Private)?;
    let planted = Corpus::open(&[path], &OpenConfig::standard(), &Silent)?;
    let report = Report::new(body(&corpus, &planted, &planting, &config)?, context.run());
    report.write(&folder, Access::Private)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &plant_text(&report.result))
}

/// The originals as they were, and the planted documents among them.
fn write_planted(corpus: &Corpus, planting: &Planting, path: &Path) -> anyhow::Result<()> {
    let mut file = create_file(path, Access::Shared)?;
    let mut insertions = planting.insertions.iter().peekable();
    for id in corpus.ids() {
        while let Some(insertion) = insertions.next_if(|insertion| insertion.n_before <= id.0) {
            write_documents(std::slice::from_ref(&insertion.document), &mut file, path)?;
        }
        write_json_line(corpus, id, &mut file)
            .map_err(|error| verbatim_store::Error::io(path, "write", error))?;
    }
    for insertion in insertions {
        write_documents(std::slice::from_ref(&insertion.document), &mut file, path)?;
    }
    file.flush().map_err(|error| verbatim_store::Error::io(path, "write", error))?;
    corpus.verify_unchanged()?;
    Ok(file.finish()?)
}

fn config(arguments: &Plant) -> anyhow::Result<PlantConfig> {
    fn all<T: serde::de::DeserializeOwned>(flag: &str, names: &[String]) -> anyhow::Result<Vec<T>> {
        let parse = |name: &String| {
            serde_json::from_value(serde_json::Value::String(name.clone()))
                .map_err(|_| failure::usage(format!("--{flag}: no `{name}`; see --help for the list")))
        };
        names.iter().map(parse).collect()
    }
    Ok(PlantConfig {
        seed: arguments.seed,
        shapes: all::<Shape>("shapes", &arguments.shapes)?,
        placements: all::<Placement>("placements", &arguments.placements)?,
        copies: arguments.copies.iter().copied().map(u64::from).collect(),
        n_per_cell: u64::from(arguments.per_cell),
        n_controls: u64::from(arguments.controls),
    })
}

fn body(
    corpus: &Corpus,
    planted: &Corpus,
    planting: &Planting,
    config: &PlantConfig,
) -> anyhow::Result<PlantBody> {
    let mut cells: BTreeMap<(Placement, Shape, u64), u64> = BTreeMap::new();
    let (controls, canaries): (Vec<_>, Vec<_>) = planting.ledger.iter().partition(|line| line.canary.control);
    for line in canaries {
        *cells.entry((line.canary.placement, line.canary.shape, line.canary.copies)).or_default() += 1;
    }
    let rows = cells
        .into_iter()
        .map(|((placement, shape, copies), n_canaries)| PlantedRow {
            placement: placement.name().to_owned(),
            shape: shape.name().to_owned(),
            copies,
            n_canaries,
        })
        .collect();
    Ok(PlantBody {
        provenance: Provenance::new(env!("CARGO_PKG_VERSION"))
            .corpus(reading::used("input", corpus))
            .seed("plant", config.seed)
            .parameter("plant", serde_json::to_value(config)?),
        n_documents_before: corpus.n_documents(),
        n_documents_after: planted.n_documents(),
        rows,
        n_controls: controls.len() as u64,
        fingerprint: planted.fingerprint().to_owned(),
        warnings: corpus.warnings().to_vec(),
    })
}
