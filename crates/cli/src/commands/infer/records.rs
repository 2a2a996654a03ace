//! Records that a run keeps, and signals that are computed of them without a model.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_membership::{
    BlindScores, KEPT_FILE, KeptText, TextSignals, kept_signals, read_kept, write_kept,
};
use verbatim_report::{Provenance, Report, ShotsRow, infer_text};
use verbatim_store::{Access, StagedDir, sha256_file};

use super::asked::Asked;
use super::sets::{About, Scored, fprs};
use crate::args::Infer;
use crate::commands::Context;

/// What a file of records says of the run that kept it.
#[derive(Serialize, Deserialize)]
struct Origin {
    provenance: Value,
    shots: Option<ShotsRow>,
    warnings: Vec<String>,
}

/// Writes what was said of each text, by its name.
pub(super) fn keep(
    folder: &Path,
    about: &About,
    scored: &Scored,
    (names, said): (Vec<String>, Vec<TextSignals>),
) -> anyhow::Result<()> {
    let n_members = scored.blind[0].members.len();
    let blind = |number: usize| {
        scored.blind.each_ref().map(|scores| match number.checked_sub(n_members) {
            None => scores.members[number],
            Some(number) => scores.non_members[number],
        })
    };
    let texts: Vec<KeptText> = names
        .into_iter()
        .zip(said)
        .enumerate()
        .map(|(number, (name, said))| {
            KeptText::new((name, number < n_members), &scored.signals, said, blind(number))
        })
        .collect();
    let origin = Origin {
        provenance: serde_json::to_value(&about.provenance)?,
        shots: about.shots,
        warnings: about.warnings.clone(),
    };
    Ok(write_kept(folder, serde_json::to_value(origin)?, &texts)?)
}

/// Computes the signals of kept records.
pub(super) fn run(folder: &Path, arguments: &Infer, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let path = folder.join(KEPT_FILE);
    let sha256 = sha256_file(&path)?;
    let (origin, texts) = read_kept(folder)?;
    let origin: Origin = serde_json::from_value(origin)
        .with_context(|| format!("{}: line 1 says not where it comes from", path.display()))?;
    let asked = Asked::of_kept(arguments, &kept_signals(&texts))?;
    let is_member = |text: &&KeptText| text.is_member;
    let (members, non_members): (Vec<&KeptText>, Vec<&KeptText>) = texts.iter().partition(is_member);
    let values =
        |texts: &[&KeptText]| texts.iter().map(|text| text.values(asked.signals())).collect::<Vec<_>>();
    let (inside, outside) = (values(&members), values(&non_members));
    let column =
        |texts: &[Vec<Option<f64>>], at: usize| texts.iter().map(|values| values[at]).collect::<Vec<_>>();
    let blind =
        |texts: &[&KeptText], at: usize| texts.iter().map(|text| text.blind[at]).collect::<Vec<f64>>();
    let scored = Scored {
        signals: asked.signals().to_vec(),
        columns: (0..asked.signals().len()).map(|at| [column(&inside, at), column(&outside, at)]).collect(),
        blind: [0, 1, 2]
            .map(|at| BlindScores { members: blind(&members, at), non_members: blind(&non_members, at) }),
    };
    let signals: Vec<&str> = asked.signals().iter().map(|signal| signal.name()).collect();
    let about = About {
        provenance: Provenance::new(env!("CARGO_PKG_VERSION"))
            .seed("draw", arguments.seed)
            .parameter("fpr", fprs(arguments).to_vec())
            .parameter("signals", signals)
            .parameter("records_sha256", sha256)
            .parameter("records_of", origin.provenance),
        shots: origin.shots,
        warnings: origin.warnings,
    };
    let report = Report::new(scored.body(about, arguments), context.run());
    report.write(staged.path(), Access::Private)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &infer_text(&report.result))
}
