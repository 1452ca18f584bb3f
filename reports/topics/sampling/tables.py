"""Tables of coverage, of replacement and grid (the 2 x 2), and of scarce text."""

from __future__ import annotations

import pandas as pd

from reports import words
from reports.blocks import Table, table
from reports.labels import SAMPLER_MEANINGS
from reports.load import over
from reports.topics.sampling.frames import missed_share


def meanings(frame: pd.DataFrame) -> Table:
    """Return what each sampler does, in words."""
    names = [str(name) for name in dict.fromkeys(frame["sampler"]) if name in SAMPLER_MEANINGS]
    rows = [(words.sampler(name), words.sentence(SAMPLER_MEANINGS[name])) for name in names]
    caption = "What each sampler does. A block is as long as a window."
    return table(caption, ("Sampler", "What it does"), rows)


def coverage(frame: pd.DataFrame) -> Table:
    """Return observed against expected, per sampler and length of training."""
    rows = []
    for _, case in frame.iterrows():
        share = over(case["missed_targets"], case["train_tokens"] - 1)
        visits = [words.number(case[f"visits_{name}"]) for name in ("min", "mean", "max")]
        rows.append(
            (
                case["variant"],
                words.number(case["epochs"]),
                words.number(case["missed_targets"]),
                words.percent(share),
                words.number(case["expected_missed_targets"]),
                words.number(case["sd_missed_targets"]),
                words.signed(case["z_missed_targets"], 2),
                " / ".join(visits),
                words.percent(case["alignment_coverage"]),
            )
        )
    columns = (
        "Sampler", "Epochs#", "Missed#", "Share#", "Expected#", "sd#", "z#",
        "Visits min / mean / max#", "Start coverage#",
    )  # fmt: skip
    return table(
        "Targets missed, observed beside the exact expectation; each row is one seed.",
        columns,
        rows,
    )


def two_by_two(cells: pd.DataFrame) -> Table:
    """Return the 2 x 2 for each length of training: replacement in rows, grid in columns.

    Args:
        cells: complete ones of one setting, from `frames.two_by_two`.
    """
    rows = []
    frame = cells.assign(share=missed_share(cells), targets=cells["train_tokens"] - 1)
    for (epochs, replacement), pair in frame.groupby(["target_epochs", "replacement"]):
        length = f"{words.tick(epochs)} epoch{'' if epochs == 1 else 's'}"
        row = [f"{length}, {'with' if replacement else 'without'} replacement"]
        for _, cell in pair.sort_values("grid", ascending=False).iterrows():
            row += [
                words.percent(cell["share"]),
                words.percent(over(cell["expected_missed_targets"], cell["targets"])),
                words.signed(cell["z_missed_targets"], 2),
                words.percent(cell["alignment_coverage"]),
            ]
        rows.append(tuple(row))
    columns = (
        "Epoch-equivalents", "Fixed grid: missed#", "Expected#", "z#", "Start coverage#",
        "Free starts: missed#", "Expected#", "z#", "Start coverage#",
    )  # fmt: skip
    caption = (
        "Replacement and grid: share of targets missed, and start coverage (distinct starts drawn "
        "over possible starts); one seed each."
    )
    return table(caption, columns, rows)


def scarce_text(frame: pd.DataFrame) -> Table:
    """Return what the same number of training tokens shows of less text, for each sampler."""
    rows = []
    for variant, cases in frame.groupby("variant", sort=False):
        for _, case in cases.iterrows():
            targets = case["train_tokens"] - 1
            visits = [words.number(case[f"visits_{name}"]) for name in ("min", "mean", "max")]
            rows.append(
                (
                    f"{variant}, {words.text_share(case['text_share'])}",
                    words.number(float(f"{case['epochs'] * targets:.0f}")),
                    words.number(case["epochs"]),
                    words.number(case["missed_targets"]),
                    words.percent(over(case["missed_targets"], targets)),
                    " / ".join(visits),
                    words.percent(over(case["repeated_windows"], case["draws"])),
                    words.percent(case["alignment_coverage"]),
                )
            )
    columns = (
        "Sampler, share of the text", "Training tokens#", "Epochs#", "Missed#", "Share#",
        "Visits min / mean / max#", "Repeated windows#", "Start coverage#",
    )  # fmt: skip
    caption = (
        "Scarce text: about the same number of training tokens from less of the training part."
    )
    return table(caption, columns, rows)
