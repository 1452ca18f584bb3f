"""Checks of numbers that callers give: each returns the number, or an error says what to give.

Use what a check returns, and not what it was given: a number of NumPy's has a width of its own, so
that -np.uint8(8) is 248.
"""

import math
import operator
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from gptcore.plain_text import shorten

if TYPE_CHECKING:
    import numpy.typing as npt

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
        whole = None if _is_bool(value) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None or whole < at_least:
        raise ValueError(f"{name} is {_shown(value)}: give a whole number of at least {at_least}")
    if whole > at_most:
        raise ValueError(f"{name} is {_shown(value)}: give a whole number of at most {at_most}")
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
    if not _is_bool(value) and isinstance(value, Real):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan  # beyond every float, and in no interval
        above = low <= number if interval[0] == "[" else low < number
        below = number <= high if interval[-1] == "]" else number < high
        if above and below:
            return number
    raise ValueError(f"{name} is {_shown(value)}: give a number in {interval}")


def check_fraction(name: str, value: float) -> Fraction:
    """Return exactly the decimal number that `value` is written as, so 1/10 for 0.1.

    Raises:
        ValueError: it is not a number strictly between 0 and 1.
    """
    return Fraction(repr(float(check_number(name, value, "(0, 1)"))))


def as_array(name: str, values: Any, dtype: "npt.DTypeLike | None" = None) -> "npt.NDArray[Any]":
    """Return `values`, which may be a tensor on any device, as an array.

    Raises:
        ValueError: they are no such numbers, or have rows of several lengths.
    """
    import numpy as np

    try:
        return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = shorten(str(error))
        raise ValueError(f"{name} cannot be an array ({reason}): give numbers") from None


def as_row(name: str, values: Any) -> "npt.NDArray[Any]":
    """Return `values` as float64 of shape (n,), all finite.

    Raises:
        ValueError: they are something else.
    """
    import numpy as np

    row = as_array(name, values, np.float64)
    if row.ndim != 1:
        raise ValueError(f"{name} have shape {row.shape}: give a flat row of numbers")
    if not np.isfinite(row).all():
        raise ValueError(f"one of the {name} is not finite: leave it out, and say so")
    return row


def _is_bool(value: object) -> bool:
    """Return whether a value is a truth value; NumPy 1 calls its type bool_, and counts with it."""
    return type(value).__name__ in ("bool", "bool_")


def _shown(value: object) -> str:
    return shorten(repr(value), 80)
