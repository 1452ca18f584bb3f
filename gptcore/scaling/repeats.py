"""Fit what repeated text is worth (`repetition`), with its uncertainty.

The law is fitted to the runs of one pass, and then R_D and R_N to those of several. The interval is
from a bootstrap of the runs of both stages, each run being one cluster (Efron & Tibshirani 1993,
ch. 8); the profile shows what the second stage alone allows. R_D depends on which runs are fitted,
because the formula does not describe small texts and many passes. So it is fitted again with other
filters on the unique tokens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from gptcore.scaling import solver
from gptcore.scaling.fitting import BOOTSTRAPS, fit_points
from gptcore.scaling.identification import TYPICAL_EXPONENT
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.repeats_solver import LOGS, Repeats, polish, profile_of, solve
from gptcore.scaling.repetition import ENDLESS, RepeatedLaw
from gptcore.scaling.solver import DELTA, Data, Floats, Mask
from gptcore.scaling.tables import Points, check_table, make_points
from gptcore.scaling.uncertainty import bootstrap, noise_sd, robust_sd

if TYPE_CHECKING:
    import pandas as pd


ONE_PASS = 1.001  # epochs; published token counts are rounded
LONGEST = 200.0  # R_D above it says that repeated tokens are as good as new ones
FEWEST_REPEATED = 3
FEWEST_FILTERED = 8  # runs that a filter leaves, for R_D to be fitted to them
FILTERS = 5
FILTER_BOOTSTRAPS = 200
FEWEST_DRAWS = 100
POOR_RATIO = 3.0  # residuals of repeated runs so many times larger than those of one pass
WEAK_RATIO, POOR_R2 = 2.0, 0.5  # the same, where the formula explains less of the penalty


def fit_repeated(
    table: pd.DataFrame,
    *,
    min_unique_tokens: float = 0.0,
    delta: float = DELTA,
    bootstraps: int = BOOTSTRAPS,
) -> RepeatedLaw:
    """Fit in two stages: the law to all runs of one pass, then R_D and R_N to repeated ones.

    Args:
        table: of one family, with `unique_tokens`; the last loss of each run is used.
        min_unique_tokens: runs with fewer unique tokens are left out of the second stage.
        delta: where Huber's loss turns linear, in both stages.
        bootstraps: the number of bootstraps of runs.

    Raises:
        ValueError: no column `unique_tokens`, or too few runs of one pass or of several.
    """
    checked, notes = check_table(table)
    once, every = _by_passes(checked)
    _check_numbers(once, every[every["unique_tokens"] >= min_unique_tokens])
    points = make_points(once.assign(run=once["model"]))
    law = fit_points(points, delta=delta)
    if law.theta[1] == 0 or law.theta[2] == 0:
        raise ValueError("the runs of one pass show no effect of size or of tokens: add such runs")
    every_run = _repeats(law, every)
    kept = every_run.unique >= min_unique_tokens
    runs = every_run.only(kept)
    logs, objective = solve(runs, law.theta, delta)
    draws = _bootstrap(every_run, kept, points, logs, delta, bootstraps)
    count = min(bootstraps, FILTER_BOOTSTRAPS)
    rows, drawn = _by_filter(every_run, points, min_unique_tokens, delta, count)
    goodness = _goodness(runs, logs, points)
    # The law of single passes is not affected by the repetition that a warning may point to.
    notes = [note for note in (*notes, *law.warnings) if "--repetition" not in note]
    repeats_d, repeats_n = map(float, np.exp(logs))
    notes += _doubts(repeats_d, goodness, one_size=runs.one_size)
    return RepeatedLaw(
        law,
        repeats_d,
        math.inf if runs.one_size else repeats_n,
        objective,
        len(runs.log_loss),
        (*notes, *_doubts_of_filter(rows, drawn, draws)),
        noise=goodness["residual_sd"],
        draws=draws,
        profile_95=profile_of(runs, logs, objective, delta),
        goodness=goodness,
        by_filter=tuple(rows),
    )


def _by_passes(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last losses of the runs of one pass, and of those of several passes."""
    if "unique_tokens" not in table or table["unique_tokens"].isna().any():
        raise ValueError("repetition needs the column unique_tokens, a number in every row")
    last = table[table["tokens_seen"] >= table.groupby("run")["tokens_seen"].transform("max")]
    means = last.groupby(["model", "params", "tokens_seen", "unique_tokens"], as_index=False)[
        "loss"
    ].mean()
    epochs = means["tokens_seen"] / means["unique_tokens"]
    return means[epochs <= ONE_PASS], means[epochs > ONE_PASS]


