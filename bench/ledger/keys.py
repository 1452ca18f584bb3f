"""What is known of one metric: its unit, its meaning, and the values that are allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass

INF = math.inf
ENDS = ("low", "high")


@dataclass(frozen=True)
class Key:
    """The unit of a metric, its meaning in one line, and the values that are allowed."""

    unit: str
    meaning: str
    low: float = 0.0
    high: float = INF
    whole: bool = False


def count(meaning: str) -> Key:
    """Return the key of a whole number."""
    return Key("count", meaning, whole=True)


def seconds(meaning: str) -> Key:
    """Return the key of a time."""
    return Key("s", meaning)


def share(meaning: str) -> Key:
    """Return the key of a part of 1."""
    return Key("fraction", meaning, high=1.0)
