//! What counts as a copy: the fields of `verbatim.Config`, which Python declares, as a configuration of the search.

use pyo3::{FromPyObject, PyResult, pyfunction};
use verbatim_dedup::{Clustering, DedupConfig, Empty, ExactConfig, Keep, Kernels, MinhashConfig};
use verbatim_index::{Normalizer, Shingler, Step, Unit, Words};

use crate::failure::Failure;

/// The fields of `verbatim.Config`.
#[derive(Debug, FromPyObject)]
pub(crate) struct Config {
    exact: bool,
    threshold: f64,
    recall: f64,
    ngram: usize,
    unit: String,
    words: String,
    normalize: Vec<String>,
    bands: Option<usize>,
    rows: Option<usize>,
    edit_similarity: Option<f64>,
    seed: u64,
}

impl Config {
    /// The search that they describe: equal texts, then MinHash in stars; the first document stays.
    pub(crate) fn resolve(&self) -> Result<DedupConfig, Failure> {
        let steps: Result<Vec<Step>, _> = self.normalize.iter().map(|step| step.parse()).collect();
        let normalizer = Normalizer::new(steps?);
        let unit: Unit = self.unit.parse()?;
        if unit == Unit::Token {
            return Err(Failure::Value("n-grams of tokens need the program `verbatim dedup`".to_owned()));
        }
        let words = match self.words.as_str() {
            "unicode" => Words::Unicode,
            "whitespace" => Words::Whitespace,
            other => {
                return Err(Failure::Value(format!(
                    "no kind of words `{other}`; choose unicode or whitespace"
                )));
            }
        };
        let bands_rows = match (self.bands, self.rows) {
            (Some(bands), Some(rows)) => Some((bands, rows)),
            (None, None) => None,
            _ => return Err(Failure::Value("give bands and rows, or neither".to_owned())),
        };
        let shingler = Shingler::new(unit, self.ngram, normalizer.clone(), None)?.with_words(words);
        Ok(DedupConfig {
            empty: Empty::Keep,
            exact: self.exact.then_some(ExactConfig { normalizer, key: None }),
            minhash: Some(MinhashConfig {
                shingler,
                threshold: self.threshold,
                recall: self.recall,
                bands_rows,
                preset: None,
                seed: self.seed,
            }),
            all_pairs: None,
            clustering: Clustering::Star,
            edit_similarity: self.edit_similarity,
            lines: None,
            substring: None,
            only_references: false,
            keep: Keep::First,
        })
    }
}

/// Raises `ValueError` for a configuration that cannot be.
#[pyfunction]
pub(crate) fn check(config: Config) -> PyResult<()> {
    let config = config.resolve()?;
    Kernels::new(&config).map_err(Failure::from)?;
    Ok(())
}
