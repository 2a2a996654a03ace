//! Two sets of known membership: how well each signal tells them apart.

use std::collections::BTreeSet;

use serde_json::json;
use verbatim_membership::{
    BlindScores, Confidence, Need, Parted, Parting, Shots, Signal, TextSignals, audited_epsilon,
    blind_scores, blind_separations, control_separation, dataset_inference, part, separation,
};
use verbatim_report::{
    DatasetRow, InferBody, InferFacts, LEVEL, Provenance, Report, SeparationRow, ShotsRow, infer_text,
};
use verbatim_store::{Access, StagedDir};

use super::asked::Asked;
use super::{Models, Set, column, documents, records};
use crate::args::{FPRS, Infer};
use crate::commands::{Context, merge, reading};
use crate::failure;

/// The penalty of the classifier that takes all signals together, as that of shadow models has it.
const PENALTY: f64 = 1.0;

/// What is scored.
struct Texts {
    /// Members and non-members.
    sets: [Vec<String>; 2],
    /// Their numbers among those that were drawn.
    left: [Vec<usize>; 2],
    shots: Option<Shots>,
}

/// What is known of two sets beside the scores.
pub(super) struct About {
    pub(super) provenance: Provenance,
    pub(super) shots: Option<ShotsRow>,
    pub(super) warnings: Vec<String>,
}

/// What each signal, and what never sees the model, says of members and of non-members.
pub(super) struct Scored {
    pub(super) signals: Vec<Signal>,
    /// Members and non-members, for each signal.
    pub(super) columns: Vec<[Vec<Option<f64>>; 2]>,
    pub(super) blind: [BlindScores; 3],
}

