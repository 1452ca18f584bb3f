"""One pair of a suite: two pieces of work timed in turns, or one with an identical copy."""

from __future__ import annotations

import statistics
from itertools import chain
from typing import Any

from scipy.stats import binomtest

from bench.measuring.environment import load
from bench.measuring.work import Result
from bench.measuring.workloads import change, work_of
from bench.options import MARGIN
from bench.pairing.pair import PairResult, interleave
from bench.suite.cases import PairCase
from bench.suite.inputs import Inputs
from gptcore.stats import ratio_of_pairs, verdict


def _compare(case: PairCase, session: Inputs) -> list[PairResult]:
    """Return the comparisons; each builds b again, so that b is at another place in memory."""
    test = f"bench_model::test_{case.base.work}"
    other = change(case.base, case.change) if case.change else case.base
    a = work_of(test, case.base, session)
    return [interleave(a, work_of(test, other, session), case.seconds) for _ in range(case.trials)]


def _note_trials(result: Result, trials: list[PairResult]) -> None:
    alarms = sum(trial.verdict in ("slower", "faster") for trial in trials)
    result.metrics |= {
        "trials": len(trials),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(trials),
        "false_alarm_high": float(binomtest(alarms, len(trials)).proportion_ci().high),
        "missed_cover": sum(not trial.low <= 1 <= trial.high for trial in trials),
    }
    result.series["trials"] = [
        {"trial": i, "ratio": t.ratio, "ratio_low": t.low, "ratio_high": t.high}
        for i, t in enumerate(trials, start=1)
    ]


def time_pair(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    """Time the pair and note the outcome in `result`."""
    load_before = load()
    trials = benchmark.pedantic(_compare, args=(case, session), rounds=1)
    a_time_s = list(chain.from_iterable(trial.a_time_s for trial in trials))
    b_time_s = list(chain.from_iterable(trial.b_time_s for trial in trials))
    # Each comparison has an even number of pairs and begins with a, so the order alternates on.
    a_first = [name == "a" for trial in trials for name in trial.first]
    pooled = ratio_of_pairs(a_time_s, b_time_s, a_first)
    assert pooled, "a comparison has at least as many pairs as the statistics need"
    result.metrics |= {
        "pairs": len(a_first),
        "processes": 1,
        "ratio": pooled.ratio,
        "ratio_low": pooled.low,
        "ratio_high": pooled.high,
        "margin_ratio": MARGIN,
        "a_time_s": statistics.median(a_time_s),
        "b_time_s": statistics.median(b_time_s),
        "warmup_s": sum(trial.warmup_s for trial in trials),
    }
    result.samples |= {"a_time_s": a_time_s, "b_time_s": b_time_s}
    if not case.change:
        _note_trials(result, trials)
    result.facts |= {
        "verdict": verdict(pooled.ratio, pooled.low, pooled.high, margin=MARGIN),
        "warnings": list(dict.fromkeys(chain.from_iterable(trial.warnings for trial in trials))),
        "load_before": load_before,
        "load_after": load(),
    }
