//! Trains, serves and measures, one row after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use verbatim_corpus::{Corpus, FieldPath, OpenConfig};
use verbatim_dedup::Resources as DedupResources;
use verbatim_extraction::{Placement, audit_canaries};
use verbatim_index::count_strings;
use verbatim_lm::{
    Checkpoint, Gpt2, LanguageModel, Passage, Release, Resources, Runtime, SampleRequest, SamplingConfig,
    Temperature, TextModel, TokenRecord, Tokenizer, score_passages,
};
use verbatim_membership::signal::loss_signal;
use verbatim_membership::{Inferring, Scores, Signal, quantile_slices, roc, slices, text_signals};
use verbatim_store::{Access, Existing, StagedDir, Within, write_shared};

use super::claims::{Evidence, claims};
use super::guarded::guarded;
use super::measure::Questions;
use super::{
    Defence, DefendConfig, Defended, FPR, Kind, Measured, Moment, Row, SignalScores, SliceRow, Subject,
    TrainingFacts,
};
use crate::data::TrainingData;
use crate::error::{Error, Result};
use crate::private::{PrivateConfig, standard_delta};
use crate::recipe::{Recipe, TrainingTexts, train_once};
use crate::release::{
    Averaged, LabelOnly, LowMargin, MemFree, Noise, NoiseKind, Rounded, TemperatureUndone, Tempered, TopK,
};
use crate::synth::{SynthDocument, write_documents};
use crate::train::{TrainConfig, Trained, train_observed};

/// Of the held-out texts, one in so many measures the loss by which early stopping stops; the others are non-members.
const VALIDATION_SHARE: usize = 5;

/// Slices by rarity and by length.
const N_SLICES: usize = 3;

/// Trains and measures every defence.
///
/// `folder` keeps the trained models, each in a folder by the name of its defence; those that are there are not trained again,
/// so that a run that was interrupted goes on to the same result.
///
/// # Errors
/// [`Error::Config`] for too few texts; those of training, deduplication, the models and the disk.
pub fn defend(
    subject: &Subject<'_>,
    config: &DefendConfig,
    folder: &Path,
    resources: Resources<'_>,
) -> Result<Defended> {
    let mut bench = Bench::new(subject, config, folder, resources)?;
    bench.prepare()?;
    let mut rows = Vec::new();
    for defence in Defence::TRAINED {
        rows.push(bench.trained_row(defence)?);
    }
    let undefended = bench.open(Defence::None)?;
    for defence in Defence::SERVED {
        rows.push(bench.served_row(defence, &undefended)?);
    }
    let moments = bench.moments()?;
    let slices = bench.slices(&rows[0].measured)?;
    let evidence = Evidence {
        rows: &rows,
        moments: &moments,
        slices: &slices,
        people: &bench.people(undefended.text_model())?,
        epsilon: config.epsilon,
        level: config.level,
    };
    let claims = claims(&evidence);
    resources.progress.stage("replay requests through guards", None, "requests");
    let [documents, held_out] = [subject.corpus, subject.held_out].map(texts_of);
    let of_texts = (&documents[..], &held_out[..]);
    let draws = (config.seed, config.level);
    let guards = guarded(undefended.text_model(), of_texts, subject.ledger, draws, resources)?;
    let n = [bench.members.len() as u64, bench.non_members.len() as u64];
    Ok(Defended { n, rows, moments, slices, guards, claims })
}

/// The texts of a corpus that are not blank.
fn texts_of(corpus: &Corpus) -> Vec<String> {
    let ids = corpus.ids().filter(|id| !corpus.is_blank(*id));
    ids.map(|id| corpus.text_str(id).into_owned()).collect()
}

/// The field `source` of the texts that have it.
fn sources(corpora: [&Corpus; 2]) -> Result<BTreeMap<String, String>> {
    let field: FieldPath = "source".parse()?;
    let mut sources = BTreeMap::new();
    for corpus in corpora {
        for id in corpus.ids() {
            if let Some(Value::String(source)) = corpus.field(id, &field) {
                sources.insert(corpus.text_str(id).into_owned(), source);
            }
        }
    }
    Ok(sources)
}

