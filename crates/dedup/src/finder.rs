//! Runs the stages, the exact one first, and turns what they find into one plan.

use std::path::Path;

use rayon::prelude::*;
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::{Note, Progress};
use xxhash_rust::xxh3::xxh3_64;

use crate::apply::record_count;
use crate::config::{Clustering, DedupConfig, Empty, Stage};
use crate::cut::{CutCount, Earlier, Shortened};
use crate::error::{Error, Result};
use crate::exact::{TextHash, equal_texts};
use crate::keep::Keep;
use crate::lines::{LineSearch, repeated_lines};
use crate::near::{Near, NearSearch};
use crate::plan::{Parameters, Plan, References, Removal, StageTally};
use crate::roles::{Roles, ranking};
use crate::room::Resources;
use crate::sets::Texts;
use crate::signs::Signing;
use crate::similarity::Similarity;
use crate::stages::Linked;
use crate::star::{NearCopies, NearCopy};
use crate::substring::{SubstringSearch, repeated_runs};

/// Decides what goes. Reads the corpus, writes nothing but to the scratch; the same corpus and configuration give the
/// same plan for any number of threads and any memory.
///
/// Each stage removes copies and names the document kept for each. The keep policy ranks the documents once, and
/// all stages keep the document of the best rank (for near copies see the rule of stars: a document goes only if
/// it is similar to the kept one itself, not to one that is similar to it; of contained documents the one with most
/// shingles stays). Repeated lines and runs are looked for among the documents that then stay.
pub fn plan(
    corpus: &Corpus,
    config: &DedupConfig,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<Plan> {
    const STEP: &str = "plan";
    let scratch = &resources.scratch;
    if let Some(file) =
        scratch.notes().iter().find(|note| note.step == STEP).and_then(|note| note.files.first())
    {
        return Plan::read(&scratch.open(file)?, Path::new(&file.name));
    }
    let plan = Finder { corpus, config, hash: xxh3_64, resources, linked: None }.plan(progress)?;
    if scratch.is_kept() {
        let files = vec![scratch.write((STEP, 0), |file| plan.write(file))?];
        scratch.note(&Note { step: STEP.to_owned(), end: corpus.n_documents(), files })?;
    }
    Ok(plan)
}

/// What a plan is decided by, for [`Scratch::of_run`](verbatim_store::Scratch::of_run): a run that ended early can go
/// on if this is still the same. The tokenizer of token shingles is not in it.
///
/// # Errors
/// Those of a configuration that cannot be.
pub fn task(corpus: &Corpus, config: &DedupConfig) -> Result<Value> {
    let choice = Near::of(config)?.and_then(|near| near.choice());
    Ok(json!({
        "corpus": corpus.fingerprint(),
        "documents": corpus.n_documents(),
        "references": References::of(corpus),
        "dedup": Parameters::new(config, choice),
    }))
}

/// A search for all that goes.
pub(crate) struct Finder<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) config: &'a DedupConfig,
    pub(crate) hash: TextHash,
    pub(crate) resources: &'a Resources,
    /// What other processes have found of copies.
    pub(crate) linked: Option<&'a Linked>,
}

