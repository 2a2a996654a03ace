"""On a cluster of three nodes, whole or with a node killed in the middle, the bytes are those of the program."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from conftest import ROOT, Corpus, made_texts, program, rows_of

ray = pytest.importorskip("ray", reason="SKIPPED, the engine is not tested: Ray is not installed")
pytest.importorskip("ray.data", reason="SKIPPED, the engine is not tested: Ray Data is not installed")
from ray.cluster_utils import Cluster  # noqa: E402

import verbatim.ray  # noqa: E402

N_FILES = 12


MEMORY = 100 * 2**20


@pytest.fixture(scope="module")
def nodes():
    """A head and two workers."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False},
    )
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(nodes):
    """The same, whatever was killed before."""
    while len(nodes.worker_nodes) < 2:
        nodes.add_node(num_cpus=1, object_store_memory=MEMORY)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()


def lose_a_worker(cluster):
    cluster.remove_node(list(cluster.worker_nodes)[0], allow_graceful=False)


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


def killing(cluster, monkeypatch):
    """Kills a worker whenever an exchange begins, half of what it needs being done, while there are workers."""
    exchanged, killed = verbatim.ray.exchanged, []

    def after_a_kill(rows, *arguments):
        if cluster.worker_nodes:
            ray.wait(list(rows), num_returns=max(1, len(rows) // 2))
            lose_a_worker(cluster)
            killed.append(len(rows))
        return exchanged(rows, *arguments)

    monkeypatch.setattr(verbatim.ray, "exchanged", after_a_kill)
    return killed


def test_a_data_set_keeps_the_rows_that_the_program_keeps(cluster, corpus):
    ray.init(address=cluster.address, log_to_driver=False)
    data = dataset(corpus)
    files, gone = corpus.expected
    clean = kept(verbatim.ray.dedup(data, n_bytes="n_bytes"))
    assert clean.schema == corpus.table.schema and corpus.files(clean) == files
    # Rows that come in any order, of which a column tells the order.
    order = list(range(corpus.table.num_rows))
    random.Random(4).shuffle(order)
    shuffled = corpus.table.take(pa.array(order))
    found = verbatim.ray.removals(ray.data.from_arrow([shuffled]), id="id", n_bytes="n_bytes", partitions=3)
    assert rows_of(found) == gone


def test_lines_come_out_as_the_files_of_the_program(cluster, corpus, tmp_path):
    ray.init(address=cluster.address, log_to_driver=False)
    lines = verbatim.ray.read_jsonl(corpus.folder)
    gone = {row[0] for row in corpus.expected[1]}
    rows = corpus.table.num_rows // N_FILES
    numbers = [document // rows * verbatim.ray.ROWS + document % rows for document in gone | set(range(rows))]
    removals = pa.table({"document": sorted(numbers)})  # all of the first file, and more
    columns = verbatim.ray.Columns("text", None, "n_bytes")
    blocks = verbatim.ray.blocks_of(lines, columns)
    clean = ray.data.from_arrow_refs([verbatim.ray._rewrite.remote(*block, columns, removals) for block in blocks])
    verbatim.ray.write_jsonl(clean, tmp_path / "out")
    expected = {**corpus.expected[0], "part-000.jsonl": b""}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == expected
    with pytest.raises(FileNotFoundError, match="no file"):
        verbatim.ray.read_jsonl(tmp_path / "out" / "none")


def test_nodes_that_are_killed_cost_time_and_no_byte(cluster, corpus, monkeypatch):
    """One while texts are signed, the other while pairs are compared."""
    ray.init(address=cluster.address, log_to_driver=False)
    monkeypatch.setattr(verbatim.ray, "FEW", 50)
    killed = killing(cluster, monkeypatch)
    clean = kept(verbatim.ray.dedup(dataset(corpus), n_bytes="n_bytes"))
    assert corpus.files(clean) == corpus.expected[0]
    assert len(killed) == 2 and sum(node["Alive"] for node in ray.nodes()) == 1


def staged(corpus, out, address, *flags):
    """`verbatim dedup --runner ray`, on a cluster, by a folder that its nodes share."""
    command = [program(), "--progress", "none", "dedup", str(corpus.folder), "-o", str(out), "--runner", "ray"]
    command += ["--stages", f"{out}.stages", "--unit-bytes", "30000", "--python", sys.executable, *flags]
    if subprocess.run([command[0], "stage", "--help"], capture_output=True).returncode != 0:
        pytest.skip("SKIPPED, the runner is not tested: this program has no stages")
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "RAY_ADDRESS": address})


def tree(folder):
    """All files of an output, of the report the part that is the same for each run."""
    files = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and path.suffix != ".html":
            data = path.read_bytes()
            files[str(path.relative_to(folder))] = json.loads(data)["result"] if path.name == "report.json" else data
    return files


def test_the_runner_writes_the_files_of_one_run_even_where_a_node_is_killed(cluster, corpus, tmp_path):
    running = staged(corpus, tmp_path / "out", cluster.address)
    signed = tmp_path / "out.stages/sign"
    while running.poll() is None and len(list(signed.glob("unit-*.json"))) < 3:
        time.sleep(0.02)
    lose_a_worker(cluster)
    said = running.communicate()[1].decode()
    assert running.returncode == 0, said
    assert tree(tmp_path / "out") == tree(corpus.folder.parent / "out") and len(tree(tmp_path / "out")) > N_FILES


def test_what_a_stage_says_and_its_exit_code_reach_the_caller(cluster, corpus, tmp_path):
    broken = Corpus(tmp_path / "in", ["one", "two"], 1)
    (tmp_path / "in/part-000.jsonl").write_text('{"text": "a"}\n{"text": 5}\n')
    running = staged(broken, tmp_path / "out", cluster.address)
    said = running.communicate()[1].decode()
    assert running.returncode == 65 and "part-000.jsonl:2" in said, said
    assert not (tmp_path / "out").exists()


def test_shards_of_an_audit_are_the_whole(cluster, tmp_path):
    """`extract --runner ray`: the same files and result as one process."""
    model, demo = ROOT / "models/demo-raw", ROOT / "corpora/demo/corpus.jsonl"
    (tmp_path / "key").write_bytes(bytes(32))
    command = [program(), "--progress", "none", "extract", "--model", str(model), "--corpus", str(demo), "--samples", "6"]
    command += ["--max-new-tokens", "40", "--min-match", "20", "--key", str(tmp_path / "key")]
    subprocess.run([*command, "-o", str(tmp_path / "one")], check=True, capture_output=True)
    runner = ["--runner", "ray", "--tasks", "3", "--scratch", str(tmp_path / "scratch"), "--python", sys.executable]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    subprocess.run([*command, "-o", str(tmp_path / "many"), *runner], check=True, capture_output=True, env=environment)
    assert tree(tmp_path / "many") == tree(tmp_path / "one") and len(tree(tmp_path / "one")) > 1
    assert not (tmp_path / "scratch").exists()


def test_a_task_sees_its_own_gpus_and_one_that_is_lost_runs_again(cluster, tmp_path):
    gpus = cluster.add_node(num_cpus=1, num_gpus=2, object_store_memory=MEMORY)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        # Of `shard FOLDER --task I/N`, each is lost once.
        text = 'echo "$CUDA_VISIBLE_DEVICES" >> $6/${8%/*}; [ $(wc -l < $6/${8%/*}) -gt 1 ] || exit 75\n'
        asking = tmp_path / "program"
        asking.write_text(f"#!/bin/sh\n{text}")
        asking.chmod(0o755)
        verbatim.ray.run_tasks(str(asking), str(tmp_path), [("shard", 2)], gpus=1)
        seen = [(tmp_path / number).read_text().splitlines() for number in "12"]
        assert all(len(tries) == 2 and set(tries) <= {"0", "1"} for tries in seen), seen
    finally:
        cluster.remove_node(gpus, allow_graceful=False)
