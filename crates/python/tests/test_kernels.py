"""Kernels decide what the definition says, and what the program decides, whatever the batches and their order."""

import pathlib
import pickle
import re
import subprocess
import threading
import time

import pyarrow as pa
import pytest
from conftest import Corpus, made_texts, program, rows_of, searched

import verbatim
from verbatim import _verbatim, jsonl


def numbered(texts):
    return pa.table({"document": pa.array(range(len(texts)), pa.int64()), "text": texts})


def shingles(text, n=5):
    words = re.findall(r"\w+", " ".join(text.split()).lower())
    if len(words) < n:
        return {tuple(words)}
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_what_goes_is_a_copy_of_what_stays_and_no_two_that_stay_are_copies():
    texts = [text.encode("ascii", "ignore").decode() for text in made_texts(400)]
    config = verbatim.Config(bands=300, rows=1)  # finds every pair at the threshold, but for one in 10^200
    removals, _ = searched(numbered(texts), config)
    rows = rows_of(removals)
    assert len(rows) > 60 and {row[2] for row in rows} == {"exact", "minhash"}
    gone = {row[0] for row in rows}
    sets = [shingles(text) for text in texts]

    def jaccard(a, b):
        return len(sets[a] & sets[b]) / len(sets[a] | sets[b])

    for document, kept, stage, similarity in rows:
        assert kept < document and kept not in gone
        assert similarity == pytest.approx(jaccard(document, kept), abs=1e-9) and similarity >= 0.8
        if stage == "exact":
            assert " ".join(texts[document].split()).lower() == " ".join(texts[kept].split()).lower()
    stay = [i for i in range(len(texts)) if i not in gone and texts[i].strip()]
    for i, a in enumerate(stay):
        assert all(jaccard(a, b) < 0.8 for b in stay[:i]), a


@pytest.mark.parametrize("config", [verbatim.Config(), verbatim.Config(exact=False), verbatim.Config(edit_similarity=0.9)])
def test_batches_partitions_and_order_change_nothing(config):
    table = numbered(made_texts(300, seed=3))
    expected = searched(table, config, n_batches=1, partitions=1)[0]
    assert expected.num_rows > 50
    for seed, (n_batches, partitions) in enumerate([(1, 7), (5, 1), (11, 3), (300, 16)]):
        found, n_rounds = searched(table, config, n_batches, partitions, seed)
        assert found.equals(expected) and n_rounds <= 6


def test_the_program_decides_the_same(tmp_path):
    for number, (flags, config) in enumerate(
        [
            ([], verbatim.Config()),
            (["--minhash", "--threshold", "0.6", "--seed", "9"], verbatim.Config(exact=False, threshold=0.6, seed=9)),
            (["--exact", "--minhash", "--bands", "9", "--rows", "13", "--words", "whitespace", "--normalize", "none"],
             verbatim.Config(bands=9, rows=13, words="whitespace", normalize=())),
            (["--exact", "--minhash", "--unit", "char", "--ngram", "24", "--edit-similarity", "0.7"],
             verbatim.Config(unit="char", ngram=24, edit_similarity=0.7)),
        ]
    ):
        corpus = Corpus(tmp_path / f"in-{number}", made_texts(700, seed=20 + number), 3)
        files, removed = corpus.deduplicated(tmp_path / f"out-{number}", *flags)
        table = corpus.table.rename_columns(["file", "line", "document", "text", "n_bytes"])
        removals, _ = searched(table, config)
        assert rows_of(removals) == removed and len(removed) > 50, flags
        assert corpus.files(pa.Table.from_batches([verbatim.rewrite(table, removals)])) == files


def test_forged_hashes_do_not_make_texts_equal():
    """`cluster` is told of equal hashes; texts decide."""
    number, texts = 7, ["a b c d e f", "a b c d e g", "A b c d e f", "x", "a b c d e g"]
    links = pa.table(
        [[0] * 5, [0] * 5, [number] * 5, range(5), [1] * 5], schema=verbatim.kernels.POSTINGS
    )
    answers, n_rounds = None, 0
    while True:
        found = verbatim.cluster(links, answers)
        if found.questions.num_rows == 0:
            break
        asked = pa.concat_tables(
            pa.Table.from_batches([part]) for part in [verbatim.route(numbered(texts), found.wanted), found.questions]
        )
        answered = pa.Table.from_batches([verbatim.verify(asked)])
        answers = answered if answers is None else pa.concat_tables([answers, answered])
        n_rounds += 1
    assert rows_of(found.removals) == [(2, 0, "exact", 1.0), (4, 1, "exact", 1.0)] and n_rounds > 1


