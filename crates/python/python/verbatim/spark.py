"""Deduplication on Spark 4: a recipe, made of the same kernels. Copy it where it does not fit.

    clean = verbatim.spark.dedup(frame, text="text", id="id")

The column `id` (long) tells which of two copies comes first; `monotonically_increasing_id()` makes one of the order of a
frame. Workers take the Python that PYSPARK_PYTHON names: it must be one that has this package. What documents share comes
to the driver, as do the answers about pairs; texts and signatures do not.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from verbatim import kernels
from verbatim.config import Config

POSTINGS = "partition int, kind byte, number long, document long, n_bytes int"
QUESTIONS = "partition int, document long, other long, kind byte, text string"
ANSWERS = "kind byte, document long, other long, shared long, whole long"

Batches = Iterator[pa.RecordBatch]


def dedup(frame: DataFrame, config: Config = Config(), *, text: str = "text", id: str = "id", **named: Any) -> DataFrame:
    """The rows of a frame without copies, each where it was in its partition. See `removals` for the rest."""
    found = removals(frame, config, text=text, id=id, **named)

    def rewrite(batches: Batches) -> Batches:
        for batch in batches:
            numbered = pa.table([batch[id], pa.array(range(batch.num_rows), pa.int64())], names=["document", "row"])
            yield batch.take(kernels.rewrite(numbered, found)["row"])

    return frame.mapInArrow(rewrite, frame.schema)


def removals(
    frame: DataFrame,
    config: Config = Config(),
    *,
    text: str = "text",
    id: str = "id",
    n_bytes: Optional[str] = None,
    partitions: Optional[int] = None,
) -> pa.Table:
    """What `dedup` drops: (`document`, `kept`, `stage`, `similarity`), by document. `partitions` changes no row."""
    spark = frame.sparkSession
    partitions = partitions or int(spark.conf.get("spark.sql.shuffle.partitions"))
    columns = [F.col(id).cast("long").alias("document"), F.col(text).alias("text")]
    if n_bytes is not None:
        columns.append(F.col(n_bytes).cast("long").alias("n_bytes"))
    documents = frame.select(*columns)

    def sign(batches: Batches) -> Batches:
        return (kernels.sign(batch, config, partitions) for batch in batches)

    postings = documents.mapInArrow(sign, POSTINGS)
    links = together(postings, partitions, kernels.link, POSTINGS)
    answers = kernels.ANSWERS.empty_table()
    while True:
        found = kernels.cluster(links, answers, config, partitions)
        if found.questions.num_rows == 0:
            return pa.Table.from_batches([found.removals])
        wanted = found.wanted

        def route(batches: Batches) -> Batches:
            return (kernels.route(batch, wanted) for batch in batches)

        questions = spark.createDataFrame(pa.Table.from_batches([found.questions]), QUESTIONS)
        asked = documents.mapInArrow(route, QUESTIONS).unionByName(questions)
        answered = together(asked, partitions, lambda rows: kernels.verify(rows, config), ANSWERS)
        answers = pa.concat_tables([answers, answered.cast(kernels.ANSWERS)])


def together(rows: DataFrame, partitions: int, kernel: Callable[[pa.Table], pa.RecordBatch], schema: str) -> pa.Table:
    """What a kernel makes of the rows of each partition, all of it."""

    def of_partition(batches: Batches) -> Batches:
        rows = list(batches)
        if rows:
            yield kernel(pa.Table.from_batches(rows))

    return rows.repartition(partitions, "partition").mapInArrow(of_partition, schema).toArrow()
