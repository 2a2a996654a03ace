//! `verbatim shadow score`: attacks with shadow models.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_corpus::{Corpus, DocId};
use verbatim_lab::Ensemble;
use verbatim_lm::{Checkpoint, Resources};
use verbatim_membership::shadow::{Attack, Observation, Shadowed, observe, token_heat};
use verbatim_membership::{
    Bootstrap, Confidence, Metric, Scores, audited_epsilon, blind_scores, blind_separations,
    control_separation, paired_difference, separation,
};
use verbatim_report::{
    BesideLossRow, HeatRow, HeatToken, InferFacts, LEVEL, Provenance, Report, SeparationRow, ShadowBody,
    ShadowFacts, shadow_text,
};
use verbatim_store::{Access, Progress, Scratch, StagedDir, answer_each};

use crate::args::ShadowScore;
use crate::commands::{Context, check_apart, infer, kept, model, reading};
use crate::failure;

/// Texts between two moments at which answers are kept.
const CHUNK: usize = 64;

/// Resamples of the comparison with the loss.
const N_RESAMPLES: u64 = 2000;

/// Texts whose tokens are shown.
const N_HEAT: usize = 5;

/// A text that is attacked.
struct Text {
    label: String,
    text: String,
    is_member: bool,
    /// Of each model of the ensemble whether it saw the text.
    saw: Vec<bool>,
}

/// The texts, members first, and where they are from.
struct Texts {
    texts: Vec<Text>,
    corpora: Vec<(&'static str, Corpus)>,
    /// Texts that are not in the ensemble's corpus, so that no shadow model saw them.
    n_unknown: usize,
}

pub(crate) fn run(arguments: &ShadowScore, context: &Context<'_>) -> anyhow::Result<()> {
    let output = &arguments.output;
    check_apart(files_read(arguments), &output.output)?;
    let staged = StagedDir::create(&output.output, Access::Private, output.existing())?;
    let ensemble = Ensemble::open(&arguments.shadows)?;
    let texts = match &arguments.model {
        Some(_) => Texts::of_sets(arguments, &ensemble, context)?,
        None => Texts::of_ensemble(arguments, &ensemble, context)?,
    };
    let models = Models::new(arguments, &ensemble, context)?;
    let scratch = scratch(arguments, &models, &texts, staged.path())?;
    let body = attack(arguments, &models, &texts, &scratch, context)?;
    let report = Report::new(body, context.run());
    report.write(staged.path(), Access::Private)?;
    texts.corpora.iter().try_for_each(|(_, corpus)| corpus.verify_unchanged())?;
    context.check()?;
    staged.commit()?;
    context.tell(&report, &shadow_text(&report.result))?;
    Ok(scratch.discard()?)
}

/// Everything that may be a file or a folder among what the command reads.
fn files_read(arguments: &ShadowScore) -> impl Iterator<Item = &Path> {
    let inputs = arguments.members.iter().chain(&arguments.non_members).chain(&arguments.corpus);
    let paths = inputs.map(PathBuf::as_path).chain(arguments.model.as_deref().map(Path::new));
    paths.chain([arguments.shadows.as_path()])
}

impl Texts {
    /// Those of two sets whose membership is told.
    fn of_sets(arguments: &ShadowScore, ensemble: &Ensemble, context: &Context<'_>) -> anyhow::Result<Texts> {
        let mut texts = Texts { texts: Vec::new(), corpora: Vec::new(), n_unknown: 0 };
        let drawn = (Some(arguments.asking.documents), arguments.asking.seed);
        let sets = [("members", &arguments.members), ("non-members", &arguments.non_members)];
        for (role, inputs) in sets {
            let set = infer::Set::open(inputs, &arguments.reading, drawn, context)?;
            for (label, text) in set.chosen.iter().map(|id| set.corpus.label(*id)).zip(set.texts()) {
                let saw = ensemble.models_with(&text);
                texts.n_unknown += usize::from(saw.is_none());
                let saw = saw.unwrap_or_else(|| vec![false; ensemble.n_models()]);
                texts.texts.push(Text { label, text, is_member: role == "members", saw });
            }
            texts.corpora.push((role, set.corpus));
        }
        Ok(texts)
    }

