"""The mean of several arms, as if it were an arm of its own.

A main effect of two factors compares the mean of two arms with the mean of two others. The runs of
one seed become one record, so whatever compares two arms also compares two means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bench.experiments.verdicts import final_loss
from bench.ledger.record import Record
from bench.suite.training_cases import MEAN_OF

Rows = list[dict[str, Any]]


def with_means(records: Iterable[Record], experiment: str, sides: Iterable[str]) -> list[Record]:
    """Return the records, and those of each side of a comparison that is a mean of arms.

    A mean has a record for each seed that all of its arms have. It failed, or diverged, if one of
    them did.
    """
    found = list(records)
    runs: dict[str, dict[int, Record]] = {}
    for record in found:
        if record["group"] == "convergence" and record["params"].get("experiment") == experiment:
            runs.setdefault(record["params"]["arm"], {})[record["seed"]] = record
    for side in dict.fromkeys(sides):
        if MEAN_OF in side:
            several = [runs.get(arm, {}) for arm in side.split(MEAN_OF)]
            seeds = sorted(set.intersection(*(set(by_seed) for by_seed in several)))
            found += [_mean(side, [by_seed[seed] for by_seed in several]) for seed in seeds]
    return found


def _mean(side: str, records: list[Record]) -> Record:
    """Return the record of the mean of runs of one seed, or the first that failed or diverged."""
    failed = [record for record in records if record["status"] != "ok"]
    lost = failed or [record for record in records if final_loss(record) is None]
    first = (lost or records)[0]
    made = first | {"params": first["params"] | {"arm": side}}
    if lost:
        return made
    rows = {
        name: _mean_rows([r["series"][name] for r in records])
        for name, values in first["series"].items()
        if all(len(r["series"].get(name, ())) == len(values) for r in records)
    }
    return made | {"metrics": _mean_values([r["metrics"] for r in records]), "series": rows}


def _mean_rows(several: list[Rows]) -> Rows:
    return [_mean_values(list(rows)) for rows in zip(*several, strict=True)]


def _mean_values(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each number that all have; other values are those of the first."""
    found = dict(several[0])
    for name in found:
        values = [each.get(name) for each in several]
        if all(isinstance(value, (int, float)) for value in values):
            found[name] = math.fsum(values) / len(values)  # type: ignore[arg-type]
    return found
