//! The stages of a search for copies, each a function of batches.
//!
//! `sign`, then the engine brings the rows of a partition together, `link`, then all that is linked comes to one `cluster`.
//! That has no texts: it asks. `route` sends the texts that are asked about to the partitions of the questions, `verify`
//! answers, and `cluster` is run again with all answers so far until it asks no more. `rewrite` drops what goes.

use std::sync::Arc;

use arrow_array::builder::{BooleanBufferBuilder, LargeStringBuilder};
use arrow_array::types::{Int8Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch,
};
use arrow_pyarrow::PyArrowType;
use arrow_select::filter::filter_record_batch;
use pyo3::{PyResult, Python, pyfunction};
use rustc_hash::FxHashMap;
use verbatim_dedup::{DedupConfig, Kernels, link as links};
use verbatim_index::Normalizer;

use crate::config::Config;
use crate::failure::{Failure, run, run_batch};
use crate::rows::{
    Answers, Columns, EQUAL, Posting, Question, SIMILAR, batch, compared_in, numbers_i64, postings,
    postings_batch,
};

type Batch = PyArrowType<RecordBatch>;

/// Note of each text its hash and the keys of its bands.
#[pyfunction]
pub(crate) fn sign(py: Python<'_>, batch: Batch, config: Config, partitions: u32) -> PyResult<Batch> {
    run_batch(py, || {
        let config = config.resolve()?;
        let n_partitions = checked(partitions)?;
        let columns = Columns(&batch.0);
        let (documents, texts) = (columns.documents("document")?, columns.texts("text")?);
        let sizes =
            if columns.has("n_bytes") { Some(columns.numbers::<Int64Type>("n_bytes")?) } else { None };
        let (mut rows, mut n_bytes) = (Vec::new(), FxHashMap::default());
        for (row, document) in documents.iter().map(|document| document.cast_unsigned()).enumerate() {
            let Some(text) = texts.get(row) else { continue };
            let size = sizes.map_or(text.len() as u64, |sizes| sizes[row].max(0).cast_unsigned());
            n_bytes.insert(document, i32::try_from(size).unwrap_or(i32::MAX));
            rows.push((document, text));
        }
        let signs = Kernels::new(&config)?.sign(&rows);
        let posting = |kind: i8, [number, document]: [u64; 2]| Posting {
            kind,
            number,
            document,
            n_bytes: n_bytes[&document],
        };
        let hashes = signs.hashes.into_iter().map(|row| posting(EQUAL, row));
        let keys = signs.keys.into_iter().map(|row| posting(SIMILAR, row));
        postings_batch(&hashes.chain(keys).collect::<Vec<_>>(), n_partitions)
    })
}

/// Leave the rows whose number another document has as well.
#[pyfunction]
pub(crate) fn link(py: Python<'_>, batch: Batch) -> PyResult<Batch> {
    run_batch(py, || {
        let mut all = postings(&batch.0)?;
        all.sort_unstable();
        let runs = all.chunk_by(|a, b| (a.kind, a.number) == (b.kind, b.number));
        let shared: Vec<Posting> = runs.filter(|run| run.len() > 1).flatten().copied().collect();
        postings_batch(&shared, 1)
    })
}

/// Decide what goes, or ask.
#[pyfunction]
pub(crate) fn cluster(
    py: Python<'_>,
    links: Batch,
    answers: Batch,
    config: Config,
    partitions: u32,
) -> PyResult<(Batch, Batch, Batch)> {
    let (removals, questions, wanted) = run(py, || {
        let config = config.resolve()?;
        let n_partitions = checked(partitions)?;
        let mut linked = postings(&links.0)?;
        linked.sort_unstable();
        let decided = Decided::of(&config, &linked, &Answers::of(&answers.0)?)?;
        let questions = decided.questions();
        Ok((
            decided.removals()?,
            questions_batch(&questions, n_partitions)?,
            wanted_batch(&questions, n_partitions)?,
        ))
    })?;
    Ok((PyArrowType(removals), PyArrowType(questions), PyArrowType(wanted)))
}

fn checked(n_partitions: u32) -> Result<u32, Failure> {
    match n_partitions {
        1..=0x7FFF_FFFF => Ok(n_partitions),
        _ => Err(Failure::Value(format!("{n_partitions} partitions; choose at least 1"))),
    }
}

/// What one pass of the rule says.
#[derive(Debug, Default)]
struct Decided {
    /// Documents of equal texts, the first of each group first.
    groups: Vec<Vec<u64>>,
    /// Documents that go for a similar one: `[document, kept, shared, whole]`, in order.
    copies: Vec<[u64; 4]>,
    /// Pairs that must be compared before anything is decided.
    open_equal: Vec<[u64; 2]>,
    open_similar: Vec<[u64; 2]>,
}

