"""Tables of losses for scaling laws: checked, and cut to the part that a fit uses.

A row is one loss. The columns are `model`, `params` (N), `tokens_seen` (D) and `loss` (nats per
token); `family`, `seed`, `unique_tokens` (U) and `loss_kind` are optional. Rows of one model and
seed are one run. Names are text and stay as they are, "NA" and "None" included. A name or seed that
is blank in some rows is refused, because it says not of which run they are; an optional column that
is blank in every row is taken as absent. A blank in `unique_tokens` means "not known".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_number, check_whole
from gptcore.reading import naming
from gptcore.scaling.columns import is_blank, positive, text

if TYPE_CHECKING:
    import pandas as pd


REQUIRED = ("model", "params", "tokens_seen", "loss")
NUMERIC = ("params", "tokens_seen", "loss")
WORST_LOSS = 15.0  # nats; a uniform guess over 50,257 ids has 10.8
FEWEST_UNITS = 1000.0  # smaller sizes or token counts must be in millions or billions
MOST_UNITS, WIDEST, LEAST_LOSS = 1e100, 1e30, 1e-9  # powers of what is beyond overflow
FEW_TOKENS_PER_PARAM = 0.1
MANY_EPOCHS = 4.0  # up to about that many, repeated text is worth nearly as much as new text
MAX_RUNS = 1000
MAX_PER_RUN = 128
MAX_POINTS = 10_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def one_family(table: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
    """Return the rows of `family`; a table of one family needs no name.

    Raises:
        ValueError: there is no such family, or there are several and none is named.
    """
    families = text(table, "family")
    if families is None:
        if family is not None:
            raise ValueError(f"the table has no column family: leave out the name {family!r}")
        return table
    names = sorted(families.unique())
    listed = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    if family is None:
        if len(names) > 1:
            raise ValueError(
                f"the table has {len(names)} families, whose losses do not compare: name one of "
                f"{listed}"
            )
        return table
    if family not in names:
        raise ValueError(f"no family {family!r} in the table: there are {listed}")
    return table[families == family]


def check_table(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Check columns, numbers, units and duplicates.

    Args:
        table: rows of one family; `tokens` is read as `tokens_seen`.

    Returns:
        The columns `run`, `model`, `params`, `tokens_seen`, `loss` and, where given,
        `unique_tokens`, sorted by size, run and tokens; and warnings.

    Raises:
        ValueError: a column is missing or holds values that no loss table can hold.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame) or not table.columns.is_unique:
        raise ValueError("the table is no DataFrame, or two of its columns have one name")
    with naming(table.attrs.get("file", "table")):
        table = _used_columns(table)
        for name in NUMERIC:
            table[name] = positive(table, name)
        if "unique_tokens" in table:
            table["unique_tokens"] = positive(table, "unique_tokens", may_be_blank=True)
        _check_units(table)
        table, notes = _without_copies(table)
        table = _numbered_runs(table)
    notes += _doubts(table)
    columns = ["run", "model", *NUMERIC, *(["unique_tokens"] if "unique_tokens" in table else [])]
    order = ["params", "run", "tokens_seen", "loss"]
    return table[columns].sort_values(order, kind="stable", ignore_index=True), notes


def _used_columns(table: pd.DataFrame) -> pd.DataFrame:
    if "tokens" in table and "tokens_seen" not in table:
        table = table.rename(columns={"tokens": "tokens_seen"})
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise ValueError(
            f"the table has no column {', '.join(missing)}: it needs {', '.join(REQUIRED)}, "
            "named in its first line"
        )
    if table.empty:
        raise ValueError("the table has no rows: give one row for each loss")
    used = table[list(REQUIRED)].copy()
    for name in ("seed", "loss_kind"):
        if (texts := text(table, name)) is not None:
            used[name] = texts
    models = text(table, "model")
    if models is None:
        raise ValueError("model is blank in every row: give every run a name")
    used["model"] = models
    if "unique_tokens" in table and not is_blank(table["unique_tokens"]).all():
        used["unique_tokens"] = table["unique_tokens"]
    return used


def _check_units(table: pd.DataFrame) -> None:
    for name in table.columns.intersection(["params", "tokens_seen", "unique_tokens"]):
        smallest = table[name].min()
        if smallest < FEWEST_UNITS:
            raise ValueError(
                f"{name} is {smallest:g} somewhere: give plain numbers, not millions or billions"
            )
        largest = table[name].max()
        if largest > MOST_UNITS or largest > WIDEST * smallest:
            raise ValueError(
                f"{name} goes from {smallest:g} to {largest:g}: give numbers up to {MOST_UNITS:g}, "
                f"none more than {WIDEST:g} times another"
            )
    if (least := table["loss"].min()) < LEAST_LOSS:
        raise ValueError(f"the loss is {least:g} somewhere: nats per token are {LEAST_LOSS:g} up")
    middle = table["loss"].median()
    if middle > WORST_LOSS:
        raise ValueError(
            f"the median loss is {middle:.4g}, worse than guessing: give nats per token, the "
            "logarithm of a perplexity"
        )


def _without_copies(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out rows that are equal to another one, and say how many."""
    copies = int(table.duplicated().sum())
    if not copies:
        return table, []
    note = (
        f"{copies} rows repeat another in full and are left out: remove them, or add a "
        "column seed if they are runs of their own"
    )
    return table.drop_duplicates(), [note]


