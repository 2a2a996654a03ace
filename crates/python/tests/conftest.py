"""A corpus with copies of every kind, what the program decides about it, and a search made of kernels alone."""

import json
import os
import pathlib
import random
import subprocess

import pyarrow as pa
import pyarrow.compute
import pytest

import verbatim

ROOT = pathlib.Path(__file__).resolve().parents[3]


def program():
    """The program to compare with: VERBATIM_PROGRAM, or what `cargo build` left."""
    named = os.environ.get("VERBATIM_PROGRAM")
    path = pathlib.Path(named) if named else ROOT / "target/debug/verbatim"
    if not path.is_file():
        pytest.skip(f"SKIPPED, nothing to compare with: no program at {path}; `cargo build`, or set VERBATIM_PROGRAM")
    return str(path)


def made_texts(n, seed=1):
    """Texts of which many are copies of others, in full and nearly, share a template, or are blank."""
    draw = random.Random(seed)

    def words(n):
        return [f"w{draw.randrange(5000)}" for _ in range(n)]

    template, bases, texts = words(60), [], []
    for i in range(n):
        kind = draw.randrange(10)
        if kind < 2 and texts:
            copied = draw.choice(texts)
            text = copied.upper() if i % 2 else copied
        elif kind < 5 and bases:
            base = list(draw.choice(bases))
            for _ in range(draw.randrange(5)):
                base[draw.randrange(len(base))] = f"x{draw.randrange(100_000)}"
            text = " ".join(base)
        elif kind < 7:
            text = " ".join(template + words(10 + draw.randrange(15)))
        elif kind == 7 and i % 3 == 0:
            text = draw.choice(["", " ", "\n\t"])
        else:
            bases.append(words(40 + draw.randrange(60)))
            text = " ".join(bases[-1]) + draw.choice(["", ' "quoted"\n', " é ü ß", " \u3053\u3093"])
        texts.append(text)
    return texts


class Corpus:
    """JSON lines in files of a folder, in the order in which the program reads them."""

    def __init__(self, folder, texts, n_files):
        self.folder = folder
        per_file = -(-len(texts) // n_files)
        rows = {"file": [], "line": [], "id": [], "text": [], "n_bytes": []}
        for number in range(n_files):
            path = folder / f"part-{number:03}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                for at in range(number * per_file, min((number + 1) * per_file, len(texts))):
                    line = json.dumps({"id": f"d{at}", "text": texts[at], "more": [at, None]}, ensure_ascii=at % 2 == 0)
                    out.write(line + "\n")
                    for name, value in zip(rows, [path.name, line, at, texts[at], len(line.encode())]):
                        rows[name].append(value)
        self.table = pa.table(rows)

    def deduplicated(self, out, *flags):
        """What the program leaves, file by file, and what it removes."""
        command = [program(), "--progress", "none", "dedup", str(self.folder), "-o", str(out), *flags]
        subprocess.run(command, check=True, capture_output=True)
        return kept_files(out), removed(out)

    def files(self, kept):
        """The files that rows of the table make."""
        files = {path.name: b"" for path in self.folder.iterdir()}
        for name, line in zip(kept["file"].to_pylist(), kept["line"].to_pylist()):
            files[name] += line.encode() + b"\n"
        return files


def kept_files(out):
    return {path.name: path.read_bytes() for path in pathlib.Path(out).glob("*.jsonl")}


def removed(out):
    """Documents that go, with the one that is kept, the stage, and the similarity."""
    lines = (pathlib.Path(out) / "_verbatim/removed.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return sorted((int(row["id"][1:]), int(row["kept"][1:]), row["stage"], row["similarity"]) for row in rows)


def rows_of(removals):
    """The same of what `cluster` says."""
    names = ["document", "kept", "stage", "similarity"]
    return list(zip(*(removals.column(name).to_pylist() for name in names)))


def searched(table, config=verbatim.Config(), n_batches=3, partitions=4, seed=0):
    """What kernels decide: batches, partitions and rows in an order drawn from a seed. The removals, and the rounds."""
    draw = random.Random(seed)

    def shuffled(rows):
        order = list(range(rows.num_rows))
        draw.shuffle(order)
        return rows.take(pa.array(order, pa.int64()))

    def exchanged(batches, kernel):
        rows = shuffled(pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches]))
        done = []
        for partition in draw.sample(range(partitions), partitions):
            mine = rows.filter(pa.compute.equal(rows["partition"], partition))
            done.append(pa.Table.from_batches([kernel(mine)]))
        return shuffled(pa.concat_tables(done))

    step = -(-table.num_rows // n_batches)
    parts = [table.slice(at, step) for at in range(0, table.num_rows, step)]
    draw.shuffle(parts)
    links = exchanged([verbatim.sign(part, config, partitions) for part in parts], verbatim.link)
    answers, n_rounds = None, 0
    while True:
        found = verbatim.cluster(links, answers, config, partitions)
        if found.questions.num_rows == 0:
            return found.removals, n_rounds
        routed = [verbatim.route(part, found.wanted) for part in parts]
        asked = [*routed, found.questions]
        answered = exchanged(asked, lambda rows: verbatim.verify(rows, config))
        answers = answered if answers is None else pa.concat_tables([answers, answered])
        n_rounds += 1
        assert n_rounds < 30
