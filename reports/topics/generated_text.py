"""What the models wrote along their training, and how it is written.

The form of each text is measured beside slices of the training text (docs/form.md). Only the first
seed of an arm writes texts, one at each evaluation: they show a course, and no difference of arms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from reports import drawing, line_charts, row_charts, words
from reports.blocks import (
    Finding,
    Plotter,
    Section,
    Table,
    Text,
    by_setting,
    dicts,
    first_cases,
    table,
    titled,
)
from reports.claims import extent
from reports.conditions import experiment, series_by_arm
from reports.drawing import LINE_PT, WIDTH_PT
from reports.load import Run

USUAL_Z = 2.0
MOST_LINES = 4
"""Models in one figure at most."""
WHEN = {"before": "before training", "after": "after training"}
CONTROLS = {"unigram": "unigram sampling", "bigram": "bigram sampling"}
"""Texts of tokens drawn by their frequency, and by how often they follow the token before."""


def find(run: Run) -> Iterator[Finding]:
    """Say of each experiment how many measures of form ended near those of the training text."""
    for setting, rows in series_by_arm(run, "form_curve").groupby("setting", sort=False):
        if not _by_run(rows):
            continue
        last = pd.concat(map(_last, _by_run(rows)))
        known = pd.Series([part["z"].notna().sum() for part in _by_run(last)])
        first = pd.concat(part[part["step"] == part["step"].min()] for part in _by_run(rows))
        controls = [
            f"of a text by {name}, {extent(_inside(part), str)}"
            for source, name in CONTROLS.items()
            if len(part := rows[rows["source"] == source])
        ]
        typical = last.drop_duplicates("measure")["usual_share"].dropna()
        yield Finding(
            25,
            "text",
            "",
            f"After training, {extent(_inside(last), str)} of {extent(known, str)} measures of the "
            "form of a text are within |z| < 2 of the training text "
            f"({words.count(len(known), 'run')}); "
            f"{' and '.join(controls) or 'no control text was recorded'}",
            f"Before training: {extent(_inside(first), str)}. A slice of the training text itself "
            f"has {words.number(typical.sum())} of {len(typical)} on average. This rests on one "
            "text of one seed of each arm, so it shows no difference between arms, and it says "
            f"nothing of the meaning. {setting}.",
            tuple(last["case"].drop_duplicates().head(3)),
        )


def _inside(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return of how many measures |z| is known and below USUAL_Z, run by run."""
    return _judged(rows).groupby("case", sort=False)["inside"].sum()


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a column `inside`: |z| is known and below USUAL_Z."""
    return rows.assign(inside=rows["z"].abs() < USUAL_Z)


def _by_run(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of the model's texts, run by run."""
    model = rows[rows["source"].eq("model") & rows["step"].notna()]
    return [part for _, part in model.groupby("case", sort=False)]


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the measures of the last text of one run."""
    return _judged(rows[rows["step"] == rows["step"].max()])


def _control(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the measures of the first control text: each run has that of its training part."""
    return _judged(rows[rows["source"] == source]).drop_duplicates("measure")


def course(frame: pd.DataFrame) -> Figure:
    """Draw |z| of each measure along training; the band holds what is usual in the training text.

    Args:
        frame: points with columns `measure`, `variant`, `step` and `size`; the control texts have
            one point at each end.
    """
    frame = drawing.with_labels(frame)
    names = list(dict.fromkeys(frame["measure"]))
    variants = list(dict.fromkeys(frame["variant"]))
    places = row_charts.flow([drawing.as_label(name, 44) for name in variants], 26)
    titles = [name.replace("_", " ") for name in names]
    figure, grid = line_charts.panels(titles, 58, share_y=True, above=len(places) * LINE_PT + 4)
    top = max(3.0, 1.3 * min(1e6, float(frame["size"].max())))
    for axes, name in zip(grid, names, strict=True):
        axes.axhspan(0, USUAL_Z, color=drawing.COLOURS[6], alpha=0.25, linewidth=0)
        part = frame[frame["measure"] == name]
        for i, variant in enumerate(variants):
            points = part[part["variant"] == variant].sort_values("step")
            axes.plot(points["step"], points["size"], **_look(variant, i))
        axes.set_yscale("symlog", linthresh=USUAL_Z)
        axes.yaxis.set_major_locator(FixedLocator([0, 2, 10, 100, 1000]))
        axes.yaxis.set_major_formatter(lambda value, _: words.tick(value))
        axes.set_ylim(0, top)
        drawing.amount_axis(axes.xaxis, 3)
    figure.supxlabel("updates", y=0.004, fontsize=drawing.FONT_PT)
    height = figure.get_figheight() * 72

    def sample(x: float, y: float, i: int) -> Line2D:
        ends = [x / WIDTH_PT, (x + 13) / WIDTH_PT, (x + 26) / WIDTH_PT]
        look = _look(variants[i], i)
        return Line2D(ends, [y / height] * 3, transform=figure.transFigure, **look)

    row_charts.key(figure, places, sample, 26)
    return figure