/// What all rows share.
struct Bench<'a> {
    subject: &'a Subject<'a>,
    config: &'a DefendConfig,
    folder: &'a Path,
    resources: Resources<'a>,
    tokenizer: Tokenizer,
    /// Corpora of the defences that change the corpus.
    corpora: BTreeMap<Defence, Corpus>,
    members: Vec<String>,
    non_members: Vec<String>,
    validation: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(
        subject: &'a Subject<'a>,
        config: &'a DefendConfig,
        folder: &'a Path,
        resources: Resources<'a>,
    ) -> Result<Bench<'a>> {
        let (validation, non_members): (Vec<_>, Vec<_>) = texts_of(subject.held_out)
            .into_iter()
            .enumerate()
            .partition(|(at, _)| at % VALIDATION_SHARE == 0);
        let texts = |all: Vec<(usize, String)>| all.into_iter().map(|(_, text)| text).collect();
        Ok(Bench {
            subject,
            config,
            folder,
            resources,
            tokenizer: Tokenizer::from_bytes(subject.tokenizer_json)?,
            corpora: BTreeMap::new(),
            members: Vec::new(),
            non_members: texts(non_members),
            validation: texts(validation),
        })
    }

    /// Deduplicates the corpus at each level and finds the members that are the same at all of them.
    fn prepare(&mut self) -> Result<()> {
        let progress = self.resources.progress;
        let levels = Defence::TRAINED.into_iter().filter(|defence| defence.kind() == Kind::Data);
        progress.stage("deduplicate", Some(levels.clone().count() as u64), "levels");
        for defence in levels {
            let Some(dedup) = defence.dedup()? else { continue };
            let corpus = self.subject.corpus;
            let target = self.folder.join(format!("{defence}.corpus"));
            let staged = StagedDir::create(&target, Access::Private, Existing::Replace)?;
            let plan = verbatim_dedup::plan(
                corpus,
                &dedup,
                &DedupResources::standard(staged.path()),
                &Within(progress),
            )?;
            verbatim_dedup::apply(corpus, &plan, staged.path(), &Within(progress))?;
            staged.commit()?;
            self.corpora
                .insert(defence, Corpus::open(&[target], &OpenConfig::standard(), &Within(progress))?);
            progress.advance(1);
        }
        let holds = |text: &str| {
            let secret = self.subject.ledger.iter().any(|canary| text.contains(&canary.secret));
            let record = |person: &super::Person| person.prefixes.iter().any(|prefix| text.contains(prefix));
            secret || self.subject.people.iter().any(record)
        };
        let left: Vec<BTreeSet<String>> =
            self.corpora.values().map(|corpus| texts_of(corpus).into_iter().collect()).collect();
        let mut seen = BTreeSet::new();
        self.members = texts_of(self.subject.corpus);
        self.members.retain(|text| {
            left.iter().all(|left| left.contains(text)) && !holds(text) && seen.insert(text.clone())
        });
        let non_members = self.non_members.len();
        self.non_members.retain(|text| !seen.contains(text));
        if self.members.len().min(self.non_members.len()) < 2 {
            return Err(Error::Config(format!(
                "{} texts of the corpus stay the same at every level of deduplication and hold no secret, and {non_members} \
                 were held out: two of each are needed",
                self.members.len()
            )));
        }
        Ok(())
    }

    fn questions(&self) -> Questions<'_> {
        Questions {
            ledger: self.subject.ledger,
            members: &self.members,
            non_members: &self.non_members,
            n_references: self.config.n_references,
            level: self.config.level,
            seed: self.config.seed,
        }
    }

    fn corpus(&self, defence: Defence) -> &Corpus {
        self.corpora.get(&defence).unwrap_or(self.subject.corpus)
    }

    /// How the training differs from the undefended one.
    fn recipe(&self, defence: Defence) -> Result<Recipe> {
        let mut recipe = self.config.recipe.clone();
        let (shape, train) = (&mut recipe.shape, &mut recipe.train);
        match defence {
            Defence::DpSgd | Defence::DpSgdBroken => train.private = Some(self.private(defence, train)?),
            Defence::Dropout => shape.dropout = 0.2,
            Defence::WeightDecay => train.adamw.weight_decay = (10.0 * train.adamw.weight_decay).max(1.0),
            Defence::EarlyStopping => train.patience = Some(1),
            Defence::SmallerModel => {
                shape.n_layer = (shape.n_layer / 2).max(1);
                shape.n_embd /= 2;
                shape.n_head = (shape.n_head / 2).max(1);
            }
            _ => {}
        }
        Ok(recipe)
    }

    fn texts<'t>(&'t self, corpus: &'t Corpus, defence: Defence) -> TrainingTexts<'t> {
        let validation = if defence == Defence::EarlyStopping { &self.validation[..] } else { &[] };
        TrainingTexts { validation, ..corpus.into() }
    }

    fn trained_row(&mut self, defence: Defence) -> Result<Row> {
        if defence == Defence::Surrogate {
            let corpus = self.written_by_the_undefended()?;
            self.corpora.insert(defence, corpus);
        }
        let recipe = self.recipe(defence)?;
        let corpus = self.corpus(defence);
        self.resources.progress.stage(defence.name(), None, "steps");
        let record = train_once(
            self.texts(corpus, defence),
            self.subject.tokenizer_json,
            &recipe,
            &self.folder.join(defence.name()),
            &Within(self.resources.progress),
        )?;
        let checkpoint = self.open(defence)?;
        let delta = record.privacy.as_ref().map_or(0.0, |privacy| privacy.delta);
        let measured = Measured::of(checkpoint.text_model(), &self.questions(), delta, self.resources)?;
        Ok(Row {
            defence,
            training: Some(TrainingFacts {
                n_documents: record.n_documents,
                n_tokens: record.n_train_tokens as u64,
                n_steps: record.n_steps,
                n_parameters: record.n_parameters as u64,
                privacy: record.privacy,
            }),
            copies_left: self.copies_left(corpus),
            measured,
        })
    }

    fn open(&self, defence: Defence) -> Result<Checkpoint> {
        Ok(Checkpoint::open(&self.folder.join(defence.name()), Runtime::default())?)
    }

    /// How often the texts of secrets that were planted more than once stand in a corpus.
    fn copies_left(&self, corpus: &Corpus) -> BTreeMap<Placement, u64> {
        let repeated: Vec<_> = self.subject.ledger.iter().filter(|canary| canary.copies > 1).collect();
        let texts: Vec<Vec<u8>> = repeated
            .iter()
            .map(|canary| format!("{}{}", canary.prefix, canary.secret).into_bytes())
            .collect();
        let counts = count_strings(corpus, &texts, &Within(self.resources.progress));
        let mut left = BTreeMap::new();
        for (canary, count) in repeated.iter().zip(counts) {
            *left.entry(canary.placement).or_insert(0) += count.n_occurrences;
        }
        left
    }

    /// The corpus of the surrogate: as much text as the undefended model was trained on, drawn from it without a prompt.
    fn written_by_the_undefended(&self) -> Result<Corpus> {
        let path = self.folder.join("surrogate.jsonl");
        if !path.exists() {
            let checkpoint = self.open(Defence::None)?;
            let start = checkpoint.model.bos().or(self.tokenizer.end_of_text());
            let start =
                start.ok_or_else(|| Error::Config("the model has no token that begins a text".to_owned()))?;
            let corpus = self.subject.corpus;
            let n = corpus.n_documents();
            let requests: Vec<SampleRequest> =
                (0..n).map(|index| SampleRequest { index, prompt: vec![start] }).collect();
            let sampling = SamplingConfig {
                max_new_tokens: checkpoint.model.context_len() - 1,
                top_k: None,
                top_p: None,
                temperature: Temperature::Fixed(1.0),
                seed: self.config.seed,
                batch: self.resources.batch,
                stop_token: Some(start),
            };
            self.resources.progress.stage("draw the surrogate's corpus", Some(n), "texts");
            let samples = checkpoint.model.sample(&requests, &sampling, &Within(self.resources.progress))?;
            let documents: Vec<SynthDocument> = samples
                .iter()
                .map(|sample| SynthDocument {
                    id: format!("s{:06}", sample.index),
                    text: String::from_utf8_lossy(&self.tokenizer.decode(&sample.tokens)).into_owned(),
                })
                .collect();
            let mut bytes = Vec::new();
            write_documents(&documents, &mut bytes, &path)?;
            write_shared(&path, &bytes)?;
        }
        Ok(Corpus::open(&[path], &OpenConfig::standard(), &Within(self.resources.progress))?)
    }

    fn served_row(&self, defence: Defence, undefended: &Checkpoint) -> Result<Row> {
        self.resources.progress.stage(defence.name(), None, "texts");
        let noise = Noise::new(NoiseKind::Gaussian, 1.0, self.config.seed)?;
        let release: Box<dyn Release> = match defence {
            Defence::Rounded => Box::new(Rounded::new(2)?),
            Defence::TopK => Box::new(TopK::new(5)),
            Defence::Noise => Box::new(noise),
            Defence::NoiseAveraged => Box::new(Averaged::new(noise, 16)?),
            Defence::LabelOnly => Box::new(LabelOnly::new(0.1)?),
            Defence::LowMargin => Box::new(LowMargin::new(0.1)?),
            Defence::MemFree => Box::new(self.mem_free()?),
            _ => Box::new(Tempered::new(2.0)?),
        };
        let model = undefended.model.served(release.as_ref());
        let undone = TemperatureUndone::new(2.0)?;
        let attacked = (defence == Defence::TemperatureUndone).then(|| model.served(&undone));
        let model: &dyn LanguageModel = attacked.as_deref().unwrap_or(model.as_ref());
        let asked = TextModel { model, tokenizer: &undefended.tokenizer };
        let measured = Measured::of(asked, &self.questions(), 0.0, self.resources)?;
        Ok(Row { defence, training: None, copies_left: BTreeMap::new(), measured })
    }

    fn mem_free(&self) -> Result<MemFree> {
        let corpus = self.subject.corpus;
        let start = self.tokenizer.end_of_text();
        let tokens: Vec<Vec<u32>> = corpus
            .ids()
            .map(|id| start.into_iter().chain(self.tokenizer.encode(&corpus.text_str(id))).collect())
            .collect();
        MemFree::new(tokens.iter().map(Vec::as_slice), 10, 1e-4)
    }

    /// The noise of the claimed epsilon, or, broken, none.
    fn private(&self, defence: Defence, train: &TrainConfig) -> Result<PrivateConfig> {
        let n = self.subject.corpus.ids().count();
        let delta = standard_delta(n);
        let noise_multiplier = match defence {
            Defence::DpSgd => train.noise_for_epsilon(self.config.epsilon, delta, n)?,
            _ => 0.0,
        };
        Ok(PrivateConfig { clip_norm: Some(1.0), noise_multiplier, delta })
    }

    /// The undefended training once more, looked at after each epoch.
    fn moments(&self) -> Result<Vec<Moment>> {
        let recipe = self.recipe(Defence::None)?;
        let data = TrainingData::encode(self.subject.corpus.into(), &self.tokenizer, recipe.train.seed, 0.0)?;
        let shape = crate::recipe::model_config(&recipe.shape, &self.tokenizer);
        let progress = self.resources.progress;
        progress.stage("watch the undefended training", None, "epochs");
        let mut moments = Vec::new();
        let mut observe = |trained: &Trained| -> Result<()> {
            let model = Gpt2::new(trained.model.clone(), trained.tensors.iter().cloned().collect())?;
            moments.push(self.moment(&model, moments.len() as u64 + 1)?);
            progress.advance(1);
            Ok(())
        };
        train_observed(&data, &shape, &recipe.train, &mut observe, &Within(progress))?;
        Ok(moments)
    }

    fn moment(&self, model: &dyn LanguageModel, epoch: u64) -> Result<Moment> {
        let within = Within(self.resources.progress);
        let questions = self.questions();
        let asked = TextModel { model, tokenizer: &self.tokenizer };
        let resources = Resources { progress: &within, ..self.resources };
        let recitations = audit_canaries(asked, questions.ledger, resources)?;
        let losses = |texts: &[String]| -> Result<Vec<f64>> {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let said = text_signals(&mut Inferring::alone(asked), &[Signal::Loss], &texts, resources)?;
            Ok(said.iter().filter_map(|text| text.values[0]).collect())
        };
        let (members, non_members) = (losses(&self.members)?, losses(&self.non_members)?);
        let mean = |scores: &[f64]| 0.0 - scores.iter().sum::<f64>() / scores.len() as f64;
        let auc =
            Scores::new(&members, &non_members).map_or(0.5, |scores| roc::auc(scores, self.config.level).auc);
        Ok(Moment {
            epoch,
            nats: [mean(&members), mean(&non_members)],
            auc,
            n_recited: recitations.iter().filter(|one| one.recited && !one.control).count() as u64,
        })
    }

    /// Members and non-members of the undefended model by how rare their tokens are, by length, and by source where they have one.
    fn slices(&self, undefended: &Measured) -> Result<Vec<SliceRow>> {
        let texts = || self.members.iter().chain(&self.non_members);
        let tokens: Vec<Vec<u32>> = texts().map(|text| self.tokenizer.encode(text)).collect();
        let mut counts = vec![1u64; self.tokenizer.vocab_size()];
        let corpus = self.subject.corpus;
        for token in corpus.ids().flat_map(|id| self.tokenizer.encode(&corpus.text_str(id))) {
            counts[token as usize] += 1;
        }
        let total = counts.iter().sum::<u64>() as f64;
        let rarity = |tokens: &Vec<u32>| {
            let nats: f64 = tokens.iter().map(|token| (total / counts[*token as usize] as f64).ln()).sum();
            nats / tokens.len().max(1) as f64
        };
        let thirds = |values: Vec<f64>| quantile_slices(&values, N_SLICES).into_iter().map(Some).collect();
        let sources = sources([self.subject.corpus, self.subject.held_out])?;
        let names: Vec<&String> = BTreeSet::from_iter(sources.values()).into_iter().collect();
        let number = |text| names.binary_search(&sources.get(text)?).ok();
        let by: [(&'static str, Vec<Option<usize>>); 3] = [
            ("rarity", thirds(tokens.iter().map(rarity).collect())),
            ("length", thirds(tokens.iter().map(|tokens| tokens.len() as f64).collect())),
            ("source", texts().map(number).collect()),
        ];
        let SignalScores { members: inside, non_members: outside, .. } = &undefended.signals[0];
        let mut rows = Vec::new();
        for (by, keys) in by {
            let scored = |scores: &[Option<f64>], keys: &[Option<usize>]| -> Vec<(usize, f64)> {
                scores.iter().zip(keys).filter_map(|(score, key)| Some(((*key)?, (*score)?))).collect()
            };
            let (of_members, of_others) = keys.split_at(inside.len());
            let others: Vec<(Option<usize>, f64)> =
                scored(outside, of_others).into_iter().map(|(key, score)| (Some(key), score)).collect();
            let found = slices(&scored(inside, of_members), &others, FPR, self.config.level);
            for slice in found.into_iter().flatten() {
                let Ok(auc) = slice.auc else { continue };
                let (low, high) = (auc.interval.low, auc.interval.high);
                let name = (by == "source").then(|| names[slice.key].clone());
                rows.push(SliceRow { by, number: slice.key, name, n: slice.n, auc: auc.auc, low, high });
            }
        }
        Ok(rows)
    }

    /// Of each person, how many of the fabricated profiles the model holds more likely than the true one, and how many there are.
    fn people(&self, model: TextModel<'_>) -> Result<Vec<(u64, u64)>> {
        let start = model.model.bos().or(model.tokenizer.end_of_text());
        let mut ranks = Vec::with_capacity(self.subject.people.len());
        for person in self.subject.people {
            let profiles: Vec<&Vec<String>> =
                std::iter::once(&person.profile).chain(&person.fabricated).collect();
            let passages: Vec<Passage> = profiles
                .iter()
                .flat_map(|profile| person.prefixes.iter().zip(profile.iter()))
                .map(|(prefix, record)| Passage {
                    prompt: start.into_iter().chain(model.tokenizer.encode(prefix)).collect(),
                    continuation: model.tokenizer.encode(record),
                })
                .collect();
            let within = Within(self.resources.progress);
            let said = score_passages(model.model, &passages, self.resources.batch, &within)?;
            // Records are of different lengths, so that each counts by the mean of its tokens.
            let of_record = |records: &Option<Vec<TokenRecord>>| {
                loss_signal(records.as_deref().unwrap_or_default()).unwrap_or(f64::NEG_INFINITY)
            };
            let scores: Vec<f64> = said
                .chunks(person.prefixes.len().max(1))
                .map(|records| records.iter().map(of_record).sum())
                .collect();
            let n_better = scores[1..].iter().filter(|score| **score >= scores[0]).count();
            ranks.push((n_better as u64, person.fabricated.len() as u64));
        }
        Ok(ranks)
    }
}
