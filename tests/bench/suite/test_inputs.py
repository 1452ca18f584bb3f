"""Texts and token files as the inputs of the suite."""

import numpy as np
import pytest

from bench.suite.inputs import Inputs
from bench.suite.sizes import UNIFORM
from gptcore.data.splits import Segment
from tests.helpers.token_files import write_nanogpt

TEXT = "The sheep jumped over the fence, and the dog slept on. " * 40


@pytest.fixture
def inputs(tmp_path):
    write_nanogpt(tmp_path / "char", TEXT)
    np.save(tmp_path / "ids.npy", np.arange(500) % 90)
    (tmp_path / "book.txt").write_text(TEXT)
    return Inputs([str(tmp_path / name) for name in ("char", "ids.npy", "book.txt")])


def test_streams_are_int64_in_memory_in_their_own_vocabulary(inputs):
    assert list(inputs.corpora) == ["char", "ids", "book"]
    for name in inputs.corpora:
        ids = inputs.stream(name).ids
        assert (type(ids), ids.dtype) == (np.ndarray, np.int64)
    assert inputs.stream("char").vocab_size == len(set(TEXT))
    assert inputs.corpora["char"].data.is_divided


def test_parts_in_files_are_the_tail(inputs):
    n, n_train = len(TEXT), int(0.9 * len(TEXT))
    split = inputs.split("char", "tail", n, embargo=8, block_size=8)
    assert (split.train, split.test) == ((Segment(0, n_train),), (Segment(n_train, n),))
    assert inputs.split("char", "head", n, block_size=8).test[0].start == 0
    assert inputs.split("char", "tail", 1_000, block_size=8).test == (Segment(900, 1_000),)
    assert inputs.split(UNIFORM, "tail", 1_000, block_size=8).test == (Segment(900, 1_000),)


def test_bytes_are_counted_where_the_text_is_known(inputs):
    assert inputs.count_bytes("char", inputs.stream("char").ids) == len(TEXT)
    assert inputs.count_bytes("book", inputs.stream("book").ids) == len(TEXT)
    assert inputs.count_bytes("ids", inputs.stream("ids").ids) is None


def test_cases_that_need_a_text_are_left_out_with_a_reason(inputs):
    assert inputs.text("book").text == TEXT
    for ask in (inputs.text, inputs.raw, lambda name: inputs.stream(name, raw=True)):
        with pytest.raises(pytest.skip.Exception, match="char holds token ids"):
            ask("char")


def test_data_too_large_for_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.suite.inputs.MOST_TOKENS", 499)
    np.save(tmp_path / "ids.npy", np.arange(500) % 90)
    with pytest.raises(ValueError, match="500 tokens, and the suite measures at most 499"):
        Inputs([str(tmp_path / "ids.npy")])
