"""Ceilings of two machines, by which the times of one can be compared with those of the other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

from bench.comparing.noise import Ceiling, Part
from bench.ledger.folders import RunFolder, look_up
from bench.ledger.record import Record
from gptcore.plain_text import shorten

CEILING_FLOOR = 0.03
"""Assumed standard deviation (of the logarithm) of a ceiling that was measured once."""


class Ceilings:
    """The ceilings of two runs and their variances."""

    def __init__(self, base: RunFolder, new: RunFolder) -> None:
        self._runs = (base, new)
        squares = [
            (math.log(ends[0]) - math.log(ends[1])) ** 2 / 2
            for run in self._runs
            for environment in run.environments.values()
            for device, names in _objects(look_up(environment, "ceilings")).items()
            for name in _objects(names)
            if len(ends := _ceiling(environment, device, name)) == 2
        ]
        self.measured_twice = bool(squares)
        self._one = Part(CEILING_FLOOR**2, math.inf)
        if squares:
            self._one = Part(statistics.fmean(squares), len(squares))

    def changes(self, cases: Iterable[str]) -> dict[str, Ceiling]:
        """Return case → the change of its ceiling, for the cases with ceilings in both runs."""
        known = {case: self.change(case) for case in cases}
        return {case: value for case, value in known.items() if not isinstance(value, str)}

    def change(self, case: str) -> Ceiling | str:
        """Return ln(ceiling of NEW / ceiling of BASE) and its variance, or what is missing."""
        logs, variance = [], 0.0
        for run, side in zip(self._runs, ("BASE", "NEW"), strict=True):
            record = run.records[case]
            device, name = ceiling_name(record)
            ends = _ceiling(run.environments.get(record["environment"]), device, name)
            if not ends:
                return f"{side} has no {name} of {shorten(device)}"
            logs.append(statistics.fmean(map(math.log, ends)))
            variance += self._one.variance / len(ends)
        return logs[1] - logs[0], Part(variance, self._one.df)


def ceiling_name(record: Record) -> tuple[str, str]:
    """Return the device of a case and the name of the ceiling that its time is compared with."""
    params = record["params"]
    device = str(params.get("device") or "cpu")
    precision = params.get("precision")
    return device, f"gemm_{precision}_flops_per_s" if precision else "copy_bytes_per_s"


def _objects(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ceiling(environment: Record | None, device: str, name: str) -> list[float]:
    """Return the measurements of a ceiling at the start and the end of a session."""
    paths = (("ceilings", device, name), ("end", "ceilings", device, name))
    values = [look_up(environment, *path) for path in paths]
    if values == [None, None] and environment and device == "cpu":
        values = [environment["metrics"].get(name)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return [v for v in numbers if 0 < v < math.inf]