impl Finder<'_> {
    pub(crate) fn plan(&self, progress: &dyn Progress) -> Result<Plan> {
        let Finder { corpus, config, resources, .. } = *self;
        let near = Near::of(config)?;
        if let Some(signatures) = &resources.signatures {
            signatures.check(corpus, config)?;
        }
        let n_cutting = config.lines.iter().len() + config.substring.iter().len();
        match n_cutting {
            0 if config.exact.is_none() && near.is_none() => return Err(Error::NoStage),
            1 if config.keep == Keep::None => return Err(Error::KeepNoneOfCuts),
            2 => return Err(Error::TwoCuttingStages),
            _ => {}
        }
        let ranking = ranking(corpus, config)?;
        let mut stages = Vec::new();
        let empty: Vec<DocId> = match self.linked {
            Some(linked) => linked.blank.clone(),
            None => {
                let docs = (0..corpus.n_documents()).into_par_iter().map(DocId);
                docs.filter(|&doc| corpus.is_blank(doc)).collect()
            }
        };
        if let (Empty::Error, [first, ..]) = (config.empty, &empty[..]) {
            return Err(Error::EmptyDocument(corpus.location(*first)));
        }
        if config.empty == Empty::Remove {
            stages.push(StageTally::new(Stage::Empty, 0, 0));
        }
        let decided = self.copies(near.as_ref(), &ranking, &mut stages, progress)?;
        // Those without a text were not asked for their key.
        stages
            .iter_mut()
            .for_each(|tally| tally.n_without_key = tally.n_without_key.saturating_sub(empty.len() as u64));
        let mut removals: Vec<Removal> = decided.iter().map(|decision| decision.removal(&ranking)).collect();
        if config.keep == Keep::None {
            removals.extend(kept_removals(corpus, &removals));
        }
        if config.empty == Empty::Remove {
            let gone = |&doc: &DocId| Removal { doc, kept: doc, stage: Stage::Empty, similarity: 1.0 };
            removals.extend(empty.iter().map(gone));
        }
        removals.sort_unstable_by_key(|removal| removal.doc);
        let mut cuts = Vec::new();
        if let Some((stage, found)) = self.shortened(&ranking, &Earlier::new(&removals), progress)? {
            let cut = CutCount::of(corpus, &found.cuts)?;
            stages.push(StageTally { cut, ..StageTally::new(stage, found.n_compared, 0) });
            removals.extend(found.removals);
            removals.sort_unstable_by_key(|removal| removal.doc);
            cuts = found.cuts;
        }
        for removal in &removals {
            let stage = stages.iter_mut().find(|tally| tally.stage == removal.stage);
            let stage = stage.expect("a removal comes from a stage that ran");
            stage.removed += record_count(corpus, removal.doc);
        }
        let parameters = Parameters::new(config, near.and_then(|near| near.choice()));
        Ok(Plan::new(corpus, parameters, stages, removals, cuts).with_empty(empty.len() as u64))
    }

    /// What the stage that looks inside documents decides, if there is one.
    fn shortened(
        &self,
        ranking: &[DocId],
        earlier: &Earlier<'_>,
        progress: &dyn Progress,
    ) -> Result<Option<(Stage, Shortened)>> {
        let Finder { corpus, config, hash, resources, .. } = *self;
        let roles = Roles::of(corpus, config);
        if let Some(config) = &config.lines {
            let search = LineSearch { corpus, ranking, roles, config, hash, resources };
            return Ok(Some((Stage::Lines, repeated_lines(&search, earlier, progress)?)));
        }
        let Some(config) = &config.substring else { return Ok(None) };
        let search = SubstringSearch { corpus, ranking, roles, config, resources };
        Ok(Some((Stage::Substring, repeated_runs(&search, earlier, progress)?)))
    }

    /// What the stages that compare documents decide.
    fn copies(
        &self,
        near: Option<&Near<'_>>,
        ranking: &[DocId],
        stages: &mut Vec<StageTally>,
        progress: &dyn Progress,
    ) -> Result<Vec<Decision>> {
        let Finder { corpus, config, hash, resources, linked } = *self;
        if config.exact.is_none() && near.is_none() {
            return Ok(Vec::new());
        }
        let roles = Roles::of(corpus, config);
        if let Some(linked) = linked {
            let equal = Equal { groups: linked.groups.clone(), n_hashed: linked.n_hashed };
            return self.decided(near, (ranking, equal), stages, |near, search| {
                search.join_linked(near, linked, progress)
            });
        }
        let first = near.map(|near| (near, near.first_pass(corpus, roles, resources)));
        let (step, in_parts) = first.as_ref().map_or(("signing", true), |(_, first)| first.step());
        let signing = Signing {
            step,
            exact: config.exact.as_ref().map(|exact| (exact, hash)),
            near: first.as_ref().map(|(near, first)| (near.shingler, first.sign())),
            gone: &[],
            known: resources.signatures.as_ref(),
            in_parts,
        };
        let mut signs = signing.of(corpus, ranking, &resources.room(), progress)?;
        let hashes = signs.take_hashes();
        let equal = Equal {
            groups: match &config.exact {
                Some(exact) => equal_texts(corpus, ranking, exact, &hashes),
                None => Vec::new(),
            },
            n_hashed: match config.exact.as_ref().and_then(|exact| exact.key.as_ref()) {
                Some(_) => hashes.iter().filter(|&[_, rank]| roles.may_go(rank)).count() as u64,
                None => corpus.n_documents(),
            },
        };
        drop(hashes);
        self.decided(near, (ranking, equal), stages, |near, search| {
            let (_, first) = first.expect("there is a first pass where there is a near stage");
            near.copies(search, first, signs, progress)
        })
    }

    /// What follows from the groups of equal texts and from the near copies, which `find` finds among those that then stay.
    fn decided<'s>(
        &'s self,
        near: Option<&Near<'s>>,
        (ranking, equal): (&'s [DocId], Equal),
        stages: &mut Vec<StageTally>,
        find: impl FnOnce(&Near<'s>, &NearSearch<'_>) -> Result<NearCopies>,
    ) -> Result<Vec<Decision>> {
        let Finder { corpus, config, resources, .. } = *self;
        let roles = Roles::of(corpus, config);
        let Equal { mut groups, n_hashed } = equal;
        groups.retain(|group| roles.may_stay(group[0]));
        let decided: Vec<Decision> = groups.iter().flat_map(|group| equal_copies(roles, group)).collect();
        if config.exact.is_some() {
            let n_without_key = corpus.n_documents() - n_hashed;
            let tally = StageTally::new(Stage::Exact, decided.len() as u64, 0);
            stages.push(StageTally { n_without_key, ..tally });
        }
        let Some(near) = near else { return Ok(decided) };
        let mut gone = vec![false; ranking.len()];
        decided.iter().for_each(|decision| gone[decision.copy as usize] = true);
        let search = NearSearch { corpus, ranking, roles, gone: &gone, resources };
        let found = find(near, &search)?;
        stages.push(StageTally::new(near.stage(), found.n_compared, found.n_passed_over));
        let is_one_text = config.exact.as_ref().is_some_and(|exact| exact.shares_a_text(near.shingler));
        let joining = Joining { near, texts: near.texts(corpus, ranking, roles), is_one_text };
        Ok(joining.decided(&groups, &found.copies))
    }
}

