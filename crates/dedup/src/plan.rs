//! The plan: what goes and why, as a file that can be read, reviewed and carried out later.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, DocId, FieldPath, Origin, Stretch};
use verbatim_index::{Normalizer, Shingler, TokenFn, Unit, Words};
use verbatim_store::{Access, Bytes, Existing, Replace, json_fault};

use crate::apply::Count;
use crate::config::{Clustering, DedupConfig, Empty, MinhashConfig, Stage};
use crate::cut::{self, Cut, CutCount};
use crate::error::{Error, Result};
use crate::keep::Keep;
use crate::lines::LinesConfig;
use crate::lsh::{BandChoice, candidate_probability};
use crate::similarity::Measure;
use crate::substring::{Snap, SubstringConfig};

const MAGIC: &str = "verbatim plan";
const VERSION: u32 = 1;

/// A document that goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The document that goes.
    pub doc: DocId,
    /// The document that stays for it, perhaps one of the references; never itself removed, but where nothing is kept
    /// ([`Keep::None`]): there a document that others go for goes for itself, as do empty ones, and
    /// those of which all copies of a run are struck.
    pub kept: DocId,
    /// Why: equal texts, similar sets of shingles, or lines or runs that stand in other documents, of which `kept` has
    /// the first.
    pub stage: Stage,
    /// Similarity of the two, cut after nine decimals; 1 for equal texts and repeated lines. Below the threshold only
    /// where the two are joined through others ([`Clustering::Transitive`]).
    pub similarity: f64,
}

/// What one stage did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTally {
    /// The stage.
    pub stage: Stage,
    /// Documents removed, and the bytes of their records without line ends.
    pub removed: Count,
    /// What it cut out of documents that stay.
    #[serde(default)]
    pub cut: CutCount,
    /// Pairs of documents, or of lines, that were compared exactly; stretches that repeat others; of all pairs, where
    /// this depends on the memory at hand, those that were found similar.
    pub n_compared: u64,
    /// Pairs (at least) that share a band but were not compared, because too many documents that are no copies of
    /// each other share it. Where this is not zero the recall may be below the predicted one.
    pub n_passed_over: u64,
    /// Documents without the field that the exact stage compared; they were compared with nobody.
    #[serde(default)]
    pub n_without_key: u64,
}

impl StageTally {
    pub(crate) fn new(stage: Stage, n_compared: u64, n_passed_over: u64) -> Self {
        StageTally {
            stage,
            removed: Count::default(),
            cut: CutCount::default(),
            n_compared,
            n_passed_over,
            n_without_key: 0,
        }
    }
}

/// What was asked for, and what was chosen for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Which of several copies stays.
    pub keep: Keep,
    /// The exact stage, if it ran.
    pub exact: Option<ExactParameters>,
    /// The near-copy stage by MinHash, if it ran.
    pub minhash: Option<MinhashParameters>,
    /// The near-copy stage of all pairs, if it ran.
    #[serde(default)]
    pub all_pairs: Option<AllPairsParameters>,
    /// What becomes of empty documents.
    #[serde(default)]
    pub empty: Empty,
    /// Whether documents were compared with references only.
    #[serde(default)]
    pub only_references: bool,
    /// Which near copies of a kept document go.
    #[serde(default)]
    pub clustering: Clustering,
    /// The edit similarity that near copies had to reach too, if any.
    #[serde(default)]
    pub edit_similarity: Option<f64>,
    /// The stage of repeated lines, if it ran.
    #[serde(default)]
    pub lines: Option<LinesConfig>,
    /// The stage of repeated runs, if it ran.
    #[serde(default)]
    pub substring: Option<SubstringParameters>,
}

/// Parameters of the exact stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactParameters {
    /// Steps applied before texts are compared.
    pub normalize: Normalizer,
    /// The field that was compared instead of the text, if any.
    #[serde(default)]
    pub key: Option<FieldPath>,
}

/// How texts are cut into the shingles that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShingleParameters {
    /// What a shingle is made of.
    pub unit: Unit,
    /// What a word is, where shingles are made of words.
    #[serde(default)]
    pub words: Words,
    /// Units in a shingle.
    pub n: usize,
    /// Steps applied before texts are cut.
    pub normalize: Normalizer,
}

impl ShingleParameters {
    fn of(shingler: &Shingler) -> Self {
        ShingleParameters {
            unit: shingler.unit(),
            words: shingler.words(),
            n: shingler.n(),
            normalize: shingler.normalizer().clone(),
        }
    }

