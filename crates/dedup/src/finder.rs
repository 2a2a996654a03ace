//! Runs the stages, the exact one first, and turns what they find into one plan.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_128;

use crate::apply::record_count;
use crate::buckets::Buckets;
use crate::config::{DedupConfig, MinhashConfig, Stage};
use crate::cut::CutCount;
use crate::error::{Error, Result};
use crate::exact::{TextHash, equal_texts};
use crate::lines::{LineSearch, repeated_lines};
use crate::lsh::BandChoice;
use crate::minhash::Permutations;
use crate::plan::{Parameters, Plan, Removal, StageTally};
use crate::signs::{Signing, Signs};
use crate::similarity::Similarity;
use crate::star::{NearCopies, NearCopy, Texts, near_copies};

/// Decides what goes. Reads the corpus, writes nothing; the same corpus and configuration give the same plan for
/// any number of threads.
///
/// Each stage removes copies and names the document kept for each. The keep policy ranks the documents once, and
/// all stages keep the document of the best rank (for near copies see the rule of stars: a document goes only if
/// it is similar to the kept one itself, not to one that is similar to it). Repeated lines are looked for among the
/// documents that then stay.
pub fn plan(corpus: &Corpus, config: &DedupConfig, progress: &dyn Progress) -> Result<Plan> {
    plan_with_hash(corpus, config, xxh3_128, progress)
}

pub(crate) fn plan_with_hash(
    corpus: &Corpus,
    config: &DedupConfig,
    hash: TextHash,
    progress: &dyn Progress,
) -> Result<Plan> {
    if config.exact.is_none() && config.minhash.is_none() && config.lines.is_none() {
        return Err(Error::NoStage);
    }
    if corpus.n_documents() >= u64::from(u32::MAX) {
        return Err(Error::TooManyDocuments(corpus.n_documents()));
    }
    let resolved = config.minhash.as_ref().map(MinhashConfig::resolve).transpose()?;
    let ranking = config.keep.ranking(corpus);
    let near = config.minhash.as_ref().zip(resolved);
    let signing = Signing {
        exact: config.exact.as_ref().map(|exact| (&exact.normalizer, hash)),
        near: near.map(|(minhash, (_, choice))| (&minhash.shingler, Permutations::new(choice, minhash.seed))),
    };
    let mut signs = match (&signing.exact, &signing.near) {
        (None, None) => Signs::default(),
        _ => signing.of(corpus, &ranking, progress)?,
    };
    let groups = match &config.exact {
        Some(exact) => equal_texts(corpus, &ranking, &exact.normalizer, std::mem::take(&mut signs.hashes)),
        None => Vec::new(),
    };
    let mut decided: Vec<Decision> = groups.iter().flat_map(|group| equal_copies(group)).collect();
    let mut stages = Vec::new();
    if config.exact.is_some() {
        stages.push(StageTally::new(Stage::Exact, decided.len() as u64, 0));
    }
    if let Some((minhash, (threshold, choice))) = near {
        let texts = Texts { corpus, ranking: &ranking, shingler: &minhash.shingler, threshold };
        let found = find_near_copies(&texts, signs, choice, &decided, progress)?;
        stages.push(StageTally::new(Stage::Minhash, found.n_compared, found.n_passed_over));
        decided = rejoin(&texts, &groups, &found.copies);
    }
    let mut removals: Vec<Removal> = decided.iter().map(|decision| decision.removal(&ranking)).collect();
    removals.sort_unstable_by_key(|removal| removal.doc);
    let mut cuts = Vec::new();
    if let Some(lines) = &config.lines {
        let search = LineSearch { corpus, ranking: &ranking, config: lines, hash };
        let found = repeated_lines(&search, &removals, progress)?;
        let cut = CutCount::of(corpus, &found.cuts)?;
        stages.push(StageTally { cut, ..StageTally::new(Stage::Lines, found.n_compared, 0) });
        removals.extend(found.removals);
        removals.sort_unstable_by_key(|removal| removal.doc);
        cuts = found.cuts;
    }
    for removal in &removals {
        let stage = stages.iter_mut().find(|tally| tally.stage == removal.stage);
        let stage = stage.expect("a removal comes from a stage that ran");
        stage.removed += record_count(corpus, removal.doc);
    }
    let parameters = Parameters::new(config, resolved.map(|(_, choice)| choice));
    Ok(Plan::new(corpus, parameters, stages, removals, cuts))
}

/// A document that goes, by rank.
struct Decision {
    copy: u32,
    kept: u32,
    stage: Stage,
    similarity: Similarity,
}

impl Decision {
    fn near(&NearCopy { copy, kept, similarity }: &NearCopy) -> Self {
        Decision { copy, kept, stage: Stage::Minhash, similarity }
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
fn equal_copies(group: &[u32]) -> impl Iterator<Item = Decision> {
    let kept = group[0];
    group[1..].iter().map(move |&copy| Decision {
        copy,
        kept,
        stage: Stage::Exact,
        similarity: Similarity::EQUAL,
    })
}

/// The near copies among the documents that the exact stage left.
fn find_near_copies(
    texts: &Texts<'_>,
    signs: Signs,
    choice: BandChoice,
    gone: &[Decision],
    progress: &dyn Progress,
) -> Result<NearCopies> {
    let mut is_gone = vec![false; texts.ranking.len()];
    gone.iter().for_each(|decision| is_gone[decision.copy as usize] = true);
    let buckets = Buckets::new(&signs, choice.bands, &is_gone)?;
    drop(signs);
    near_copies(texts, &buckets, progress)
}

/// All decisions, so that whatever is kept for a document really stays.
///
/// Where the first of a group of equal texts went as a near copy of another document, each other member of the
/// group is compared with that document, because texts that are equal after the exact stage's normalisation may
/// still differ in shingles. The similar ones are its near copies too; of the others the first is kept.
fn rejoin(texts: &Texts<'_>, groups: &[Vec<u32>], near: &[NearCopy]) -> Vec<Decision> {
    let near_copy = |rank: u32| near.binary_search_by_key(&rank, |copy| copy.copy).ok().map(|i| near[i]);
    let mut decided: Vec<Decision> = near.iter().map(Decision::near).collect();
    let rejoined: Vec<Vec<Decision>> = groups
        .par_iter()
        .map(|group| match near_copy(group[0]) {
            Some(first) => rejoin_group(texts, group, first.kept),
            None => equal_copies(group).collect(),
        })
        .collect();
    decided.extend(rejoined.into_iter().flatten());
    decided
}

fn rejoin_group(texts: &Texts<'_>, group: &[u32], kept: u32) -> Vec<Decision> {
    let shingles = texts.shingles(kept);
    let mut decided = Vec::new();
    let mut different = Vec::new();
    for &copy in &group[1..] {
        match texts.similar(&texts.shingles(copy), &shingles) {
            Some(similarity) => decided.push(Decision::near(&NearCopy { copy, kept, similarity })),
            None => different.push(copy),
        }
    }
    if !different.is_empty() {
        decided.extend(equal_copies(&different));
    }
    decided
}
