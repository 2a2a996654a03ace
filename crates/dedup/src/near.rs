//! The near-copy stage: which documents to compare, by MinHash or by all pairs, and the comparing.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Shingler;
use verbatim_store::{Progress, Sorted, Sorter};

use crate::all_pairs::{Counts, Marked, Marks, Prefix, Prefixes, Sizes};
use crate::buckets::Buckets;
use crate::components::joined_copies;
use crate::config::{Clustering, DedupConfig, Stage, resolved};
use crate::error::{Error, Result};
use crate::lsh::BandChoice;
use crate::minhash::Permutations;
use crate::roles::Roles;
use crate::room::Resources;
use crate::sets::{Comparer, Rule, Sets, Texts};
use crate::signs::{Sign, Signing, Signs};
use crate::similarity::{Measure, Threshold};
use crate::stages::Linked;
use crate::star::{Candidates, NearCopies, NearCopy, near_copies};
use crate::verdicts::{Asking, Finishing};

/// Pairs without a verdict, at most, that the process which decides compares itself: so many, or this share of those that
/// it looks at. Small in tests, so that they ask.
const MAX_LATE: u64 = if cfg!(test) { 8 } else { 1024 };
const LATE_SHARE: u64 = 32;

/// The stage as it was asked for.
pub(crate) struct Near<'a> {
    pub(crate) shingler: &'a Shingler,
    pub(crate) threshold: Threshold,
    pub(crate) measure: Measure,
    edit_threshold: Option<Threshold>,
    pub(crate) clustering: Clustering,
    /// Bands and the seed of their permutations; `None` for all pairs.
    bands: Option<(BandChoice, u64)>,
    /// For all pairs, no filter.
    pub(crate) brute_force: bool,
}

/// What the pass over the texts that the exact stage shares notes of their shingles.
pub(crate) enum FirstPass {
    Bands(Permutations),
    Counts(Counts),
    Sizes(Sizes),
}

impl FirstPass {
    pub(crate) fn sign(&self) -> &dyn Sign {
        match self {
            FirstPass::Bands(permutations) => permutations,
            FirstPass::Counts(counts) => counts,
            FirstPass::Sizes(sizes) => sizes,
        }
    }

    /// The pass and whether its parts are of use without the rest.
    pub(crate) fn step(&self) -> (&'static str, bool) {
        match self {
            FirstPass::Bands(_) => ("signing", true),
            FirstPass::Counts(_) => ("counting", false),
            FirstPass::Sizes(_) => ("sizes", true),
        }
    }
}