    /// The shingler of a plan; `tokens` is for shingles of tokens, whose tokenizer a plan does not hold.
    ///
    /// # Errors
    /// Those of [`Shingler::new`].
    pub fn shingler(&self, tokens: Option<TokenFn>) -> verbatim_index::Result<Shingler> {
        let shingler = Shingler::new(self.unit, self.n, self.normalize.clone(), tokens)?;
        Ok(shingler.with_words(self.words))
    }
}

/// Parameters of the near-copy stage by MinHash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinhashParameters {
    /// How texts are cut.
    #[serde(flatten)]
    pub shingles: ShingleParameters,
    /// Jaccard similarity from which on documents are copies.
    pub threshold: f64,
    /// The name of the preset that was asked for.
    #[serde(default)]
    pub preset: Option<String>,
    /// Recall at the threshold that was asked for; `None` if bands and rows were asked for instead.
    pub recall: Option<f64>,
    /// Bands and rows, asked for or chosen, with the predicted recall at the threshold.
    pub bands: BandChoice,
    /// (similarity, probability that a pair of it is compared): the S-curve, at 0.05, 0.10, ... 1.
    pub curve: Vec<(f64, f64)>,
    /// Drew the permutations.
    pub seed: u64,
}

/// Parameters of the near-copy stage of all pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllPairsParameters {
    /// How texts are cut.
    #[serde(flatten)]
    pub shingles: ShingleParameters,
    /// Similarity from which on documents are copies.
    pub threshold: f64,
    /// What similarity means.
    pub measure: Measure,
    /// Whether every document was compared with every kept one, without a filter.
    #[serde(default)]
    pub brute_force: bool,
}

/// Parameters of the stage of repeated runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubstringParameters {
    /// What the length counts: `bytes` or `tokens`.
    pub unit: String,
    /// The shortest run that is cut.
    pub min_len: u64,
    /// How often one must stand in the corpus.
    pub min_count: u64,
    /// Whether the first copy goes as well.
    pub strike_all: bool,
    /// Where cuts may begin and end.
    pub snap: Snap,
    /// Bytes below which a shortened document goes as a whole.
    pub min_left_bytes: u64,
    /// Whether what is left is searched again, until nothing repeats.
    #[serde(default)]
    pub until_clean: bool,
}

impl From<&SubstringConfig> for SubstringParameters {
    fn from(config: &SubstringConfig) -> Self {
        SubstringParameters {
            unit: config.unit.name().to_owned(),
            min_len: config.min_len,
            min_count: config.min_count,
            strike_all: config.strike_all,
            snap: config.snap,
            min_left_bytes: config.min_left_bytes,
            until_clean: config.until_clean,
        }
    }
}

impl Parameters {
    /// Whether documents are cut.
    pub fn cuts(&self) -> bool {
        self.lines.is_some() || self.substring.is_some()
    }

    /// How texts were cut by the stage of near copies, if there was one.
    pub fn shingles(&self) -> Option<&ShingleParameters> {
        let minhash = self.minhash.as_ref().map(|minhash| &minhash.shingles);
        minhash.or(self.all_pairs.as_ref().map(|all| &all.shingles))
    }

    /// The parameters of a configuration.
    pub(crate) fn of(config: &DedupConfig) -> Result<Self> {
        let choice = config.minhash.as_ref().map(MinhashConfig::resolve).transpose()?;
        Ok(Parameters::new(config, choice.map(|(_, choice)| choice)))
    }

    pub(crate) fn new(config: &DedupConfig, choice: Option<BandChoice>) -> Self {
        let exact = config
            .exact
            .as_ref()
            .map(|exact| ExactParameters { normalize: exact.normalizer.clone(), key: exact.key.clone() });
        let minhash = config.minhash.as_ref().zip(choice).map(|(minhash, choice)| MinhashParameters {
            shingles: ShingleParameters::of(&minhash.shingler),
            threshold: minhash.threshold,
            preset: minhash.preset.map(str::to_owned),
            recall: minhash.bands_rows.is_none().then_some(minhash.recall),
            bands: BandChoice {
                predicted_recall: cut(choice.predicted_recall),
                cost: cut(choice.cost),
                ..choice
            },
            curve: (1..=20)
                .map(|i| f64::from(i) / 20.0)
                .map(|s| (s, cut(candidate_probability(s, choice.bands, choice.rows))))
                .collect(),
            seed: minhash.seed,
        });
        let all_pairs = config.all_pairs.as_ref().map(|all| AllPairsParameters {
            shingles: ShingleParameters::of(&all.shingler),
            threshold: all.threshold,
            measure: all.measure,
            brute_force: all.brute_force,
        });
        Parameters {
            keep: config.keep.clone(),
            exact,
            minhash,
            all_pairs,
            empty: config.empty,
            only_references: config.only_references,
            clustering: config.clustering,
            edit_similarity: config.edit_similarity,
            lines: config.lines.clone(),
            substring: config.substring.as_ref().map(SubstringParameters::from),
        }
    }
}

