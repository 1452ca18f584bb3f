import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import repeatable

from gptcore.splits import SPLITS, Segment, tail_split


def test_the_book_gives_142515_training_tokens():
    split = tail_split(158_350, 0.9, block_size=256)
    assert split.train == (Segment(0, 142_515),)
    assert split.test == (Segment(142_515, 158_350),)


@repeatable
@given(
    n_tokens=st.integers(100, 10**12),
    percent=st.integers(10, 90),
    embargo=st.integers(0, 5),
    block_size=st.integers(1, 4),
)
def test_parts_cover_the_stream_but_for_the_embargo(n_tokens, percent, embargo, block_size):
    split = tail_split(n_tokens, percent / 100, embargo=embargo, block_size=block_size)
    (train,), (test,) = split.train, split.test
    assert train.stop + embargo == test.start == math.floor(Fraction(percent, 100) * n_tokens)
    assert len(train) + embargo + len(test) == n_tokens


def test_the_fraction_is_the_decimal_as_written():
    assert tail_split(100, 0.29, block_size=8).test[0].start == 29
    assert int(0.29 * 100) == 28  # what binary floating point makes of it


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf, True, 1, "0.9"])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match=r"train_fraction is .* strictly between 0 and 1"):
        tail_split(1_000, fraction, block_size=8)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"embargo": -1}, "embargo is -1"),
        ({"embargo": 900}, "embargo is 900 tokens and swallows the training part of 900"),
        ({"embargo": 892}, "the train part has 8 tokens and one window needs 9"),
        ({"block_size": 100}, "the test part has 100 tokens and one window needs 101"),
        ({"block_size": 0}, "block_size is 0"),
        ({"n_tokens": 0}, "n_tokens is 0"),
        ({"n_tokens": True}, "n_tokens is True"),
    ],
)
def test_a_part_too_short_for_a_window_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        tail_split(**{"n_tokens": 1_000, "block_size": 8} | change)


def test_parts_of_exactly_one_window_are_allowed():
    split = tail_split(20, 0.5, embargo=1, block_size=8)
    assert (len(split.train[0]), len(split.test[0])) == (9, 10)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (3, 1), (0, 1.5)])
def test_a_segment_without_tokens_is_refused(start, stop):
    with pytest.raises(ValueError, match="segment st"):
        Segment(start, stop)


@pytest.mark.parametrize("name", SPLITS)
def test_train_and_test_share_no_token(name):
    split = SPLITS[name](1_000, 0.8, block_size=8)
    train = {i for part in split.train for i in range(part.start, part.stop)}
    test = {i for part in split.test for i in range(part.start, part.stop)}
    assert train
    assert test
    assert not train & test
