"""Advice on the time of a step: settings, implementations, phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from gptcore import plain_text
from reports import words
from reports.advice.item import Advice
from reports.blocks import dicts
from reports.claims import listed, verdict
from reports.conditions import on_device
from reports.load import FEWEST_ROUNDS, Run, as_text, largest, over, over_rounds, share_of_step
from reports.topics.peers.findings import compared
from reports.topics.speed.findings import timed
from reports.topics.trust.findings import pairs

MOST_OF_A_STEP, MUCH_OF_A_STEP, LITTLE_OF_A_STEP = 0.5, 0.1, 0.02
"""Shares of a step: from which the output layer, and from which the data, are worth looking at, and
up to which the data are not."""
PRICES = {
    "precision": "Products of matrices keep 8 significant bits; weights and gradients stay fp32.",
    "compile": "Compiling takes time before the first step, and again when a shape changes.",
}
NO_LOSS = "What it does to the loss was not measured."
IN_TURNS = "Timed in turns"
IN_ONE_PROCESS = "The pair was timed in one process."


def faster_changes(run: Run) -> Iterator[Advice]:
    """Advise each change of a setting that a pair shows to be faster, or two cases in succession.

    A training step comes before a forward pass. What a pair has judged is not judged again from two
    cases in succession, which show less.
    """
    models, in_turns = run.cases("model"), pairs(run)
    judged = {_judged(base, change) for base, change in _known(in_turns)}
    alone = (*_in_succession(models, "precision", "fp32"), *_in_succession(models, "compile", ""))
    found = [*_in_turns(in_turns), *(r for r in alone if _judged(r, r["change"]) not in judged)]
    found.sort(key=lambda row: row["work"] != "step")
    for row in {(row["change"], row["device"]): row for row in reversed(found)}.values():
        name, _, value = row["change"].partition("=")
        others = [r for r in found if _is_of_another_work(r, row)][:1]
        yield Advice(
            f"{_imperative(name, value)}: {words.subject(row)}{on_device(row['device'])} is "
            f"{row['told']}",
            " ".join((row["evidence"], *map(_also, others))),
            " ".join(filter(None, (row["warning"], NO_LOSS if row["work"] == "step" else ""))),
            PRICES.get(name, f"The setting {row['change']}."),
            tuple(case for r in (row, *others) for case in r["cases"]),
            saves=1 - 1 / row["factor"],
        )


def _also(row: dict[str, Any]) -> str:
    """Return the evidence of a pair of other work as a sentence that names the work."""
    return f"For {words.subject(row)}, {row['evidence'][0].lower()}{row['evidence'][1:]}"


def _is_of_another_work(other: dict[str, Any], row: dict[str, Any]) -> bool:
    """Return whether a pair timed in turns shows the change of a row for other work."""
    same = other["change"] == row["change"] and other["device"] == row["device"]
    return bool(same and other["work"] != row["work"] and other["evidence"].startswith(IN_TURNS))


def _known(frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the params of the case that a pair starts from, and its change, where known."""
    for row in dicts(frame):
        if isinstance(row["base"], dict) and not words.is_missing(row.get("change")):
            yield row["base"], str(row["change"])


def _judged(case: dict[str, Any], change: str) -> tuple[str, ...]:
    """Return what a change is judged for: it with the work, the model and the device of a case."""
    return (change, *(str(case.get(name)) for name in ("work", "model", "device")))


def _imperative(name: str, value: str) -> str:
    told = plain_text.shorten(value)
    return {"precision": f"Train in {told}", "compile": f"Compile the model ({told})"}.get(
        name, f"Set {plain_text.shorten(name)} to {told}"
    )


def _is_shown(pair: dict[str, Any], told: str) -> bool:
    """Return whether a pair has a verdict that its interval bears out, with its ratio inside."""
    is_inside = 0 < pair["ratio_low"] <= pair["ratio"] <= pair["ratio_high"]
    return bool(verdict(pair) == told and is_inside)