/// Cut after nine decimals: such numbers are read back as they were written.
fn cut(number: f64) -> f64 {
    (number * 1e9).floor() / 1e9
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict<'a> {
    /// It stays.
    Kept,
    /// It goes.
    Removed(&'a Removal),
}

/// A document that is kept, and those that go for it; where nothing is kept, it goes as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The document that stays, if anything does.
    pub kept: DocId,
    /// The documents that go, ascending; at least one.
    pub removed: Vec<DocId>,
}

/// The documents that a corpus was compared with. Their numbers follow those of its own documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// Their fingerprint.
    pub fingerprint: String,
    /// How many they are.
    pub n_documents: u64,
}

impl References {
    /// Those of a corpus, if it has some.
    pub(crate) fn of(corpus: &Corpus) -> Option<Self> {
        let n_documents = corpus.references().len() as u64;
        (n_documents > 0).then(|| References { fingerprint: corpus.reference_fingerprint(), n_documents })
    }
}

/// What goes from one corpus, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    magic: String,
    version: u32,
    corpus: String,
    n_documents: u64,
    #[serde(default)]
    n_empty: u64,
    #[serde(default)]
    references: Option<References>,
    source: Option<Origin>,
    parameters: Parameters,
    stages: Vec<StageTally>,
    removals: Vec<Removal>,
    #[serde(default)]
    cuts: Vec<Cut>,
}

impl Plan {
    pub(crate) fn new(
        corpus: &Corpus,
        parameters: Parameters,
        stages: Vec<StageTally>,
        removals: Vec<Removal>,
        cuts: Vec<Cut>,
    ) -> Self {
        let plan = Plan {
            magic: MAGIC.to_owned(),
            version: VERSION,
            corpus: corpus.fingerprint().to_owned(),
            n_documents: corpus.n_documents(),
            n_empty: 0,
            references: References::of(corpus),
            source: None,
            parameters,
            stages,
            removals,
            cuts,
        };
        assert_eq!(plan.inconsistency(), None, "a plan that was just made is consistent");
        plan
    }

    /// The plan with a count of its empty documents, kept or not.
    pub(crate) fn with_empty(self, n_empty: u64) -> Self {
        Plan { n_empty, ..self }
    }

    /// Documents whose text is empty or white space.
    pub fn n_empty(&self) -> u64 {
        self.n_empty
    }

    /// The plan with a note of where its corpus was read from.
    pub fn with_source(self, source: Origin) -> Self {
        Plan { source: Some(source), ..self }
    }

    /// Where the corpus was read from, if that was noted.
    pub fn source(&self) -> Option<&Origin> {
        self.source.as_ref()
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// [`Error::BadPlan`] if it is not a plan, of another version, or contradicts itself.
    pub fn load(path: &Path) -> Result<Plan> {
        Plan::read(&Bytes::open(path)?, path)
    }

    /// Reads a plan file's text; `path` is for errors.
    pub(crate) fn read(bytes: &[u8], path: &Path) -> Result<Plan> {
        #[derive(Deserialize)]
        struct Header {
            magic: String,
            version: u32,
        }
        let bad = |cause: String| Error::BadPlan { path: path.to_owned(), cause };
        let unreadable = |error: serde_json::Error| {
            bad(format!("line {}, column {}: {}", error.line(), error.column(), json_fault(&error)))
        };
        let header: Header = serde_json::from_slice(bytes).map_err(unreadable)?;
        if header.magic != MAGIC {
            return Err(bad(format!("its magic word is not `{MAGIC}`")));
        }
        if header.version != VERSION {
            return Err(bad(format!("version {}, this program reads version {VERSION}", header.version)));
        }
        let plan: Plan = serde_json::from_slice(bytes).map_err(unreadable)?;
        match plan.inconsistency() {
            Some(cause) => Err(bad(cause)),
            None => Ok(plan),
        }
    }

    /// Writes the plan file, replacing an older one.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = Replace::create(path, Access::Shared, Existing::Replace)?;
        self.write(&mut file).map_err(|error| verbatim_store::Error::io(path, "write", error))?;
        Ok(file.finish()?)
    }

