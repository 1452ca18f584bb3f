"""Packing of documents, against literal packers and examples worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data.packing import PACKINGS, pack

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


def tokens_of(lengths):
    """Return documents whose tokens are (document, place)."""
    return [[(d, i) for i in range(length)] for d, length in enumerate(lengths)]


def place_concatenated(documents, row, _):
    joined = [token for document in documents for token in document]
    return [joined[i : i + row] for i in range(0, len(joined), row)]


def place_padded(documents, row, _):
    rows = [[]]
    for document in documents:
        if len(rows[-1]) + len(document) > row and rows[-1]:
            rows.append([])
        rows[-1] += document[:row]
    return [tokens + [None] * (row - len(tokens)) for tokens in rows]


def place_cropped(documents, row, _):
    rows = [[]]
    for document in documents:
        rows[-1] += document[: row - len(rows[-1])]
        if len(rows[-1]) == row:
            rows.append([])
    return rows


def place_best(documents, row, size):
    """nanochat's loop over a list of documents that is never longer than the buffer."""
    waiting, rows = list(documents), [[]]
    held = []
    while waiting or held:
        while len(held) < size and waiting:
            held.append(waiting.pop(0))
        room = row - len(rows[-1])
        fitting = [document for document in held if len(document) <= room]
        chosen = max(fitting, key=len) if fitting else min(held, key=len)
        held.remove(chosen)
        rows[-1] += chosen[:room]
        if len(rows[-1]) == row:
            rows.append([])
    return rows


LITERAL = {
    "concatenate": place_concatenated,
    "greedy_pad": place_padded,
    "greedy_crop": place_cropped,
    "best_fit_crop": place_best,
}


@pytest.mark.parametrize("name", PACKINGS)
@given(lengths=LENGTHS, row=st.integers(1, 20), size=st.integers(1, 8))
def test_counts_are_those_of_a_packer_that_places_every_token(name, lengths, row, size):
    documents = tokens_of(lengths)
    rows = LITERAL[name](documents, row, size)
    full = [tokens for tokens in rows if len(tokens) == row]
    found = pack(lengths, row, name, buffer=size)
    kept = [token for tokens in full for token in tokens if token]
    left_over = sum(len(tokens) for tokens in rows if len(tokens) < row)
    whole = sum(set(document) <= set(tokens) for document in documents for tokens in full)
    assert (found.rows, found.left_over_tokens) == (len(full), left_over)
    assert found.cropped_tokens == sum(lengths) - len(kept) - left_over
    assert found.padding_tokens == len(full) * row - len(kept)
    assert found.whole_documents == whole


def test_worked_example_of_each_packing():
    lengths = [6, 3, 5, 2, 9]  # rows of 8
    found = {name: pack(lengths, 8, name) for name in PACKINGS}
    assert found["concatenate"].cropped_share == 0
    assert (found["concatenate"].rows, found["concatenate"].left_over_tokens) == (3, 1)
    # 6 and 2 of 3 | 5, 2 and 1 of 9
    assert found["greedy_crop"].cropped_tokens == 1 + 8
    # 6 | 3, 5 | 2 | 8 of 9
    assert (found["greedy_pad"].padding_tokens, found["greedy_pad"].cropped_tokens) == (2 + 6, 1)
    assert found["greedy_pad"].padding_share == 8 / 32
    # 6, 2 | 5, 3 | 8 of 9
    assert found["best_fit_crop"].cropped_tokens == 1
    assert found["best_fit_crop"].cropped_share == 1 / 25
    # With two documents to choose from: 6, 2 of 3 | 5, 2, 1 of 9
    assert pack(lengths, 8, "best_fit_crop", buffer=2).cropped_tokens == 1 + 8


def test_best_fit_crops_less_than_greedy_on_documents_like_those_of_the_web():
    lengths = np.random.default_rng(0).lognormal(6, 1, 20_000).astype(int) + 1
    greedy, best = (pack(lengths, 2049, f"{name}_crop") for name in ("greedy", "best_fit"))
    assert 0.05 < best.cropped_share < 0.9 * greedy.cropped_share


def test_million_documents_are_told_of_along_the_way():
    told = []
    lengths = [1 + i % 700 for i in range(200_000)]
    pack(lengths, 257, "best_fit_crop", progress=lambda *done: told.append(done))
    assert told[-1] == (200_000, 200_000)
    assert len(told) > 2


def test_document_longer_than_all_rows_together_is_cropped_at_once():
    found = pack([2**50], 257, "best_fit_crop")
    assert (found.rows, found.cropped_tokens) == (1, 2**50 - 257)
    assert pack([2**50], 2**53, "greedy_crop").left_over_tokens == 2**50
    assert pack([3], 4, "greedy_crop").padding_share is None


@pytest.mark.parametrize(
    ("lengths", "row", "options", "message"),
    [
        ([], 8, {}, "there is no document"),
        ([3, 0], 8, {}, "length of a document is 0"),
        ([3, -1], 8, {}, "length of a document is -1"),
        ([3.0], 8, {}, "length of a document is 3.0"),
        ([math.nan], 8, {}, "length of a document is nan"),
        ([2**53, 1], 8, {}, "sum of all lengths"),
        ([3], 0, {}, "row_tokens is 0"),
        ([3], 8, {"buffer": 0}, "buffer is 0"),
    ],
)
def test_bad_numbers_are_refused(lengths, row, options, message):
    with pytest.raises(ValueError, match=message):
        pack(lengths, row, "best_fit_crop", **options)


def test_unknown_packing_is_refused():
    with pytest.raises(ValueError, match="choose one of concatenate, greedy_pad"):
        pack([3], 8, "bestfit")
