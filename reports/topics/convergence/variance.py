"""Where the variance of the final test loss comes from: initial weights, order, test part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports import words
from reports.blocks import Finding, Table, dicts, table
from reports.claims import apart, listed
from reports.conditions import conditions, experiment


def find(cases: pd.DataFrame, parts: pd.DataFrame, training: pd.DataFrame) -> Iterator[Finding]:
    """Say of each experiment of crossed runs which share of the variance each factor brings."""
    crossed = cases[cases["case"].isin(parts["case"])]
    for _, case in crossed.iterrows():
        rows = parts[parts["case"].eq(case["case"]) & parts["share"].notna()]
        if rows.empty:
            continue
        alone = rows[~rows["source"].str.contains(" with ")]
        shares = listed(f"{_share(row)} from the {row['source']}" for row in dicts(alone))
        n = words.count(int(case["n_runs"]), "crossed run")
        headline = (
            f"The variance of the test loss over {n}{apart(case, crossed)} comes to {shares} "
            f"alone,{conditions(case, training)}"
        )
        yield Finding(54, "convergence", "", headline, _detail(case, rows), (case["case"],))


def _share(row: Any) -> str:
    return (
        f"{_percent(row['share'])} ({_percent(row['share_low'])} to {_percent(row['share_high'])})"
    )


def _percent(share: float) -> str:
    """Return a share in whole per cent: crossed runs are few, so no digit behind it is known."""
    return words.MISSING if words.is_missing(share) else f"{100 * share:.0f}{words.NBSP}%"


def _detail(case: pd.Series, rows: pd.DataFrame) -> str:
    text = (
        f"Standard deviation over all runs: {words.number(case['sd_loss'])} nats/token. The ranges "
        "are 95 % intervals for normal effects; they are no tests, and an interval that begins at "
        "0 shows nothing of its factor."
    )
    for row in dicts(rows):
        if row["share_low"] == 0 and pd.notna(row["detectable_sd"]):
            text += (
                f" A standard deviation of {words.number(row['detectable_sd'])} by the "
                f"{row['source']} would have been found in 80 % of the cases."
            )
    return text


def shown(cases: pd.DataFrame, parts: pd.DataFrame) -> list[Table]:
    """Return a table for each experiment of crossed runs."""
    crossed = cases[cases["case"].isin(parts["case"])]
    return [_table(case, parts[parts["case"].eq(case["case"])]) for _, case in crossed.iterrows()]


def _table(case: pd.Series, parts: pd.DataFrame) -> Table:
    rows = [
        (
            str(row["source"]),
            words.number(row["levels"]),
            "0, estimated below 0" if row["variance"] < 0 else words.number(row["sd"]),
            f"{words.number(row['sd_low'])} to {words.number(row['sd_high'])}",
            _percent(row["share"]),
            f"{_percent(row['share_low'])} to {_percent(row['share_high'])}",
            words.number(row["detectable_sd"]),
        )
        for row in dicts(parts)
    ]
    columns = (
        "Source", "Levels#", "Sd, nats/token#", "95 % interval#", "Share of the variance#",
        "95 % interval of the share#", "Least sd found#",
    )  # fmt: skip
    caption = (
        f"Where the variance of the final test loss comes from: {words.number(case['n_runs'])} "
        f"crossed runs of {experiment(case)}, mean {words.loss(case['mean_loss'])}, "
        f"sd {words.number(case['sd_loss'])} nats/token."
    )
    note = (
        "Every level of a factor was trained with every level of the others, once. Factors that "
        "stand together: what they do beyond each alone; the last of them holds all that is left. "
        "The intervals suppose normal effects. Least sd found: at the 5 % level in 80 % of the "
        "cases."
    )
    return table(caption, columns, rows, note=note)