pub(super) fn run(arguments: &Infer, context: &Context<'_>) -> anyhow::Result<()> {
    let mut asked = Asked::of_sets(arguments)?;
    let output = &arguments.output;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let drawn = (documents(arguments), arguments.seed);
    let open = |inputs| Set::open(inputs, &arguments.reading, drawn, context);
    let sets = [open(&arguments.members)?, open(&arguments.non_members)?];
    let mut models = Models::open(arguments, &mut asked, context)?;
    let texts = texts(&sets, &models, &mut asked, arguments)?;
    let fingerprints = json!(sets.each_ref().map(|set| set.corpus.fingerprint().to_owned()));
    let about = about((&sets, &texts), (&models, &asked), arguments);
    let result = merge::result_of(&about.provenance, false)?;
    merge::check(&result, context)?;
    let scratch = models.scratch(&fingerprints, &asked, arguments, (&staged, context))?;
    let all: Vec<&str> = texts.sets.iter().flatten().map(String::as_str).collect();
    let said = models.ask(&all, (&asked, texts.shots.as_ref()), arguments, (&scratch, context))?;
    sets.iter().try_for_each(|set| set.corpus.verify_unchanged())?;
    models.verify_unchanged()?;
    if arguments.answering.shard.is_some() {
        return merge::end_shard((staged, scratch), result, context);
    }
    let scored = texts.scored(&said, &asked, arguments.seed);
    if arguments.keep_records {
        records::keep(staged.path(), &about, &scored, (texts.names(&sets), said))?;
    }
    let report = Report::new(scored.body(about, arguments), context.run());
    report.write(staged.path(), Access::Private)?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &infer_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// The texts that are scored, once those that stand before them are drawn.
fn texts(sets: &[Set; 2], models: &Models, asked: &mut Asked, arguments: &Infer) -> anyhow::Result<Texts> {
    let all = sets.each_ref().map(Set::texts);
    if !asked.any(Need::NonMembers) && !asked.any(Need::BothSets) {
        let left = all.each_ref().map(|texts| (0..texts.len()).collect());
        return Ok(Texts { sets: all, left, shots: None });
    }
    let parting = Parting {
        draws_members: asked.any(Need::BothSets),
        most_tokens: arguments.max_tokens as usize,
        seed: arguments.seed,
    };
    let Parted { shots, left } = part(models.target.text_model(), [&all[0], &all[1]], parting);
    let half = models.target.text_model().model.context_len() / 2;
    let reason = || {
        failure::usage(format!(
            "no text that was looked at fits in half of the context, {half} tokens, to stand before others, or a set has fewer \
             than two; lower --max-tokens"
        ))
    };
    if shots.n_for_recall() == 0 {
        asked.leave_out(Need::NonMembers, reason())?;
    }
    if shots.n_for_con_recall().contains(&0) {
        asked.leave_out(Need::BothSets, reason())?;
    }
    let [members, non_members] = [0, 1].map(|set| left[set].iter().map(|at| all[set][*at].clone()).collect());
    Ok(Texts { sets: [members, non_members], left, shots: Some(shots) })
}

impl Texts {
    /// Members and non-members.
    fn as_str(&self) -> [Vec<&str>; 2] {
        self.sets.each_ref().map(|texts| texts.iter().map(String::as_str).collect())
    }

    /// The names of the documents, those of the members first.
    fn names(&self, sets: &[Set; 2]) -> Vec<String> {
        let of = |(set, left): (&Set, &Vec<usize>)| {
            left.iter().map(|at| set.corpus.label(set.chosen[*at])).collect::<Vec<String>>()
        };
        sets.iter().zip(&self.left).flat_map(of).collect()
    }

    fn scored(&self, said: &[TextSignals], asked: &Asked, seed: u64) -> Scored {
        let said = said.split_at(self.sets[0].len());
        let signals = asked.signals().to_vec();
        let columns = (0..signals.len()).map(|at| [column(said.0, at), column(said.1, at)]).collect();
        let [members, non_members] = self.as_str();
        Scored { signals, columns, blind: blind_scores(&members, &non_members, seed) }
    }
}

fn about((sets, texts): (&[Set; 2], &Texts), (models, asked): (&Models, &Asked), arguments: &Infer) -> About {
    let mut warnings: Vec<String> =
        sets.iter().flat_map(|set| set.corpus.warnings()).chain(asked.warnings()).cloned().collect();
    let [members, non_members] = texts.as_str();
    let known = BTreeSet::from_iter(members);
    let n_shared = non_members.iter().filter(|text| known.contains(*text)).count();
    if n_shared > 0 {
        warnings.push(format!("{n_shared} of the non-members stand among the members, too"));
    }
    About {
        provenance: models
            .provenance(asked, fprs(arguments), arguments)
            .corpus(reading::used("members", &sets[0].corpus))
            .corpus(reading::used("non-members", &sets[1].corpus)),
        shots: texts.shots.as_ref().filter(|shots| shots.n_for_recall() > 0).map(ShotsRow::from),
        warnings,
    }
}

/// The false positive rates that are asked for.
pub(super) fn fprs(arguments: &Infer) -> &[f64] {
    if arguments.fpr.is_empty() { &FPRS } else { &arguments.fpr }
}

impl Scored {
    /// Whether the members were used, taken together, beside every second of the non-members against the others.
    fn dataset(&self, seed: u64) -> Option<DatasetRow> {
        let rows = |side: usize| -> Vec<Vec<Option<f64>>> {
            let n = self.columns.first().map_or(0, |column| column[side].len());
            (0..n).map(|text| self.columns.iter().map(|column| column[side][text]).collect()).collect()
        };
        let (members, non_members) = (rows(0), rows(1));
        let found = dataset_inference(&members, &non_members, PENALTY, seed)?;
        let half = |from: usize| non_members.iter().skip(from).step_by(2).cloned().collect::<Vec<_>>();
        Some(DatasetRow::new(&found, dataset_inference(&half(0), &half(1), PENALTY, seed).as_ref()))
    }

    /// What the scores come to.
    pub(super) fn body(self, about: About, arguments: &Infer) -> InferBody {
        let (fprs, seed) = (fprs(arguments), arguments.seed);
        let confidence = Confidence { level: LEVEL, n_together: self.signals.len() };
        let [inside, outside] =
            [&self.blind[1].members, &self.blind[1].non_members].map(|scores| scores.len() as u64);
        let mut facts = InferFacts {
            provenance: about.provenance,
            n: [inside, outside],
            signals: Vec::new(),
            blind: Vec::new(),
            control: Vec::new(),
            epsilon: audited_epsilon(&self.columns, (0.0, LEVEL), seed),
            dataset: self.dataset(seed),
            shots: about.shots,
            warnings: about.warnings,
        };
        for (signal, [inside, outside]) in self.signals.iter().zip(&self.columns) {
            let found = separation(inside, outside, fprs, confidence);
            facts.signals.push(SeparationRow::new(signal.name(), fprs, &found));
            let control = control_separation(outside, confidence, seed);
            facts.control.push(SeparationRow::new(signal.name(), &[], &control));
        }
        let blind = blind_separations(self.blind, fprs, LEVEL);
        facts.blind = blind.iter().map(|(name, found)| SeparationRow::new(name, fprs, found)).collect();
        InferBody::new(facts)
    }
}
