"""Set the theory of every sampler against simulated runs, as z values.

Each sampler draws from texts of several shapes, for several numbers of epoch-equivalents. A z value
is the simulated mean less the theory, over the standard error of the mean; that of a standard
deviation uses the error of a variance, by the delta method. Where theory itself is simulated, its
error is added in squares. Among some hundred z values the largest is near 3; beyond 4 a formula is
wrong. The table also names what neither a formula nor a simulation gives.

    python docs/results/theory.py             # 100 runs of each case, about a minute
    python docs/results/theory.py --runs 400 --seed 7 --sampler golden
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))

from gptcore.coverage import measure_draws
from gptcore.coverage.simulation import sd_missed_targets
from gptcore.data.splits import Segment
from gptcore.sampling import SAMPLERS, Sampler, make_sampler
from gptcore.theory import Expectation, expect_of

SHAPES: dict[str, dict[str, Any]] = {
    "one segment": {"n_tokens": 3_000, "block_size": 32},
    "whole batches": {"n_tokens": 3_000, "block_size": 32, "batch_size": 7, "drop_last": True},
    "three segments": {
        "segments": [Segment(0, 1_000), Segment(1_100, 1_150), Segment(1_300, 3_300)],
        "block_size": 32,
    },
    "T over N/2": {"n_tokens": 500, "block_size": 300},
    "T = 1": {"n_tokens": 300, "block_size": 1},
}
EPOCHS = (0.4, 1.0, 1.7, 5.3)
METRICS = ("missed_targets", "gaps", "repeated_windows", "visits_dispersion")


def cases(names: list[str]) -> Iterator[tuple[Sampler, str, float, int]]:
    """Yield each sampler with its shape, its epoch-equivalents and the draws that they are."""
    for name in names:
        for shape, options in SHAPES.items():
            try:
                sampler = make_sampler(name, **options)
            except ValueError:  # no window or batch fits
                continue
            for epochs in EPOCHS:
                draws = max(2, round(epochs * sampler.n_targets / sampler.targets_per_window))
                yield sampler, shape, epochs, draws


def simulate(sampler: Sampler, draws: int, runs: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the metrics of runs with the seeds from `seed` on."""
    measured = [measure_draws(sampler.with_seed(each), draws) for each in range(seed, seed + runs)]
    return {name: np.array([getattr(m, name) for m in measured], float) for name in METRICS}


def z_values(
    expected: Expectation, simulated: dict[str, npt.NDArray[Any]], error: float
) -> dict[str, float | None]:
    """Return z of each mean, and of the standard deviation of the missed targets.

    Args:
        expected: the theory.
        simulated: metrics of the runs.
        error: the error of the standard deviation in `expected`, 0 where it is exact.
    """
    found = {
        name: _z(values, getattr(expected, name), rare=name != "visits_dispersion")
        for name, values in simulated.items()
    }
    sd, values = expected.sd_missed_targets, simulated["missed_targets"]
    found["sd_missed_targets"] = None
    if sd is not None and expected.missed_targets is not None:
        squares = (values - expected.missed_targets) ** 2
        found["sd_missed_targets"] = _z(squares, sd**2, error=2 * sd * error, rare=True)
    return found


def _z(
    values: npt.NDArray[Any], expected: float | None, *, error: float = 0.0, rare: bool
) -> float | None:
    """Return z of a mean; `rare` says that values are whole, and that no run may have shown any."""
    if expected is None:
        return None
    off = values.mean() - expected
    if abs(off) <= 1e-9 * (1 + abs(expected)):
        return 0.0
    variance = values.var(ddof=1)
    if rare:  # a whole number with a mean between two others varies by at least this
        part = expected % 1
        variance = max(variance, part * (1 - part))
    return off / math.hypot(math.sqrt(variance / len(values)), error, 1e-300)


def main() -> None:
    """Print one line for each sampler, and the largest z value of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="runs of each case (default 100)")
    parser.add_argument("--seed", type=int, default=10_000, help="the first seed (default 10000)")
    parser.add_argument("--sampler", choices=list(SAMPLERS), help="this one alone")
    parser.add_argument("--all", action="store_true", help="print every case")
    args = parser.parse_args()
    names = [args.sampler] if args.sampler else list(SAMPLERS)
    columns = (*METRICS, "sd_missed_targets")
    print("largest |z|: of how many cases; s: simulated in how many; - : unknown in how many")
    print(f"{'sampler':22}" + "".join(f"{name:>20}" for name in columns))
    worst: list[float] = []
    for name in names:
        lines: dict[str, list[float | None]] = {column: [] for column in columns}
        simulated = 0
        for sampler, shape, epochs, draws in cases([name]):
            expected = expect_of(sampler, draws)
            sd = sd_missed_targets(sampler, draws, expected)
            expected = replace(expected, sd_missed_targets=sd.value)
            found = z_values(
                expected, simulate(sampler, draws, args.runs, args.seed), sd.error or 0.0
            )
            simulated += sd.source == "simulated"
            for column in columns:
                lines[column].append(found[column])
            if args.all:
                shown = ", ".join(
                    f"{column} {'-' if z is None else f'{z:.2f}'}" for column, z in found.items()
                )
                print(f"  {shape}, {epochs} epochs, {draws} draws: {shown}")
        print(f"{name:22}" + "".join(_cell(lines[c], c, simulated) for c in columns), flush=True)
        worst += [abs(z) for z in itertools.chain(*lines.values()) if z is not None]
    print(f"largest |z| of {len(worst)}: {max(worst):.2f}")


def _cell(values: list[float | None], column: str, simulated: int) -> str:
    known = [abs(z) for z in values if z is not None]
    text = f"{max(known):.2f} of {len(known)}" if known else ""
    if column == "sd_missed_targets" and simulated:
        text += f", s {simulated}"
    if len(known) < len(values):
        text += f", - {len(values) - len(known)}"
    return f"{text:>20}"


if __name__ == "__main__":
    main()
