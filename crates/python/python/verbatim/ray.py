"""Deduplication on Ray: Ray Data brings rows together, Ray tasks do the rest, and are tried again where a node is lost.

    import ray, verbatim.ray
    clean = verbatim.ray.dedup(ray.data.read_parquet("corpus/"), text="text")
    clean.write_parquet("clean/")

    lines = verbatim.ray.read_jsonl("corpus/")
    verbatim.ray.write_jsonl(verbatim.ray.dedup(lines, n_bytes="n_bytes"), "clean/")

What the second example writes are, byte for byte, the files of `verbatim dedup corpus/ -o clean/`.

`python -m verbatim.ray` runs what the program has planned for `--runner ray`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from verbatim import jsonl, kernels
from verbatim.config import Config

RETRIES = 5
"""How often a task is run again whose node or process was lost."""

FEW = 2_000
"""Questions that one task answers, because a shuffle would take longer."""

ROWS = 2**32
"""More rows than a block has: the numbers of documents are those of their blocks times this, and their rows."""

Ref = Any
Block = Tuple[Ref, Optional[int]]
"""A block of the data set, and the number of its first document; none where a column has the numbers."""


def dedup(
    dataset: ray.data.Dataset,
    config: Config = Config(),
    *,
    text: str = "text",
    id: Optional[str] = None,
    n_bytes: Optional[str] = None,
    partitions: Optional[int] = None,
) -> ray.data.Dataset:
    """The rows of a data set without copies, in their order, with all columns.

    Of copies the first row stays; which row is first is told by the column `id` (int64), or else by the order of the
    data set, which this function makes Ray keep. `text` names the column that is compared, `n_bytes` one with the
    length of a row's record in a file (see `verbatim.sign`). The number of `partitions` changes no row.

    The blocks of the data set stay in Ray's object store, on disk where memory is short. The rows that documents share,
    some 50 bytes for each key of each copy, come to one task.
    """
    columns = Columns(text, id, n_bytes)
    blocks = blocks_of(dataset, columns)
    removals = decide(blocks, columns, config, partitions)
    return ray.data.from_arrow_refs([_rewrite.remote(*block, columns, removals) for block in blocks])


def removals(
    dataset: ray.data.Dataset,
    config: Config = Config(),
    *,
    text: str = "text",
    id: Optional[str] = None,
    n_bytes: Optional[str] = None,
    partitions: Optional[int] = None,
) -> pa.Table:
    """What `dedup` would drop: (`document`, `kept`, `stage`, `similarity`), by document.

    A document is known by its `id`, or else by its place in the data set, from 0.
    """
    columns = Columns(text, id, n_bytes)
    blocks = blocks_of(dataset, columns)
    found = pa.Table.from_batches([ray.get(decide(blocks, columns, config, partitions))])
    if id is not None:
        return found
    firsts = [0, *itertools.accumulate(ray.get([_n_rows.remote(ref) for ref, _ in blocks]))]
    for place, name in enumerate(["document", "kept"]):
        places = [firsts[number // ROWS] + number % ROWS for number in found[name].to_pylist()]
        found = found.set_column(place, found.schema.field(name), pa.array(places, pa.int64()))
    return found


def read_jsonl(folder: jsonl.Place, text: str = "text") -> ray.data.Dataset:
    """The lines of the files `*.jsonl` below a folder that all nodes see, a block for each file, in order.

    The columns are `file`, `line` (its bytes, with the line end), `text` (the string in the field that `text` names) and `n_bytes`.
    """
    files = jsonl.files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: there is no file *.jsonl in it")
    return ray.data.from_arrow_refs([_read.remote(os.path.abspath(folder), file, text) for file in files])


def write_jsonl(dataset: ray.data.Dataset, folder: jsonl.Place) -> None:
    """Writes lines that `read_jsonl` read into files of the same names below a folder that all nodes see.

    Files without a line left are there and empty. Each file is written whole or not at all.
    """
    dataset.context.execution_options.preserve_order = True
    refs = dataset.materialize().to_arrow_refs()
    blocks: Dict[str, List[Ref]] = {}
    for ref, names in zip(refs, ray.get([_names.remote(ref) for ref in refs])):
        for name in names:
            blocks.setdefault(name, []).append(ref)
    ray.get([_write.remote(os.path.abspath(folder), file, *parts) for file, parts in blocks.items()])


class Columns:
    """Which columns of the data set are looked at."""

    def __init__(self, text: str, id: Optional[str], n_bytes: Optional[str]) -> None:
        self.text, self.id, self.n_bytes = text, id, n_bytes

    def documents(self, table: pa.Table, first: Optional[int]) -> pa.Array:
        """The numbers of the rows of a block."""
        if first is None:
            return table[self.id].cast(pa.int64())
        return pa.array(range(first, first + table.num_rows), pa.int64())

    def of(self, table: pa.Table, first: Optional[int]) -> pa.Table:
        """The rows of a block as kernels have them."""
        names, columns = ["document", "text"], [self.documents(table, first), table[self.text]]
        if self.n_bytes is not None:
            names.append("n_bytes")
            columns.append(table[self.n_bytes].cast(pa.int64()))
        return pa.table(columns, names=names)


def blocks_of(dataset: ray.data.Dataset, columns: Columns) -> List[Block]:
    """The blocks of a data set, in their order."""
    dataset.context.execution_options.preserve_order = True
    refs = dataset.materialize().to_arrow_refs()
    return [(ref, number * ROWS if columns.id is None else None) for number, ref in enumerate(refs)]


def decide(blocks: Sequence[Block], columns: Columns, config: Config, partitions: Optional[int]) -> Ref:
    """The removals."""
    if partitions is None:
        partitions = max(1, len(blocks), int(ray.cluster_resources().get("CPU", 1)))
    signed = [_sign.remote(*block, columns, config, partitions) for block in blocks]
    linked = exchanged(signed, partitions, _link, {})
    answers: List[Ref] = []
    while True:
        found, questions, wanted, asked = _cluster.remote(config, partitions, len(linked), *linked, *answers)
        n, numbers = ray.get(asked)
        if n == 0:
            return found
        looked_at = [blocks[number] for number in numbers] if columns.id is None else blocks
        routed = [_route.remote(*block, columns, wanted) for block in looked_at]
        if n <= FEW:
            answers.append(_verify_all.remote(config, questions, *routed))
        else:
            answers.extend(exchanged([questions, *routed], partitions, _verify, {"config": config}))


def exchanged(rows: Sequence[Ref], partitions: int, kernel: Any, arguments: dict) -> List[Ref]:
    """What a kernel makes of the rows of each partition, which Ray Data's default shuffle brings together."""
    groups = ray.data.from_arrow_refs(list(rows)).groupby("partition", num_partitions=partitions)
    done = groups.map_groups(kernel, batch_format="pyarrow", fn_kwargs=arguments)
    return done.materialize().to_arrow_refs()