def _in_turns(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the changes of one setting that pairs timed in turns show to be faster."""
    for row in dicts(frame):
        base, change = row["base"], str(row.get("change") or "")
        if not isinstance(base, dict) or not _is_shown(row, "faster") or "=" not in change:
            continue
        ends = " to ".join(words.ratio(over(1, row[f"ratio_{end}"])) for end in ("high", "low"))
        yield {
            "work": base.get("work"),
            "model": base.get("model"),
            "device": base.get("device"),
            "change": change,
            "factor": over(1, row["ratio"]),
            "told": f"{words.number(over(1, row['ratio']))} times faster",
            "evidence": f"{IN_TURNS}: {words.si(row['b_time_s'], 's')} against "
            f"{words.si(row['a_time_s'], 's')}, 95 % interval of the factor {ends}. "
            f"Conditions: {words.base_conditions(base) or 'not recorded'}.",
            "warning": " ".join(filter(None, (IN_ONE_PROCESS, _caution(row)))),
            "cases": (row["case"],),
        }


def _in_succession(models: pd.DataFrame, column: str, base: str) -> Iterator[dict[str, Any]]:
    """Yield the values of a setting whose slowest round is faster than the fastest of the base."""
    keys = ["setting", "model", "device", *({"precision", "compile"} - {column})]
    steps = timed(models, "step")
    steps = steps.assign(**{key: as_text(steps[key]) for key in (*keys, column)})
    wide = steps[steps[column].eq(base)].merge(
        steps[steps[column].ne(base)], on=keys, suffixes=("_a", "_b")
    )
    for row in dicts(wide):
        if not min(row["rounds_a"], row["rounds_b"]) >= FEWEST_ROUNDS:
            continue
        least, most = over_rounds(row, "_a", "_b")
        if not least > 1:
            continue
        cautions = dict.fromkeys(row[f"caution_{side}"] for side in "ab")
        noted = listed(str(c) for c in cautions if not words.is_missing(c))
        yield {
            "work": "step",
            "model": row["model"],
            "device": row["device"],
            "change": f"{column}={row[f'{column}_b']}",
            # The medians of cases that ran unsteadily may belong to different states of a machine.
            "factor": least if noted else over(row["time_s_a"], row["time_s_b"]),
            "told": f"at least {words.number(least)} times faster" if noted else _speeds(row),
            "evidence": f"Timed one after the other, on {words.device(row['device'])}, "
            f"{row['setting']}; the slowest and fastest rounds allow factors from "
            f"{words.number(least)} to {words.number(most)}.",
            "warning": "The two were not timed in turns, so the machine may have changed between "
            f"them.{f' A case was {noted}.' if noted else ''}",
            "cases": (row["case_a"], row["case_b"]),
        }


def _speeds(row: dict[str, Any]) -> str:
    """Return by which factor the second of two cases is faster, and the speed of both."""
    a, b = (words.number(row[f"tokens_per_s_{side}"]) for side in "ab")
    factor = words.number(over(row["time_s_a"], row["time_s_b"]))
    return f"{factor} times faster ({b} against {a} tokens/s)"


def _caution(row: dict[str, Any]) -> str:
    """Return what a reader has to know beside the number of a case, as a sentence."""
    known = not words.is_missing(row["caution"])
    return f"The case was {words.steadiness(row['caution'])}." if known else ""


def faster_elsewhere(run: Run) -> Iterator[Advice]:
    """Advise another implementation where it is shown to be faster than the one that was given."""
    for row in dicts(compared(run, "own_pairs")):
        if not _is_shown(row, "slower"):
            continue
        file = plain_text.shorten(str(row["variant"]), 60)
        yield Advice(
            f"Look for {words.number(row['ratio'])} times the speed in {file}: "
            f"{words.subject(row['base'])} takes so much longer than gptcore's of the same sizes",
            f"Time of {file} over that of gptcore: {words.ratio(row['ratio'])}, 95 % interval "
            f"{words.ratio(row['ratio_low'])} to {words.ratio(row['ratio_high'])}.",
            f"{IN_ONE_PROCESS} {_caution(row)}".strip(),
            "The section on your model lists what differs between the two.",
            (row["case"],),
            saves=1 - over(1, row["ratio"]),
        )


def phases(run: Run) -> Iterator[Advice]:
    """Say of which models the output layer takes most of a step."""
    steps = timed(run.cases("model"), "step").drop_duplicates("model")
    for row in dicts(steps):
        share = share_of_step(row, "loss_s")
        if not share >= MOST_OF_A_STEP:
            continue
        yield Advice(
            f"On models as small as {words.model(row['model'])}, speed up the output layer: with "
            f"its loss it takes {words.percent(share)} of a step",
            f"Phases inside one real step, {words.conditions(row)}.",
            "The share is the most that can be gained, not what was gained.",
            "A vocabulary of the tokens that occur in the text is smaller; its losses cannot be "
            "compared with those of another vocabulary.",
            (row["case"],),
            kind="look",
        )


def data(run: Run) -> Iterator[Advice]:
    """Say whether making batches faster could gain anything."""
    for row in dicts(largest(run.cases("model"), "step", "data_s")):
        share, name = share_of_step(row, "data_s"), words.model(row["model"])
        told = f"{words.percent(share)} of a step of {name}"
        if share >= MUCH_OF_A_STEP:
            yield Advice(
                f"Make batches ahead or faster: they take {told}",
                f"Phases inside one real step, {words.conditions(row)}.",
                "The share is the most that can be gained.",
                "The section on batches compares the ways to make them.",
                (row["case"],),
                kind="look",
            )
        elif share <= LITTLE_OF_A_STEP:
            yield Advice(
                f"Leave the loader as it is: making a batch takes {told}",
                f"Phases inside one real step, {words.conditions(row)}.",
                "",
                "",
                (row["case"],),
                kind="leave",
            )


RULES: tuple[Callable[[Run], Iterator[Advice]], ...] = (
    faster_changes,
    faster_elsewhere,
    phases,
    data,
)
