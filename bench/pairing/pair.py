"""Times two operands in turns in one process: how many times as long does b take as a?

The speed of a machine changes from minute to minute, but two timings in a row see about the same
speed, so only their ratio is used. The order alternates (AB, BA, AB, …), so that the second place
affects both equally. The number of pairs depends on the pace of the first tenth of the time, and
never on the ratio so far. Both operands are alive at once, and share caches and memory. One process
does not show how much processes differ: `bench.pairing.processes` does.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.measuring.clock import PhaseClock, is_steady, prepare, quiet_gc
from bench.measuring.work import Work
from bench.options import MARGIN
from bench.pairing.operands import default_device, work_from
from gptcore.checks import check_number
from gptcore.devices import resolve_device
from gptcore.stats import FEWEST_PAIRS, ratio_of_pairs, verdict

SHORTEST_S = 1e-3
"""Least seconds of one timing, which repeats shorter calls; clock and loop take 1 µs of it."""
WARMUP_SHARE = 0.2
"""Largest share of the given seconds that the warm-up of each operand may take."""
PILOT_SHARE = 0.1
"""Share of the given seconds after which the number of pairs is fixed."""

PairsDone = Callable[[int, int], object]


@dataclass(frozen=True)
class PairResult:
    """The times of two operands and their ratio.

    Attributes:
        a_time_s: seconds of one call of a in each pair, in order.
        b_time_s: seconds of one call of b in each pair, in order.
        first: "a" or "b" for each pair: the operand that ran first.
        ratio: time of b over time of a; see `gptcore.stats.ratio_of_pairs`.
        low: lower end of the 95 % interval of the ratio.
        high: upper end of that interval.
        margin: relative difference that counts as none.
        verdict: "slower", "faster", "same" or "ambiguous", of b compared with a.
        a_calls: calls of a in one timing; a_time_s is their mean.
        b_calls: calls of b in one timing; b_time_s is their mean.
        warmup_s: seconds spent on the warm-up of both.
        seconds: seconds spent on the pairs.
        warnings: what makes the result less certain, one sentence each.
    """

    a_time_s: list[float]
    b_time_s: list[float]
    first: list[str]
    ratio: float
    low: float
    high: float
    margin: float
    verdict: str
    a_calls: int
    b_calls: int
    warmup_s: float
    seconds: float
    warnings: tuple[str, ...]


class _Side:
    """One operand, warmed up and with its state put back."""

    def __init__(self, work: Work, budget_s: float) -> None:
        self._work = work
        self._clock = PhaseClock(work.device)
        _, self.warmup, _ = prepare(work, self._clock, budget_s)
        self.calls = math.ceil(SHORTEST_S / min(self.warmup))
        self.time_s: list[float] = []
        if self.calls > 1:
            self._settle()
            work.restore()

    @property
    def timed_s(self) -> float:
        """Return the seconds of all timings together."""
        return sum(self.time_s) * self.calls

    def _settle(self) -> None:
        """Raise `calls` until the shortest of three timings is long enough."""
        while (timing_s := min(self._timing_s() for _ in range(3))) < SHORTEST_S:
            self.calls = math.ceil(self.calls * min(10.0, 1.2 * SHORTEST_S / timing_s))

    def _timing_s(self) -> float:
        call, n = self._work.call, range(self.calls)
        self._clock.start()
        for _ in n:
            call(_ignore_phase)
        return self._clock.stop()

    def time(self) -> None:
        """Add one timing, which leaves out the collection of earlier garbage."""
        gc.collect()
        self.time_s.append(self._timing_s() / self.calls)


def _ignore_phase(_phase: str) -> None:
    """Ignore the end of a phase, because pairs compare whole calls."""


def count_pairs(pair_s: float, budget_s: float, fewest: int = FEWEST_PAIRS) -> int:
    """Return how many pairs of `pair_s` fit into `budget_s`: an even number, at least `fewest`."""
    return max(fewest, 2 * int(budget_s / pair_s / 2))


def _time_pairs(a: _Side, b: _Side, budget_s: float, progress: PairsDone, fewest: int) -> None:
    """Time pairs in alternating order; the pace of the first pairs fixes their number."""
    orders = itertools.cycle(((a, b), (b, a)))

    def time_pair() -> None:
        for side in next(orders):
            side.time()

    pilot, timed_s = 0, 0.0
    while timed_s < PILOT_SHARE * budget_s:
        time_pair()
        pilot, timed_s = pilot + 1, a.timed_s + b.timed_s
    n_pairs = max(count_pairs(timed_s / pilot, budget_s, fewest), pilot + pilot % 2)
    for done in range(pilot + 1, n_pairs + 1):
        time_pair()
        progress(done, n_pairs)


def interleave(
    a: Work,
    b: Work,
    budget_s: float,
    *,
    margin: float = MARGIN,
    progress: PairsDone = lambda _done, _total: None,
) -> PairResult:
    """Time `a` and `b` in turns.

    Both are warmed up until they are steady, and their state is put back once. After that each call
    continues from the one before, as training steps do.

    Args:
        a: the operand to compare with.
        b: the other operand.
        budget_s: seconds of timing to aim at; at least six pairs are timed.
        margin: relative difference that counts as none, as in 0.03.
        progress: called with (pairs done, pairs in all).

    Raises:
        ValueError: `budget_s` is not positive, or `margin` negative.
    """
    check_number("seconds", budget_s, "(0, inf)")
    check_number("margin", margin, "[0, inf)")
    timed = time_in_turns(a, b, budget_s, progress=progress)
    first = timed.pop("first")
    ratio = ratio_of_pairs(timed["a_time_s"], timed["b_time_s"], [name == "a" for name in first])
    assert ratio is not None, "count_pairs never returns fewer than the statistics need"
    outcome = verdict(ratio.ratio, ratio.low, ratio.high, margin=margin)
    lines = timed.pop("warnings")
    if outcome == "ambiguous" and margin > 0:
        lines.append(what_decides(ratio.high / ratio.low, margin, timed["seconds"]))
    return PairResult(
        first=first,
        ratio=ratio.ratio,
        low=ratio.low,
        high=ratio.high,
        margin=margin,
        verdict=outcome,
        warnings=tuple(lines),
        **timed,
    )


def time_in_turns(
    a: Work,
    b: Work,
    budget_s: float,
    *,
    fewest: int = FEWEST_PAIRS,
    progress: PairsDone = lambda _done, _total: None,
) -> dict[str, Any]:
    """Warm `a` and `b` up, and time at least `fewest` pairs in about `budget_s`.

    Returns:
        The attributes of a PairResult that are measured: a_time_s, b_time_s, first, a_calls,
        b_calls, warmup_s, seconds and warnings.
    """
    sides = {"a": _Side(a, WARMUP_SHARE * budget_s), "b": _Side(b, WARMUP_SHARE * budget_s)}
    start = time.perf_counter()
    with quiet_gc():
        _time_pairs(sides["a"], sides["b"], budget_s, progress, fewest)
    return {
        **{f"{name}_time_s": side.time_s for name, side in sides.items()},
        **{f"{name}_calls": side.calls for name, side in sides.items()},
        "first": ["ab"[index % 2] for index in range(len(sides["a"].time_s))],
        "warmup_s": sum(sum(side.warmup) for side in sides.values()),
        "seconds": time.perf_counter() - start,
        "warnings": [
            f"the {place} of the pair was still changing at the end of its warm-up: "
            "give more seconds, or let it do the same work in each call"
            for place, side in zip(("first", "second"), sides.values(), strict=True)
            if not is_steady(side.warmup)
        ],
    }


def what_decides(width: float, margin: float, seconds: float, processes: int = 1) -> str:
    """Return what would give an ambiguous pair a verdict.

    Args:
        width: upper over lower end of its interval.
        margin: relative difference that counts as none, above 0.
        seconds: seconds spent on the pairs.
        processes: number of processes that the interval is over, 1 for one over pairs.
    """
    # An interval as wide as the margin would decide; its width falls with the root of both.
    share = math.log(width) / math.log(1 + margin)
    several = processes > 1
    if share <= 1:
        return (
            f"the ratio lies near the margin of {percent(margin)}: give more "
            f"{'processes and ' if several else ''}seconds, or another margin"
        )
    needed = f"{round_up(processes * share**2)} processes and " if several else ""
    return (
        f"the interval is too wide for a verdict at a margin of {percent(margin)}: give about "
        f"{needed}{round_up(seconds * share**2)} seconds, or use a quieter machine"
    )


def compare_calls(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    seconds: float = 30,
    margin: float = MARGIN,
    device: str | None = None,
) -> PairResult:
    """Time two functions without arguments in turns; how many times as long does `b` take?

    Args:
        a: the function to compare with.
        b: the other function.
        seconds: seconds of timing, without warm-up.
        margin: relative difference that counts as none.
        device: the device that has to finish before the clock is read; by default the accelerator
            if there is one, else the CPU.

    Raises:
        ValueError: this machine has no such device, or a number is out of its range.
    """
    chosen = default_device() if device is None else resolve_device(device)
    return interleave(work_from(a, chosen), work_from(b, chosen), seconds, margin=margin)


def percent(share: float) -> str:
    """Return a share in per cent with three digits, as in "3 %"."""
    return f"{100 * share:.3g} %"


def round_up(number: float) -> int:
    """Return a number rounded up to two significant digits."""
    step: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / step) * step
