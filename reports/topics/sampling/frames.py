"""Coverage cases → one frame for each experiment: the whole text, the 2 x 2, scarce text."""

from __future__ import annotations

import pandas as pd

from reports.load import over

CORE = {
    "random_replacement": (True, False),
    "grid_replacement": (True, True),
    "random_phase_blocks": (False, False),
    "shuffled_blocks": (False, True),
}
"""Samplers of the 2 x 2: (with replacement, on the fixed grid)."""


def missed_share(cases: pd.DataFrame) -> pd.Series[float]:
    """Return missed targets over all targets, case by case."""
    shares: pd.Series[float] = over(cases["missed_targets"], cases["train_tokens"] - 1)
    return shares


def whole_text(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases on the whole train part: the main experiment."""
    return cases[~cases["text_share"].lt(1)]


def is_core(cases: pd.DataFrame) -> pd.Series[bool]:
    """Return which cases are a cell of the 2 x 2."""
    return cases["sampler"].isin(list(CORE)) & ~cases["drop_last"].eq(True)


def two_by_two(cases: pd.DataFrame, *, repeated: bool = False) -> pd.DataFrame:
    """Return the cells of every complete 2 x 2: four samplers, one setting, one length.

    Args:
        cases: coverage cases.
        repeated: whether a cell that was run more than once has all its rows, or the first alone.

    Returns:
        Rows of `cases` on the whole text, with the columns `replacement` and `grid` (bool).
    """
    frame = whole_text(cases)
    frame = frame[is_core(frame) & frame["missed_targets"].notna() & frame["train_tokens"].gt(1)]
    if not repeated:
        frame = frame.drop_duplicates(["setting", "target_epochs", "sampler"])
    cells = frame.groupby(["setting", "target_epochs"])["sampler"].transform("nunique")
    frame = frame[cells.eq(len(CORE))]
    return frame.assign(
        replacement=[CORE[name][0] for name in frame["sampler"]],
        grid=[CORE[name][1] for name in frame["sampler"]],
    )


def scarce_text(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases on a part of the text, each sampler's after its equal on the whole text.

    Equal means as many tokens drawn: target_epochs * text_share.
    """
    frame = cases.assign(text_share=cases["text_share"].fillna(1.0))
    budget = (frame["target_epochs"] * frame["text_share"]).round(6)
    frame = frame.assign(budget=budget).sort_values("text_share", ascending=False, kind="stable")
    least = frame.groupby(["setting", "variant", "budget"])["text_share"].transform("min")
    return frame[frame["text_share"].lt(1) | least.lt(1)]
