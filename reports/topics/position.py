"""Whether the test part, at the end of a text, is like the rest of the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gptcore.plain_text import shorten
from reports import drawing, line_charts, row_charts, words
from reports.blocks import (
    Finding,
    Plotter,
    Section,
    Table,
    by_setting,
    missing,
    table,
    titled,
)
from reports.claims import Claim, apart
from reports.load import Run, over


def tail_profile(profile: pd.DataFrame) -> Figure:
    """Draw how well the rest of the text predicts each block; the last one is marked.

    Args:
        profile: blocks with columns `version` (raw or cleaned), `where` (middle of the block, as a
            share of the text), `unigram`, and `mean_unigram` and `sd_unigram` of their version.
    """
    versions = list(dict.fromkeys(profile["version"]))
    titles = [f"{each}: unigram cross-entropy, nats/token" for each in versions]
    figure, panels = line_charts.panels(titles, 104, columns=1)
    for axes, version in zip(panels, versions, strict=True):
        rows = profile[profile["version"] == version].sort_values("where")
        mean, sd = rows[["mean_unigram", "sd_unigram"]].iloc[0]
        if pd.notna(mean) and pd.notna(sd):
            axes.axhspan(mean - sd, mean + sd, color=drawing.COLOURS[6], alpha=0.25, linewidth=0)
            axes.axhline(mean, color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.plot(rows["where"], rows["unigram"], color=drawing.COLOURS[0])
        tail = (rows["where"].iloc[-1], rows["unigram"].iloc[-1])
        axes.plot(*tail, "D", color=drawing.COLOURS[1], markersize=8, clip_on=False)
        axes.margins(y=0.3)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(0, 1)
        drawing.percent_axis(axes.xaxis)
    low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes, version in zip(panels, versions, strict=True):
        axes.set_ylim(min(low), max(high))
        line = profile.loc[profile["version"] == version].sort_values("where")
        along = list(zip(line["where"], line["unigram"], strict=True))
        line_charts.name_points(axes, along[-1:], ["test part"], along)
    panels[-1].set_xlabel("middle of the block, share of the text")
    return figure


def folds_figure(folds: pd.DataFrame) -> Figure:
    """Draw the test loss on each fold: a mark for each seed, with its interval over the text."""
    means = folds.groupby("split", sort=False)["final_test_loss"].transform("mean")
    marks = pd.DataFrame(
        {
            "label": [words.sentence(fold(split)).removesuffix(".") for split in folds["split"]],
            "text": means.map(words.loss),
            "value": folds["final_test_loss"],
            "low": folds["final_test_loss_low"],
            "high": folds["final_test_loss_high"],
        }
    )
    return row_charts.dots(marks, "test loss, nats/token", words.tick, log=False)


UNUSUAL_Z = 2.0


def tail_z(case: pd.Series) -> float:
    """Return how many standard deviations the last block lies above the mean of all blocks."""
    if not case["sd_unigram"] > 0:
        return float("nan")
    return float(over(case["tail_unigram"] - case["mean_unigram"], case["sd_unigram"]))


def placed_ends(position: pd.DataFrame) -> pd.DataFrame:
    """Return the texts whose end can be placed among their blocks, with `z`; cleaned ones first."""
    z = [tail_z(case) for _, case in position.iterrows()]
    known = position.assign(z=np.array(z, dtype=float), is_raw=position["raw"].eq(True))
    known = known[known[["z", "rank_unigram", "n_blocks"]].notna().all(axis=1)]
    return known.sort_values("is_raw", kind="stable")


def unusual_ends(position: pd.DataFrame) -> Iterator[tuple[Any, bool]]:
    """Yield each text whose end is unlike its other blocks, and whether it is easier to predict."""
    for _, case in placed_ends(position).drop_duplicates("corpus").iterrows():
        if _is_unusual(case) and not _disagree(case):
            yield case["corpus"], bool(case["z"] < 0)


def find(run: Run) -> Iterator[Finding]:
    """Say of each text whether the block at its end is like the other blocks."""
    known = placed_ends(run.cases("position"))
    for corpus, versions in known.groupby("corpus", sort=False, dropna=False):
        case = versions.iloc[0]
        raw = versions[versions["is_raw"]].head(0 if case["is_raw"] else 1)
        where = apart(case, versions[versions["is_raw"] == case["is_raw"]])
        yield Finding(
            63,
            "position",
            "",
            f"The test part at the end of {words.corpus(corpus)}{where}{_how_unusual(case)}",
            "Predicted from the token frequencies of the rest of the text, it has a cross-entropy "
            f"of {words.loss(case['tail_unigram'])} nats/token; blocks of its size have "
            f"{words.loss(case['mean_unigram'])} ± {words.loss(case['sd_unigram'])} (1\u00a0sd): "
            f"{_place(case)}. "
            f"{_consequence(case)}{''.join(_before(row) for _, row in raw.iterrows())} "
            "The blocks overlap, so this describes the text. It is not a test and has no p-value.",
            (case["case"], *raw["case"]),
        )


MEASURES = {
    "unigram": "the frequencies of tokens",
    "bigram": "the frequencies of pairs of tokens",
}
"""Measures of how hard a block is to predict, in words; "unigram" is the one of the headline."""


def _is_unusual(case: pd.Series) -> bool:
    return bool(abs(case["z"]) >= UNUSUAL_Z or case["rank_unigram"] in {1, case["n_blocks"]})


def _disagree(case: pd.Series) -> bool:
    """Return whether one of mean and rank says harder, and the other easier."""
    return bool((case["z"] > 0) != (case["rank_unigram"] < (case["n_blocks"] + 1) / 2))


def _how_unusual(case: pd.Series) -> str:
    """Return what the ranks by both measures bear out of "harder", "easier" or "not unusual"."""
    version = "" if not case["is_raw"] else ", uncleaned,"
    middle, n = (case["n_blocks"] + 1) / 2, case["n_blocks"]
    holds: Callable[[float], bool]
    if not _is_unusual(case):
        sentence, holds = "is not unusual for this text", lambda rank: 1 < rank < n
    elif case["z"] > 0:
        sentence, holds = "is harder to predict than most of the text", lambda rank: rank < middle
    else:
        sentence, holds = "is easier to predict than most of the text", lambda rank: rank > middle
    known = [name for name in MEASURES if pd.notna(case[f"rank_{name}"])]
    claim = Claim(
        sentence,
        known,
        lambda name: bool(holds(case[f"rank_{name}"])),
        lambda name: f"by {MEASURES[name]}",
    )
    return f"{version} {claim.text or 'is not shown to be unusual by either count of tokens'}"


def _place(case: pd.Series) -> str:
    n_blocks = words.number(case["n_blocks"])
    rank = words.number(case["rank_unigram"])
    return f"z = {words.signed(case['z'], 2)}, rank {rank} of {n_blocks} (1 is the hardest)"


def _consequence(case: pd.Series) -> str:
    if not _is_unusual(case):
        return "A loss measured there may represent the text, as far as token counts can tell."
    if _disagree(case):
        return "The mean and the rank disagree on whether it is harder, so neither is claimed."
    word = "worse" if case["z"] > 0 else "better"
    return f"A loss measured there alone looks {word} than a loss on the rest of the text would."


def _before(raw: pd.Series) -> str:
    share = words.percent(raw["boilerplate_share_of_test"])
    return f" Before cleaning: {_place(raw)}, and {share} of the test part was boilerplate."


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return whether the end of each text, where the test part lies, is like the rest of it."""
    cases = run.cases("position")
    cases = cases.assign(version=cases["raw"].map(version))
    columns = ["case", "version", "n_tokens", "mean_unigram", "sd_unigram"]
    profile = run.series("position", "position_profile")
    plots = []
    for setting, (part, blocks) in by_setting(plot, cases, profile):
        blocks = blocks.merge(part[columns], on="case")
        blocks = blocks.assign(
            where=over((blocks["start"] + blocks["stop"]) / 2, blocks["n_tokens"])
        )
        plots += plot(
            tail_profile, blocks.dropna(subset=["where", "unigram"]),
            "How well the rest of the text predicts each block",
            "Higher is harder to predict. Dotted line and band: mean and one standard deviation "
            f"over all blocks, which overlap. {setting}.",
            "Unigram cross-entropy by position in the text.",
            {"version": "Text", "start": "From token", "stop": "To token",
             "unigram": ("Cross-entropy", words.loss)},
        )  # fmt: skip
    tables = [position(cases)] if len(cases) else []
    for setting, (part,) in by_setting(plot, run.cases("fold")):
        tables.append(titled(folds(part), setting))
        scored = part.dropna(subset=["final_test_loss"])
        plots += plot(
            folds_figure, scored, "The loss on each fold of the text",
            "Marks: one seed each. Lines: 95 % interval over the text. Folds whose lines do not "
            f"overlap differ by more than the choice of their targets explains. {setting}.",
            "Test loss on each fold of the text.",
            {"split": ("Tested on", fold), "seed": "Seed", "final_test_loss": ("Loss", words.loss),
             "final_test_loss_low": ("From", words.loss),
             "final_test_loss_high": ("To", words.loss)},
        )  # fmt: skip
    return [
        Section(
            "position",
            "Test part",
            "Is the test part special?",
            "The test part is the end of the text. A block of its size is moved along the text, "
            "and at each position it is scored by the token counts of all other text. If the end "
            "stands out, a test loss measured there alone does not represent the text. The folds "
            "repeat this with trained models: each block of the text is left out of training once.",
            plots,
            tables,
            missing=missing(run, "position", "profile of a text") if cases.empty else "",
        )
    ]


