"""One run → the section on other implementations and on single optimisations."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from bench.ledger.record import Record
from gptcore import plain_text
from reports import row_charts, words
from reports.blocks import IN_TURNS, ONE_PROCESS, Plotter, Section, Table, table
from reports.claims import verdict
from reports.load import Run
from reports.numbers import Heading
from reports.topics.peers import findings

MAX_DRAWN = 14
"""Pairs in one figure at most; the tables hold all pairs."""


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how gptcore compares with others and without its parts; no section without either."""
    peers, pieces = (findings.compared(run, group) for group in findings.PAIRS)
    peaks, lost = findings.peaks(run), findings.lost(run)
    if peers.empty and pieces.empty and peaks.empty and not lost:
        return []
    plots = [
        *plot(
            ratios_figure, peers.head(MAX_DRAWN), "Other implementations",
            "Time of the other over time of gptcore. Right of 1: gptcore is faster. "
            f"{row_charts.MARKS}",
            "Time of other implementations over that of gptcore.", RATIOS,
        ),
        *plot(
            ratios_figure, pieces.head(MAX_DRAWN), "What each optimisation gains",
            "Time without an optimisation over time with all. Right of 1: the optimisation gains. "
            "Each row leaves out one; the nanoGPT-style model and the plain model lack several. "
            f"{row_charts.MARKS}",
            "Time without each optimisation over time with all.", RATIOS,
        ),
    ]  # fmt: skip
    names = zip(peaks["device"], peaks["variant"], strict=True)
    memory = dict(zip(names, peaks["times_ours"], strict=True))
    tables = [
        *([pairs_table(peers)] if not peers.empty else []),
        *([ablation_table(pieces, memory)] if not pieces.empty else []),
        *([peaks_table(peaks)] if not peaks.empty else []),
        *([lost_table(lost)] if lost else []),
    ]
    return [
        Section(
            "peers",
            "Peers",
            "How does gptcore compare with other implementations?",
            "All implementations start from the same weights and work on the same batches, with "
            "the same gradient clipping and AdamW. Their logits, and their losses after updates, "
            "were compared before timing. Each is timed in turns with gptcore. A ratio divides its "
            "time by that of gptcore: above 1, gptcore is faster.",
            plots,
            tables,
            missing="" if plots or tables else "Nothing was compared in this run.",
        )
    ]


RATIOS: dict[str, Heading] = {
    "other": ("Other", findings.label),
    "ratio": ("Ratio", words.ratio),
    "ratio_low": ("From", words.ratio),
    "ratio_high": ("To", words.ratio),
    "pairs": "Pairs",
}
"""The numbers of a figure of ratios."""


def ratios_figure(frame: pd.DataFrame) -> Figure:
    """Draw the ratio of each pair with its interval, beside the margin.

    Args:
        frame: pairs as `findings.compared` returns them.
    """
    several = len({_ours(case) for _, case in frame.iterrows()}) > 1
    labels = [
        findings.label(f"{case['other']}; gptcore: {_short(case)}" if several else case["other"])
        for _, case in frame.iterrows()
    ]
    shown = pd.DataFrame(
        {
            "label": labels,
            "value": frame["ratio"].to_numpy(),
            "low": frame["ratio_low"].to_numpy(),
            "high": frame["ratio_high"].to_numpy(),
            "margin": frame["margin_ratio"].to_numpy(),
            "kind": [verdict(case) for _, case in frame.iterrows()],
        }
    )
    subject = "" if several else f", {frame['what'].iloc[0]}"
    return row_charts.forest(shown, f"time of the other over gptcore{subject}")


def _short(case: pd.Series) -> str:
    base = case["base"] if isinstance(case["base"], dict) else {}
    device = (
        "" if base.get("device") == "cpu" else f", {plain_text.shorten(str(base.get('device')))}"
    )
    return (
        f"{words.work(base.get('work'))}, {plain_text.shorten(str(base.get('precision')))}{device}"
    )