/// What the exact stage found.
struct Equal {
    /// Groups of equal texts, by rank.
    groups: Vec<Vec<u64>>,
    /// Documents that have what is compared.
    n_hashed: u64,
}

/// The documents that others go for, which go as well: each for itself, by the first stage that took one of its copies.
fn kept_removals(corpus: &Corpus, removals: &[Removal]) -> Vec<Removal> {
    let own = removals.iter().filter(|removal| removal.kept.0 < corpus.n_documents());
    let mut kept: Vec<(DocId, Stage)> = own.map(|removal| (removal.kept, removal.stage)).collect();
    kept.sort_unstable();
    kept.dedup_by_key(|(doc, _)| *doc);
    kept.into_iter().map(|(doc, stage)| Removal { doc, kept: doc, stage, similarity: 1.0 }).collect()
}

/// A document that goes, by rank.
struct Decision {
    copy: u64,
    kept: u64,
    stage: Stage,
    similarity: Similarity,
}

impl Decision {
    fn near(stage: Stage, &NearCopy { copy, kept, similarity }: &NearCopy) -> Self {
        Decision { copy, kept, stage, similarity }
    }

    fn removal(&self, ranking: &[DocId]) -> Removal {
        Removal {
            doc: ranking[self.copy as usize],
            kept: ranking[self.kept as usize],
            stage: self.stage,
            similarity: self.similarity.value(),
        }
    }
}

/// The members of a group of equal texts but the first, which is kept.
fn equal_copies(roles: Roles, group: &[u64]) -> impl Iterator<Item = Decision> {
    let kept = group[0];
    roles.going(group, |&rank| rank).map(move |&copy| Decision {
        copy,
        kept,
        stage: Stage::Exact,
        similarity: Similarity::EQUAL,
    })
}

/// Joins the groups of equal texts with the near copies, so that whatever is kept for a document really stays.
///
/// Where the first of a group of equal texts went as a near copy of another document, each other member of the
/// group is compared with that document, because texts that are equal after the exact stage's normalisation may
/// still differ in shingles (in components they go for it in any case). The similar ones are its near copies too; of the others the first is kept.
struct Joining<'a> {
    near: &'a Near<'a>,
    texts: Texts<'a>,
    /// Whether equal texts are equal in shingles as well.
    is_one_text: bool,
}

impl Joining<'_> {
    fn decided(&self, groups: &[Vec<u64>], copies: &[NearCopy]) -> Vec<Decision> {
        let near_copy =
            |rank: u64| copies.binary_search_by_key(&rank, |copy| copy.copy).ok().map(|i| copies[i]);
        let stage = self.near.stage();
        let mut decided: Vec<Decision> = copies.iter().map(|copy| Decision::near(stage, copy)).collect();
        let rejoined: Vec<Vec<Decision>> = groups
            .par_iter()
            .map(|group| match near_copy(group[0]) {
                Some(first) if self.is_one_text => group[1..]
                    .iter()
                    .map(|&copy| Decision::near(stage, &NearCopy { copy, ..first }))
                    .collect(),
                Some(first) => self.rejoined(group, first.kept),
                None => equal_copies(self.texts.roles, group).collect(),
            })
            .collect();
        decided.extend(rejoined.into_iter().flatten());
        decided
    }

    fn rejoined(&self, group: &[u64], kept: u64) -> Vec<Decision> {
        let Joining { near, texts, .. } = self;
        let shingles = texts.shingles(kept);
        let mut decided = Vec::new();
        let mut different = Vec::new();
        for &copy in &group[1..] {
            let set = texts.shingles(copy);
            let similarity = match near.clustering {
                Clustering::Star => texts.similar((copy, &set), (kept, &shingles)),
                // It is joined to the kept document through its equal.
                Clustering::Transitive => Some(texts.rule.similarity(&set, &shingles)),
            };
            match similarity {
                Some(similarity) => decided.push(Decision { copy, kept, stage: near.stage(), similarity }),
                None => different.push(copy),
            }
        }
        if !different.is_empty() {
            decided.extend(equal_copies(texts.roles, &different));
        }
        decided
    }
}