impl<'a> Near<'a> {
    /// The near-copy stage of a configuration, if it has one.
    pub(crate) fn of(config: &'a DedupConfig) -> Result<Option<Self>> {
        let (shingler, threshold, measure, bands) = match (&config.minhash, &config.all_pairs) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(Error::TwoNearStages),
            (Some(minhash), None) => {
                let (threshold, choice) = minhash.resolve()?;
                (&minhash.shingler, threshold, Measure::Jaccard, Some((choice, minhash.seed)))
            }
            (None, Some(all)) => (&all.shingler, resolved(all.threshold)?, all.measure, None),
        };
        let edit_threshold = config.edit_similarity.map(resolved).transpose()?;
        let clustering = config.clustering;
        let brute_force = config.all_pairs.as_ref().is_some_and(|all| all.brute_force);
        Ok(Some(Near { shingler, threshold, measure, edit_threshold, clustering, bands, brute_force }))
    }

    /// What it is called in a plan.
    pub(crate) fn stage(&self) -> Stage {
        if self.bands.is_some() { Stage::Minhash } else { Stage::AllPairs }
    }

    /// The bands, if it has some.
    pub(crate) fn choice(&self) -> Option<BandChoice> {
        self.bands.map(|(choice, _)| choice)
    }

    /// Shingles in the prefixes of sets that have so many together.
    pub(crate) fn prefix_of(&self, n_shingles: u64) -> u64 {
        Prefix { threshold: self.threshold }.len(n_shingles as usize) as u64
    }

    /// Passes over the texts.
    pub(crate) fn passes(&self) -> u64 {
        match (self.bands, self.measure) {
            _ if self.brute_force => 1,
            (Some(_), _) => 1,
            (None, Measure::Jaccard) => 2,
            (None, Measure::Containment) => 3,
        }
    }

    pub(crate) fn first_pass(&self, corpus: &Corpus, roles: Roles, resources: &Resources) -> FirstPass {
        match self.bands {
            None if self.brute_force => FirstPass::Sizes(Sizes { roles }),
            Some((choice, seed)) => FirstPass::Bands(Permutations::new(choice, seed)),
            None => {
                let n_bytes = corpus.text_bytes() + corpus.reference_text_bytes();
                FirstPass::Counts(Counts::new(self.shingler, n_bytes, resources.memory / 4))
            }
        }
    }

    /// The texts of the documents of a ranking.
    pub(crate) fn texts(&self, corpus: &'a Corpus, ranking: &'a [DocId], roles: Roles) -> Texts<'a> {
        Texts { corpus, ranking, roles, rule: self.rule() }
    }

    /// When two texts are copies.
    pub(crate) fn rule(&self) -> Rule<'a> {
        let Near { shingler, threshold, measure, edit_threshold, .. } = *self;
        Rule { shingler, threshold, measure, edit_threshold }
    }

    /// The near copies among the documents that are not `gone`, by rank.
    pub(crate) fn copies(
        &self,
        search: &NearSearch<'_>,
        first: FirstPass,
        signs: Signs,
        progress: &dyn Progress,
    ) -> Result<NearCopies> {
        match (first, self.measure) {
            (FirstPass::Bands(_), _) => search.join(self, signs.keys, &Candidates::Likely, progress),
            (FirstPass::Counts(counts), Measure::Jaccard) => {
                let prefix = Prefix { threshold: self.threshold };
                let sign = Prefixes { counts: &counts, prefix };
                let signs = search.pass("prefixes", self.shingler, &sign, progress)?;
                drop(counts);
                let least = move |_, n| prefix.least_shared(prefix.threshold.least_of(n));
                search.join(self, signs.keys, &Candidates::Filtered(Box::new(least)), progress)
            }
            (FirstPass::Counts(counts), Measure::Containment) => {
                let marks = Marks::new(&counts, Prefix { threshold: self.threshold }, search.roles);
                let sizes = search.pass("prefixes", self.shingler, &marks, progress)?;
                let order = BySize::new(search, &sizes.keys.finish());
                let by_size = order.search(search);
                let marked = Marked::new(&marks, by_size.ranking.len());
                let signs = by_size.pass("marked", self.shingler, &marked, progress)?;
                let least_shared = marked.least_shared();
                drop(counts);
                let least = move |rank, _| least_shared[rank as usize] as usize;
                let candidates = Candidates::Filtered(Box::new(least));
                Ok(order.by_rank(by_size.join(self, signs.keys, &candidates, progress)?))
            }
            (FirstPass::Sizes(_), Measure::Jaccard) => search.join_all(self, progress),
            (FirstPass::Sizes(_), Measure::Containment) => {
                let order = BySize::new(search, &signs.keys.finish());
                Ok(order.by_rank(order.search(search).join_all(self, progress)?))
            }
        }
    }
}

/// The order in which contained documents are looked for: after the references, those of most shingles come first,
/// because a set is contained in a larger one only, or else the larger is contained in it as well.
struct BySize {
    /// Ranks.
    order: Vec<u64>,
    ranking: Vec<DocId>,
    roles: Roles,
}

impl BySize {
    /// From the keys of [`Sizes`].
    fn new(search: &NearSearch<'_>, sizes: &Sorted<2>) -> Self {
        let order: Vec<u64> = sizes.iter().map(|[_, rank]| rank).filter(|&rank| search.stays(rank)).collect();
        let ranking = order.iter().map(|&rank| search.ranking[rank as usize]).collect();
        let n_references = order.partition_point(|&rank| !search.roles.may_go(rank)) as u64;
        BySize { order, ranking, roles: Roles { n_references, ..search.roles } }
    }

    fn search<'a>(&'a self, search: &NearSearch<'a>) -> NearSearch<'a> {
        NearSearch { ranking: &self.ranking, roles: self.roles, gone: &[], ..*search }
    }

    /// What was found in this order, by the ranks that it is made of.
    fn by_rank(&self, mut found: NearCopies) -> NearCopies {
        for NearCopy { copy, kept, .. } in &mut found.copies {
            (*copy, *kept) = (self.order[*copy as usize], self.order[*kept as usize]);
        }
        found.copies.sort_unstable_by_key(|copy| copy.copy);
        found
    }
}

