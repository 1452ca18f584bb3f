"""Question: what does one change cost, and does a thing timed against itself come out the same?

Work unit: one call of a model case, timed in turns with the same case changed in one parameter; the
ratio of the times is the result. Without a change it is the check of our own method: the case is
built anew for each comparison, as another variant would be, and whatever is called slower or faster
is a false alarm. Not measured: what differs between processes; warm-up and building.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.pairs import time_pair
from bench.measuring.work import Result
from bench.suite.cases import PairCase
from bench.suite.inputs import Inputs


@pytest.mark.benchmark(group="pair")
def test_pair(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    time_pair(benchmark, result, session, case)