def test_strings_are_counted_in_texts():
    batch = pa.table({"text": ["banana", "band", None, ""]})
    counts = verbatim.count(batch, ["an", "nd", "", "zz", "an"])
    assert counts.to_pydict() == {
        "needle": ["an", "nd", "", "zz", "an"],
        "n_documents": [2, 1, 0, 0, 2],
        "n_occurrences": [3, 1, 0, 0, 3],
    }


def test_texts_of_every_kind_and_empty_batches_are_taken():
    texts = ["one two three four five six", None, "", "one two three four five six", "ü" * 40]
    expected = verbatim.sign(numbered(texts), partitions=3)
    assert expected.num_rows == 2 * 21 + 21
    for kind in [pa.large_string(), pa.string_view(), pa.string()]:
        table = numbered(pa.array(texts, kind))
        assert verbatim.sign(table, partitions=3).equals(expected)
        assert verbatim.sign(pa.concat_tables([table.slice(0, 2), table.slice(2)]), partitions=3).equals(expected)
        assert verbatim.sign(table.slice(0, 0)).num_rows == 0
    assert set(expected["partition"].to_pylist()) <= {0, 1, 2}
    assert verbatim.link(verbatim.kernels.POSTINGS.empty_table()).num_rows == 0
    assert verbatim.cluster(verbatim.kernels.POSTINGS.empty_table()).removals.num_rows == 0
    assert verbatim.verify(verbatim.kernels.QUESTIONS.empty_table()).num_rows == 0


def test_what_is_wrong_is_an_exception_that_says_so():
    table = numbered(["secret text"])
    cases = [
        (lambda: verbatim.Config(threshold=2), "a similarity threshold of 2"),
        (lambda: verbatim.Config(recall=1), "a recall of 1"),
        (lambda: verbatim.Config(unit="token"), "tokens need the program"),
        (lambda: verbatim.Config(unit="page"), "page"),
        (lambda: verbatim.Config(words="long"), "unicode or whitespace"),
        (lambda: verbatim.Config(bands=3), "bands and rows"),
        (lambda: verbatim.Config(ngram=0), "0"),
        (lambda: verbatim.Config(normalize=("fold",)), "fold"),
        (lambda: verbatim.sign(table.drop(["text"])), "no column `text`"),
        (lambda: verbatim.sign(pa.table({"document": ["a"], "text": ["b"]})), "`document` has"),
        (lambda: verbatim.sign(pa.table({"document": [None, 1], "text": ["b", "c"]})), "1 nulls"),
        (lambda: verbatim.sign(pa.table({"document": [-1], "text": ["b"]})), "below 0"),
        (lambda: verbatim.sign(pa.table({"document": [1], "text": [5]})), "not texts"),
        (lambda: verbatim.sign(table, partitions=0), "at least 1"),
        (lambda: verbatim.route(table, pa.table({"document": [2, 1], "partition": pa.array([0, 0], pa.int32())})), "order"),
        (lambda: verbatim.rewrite(table, pa.table({"document": [2, 1]})), "order"),
        (lambda: verbatim.verify(pa.table([[0], [1], [2], [1], [None]], schema=verbatim.kernels.QUESTIONS)), "not here"),
        (lambda: verbatim.verify(pa.table([[0], [1], [None], [1], [None]], schema=verbatim.kernels.QUESTIONS)), "neither"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)) as raised:
            call()
        assert "secret" not in str(raised.value) and "--" not in str(raised.value)
    with pytest.raises(OverflowError):
        verbatim.sign(table, partitions=-1)


def test_bytes_that_are_no_text_are_refused():
    offsets, bytes_ = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    broken = pa.StringArray.from_buffers(1, offsets, bytes_)
    with pytest.raises(Exception, match="(?i)utf"):
        verbatim.count(pa.RecordBatch.from_arrays([broken], names=["text"]), ["a"])


