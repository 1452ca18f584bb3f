"""The planned comparisons of one training experiment: its design, its margin, its claims.

Each planned pair of arms has two claims: that the losses differ, and that they are equal to
within a margin. All claims of an experiment are adjusted together (Holm), in the number that was
planned: a claim that cannot be made counts as one that was not shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.experiments.curves import late_slope
from bench.ledger.record import Record
from bench.suite.outcome_cases import DesignCase
from gptcore.paired import PairedComparison, compare_pairs, median_interval
from gptcore.power import check_design, detectable_difference, detectable_margin, smallest_p
from gptcore.stats import holm

MORE_STEPS = 1.1
"""The margin is the gain in test loss of so many times the steps."""
DIVERGED = "training diverged"
"""How the reason of a run begins whose loss or gradient was not finite (gptcore.training.loop)."""

Pair = tuple[str, str]
Losses = dict[str, dict[int, float | None]]


def design(case: DesignCase) -> dict[str, float | None]:
    """Return what an experiment can find: known before it runs, from an assumed sd."""
    n_claims = 2 * case.n_comparisons
    sd = case.prior_sd
    return {
        "n_seeds": case.seeds,
        "n_claims": n_claims,
        "smallest_p": smallest_p(case.seeds, n_claims),
        "planned_sd": sd,
        "planned_detectable": sd and detectable_difference(sd, case.seeds, n_tests=n_claims),
        "planned_margin": sd and detectable_margin(sd, case.seeds, n_tests=n_claims),
    }


def no_verdict(n_pairs: int, n_claims: int) -> str | None:
    """Return why so many pairs give no verdict, None if they can give one."""
    try:
        check_design(max(1, n_pairs), n_claims)
    except ValueError as error:
        return f"there is no verdict, because {error}"
    return None


def statement(case: DesignCase) -> str:
    """Return in one sentence what an experiment can find, to be read before it runs."""
    n_claims, known = 2 * case.n_comparisons, design(case)
    refused = no_verdict(case.seeds, n_claims)
    name = f"{case.experiment.partition(f'-{case.corpus}')[0]} on {case.corpus}"
    if refused:
        return f"{name}: {refused}"
    found, sd = known["planned_detectable"], known["planned_sd"]
    least = f"the smallest adjusted p-value of {case.seeds} seeds and {n_claims} claims is "
    power = (
        "the difference that they find is not known, because no standard deviation was measured"
        if found is None
        else f"a difference of {found:.2g} nats/token is found in 80 % of the cases if paired "
        f"differences have a standard deviation of {sd:.2g}, and equality to within "
        f"{known['planned_margin']:.2g} where there is none"
    )
    return f"{name}: {least}{known['smallest_p']:.2g}; {power}"


def losses(records: Iterable[Record], experiment: str) -> Losses:
    """Return arm → seed → final test loss; None is a run that diverged.

    A run diverged if its loss was not finite, or if neither its training loss nor its test loss
    ended below the test loss before training.
    """
    found: Losses = {}
    for record in runs_of(records, experiment):
        if record["status"] == "ok" or DIVERGED in (record["reason"] or ""):
            found.setdefault(record["params"]["arm"], {})[record["seed"]] = final_loss(record)
    return found


def runs_of(records: Iterable[Record], experiment: str) -> Iterator[Record]:
    """Yield the training runs of an experiment, failed ones too."""
    for record in records:
        if record["group"] == "convergence" and record["params"].get("experiment") == experiment:
            yield record


def final_loss(record: Record) -> float | None:
    """Return the final loss of a run, None if it diverged or failed."""
    if record["status"] != "ok":
        return None
    metrics = record["metrics"]
    final, trained = metrics["final_test_loss"], metrics.get("final_train_loss")
    lowest = final if trained is None else min(final, trained)  # a run that overfits has learned
    return float(final) if lowest < metrics["initial_test_loss"] else None


@dataclass(frozen=True)
class Margin:
    """The largest difference that counts as equal, where it is from, and the slope behind it.

    Attributes:
        value: the margin, None if no equality can be claimed.
        origin: a sentence.
        slope, low, high: the late fall of the test loss for e times the steps, its median over the
            runs with its 95 % interval; None where no curve or too few runs show it.
    """

    value: float | None
    origin: str
    slope: float | None = None
    low: float | None = None
    high: float | None = None


def margin(records: Iterable[Record], experiment: str, pair: Pair) -> Margin:
    """Return the margin of a pair of arms: the median gain of 10 % more steps over their runs.

    Runs that diverged are left out. There is no margin, and so no equality, where the gain cannot
    be told from none.
    """
    runs = [
        late_slope(record["series"]["test_curve"])
        for record in runs_of(records, experiment)
        if record["params"]["arm"] in pair and final_loss(record) is not None
    ]
    slopes = np.array([slope for slope in runs if slope is not None])
    factor = math.log(MORE_STEPS)
    what = f"the gain of {100 * MORE_STEPS - 100:.0f} % more steps, by the late slopes of the test"
    what += " loss"
    median, low, high = median_interval(slopes) if slopes.size else (None, None, None)
    if median is None or low is None or high is None or low <= 0:
        origin = (
            f"There is no margin, and no equality is claimed: {what}, cannot be told from none "
            f"over {slopes.size} runs; train with more seeds, or less often over the same text."
        )
        return Margin(None, origin, median, low, high)
    origin = (
        f"The margin is {what}: the median of {slopes.size} runs, 95 % interval "
        f"{factor * low:.4f} to {factor * high:.4f} nats/token."
    )
    return Margin(factor * median, origin, median, low, high)


@dataclass(frozen=True)
class Paired:
    """The differences of one pair of arms, by seed, and the seeds that are left out."""

    seeds: list[int]
    differences: list[float]
    diverged: dict[str, list[int]]

    @classmethod
    def of(cls, found: Losses, pair: Pair) -> Paired:
        """Pair the runs of both samplers; a pair with a diverged run is left out."""
        a, b = (found[arm] for arm in pair)
        both = {seed: (a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())}
        kept = {s: x - y for s, (x, y) in both.items() if x is not None and y is not None}
        gone = {name: sorted(s for s, loss in found[name].items() if loss is None) for name in pair}
        return cls(list(kept), list(kept.values()), {k: v for k, v in gone.items() if v})

    def compare(self, margin: float | None) -> PairedComparison | None:
        """Return the comparison, None for fewer than two pairs."""
        return compare_pairs(self.differences, margin=margin) if len(self.seeds) > 1 else None


def verdicts(
    paired: dict[Pair, Paired], margins: dict[Pair, float | None]
) -> dict[Pair, dict[str, Any]]:
    """Return the metrics of each planned pair, with p-values adjusted for all claims."""
    compared = {pair: each.compare(margins[pair]) for pair, each in paired.items()}
    claims = [c.p_value if c else None for c in compared.values()]
    claims += [c.p_equivalence if c else None for c in compared.values()]
    adjusted = holm([1.0 if p is None else p for p in claims])
    n = len(compared)
    found = {}
    for i, (pair, comparison) in enumerate(compared.items()):
        refused = no_verdict(len(paired[pair].seeds), 2 * n)
        known = _metrics(comparison, 2 * n) if comparison else {}
        found[pair] = known | {
            "n_seeds": len(paired[pair].seeds),
            "n_diverged": sum(map(len, paired[pair].diverged.values())),
            "margin": margins[pair],
            "p_adjusted": None if refused else adjusted[i],
            "p_equivalence_adjusted": None if refused or margins[pair] is None else adjusted[n + i],
        }
    return found


def _metrics(comparison: PairedComparison, n_claims: int) -> dict[str, float | None]:
    c = comparison
    return {
        "difference": c.mean,
        "difference_low": c.t_low,
        "difference_high": c.t_high,
        "sign_flip_low": c.low,
        "sign_flip_high": c.high,
        "median_difference": c.median,
        "median_low": c.median_low,
        "median_high": c.median_high,
        "share_a_better": c.share_below,
        "share_a_better_low": c.share_low,
        "share_a_better_high": c.share_high,
        "sd_difference": c.sd,
        "p_value": c.p_value,
        "p_equivalence": c.p_equivalence,
        "equal_low": c.equal_low,
        "equal_high": c.equal_high,
        "detectable": detectable_difference(c.sd, c.n, n_tests=n_claims),
        "detectable_margin": detectable_margin(c.sd, c.n, n_tests=n_claims),
    }


def warnings(each: Paired) -> list[str]:
    """Return what a reader has to know of one comparison, as whole sentences."""
    found = []
    for sampler, seeds in each.diverged.items():
        runs = ("the run", "its pair is") if len(seeds) == 1 else ("the runs", "their pairs are")
        found.append(
            f"{runs[0]} of {sampler} with {_named(seeds)} diverged, and {runs[1]} left out; lower "
            "the learning rate before you trust the others"
        )
    comparison = each.compare(None)
    if comparison and comparison.low is not None and comparison.tests_disagree:
        found.append(
            "the sign-flip test and the t test disagree on whether 0 is excluded at 95 %; the "
            "verdict is that of the sign-flip test alone, so run more seeds"
        )
    if comparison and comparison.far:
        found.append(
            f"{_named([each.seeds[i] for i in comparison.far])} lies far from the other pairs and "
            "moves the mean; look at its curves, and at the median beside the mean"
        )
    return found


def _named(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
