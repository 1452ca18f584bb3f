import math
from fractions import Fraction

import numpy as np
import pytest

from gptcore.checks import check_fraction, check_number, check_whole


@pytest.mark.parametrize("value", [0, -3, True, np.True_, 2.0, "2", None])
def test_only_whole_positive_numbers_count(value):
    with pytest.raises(ValueError, match=r"steps is .* at least 1"):
        check_whole("steps", value)


def test_a_numpy_integer_is_whole():
    assert check_whole("steps", np.int32(7)) == 7
    assert type(check_whole("steps", np.int32(7))) is int


def test_a_whole_number_may_be_as_large_as_is_said_and_no_larger():
    assert check_whole("rank", 3, at_least=0, at_most=3) == 3
    with pytest.raises(ValueError, match="rank is 4: give a whole number of at most 3"):
        check_whole("rank", 4, at_least=0, at_most=3)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5], [-0.1, 1]),
        ("(0, 1]", [1e-9, 1], [0, 1.5]),
        ("(0, inf)", [1e300], [0, math.inf, -math.inf]),
        ("(0, inf]", [math.inf], [0]),
    ],
)
def test_a_bracket_says_whether_the_end_of_an_interval_is_allowed(interval, inside, outside):
    assert [check_number("share", value, interval) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError) as error:  # noqa: PT011
            check_number("share", value, interval)
        assert str(error.value) == f"share is {value!r}: give a number in {interval}"


@pytest.mark.parametrize("value", [math.nan, True, "0.5", None])
def test_what_is_no_number_lies_in_no_interval(value):
    with pytest.raises(ValueError, match="share is"):
        check_number("share", value, "[0, 1]")


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(1)])
def test_a_numpy_number_becomes_a_float(value):
    assert type(check_number("share", value, "[0, 1]")) is float


def test_a_fraction_is_the_decimal_number_that_was_written():
    assert check_fraction("train_fraction", 0.9) == Fraction(9, 10)
