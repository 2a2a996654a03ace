//! The stages of a search as functions over records in memory, for engines that bring records together by themselves.
//!
//! Documents have numbers, the most preferred the least. Records are arrays of numbers: postings `[key, document]`, pairs
//! `[copy, kept]`, verdicts `[copy, kept, shared, whole]`. An engine signs texts, brings postings of one key together, links
//! them, brings the two texts of each pair together, verifies them, and lets [`Kernels::cluster`] decide, which names the
//! pairs that it misses: these are verified, and it is asked again until there are none. What is decided then is what
//! [`plan`](crate::plan()) decides of the same documents, whichever pairs were verified first.

use std::convert::Infallible;

use rayon::prelude::*;
use verbatim_index::{Buffers, Shingles};
use verbatim_store::{Room, Scratch, Silent};
use xxhash_rust::xxh3::xxh3_64;

use crate::buckets::{Buckets, for_each_shared};
use crate::config::{Clustering, DedupConfig};
use crate::error::{Error, Result};
use crate::minhash::Permutations;
use crate::near::Near;
use crate::roles::Roles;
use crate::signs::{Sign, Signing, Work};
use crate::star::{Candidates, NearCopy, near_copies};
use crate::verdicts::{Asking, verdict};

/// Texts that a thread takes at once.
const TAKEN: usize = 64;

/// The kernels of one search by MinHash.
pub struct Kernels<'a> {
    config: &'a DedupConfig,
    near: Near<'a>,
    permutations: Permutations,
}

/// What was noted of texts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TextSigns {
    /// The xxh3-64 of each normalised text that is not empty, where there is an exact stage, and the document.
    pub hashes: Vec<[u64; 2]>,
    /// The key of each band, and the document.
    pub keys: Vec<[u64; 2]>,
}

/// What postings of the same keys say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Links {
    /// Those whose key another document has as well, ascending: the input of [`Kernels::cluster`].
    pub shared: Vec<[u64; 2]>,
    /// Pairs that are likely to be asked for, ascending and each once: a document, and one of those before it that share a
    /// key with it.
    pub pairs: Vec<[u64; 2]>,
}

/// What is decided of near copies.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NearClusters {
    /// Documents that go, each with the one that is kept for it and their similarity as a fraction; ascending.
    pub copies: Vec<[u64; 4]>,
    /// Pairs without a verdict that were needed; as long as there are some, nothing is decided.
    pub open: Vec<[u64; 2]>,
    /// Pairs that were looked at.
    pub n_compared: u64,
    /// Pairs (at least) that share a key but were passed over, for too many share it.
    pub n_passed_over: u64,
}

impl std::fmt::Debug for Kernels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernels").field("config", self.config).finish_non_exhaustive()
    }
}

impl<'a> Kernels<'a> {
    /// The kernels of a configuration, of which the exact stage and MinHash are looked at.
    ///
    /// # Errors
    /// Those of a configuration that cannot be, and [`Error::NotStaged`] for one without MinHash, or of components, whose
    /// documents go for others that they were never compared with.
    pub fn new(config: &'a DedupConfig) -> Result<Self> {
        if config.clustering == Clustering::Transitive {
            return Err(Error::NotStaged("a search for components (--cluster transitive)".to_owned()));
        }
        let near = Near::of(config)?.zip(config.minhash.as_ref());
        let (near, minhash) = near.ok_or_else(|| Error::NotStaged("a search without MinHash".to_owned()))?;
        let permutations = Permutations::new(minhash.resolve()?.1, minhash.seed);
        Ok(Kernels { config, near, permutations })
    }

