"""Build or reuse: training from scratch, fine-tuning and published weights as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gptcore.plain_text import shorten
from reports import drawing, line_charts, words
from reports.blocks import Finding, Plotter, Section, Table, dicts, table, titled
from reports.claims import apart
from reports.facts import fact_text
from reports.load import Run

Row = dict[Any, Any]
KINDS = {
    "scratch": "{} from scratch",
    "fine_tuned": "{}, fine-tuned",
    "published": "{}, as published",
}
"""Option → the words for it and its model."""
LEAST_MONEY = 0.001
"""US dollars that are told as a number; less is called so."""
NO_PRICE = "Money is that of one accelerator at a dated price, worked out and not measured."
PAID = "The training of the published weights is not counted, because others paid for it."


def find(run: Run) -> Iterator[Finding]:
    """Say which option ended lowest on a text, and from which cost on."""
    cases, options = run.cases("reuse"), named(run.series("reuse", "reuse_options"))
    choices = named(run.series("reuse", "reuse_choice"))
    for _, case in cases.iterrows():
        rows, steps = (
            dicts(f[f["case"].eq(case["case"]) & f["loss"].notna()]) for f in (options, choices)
        )
        if not rows:
            continue
        same_text = cases[cases["corpus"].eq(case["corpus"])]
        text = f"{words.corpus(case['corpus'])}{apart(case, same_text)}"
        tokens = words.count(int(case["train_tokens"]), "training token")
        claim = f"with {tokens} of {text}, {_verdict(rows, steps)}"
        yield Finding(
            58,
            "reuse",
            claim,
            words.sentence(claim).removesuffix("."),
            f"{_losses(rows)} Each training run has one seed, and an interval of a difference is "
            "over the text alone; the intervals are not adjusted for the number of options. "
            f"{PAID} {NO_PRICE}",
            (case["case"],),
        )


def _verdict(rows: list[Row], steps: list[Row]) -> str:
    """Return what is said of the options: which ended lowest, and from which money on it led."""
    best = min(rows, key=lambda row: row["loss"])
    rest = [row for row in rows if row is not best]
    if all(row["option"] == "scratch" for row in rows):
        return "training from scratch was not compared with published weights"
    if not rest:
        return f"{best['variant']} was compared with no other option"
    # Every interval is of the difference to the row whose own one is 0.
    level = [row for row in rest if best["behind"] or not row["behind_low"] > 0]
    if level:
        others = " or ".join(row["variant"] for row in level)
        cheapest = min([best, *level], key=lambda row: row["flops"])
        return (
            f"no difference in test loss was resolved between {best['variant']} and {others}; of "
            f"these, {cheapest['variant']} costs least ({money(cheapest)})"
        )
    second = min(rest, key=lambda row: row["loss"])
    return (
        f"{best['variant']} ended lowest, {words.loss(second['behind'])} nats/token below "
        f"{second['variant']}{_budget(best, steps)}"
    )


def _budget(best: Row, steps: list[Row]) -> str:
    """Return from which money on the best option led, and what had the lowest loss for less."""
    *earlier, last = steps or [best]
    if last["variant"] != best["variant"]:
        return f"; on the way {last['variant']} had a lower loss, {words.loss(last['loss'])}"
    if not earlier or words.is_missing(last["money"]):
        return ""
    led = f"; its loss was the lowest from {money(last)} of training upwards"
    if last["money_high"] < LEAST_MONEY:
        return led
    before = " or ".join(dict.fromkeys(step["variant"] for step in earlier))
    return f"{led}, and for less money that of {before}"


def _losses(rows: list[Row]) -> str:
    """Return the loss of each option, and how far it lies above the lowest."""
    told = [
        f"{words.loss(row['loss'])} for {row['variant']} at {money(row)}"
        + (
            f" (above the lowest by {words.interval(row['behind_low'], row['behind_high'])})"
            if row["behind_low"] == row["behind_low"]
            else ""
        )
        for row in sorted(rows, key=lambda row: row["loss"])
    ]
    return f"Test losses in nats/token: {', '.join(told)}."


def money(row: Row) -> str:
    """Return the money of a row with its range, in US dollars."""
    if words.is_missing(row["money"]):
        return "an unknown price"
    if not row["money"]:
        return "no cost"
    if row["money_high"] < LEAST_MONEY:
        return f"under {LEAST_MONEY:g} US dollars"
    ends = f"{words.number(row['money_low'], 2)} to {words.number(row['money_high'], 2)}"
    return f"{words.number(row['money'], 2)} US dollars ({ends})"


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of options with their names as `variant`."""
    names = [
        KINDS.get(str(row["option"]), "{}").format(words.model(row["model"]))
        for _, row in frame.iterrows()
    ]
    return frame.assign(variant=names)


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return cost against quality for each option; no section where the run did not ask for it."""
    known = [r for r in run.records.values() if str(r["case"]).startswith("bench_reuse::")]
    if not known:
        return []
    cases = run.cases("reuse")
    options, curve, reasons = (
        run.series("reuse", name) for name in ("reuse_options", "reuse_curve", "reuse_reasons")
    )
    plots, tables = [], []
    for _, case in cases.iterrows():
        part, points = (named(f[f["case"] == case["case"]]) for f in (options, curve))
        plots += _plots(plot, points, case["setting"])
        tables.append(titled(at_the_end(part), case["setting"]))
        tables.append(reasons_of(reasons[reasons["case"] == case["case"]]))
    scores = run.cases("published")
    if not scores.empty:
        tables.append(by_protocol(scores))
    told = dict.fromkeys(str(r["reason"]) for r in known if r["reason"])
    missing = "" if tables else " ".join(map(words.sentence, told))
    return [
        Section(
            "reuse",
            "Build or reuse",
            "Train from scratch, fine-tune, or take published weights as they are?",
            "Each option is scored on the same test part, with the same tokens. Losses can be "
            f"compared between models of one vocabulary alone. {PAID} {NO_PRICE}{_sources(run)}",
            plots=plots,
            tables=tables,
            missing=missing,
        )
    ]


def _sources(run: Run) -> str:
    """Return the sentences on the figures that costs rest on, and on what was not run."""
    facts = [r["facts"] for r in run.finished if r["group"] == "reuse"]
    lists = [f["sources"] for f in facts if isinstance(f.get("sources"), list)]
    told = [fact_text(source) for source in (lists[0] if lists else [])]
    told += [f"Published weights were not measured: {f['not_run']}." for f in facts[:1]
             if isinstance(f.get("not_run"), str)]  # fmt: skip
    return " ".join(["", *told])


def _plots(plot: Plotter, points: pd.DataFrame, setting: str) -> list[Any]:
    """Return the loss against tokens and against money."""
    made = []
    for column, what in (("tokens", "tokens trained on"), ("money", "money")):
        made += plot(
            by_money if column == "money" else by_tokens,
            _level(points, column),
            f"Test loss against {what}",
            "A point inside a run has a learning rate that has not fallen yet, so a run planned to "
            "end there would have a lower loss. Published weights as they are cost no training: "
            f"their loss is a level line. {setting}.",
            f"Test loss of each option by {what}.",
            {"variant": "Option", column: what.capitalize(), "loss": ("Loss", words.loss)},
        )
    return made


def _level(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return points with the loss of published weights as a line over the whole axis."""
    known = points[points[column].notna()]
    if column == "money":
        known = known[known["money"].gt(0) | known["option"].eq("published")]
    published = known[known["option"].eq("published")]
    others = known[known["option"].ne("published")]
    if others.empty:
        return others
    ends = [others[column].min(), others[column].max()]
    lines = [published.assign(**{column: end}) for end in ends]
    return pd.concat([others, *lines], ignore_index=True)