    /// Those of the ensemble's corpus, one of each text and as many of each kind as were asked for, told apart by whether the
    /// target saw them.
    fn of_ensemble(
        arguments: &ShadowScore,
        ensemble: &Ensemble,
        context: &Context<'_>,
    ) -> anyhow::Result<Texts> {
        let target = usize::from(arguments.target);
        if target >= ensemble.n_models() {
            let n = ensemble.n_models();
            return Err(failure::usage(format!("--target {target}: the shadow models are 0 to {}", n - 1)));
        }
        let corpus = arguments.reading.open(&arguments.corpus, context)?;
        if corpus.fingerprint() != ensemble.record.corpus_fingerprint {
            return Err(failure::usage("--corpus is not the corpus that the shadow models were trained on"));
        }
        let mut sides: [Vec<(DocId, Text)>; 2] = [Vec::new(), Vec::new()];
        let mut taken = BTreeSet::new();
        for id in corpus.draw_order(corpus.n_documents(), arguments.asking.seed) {
            let text = corpus.text_str(id).into_owned();
            let Some(saw) = ensemble.models_with(&text).filter(|_| !corpus.is_blank(id)) else { continue };
            let is_member = saw[target];
            let side = &mut sides[usize::from(!is_member)];
            if side.len() < arguments.asking.documents as usize && taken.insert(text.clone()) {
                side.push((id, Text { label: corpus.label(id), text, is_member, saw }));
            }
        }
        let sorted = |mut side: Vec<(DocId, Text)>| {
            side.sort_unstable_by_key(|(id, _)| *id);
            side.into_iter().map(|(_, text)| text)
        };
        let [members, non_members] = sides.map(sorted);
        let texts = members.chain(non_members).collect();
        Ok(Texts { texts, corpora: vec![("shadow", corpus)], n_unknown: 0 })
    }

    fn n_members(&self) -> usize {
        self.texts.iter().take_while(|text| text.is_member).count()
    }
}

/// The model in question and its shadow models, each opened when it is asked.
struct Models<'a> {
    arguments: &'a ShadowScore,
    ensemble: &'a Ensemble,
    /// The numbers of the shadow models; all but the target where that is one of them.
    shadows: Vec<usize>,
    target: Checkpoint,
}

impl<'a> Models<'a> {
    fn new(
        arguments: &'a ShadowScore,
        ensemble: &'a Ensemble,
        context: &Context<'_>,
    ) -> anyhow::Result<Models<'a>> {
        let runtime = model::runtime(&arguments.runtime);
        let number = usize::from(arguments.target);
        let target = match &arguments.model {
            Some(name) => model::open(name, &arguments.revision, runtime, context)?,
            None => Checkpoint::open(&ensemble.model_path(number), runtime)?,
        };
        if target.tokenizer.sha256() != ensemble.record.tokenizer_sha256 {
            return Err(failure::usage(
                "the shadow models have another tokenizer than the model: train them with its tokenizer.json (--tokenizer)",
            ));
        }
        let is_shadow = |model: &usize| arguments.model.is_some() || *model != number;
        let shadows = (0..ensemble.n_models()).filter(is_shadow).collect();
        Ok(Models { arguments, ensemble, shadows, target })
    }

    fn open(&self, shadow: usize) -> anyhow::Result<Checkpoint> {
        let path = self.ensemble.model_path(self.shadows[shadow]);
        Ok(Checkpoint::open(&path, model::runtime(&self.arguments.runtime))?)
    }

    /// What each shadow model and then the target says of the texts.
    fn observe(
        &self,
        texts: &[&str],
        scratch: &Scratch,
        context: &Context<'_>,
    ) -> anyhow::Result<Vec<Vec<Observation>>> {
        let asking = &self.arguments.asking;
        let most_tokens = asking.max_tokens as usize;
        let batch = asking
            .batch
            .map_or_else(|| model::batch(self.target.text_model().model, most_tokens), usize::from);
        let resources = Resources { batch, scratch, progress: context.teller };
        let chunks: Vec<&[&str]> = texts.chunks(CHUNK).collect();
        let n_models = self.shadows.len() + 1;
        context.teller.stage("ask shadow models", Some((n_models * texts.len()) as u64), "texts");
        let mut opened: Option<(usize, Checkpoint)> = None;
        let all = answer_each(scratch, "observe", n_models * chunks.len(), |number| {
            let (shadow, chunk) = (number / chunks.len(), chunks[number % chunks.len()]);
            let said = match shadow == self.shadows.len() {
                true => observe(self.target.text_model(), chunk, most_tokens, resources)?,
                false => {
                    if opened.as_ref().is_none_or(|(open, _)| *open != shadow) {
                        opened = Some((shadow, self.open(shadow)?));
                    }
                    let (_, checkpoint) = opened.as_ref().expect("it was just opened");
                    observe(checkpoint.text_model(), chunk, most_tokens, resources)?
                }
            };
            context.teller.advance(chunk.len() as u64);
            anyhow::Ok(said)
        })?;
        let all: Vec<Vec<Observation>> = all.into_iter().flatten().collect();
        Ok(all.chunks(chunks.len().max(1)).map(<[Vec<Observation>]>::concat).collect())
    }
}