def position(frame: pd.DataFrame) -> Table:
    """Return how the last block of each text compares with the others of its size."""
    rows = []
    for _, case in frame.iterrows():
        n_blocks = words.number(case["n_blocks"])
        ranks = [
            f"{_in_unit(name, case[f'tail_{name}'])} ({words.number(case[f'rank_{name}'])})"
            for name in ("unigram", "bigram", "js", "unseen")
        ]
        mean, sd = words.loss(case["mean_unigram"]), words.loss(case["sd_unigram"])
        rows.append(
            (
                f"{words.corpus(case['corpus'])}, {version(case['raw'])}",
                n_blocks,
                ranks[0],
                f"{mean} ± {sd}",
                words.signed(tail_z(case), 2),
                *ranks[1:],
                words.number(case["boilerplate_tokens"]),
                words.percent(case["boilerplate_share_of_test"]),
            )
        )
    columns = (
        "Text", "Blocks#", "Unigram#", "All blocks, mean ± sd#", "z#", "Bigram#", "Divergence#",
        "Unseen tokens#", "Boilerplate tokens#", "Boilerplate in the test part#",
    )  # fmt: skip
    caption = (
        "The last block of each text. In brackets: its rank among all blocks; 1 is the highest."
    )
    note = (
        "Unigram and bigram: cross-entropy in nats/token. Divergence: Jensen-Shannon, of the "
        "token frequencies, in nats. All are computed against the rest of the text."
    )
    return table(caption, columns, rows, note=note)