def by_tokens(points: pd.DataFrame) -> Figure:
    """Draw the loss of each option against the tokens that it was trained on."""
    figure, axes = line_charts.line_chart(points, "test loss, nats/token", "tokens", "loss")
    drawing.amount_axis(axes.xaxis)
    axes.set_xlabel("tokens trained on")
    return figure


def by_money(points: pd.DataFrame) -> Figure:
    """Draw the loss of each option against the middle of its price, which is logarithmic."""
    figure, axes = line_charts.line_chart(points, "test loss, nats/token", "money", "loss", log="x")
    drawing.log_axis(axes.xaxis, *axes.get_xlim(), shown=words.number)
    axes.set(xlabel="US dollars of training, logarithmic")
    return figure


def at_the_end(frame: pd.DataFrame) -> Table:
    """Return each option at its end: quality and cost."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("Option", lambda row: str(row["variant"])),
        ("Test loss#", lambda row: words.loss(row["loss"])),
        ("Above the lowest#", lambda row: words.interval(row["behind_low"], row["behind_high"])),
        ("Money, low to high#", money),
        ("Tokens#", lambda row: words.number(row["tokens"])),
        ("Training#", lambda row: words.si(row["flops"], "FLOP") if row["flops"] else "none"),
        ("Time here#", lambda row: words.si(row["time_s"], "s") if row["flops"] else "none"),
        ("Energy, kWh#", lambda row: words.number(row["energy_kwh"])),
        ("Parameters#", lambda row: words.si(row["n_params"], "")),
        ("Bits/byte#", lambda row: words.loss(row["bits_per_byte"])),
    ]
    energy = "Energy is that of training and its evaluations."
    if not frame["energy_kwh"].notna().any():
        columns = [column for column in columns if not column[0].startswith("Energy")]
        energy = "The energy is not known, because no counter of it could be read."
    rows = [
        tuple(cell(row) for _, cell in columns)
        for row in dicts(frame.sort_values("loss", kind="stable"))
    ]
    note = (
        "The interval is of the difference to the option with the lowest loss, over the text and "
        "for these runs alone. Tokens are those trained on, and time is that of the training on "
        f"this machine. {energy}"
    )
    caption = "Cost against quality at the end of each option."
    return table(caption, tuple(name for name, _ in columns), rows, note=note)


def reasons_of(frame: pd.DataFrame) -> Table:
    """Return the reasons for and against building, each with a number."""
    rows = [tuple(shorten(str(row[c]), 300) for c in ("about", "reason", "figure"))
            for row in dicts(frame)]  # fmt: skip
    columns = ("Speaks for", "Because", "Number")
    return table("Reasons to build a model and to reuse one.", columns, rows)


def by_protocol(scores: pd.DataFrame) -> Table:
    """Return the published model as it is, by the protocol of its score."""
    rows = [
        (
            shorten(str(row["model"])),
            words.number(row["context"]),
            words.number(row["stride"]),
            words.loss(row["final_test_loss"]),
            f"{words.loss(row['final_test_loss_low'])} to "
            f"{words.loss(row['final_test_loss_high'])}",
            words.loss(row["bits_per_byte"]),
        )
        for row in dicts(scores)
    ]
    columns = ("Published model", "Context#", "Stride#", "Loss, nats/token#", "95 % interval#",
               "Bits/byte#")  # fmt: skip
    caption = "The published weights as they are, by protocol; no token stands before the text."
    return table(caption, columns, rows)
