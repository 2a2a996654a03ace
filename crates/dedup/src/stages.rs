//! The stages of a search for copies as tasks of their own, for many processes on many machines that share a folder.
//!
//! A plan fixes the files, how they are split into units, and what counts as a copy. Then `sign` notes the hash of each
//! text and the keys of its bands, `link` brings the documents together that share a key, `verify` compares the likely
//! pairs, `cluster` decides, and `rewrite` writes the files that stay. Each unit of a stage reads what the stages before it
//! wrote, and writes files that depend on the plan alone: not on who did it, when, or how often.
//!
//! The rule is that of [`crate::star`], run by `cluster` on the very buckets of a search in one process. What `verify`
//! found only saves it from reading texts. Where too many pairs have no verdict, it asks for them once, and `verify` has a
//! second round; the few that are then left it compares itself. So a poor guess costs time and changes nothing.

mod cluster;
mod link;
mod records;
mod rewrite;
mod rows;
mod sign;
mod verify;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_corpus::{Catalog, Corpus, DocId, Listing, OpenConfig};
use verbatim_store::{Access, Existing, Progress, Replace, differences, read_manifest, xxh3_128_hex};

use crate::apply::{Count, create_folder};
use crate::config::DedupConfig;
use crate::emit::Emission;
use crate::error::{Error, Result};
use crate::keep::Keep;
use crate::plan::{Parameters, Plan};
use crate::room::Resources;
use crate::stages::records::Records;
use crate::stages::sign::Signed;

pub use rewrite::Committed;

const PLAN: &str = "stages.json";
const MAGIC: &str = "verbatim stages";
const VERSION: u32 = 1;
/// Units of a stage at most: each reads a little of each unit of the stage before.
const MAX_UNITS: u64 = 4096;
/// Documents, by rank, that go to one unit of `verify`; the next go to the next, so that neighbours which share a key with
/// thousands do not all come to one.
const STRIPE: u64 = 16;

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageName {
    /// Scans files, and notes of each text its hash and the keys of its bands.
    Sign,
    /// Brings the documents together that share keys.
    Link,
    /// Compares likely pairs.
    Verify,
    /// Decides, by the rule of a search in one process.
    Cluster,
    /// Writes the files that stay.
    Rewrite,
}

impl StageName {
    /// All of them, in order.
    pub const ALL: [StageName; 5] =
        [StageName::Sign, StageName::Link, StageName::Verify, StageName::Cluster, StageName::Rewrite];

    /// The order in which they are run where nobody looks at how far they came: `cluster` may ask `verify` for more, once.
    pub const ROUNDS: [StageName; 7] = [
        StageName::Sign,
        StageName::Link,
        StageName::Verify,
        StageName::Cluster,
        StageName::Verify,
        StageName::Cluster,
        StageName::Rewrite,
    ];

