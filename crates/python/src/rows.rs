//! The columns of batches: numbers that fit engines without unsigned integers, and texts.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Int8Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray,
};
use arrow_schema::DataType;

use crate::failure::Failure;

/// A batch, whose columns are looked up by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a>(pub(crate) &'a RecordBatch);

impl<'a> Columns<'a> {
    /// A column of numbers without nulls.
    pub(crate) fn numbers<T: ArrowPrimitiveType>(self, name: &str) -> Result<&'a [T::Native], Failure> {
        let column = self.nullable::<T>(name)?;
        match column.null_count() {
            0 => Ok(column.values()),
            n => Err(Failure::Value(format!("column `{name}` has {n} nulls"))),
        }
    }

    /// A column of numbers.
    pub(crate) fn nullable<T: ArrowPrimitiveType>(
        self,
        name: &str,
    ) -> Result<&'a arrow_array::PrimitiveArray<T>, Failure> {
        let column = self.column(name)?;
        column.as_primitive_opt::<T>().ok_or_else(|| wrong(name, column, &T::DATA_TYPE.to_string()))
    }

    /// Whole numbers that are no less than 0.
    pub(crate) fn documents(self, name: &str) -> Result<&'a [i64], Failure> {
        let numbers = self.numbers::<Int64Type>(name)?;
        match numbers.iter().any(|&number| number < 0) {
            true => Err(Failure::Value(format!("column `{name}` has a number below 0"))),
            false => Ok(numbers),
        }
    }

    /// A column of texts.
    pub(crate) fn texts(self, name: &str) -> Result<Texts<'a>, Failure> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::Utf8 => Ok(Texts::Small(column.as_string())),
            DataType::LargeUtf8 => Ok(Texts::Large(column.as_string())),
            DataType::Utf8View => Ok(Texts::View(column.as_string_view())),
            _ => Err(wrong(name, column, "texts")),
        }
    }

    /// Whether there is such a column.
    pub(crate) fn has(self, name: &str) -> bool {
        self.0.column_by_name(name).is_some()
    }

    fn column(self, name: &str) -> Result<&'a ArrayRef, Failure> {
        self.0.column_by_name(name).ok_or_else(|| Failure::Value(format!("no column `{name}`")))
    }
}

fn wrong(name: &str, column: &ArrayRef, expected: &str) -> Failure {
    Failure::Value(format!("column `{name}` has {}, not {expected}", column.data_type()))
}

/// A column of texts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Texts<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Texts::Small(texts) => texts.len(),
            Texts::Large(texts) => texts.len(),
            Texts::View(texts) => texts.len(),
        }
    }

    /// The text of a row, if it has one.
    pub(crate) fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Texts::Small(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Texts::Large(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Texts::View(texts) => texts.is_valid(row).then(|| texts.value(row)),
        }
    }
}

/// Numbers of 64 bits as they are, with a sign that means nothing.
pub(crate) fn numbers_i64(numbers: impl Iterator<Item = u64>) -> Int64Array {
    Int64Array::from_iter_values(numbers.map(u64::cast_signed))
}

/// The number of a text or of a band, and a document that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Posting {
    pub(crate) kind: i8,
    pub(crate) number: u64,
    pub(crate) document: u64,
    /// Bytes of the document's record.
    pub(crate) n_bytes: i32,
}

/// The number is the hash of a text, or the question is whether two texts are equal.
pub(crate) const EQUAL: i8 = 0;
/// The number is the key of a band, or the question is how similar two texts are.
pub(crate) const SIMILAR: i8 = 1;

/// Postings from a batch.
pub(crate) fn postings(batch: &RecordBatch) -> Result<Vec<Posting>, Failure> {
    let columns = Columns(batch);
    let kinds = columns.numbers::<Int8Type>("kind")?;
    let numbers = columns.numbers::<Int64Type>("number")?;
    let documents = columns.documents("document")?;
    let n_bytes = columns.numbers::<Int32Type>("n_bytes")?;
    let rows = kinds.iter().zip(numbers).zip(documents).zip(n_bytes);
    Ok(rows
        .map(|(((&kind, number), document), &n_bytes)| Posting {
            kind,
            number: number.cast_unsigned(),
            document: document.cast_unsigned(),
            n_bytes,
        })
        .collect())
}

/// Postings as a batch, of which each is of a partition by its number.
pub(crate) fn postings_batch(postings: &[Posting], n_partitions: u32) -> Result<RecordBatch, Failure> {
    let partition =
        |posting: &Posting| ((u128::from(posting.number) * u128::from(n_partitions)) >> 64) as i32;
    batch([
        ("partition", Arc::new(Int32Array::from_iter_values(postings.iter().map(partition)))),
        ("kind", Arc::new(Int8Array::from_iter_values(postings.iter().map(|posting| posting.kind)))),
        ("number", Arc::new(numbers_i64(postings.iter().map(|posting| posting.number)))),
        ("document", Arc::new(numbers_i64(postings.iter().map(|posting| posting.document)))),
        ("n_bytes", Arc::new(Int32Array::from_iter_values(postings.iter().map(|posting| posting.n_bytes)))),
    ])
}

/// What is asked of two texts: the document that would go, and the one that would stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) kind: i8,
    pub(crate) pair: [u64; 2],
}

/// Answers by what was asked: `[document, other, shared, whole]` in order. Where the two are no copies `shared` is 0.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) equal: Vec<[u64; 4]>,
    pub(crate) similar: Vec<[u64; 4]>,
}

impl Answers {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Answers, Failure> {
        let columns = Columns(batch);
        let kinds = columns.numbers::<Int8Type>("kind")?;
        let [documents, others, shared, whole] = [
            columns.documents("document")?,
            columns.documents("other")?,
            columns.documents("shared")?,
            columns.documents("whole")?,
        ];
        let mut answers = Answers::default();
        for (row, kind) in kinds.iter().enumerate() {
            let answer = [documents[row], others[row], shared[row], whole[row]].map(i64::cast_unsigned);
            let of_kind = if *kind == EQUAL { &mut answers.equal } else { &mut answers.similar };
            of_kind.push(answer);
        }
        for of_kind in [&mut answers.equal, &mut answers.similar] {
            of_kind.sort_unstable();
            of_kind.dedup();
        }
        Ok(answers)
    }

    /// Answers as a batch.
    pub(crate) fn batch(&self) -> Result<RecordBatch, Failure> {
        let Answers { equal, similar } = self;
        let all = || equal.iter().chain(similar);
        let column = |at: usize| Arc::new(numbers_i64(all().map(move |answer| answer[at])));
        let kinds = equal.iter().map(|_| EQUAL).chain(similar.iter().map(|_| SIMILAR));
        batch([
            ("kind", Arc::new(Int8Array::from_iter_values(kinds))),
            ("document", column(0)),
            ("other", column(1)),
            ("shared", column(2)),
            ("whole", column(3)),
        ])
    }
}

/// The partition in which a document's text is compared.
pub(crate) fn compared_in(document: u64, n_partitions: u32) -> i32 {
    /// Neighbours go together, for they often share what they are compared with.
    const STRIPE: u64 = 64;
    (document / STRIPE % u64::from(n_partitions)) as i32
}

/// A batch of columns without nulls.
pub(crate) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch, Failure> {
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, false)),
    )?)
}