def test_a_configuration_is_compared_pickled_and_checked():
    config = verbatim.Config(threshold=0.7, normalize=["casefold"])
    assert pickle.loads(pickle.dumps(config)) == config != verbatim.Config()
    assert hash(config) == hash(verbatim.Config(threshold=0.7, normalize=("casefold",)))


def test_other_threads_run_while_a_kernel_works():
    table = numbered(made_texts(3000, seed=5))
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begun = time.monotonic()
    for _ in range(5):
        verbatim.sign(table)
    ended = time.monotonic()
    done.set()
    thread.join()
    # With the interpreter locked, not one tick would fall between the two.
    assert sum(begun < moment < ended for moment in ticks) >= 2


def test_the_stubs_name_what_is_there():
    stubs = (pathlib.Path(verbatim.__file__).parent / "_verbatim.pyi").read_text()
    names = set(re.findall(r"^(?:def|class) (\w+)", stubs, re.M))
    assert names == {name for name in dir(_verbatim) if not name.startswith("_")}
    assert all(getattr(verbatim, name).__doc__ for name in verbatim.__all__)


def test_lines_keep_their_bytes(tmp_path):
    raw = b'{"text":"a\\u00e9", "x":1}\n{"x": 2,"text" : "b\xc3\xa9"}'
    (tmp_path / "b").mkdir()
    for name in ["b/x.jsonl", "b-a.jsonl", ".hidden.jsonl", "c.txt"]:
        (tmp_path / name).write_bytes(raw)
    assert jsonl.files(tmp_path) == ["b-a.jsonl", "b/x.jsonl"]
    table = jsonl.read(tmp_path, "b/x.jsonl")
    assert table["text"].to_pylist() == ["a\u00e9", "b\u00e9"] and table["n_bytes"].to_pylist() == [25, 23]
    assert jsonl.names(table) == jsonl.names(table.slice(0, 0)) == ["b/x.jsonl"]
    jsonl.write(tmp_path / "out", "b/x.jsonl", table.slice(0, 1), table.slice(1))
    assert (tmp_path / "out/b/x.jsonl").read_bytes() == raw + b"\n"
    assert [path.name for path in (tmp_path / "out/b").iterdir()] == ["x.jsonl"]
    for line in [b'{"text": 5}', b'{"text": "\\ud800"}', b"[]", b"secret"]:
        (tmp_path / "bad.jsonl").write_bytes(raw + b"\n" + line + b"\n")
        with pytest.raises(ValueError, match=r"bad.jsonl:3:\d+: ") as raised:
            jsonl.read(tmp_path, "bad.jsonl")
        assert "secret" not in str(raised.value) and "--" not in str(raised.value)


def test_lines_are_read_and_written_as_the_program_does_it(tmp_path):
    lines = [b'{"text": "a \\u00e9", "n": 1}\r\n', b"\n", b'{"text":""}\n', b' {"n": [2], "text": "b"}']
    (tmp_path / "in/below").mkdir(parents=True)
    (tmp_path / "in/below/a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "in/b.jsonl").write_bytes(b"")
    command = [program(), "--progress", "none", "dedup", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    assert jsonl.files(tmp_path / "in") == ["b.jsonl", "below/a.jsonl"]
    for file in jsonl.files(tmp_path / "in"):
        table = jsonl.read(tmp_path / "in", file)
        assert table.schema.equals(jsonl.SCHEMA) and jsonl.names(table) == [file]
        jsonl.write(tmp_path / "clean", file, table.slice(0, 1), table.slice(1))
        assert (tmp_path / "clean" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert table["text"].to_pylist() == ["a \u00e9", "", "b"]
    assert table["n_bytes"].to_pylist() == [len(line.rstrip()) for line in lines if line.strip()]


@pytest.mark.parametrize("line", [b'{"text": 5}', b"[]", b'{"text": "a', b'{"text": "\xff"}', b"{}"])
def test_a_line_that_cannot_be_used_is_named_with_its_place(tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=r"a.jsonl:2:\d+: "):
        jsonl.read(tmp_path, "a.jsonl")
    with pytest.raises(OSError, match="none.jsonl"):
        jsonl.read(tmp_path, "none.jsonl")