    /// Writes the plan file's text: a plan with many cuts is longer than memory should be asked for.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Fails if this is not the corpus that the plan was made for.
    pub fn check_corpus(&self, corpus: &Corpus) -> Result<()> {
        if self.corpus != corpus.fingerprint() || self.n_documents != corpus.n_documents() {
            let (planned, found) = (self.corpus.clone(), corpus.fingerprint().to_owned());
            return Err(Error::OtherCorpus { planned, found });
        }
        let found = References::of(corpus);
        if self.references != found {
            let name = |references: &Option<References>| match references {
                Some(references) => references.fingerprint.clone(),
                None => "none".to_owned(),
            };
            return Err(Error::OtherReferences { planned: name(&self.references), found: name(&found) });
        }
        Ok(())
    }

    /// The documents that the corpus was compared with, if there were some.
    pub fn references(&self) -> Option<&References> {
        self.references.as_ref()
    }

    /// Documents of the corpus.
    pub fn n_documents(&self) -> u64 {
        self.n_documents
    }

    /// What was asked for, and what was chosen for it.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What each stage did, in the order in which they ran.
    pub fn stages(&self) -> &[StageTally] {
        &self.stages
    }

    /// The documents that go, ascending.
    pub fn removals(&self) -> &[Removal] {
        &self.removals
    }

    /// What goes from documents that stay, ascending and without overlap.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// [`Plan::cuts`] as the corpus room writes them.
    pub fn stretches(&self) -> Vec<Stretch> {
        self.cuts.iter().map(Cut::stretch).collect()
    }

    /// What becomes of a document.
    pub fn verdict(&self, doc: DocId) -> Verdict<'_> {
        match self.removals.binary_search_by_key(&doc, |removal| removal.doc) {
            Ok(i) => Verdict::Removed(&self.removals[i]),
            Err(_) => Verdict::Kept,
        }
    }

    /// For each document whether it stays.
    pub fn keep_mask(&self) -> Vec<bool> {
        let mut keep = vec![true; self.n_documents as usize];
        self.removals.iter().for_each(|removal| keep[removal.doc.0 as usize] = false);
        keep
    }

    /// The kept documents that others go for, ascending.
    pub fn clusters(&self) -> Vec<Cluster> {
        let mut clusters: BTreeMap<DocId, Vec<DocId>> = BTreeMap::new();
        for removal in self.removals.iter().filter(|removal| removal.doc != removal.kept) {
            clusters.entry(removal.kept).or_default().push(removal.doc);
        }
        clusters.into_iter().map(|(kept, removed)| Cluster { kept, removed }).collect()
    }

    /// Why the plan cannot be carried out as it stands, if so.
    pub(crate) fn inconsistency(&self) -> Option<String> {
        if !self.removals.is_sorted_by(|a, b| a.doc < b.doc) {
            return Some("its removals are not in order".to_owned());
        }
        let n_references = self.references.as_ref().map_or(0, |references| references.n_documents);
        let n_all = self.n_documents.saturating_add(n_references);
        let strike_all = self.parameters.substring.as_ref().is_some_and(|runs| runs.strike_all);
        let removals = self.removals.iter().find_map(|removal| {
            let Removal { doc, kept, .. } = removal;
            if doc.0 >= self.n_documents || kept.0 >= n_all {
                return Some(format!("document {} of {}", doc.0.max(kept.0), self.n_documents));
            }
            match self.verdict(*kept) {
                Verdict::Removed(own)
                    if own.kept == *kept
                        && (self.parameters.keep == Keep::None
                            || own.stage == Stage::Empty
                            || own.stage == Stage::Substring && strike_all) =>
                {
                    None
                }
                Verdict::Removed(_) => Some(format!("document {} is kept for {} and removed", kept.0, doc.0)),
                Verdict::Kept => None,
            }
        });
        let is_removed = |doc| matches!(self.verdict(doc), Verdict::Removed(_));
        removals.or_else(|| cut::inconsistency(&self.cuts, (self.n_documents, n_all), strike_all, is_removed))
    }
}