    /// Notes the hash and the keys of texts. Texts of white space have neither.
    pub fn sign(&self, texts: &[(u64, &str)]) -> TextSigns {
        let signing = Signing {
            step: "signing",
            exact: self.config.exact.as_ref().map(|exact| (exact, xxh3_64 as _)),
            near: Some((self.near.shingler, &self.permutations as &dyn Sign)),
            gone: &[],
            known: None,
            in_parts: false,
        };
        let parts: Vec<TextSigns> = texts
            .par_chunks(TAKEN)
            .map_init(Work::default, |work, texts| {
                let mut signs = TextSigns::default();
                for &(document, text) in texts {
                    let hash = signing.note_text((document, text), &|_| None, work, &mut signs.keys);
                    signs.hashes.extend(hash.map(|hash| [hash, document]));
                }
                signs
            })
            .collect();
        let mut all = TextSigns::default();
        for part in parts {
            all.hashes.extend(part.hashes);
            all.keys.extend(part.keys);
        }
        all
    }

    /// Compares pairs. The shingles of all their texts are in memory at once, some 1.5 times the texts.
    pub fn verify<'t>(&self, pairs: &[[u64; 2]], text_of: impl Fn(u64) -> &'t str + Sync) -> Vec<[u64; 4]> {
        let rule = self.near.rule();
        let mut documents = pairs.as_flattened().to_vec();
        documents.sort_unstable();
        documents.dedup();
        let shingles = |buffers: &mut Buffers, &document: &u64| {
            rule.shingler.shingles_of_normalized(rule.shingler.normalize(text_of(document), buffers))
        };
        let sets: Vec<Shingles> = documents.par_iter().map_init(Buffers::default, shingles).collect();
        let set_of = |document| &sets[documents.partition_point(|&other| other < document)];
        let compared = |&[copy, kept]: &[u64; 2]| {
            let similarity = rule.similar(set_of(copy), set_of(kept), |threshold| {
                rule.has_few_edits(threshold, [copy, kept].map(&text_of))
            });
            verdict(copy, kept, similarity)
        };
        pairs.par_iter().map(compared).collect()
    }

    /// Decides which documents are near copies of which, from all postings of keys that documents share, without those of
    /// documents that went before, and from verdicts; either in ascending order. `n_bytes` tells the length of a document's
    /// record, by which documents are taken in blocks.
    ///
    /// # Errors
    /// A table of keys that memory and the folder for temporary files have no room for.
    pub fn cluster(
        &self,
        shared: &[[u64; 2]],
        verdicts: &[[u64; 4]],
        n_bytes: &(dyn Fn(u64) -> usize + Sync),
    ) -> Result<NearClusters> {
        let scratch = Scratch::unnamed(&std::env::temp_dir());
        let room = Room { n_bytes: usize::MAX / 2, scratch: &scratch };
        let candidates = Candidates::Likely;
        let buckets = Buckets::new(shared.iter().copied(), |_| true, candidates.most_kept(), &room)?;
        let roles = Roles { n_references: 0, only_references: false };
        let mut asking = Asking::new(Box::new(verdicts.iter().copied()), roles, n_bytes);
        let found = near_copies(&mut asking, &buckets, &candidates, &room, &Silent)?;
        let numbers = |&NearCopy { copy, kept, similarity }: &NearCopy| {
            [copy, kept, similarity.shared, similarity.whole]
        };
        Ok(NearClusters {
            copies: found.copies.iter().map(numbers).collect(),
            open: asking.open(),
            n_compared: found.n_compared,
            n_passed_over: found.n_passed_over,
        })
    }
}

/// Brings the postings of the same keys together, which must be all postings of these keys, in any order. Of a key that
/// many have, each document is paired with the first `most` of them; which pairs there are decides how often
/// [`Kernels::cluster`] has to be asked, never what it says.
pub fn link(postings: &mut [[u64; 2]], most: usize) -> Links {
    postings.par_sort_unstable();
    let mut links = Links::default();
    let mut first: Vec<u64> = Vec::new();
    let Ok(()) = for_each_shared(postings.iter().copied(), |posting, nth| -> Result<(), Infallible> {
        if nth == 0 {
            first.clear();
        }
        links.pairs.extend(first.iter().map(|&other| [posting[1], other]));
        if first.len() < most {
            first.push(posting[1]);
        }
        links.shared.push(posting);
        Ok(())
    });
    links.pairs.par_sort_unstable();
    links.pairs.dedup();
    links
}