def one_thread() -> None:
    """Ray runs a task on each core: a kernel that took all cores for itself would be in the way of others."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")


def table(*batches: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches(batches)


def _link(rows: pa.Table) -> pa.Table:
    one_thread()
    return table(kernels.link(rows))


def _verify(rows: pa.Table, config: Config) -> pa.Table:
    one_thread()
    return table(kernels.verify(rows, config))


_read = ray.remote(max_retries=RETRIES)(jsonl.read)
_names = ray.remote(max_retries=RETRIES)(jsonl.names)
_write = ray.remote(max_retries=RETRIES)(jsonl.write)


@ray.remote(max_retries=RETRIES)
def _n_rows(block: pa.Table) -> int:
    return block.num_rows


@ray.remote(max_retries=RETRIES)
def _sign(block: pa.Table, first: Optional[int], columns: Columns, config: Config, partitions: int) -> pa.Table:
    one_thread()
    return table(kernels.sign(columns.of(block, first), config, partitions))


@ray.remote(max_retries=RETRIES, num_returns=4)
def _cluster(config: Config, partitions: int, n_linked: int, *rows: pa.Table) -> Tuple[Any, ...]:
    one_thread()
    links = [part for part in rows[:n_linked] if part.num_rows]
    answers = [part for part in rows[n_linked:] if part.num_rows]
    links_table = pa.concat_tables(links) if links else kernels.POSTINGS.empty_table()
    answers_table = pa.concat_tables(answers) if answers else None
    found = kernels.cluster(links_table, answers_table, config, partitions)
    blocks = pc.unique(pc.divide(found.wanted["document"], ROWS)).to_pylist()
    return found.removals, table(found.questions), found.wanted, (found.questions.num_rows, blocks)


@ray.remote(max_retries=RETRIES)
def _route(block: pa.Table, first: Optional[int], columns: Columns, wanted: pa.RecordBatch) -> pa.Table:
    one_thread()
    return table(kernels.route(columns.of(block, first), wanted))


@ray.remote(max_retries=RETRIES)
def _verify_all(config: Config, *rows: pa.Table) -> pa.Table:
    return _verify(pa.concat_tables(rows), config)


@ray.remote(max_retries=RETRIES)
def _rewrite(block: pa.Table, first: Optional[int], columns: Columns, removals: pa.RecordBatch) -> pa.Table:
    one_thread()
    numbered = pa.table([columns.documents(block, first)], names=["document"])
    numbered = numbered.append_column("row", pa.array(range(block.num_rows), pa.int64()))
    kept = kernels.rewrite(numbered, removals)
    return block.take(kept["row"])


class TaskFailed(Exception):
    """A task ended with an error that another try would meet again: what it said, and its exit code."""


class TaskLost(TaskFailed):
    """A task was killed, or met what may pass: a full disk, a lost network, a lock."""


def run_tasks(
    program: str,
    folder: str,
    kinds: Iterable[Tuple[str, int]],
    *,
    cpus: float = 1,
    gpus: float = 0,
    retries: int = RETRIES,
) -> None:
    """Run what the program has planned into a folder that all nodes see: units of the stages of a search for copies, or
    shards of a run that asks a model, each as a task.

    `kinds` has the name of each stage and how many units it has, in order; `shard` is that of shards. What is done stays done,
    and what was lost is run again, alone.
    """
    task = _task.options(num_cpus=cpus, num_gpus=gpus, max_retries=retries, retry_exceptions=[TaskLost])
    for kind, n in kinds:
        commands = [command(program, folder, kind, f"{i + 1}/{n}", cpus) for i in range(n)]
        ray.get([task.remote(words) for words in commands])


def command(program: str, folder: str, kind: str, share: str, cpus: float) -> List[str]:
    """What does one task."""
    words = ["shard", folder] if kind == "shard" else ["stage", kind, "--stages", folder]
    task = [] if kind == "cluster" else ["--task", share]
    return [program, "--progress", "none", "--threads", str(max(1, int(cpus))), *words, *task]


@ray.remote
def _task(words: List[str]) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    code = done.returncode
    if code != 0:
        kind = TaskLost if code < 0 or code in (74, 75) or code >= 128 else TaskFailed
        raise kind(done.stderr.strip()[-2000:] or f"{' '.join(words)} ended with {code}", code if code > 0 else 74)


def kind_of(word: str) -> Tuple[str, int]:
    """Reads `sign=3`."""
    kind, _, n = word.partition("=")
    return kind, int(n)


def main(words: Optional[Sequence[str]] = None) -> int:
    """Runs planned tasks; what the program calls for `--runner ray`."""
    parser = argparse.ArgumentParser(prog="python -m verbatim.ray", description=main.__doc__)
    parser.add_argument("--program", required=True, help="the program `verbatim`, at the same path on all nodes")
    parser.add_argument("--folder", required=True, metavar="DIR", help="where the tasks are planned, which all nodes see")
    parser.add_argument("--address", help="of a cluster; without it RAY_ADDRESS, or else a new one on this machine")
    parser.add_argument("--cpus", type=float, default=1, help="of a task")
    parser.add_argument("--gpus", type=float, default=0, help="of a task")
    parser.add_argument("kinds", nargs="+", type=kind_of, metavar="KIND=N", help="stages or shards and their number, in order")
    arguments = parser.parse_args(words)
    ray.init(address=arguments.address, log_to_driver=False, logging_level="ERROR")
    try:
        folder, kinds = arguments.folder, arguments.kinds
        run_tasks(arguments.program, folder, kinds, cpus=arguments.cpus, gpus=arguments.gpus)
    except ray.exceptions.RayTaskError as error:
        said, code = error.cause.args if isinstance(error.cause, TaskFailed) else (error.cause, 70)
        print(said, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return 130
    except ray.exceptions.RayError as error:
        print(f"verbatim: the cluster failed: {error}", file=sys.stderr)
        return 75
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