def folds(frame: pd.DataFrame) -> Table:
    """Return the loss on each fold of a text of models that did not train on it."""
    rows = [
        (
            fold(split),
            words.number(len(cases)),
            words.loss(cases["final_test_loss"].mean()),
            f"{words.loss(cases['final_test_loss'].min())} to "
            f"{words.loss(cases['final_test_loss'].max())}",
            f"{words.loss(cases['final_test_loss_low'].mean())} to "
            f"{words.loss(cases['final_test_loss_high'].mean())}",
            words.number(cases["bits_per_byte"].mean()),
            words.loss(cases["unigram_test_loss"].mean()),
            words.number(cases["shared_13grams"].max()),
        )
        for split, cases in frame.groupby("split", sort=False, dropna=False)
    ]
    columns = (
        "Tested on", "Seeds#", "Test loss#", "Lowest to highest seed#", "95 % interval#",
        "Bits/byte#", "Unigram counts#", "13-grams shared#",
    )  # fmt: skip
    caption = "Small models for each fold of the text, scored on every token of the block left out."
    note = (
        "Losses in nats/token, means over seeds. The interval is of the mean over a much longer "
        "text of this kind, of which the block is a part. Differences between folds that are no "
        "larger than those between seeds may be the noise of training."
    )
    return table(caption, columns, rows, note=note)


def version(raw: object) -> str:
    """Return the word for a text before or after cleaning."""
    return {"True": "raw", "False": "cleaned"}.get(str(raw), "cleaning not recorded")


def fold(split: object) -> str:
    """Return a split such as "block:2/5" in words."""
    block = re.fullmatch(r"block:(\d+)/(\d+)", str(split))
    return f"block {block[1]} of {block[2]}" if block else shorten(str(split))


def _in_unit(name: str, value: float) -> str:
    return words.percent(value) if name == "unseen" else words.loss(value)
