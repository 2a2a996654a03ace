"""Signals of texts from a model."""

import pickle
import zlib

import pyarrow as pa
import pytest
from conftest import ROOT

import verbatim

TEXTS = ["the quick brown fox jumps over the lazy dog", "", None, "zq xv jj kw 1 9 3 ((", "a", "naïve café " * 5]


@pytest.fixture(scope="module")
def model():
    return verbatim.Model(ROOT / "models/demo-raw")


def test_scores_do_not_depend_on_batches(model):
    signals = verbatim.Model.signals()
    assert {"loss", "zlib", "min-k", "min-k++", "lowercase"} <= set(signals)
    whole = verbatim.score(pa.table({"text": TEXTS}), model, signals)
    assert whole.schema.names == ["n_tokens", "zlib_bytes", *signals] and whole.num_rows == len(TEXTS)
    parts = [verbatim.score(pa.table({"text": pa.array([text], pa.string())}), model, signals) for text in TEXTS]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole]))
    assert verbatim.score(pa.table({"text": TEXTS}), pickle.loads(pickle.dumps(model)), signals).equals(whole)


def test_zlib_is_the_length_under_stock_zlib_and_the_likelier_text_scores_higher(model):
    rows = verbatim.score(pa.table({"text": TEXTS}), model).to_pylist()
    if zlib.ZLIB_RUNTIME_VERSION.startswith("1.2") or zlib.ZLIB_RUNTIME_VERSION.startswith("1.3"):
        assert rows[0]["zlib_bytes"] == len(zlib.compress(TEXTS[0].encode()))
    assert rows[0]["loss"] > rows[3]["loss"]
    assert rows[1]["loss"] is None and rows[2]["loss"] is None and rows[1]["n_tokens"] == 0


def test_what_is_wrong_is_an_exception(model, tmp_path):
    with pytest.raises(OSError, match="no such folder"):
        verbatim.Model(tmp_path / "none")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="config.json"):
        verbatim.Model(tmp_path)
    with pytest.raises(ValueError, match="no signal of one pass `recall`; choose from loss"):
        verbatim.score(pa.table({"text": TEXTS}), model, ["recall"])
