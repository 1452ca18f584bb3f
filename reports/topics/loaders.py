"""What a real DataLoader showed, beside the sampler that stands for it; and what packing crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gptcore import plain_text
from reports import row_charts, words
from reports.blocks import Finding, Plotter, Section, Table, by_setting, table, titled
from reports.claims import Claim, extent
from reports.load import Run

LOADERS = {"sequential": "unshuffled", "shuffled_blocks": "shuffled"}
PACKINGS = {
    "concatenate": "joined and cut",
    "greedy_pad": "in order, padded",
    "greedy_crop": "in order, cropped",
    "best_fit_crop": "best fit, cropped",
}
MOST_SD = 3.0
"""A number of missed targets within so many standard deviations of its expectation agrees."""


def find(run: Run) -> list[Finding]:
    """Return what the DataLoaders showed alone, and what the audit of training found."""
    audits = {r["case"]: r["facts"].get("audit") for r in run.finished}
    return [*promised(run.cases("dataloader")), *audited(run.cases("convergence"), audits)]


def promised(loaders: pd.DataFrame) -> Iterator[Finding]:
    """Say of each text which DataLoaders miss and repeat as much as their samplers."""
    known = loaders[loaders["sampler_missed_targets"].notna()]
    for setting, part in known.groupby("setting", sort=False):
        rows = [row for _, row in part.iterrows()]
        where = f"promises on {words.corpus(rows[0]['corpus'])}"
        sentence = f"Torch's DataLoader showed what the sampler that stands for it {where}:"
        text = Claim(sentence, rows, _agrees, _loader).text
        yield Finding(
            44,
            "loaders",
            "",
            text or f"No DataLoader of torch showed what the sampler that stands for it {where}",
            "A promise is kept where the missed targets and the repeated windows are as many as "
            "those of the sampler at as many draws, or the missed targets lie within "
            f"{MOST_SD:g} sd of theory where chance decides them. Conditions: {setting}.",
            tuple(str(row["case"]) for row in rows[:3]),
        )


def audited(training: pd.DataFrame, audits: dict[str, Any]) -> Iterator[Finding]:
    """Say whether the live audit found a fault in what a DataLoader gave to training."""
    frame = training[training["audited_draws"].notna()]
    if frame.empty:
        return
    faulty = frame[frame["audit_faults"].gt(0)]
    runs = words.count(len(frame), "training run")
    found = f"a fault in what torch's DataLoader gave to {len(faulty)} of {runs}"
    if faulty.empty:
        found = f"no fault in what torch's DataLoader gave to {runs}"
    told = dict.fromkeys(text for case in faulty["case"] for text in _faults(audits.get(case)))
    shown = faulty if len(faulty) else frame
    missed = extent(shown["missed_targets"], words.number)
    kept = sum(_agrees(row) for _, row in frame.iterrows())
    yield Finding(
        56 if len(faulty) else 43,
        "loaders",
        "",
        f"The live audit found {found}",
        f"{' '.join([*list(told)[:3], 'These runs'])} missed {missed} targets. In {kept} of "
        f"{words.count(len(frame), 'run')} the missed targets are as many as theory expects of the "
        "sampler that stands for the DataLoader. Training drops a last batch that is not full, so "
        "its targets are missed. Every batch that training read was looked up in the text.",
        tuple(shown["case"].head(3)),
    )


def _agrees(row: pd.Series) -> bool:
    """Return whether a loader missed as many targets as its sampler, or as theory says."""
    apart = abs(row["missed_targets"] - row["expected_missed_targets"])
    if row["sd_missed_targets"] > 0:
        return bool(apart <= MOST_SD * row["sd_missed_targets"])
    if pd.isna(row["sampler_missed_targets"]):
        return bool(apart < 0.5)
    return bool(
        row["missed_targets"] == row["sampler_missed_targets"]
        and row["repeated_windows"] == row["sampler_repeated_windows"]
    )


def _faults(findings: Any) -> Iterator[str]:
    """Yield the explanations of the faults that an audit found."""
    for finding in findings if isinstance(findings, list) else ():
        if isinstance(finding, dict) and finding.get("severity") == "fault":
            kind = str(finding.get("kind")).replace("_", " ")
            yield plain_text.shorten(f"{kind.capitalize()}: {finding.get('explanation')}", 300)


def _loader(row: pd.Series) -> str:
    kind = LOADERS.get(str(row["sampler"]), plain_text.shorten(str(row["sampler"])))
    dropped = "with" if row["drop_last"] is True else "without"
    length = words.count_of(row["target_epochs"], "epoch")
    return f"{kind} {dropped} drop_last over {length}"


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return what real DataLoaders showed, and what packing documents crops."""
    loaders, training = run.cases("dataloader"), run.cases("convergence")
    loaders = loaders[loaders["missed_targets"].notna()]
    runs = training[training["audited_draws"].notna()]
    packed = run.series("packing", "packing")
    shown = [
        titled(make(part), setting)
        for make, frame in ((coverage, loaders), (audits, runs), (packing, packed))
        for setting, (part,) in by_setting(plot, frame)
    ]
    if not shown:
        return []
    plots = []
    for setting, (part,) in by_setting(plot, loaders):
        plots += plot(
            missed_figure, missed(part), "What each DataLoader missed",
            "Dot: the DataLoader. Square: the sampler that stands for it. Diamond: exact theory. "
            f"Marks that lie below each other agree. {setting}.",
            "Targets that each DataLoader missed, beside its sampler and theory.",
            {"label": "DataLoader", "what": "Counted for", "value": "Targets missed"},
        )  # fmt: skip
    for setting, (part,) in by_setting(plot, packed):
        plots += plot(
            thrown_away_figure, thrown_away(part), "What packing throws away",
            "Dot: tokens that are cropped, as a share of the text. Square: padding, as a share of "
            "the rows. "
            f"{setting}.",
            "Cropped tokens and padding of each packing.",
            {"label": "Packing", "what": "What", "value": ("Share", words.percent)},
        )  # fmt: skip
    return [
        Section(
            "loaders",
            "Loaders",
            "Does a real DataLoader show what its sampler promises?",
            "Two samplers stand for torch's DataLoader in all comparisons. A real one is read here "
            "and, in the training runs that read one, every batch is looked up in the text while "
            "it is trained on. Packing puts whole documents into rows, and crops or pads.",
            plots=plots,
            tables=shown,
        )
    ]


