"""How well does a law predict known runs? It is fitted to some sizes and compared with another.

ARE is the absolute relative error |observed - predicted| / observed, in per cent. `are_last30` is
its mean over the checkpoints in the last 30 % of a run's tokens, `are_final` that of the last loss.
`signed_final` has a sign: it is positive when the predicted loss is too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.checks import check_number
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
    """One held-out run: its observed and predicted losses in nats per token, errors in per cent."""

    model: str
    params: float
    tokens: float
    observed: float
    predicted: float
    interval_80: tuple[float, float] | None
    are_last30: float
    signed_final: float


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
            "observed_final": first.observed,
            "predicted_final": first.predicted,
            "interval_80": None if first.interval_80 is None else list(first.interval_80),
            "interval_80_holds": _holds(first),
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
        points = make_points((cut or Cut())(rows))
        law = fit_points(points, delta=delta, borrowed=borrowed, notes=notes)
    groups = ["run", "tokens_seen"] if split and split.compute_gap else ["run"]
    outcomes = [_compare(law, run) for _, run in targets.groupby(groups, sort=False)]
    outcomes.sort(key=lambda o: (-o.tokens, o.model))
    warnings = list(law.warnings)
    beyond = law.beyond(outcomes[0].params, outcomes[0].tokens)
    if beyond:
        warnings.append(f"the prediction is a guess: {beyond}")
    return Evaluation(law, tuple(outcomes), tuple(warnings))


def _compare(law: ScalingLaw, run: pd.DataFrame) -> Outcome:
    params, end = float(run["params"].iloc[0]), float(run["tokens_seen"].max())
    late = run[run["tokens_seen"] >= (1 - LAST) * end]
    predicted = law.loss(params, late["tokens_seen"].to_numpy(dtype=np.float64))
    errors = predicted / late["loss"].to_numpy(dtype=np.float64) - 1
    final = float(late.loc[late["tokens_seen"] >= end, "loss"].mean())
    expected = float(law.loss(params, end))
    interval = law.predict(params, end, confidence=0.8)
    ends = (interval.low, interval.high)
    return Outcome(
        model=str(run["model"].iloc[0]),
        params=params,
        tokens=end,
        observed=final,
        predicted=expected,
        interval_80=None if ends[0] is None or ends[1] is None else (ends[0], ends[1]),
        are_last30=100 * float(np.abs(errors).mean()),
        signed_final=100 * (expected / final - 1),
    )


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