def _check_numbers(once: pd.DataFrame, again: pd.DataFrame) -> None:
    if once["params"].nunique() < FEWEST_REPEATED or len(again) < FEWEST_REPEATED:
        raise ValueError(
            f"{len(once)} runs of one pass and {len(again)} of several: repetition needs at least "
            "3 sizes of the former and 3 runs of the latter"
        )


def _repeats(law: ScalingLaw, again: pd.DataFrame) -> Repeats:
    names = ("params", "tokens_seen", "unique_tokens", "loss")
    n, d, u, y = (again[name].to_numpy(dtype=np.float64) for name in names)
    return Repeats(law, n, d, u, np.log(y))


def _bootstrap(
    runs: Repeats,
    kept: Mask,
    points: Points,
    start: Floats,
    delta: float,
    count: int,
) -> Floats:
    """Return theta, R_D and R_N, (K, 7), of `count` bootstraps of the runs of both stages.

    Args:
        runs: all M runs of several passes.
        kept: (M,) those that the second stage uses. The same bootstraps are drawn whatever it is.
        points: those to which the law of one pass was fitted.
        start: (2,) ln R_D and ln R_N of the fit.
        delta: where Huber's loss turns linear.
        count: the number of bootstraps.
    """
    if not count:
        return np.empty((0, 7))
    law = runs.law
    free = solver.ALL.copy()
    free[3:] = law.theta[3:] != TYPICAL_EXPONENT  # such an exponent is assumed and not fitted
    theta = bootstrap(points, _data(law, points), law.theta, delta=delta, free=free, count=count)
    size = len(runs.log_loss)
    drawn = np.random.default_rng(1).multinomial(size, np.full(size, 1 / size), size=count)
    usable = (theta[:, 1:] > 0).all(axis=1) & drawn[:, kept].any(axis=1)
    theta, weights = theta[usable], drawn[usable][:, kept].astype(np.float64)
    if not len(theta):
        return np.empty((0, 7))
    part = runs.only(kept)
    repeats = np.exp(polish(part, np.repeat(start[None], len(theta), 0), theta, weights, delta)[0])
    if part.one_size:
        repeats[:, 1] = np.inf
    return np.column_stack([theta, repeats])


def _by_filter(
    runs: Repeats, points: Points, chosen: float, delta: float, count: int
) -> tuple[list[dict[str, Any]], Floats]:
    """Fit R_D with several least numbers of unique tokens, the chosen one among them.

    Returns:
        A row for each, and ln R_D of each bootstrap, (filters, K); the bootstraps are paired.
    """
    values = np.unique(runs.unique)
    values = values[[int((runs.unique >= v).sum()) >= FEWEST_FILTERED for v in values]]
    places = np.unique(np.linspace(0, len(values) - 1, min(FILTERS, len(values))).round())
    rows, drawn = [], []
    for least in sorted({max(chosen, float(runs.unique.min())), *values[places.astype(int)]}):
        kept = runs.unique >= least
        logs, _ = solve(runs.only(kept), runs.law.theta, delta)
        draws = _bootstrap(runs, kept, points, logs, delta, count)
        drawn.append(np.log(draws[:, 5]))
        ends = np.quantile(draws[:, 5], (0.025, 0.975)).tolist() if len(draws) else None
        rows.append(
            {
                "min_unique_tokens": float(least),
                "n_runs": int(kept.sum()),
                "R_D": float(np.exp(logs[0])),
                "interval_95": ends and [end if end < ENDLESS else None for end in ends],
            }
        )
    shortest = min(map(len, drawn))
    return rows, np.array([row[:shortest] for row in drawn])