def _look(variant: str, i: int) -> dict[str, Any]:
    """Return colour, dashes and marker of a line; control texts have no marker."""
    return {
        "color": drawing.COLOURS[i % drawing.N_COLOURS],
        "linestyle": drawing.dashed(i),
        "linewidth": 1.6,
        "marker": "" if variant in CONTROLS.values() else drawing.MARKERS[i % 8],
        "markersize": 4,
    }


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the points of `course` of one setting: those of the models, then the controls."""
    model = pd.concat([*_by_run(rows), rows.head(0)])
    ends = model["step"].agg(["min", "max"]).tolist()
    controls = [
        _control(rows, source).assign(variant=name, step=end)
        for source, name in CONTROLS.items()
        for end in ends
    ]
    points = pd.concat([model, *controls])
    return points.assign(size=points["z"].abs()).dropna(subset=["step"])


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return the texts of the first run of each arm, and the course of their form."""
    rows = series_by_arm(run, "generated")
    first = rows.drop_duplicates(["setting", "variant"])["case"]
    cases = run.cases("convergence")
    names = {c["case"]: experiment(c) for _, c in cases[cases["case"].isin(first)].iterrows()}
    texts = [
        Text(
            _when(r["when"]),
            f"{r['variant']}, seed {r['seed']}, {names[r['case']]}",
            str(r["prompt"]),
            _text(r),
        )
        for r in dicts(rows[rows["case"].isin(first)])
    ]
    forms = series_by_arm(run, "form_curve")
    plots, tables = [], []
    for setting, (part,) in by_setting(plot, forms[forms["case"].isin(first)]):
        drawn, more = first_cases(part[["variant"]].drop_duplicates(), MOST_LINES, "models")
        part = part[part["variant"].isin(drawn["variant"])]
        for _, own in part.groupby("case", sort=False):
            tables += [titled(_table(rows, _control_z(own)), setting) for rows in _by_run(own)]
        plots += plot(
            course, _points(part), "The form of the text along training",
            "Distance of each measure from slices of the training text, in standard deviations of "
            "the slices. Shade: |z| < 2. One text of one seed for each line; control texts are of "
            f"the first model's training text. {setting}.{more}",
            "Size of z of each measure of form, by updates.",
            {"variant": "Text", "measure": ("Measure", _measure), "step": "Updates",
             "size": ("Size of z", _z)},
        )  # fmt: skip
    return [
        Section(
            "text",
            "Generated text",
            "What does the model write?",
            "The model continues the same prompt before, during and after training, with tokens "
            "drawn from its probabilities as they are. The form of each text (line breaks, "
            "sentences, words, repeats, copies) is measured beside slices of the training text "
            "of its length; docs/form.md defines each measure. A model that learned the form is "
            "within |z| < 2 in most measures. A measure in which a control text is there as well "
            "tells little. There is one text of one seed at each point, so a measure may be near "
            "or far by chance. The texts are examples: judge their form, not their meaning.",
            plots,
            tables,
            texts=texts,
            missing="" if texts else "This ledger holds no generated text.",
        )
    ]


def _when(value: object) -> str:
    """Return the words for the time of a text: "step 24" → "after 24 updates"."""
    name, _, step = str(value).partition(" ")
    return f"after {step} updates" if name == "step" else WHEN.get(str(value), str(value))


def _text(row: dict[str, object]) -> str:
    return "(no text: the model diverged)" if words.is_missing(row["text"]) else str(row["text"])


def _measure(name: object) -> str:
    return str(name).replace("_", " ")


def _z(value: object) -> str:
    return words.number(value, 2)


def _control_z(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the z of each control text by source and measure."""
    parts = (_control(rows, source) for source in CONTROLS)
    return {(r["source"], r["measure"]): r["z"] for part in parts for r in dicts(part)}


def reached(steps: list[float], inside: list[bool]) -> tuple[float | None, float | None]:
    """Return the step at which a measure is first inside, and that from which it stays there.

    Args:
        steps: of the evaluations, in order.
        inside: whether |z| is known and below USUAL_Z at each of them.
    """
    first = next((step for step, near in zip(steps, inside, strict=True) if near), None)
    outside = [i for i, near in enumerate(inside) if not near]
    stays = outside[-1] + 1 if outside else 0
    return first, steps[stays] if stays < len(steps) else None


def _table(rows: pd.DataFrame, controls: dict[tuple[str, str], float]) -> Table:
    """Return each measure of one run: z before and after, when it was near, and the controls."""
    shown = []
    for name, part in rows.groupby("measure", sort=False):
        part = _judged(part).sort_values("step")
        first, stays = reached(part["step"].tolist(), part["inside"].tolist())
        last = part.iloc[-1]
        shown.append(
            (
                str(name).replace("_", " "),
                words.signed(part["z"].iloc[0], 1),
                words.signed(last["z"], 1),
                "never" if first is None else words.number(first),
                "never" if stays is None else words.number(stays),
                words.number(last["value"]),
                words.percent(last["share_below"]),
                words.percent(last["share_above"]),
                *(words.signed(controls.get((source, str(name))), 1) for source in CONTROLS),
            )
        )
    columns = (
        "Measure", "z before#", "z after#", "Within 2 first after#", "Within 2 from then on#",
        "Value after#", "Slices below#", "Slices above#", "z of unigrams#", "z of bigrams#",
    )  # fmt: skip
    caption = (
        f"Form of the texts of {rows['variant'].iloc[0]}, seed {words.number(rows['seed'].iloc[0])}"
        ", times in updates."
    )
    note = (
        "One text at each evaluation: where a measure stays is seen at those points alone. Where "
        "the slices are far from normal, trust the shares of slices below and above before z."
    )
    return table(caption, columns, shown, note=note)
