"""Question: how much slower or faster is one change, and does an identical copy count as the same?

Work unit: one call of a model case, timed in turns with the same case after a change; the result is
the ratio of the times. Without a change, the case is timed with an identical copy of itself, which
checks the method: each comparison builds the copy again, and every verdict "slower" or "faster" is
a false alarm. Not measured: differences between processes, warm-up, building.
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
