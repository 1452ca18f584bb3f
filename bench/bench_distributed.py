"""Question: how much faster is training on several processes, and what do their messages cost?

Work unit: one training step on 1, 2 and 4 processes of this machine, one thread each, over gloo.
Strong scaling divides one batch over the processes, weak scaling gives each a whole one. The same
computation in all processes at once, without messages, gives the share of the communication. The
step that the model of clusters works out (`gptcore.cost.clusters`) from the step of one process
and the speed of a link stands beside the measured one, with its error. Processes beyond the cores
share these, so their efficiency says nothing about machines. Not measured: other machines,
networks, accelerators, reading of data.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.devices import measure
from bench.measuring.work import Result
from bench.suite.devices import DevicesCase


@pytest.mark.benchmark(group="distributed")
def test_scaling(benchmark: Any, result: Result, case: DevicesCase) -> None:
    found = benchmark.pedantic(measure, args=(case,), rounds=1)
    result.metrics |= found.metrics
    result.series |= found.series