    /// Its name in commands and folders.
    pub fn name(self) -> &'static str {
        match self {
            StageName::Sign => "sign",
            StageName::Link => "link",
            StageName::Verify => "verify",
            StageName::Cluster => "cluster",
            StageName::Rewrite => "rewrite",
        }
    }

    /// The one whose files it reads first of all.
    fn before(self) -> Option<StageName> {
        Self::ALL.into_iter().take_while(|&stage| stage != self).last()
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What all processes hold to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagePlan {
    magic: String,
    version: u32,
    /// The version of the program.
    program: String,
    parameters: Parameters,
    /// What else decides about the result, and what the caller needs to find its way back: its command line.
    command: Value,
    listing: Listing,
    /// Files of each unit of `sign`. A unit has files of the inputs or of the references, never of both.
    files: Vec<Range<usize>>,
    /// Units of `sign` on the inputs, which are the first.
    n_own: usize,
    /// Units of `link`: ranges of keys; and units of `verify`: stripes of documents.
    n_partitions: u64,
}

impl StagePlan {
    /// Fixes the stages of a search over listed files; a unit has some files of about `unit_bytes` together.
    ///
    /// # Errors
    /// [`Error::NotStaged`] for what only a search in one process can do.
    pub fn new(
        listing: Listing,
        config: &DedupConfig,
        unit_bytes: u64,
        (program, command): (&str, Value),
    ) -> Result<Self> {
        let refused = [
            (config.all_pairs.is_some(), "the stage of all pairs"),
            (config.lines.is_some(), "the stage of repeated lines"),
            (config.substring.is_some(), "the stage of repeated passages"),
        ];
        if let Some((_, what)) = refused.iter().find(|(is_asked, _)| *is_asked) {
            return Err(Error::NotStaged((*what).to_owned()));
        }
        let sizes: Vec<u64> = listing.sizes().collect();
        let (own, references) = sizes.split_at(listing.n_own());
        let mut files = split(own, 0, unit_bytes);
        let n_own = files.len();
        files.extend(split(references, own.len(), unit_bytes));
        let n_partitions = sizes.iter().sum::<u64>().div_ceil(unit_bytes.max(1)).clamp(1, MAX_UNITS);
        Ok(StagePlan {
            magic: MAGIC.to_owned(),
            version: VERSION,
            program: program.to_owned(),
            parameters: Parameters::of(config)?,
            command,
            listing,
            files,
            n_own,
            n_partitions,
        })
    }

    /// Writes the plan into a folder, which is made if it is not there. The same plan may be there already.
    ///
    /// # Errors
    /// [`Error::OtherStages`] if the folder holds another plan.
    pub fn save(&self, folder: &Path) -> Result<()> {
        create_folder(folder)?;
        let path = folder.join(PLAN);
        if let Some(there) = Self::read(folder)? {
            let [there, here] = [&there, self].map(|plan| {
                let mut plan = serde_json::to_value(plan).unwrap_or_default();
                // It follows from the bands.
                plan["parameters"]["minhash"]["curve"].take();
                plan
            });
            let differences = differences(&there, &here);
            return match differences.is_empty() {
                true => Ok(()),
                false => Err(Error::OtherStages { path, differences }),
            };
        }
        let mut file = Replace::create(&path, Access::Private, Existing::Replace)?;
        serde_json::to_writer_pretty(&mut file, self)
            .map_err(|error| verbatim_store::Error::io(&path, "write", error.into()))?;
        Ok(file.finish()?)
    }

    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(PLAN);
        read_manifest(&path, (MAGIC, VERSION), |cause| Error::BadStages { path: path.clone(), cause })
    }

    /// What the caller noted.
    pub fn command(&self) -> &Value {
        &self.command
    }
}

/// Consecutive files, by their sizes and from a number on, in runs of at least so many bytes but for the last.
fn split(sizes: &[u64], first: usize, unit_bytes: u64) -> Vec<Range<usize>> {
    let unit_bytes = unit_bytes.max(sizes.iter().sum::<u64>().div_ceil(MAX_UNITS));
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut n_bytes = u64::MAX;
    for (size, file) in sizes.iter().zip(first..) {
        match units.last_mut().filter(|_| n_bytes < unit_bytes) {
            Some(unit) => unit.end = file + 1,
            None => {
                units.push(file..file + 1);
                n_bytes = 0;
            }
        }
        n_bytes = n_bytes.saturating_add(*size);
    }
    units
}

/// A planned search, and the folder that its processes share.
#[derive(Debug)]
pub struct Stages {
    folder: PathBuf,
    /// What people call the folder.
    name: PathBuf,
    plan: StagePlan,
    /// The hash of the plan.
    id: String,
}

/// What a process takes for its part: what was planned, resolved again, and its own means.
#[derive(Debug)]
pub struct StageJob<'a> {
    /// What to look for.
    pub config: &'a DedupConfig,
    /// How to read the corpus.
    pub reading: &'a OpenConfig,
    /// Memory and scratch.
    pub resources: &'a Resources,
}

/// How a unit was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitDone {
    /// Here and now.
    Now,
    /// By an earlier process, with the same result.
    Before,
}

/// How far `cluster` came.
#[derive(Debug)]
pub enum ClusterOutcome {
    /// It asks `verify` to compare so many pairs more.
    Open(u64),
    /// It decided; with the corpus.
    Decided(Box<(Corpus, Clustered)>),
}