impl Decided {
    /// From postings in order.
    fn of(config: &DedupConfig, linked: &[Posting], answers: &Answers) -> Result<Self, Failure> {
        let n_equal = linked.partition_point(|posting| posting.kind == EQUAL);
        let (hashes, keys) = linked.split_at(n_equal);
        let mut decided = Decided::default();
        for run in hashes.chunk_by(|a, b| a.number == b.number) {
            decided.take_equal(run, answers);
        }
        decided.groups.sort_unstable();
        let mut gone: Vec<u64> = decided.groups.iter().flat_map(|group| group[1..].iter().copied()).collect();
        gone.sort_unstable();
        let mut staying: Vec<[u64; 2]> = keys
            .iter()
            .filter(|posting| gone.binary_search(&posting.document).is_err())
            .map(|posting| [posting.number, posting.document])
            .collect();
        if answers.similar.is_empty() {
            // The first of those that share a key is what most of the others are copies of.
            decided.open_similar = links(&mut staying, 1).pairs;
            return Ok(decided);
        }
        let sizes: FxHashMap<u64, usize> =
            keys.iter().map(|posting| (posting.document, posting.n_bytes.max(0) as usize)).collect();
        let found =
            Kernels::new(config)?.cluster(&staying, &answers.similar, &|document| sizes[&document])?;
        (decided.copies, decided.open_similar) = (found.copies, found.open);
        Ok(decided)
    }

    /// Parts documents of one hash into groups of equal texts. What is not known is taken for equal, and asked.
    fn take_equal(&mut self, run: &[Posting], answers: &Answers) {
        let mut groups: Vec<Vec<u64>> = Vec::new();
        for document in run.iter().map(|posting| posting.document) {
            let mut is_of = |group: &Vec<u64>| {
                let pair = [document, group[0]];
                let place = answers.equal.partition_point(|answer| answer[..2] < pair[..]);
                match answers.equal.get(place) {
                    Some(answer) if answer[..2] == pair => answer[2] > 0,
                    _ => {
                        self.open_equal.push(pair);
                        true
                    }
                }
            };
            match groups.iter().position(&mut is_of) {
                Some(at) => groups[at].push(document),
                None => groups.push(vec![document]),
            }
        }
        self.groups.extend(groups.into_iter().filter(|group| group.len() > 1));
    }

    /// In order.
    fn questions(&self) -> Vec<Question> {
        let question = |kind: i8| move |&pair: &[u64; 2]| Question { kind, pair };
        let equal = self.open_equal.iter().map(question(EQUAL));
        let mut questions: Vec<Question> =
            equal.chain(self.open_similar.iter().map(question(SIMILAR))).collect();
        questions.sort_unstable();
        questions
    }

    /// The documents that go, ascending. Where the first of a group of equal texts goes for a similar one, all of it does,
    /// because equal texts are equally similar.
    fn removals(&self) -> Result<RecordBatch, Failure> {
        let mut removals: Vec<(u64, u64, &str, f64)> =
            self.copies.iter().map(|copy| (copy[0], copy[1], "minhash", value(copy[2], copy[3]))).collect();
        for group in &self.groups {
            let first =
                self.copies.binary_search_by_key(&group[0], |copy| copy[0]).ok().map(|at| self.copies[at]);
            removals.extend(group[1..].iter().map(|&document| match first {
                Some([_, kept, shared, whole]) => (document, kept, "minhash", value(shared, whole)),
                None => (document, group[0], "exact", 1.0),
            }));
        }
        removals.sort_unstable_by_key(|removal| removal.0);
        batch([
            ("document", Arc::new(numbers_i64(removals.iter().map(|removal| removal.0)))),
            ("kept", Arc::new(numbers_i64(removals.iter().map(|removal| removal.1)))),
            ("stage", Arc::new(LargeStringArray::from_iter_values(removals.iter().map(|removal| removal.2)))),
            (
                "similarity",
                Arc::new(Float64Array::from_iter_values(removals.iter().map(|removal| removal.3))),
            ),
        ])
    }
}

/// A similarity, cut after nine decimals as reports have it.
fn value(shared: u64, whole: u64) -> f64 {
    let billionths = u128::from(shared) * 1_000_000_000 / u128::from(whole.max(1));
    billionths as f64 / 1e9
}

fn questions_batch(questions: &[Question], n_partitions: u32) -> Result<RecordBatch, Failure> {
    let partitions = questions.iter().map(|question| compared_in(question.pair[0], n_partitions));
    let texts: LargeStringArray = questions.iter().map(|_| None::<&str>).collect();
    asked_batch(
        Int32Array::from_iter_values(partitions),
        numbers_i64(questions.iter().map(|question| question.pair[0])),
        (
            questions.iter().map(|question| Some(question.pair[1].cast_signed())).collect(),
            Int8Array::from_iter_values(questions.iter().map(|question| question.kind)),
        ),
        texts,
    )
}

