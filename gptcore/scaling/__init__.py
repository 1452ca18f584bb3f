"""Scaling laws: fit the losses of small runs, predict larger runs, and plan which runs to train.

A law L(N, D) = E + A / N^alpha + B / D^beta gives the loss of a model with N parameters after D
tokens. `fit` takes a table with a row for each loss, as `read_table` reads it from a CSV file:

    >>> import pandas as pd
    >>> from gptcore.scaling import allocate, fit, law_from
    >>> truth = law_from(E=1.8, A=480, B=2000, alpha=0.35, beta=0.37)
    >>> runs = [(n, n * ratio) for n in (1e7, 3e7, 1e8, 3e8, 1e9) for ratio in (5, 20, 80)]
    >>> table = pd.DataFrame(runs, columns=["params", "tokens"])
    >>> table["loss"] = truth.loss(table["params"].to_numpy(), table["tokens"].to_numpy())
    >>> law = fit(table.assign(model=table.index), bootstraps=0)
    >>> round(law.parameters["alpha"], 3)
    0.35
    >>> prediction = law.predict(params=1e10, tokens=2e11)  # with an interval: low, high
    >>> round(prediction.loss, 2)
    2.08
    >>> round(allocate(law, flops=1e21).tokens / 1e9)  # the best number of tokens, in billions
    53

Runs with noise give a law with wider intervals, and with warnings where the data do not determine a
parameter (docs/scaling.md). `evaluate` predicts held-out runs of a table, `plan_ladder` and
`isoflop` help to choose runs, and `fit_repeated` is for text that is repeated. Nothing here loads
torch.
"""

from gptcore.scaling.allocation import isoflop
from gptcore.scaling.colpret import fit_colpret
from gptcore.scaling.extrapolation import Evaluation, Split, evaluate, predict_next
from gptcore.scaling.fitting import borrow, fit, fit_points
from gptcore.scaling.ladders import plan_ladder
from gptcore.scaling.law import Prediction, ScalingLaw, law_from
from gptcore.scaling.next_run import plan_next_run
from gptcore.scaling.planning import Allocation, allocate
from gptcore.scaling.repeats import fit_repeated
from gptcore.scaling.repetition import RepeatedLaw, allocate_repeated
from gptcore.scaling.table_files import read_table
from gptcore.scaling.tables import (
    Cut,
    check_table,
    drop_largest,
    keep_rows,
    one_family,
)
from gptcore.scaling.uncertainty import profile

__all__ = [
    "Allocation",
    "Cut",
    "Evaluation",
    "Prediction",
    "RepeatedLaw",
    "ScalingLaw",
    "Split",
    "allocate",
    "allocate_repeated",
    "borrow",
    "check_table",
    "drop_largest",
    "evaluate",
    "fit",
    "fit_colpret",
    "fit_points",
    "fit_repeated",
    "isoflop",
    "keep_rows",
    "law_from",
    "one_family",
    "plan_ladder",
    "plan_next_run",
    "predict_next",
    "profile",
    "read_table",
]