fn attack(
    arguments: &ShadowScore,
    models: &Models<'_>,
    texts: &Texts,
    scratch: &Scratch,
    context: &Context<'_>,
) -> anyhow::Result<ShadowBody> {
    let (asking, n_members) = (&arguments.asking, texts.n_members());
    let all: Vec<&str> = texts.texts.iter().map(|text| text.text.as_str()).collect();
    let mut said = models.observe(&all, scratch, context)?;
    context.check()?;
    let target = said.pop().unwrap_or_default();
    let saw: Vec<Vec<bool>> = models
        .shadows
        .iter()
        .map(|model| texts.texts.iter().map(|text| text.saw[*model]).collect())
        .collect();
    let shadowed = Shadowed { target: &target, shadows: &said, saw: &saw };
    let (members, non_members) = all.split_at(n_members);
    let confidence = Confidence { level: LEVEL, n_together: Attack::ALL.len() };
    let scores: Vec<Vec<Option<f64>>> = Attack::ALL.map(|attack| shadowed.scores(attack)).into();
    let columns: Vec<_> = scores
        .iter()
        .map(|scores| scores.split_at(n_members))
        .map(|(inside, outside)| [inside.to_vec(), outside.to_vec()])
        .collect();
    let mut facts = InferFacts {
        provenance: provenance(arguments, models, texts),
        n: [members.len() as u64, non_members.len() as u64],
        signals: Vec::new(),
        blind: blind_separations(blind_scores(members, non_members, asking.seed), &asking.fpr, LEVEL)
            .iter()
            .map(|(name, found)| SeparationRow::new(name, &asking.fpr, found))
            .collect(),
        control: Vec::new(),
        epsilon: audited_epsilon(&columns, (0.0, LEVEL), asking.seed),
        dataset: None,
        shots: None,
        warnings: texts.corpora.iter().flat_map(|(_, corpus)| corpus.warnings()).cloned().collect(),
    };
    if texts.n_unknown > 0 {
        facts.warnings.push(format!(
            "{} texts are not in the corpus of the shadow models, so that none saw them",
            texts.n_unknown
        ));
    }
    let mut beside_loss = Vec::new();
    for (attack, scores_of_it) in Attack::ALL.iter().zip(&scores) {
        let (inside, outside) = scores_of_it.split_at(n_members);
        let found = separation(inside, outside, &asking.fpr, confidence);
        facts.signals.push(SeparationRow::new(attack.name(), &asking.fpr, &found));
        let control = control_separation(outside, confidence, asking.seed);
        facts.control.push(SeparationRow::new(attack.name(), &[], &control));
        if *attack != Attack::Loss {
            beside_loss.extend(beside(attack.name(), scores_of_it, &scores[0], (n_members, asking)));
        }
    }
    let memorization = shadowed.memorization();
    let rows = texts.texts.iter().zip(&memorization);
    let ranks = scores.iter().find(|scores| scores.iter().any(Option::is_some)).map(|_| &scores[2]);
    Ok(ShadowBody::new(ShadowFacts {
        inference: facts,
        n_shadows: models.shadows.len() as u64,
        beside_loss,
        memorization: rows
            .filter_map(|(text, value)| Some((text.label.clone(), (*value)?, text.is_member)))
            .collect(),
        heat: ranks.map_or_else(|| Ok(Vec::new()), |ranks| heat(models, texts, ranks, arguments.reveal))?,
    }))
}

