"""How fast batches are made: findings, tables and the section of the report."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding, Plotter, Section, Table, by_setting, missing, table, titled
from reports.load import Run


def rates(case: pd.Series) -> tuple[float, float, float]:
    """Return tokens per second: of the median, of the slowest and of the fastest round."""
    tokens = case["tokens_per_s"] * case["time_s"]
    return case["tokens_per_s"], tokens / case["time_max_s"], tokens / case["time_min_s"]


def ratio_of_rates(case: pd.Series, base: pd.Series) -> tuple[float, float, float]:
    """Return how many times faster `case` is than `base`, and the extremes over the rounds."""
    (middle, low, high), (base_middle, base_low, base_high) = rates(case), rates(base)
    return middle / base_middle, low / base_high, high / base_low


def find(run: Run) -> Iterator[Finding]:
    """Say how much faster whole batches are made than one sample at a time."""
    throughput = run.cases("throughput")
    timed = throughput[throughput["tokens_per_s"].gt(0) & throughput["source"].eq("memory")]
    pairs = timed[timed["way"] == "gather"].merge(
        timed[timed["way"] == "dataloader"], on="setting", suffixes=("", "_loader")
    )
    for setting in pairs["setting"].head(1):
        same = timed[timed["setting"] == setting]
        gather = same[same["way"] == "gather"].iloc[0]
        loader = same[same["way"] == "dataloader"].iloc[0]
        ratio, low, high = ratio_of_rates(gather, loader)
        spread = f"{words.number(low)} to {words.number(high)}"
        word, factor = ("faster", ratio) if ratio >= 1 else ("slower", 1 / ratio)
        claim = f"were {words.number(factor)} times {word} than from torch's DataLoader"
        if low <= 1 <= high:
            claim = "took no clearly different time than from torch's DataLoader"
        ends = "" if pd.isna(low + high) else f" The extremes over the rounds allow {spread}."
        yield Finding(
            45,
            "throughput",
            "",
            f"Whole batches gathered at once {claim}",
            f"{words.si(gather['tokens_per_s'], '')} against "
            f"{words.si(loader['tokens_per_s'], '')} tokens/s.{ends} Two separate cases, timed one "
            "after the other in one process without workers, so no interval is claimed. "
            f"Conditions: {setting}.",
            (gather["case"], loader["case"]),
        )


def section(run: Run, _: Plotter) -> list[Section]:
    """Return how fast batches are made, and how fast their visits are counted."""
    timed = run.cases("throughput")
    timed = timed[timed["time_s"].gt(0)]
    counted = timed["ledger_tokens"].notna()
    shown = [titled(loading(part), setting) for setting, (part,) in by_setting(timed[~counted])]
    if counted.any():
        shown.append(ledger(timed[counted]))
    return [
        Section(
            "throughput",
            "Batches",
            "How fast are batches made?",
            "Batches are made of random windows, with no model behind them: what is left of a step's "
            "time for data if nothing else were to do. Counting is what the tables on sampling rest "
            "on: the visits of every target, exactly.",
            tables=shown,
            missing="" if shown else missing(run, "throughput", "timing of batches"),
        )
    ]


def loading(frame: pd.DataFrame) -> Table:
    """Return the ways to make batches, each against gathering whole ones from memory."""
    base = frame[frame["source"].eq("memory") & frame["way"].eq("gather")]
    rows = []
    for _, case in frame.iterrows():
        rate, low, high = rates(case)
        row = (
            words.loading(case["source"], case["way"]),
            words.si(rate, ""),
            f"{words.si(low, '')} to {words.si(high, '')}",
            words.number(case["rounds"]),
            words.number(case["bytes_per_token"]),
        )
        against = (words.MISSING, words.MISSING)
        if not base.empty:
            ratio, least, most = ratio_of_rates(case, base.iloc[0])
            against = (words.number(ratio), f"{words.number(least)} to {words.number(most)}")
        rows.append((*row, *(("1", "") if case["case"] in set(base["case"]) else against)))
    columns = (
        "Way", "Tokens/s#", "Slowest to fastest round#", "Rounds#", "Bytes/token#",
        "Against whole batches from memory#", "Extremes over rounds#",
    )  # fmt: skip
    caption = "Making batches, without a model; separate cases, one after the other."
    return table(caption, columns, rows)


def ledger(frame: pd.DataFrame) -> Table:
    """Return how long it takes to count the visits of all targets."""
    rows = [
        (
            words.number(case["ledger_tokens"]),
            words.number(case["draws"]),
            words.si(case["time_s"], "s"),
            f"{words.si(case['time_min_s'], 's')} to {words.si(case['time_max_s'], 's')}",
            words.number(case["rounds"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = ("Tokens of the text", "Windows drawn#", "Time#", "Fastest to slowest#", "Rounds#")
    return table("Counting what windows show, exactly: time of one count.", columns, rows)
