"""The tables of losses and comparisons of the kept ledgers beside this script.

    python docs/results/study.py

Each table is made of the ledgers NAME.jsonl.xz that hold its experiments; one whose ledgers are
missing is left out. `python -m bench keep` writes such a ledger, and docs/study.md says what each
experiment asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.ledger.folders import RunFolder
from reports import words

HERE = Path(__file__).resolve().parent
MARKS = (1, 50, 100, 200, 300, 400, 501)
"""Steps of the tutorial's run whose losses are shown."""
AROUND = 10
"""Steps on each side that a training loss is averaged over."""
Record = dict[str, Any]
Row = tuple[str, ...]


def cases(test: str, *names: str) -> Iterator[Record]:
    """Yield the finished cases of a test in the kept ledgers whose names are given, or in all."""
    for path in sorted(HERE.glob("*.jsonl.xz")):
        if names and path.name.partition(".")[0] not in names:
            continue
        for record in RunFolder.read(path).records.values():
            if record["status"] == "ok" and record["case"].split("[")[0].endswith(f"::{test}"):
                yield record


def table(columns: Row, rows: list[Row]) -> str:
    """Return a table in Markdown."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def losses() -> tuple[Row, list[Row]]:
    """Return the training and test losses of the runs of Model 5."""
    rows = []
    for record in cases("test_train", "tutorial"):
        arm, series = words.arm(record["params"]["arm"]), record["series"]
        train = {row["step"]: row["loss"] for row in series["loss_curve"]}
        around = [
            fmean(train[at] for at in range(step - AROUND, step + AROUND + 1) if at in train)
            if step > 1
            else train[1]
            for step in MARKS
            if step in train
        ]
        rows.append((arm, "training", *map(words.loss, around)))
        test = {row["step"]: row["loss"] for row in series["test_curve"]}
        nearest = [min(test, key=lambda at, step=step: abs(at - step)) for step in MARKS]
        rows.append((arm, "test", *(f"{words.loss(test[at])} ({at})" for at in nearest)))
    return ("arm", "loss", *(f"step {step}" for step in MARKS)), rows


def ends() -> tuple[Row, list[Row]]:
    """Return where the runs of Model 5 began, where they were best, and where they ended."""
    rows = []
    for record in cases("test_train", "tutorial"):
        metrics, curve = record["metrics"], record["series"]["test_curve"]
        best = min(curve, key=lambda row: row["loss"])
        rows.append(
            (
                words.arm(record["params"]["arm"]),
                words.loss(metrics["initial_test_loss"]),
                words.percent(metrics["initial_copy_probability"]),
                words.loss(metrics["unigram_test_loss"]),
                f"{words.loss(best['loss'])} (step {best['step']})",
                words.loss(metrics["final_test_loss"]),
                words.interval(metrics["final_test_loss_low"], metrics["final_test_loss_high"]),
                words.loss(metrics["final_train_loss"]),
                f"{metrics['missed_targets']:,}",
            )
        )
    columns = ("arm", "test loss before", "copies the current token", "unigram counts")
    columns += ("lowest test loss", "test loss after", "95 % interval over the text")
    return (*columns, "training loss after", "targets missed"), rows


def form() -> tuple[Row, list[Row]]:
    """Return from which evaluation on each measure of form stays within 2 standard deviations."""
    rows = []
    for record in cases("test_train", "tutorial"):
        course = [row for row in record["series"].get("form_curve", ()) if row["z"] is not None]
        for measure in dict.fromkeys(row["measure"] for row in course):
            z = {
                (row["source"], row["step"]): row["z"]
                for row in course
                if row["measure"] == measure
            }
            model = {step: value for (source, step), value in z.items() if source == "model"}
            if not model:
                continue
            steps = sorted(model)
            stays = [at for at in steps if all(abs(model[s]) < 2 for s in steps if s >= at)]
            rows.append(
                (
                    words.arm(record["params"]["arm"]),
                    measure.replace("_", " "),
                    words.number(model[steps[0]]),
                    words.number(model[steps[-1]]),
                    str(stays[0]) if stays else "never",
                    words.number(z.get(("unigram", None))),
                    words.number(z.get(("bigram", None))),
                )
            )
    columns = ("arm", "measure", "z before", "z after", "within 2 from step")
    return (*columns, "z of unigram draws", "z of bigram draws"), rows


def comparisons() -> tuple[Row, list[Row]]:
    """Return all planned comparisons of all kept experiments."""
    rows = []
    for record in cases("test_compare"):
        params, metrics = record["params"], record["metrics"]
        if metrics.get("difference") is None:  # no verdict: its record says why
            continue
        rows.append(
            (
                params["experiment"].split("-")[0],
                params["corpus"],
                f"{words.arm(params['a'])} less {words.arm(params['b'])}",
                str(metrics["n_seeds"]),
                words.signed(metrics["difference"]),
                words.interval(metrics["sign_flip_low"], metrics["sign_flip_high"]),
                words.p_value(metrics["p_adjusted"]),
                words.p_value(metrics["p_equivalence_adjusted"]),
                words.loss(metrics["margin"]),
                words.loss(metrics["detectable"]),
            )
        )
    columns = ("experiment", "text", "first less second", "seeds", "difference, nats/token")
    columns += ("95 % interval", "p adjusted", "p of equality, adjusted", "margin")
    return (*columns, "least difference found"), rows


def arms(*names: str) -> Callable[[], tuple[Row, list[Row]]]:
    """Return a function that gives the mean losses over seeds of the arms of experiments."""

    def means() -> tuple[Row, list[Row]]:
        groups: dict[tuple[str, str, str], list[Record]] = {}
        for record in cases("test_train", *names):
            params = record["params"]
            groups.setdefault((params["name"], params["corpus"], params["arm"]), []).append(record)
        rows = [
            (
                *key,
                str(len(runs)),
                words.loss(fmean(run["metrics"]["final_test_loss"] for run in runs)),
                words.loss(fmean(_lowest(run)["loss"] for run in runs)),
                words.number(fmean(_lowest(run)["epochs"] for run in runs)),
                words.loss(fmean(run["metrics"]["final_train_loss"] for run in runs)),
                words.number(fmean(run["metrics"]["epochs"] for run in runs)),
                words.number(fmean(run["metrics"]["missed_targets"] for run in runs)),
            )
            for key, runs in groups.items()
        ]
        columns = ("experiment", "text", "arm", "seeds", "test loss after", "lowest test loss")
        columns += ("after epochs", "training loss after", "epochs", "targets missed")
        return columns, rows

    return means


def _lowest(record: Record) -> Record:
    return min(record["series"]["test_curve"], key=lambda row: row["loss"])


TABLES: dict[str, Callable[[], tuple[Row, list[Row]]]] = {
    "Losses of Model 5 while it trains": losses,
    "Before and after": ends,
    "Form": form,
    "Planned comparisons": comparisons,
    "Orders of the data": arms("orders4", "orders16", "model3_order"),
    "Scarce data": arms("scarce", "repeats", "weight_decay"),
    "Test part": arms("folds", "model3_position"),
}


if __name__ == "__main__":
    for title, make in TABLES.items():
        columns, rows = make()
        if rows:
            print(f"\n## {title}\n\n{table(columns, rows)}")
