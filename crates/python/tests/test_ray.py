"""On a cluster of three nodes, whole or with a node killed in the middle, the bytes are those of the program."""

import os
import pathlib
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from conftest import Corpus, kept_files, made_texts, program, removed, rows_of

ray = pytest.importorskip("ray", reason="SKIPPED, the engine is not tested: Ray is not installed")
pytest.importorskip("ray.data", reason="SKIPPED, the engine is not tested: Ray Data is not installed")
from ray.cluster_utils import Cluster  # noqa: E402

import verbatim.ray  # noqa: E402

N_FILES = 12


@pytest.fixture
def cluster():
    """A head that does no work, and two workers."""
    memory = 100 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    corpus = Corpus(folder / "in", made_texts(1500, seed=31), N_FILES)
    corpus.expected = corpus.deduplicated(folder / "out")
    assert len(corpus.expected[1]) > 300
    return corpus


def dataset(corpus):
    rows = corpus.table.num_rows // 8
    return ray.data.from_arrow([corpus.table.slice(at, rows) for at in range(0, corpus.table.num_rows, rows)])


def kept(dataset):
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))


def killing(cluster, monkeypatch, at):
    """Kills a worker when the exchange with this number begins, half of what it needs being done."""
    exchanged, calls = verbatim.ray.exchanged, []

    def killed(rows, *arguments):
        if len(calls) == at:
            ray.wait(list(rows), num_returns=max(1, len(rows) // 2))
            cluster.remove_node(list(cluster.worker_nodes)[0], allow_graceful=False)
        calls.append(len(rows))
        return exchanged(rows, *arguments)

    monkeypatch.setattr(verbatim.ray, "exchanged", killed)
    return calls


def test_a_data_set_keeps_the_rows_that_the_program_keeps(cluster, corpus):
    ray.init(address=cluster.address, log_to_driver=False)
    data = dataset(corpus)
    files, gone = corpus.expected
    clean = kept(verbatim.ray.dedup(data, n_bytes="n_bytes"))
    assert clean.schema == corpus.table.schema and corpus.files(clean) == files
    # Rows that come in any order, of which a column tells the order.
    shuffled = data.random_shuffle(seed=4)
    found = verbatim.ray.removals(shuffled, id="id", n_bytes="n_bytes", partitions=3)
    assert rows_of(found) == gone


def test_a_node_that_is_killed_costs_time_and_no_byte(cluster, corpus, monkeypatch):
    ray.init(address=cluster.address, log_to_driver=False)
    calls = killing(cluster, monkeypatch, at=0)
    monkeypatch.setattr(verbatim.ray, "FEW", 50)
    clean = kept(verbatim.ray.dedup(dataset(corpus), n_bytes="n_bytes"))
    assert corpus.files(clean) == corpus.expected[0]
    assert len(calls) >= 2 and sum(node["Alive"] for node in ray.nodes()) == 2


def test_a_node_that_is_killed_while_pairs_are_compared_costs_no_byte(cluster, corpus, monkeypatch):
    ray.init(address=cluster.address, log_to_driver=False)
    monkeypatch.setattr(verbatim.ray, "FEW", 50)
    killing(cluster, monkeypatch, at=1)
    assert corpus.files(kept(verbatim.ray.dedup(dataset(corpus), n_bytes="n_bytes"))) == corpus.expected[0]
