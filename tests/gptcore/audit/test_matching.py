import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.audit.matching import match_rows
from tests.helpers.strategies import repeatable


@repeatable
@given(st.integers(1, 6), st.integers(0, 1_000))
def test_matches_are_exact_and_complete(width, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, size=40)
    rows = rng.integers(3, size=(20, width))
    match = match_rows(rows, ids)
    for row, start in zip(rows.tolist(), match.starts.tolist(), strict=True):
        places = [i for i in range(41 - width) if ids[i : i + width].tolist() == row]
        assert start in places if places else start == -1


def test_rows_of_a_text_come_back_to_their_starts():
    ids = np.random.default_rng(0).integers(50_257, size=100_000)
    starts = np.random.default_rng(1).integers(100_000 - 64, size=2_000)
    for dtype in (np.uint16, np.int32, np.int64):
        match = match_rows(ids.astype(dtype)[starts[:, None] + np.arange(64)], ids)
        np.testing.assert_array_equal(match.starts, starts)
        assert not match.ambiguous.any()


def test_a_row_that_occurs_twice_goes_to_the_grid_of_the_others():
    ids = np.arange(100)
    ids[40:48] = ids[3:11]  # the row at 40 is also at 3, off the grid
    match = match_rows(ids[:96].reshape(-1, 8), ids)
    assert match.starts.tolist() == list(range(0, 96, 8))
    assert not match.ambiguous.any()


def test_equal_rows_on_the_grid_take_their_places_in_turn():
    ids = np.arange(100)
    ids[40:48] = ids[8:16]
    match = match_rows(ids[:96].reshape(-1, 8), ids)
    assert match.starts.tolist() == list(range(0, 96, 8))
    assert np.flatnonzero(match.ambiguous).tolist() == [1, 5]


@pytest.mark.parametrize(
    ("rows", "ids", "message"),
    [
        (np.zeros((2, 9), int), np.zeros(8, int), "rows have 9 tokens and the text 8"),
        (np.zeros((2, 2)), np.zeros(8, int), "rows are float64"),
        (np.zeros(4, int), np.zeros(8, int), "2 dimensions"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), "1 dimension"),
    ],
)
def test_bad_rows_are_refused(rows, ids, message):
    with pytest.raises(ValueError, match=message):
        match_rows(rows, ids)