/// Where to look.
#[derive(Clone, Copy)]
pub(crate) struct NearSearch<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) ranking: &'a [DocId],
    pub(crate) roles: Roles,
    /// True for each rank that goes already; empty if none does.
    pub(crate) gone: &'a [bool],
    pub(crate) resources: &'a Resources,
}

impl NearSearch<'_> {
    fn pass(
        &self,
        step: &'static str,
        shingler: &Shingler,
        sign: &dyn Sign,
        progress: &dyn Progress,
    ) -> Result<Signs> {
        let near = Some((shingler, sign));
        let signing = Signing { step, exact: None, near, gone: self.gone, known: None, in_parts: false };
        signing.of(self.corpus, self.ranking, &self.resources.room(), progress)
    }

    fn stays(&self, rank: u64) -> bool {
        !self.gone.get(rank as usize).is_some_and(|&is_gone| is_gone)
    }

    /// Compares each document with all that are kept.
    fn join_all(&self, near: &Near<'_>, progress: &dyn Progress) -> Result<NearCopies> {
        const ONE_KEY: u64 = 0;
        let mut keys = self.resources.room().sorter("everyone");
        keys.extend((0..self.ranking.len() as u64).map(|rank| [ONE_KEY, rank]));
        self.join(near, keys, &Candidates::All, progress)
    }

    fn join(
        &self,
        near: &Near<'_>,
        keys: Sorter<2>,
        candidates: &Candidates,
        progress: &dyn Progress,
    ) -> Result<NearCopies> {
        let room = self.resources.room();
        let buckets =
            Buckets::new(keys.finish().iter(), |rank| self.stays(rank), candidates.most_kept(), &room)?;
        let texts = near.texts(self.corpus, self.ranking, self.roles);
        let mut sets = Sets::new(texts, candidates, &room);
        let mut found = self.clustered(near, &mut sets, (&buckets, candidates), progress)?;
        if let Candidates::Filtered(_) = candidates {
            // How many others were compared depends on the table of counts, and so on the memory.
            found.n_compared = found.copies.len() as u64;
        }
        Ok(found)
    }

    /// The near copies among documents that share keys, of which other processes have compared most.
    ///
    /// # Errors
    /// [`Error::OpenPairs`] if too many of those that decide were not compared, and it may still be asked for them.
    pub(crate) fn join_linked(
        &self,
        near: &Near<'_>,
        linked: &Linked,
        progress: &dyn Progress,
    ) -> Result<NearCopies> {
        let room = self.resources.room();
        let candidates = Candidates::Likely;
        let buckets = Buckets::new(linked.keys(), |rank| self.stays(rank), candidates.most_kept(), &room)?;
        let n_bytes = |rank: u64| self.corpus.record(self.ranking[rank as usize]).len();
        let mut asking = Asking::new(Box::new(linked.verdicts()), self.roles, &n_bytes);
        let found = self.clustered(near, &mut asking, (&buckets, &candidates), progress)?;
        let open = asking.open();
        if open.is_empty() && near.clustering == Clustering::Star {
            return Ok(found);
        }
        let n_open = open.len() as u64;
        if linked.may_ask && n_open > MAX_LATE.max(found.n_compared / LATE_SHARE) {
            *linked.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
            return Err(Error::OpenPairs(n_open));
        }
        let texts = near.texts(self.corpus, self.ranking, self.roles);
        let mut finishing = Finishing::new(Box::new(linked.verdicts()), Sets::new(texts, &candidates, &room));
        let found = self.clustered(near, &mut finishing, (&buckets, &candidates), progress)?;
        linked.n_compared_late.store(finishing.n_compared_late(), Ordering::Relaxed);
        Ok(found)
    }

    fn clustered<C: Comparer>(
        &self,
        near: &Near<'_>,
        comparer: &mut C,
        (buckets, candidates): (&Buckets, &Candidates),
        progress: &dyn Progress,
    ) -> Result<NearCopies> {
        let room = self.resources.room();
        match near.clustering {
            Clustering::Star => near_copies(comparer, buckets, candidates, &room, progress),
            Clustering::Transitive => joined_copies(comparer, buckets, candidates, &room, progress),
        }
    }
}
