"""One planned comparison of two arms: its verdict, and how large the difference is in other units.

Everything is computed from the records of the training runs, so that it can be computed again from
a ledger alone; docs/experiments.md says from which fields.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.experiments import curves, verdicts
from bench.experiments.verdicts import Pair
from bench.ledger.record import Record
from bench.measuring.work import Result
from bench.suite.outcome_cases import DesignCase
from gptcore.intervals import POPULATION


def compare(
    records: Sequence[Record], design: DesignCase, pairs: Sequence[Pair], pair: Pair
) -> Result:
    """Return what the record of one planned pair of arms holds.

    Args:
        records: those of the ledger, with all runs of the experiment.
        design: the design of the experiment.
        pairs: all planned pairs of the experiment, because their claims are adjusted together.
        pair: the one that is asked for.
    """
    experiment = design.experiment
    found = verdicts.losses(records, experiment)
    paired = {each: verdicts.Paired.of(found, each) for each in pairs}
    margins = {each: verdicts.margin(records, experiment, each) for each in pairs}
    values = {each: margin.value for each, margin in margins.items()}
    metrics = verdicts.design(design) | verdicts.verdicts(paired, values)[pair]
    this, margin = paired[pair], margins[pair]
    result = Result(
        metrics=metrics | {"late_slope": margin.slope},
        samples={"difference": this.differences},
        facts={
            "margin_from": margin.origin,
            "seeds": this.seeds,
            "diverged": this.diverged,
            "no_verdict": verdicts.no_verdict(len(this.seeds), 2 * len(pairs)),
            "warnings": verdicts.warnings(this),
        },
    )
    result.metrics |= {
        "n_censored": sum(map(len, this.diverged.values())),
        "late_slope_low": margin.low,
        "late_slope_high": margin.high,
    }
    if this.seeds:
        _add_sizes(result, _records(records, experiment, pair, this.seeds), margin)
    return result


def _records(
    records: Sequence[Record], experiment: str, pair: Pair, seeds: Sequence[int]
) -> list[tuple[Record, Record]]:
    runs = {(r["params"]["arm"], r["seed"]): r for r in verdicts.runs_of(records, experiment)}
    a, b = pair
    return [(runs[a, seed], runs[b, seed]) for seed in seeds]


def _add_sizes(result: Result, runs: curves.Pairs, margin: verdicts.Margin) -> None:
    """Add the difference over a longer text, in training tokens and steps, and along the way."""
    low, high = curves.text_interval(runs)
    slope = None if margin.value is None else margin.slope
    result.metrics |= {"text_low": low, "text_high": high}
    result.metrics |= curves.steps_factors(result.metrics, slope) | curves.time_to_loss(runs)
    result.series["difference_curve"] = curves.difference_curve(runs)
    result.facts["text_interval_population"] = POPULATION