def _data(law: ScalingLaw, points: Points) -> Data:
    x, z = np.log(points.params / law.pivot_params), np.log(points.tokens / law.pivot_tokens)
    return Data(x, z, np.log(points.loss))


def _goodness(runs: Repeats, logs: Floats, points: Points) -> dict[str, float | None]:
    """Return how well the law describes the repeated runs, and those of one pass.

    R2 is of the penalty of repetition: ln L less the law's ln L for as many new tokens.
    """
    law = runs.law
    residuals = runs.residuals(logs[None], law.theta[None])[0]
    penalty = runs.log_loss - np.log(law.loss(runs.params, runs.tokens))
    spread = float(((penalty - penalty.mean()) ** 2).sum())
    return {
        "residual_sd": robust_sd(residuals, len(logs)),
        "residual_sd_once": noise_sd(_data(law, points), law.theta, len(law.theta)),
        "r2": 1 - float(residuals @ residuals) / spread if spread > 0 else None,
    }


def _doubts(repeats_d: float, goodness: Mapping[str, float | None], *, one_size: bool) -> list[str]:
    """Return warnings of what the repeated runs do not show."""
    doubts, r2 = [], goodness["r2"]
    if one_size:
        doubts.append(
            "the repeated runs have one size: R_N cannot be told, and all parameters are taken to "
            "count; repeat text at several sizes"
        )
    if repeats_d < 1.01 * math.exp(LOGS[0]):
        doubts.append(
            f"R_D is at its least, {repeats_d:.2g}: the formula does not describe these runs, in "
            "which repeating is worse than stopping; fit larger texts or fewer passes"
        )
    if repeats_d > LONGEST:
        doubts.append(
            f"R_D is {repeats_d:.3g}: repeated tokens look as good as new ones; add runs of more "
            "epochs to see where that ends"
        )
    again, once = goodness["residual_sd"], goodness["residual_sd_once"]
    ratio = again / once if again and once else 1.0
    if ratio > POOR_RATIO or (r2 is not None and r2 < POOR_R2 and ratio > WEAK_RATIO):
        share = "nothing" if r2 is None or r2 < 0 else f"{100 * r2:.0f} %"
        doubts.append(
            f"the formula explains {share} of what repetition costs in these runs, and they "
            f"scatter about it {ratio:.1f} times as much as runs of one pass about their law: do "
            "not use R_D for a decision; leave out runs of small texts or many passes "
            "(--min-unique-tokens)"
        )
    return doubts


def _doubts_of_filter(rows: list[dict[str, Any]], drawn: Floats, draws: Floats) -> list[str]:
    """Return a warning if R_D depends on the filter by more than noise.

    It does if the range over the filters is wider than the bootstrap interval of R_D, or if ln R_D
    of two filters differs by more standard errors than a normal test at 5 %, adjusted for the
    number of pairs (Bonferroni), allows. The standard error is the interquartile range of the
    difference over paired bootstraps, divided by 1.349, since R_D is infinite in some of them.
    """
    values = [row["R_D"] for row in rows]
    if len(rows) < 2 or drawn.shape[1] < FEWEST_DRAWS:
        return []
    low, high = np.quantile(draws[:, 5], (0.025, 0.975))
    pairs = list(itertools.combinations(range(len(rows)), 2))
    limit = float(ndtri(1 - 0.025 / len(pairs)))
    apart = any(
        abs(math.log(values[i] / values[j])) > limit * _spread(drawn[i] - drawn[j])
        for i, j in pairs
    )
    if not apart and max(values) / min(values) <= high / low:
        return []
    return [
        f"R_D moves from {min(values):.3g} to {max(values):.3g} as runs with fewer unique tokens "
        "are left out, by more than its uncertainty: the formula does not describe all of these "
        "texts alike; state the filter beside R_D, and choose it by the size of the text to repeat "
        "(--min-unique-tokens)"
    ]


def _spread(values: Floats) -> float:
    """Return the standard deviation of a normal sample, from its quartiles."""
    return float(np.subtract(*np.quantile(values, (0.75, 0.25)))) / 1.349