/// What `cluster` decided.
#[derive(Debug)]
pub struct Clustered {
    /// The plan, as a search in one process makes it.
    pub plan: Plan,
    /// Pairs that no unit of `verify` had compared, so that `cluster` had to.
    pub n_compared_late: u64,
}

impl Stages {
    /// Opens the folder of a planned search, of which people know by a name, its own unless it is a copy.
    ///
    /// # Errors
    /// [`Error::NoStages`] if it holds no plan, [`Error::BadStages`] if the plan cannot be used by this version of the program.
    pub fn open((folder, name): (&Path, &Path), program: &str) -> Result<Self> {
        let path = name.join(PLAN);
        let plan = StagePlan::read(folder)?.ok_or_else(|| Error::NoStages { path: path.clone() })?;
        if plan.program != program {
            let cause = format!("verbatim {} made it, this is {program}", plan.program);
            return Err(Error::BadStages { path, cause });
        }
        let is_whole = plan.n_own <= plan.files.len() && (1..=MAX_UNITS).contains(&plan.n_partitions);
        if !is_whole {
            return Err(Error::BadStages { path, cause: "it contradicts itself".to_owned() });
        }
        let id = xxh3_128_hex(&serde_json::to_vec(&plan).unwrap_or_default());
        Ok(Stages { folder: folder.to_owned(), name: name.to_owned(), plan, id })
    }

    /// The plan.
    pub fn plan(&self) -> &StagePlan {
        &self.plan
    }

    /// Fails if a configuration is not the one that was planned.
    ///
    /// # Errors
    /// [`Error::OtherStages`] with what differs.
    pub fn check(&self, config: &DedupConfig) -> Result<()> {
        let [there, here] = [&self.plan.parameters, &Parameters::of(config)?]
            .map(|parameters| serde_json::to_value(parameters).unwrap_or_default());
        let differences = differences(&there, &here);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::OtherStages { path: self.name.join(PLAN), differences }),
        }
    }

    /// Units of a stage; the plan has fixed them.
    pub fn n_units(&self, stage: StageName) -> u64 {
        match stage {
            StageName::Sign => self.plan.files.len() as u64,
            StageName::Link | StageName::Verify => self.plan.n_partitions,
            StageName::Cluster => 1,
            StageName::Rewrite => self.plan.n_own as u64,
        }
    }

    /// Does one unit of a stage, unless it is done. Who wants to see the plan before it counts calls [`Stages::cluster`].
    ///
    /// # Errors
    /// [`Error::StageMissing`] if the stage before is not done, [`Error::OpenPairs`] if `cluster` asks `verify` for more, and
    /// what can go wrong in the stage.
    pub fn run(
        &self,
        stage: StageName,
        unit: u64,
        job: &StageJob<'_>,
        progress: &dyn Progress,
    ) -> Result<UnitDone> {
        match stage {
            StageName::Sign => sign::run(self, unit, job, progress),
            StageName::Link => link::run(self, unit, job, progress),
            StageName::Verify => verify::run(self, unit, job, progress),
            StageName::Rewrite => rewrite::run(self, unit, job, progress),
            StageName::Cluster if self.is_decided()? => Ok(UnitDone::Before),
            StageName::Cluster => match self.cluster(job, progress)? {
                ClusterOutcome::Open(n) => Err(Error::OpenPairs(n)),
                ClusterOutcome::Decided(decided) => self.keep(&decided.1).map(|()| UnitDone::Now),
            },
        }
    }

    /// Where the plan that `cluster` decides is written.
    pub fn decided(&self) -> PathBuf {
        self.folder_of(StageName::Cluster).join("plan.json")
    }

    /// Whether `cluster` is done, with the files that are there.
    ///
    /// # Errors
    /// [`Error::StageMissing`] if those before it are not.
    pub fn is_decided(&self) -> Result<bool> {
        Ok(self.unfinished(StageName::Cluster)?.is_empty())
    }

    /// Decides what goes, or asks `verify` for more. The caller looks at the plan and keeps it with [`Stages::keep`].
    ///
    /// # Errors
    /// [`Error::StageMissing`] if a stage before is not done, and those of a search.
    pub fn cluster(&self, job: &StageJob<'_>, progress: &dyn Progress) -> Result<ClusterOutcome> {
        cluster::run(self, job, progress)
    }

    /// Keeps the plan that was decided, so that `rewrite` can go on.
    ///
    /// # Errors
    /// Those of writing files.
    pub fn keep(&self, clustered: &Clustered) -> Result<()> {
        cluster::keep(self, clustered)
    }

    /// Puts what `rewrite` wrote into an output folder that is being staged, with the lists of what went.
    ///
    /// # Errors
    /// [`Error::StageMissing`] if a stage is not done; those of writing and reading files.
    pub fn commit(
        &self,
        job: &StageJob<'_>,
        emission: &Emission,
        out_dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Committed> {
        rewrite::commit(self, job, (emission, out_dir), progress)
    }

    /// Units of a stage that are not done, ascending; all of them where one before is not done.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn missing(&self, stage: StageName) -> Result<Vec<u64>> {
        match self.unfinished(stage) {
            Ok(missing) if missing.is_empty() && stage == StageName::Verify => verify::unanswered(self),
            Err(Error::StageMissing { .. }) => Ok((0..self.n_units(stage)).collect()),
            other => other,
        }
    }

    fn folder_of(&self, stage: StageName) -> PathBuf {
        self.folder.join(stage.name())
    }

    /// The corpus of all files.
    fn corpus(&self, signed: &[Signed], reading: &OpenConfig) -> Result<Corpus> {
        let catalogs: Vec<Catalog> = signed.iter().map(|signed| signed.catalog.clone()).collect();
        let folder = self.folder_of(StageName::Sign);
        Ok(Corpus::reopen(&self.plan.listing, (&catalogs, &folder), reading)?)
    }

    /// Documents of the inputs and of the references.
    fn n_documents(&self, signed: &[Signed]) -> (u64, u64) {
        let n = |signed: &[Signed]| signed.iter().map(|signed| signed.catalog.n_documents()).sum();
        let (own, references) = signed.split_at(self.plan.n_own);
        (n(own), n(references))
    }

    /// The documents in the order of preference, the references first.
    fn ranking(&self, signed: &[Signed], config: &DedupConfig) -> Result<Vec<DocId>> {
        let (n_own, n_references) = self.n_documents(signed);
        if is_input_order(&config.keep) {
            return Ok((n_own..n_own + n_references).chain(0..n_own).map(DocId).collect());
        }
        sign::order(self, n_own + n_references)
    }

    /// The unit of `verify` that a document goes to.
    fn stripe_of(&self, rank: u64) -> u64 {
        rank / STRIPE % self.plan.n_partitions
    }
}

