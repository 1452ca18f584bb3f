"""Checks of numbers that callers give: each returns the number, or an error says what to give."""

import operator
from fractions import Fraction
from numbers import Real
from typing import SupportsFloat, SupportsIndex

LARGEST = 2**53  # whole numbers up to here are exact as floats, which formulas use
LARGEST_INT64 = 2**63 - 1


def check_whole(
    name: str, value: SupportsIndex, *, at_least: int = 1, at_most: int = LARGEST
) -> int:
    """Return `value` as an int.

    Raises:
        ValueError: it is not a whole number (a boolean is none), or outside [at_least, at_most].
    """
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None or whole < at_least:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least {at_least}")
    if whole > at_most:
        raise ValueError(f"{name} is {value!r}: give a whole number of at most {at_most}")
    return whole


def check_number(name: str, value: SupportsFloat, interval: str) -> float:
    """Return `value` as a float.

    Args:
        name: name of the number in the error.
        value: the number.
        interval: where it must lie, as in "[0, 1)". A square bracket means that the end is
            allowed, a round bracket that it is not.

    Raises:
        ValueError: it is not a number (a boolean or NaN is none), or outside the interval.
    """
    low, high = map(float, interval[1:-1].split(","))
    if not isinstance(value, bool) and isinstance(value, Real):
        number = float(value)
        above = low <= number if interval[0] == "[" else low < number
        below = number <= high if interval[-1] == "]" else number < high
        if above and below:
            return number
    raise ValueError(f"{name} is {value!r}: give a number in {interval}")


def check_fraction(name: str, value: float) -> Fraction:
    """Return exactly the decimal number that `value` is written as, so 1/10 for 0.1.

    Raises:
        ValueError: it is not a number strictly between 0 and 1.
    """
    return Fraction(repr(float(check_number(name, value, "(0, 1)"))))
