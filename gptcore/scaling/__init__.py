"""Scaling laws: fit the losses of small runs, predict bigger ones, and plan which runs to train.

    >>> from gptcore.scaling import fit, read_table
    >>> table = read_table("losses.csv")  # doctest: +SKIP
    >>> law = fit(table)  # doctest: +SKIP
    >>> law.predict(params=1e9, tokens=20e9).loss  # doctest: +SKIP

A row of the table is a checkpoint: model, params, tokens, loss.

A law carries intervals, and warnings where the data do not identify a parameter (docs/scaling.md).
Nothing here loads torch.
"""

from gptcore.scaling.colpret import fit_colpret
from gptcore.scaling.extrapolation import Evaluation, evaluate, predict_next
from gptcore.scaling.fitting import borrow, fit, fit_points
from gptcore.scaling.law import Prediction, ScalingLaw, law_from
from gptcore.scaling.planning import Allocation, allocate, isoflop, plan_ladder
from gptcore.scaling.repetition import RepeatedLaw, fit_repeated
from gptcore.scaling.tables import Cut, check_table, drop_largest, read_table
from gptcore.scaling.uncertainty import profile

__all__ = [
    "Allocation",
    "Cut",
    "Evaluation",
    "Prediction",
    "RepeatedLaw",
    "ScalingLaw",
    "allocate",
    "borrow",
    "check_table",
    "drop_largest",
    "evaluate",
    "fit",
    "fit_colpret",
    "fit_points",
    "fit_repeated",
    "isoflop",
    "law_from",
    "plan_ladder",
    "predict_next",
    "profile",
    "read_table",
]