def side_by_side(frame: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return a mark for each of the columns, as `row_charts.dots` takes them; `what` names it."""
    parts = [
        frame[["label", "text"]].assign(what=what, value=frame[name], low=frame[name],
                                        high=frame[name])
        for name, what in columns.items()
    ]  # fmt: skip
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def missed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the missed targets of each DataLoader, of its sampler, and by theory."""
    named = frame.assign(
        label=[_loader(row) for _, row in frame.iterrows()],
        text=frame["missed_targets"].map(words.number),
    )
    columns = {"missed_targets": "DataLoader", "sampler_missed_targets": "its sampler",
               "expected_missed_targets": "theory"}  # fmt: skip
    return side_by_side(named, columns)


def thrown_away(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the cropped and the padded share of each packing."""
    shares = zip(frame["cropped_share"], frame["padding_share"], strict=True)
    named = frame.assign(
        label=[
            f"{PACKINGS.get(str(row['packing']), plain_text.shorten(str(row['packing'])))}, "
            f"T{words.NBSP}{words.number(row['block_size'])}"
            for _, row in frame.iterrows()
        ],
        text=[f"{words.percent(cropped)} and {words.percent(pad)}" for cropped, pad in shares],
    )
    return side_by_side(named, {"cropped_share": "cropped", "padding_share": "padding"})


def missed_figure(marks: pd.DataFrame) -> Figure:
    """Draw what each DataLoader missed, beside its sampler and theory."""
    return row_charts.dots(marks, "targets missed", log=False)


def thrown_away_figure(marks: pd.DataFrame) -> Figure:
    """Draw what each packing crops and pads."""
    return row_charts.dots(marks, "share thrown away", _short_percent, log=False)


def _short_percent(share: float) -> str:
    return f"{100 * share:.3g}{words.NBSP}%"


def coverage(frame: pd.DataFrame) -> Table:
    """Return the counts of each DataLoader beside those of its sampler and of theory."""
    rows = [
        (
            _loader(row),
            words.number(row["draws"]),
            words.number(row["missed_targets"]),
            words.number(row["sampler_missed_targets"]),
            words.number(row["expected_missed_targets"]),
            words.number(row["repeated_windows"]),
            words.number(row["sampler_repeated_windows"]),
        )
        for _, row in frame.iterrows()
    ]
    columns = (
        "torch's DataLoader", "Windows#", "Missed#", "Sampler: missed#", "Theory: missed#",
        "Repeated windows#", "Sampler: repeated#",
    )  # fmt: skip
    return table("Targets that a real DataLoader missed, and windows it repeated.", columns, rows)


def audits(frame: pd.DataFrame) -> Table:
    """Return what the live audit of training counted, for each sampler that a loader follows."""
    rows = []
    for sampler, part in frame.groupby("sampler", sort=False):
        missed, faults = part["missed_targets"], part["audit_faults"]
        rows.append(
            (
                LOADERS.get(str(sampler), plain_text.shorten(str(sampler))),
                words.number(len(part)),
                words.number(part["audited_draws"].sum()),
                extent(missed, words.number),
                words.number(part["expected_missed_targets"].mean()),
                words.number(part["identical_epochs"].max()),
                words.number(faults.sum()),
            )
        )
    columns = (
        "torch's DataLoader", "Runs#", "Windows audited#", "Missed targets#", "Theory: missed#",
        "Passes like an earlier one#", "Faults found#",
    )  # fmt: skip
    return table("What the live audit of the training runs counted.", columns, rows)


def packing(frame: pd.DataFrame) -> Table:
    """Return what each packing of the documents of one text crops and pads."""
    rows = [
        (
            PACKINGS.get(str(row["packing"]), plain_text.shorten(str(row["packing"]))),
            words.number(row["block_size"]),
            words.number(row["rows"]),
            words.percent(row["cropped_share"]),
            words.percent(row["padding_share"]),
            words.number(row["left_over_tokens"]),
            words.number(row["whole_documents"]),
        )
        for _, row in frame.iterrows()
    ]
    columns = (
        "Packing", "T#", "Rows#", "Tokens cropped#", "Padding#", "Tokens left over#",
        "Whole documents#",
    )  # fmt: skip
    caption = "What packing the documents of the text into rows of T + 1 tokens throws away."
    return table(caption, columns, rows)
