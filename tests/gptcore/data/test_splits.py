import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data.splits import (
    SPLITS,
    Segment,
    block_split,
    blocked_kfold,
    interleaved_split,
    make_split,
    random_windows,
    tail_split,
)
from tests.helpers.strategies import repeatable

SPECS = [*SPLITS, "block:1/7", "block:4/7", "block:7/7", "interleaved:1", "interleaved:5"]


def positions(segments):
    return [i for part in segments for i in range(part.start, part.stop)]


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
    with pytest.raises(ValueError, match=r"train_fraction is .* a number in \(0, 1\)"):
        tail_split(1_000, fraction, block_size=8)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"embargo": -1}, "embargo is -1"),
        ({"embargo": 900}, "embargo is 900 tokens and leaves nothing of a training part of 900"),
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


@repeatable
@given(
    spec=st.sampled_from(SPECS),
    n_tokens=st.integers(400, 2_000),
    percent=st.integers(40, 80),
    embargo=st.integers(0, 6),
)
def test_tokens_are_for_training_or_testing_or_within_the_embargo(spec, n_tokens, percent, embargo):
    split = make_split(spec, n_tokens, percent / 100, embargo=embargo, block_size=4)
    train, test = positions(split.train), positions(split.test)
    near = {i + d for i in test for d in range(-embargo, embargo + 1)} & set(range(n_tokens))
    assert sorted({*train, *near}) == list(range(n_tokens))
    assert not set(train) & near
    assert train == sorted(train)
    assert test == sorted(test)


@pytest.mark.parametrize("spec", ["tail", "head", "middle", "interleaved:1", "interleaved:9"])
@pytest.mark.parametrize("fraction", [0.29, 0.5, 0.9])
def test_the_train_part_is_the_fraction_rounded_down(spec, fraction):
    split = make_split(spec, 1_999, fraction, block_size=2)
    assert len(positions(split.train)) == math.floor(Fraction(str(fraction)) * 1_999)


@pytest.mark.parametrize(
    ("spec", "train", "test"),
    [
        ("tail", [(0, 88)], [(90, 101)]),
        ("head", [(13, 101)], [(0, 11)]),
        ("middle", [(0, 43), (58, 101)], [(45, 56)]),
        ("block:1/4", [(27, 101)], [(0, 25)]),
        ("block:3/4", [(0, 48), (77, 101)], [(50, 75)]),
        ("interleaved:2", [(0, 43), (52, 93)], [(45, 50), (95, 101)]),
    ],
)
def test_a_split_of_101_tokens_by_hand(spec, train, test):
    split = make_split(spec, 101, 0.9, embargo=2, block_size=3)
    assert [(part.start, part.stop) for part in split.train] == train
    assert [(part.start, part.stop) for part in split.test] == test


def test_an_odd_train_part_has_its_greater_half_after_the_middle():
    split = make_split("middle", 102, 0.9, block_size=3)  # 91 tokens to train on
    assert split.test == (Segment(45, 56),)


@repeatable
@given(st.integers(20, 10**6))
def test_the_last_of_ten_blocks_and_one_interleaved_block_are_the_tail(n_tokens):
    tail = tail_split(n_tokens, 0.9, block_size=1)
    assert block_split(n_tokens, 10, 10, block_size=1) == tail
    assert interleaved_split(n_tokens, 0.9, n_blocks=1, block_size=1) == tail


def test_folds_test_every_token_once():
    folds = blocked_kfold(1_003, 7, embargo=8, block_size=8)
    assert sorted(i for fold in folds for i in positions(fold.test)) == list(range(1_003))
    assert {len(positions(fold.test)) for fold in folds} == {143, 144}
    assert folds[3] == make_split("block:4/7", 1_003, embargo=8, block_size=8)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", r"split is '': give tail, head, middle, block:K/N .* or interleaved:N"),
        ("Tail", "split is 'Tail'"),
        ("block:x", "split is 'block:x'"),
        ("block:1", "split is 'block:1'"),
        ("block:-1/4", "split is 'block:-1/4'"),
        ("block:1/4 ", "split is 'block:1/4 '"),
        ("block:1/4\n", "split is"),
        ("block:0/0", "number of blocks is 0"),
        ("block:1/1", "number of blocks is 1: .* at least 2"),
        ("block:0/4", "block is 0: .* at least 1"),
        ("block:5/4", r"block is 5: give a whole number of at most 4"),
        ("block:1/500", "the test part has 2 tokens and one window needs 9"),
        ("interleaved:0", "number of blocks is 0"),
        ("interleaved:50", "a test segment has 2 tokens and one window needs 9: .* another way"),
        ("interleaved:999999999", "number of blocks is 999999999: give at most the 1000 tokens"),
    ],
)
def test_a_split_that_is_not_there_is_refused_in_one_line(spec, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        make_split(spec, 1_000, block_size=8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "embargo", "complaint"),
    [
        ("head", 900, "embargo is 900 tokens and leaves nothing of a training part of 900"),
        ("middle", 450, "embargo is 450 tokens and leaves nothing of a training part of 450"),
        ("middle", 442, "a train segment has 8 tokens and one window needs 9"),
        (
            "interleaved:4",
            113,
            "embargo is 113 tokens and leaves nothing of a training part of 225",
        ),
        ("block:2/20", 50, "embargo is 50 tokens and leaves nothing of a training part of 50"),
    ],
)
def test_an_embargo_that_leaves_nothing_of_a_segment_is_refused(spec, embargo, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_split(spec, 1_000, embargo=embargo, block_size=8)


def test_a_block_split_refuses_a_bad_train_fraction_too():
    with pytest.raises(ValueError, match="train_fraction is 2"):
        make_split("block:1/4", 1_000, 2.0, block_size=8)


def test_random_windows_are_all_windows_of_the_stride_each_in_one_part():
    split = random_windows(1_003, 0.9, block_size=8, stride=2, seed=3)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.test])), np.arange(0, 995, 2))
    assert len(split.train) == 448  # floor(0.9 * 498)
    assert (np.diff(split.train) > 0).all()
    assert (np.diff(split.test) > 0).all()


def test_random_windows_depend_on_the_seed_alone():
    first, again, other = (
        random_windows(1_000, block_size=8, stride=2, seed=seed).test for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"n_tokens": 9}, "9 tokens have 1 windows, 0 of them to train on"),
        ({"n_tokens": 8}, "8 tokens have 0 windows"),
        ({"stride": 0}, "stride is 0"),
        ({"block_size": True}, "block_size is True"),
        ({"seed": -1}, "seed is -1"),
        ({"train_fraction": 1.0}, "train_fraction is 1.0"),
    ],
)
def test_random_windows_refuse_what_leaves_a_part_empty(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        random_windows(**{"n_tokens": 1_000, "block_size": 8, "stride": 2} | change)
