"""How well does a law predict known runs? It is fitted to some sizes and compared with another.

ARE is the absolute relative error |observed - predicted| / observed, in per cent. `are_last30` is
its mean over the checkpoints in the last 30 % of a run's tokens, `are_final` that of the last loss.
`signed_final` has a sign: it is positive when the predicted loss is too high.

Two guesses without a law stand beside it: that the loss stays that of the nearest size, and that
ln L against ln N goes on in the straight line through the two nearest sizes. `share_of_gain` is the
error as a share of the step from the nearest size to the held-out one: 1 is as bad as the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling.backtests import calibrate
from gptcore.scaling.colpret import fit_colpret
from gptcore.scaling.fitting import fit, fit_points
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.solver import DELTA
from gptcore.scaling.tables import Cut, check_table, make_points

if TYPE_CHECKING:
    import pandas as pd


LAST = 0.3  # share of the held-out run's tokens, at its end, that is compared
SAME_COMPUTE = 0.9  # this share of the largest compute counts as the largest


@dataclass(frozen=True)
class Split:
    """Which runs are predicted, and from which others.

    Attributes:
        target: the model held out; None holds out every run of the largest size (of the smallest,
            with `reverse`).
        models: the number of sizes to fit, the smallest first (with `reverse` the largest first);
            None fits all.
        reverse: whether a smaller run is predicted from larger ones.
        target_share: the share of the held-out run's own tokens, at its start, that is fitted as
            well; up to 0.7.
        compute_gap: if given, rows with the largest compute 6 N D are predicted from those with at
            most that compute divided by the gap, whatever their size.
    """

    target: str | None = None
    models: int | None = None
    reverse: bool = False
    target_share: float = 0.0
    compute_gap: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.target_share <= 1 - LAST:
            raise ValueError(
                f"the target's share is {self.target_share}: give 0 to {1 - LAST:.1f}, since its "
                "last 30 % are compared"
            )
        if self.compute_gap is not None and not self.compute_gap > 1:
            raise ValueError(f"compute gap is {self.compute_gap}: give a factor above 1")
        if self.compute_gap is not None and (self.target or self.reverse or self.target_share):
            raise ValueError(
                "a compute gap cannot be combined with a target, a target share or reverse"
            )

    def __call__(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of a checked table to fit, and those that are held out."""
        if self.compute_gap is not None:
            return self._by_compute(table)
        sizes = np.sort(table["params"].unique())
        if self.target is None:
            if len(sizes) < 2 and not self.target_share:
                raise ValueError("one size alone: there is no other to predict; give two sizes")
            size = sizes[0] if self.reverse else sizes[-1]
            targets = table[table["params"] == size]
        else:
            targets = table[table["model"].astype(str) == self.target]
            if targets.empty:
                names = ", ".join(map(str, table["model"].unique()[:20]))
                raise ValueError(f"no model {self.target!r} in the table: there are {names}")
            size = targets["params"].iloc[0]
        others = sizes[sizes > size][::-1] if self.reverse else sizes[sizes < size]
        if self.models is not None:
            if not 0 <= self.models <= len(others):
                raise ValueError(f"{self.models} sizes asked for: there are {len(others)}")
            others = others[: self.models]
        return self._with_target(table[table["params"].isin(others)], targets), targets

    def _with_target(self, rows: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        if self.target_share:
            ends = targets.groupby("run")["tokens_seen"].transform("max")
            seen = targets[targets["tokens_seen"] <= self.target_share * ends]
            rows = pd.concat([rows, seen], ignore_index=True)
        if rows.empty:
            raise ValueError(
                "nothing to fit on: there is no smaller size (with reverse: no larger one), and "
                "nothing of the target's own start; name another target or give a target share"
            )
        return rows

    def _by_compute(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        compute = table["params"] * table["tokens_seen"]
        largest = float(compute.max())
        rows = table[compute <= largest / float(self.compute_gap or 1) * (1 + 1e-2)]
        if self.models is not None:
            sizes = np.sort(rows["params"].unique())[: self.models]
            rows = rows[rows["params"].isin(sizes)]
        if rows.empty:
            raise ValueError(f"no rows with {self.compute_gap:g} times less compute: lower the gap")
        return rows, table[compute >= SAME_COMPUTE * largest]


@dataclass(frozen=True)
class Outcome:
    """One held-out run: its observed and predicted losses in nats per token, errors in per cent.

    `last_size` and `two_sizes` are the losses that the two guesses without a law give, None where
    there is no such size.
    """

    model: str
    params: float
    tokens: float
    observed: float
    predicted: float
    interval_80: tuple[float, float] | None
    are_last30: float
    signed_final: float
    last_size: float | None
    two_sizes: float | None


@dataclass(frozen=True)
class Evaluation:
    """A law, and its errors on each held-out run, the longest run first."""

    law: ScalingLaw
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the means over the held-out runs and, if there are several, each of them."""
        first = self.outcomes[0]
        names = list(dict.fromkeys(outcome.model for outcome in self.outcomes))
        return {
            "target": names[0] if len(names) == 1 else names,
            "n_targets": len(self.outcomes),
            "are_last30": float(np.mean([o.are_last30 for o in self.outcomes])),
            "are_final": float(np.mean([abs(o.signed_final) for o in self.outcomes])),
            "signed_final": float(np.mean([o.signed_final for o in self.outcomes])),
            "are_last_size": self._are_of("last_size"),
            "are_two_sizes": self._are_of("two_sizes"),
            "share_of_gain": self.share_of_gain,
            "observed_final": first.observed,
            "predicted_final": first.predicted,
            "interval_80": None if first.interval_80 is None else list(first.interval_80),
            "interval_80_holds": _holds(first),
            "widening": self.law.widening,
            "late_fall": 100 * self.law.late_fall,
            "n_points": self.law.n_points,
            "n_models": self.law.n_models,
            "law": {
                k: v
                for k, v in self.law.as_dict().items()
                if k not in ("state", "warnings", "n_points", "n_models")
            },
            "targets": [
                vars(o) | {"interval_80_holds": _holds(o)}
                for o in self.outcomes
                if len(self.outcomes) > 1
            ],
            "warnings": list(self.warnings),
        }

    def _are_of(self, guess: str) -> float | None:
        """Return the mean ARE of the final losses by a guess without a law, per cent."""
        losses = [getattr(o, guess) for o in self.outcomes]
        if None in losses:
            return None
        pairs = zip(losses, self.outcomes, strict=True)
        return float(np.mean([100 * abs(loss / o.observed - 1) for loss, o in pairs]))

    @property
    def share_of_gain(self) -> float | None:
        """The mean error over the mean gain on the nearest size; None without a gain."""
        steps = [o.last_size - o.observed for o in self.outcomes if o.last_size is not None]
        if len(steps) < len(self.outcomes) or np.mean(steps) <= 0:
            return None
        errors = [abs(o.predicted - o.observed) for o in self.outcomes]
        return float(np.mean(errors) / np.mean(steps))


def _holds(outcome: Outcome) -> bool | None:
    ends = outcome.interval_80
    return None if ends is None else bool(ends[0] <= outcome.observed <= ends[1])


def evaluate(
    table: pd.DataFrame,
    split: Split | None = None,
    *,
    cut: Cut | None = None,
    delta: float = DELTA,
    borrowed: Mapping[str, float] | None = None,
    colpret: bool = False,
) -> Evaluation:
    """Fit a law to a part of a table and compare its predictions with the rest.

    Args:
        table: rows of one family, as in `fit`.
        split: which runs are predicted, and from which others.
        cut: the part of each run that is fitted.
        delta: where Huber's loss turns linear.
        borrowed: parameters held at another law's values.
        colpret: fit by the recipe of Choshen et al. 2025; it does not use `cut`, `delta` and
            `borrowed`.

    Raises:
        ValueError: the table is not usable, or there is nothing to fit or to predict.
    """
    checked, notes = check_table(table)
    rows, targets = (split or Split())(checked)
    if colpret:
        law = fit_colpret(rows, notes=notes)
    else:
        cut = cut or Cut()
        points, whole = make_points(cut(rows)), None if cut.final_only else make_points(rows)
        refit = partial(fit_points, delta=delta, borrowed=borrowed)
        law = calibrate(refit(points, notes=notes), points, refit, whole)
    groups = ["run", "tokens_seen"] if split and split.compute_gap else ["run"]
    ends = rows[rows["tokens_seen"] >= rows.groupby("run")["tokens_seen"].transform("max")]
    ends = ends[[split is None or split.compute_gap is None] * len(ends)]
    outcomes = [_compare(law, run, ends) for _, run in targets.groupby(groups, sort=False)]
    outcomes.sort(key=lambda o: (-o.tokens, o.model))
    warnings = list(law.warnings)
    beyond = law.beyond(outcomes[0].params, outcomes[0].tokens)
    if beyond:
        warnings.append(f"the prediction is a guess: {beyond}")
    return Evaluation(law, tuple(outcomes), tuple(warnings))


def _compare(law: ScalingLaw, run: pd.DataFrame, ends: pd.DataFrame) -> Outcome:
    params, end = float(run["params"].iloc[0]), float(run["tokens_seen"].max())
    late = run[run["tokens_seen"] >= (1 - LAST) * end]
    predicted = law.loss(params, late["tokens_seen"].to_numpy(dtype=np.float64))
    errors = predicted / late["loss"].to_numpy(dtype=np.float64) - 1
    final = float(late.loc[late["tokens_seen"] >= end, "loss"].mean())
    expected = float(law.loss(params, end))
    interval = law.predict(params, end, confidence=0.8)
    low, high = interval.low, interval.high
    last_size, two_sizes = guess_without_law(ends, params, end)
    return Outcome(
        model=str(run["model"].iloc[0]),
        params=params,
        tokens=end,
        observed=final,
        predicted=expected,
        interval_80=None if low is None or high is None else (low, high),
        are_last30=100 * float(np.abs(errors).mean()),
        signed_final=100 * (expected / final - 1),
        last_size=last_size,
        two_sizes=two_sizes,
    )


def guess_without_law(
    ends: pd.DataFrame, params: float, tokens: float
) -> tuple[float | None, float | None]:
    """Return what the nearest size, and the line through the two nearest sizes, say of a run.

    Args:
        ends: the last losses of the fitted runs. Of each size, those count whose number of tokens
            is nearest to `tokens`, by their mean.
        params: N of the run; a size with as many parameters does not count.
        tokens: D of the run.
    """
    losses: dict[float, float] = {}
    for size in ends.loc[ends["params"] != params, "params"].unique().tolist():
        runs = ends[ends["params"] == size]
        distance = np.log(runs["tokens_seen"] / tokens).abs()
        losses[size] = float(runs.loc[distance <= distance.min() + 1e-9, "loss"].mean())
    nearest = sorted(losses, key=lambda size: abs(math.log(size / params)))
    if len(nearest) < 2:
        return (losses[nearest[0]] if nearest else None), None
    near, far = nearest[:2]
    slope = math.log(losses[near] / losses[far]) / math.log(near / far)
    return losses[near], losses[near] * (params / near) ** slope


def predict_next(
    table: pd.DataFrame, params: float, tokens: float, *, confidence: float = 0.8
) -> dict[str, Any]:
    """Fit a law to a ladder of small runs and predict the next size.

    Args:
        table: rows of one family, as in `fit`.
        params: N of the run to predict.
        tokens: D at which its loss is predicted.
        confidence: the confidence of the interval.

    Returns:
        `loss`, `low`, `high` (nats per token; None where the ladder says nothing), `law` (as
        `ScalingLaw.as_dict`) and `warnings`.
    """
    params = check_number("params", params, "(0, inf)")
    tokens = check_number("tokens", tokens, "(0, inf)")
    law = fit(table, bootstraps=0)
    beyond = law.beyond(params, tokens)
    return {
        **vars(law.predict(params, tokens, confidence=confidence)),
        "law": law.as_dict(),
        "warnings": [*law.warnings, *([beyond] if beyond else [])],
    }
