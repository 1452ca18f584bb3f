"""How fast batches are made, and how fast the visits of all targets are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import (
    Finding,
    Plotter,
    Section,
    Table,
    by_setting,
    missing,
    one_after_the_other,
    table,
    titled,
)
from reports.load import Run, largest, over


def rates(case: pd.Series) -> tuple[float, float, float]:
    """Return tokens per second in the median, the slowest and the fastest round."""
    tokens = case["tokens_per_s"] * case["time_s"]
    return case["tokens_per_s"], over(tokens, case["time_max_s"]), over(tokens, case["time_min_s"])


def ratio_of_rates(case: pd.Series, base: pd.Series) -> tuple[float, float, float]:
    """Return how many times faster `case` is than `base`, and the extremes over the rounds."""
    (middle, low, high), (base_middle, base_low, base_high) = rates(case), rates(base)
    return over(middle, base_middle), over(low, base_high), over(high, base_low)


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
        _, low, high = ratio_of_rates(gather, loader)
        how, ours, theirs, ends = one_after_the_other(
            gather["tokens_per_s"], loader["tokens_per_s"], low, high, ""
        )
        claim = f"was {how} than" if how else "showed no clear difference in time from"
        yield Finding(
            45,
            "throughput",
            "",
            f"Gathering whole batches from memory {claim} torch's DataLoader",
            f"{ours} against {theirs} tokens/s.{ends} The two cases were timed one "
            "after the other, in one process without workers, so no confidence interval is given. "
            f"Conditions: {setting}.{_share_of_step(run)}",
            (gather["case"], loader["case"]),
        )


def _share_of_step(run: Run) -> str:
    """Say which share of a step the batch is: more than that no loader can gain."""
    for _, case in largest(run.cases("model"), "step", "data_s").iterrows():
        share = over(case["data_s"], case["time_s"])
        return (
            f" Assembling the batch takes {words.percent(share)} of a training step of "
            f"{words.model(case['model'])}: no way to load can gain more than that there."
        )
    return ""


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how fast batches are made, and how fast their visits are counted."""
    timed = run.cases("throughput")
    timed = timed[timed["time_s"].gt(0)]
    counted = timed["ledger_tokens"].notna()
    loaded = by_setting(plot, timed[~counted])
    shown = [titled(loading(part), setting) for setting, (part,) in loaded]
    if counted.any():
        shown.append(counting(timed[counted]))
    return [
        Section(
            "throughput",
            "Batches",
            "How fast are batches made?",
            "Batches of random windows are made without a model, so that the time for data stands "
            "alone. The tables on sampling rest on an exact count of the visits of every target; "
            "the time of such a count is measured as well.",
            tables=shown,
            missing="" if shown else missing(run, "throughput", "timing of batches"),
        )
    ]


def loading(frame: pd.DataFrame) -> Table:
    """Return the ways to make batches, each compared with gathering whole ones from memory."""
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
        "Ratio to whole batches from memory#", "Range over rounds#",
    )  # fmt: skip
    caption = (
        "Batches made without a model. The cases were timed one after the other. Ratios are taken "
        "from unrounded rates."
    )
    return table(caption, columns, rows)


def counting(frame: pd.DataFrame) -> Table:
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
    columns = (
        "Tokens of the text",
        "Windows drawn#",
        "Time#",
        "Fastest to slowest round#",
        "Rounds#",
    )
    return table("Time of one exact count of the visits of all targets.", columns, rows)