def _numbered_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `run`: rows of one model and seed are one run, of one size."""
    seed = table["seed"] if "seed" in table else table["model"]
    table["run"] = table.groupby(["model", seed], sort=True).ngroup()
    sizes = table.groupby("run")["params"].nunique()
    if (sizes > 1).any():
        name = table.loc[table["run"] == sizes.idxmax(), "model"].iloc[0]
        raise ValueError(
            f"run {name!r} has {sizes.max()} values of params: give each size a model name of its "
            "own, and check that params and tokens_seen are not swapped"
        )
    return table


def _doubts(table: pd.DataFrame) -> list[str]:
    """Return warnings of what a table of losses hardly ever has."""
    notes = []
    again = int(table.duplicated(["run", "tokens_seen"]).sum())
    if again:
        notes.append(
            f"{again} rows give another loss of the same run and tokens, and the mean counts: add "
            "a column seed if they are runs of their own"
        )
    ratio = float((table["tokens_seen"] / table["params"]).median())
    if ratio < FEW_TOKENS_PER_PARAM:
        notes.append(
            f"the median row has {ratio:.2g} tokens per parameter: check that params and "
            "tokens_seen are not swapped, and that both are plain numbers"
        )
    kinds = sorted(map(str, table["loss_kind"].unique())) if "loss_kind" in table else []
    if len(kinds) > 1:
        notes.append(
            f"losses of several kinds ({', '.join(kinds)}) do not compare: fit one kind at a time"
        )
    return [*notes, *(_repetition(table) if "unique_tokens" in table else [])]


def _repetition(table: pd.DataFrame) -> list[str]:
    ends = table.groupby("run")[["tokens_seen", "unique_tokens"]].max()
    epochs = ends["tokens_seen"] / ends["unique_tokens"]
    if not (epochs > MANY_EPOCHS).any() or epochs.max() < 2 * epochs.min():
        return []
    return [
        f"{int((epochs > MANY_EPOCHS).sum())} runs repeat their text for up to {epochs.max():.3g} "
        "epochs and others do not: D alone does not tell their losses apart; leave them out "
        "(--max-epochs 4) or fit the data-constrained form (--repetition)"
    ]


@dataclass(frozen=True)
class Cut:
    """The part of each run that a fit uses. The last row of a run always stays.

    Attributes:
        last_share: the share of the run's tokens at its end whose rows stay; 1 keeps all rows.
        burn_in_tokens: rows before that many tokens are left out.
        final_only: whether only the last row of each run stays.
    """

    last_share: float = 0.7
    burn_in_tokens: float = 0.0
    final_only: bool = False

    def __post_init__(self) -> None:
        check_number("last_share", self.last_share, "(0, 1]")
        check_number("burn_in_tokens", self.burn_in_tokens, "[0, inf)")

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that stay."""
        ends = table.groupby("run")["tokens_seen"].transform("max")
        is_last = table["tokens_seen"] >= ends
        if self.final_only:
            return table[is_last]
        start = np.maximum((1 - self.last_share) * ends, self.burn_in_tokens)
        return table[is_last | (table["tokens_seen"] >= start)]