def _cells(case: pd.Series) -> tuple[str, ...]:
    known = pd.notna(case["ratio_low"]) and pd.notna(case["ratio_high"])
    ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
    return (words.ratio(case["ratio"]), ends if known else words.MISSING)


def _ours(case: pd.Series) -> str:
    """Return what gptcore did: "training step, Model 5, cpu, fp32, B = 1, T = 256"."""
    base = case["base"] if isinstance(case["base"], dict) else {}
    of = words.base_conditions(case["base"])
    return f"{words.work(base.get('work'))}, {of}" if of else words.work(base.get("work"))


def pairs_table(frame: pd.DataFrame) -> Table:
    """Return every peer with its ratio, its interval and the verdict on gptcore."""
    rows = [
        (
            findings.label(case["other"]),
            words.sentence(_ours(case)).removesuffix("."),
            *_cells(case),
            findings.outcome(verdict(case)),
            words.steadiness(case["caution"]),
            words.si(case["b_time_s"], "s"),
            words.si(case["a_time_s"], "s"),
            words.number(case["pairs"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = (
        "Other", "Case of gptcore", "Ratio#", "95 % interval#", "Verdict", "Caution",
        "Time of the other#", "Time of gptcore#", "Pairs#",
    )  # fmt: skip
    caption = "Other implementations: their time over the time of gptcore."
    return table(caption, columns, rows, note=f"{IN_TURNS} {ONE_PROCESS}")


def ablation_table(frame: pd.DataFrame, memory: dict[tuple[str, str], float]) -> Table:
    """Return what a step takes without each optimisation.

    Args:
        frame: pairs of gptcore and gptcore without something.
        memory: (device, variant) → its peak memory over that of gptcore, where it was read.
    """
    subjects = dict.fromkeys(_ours(case) for _, case in frame.iterrows())
    several = len(subjects) > 1
    rows = [
        (
            findings.label(case["other"]),
            *([words.sentence(_ours(case)).removesuffix(".")] if several else []),
            *_cells(case),
            findings.outcome(verdict(case)),
            words.steadiness(case["caution"]),
            words.number(case["pairs"]),
            *([words.ratio(memory.get(_place(case)))] if memory else []),
        )
        for _, case in frame.iterrows()
    ]
    peak = ("Ratio of peak memory#",) if memory else ()
    ours = ("Case of gptcore",) if several else ()
    columns = (
        "Variant",
        *ours,
        "Ratio of times#",
        "95 % interval#",
        "Verdict",
        "Caution",
        "Pairs#",
        *peak,
    )
    caption = (
        "What each optimisation gains: ratios to gptcore with all of them. "
        f"{words.sentence('; '.join(subjects))}"
    )
    return table(caption, columns, rows)


def _place(case: pd.Series) -> tuple[str, str]:
    base = case["base"] if isinstance(case["base"], dict) else {}
    return str(base.get("device")), str(case["variant"])


def peaks_table(frame: pd.DataFrame) -> Table:
    """Return the peak memory of a forward and backward pass of each variant."""
    rows = [
        (
            findings.label(findings.name(case["variant"])),
            words.conditions(case),
            words.size(case["base_bytes"]),
            words.size(case["peak_bytes"]),
            words.ratio(case["times_ours"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = (
        "Implementation",
        "Conditions",
        "Held between calls#",
        "Peak beyond it#",
        "Ratio to gptcore#",
    )
    caption = "Peak memory of a forward and backward pass, each measured in a new process."
    return table(caption, columns, rows)


def lost_table(records: Iterable[Record]) -> Table:
    """Return what was not compared, and why."""
    rows = [
        (
            plain_text.shorten(str(r["case"]).removeprefix(findings.MODULE), 90),
            plain_text.shorten(str(r["reason"]), 300),
        )
        for r in records
    ]
    return table("Not compared in this run.", ("Case", "Reason"), rows)
