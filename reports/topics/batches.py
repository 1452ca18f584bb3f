"""How fast batches are made, and how fast the visits of all targets are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports import row_charts, words
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
from reports.claims import Claim, apart, listed
from reports.load import Run, largest, over, share_of_step

LOADERS = {"dataloader": "without workers", "workers": "with workers"}


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
    rows = list(_against_loaders(timed))
    if not rows:
        return
    first, claim = rows[0], "Gathering whole batches from memory"
    headline = f"{claim} showed no clear difference in time from {listed(map(_loader, rows))}"
    for direction in ("slower", "faster"):
        headline = _in_one_direction(claim, rows, direction) or headline
    yield Finding(
        45,
        "throughput",
        "",
        f"{headline}{_share_of_step(run)}",
        f"{first['ours']} against {first['theirs']} tokens/s from {_loader(first)}."
        f"{first['ends']} The cases were timed one after the other, so no confidence interval is "
        f"given. Conditions: {first['setting']}. No way to load can gain more than the "
        "share of a training step that assembling a batch takes.",
        (first["gather"], *(row["case"] for row in rows[:3])),
    )


def _in_one_direction(claim: str, rows: list[dict[str, Any]], direction: str) -> str:
    """Return the claim on the loaders that are beaten in this direction, "" where none is."""
    held = [row["factor"] for row in rows if row["direction"] == direction]
    ends = " to ".join(dict.fromkeys(map(words.number, sorted(held)[:: max(1, len(held) - 1)])))
    return Claim(
        f"{claim} was {ends} times {direction}",
        rows,
        lambda row: bool(row["direction"] == direction),
        lambda row: f"than {_loader(row)}",
    ).text


def _against_loaders(timed: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield each DataLoader beside whole batches of its setting, those without workers first."""
    pairs = timed[timed["way"].eq("gather")].drop_duplicates("setting")
    loaders = timed[timed["way"].isin(list(LOADERS))].merge(
        pairs, on="setting", suffixes=("", "_gather")
    )
    for _, loader in loaders.sort_values("way", kind="stable").iterrows():
        gather = timed[timed["case"] == loader["case_gather"]].iloc[0]
        _, low, high = ratio_of_rates(gather, loader)
        rates_of_both = gather["tokens_per_s"], loader["tokens_per_s"]
        how, ours, theirs, ends = one_after_the_other(*rates_of_both, low, high, "")
        yield {
            "case": loader["case"],
            "gather": gather["case"],
            "way": loader["way"],
            "where": apart(loader, loaders[loaders["way"] == loader["way"]]),
            "setting": loader["setting"],
            "factor": over(max(rates_of_both), min(rates_of_both)),
            "direction": how.rpartition(" ")[2],
            "ours": ours,
            "theirs": theirs,
            "ends": ends,
        }


def _loader(row: dict[str, Any]) -> str:
    return f"torch's DataLoader {LOADERS[row['way']]}{row['where']}"


def _share_of_step(run: Run) -> str:
    """Say which share of a step the batch is, as the end of a sentence."""
    for _, case in largest(run.cases("model"), "step", "data_s").iterrows():
        share = share_of_step(case, "data_s")
        return f"; a batch takes {words.percent(share)} of a step of {words.model(case['model'])}"
    return ""


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how fast batches are made, and how fast their visits are counted."""
    timed = run.cases("throughput")
    timed = timed[timed["time_s"].gt(0)]
    counted = timed["ledger_tokens"].notna()
    loaded = by_setting(plot, timed[~counted])
    shown, plots = [], []
    for setting, (part,) in loaded:
        shown.append(titled(loading(part), setting))
        plots += plot(
            speeds_figure, speeds(part), "How fast batches are made",
            f"Dots: median. Lines: slowest to fastest round. The axis is logarithmic. {setting}.",
            "Tokens per second of each way to make batches.",
            {"label": "Way", "value": ("Tokens/s", _rate), "low": ("Slowest round", _rate),
             "high": ("Fastest round", _rate), "rounds": "Rounds"},
        )  # fmt: skip
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
            plots=plots,
            tables=shown,
            missing="" if shown else missing(run, "throughput", "timing of batches"),
        )
    ]


def speeds(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the tokens per second of each way to make batches, as `row_charts.dots` takes it."""
    found = [rates(case) for _, case in cases.iterrows()]
    middle, low, high = zip(*found, strict=True) if found else ((), (), ())
    return cases.assign(
        label=[words.loading(case["source"], case["way"]) for _, case in cases.iterrows()],
        text=[f"{words.si(rate, '')} tokens/s" for rate in middle],
        value=middle,
        low=low,
        high=high,
    )


def speeds_figure(marks: pd.DataFrame) -> Figure:
    """Draw the tokens per second of each way to make batches."""
    return row_charts.dots(marks, "tokens/s (logarithmic)")


def _rate(value: float) -> str:
    return words.si(value, "")


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
