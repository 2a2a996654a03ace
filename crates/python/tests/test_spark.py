"""Spark's recipe gives the bytes of the program."""

import os
import shutil
import sys

import pytest
from conftest import Corpus, made_texts, rows_of

pytest.importorskip("pyspark", reason="SKIPPED, the recipe is not tested: Spark is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("SKIPPED, the recipe is not tested: there is no Java", allow_module_level=True)

from pyspark.sql import SparkSession  # noqa: E402

import verbatim.spark  # noqa: E402


@pytest.fixture(scope="module")
def spark():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_a_frame_keeps_the_rows_that_the_program_keeps(spark, tmp_path):
    corpus = Corpus(tmp_path / "in", made_texts(900, seed=41), 4)
    files, gone = corpus.deduplicated(tmp_path / "out")
    frame = spark.createDataFrame(corpus.table).repartition(5)
    assert rows_of(verbatim.spark.removals(frame, n_bytes="n_bytes", partitions=4)) == gone
    clean = verbatim.spark.dedup(frame, n_bytes="n_bytes").orderBy("id").toArrow()
    assert clean.schema.names == corpus.table.schema.names and corpus.files(clean) == files
