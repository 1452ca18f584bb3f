"""Question: how fast does SGD converge with three orders of the data, where theory has an answer?

Work unit: stochastic gradient descent on a convex problem whose optimum is known to 1e-10, with one
order of the data, several seeds and a grid of constant step sizes. The excess loss of the last
iterate at the best step size is fitted as a power of the number of epochs. The conditions of the
theory hold here, and not for a GPT: the problem is strongly convex and well conditioned. Not
measured: time; decaying step sizes; averages of iterates.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.convex import Problem, bigram_counts, excess_losses, fit_rate
from bench.measuring.work import Result
from bench.suite.cases import ConvexCase
from bench.suite.inputs import Inputs


@pytest.mark.benchmark(group="convex")
def test_convex(benchmark: Any, result: Result, session: Inputs, case: ConvexCase) -> None:
    text = session.text(case.corpus).text.encode()
    problem = Problem(bigram_counts(text, case), case.l2, case.objective == "softmax")
    steps, excess = benchmark.pedantic(excess_losses, args=(problem, case), rounds=1)
    rate = fit_rate(case.at_epochs, steps, excess)
    result.metrics |= {
        "n_seeds": case.seeds,
        "condition_number": problem.condition,
        "rate": rate.slope,
        "rate_low": rate.slope_low,
        "rate_high": rate.slope_high,
    }
    columns = ("epochs", "excess", "low", "high", "step_size")
    rows = zip(case.at_epochs, rate.excess, rate.low, rate.high, rate.step_size, strict=True)
    result.series["excess"] = [dict(zip(columns, map(float, row), strict=True)) for row in rows]
