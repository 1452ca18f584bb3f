"""Two works timed in turns in one process: how many times as long does b take as a?

A machine changes from minute to minute, and two timings in a row change with it: only their ratio
is kept. The order alternates (AB, BA, AB, …), so that being second costs both the same. How many
pairs are timed is settled by the pace of the first tenth alone, never by the ratio seen so far. Not
measured: what differs between processes; both works are alive at once, and share caches and memory.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.measuring.clock import PhaseClock, is_steady, prepare, quiet_gc
from bench.measuring.work import Work
from bench.options import MARGIN
from bench.pairing.operands import default_device, work_from
from gptcore.checks import check_number
from gptcore.devices import resolve_device
from gptcore.stats import FEWEST_PAIRS, ratio_of_pairs, verdict

SHORTEST_S = 1e-3
"""A timing is at least as long: shorter calls are repeated inside it. Clock and loop take 1 µs."""
WARMUP_SHARE = 0.2
"""Of the seconds asked for, most that is spent on warming up each of the two."""
PILOT_SHARE = 0.1
"""Of the seconds asked for, those after which the number of pairs is settled."""

PairsDone = Callable[[int, int], object]


@dataclass(frozen=True)
class PairResult:
    """What interleaved timing found.

    Attributes:
        a_time_s: time of one call of a, in each pair, in order.
        b_time_s: the same of b.
        first: "a" or "b": which ran first in each pair.
        ratio: time of b over time of a; see `gptcore.stats.ratio_of_pairs`.
        low: lower end of its 95 % interval.
        high: its upper end.
        margin: relative difference that counts as none.
        verdict: "slower", "faster", "same" or "ambiguous": b, compared with a.
        a_calls: calls of a in one timing; a_time_s is their mean.
        b_calls: the same of b.
        warmup_s: spent on both before.
        seconds: spent on the pairs.
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
    """One of the two works: warm, its state put back, ready to be timed."""

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
        """Return the seconds of all timings."""
        return sum(self.time_s) * self.calls

    def _settle(self) -> None:
        """Raise `calls` until a timing, undisturbed, is long enough."""
        while (timing_s := min(self._timing_s() for _ in range(3))) < SHORTEST_S:
            self.calls = math.ceil(self.calls * min(10.0, 1.2 * SHORTEST_S / timing_s))

    def _timing_s(self) -> float:
        call, n = self._work.call, range(self.calls)
        self._clock.start()
        for _ in n:
            call(_ignore_phase)
        return self._clock.stop()

    def time(self) -> None:
        """Time once; the garbage of the call before is not part of it."""
        gc.collect()
        self.time_s.append(self._timing_s() / self.calls)


def _ignore_phase(_phase: str) -> None:
    """Stand in for the end of a phase: pairs are about whole calls."""


def count_pairs(pair_s: float, budget_s: float) -> int:
    """Return how many pairs of `pair_s` fit into `budget_s`: an even number, six at least."""
    return max(FEWEST_PAIRS, 2 * int(budget_s / pair_s / 2))


def _time_pairs(a: _Side, b: _Side, budget_s: float, progress: PairsDone) -> None:
    """Time pairs in alternating order; the pace of the first ones settles how many."""
    orders = itertools.cycle(((a, b), (b, a)))

    def time_pair() -> None:
        for side in next(orders):
            side.time()

    pilot, timed_s = 0, 0.0
    while timed_s < PILOT_SHARE * budget_s:
        time_pair()
        pilot, timed_s = pilot + 1, a.timed_s + b.timed_s
    n_pairs = max(count_pairs(timed_s / pilot, budget_s), pilot + pilot % 2)
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

    Both are warmed up until steady and their state is put back; from there on, each call is a step
    of its own (a training step goes on from the one before).

    Args:
        a: what is compared with.
        b: what is compared.
        budget_s: seconds of timing to aim at; six pairs are timed in any case.
        margin: relative difference that counts as none, as in 0.03.
        progress: is told (pairs done, pairs in all).

    Raises:
        ValueError: `budget_s` is not positive, or `margin` negative.
    """
    check_number("seconds", budget_s, "(0, inf)")
    check_number("margin", margin, "[0, inf)")
    sides = {"a": _Side(a, WARMUP_SHARE * budget_s), "b": _Side(b, WARMUP_SHARE * budget_s)}
    start = time.perf_counter()
    with quiet_gc():
        _time_pairs(sides["a"], sides["b"], budget_s, progress)
    seconds = time.perf_counter() - start
    return _summarise(sides, margin, seconds)


def _summarise(sides: dict[str, _Side], margin: float, seconds: float) -> PairResult:
    a, b = sides["a"], sides["b"]
    first = ["ab"[index % 2] for index in range(len(a.time_s))]
    found = ratio_of_pairs(a.time_s, b.time_s, [name == "a" for name in first])
    assert found is not None, "count_pairs never returns fewer than the statistics need"
    outcome = verdict(found.ratio, found.low, found.high, margin=margin)
    return PairResult(
        a_time_s=a.time_s,
        b_time_s=b.time_s,
        first=first,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        margin=margin,
        verdict=outcome,
        a_calls=a.calls,
        b_calls=b.calls,
        warmup_s=sum(a.warmup) + sum(b.warmup),
        seconds=seconds,
        warnings=tuple(_warnings(sides, outcome, found.high / found.low, margin, seconds)),
    )


def _warnings(
    sides: dict[str, _Side], outcome: str, width: float, margin: float, seconds: float
) -> list[str]:
    """Return what makes the result less certain; `width` is the interval's high over low."""
    found = [
        f"{name} was still changing after {len(side.warmup)} calls of warm-up: "
        "give more seconds, or let it do the same work in each call"
        for name, side in sides.items()
        if not is_steady(side.warmup)
    ]
    if outcome == "ambiguous" and margin > 0:
        # An interval of half the margin's width would have decided; its width falls as 1 / sqrt(n).
        needed = seconds * (math.log(width) / math.log(1 + margin)) ** 2
        if needed > seconds:
            found.append(
                f"the interval is too wide to tell at a margin of {percent(margin)}: about "
                f"{_round_up(needed)} s would do, or a quieter machine"
            )
        else:
            found.append(
                f"the ratio lies near the margin of {percent(margin)}: more seconds, or another "
                "margin, tell on which side"
            )
    return found


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
        a: what is compared with.
        b: what is compared.
        seconds: of timing, warm-up apart.
        margin: relative difference that counts as none.
        device: what to wait for before the clock is read; the accelerator by default, if there is
            one, and the CPU otherwise.

    Raises:
        ValueError: this machine has no such device, or a number is not in its range.
    """
    chosen = default_device() if device is None else resolve_device(device)
    return interleave(work_from(a, chosen), work_from(b, chosen), seconds, margin=margin)


# From here on: the command.


def percent(share: float) -> str:
    """Return a share in per cent with three digits, as in "3 %"."""
    return f"{100 * share:.3g} %"


def _round_up(seconds: float) -> int:
    """Return the seconds with two figures, rounded up."""
    step: int = 10 ** max(0, math.floor(math.log10(seconds)) - 1)
    return math.ceil(seconds / step) * step