/// True where ranks follow from the numbers of documents alone.
fn is_input_order(keep: &Keep) -> bool {
    matches!(keep, Keep::First | Keep::None)
}

/// What other processes have found of copies, for the one that decides.
#[derive(Debug)]
pub(crate) struct Linked {
    /// Documents without text.
    pub(crate) blank: Vec<DocId>,
    /// Groups of equal texts by rank, ordered.
    pub(crate) groups: Vec<Vec<u64>>,
    /// Documents of the corpus that have what the exact stage compares.
    pub(crate) n_hashed: u64,
    /// Keys that more than one document has, with the documents, in order: one file after the other.
    keys: Vec<Records<2>>,
    /// Pairs that were compared.
    verdicts: Vec<Records<4>>,
    /// Whether those that were not and had to be can be asked for.
    pub(crate) may_ask: bool,
    /// These, if they are asked for.
    pub(crate) open: Mutex<Vec<[u64; 2]>>,
    /// How many were compared by the one that decides.
    pub(crate) n_compared_late: AtomicU64,
}

impl Linked {
    pub(crate) fn keys(&self) -> impl Iterator<Item = [u64; 2]> {
        self.keys.iter().flat_map(Records::iter)
    }

    pub(crate) fn verdicts(&self) -> impl Iterator<Item = [u64; 4]> + Send + Sync {
        records::merged(self.verdicts.iter().map(Records::iter).collect())
    }
}

/// What a unit of `rewrite` wrote.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Rewritten {
    kept: Count,
}