/// How far an attack is better than the loss alone, by area and by what is found at the lowest FPR that there are texts for.
fn beside(
    name: &str,
    scores: &[Option<f64>],
    losses: &[Option<f64>],
    (n_members, asking): (usize, &crate::args::Asking),
) -> Vec<BesideLossRow> {
    let mut sides = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for (text, (score, loss)) in scores.iter().zip(losses).enumerate() {
        if let (Some(score), Some(loss)) = (score, loss) {
            let [of_scores, of_losses] = &mut sides[usize::from(text >= n_members)];
            of_scores.push(*score);
            of_losses.push(*loss);
        }
    }
    let [[inside, loss_inside], [outside, loss_outside]] = &sides;
    let (Ok(first), Ok(second)) = (Scores::new(inside, outside), Scores::new(loss_inside, loss_outside))
    else {
        return Vec::new();
    };
    let bootstrap = Bootstrap { level: LEVEL, n_resamples: N_RESAMPLES, seed: asking.seed };
    let fprs = asking.fpr.iter().map(|fpr| (format!("tpr-at-{fpr}"), Metric::TprAtFpr(*fpr)));
    std::iter::once(("auc".to_owned(), Metric::Auc))
        .chain(fprs)
        .filter_map(|(metric, measured)| {
            let found = paired_difference(first, second, measured, &bootstrap).ok()?;
            Some(BesideLossRow::new(name, metric, &found))
        })
        .collect()
}

/// The tokens of the texts that score highest, beside a shadow model that did not see them.
fn heat(
    models: &Models<'_>,
    texts: &Texts,
    scores: &[Option<f64>],
    reveal: bool,
) -> anyhow::Result<Vec<HeatRow>> {
    let mut ranked: Vec<(f64, &Text)> =
        scores.iter().zip(&texts.texts).filter_map(|(score, text)| Some(((*score)?, text))).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut rows = Vec::new();
    for (_, text) in ranked.iter().take(N_HEAT) {
        let Some(shadow) = models.shadows.iter().position(|model| !text.saw[*model]) else { continue };
        let reference = models.open(shadow)?;
        let pair = [models.target.text_model(), reference.text_model()];
        let heat = token_heat(pair, &text.text, models.arguments.asking.max_tokens as usize)?;
        let token = |(text, nats): (String, f64)| HeatToken { text: reveal.then_some(text), nats };
        rows.push(HeatRow {
            id: text.label.clone(),
            is_member: text.is_member,
            tokens: heat.into_iter().map(token).collect(),
        });
    }
    Ok(rows)
}

/// Where the models' answers are kept; without `--scratch`, nowhere.
fn scratch(
    arguments: &ShadowScore,
    models: &Models<'_>,
    texts: &Texts,
    folder: &Path,
) -> anyhow::Result<Scratch> {
    let asking = &arguments.asking;
    let task = json!({"shadow": {
        "shadows": serde_json::to_value(&models.ensemble.record)?,
        "model": model::hashes(&models.target),
        "corpora": texts.corpora.iter().map(|(_, corpus)| corpus.fingerprint()).collect::<Vec<_>>(),
        "documents": asking.documents,
        "max_tokens": asking.max_tokens,
        "seed": asking.seed,
        "arithmetic": model::arithmetic(model::runtime(&arguments.runtime)),
    }});
    let others = files_read(arguments).chain([arguments.output.output.as_path()]);
    kept(asking.scratch.as_deref(), others, &task, folder)
}

fn provenance(arguments: &ShadowScore, models: &Models<'_>, texts: &Texts) -> Provenance {
    let asking = &arguments.asking;
    let provenance = Provenance::new(env!("CARGO_PKG_VERSION"))
        .seed("draw", asking.seed)
        .parameter("documents", asking.documents)
        .parameter("max_tokens", asking.max_tokens)
        .parameter("fpr", asking.fpr.clone())
        .parameter("shadow_models", models.shadows.len())
        .parameter("shadow_corpus", models.ensemble.record.corpus_fingerprint.clone())
        .parameter("arithmetic", model::arithmetic(model::runtime(&arguments.runtime)))
        .model(model::used("target", &models.target));
    texts
        .corpora
        .iter()
        .fold(provenance, |provenance, (role, corpus)| provenance.corpus(reading::used(role, corpus)))
}
