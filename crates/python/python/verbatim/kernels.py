"""The kernels. Numbers of 64 bits travel as `int64`, bit for bit, for engines that have no unsigned integers."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Union

import pyarrow as pa

from verbatim import _verbatim
from verbatim.config import Config

Batch = Union[pa.RecordBatch, pa.Table]

POSTINGS = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("document", pa.int64(), nullable=False),
        pa.field("n_bytes", pa.int32(), nullable=False),
    ]
)
"""Rows of `sign` and `link`: the hash of a text (kind 0) or the key of a band (kind 1), and a document that has it."""

QUESTIONS = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("document", pa.int64(), nullable=False),
        pa.field("other", pa.int64()),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("text", pa.large_string()),
    ]
)
"""Rows for `verify`: a question has an `other` document, a text has none."""

ANSWERS = pa.schema(
    [
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("document", pa.int64(), nullable=False),
        pa.field("other", pa.int64(), nullable=False),
        pa.field("shared", pa.int64(), nullable=False),
        pa.field("whole", pa.int64(), nullable=False),
    ]
)
"""Rows of `verify`: the similarity as a fraction; `shared` is 0 where the two are no copies."""


class Clusters(NamedTuple):
    """What `cluster` says."""

    removals: pa.RecordBatch
    """Once there are no questions: (`document`, `kept`, `stage`, `similarity`) of each document that goes, by document."""
    questions: pa.RecordBatch
    """Pairs that have to be compared first; their columns are `QUESTIONS`, with a null text."""
    wanted: pa.RecordBatch
    """(`document`, `partition`) of each text that `route` has to send to a partition of `questions`, by document."""


def sign(batch: Batch, config: Config = Config(), partitions: int = 1) -> pa.RecordBatch:
    """Note of each text its hash and the keys of its bands.

    `batch` has `document` (int64, from 0: its place in the order in which documents are preferred, of which gaps do
    not matter) and `text`; a null or blank text is nobody's copy. With `n_bytes` (int64), the length of the document's
    record in a file, decisions are those about that file even where thousands of documents share a key; without it
    the length of the text is taken, as it is for parquet.

    Gives `POSTINGS`. Rows with the same number have the same `partition`, from 0 to `partitions` - 1.
    """
    return _verbatim.sign(as_batch(batch), config, partitions)


def link(batch: Batch) -> pa.RecordBatch:
    """Leave those of some `POSTINGS` whose number another document has as well.

    `batch` has all rows of the partitions that are in it. What all calls give together is the input of `cluster`.
    """
    return _verbatim.link(as_batch(batch))


def cluster(
    links: Batch, answers: Optional[Batch] = None, config: Config = Config(), partitions: int = 1
) -> Clusters:
    """Decide what goes, by the rule of `verbatim dedup`, or ask what must be known for that.

    `links` has all rows of all calls of `link`, `answers` all rows of all calls of `verify` so far. Call it, have its
    questions answered, and call it again with these and the earlier answers, until it has no questions.
    """
    answers = ANSWERS.empty_table() if answers is None else answers
    return Clusters(*_verbatim.cluster(as_batch(links), as_batch(answers), config, partitions))


def route(batch: Batch, wanted: Batch) -> pa.RecordBatch:
    """Send texts to the partitions of the questions about them.

    `batch` has `document` and `text`, `wanted` is that of `Clusters`. Gives `QUESTIONS` rows without an `other`.
    """
    return _verbatim.route(as_batch(batch), as_batch(wanted))


def verify(batch: Batch, config: Config = Config()) -> pa.RecordBatch:
    """Answer questions from texts: the similarity of two texts as a fraction, by counting.

    `batch` has all `QUESTIONS` rows of the partitions that are in it, those of `route` and those of `cluster`. Gives
    `ANSWERS`. Raises ValueError where a text is missing.
    """
    return _verbatim.verify(as_batch(batch), config)


def rewrite(batch: Batch, removals: Batch) -> pa.RecordBatch:
    """Drop the rows whose `document` is among the `removals` of `Clusters`; order and columns stay."""
    return _verbatim.rewrite(as_batch(batch), as_batch(removals))


def count(batch: Batch, needles: Sequence[str]) -> pa.RecordBatch:
    """Count strings in the column `text`, byte for byte, overlapping occurrences included.

    Gives `needle`, `n_documents` (texts that hold it) and `n_occurrences`, in the order of `needles`. Counts of several
    batches add up. An empty string occurs nowhere.
    """
    return _verbatim.count(as_batch(batch), list(needles))


def score(batch: Batch, model: _verbatim.Model, signals: Sequence[str] = ("loss", "zlib", "min-k")) -> pa.RecordBatch:
    """Membership signals of the column `text`, from one pass of a model over each: higher is more likely a member.

    `model` is `verbatim.Model(path)`, made once for each worker; `Model.signals()` lists the names. Gives
    `n_tokens`, `zlib_bytes` and a `float64` column for each signal, a row for each text; null where it is not defined.
    """
    return model.score(as_batch(batch), list(signals))


def as_batch(batch: Batch) -> pa.RecordBatch:
    """One batch with all rows of a table."""
    if isinstance(batch, pa.RecordBatch):
        return batch
    batches = batch.combine_chunks().to_batches()
    if len(batches) > 1:
        raise ValueError("the table is too large for one batch; cast its strings to large_string, or split it")
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=batch.schema)