@dataclass(frozen=True)
class Points:
    """The points that a law is fitted to: M losses of G runs.

    Attributes:
        params: (M,) N.
        tokens: (M,) D.
        loss: (M,) nats per token.
        run: (M,) index of the run, 0 … G - 1.
        notes: what was merged or left out, and why.
    """

    params: Floats
    tokens: Floats
    loss: Floats
    run: Ints
    notes: tuple[str, ...] = ()

    @property
    def n_runs(self) -> int:
        """Number of runs, G."""
        return int(self.run.max()) + 1

    @property
    def sizes(self) -> Floats:
        """The distinct sizes, in ascending order."""
        return np.unique(self.params)


def make_points(table: pd.DataFrame) -> Points:
    """Return the points of a checked table: replicates averaged, long runs thinned.

    Losses of one run at the same token count are averaged. A run of more than 128 checkpoints
    becomes 128 means of neighbours (of loss and ln tokens), so that no run counts more because it
    was logged more often. If there are more than 1,000 runs, 1,000 of them are drawn with a fixed
    seed.
    """
    notes = []
    runs = table["run"].unique()
    if len(runs) > MAX_RUNS:
        kept = np.random.default_rng(0).choice(len(runs), MAX_RUNS, replace=False)
        table = table[table["run"].isin(runs[np.sort(kept)])]
        notes.append(
            f"{len(runs)} runs: the law is fitted to {MAX_RUNS} of them, drawn with seed 0; more "
            "would change little, and the intervals are those of the sample"
        )
    # Average replicates, then number the checkpoints of each run and merge neighbours into bins.
    table = table.groupby(["params", "run", "tokens_seen"])[["loss"]].mean().reset_index()
    group = table.groupby(["params", "run"], sort=True)
    count = group["loss"].transform("size")
    most = int(np.clip(MAX_POINTS // len(runs), 4, MAX_PER_RUN))
    place = group.cumcount() * most // count
    table["bin"] = np.where(count > most, place, group.cumcount())
    table["log_tokens"] = np.log(table["tokens_seen"])
    means = table.groupby(["params", "run", "bin"], as_index=False)[["log_tokens", "loss"]].mean()
    return Points(
        means["params"].to_numpy(dtype=np.float64),
        np.exp(means["log_tokens"].to_numpy(dtype=np.float64)),
        means["loss"].to_numpy(dtype=np.float64),
        np.unique(means["run"], return_inverse=True)[1].astype(np.int64),
        tuple(notes),
    )


def drop_largest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the table without its `count` largest losses.

    Raises:
        ValueError: `count` is negative, or no row would stay.
    """
    count = check_whole("count", count, at_least=0)
    if count >= max(1, len(table)):
        raise ValueError(f"{count} largest losses to leave out of {len(table)} rows: give fewer")
    if not count or "loss" not in table:
        return table
    return table.drop(table.sort_values("loss", kind="stable").index[-count:])


def keep_rows(
    table: pd.DataFrame,
    *,
    min_params: float | None = None,
    max_params: float | None = None,
    min_tokens_per_param: float | None = None,
    max_epochs: float | None = None,
) -> pd.DataFrame:
    """Return the rows within the limits that are not None.

    Raises:
        ValueError: no row stays, or a column that a limit needs is missing.
    """
    limits = (min_params, max_params, min_tokens_per_param, max_epochs)
    if all(limit is None for limit in limits):
        return table
    for limit in limits:
        if limit is not None:
            check_number("a limit of rows", limit, "[0, inf]")
    needed = [*NUMERIC[:2], *(["unique_tokens"] if max_epochs is not None else [])]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)} to leave rows out by")
    values = {name: positive(table, name) for name in needed}
    n, d = values["params"], values["tokens_seen"]
    keep = n > 0
    if min_params is not None:
        keep &= n >= min_params
    if max_params is not None:
        keep &= n <= max_params
    if min_tokens_per_param is not None:
        keep &= d / n >= min_tokens_per_param
    if max_epochs is not None:
        keep &= d / values["unique_tokens"] <= max_epochs * (1 + 1e-3)
    if not keep.any():
        raise ValueError("no row is left within these limits: widen them")
    return table[keep]
