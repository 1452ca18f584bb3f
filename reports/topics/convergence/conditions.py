"""For how many passes, on which text and for which size a claim on training holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from gptcore.plain_text import shorten
from reports import words


def conditions(case: pd.Series, training: pd.DataFrame, sides: Iterable[Any] = ()) -> str:
    """Return for how many passes, on which text and size, and over how many seeds a claim holds.

    Args:
        case: the comparison, or another case of an experiment.
        training: all training runs.
        sides: the arms that the claim is about, or means of several, joined by "+"; none for all.
    """
    known = "experiment" in training and "experiment" in case
    runs = training[training["experiment"].eq(case["experiment"])] if known else training[:0]
    arms = {arm for side in sides for arm in str(side).split("+")}
    if arms and "arm" in runs and runs["arm"].notna().all():
        runs = runs[runs["arm"].isin(arms)]
    said = ""
    if not runs.empty and runs[["epochs", "train_tokens"]].notna().all(axis=None):
        passes = _extent(runs["epochs"], "{:.2g}".format)
        tokens = _extent(runs["train_tokens"].round(), lambda value: words.number(round(value)))
        said = f" after {passes} {'pass' if passes == '1' else 'passes'} over {tokens} tokens"
    said += f" {'of' if said else 'on'} {words.corpus(case['corpus'])}"
    if not runs.empty and runs["n_params"].notna().all():
        weights = _extent(runs["n_params"], lambda value: words.si(value, ""))
        said += f", {weights} weights".replace(words.NBSP, " ")
    if pd.notna(case["n_seeds"]):
        said += f", {words.count(int(case['n_seeds']), 'seed')}"
    if case["n_diverged"] > 0:
        said += f" ({words.count(int(case['n_diverged']), 'run')} diverged and left out)"
    return said


def experiment(case: pd.Series) -> str:
    """Return the name of a case's experiment and its text, or the text where no name is known."""
    corpus, key = words.corpus(case["corpus"]), case.get("experiment")
    name = "" if words.is_missing(key) else str(key).partition(f"-{case['corpus']}-")[0]
    return f"{shorten(name)} on {corpus}" if name and name != str(key) else corpus


def _extent(values: pd.Series, shown: Callable[[Any], str]) -> str:
    """Return the value of all runs, or the least and the most."""
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"
