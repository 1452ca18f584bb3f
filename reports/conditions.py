"""What training runs share: for which passes, text and size a claim on an experiment holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from gptcore.plain_text import shorten
from reports import words
from reports.claims import extent
from reports.load import Run

Case = Any
"""A row of a frame of cases, as a Series or a dict."""


def conditions(case: Case, training: pd.DataFrame, sides: Iterable[Any] = ()) -> str:
    """Return for how many passes, on which text and size, and over how many seeds a claim holds.

    Args:
        case: the comparison, or another case of an experiment.
        training: all training runs.
        sides: the arms that the claim is about, or means of several, joined by "+"; none for all.
    """
    runs = runs_of(case, training)
    arms = {arm for side in sides for arm in str(side).split("+")}
    if arms and "arm" in runs and runs["arm"].notna().all():
        runs = runs[runs["arm"].isin(arms)]
    passes, weights = _passes(runs), _weights(runs)
    said = f" after {passes} of" if passes else " on"
    said += f" {words.corpus(case['corpus'])}{weights and f', {weights}'}"
    if pd.notna(case["n_seeds"]):
        said += f", {words.count(int(case['n_seeds']), 'seed')}"
    if case["n_diverged"] > 0:
        said += f" ({words.count(int(case['n_diverged']), 'run')} diverged and left out)"
    return said


def on_device(name: Any) -> str:
    """Return " on cuda"; "" for the CPU, which is meant where no device is named."""
    is_cpu = words.is_missing(name) or str(name).startswith("cpu")
    return "" if is_cpu else f" on {words.device(name)}"


def place(case: Case, training: pd.DataFrame) -> str:
    """Return in which experiment, on which text, for which passes and size a claim holds."""
    runs, name = runs_of(case, training), experiment(case)
    known = ", ".join(filter(None, (_passes(runs), _weights(runs))))
    where = "on" if name == words.corpus(case["corpus"]) else "in the experiment"
    return f" {where} {name}{known and f' ({known})'}"


def experiment(case: Case) -> str:
    """Return the name of a case's experiment and its text, or the text where no name is known."""
    corpus, key = words.corpus(case["corpus"]), case.get("experiment")
    name = "" if words.is_missing(key) else str(key).partition(f"-{case['corpus']}-")[0]
    return f"{shorten(name)} on {corpus}" if name and name != str(key) else corpus


def runs_of(case: Case, training: pd.DataFrame) -> pd.DataFrame:
    """Return the training runs of the experiment of a case, none where it is not known."""
    known = "experiment" in training and "experiment" in case
    return training[training["experiment"].eq(case["experiment"])] if known else training[:0]


def _passes(runs: pd.DataFrame) -> str:
    """Return "4 passes over 29,491 tokens", or "" where a run does not say so."""
    if runs.empty or runs[["epochs", "train_tokens"]].isna().any(axis=None):
        return ""
    passes = extent(runs["epochs"], lambda value: words.tick(float(f"{value:.2g}")))
    tokens = extent(runs["train_tokens"].round(), words.number)
    return f"{passes} {'pass' if passes == '1' else 'passes'} over {tokens} tokens"


def _weights(runs: pd.DataFrame) -> str:
    """Return "172 k weights", or "" where a run does not say so."""
    if runs.empty or runs["n_params"].isna().any():
        return ""
    weights = extent(runs["n_params"], lambda value: words.si(value, "").rstrip())
    return f"{weights} weights"


def by_arm(cases: pd.DataFrame) -> pd.DataFrame:
    """Return training runs with their arms as `variant`, which may differ in any setting.

    Runs of earlier ledgers, which name no arm, keep the words for their sampler.
    """
    if "arm" not in cases or cases.empty:
        return cases
    told = cases["arm"].map(words.arm).where(cases["arm"].notna(), cases["variant"])
    return cases.assign(variant=told)


def series_by_arm(run: Run, name: str) -> pd.DataFrame:
    """Return a series of all training runs, with their arms as `variant`."""
    cases = by_arm(run.cases("convergence"))[["case", "variant"]]
    return run.series("convergence", name).drop(columns="variant").merge(cases, on="case")