/// Rows for `verify`: questions, and the texts that are asked about, which have no other document.
fn asked_batch(
    partitions: Int32Array,
    documents: Int64Array,
    (others, kinds): (Int64Array, Int8Array),
    texts: LargeStringArray,
) -> Result<RecordBatch, Failure> {
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("partition", Arc::new(partitions), false),
        ("document", Arc::new(documents), false),
        ("other", Arc::new(others), true),
        ("kind", Arc::new(kinds), false),
        ("text", Arc::new(texts), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Which text goes to which partition, each once, by document.
fn wanted_batch(questions: &[Question], n_partitions: u32) -> Result<RecordBatch, Failure> {
    let of = |question: &Question| {
        let partition = compared_in(question.pair[0], n_partitions);
        question.pair.map(|document| (document, partition))
    };
    let mut wanted: Vec<(u64, i32)> = questions.iter().flat_map(of).collect();
    wanted.sort_unstable();
    wanted.dedup();
    batch([
        ("document", Arc::new(numbers_i64(wanted.iter().map(|row| row.0)))),
        ("partition", Arc::new(Int32Array::from_iter_values(wanted.iter().map(|row| row.1)))),
    ])
}

/// Send the texts of a batch to the partitions that ask about them.
#[pyfunction]
pub(crate) fn route(py: Python<'_>, batch: Batch, wanted: Batch) -> PyResult<Batch> {
    run_batch(py, || {
        let columns = Columns(&batch.0);
        let (documents, texts) = (columns.documents("document")?, columns.texts("text")?);
        let wanted = Columns(&wanted.0);
        let (of, to) = (wanted.documents("document")?, wanted.numbers::<Int32Type>("partition")?);
        if !of.is_sorted() {
            return Err(Failure::Value("the documents that are wanted are not in order".to_owned()));
        }
        let (mut routed, mut partitions) = (Vec::new(), Vec::new());
        let mut routed_texts = LargeStringBuilder::new();
        for (row, &document) in documents.iter().enumerate() {
            let first = of.partition_point(|&other| other < document);
            for &partition in of[first..]
                .iter()
                .zip(&to[first..])
                .take_while(|(other, _)| **other == document)
                .map(|(_, partition)| partition)
            {
                routed.push(document);
                partitions.push(partition);
                routed_texts.append_value(texts.get(row).unwrap_or_default());
            }
        }
        let n = routed.len();
        asked_batch(
            Int32Array::from(partitions),
            Int64Array::from(routed),
            (Int64Array::new_null(n), Int8Array::from_value(SIMILAR, n)),
            routed_texts.finish(),
        )
    })
}

/// Answer the questions of a partition from the texts in it.
#[pyfunction]
pub(crate) fn verify(py: Python<'_>, batch: Batch, config: Config) -> PyResult<Batch> {
    run_batch(py, || {
        let config = config.resolve()?;
        let columns = Columns(&batch.0);
        let (documents, texts) = (columns.documents("document")?, columns.texts("text")?);
        let (others, kinds) = (columns.nullable::<Int64Type>("other")?, columns.numbers::<Int8Type>("kind")?);
        let (mut questions, mut text_of) = (Vec::new(), FxHashMap::default());
        for (row, document) in documents.iter().map(|document| document.cast_unsigned()).enumerate() {
            match (others.is_valid(row), texts.get(row)) {
                (true, _) => {
                    let pair = [document, others.value(row).cast_unsigned()];
                    questions.push(Question { kind: kinds[row], pair });
                }
                (false, Some(text)) => {
                    text_of.insert(document, text);
                }
                (false, None) => {
                    return Err(Failure::Value(format!("row {row} has neither a text nor a question")));
                }
            }
        }
        questions.sort_unstable();
        questions.dedup();
        let asked = questions.iter().flat_map(|question| question.pair);
        if let Some(missing) = asked.into_iter().find(|document| !text_of.contains_key(document)) {
            return Err(Failure::Value(format!(
                "document {missing} is asked about, and its text is not here"
            )));
        }
        answered(&config, &questions, |document| text_of[&document])?.batch()
    })
}

/// The answers to questions in order.
fn answered<'t>(
    config: &DedupConfig,
    questions: &[Question],
    text_of: impl Fn(u64) -> &'t str + Sync,
) -> Result<Answers, Failure> {
    let n_equal = questions.partition_point(|question| question.kind == EQUAL);
    let plain = Normalizer::default();
    let normalizer = config.exact.as_ref().map_or(&plain, |exact| &exact.normalizer);
    let equal = questions[..n_equal].iter().map(|&Question { pair, .. }| {
        let [a, b] = pair.map(&text_of);
        let is_equal = a == b || normalizer.apply(a) == normalizer.apply(b);
        [pair[0], pair[1], u64::from(is_equal), 1]
    });
    let pairs: Vec<[u64; 2]> = questions[n_equal..].iter().map(|question| question.pair).collect();
    let similar = Kernels::new(config)?.verify(&pairs, &text_of);
    Ok(Answers { equal: equal.collect(), similar })
}

/// Drop the rows of documents that go.
#[pyfunction]
pub(crate) fn rewrite(py: Python<'_>, batch: Batch, removals: Batch) -> PyResult<Batch> {
    run_batch(py, || {
        let documents = Columns(&batch.0).documents("document")?;
        let removed = Columns(&removals.0).documents("document")?;
        if !removed.is_sorted() {
            return Err(Failure::Value("the removals are not in order".to_owned()));
        }
        let mut stays = BooleanBufferBuilder::new(documents.len());
        documents.iter().for_each(|document| stays.append(removed.binary_search(document).is_err()));
        Ok(filter_record_batch(&batch.0, &BooleanArray::new(stays.finish(), None))?)
    })
}
