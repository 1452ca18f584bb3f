"""The tables of losses and comparisons of the kept ledgers beside this script, and two figures.

    python docs/results/study.py                     # the tables, in Markdown
    python docs/results/study.py docs/images         # the figures, into this folder

Each table is made of the ledgers NAME.jsonl.xz that hold its experiments; one whose ledgers are
missing is left out. `python -m bench keep` writes such a ledger, and docs/study.md says what each
experiment asks.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.experiments.comparisons import compare
from bench.experiments.means import with_means
from bench.ledger.folders import RunFolder
from bench.suite.outcome_cases import CompareCase
from bench.suite.plan import Plan
from reports import words

HERE = Path(__file__).resolve().parent
MARKS = (1, 50, 100, 200, 300, 400, 500)
"""Steps of the tutorial's run whose losses are shown."""
AROUND = 10
"""Steps on each side that a training loss is averaged over."""
COLOURS = ("tab:gray", "tab:blue", "tab:orange")
LICENCE_TOKENS = 4739
"""Tokens of the licence at the end of the text (docs/position-bias.md)."""
PARTS = {1: "all of the text", 0.5: "1/2", 0.25: "1/4", 0.125: "1/8", 0.0625: "1/16"}
FEWEST_TARGETS = 300
"""Targets shown equally often, below which their mean loss is not drawn."""
Record = dict[str, Any]
Row = tuple[str, ...]


def cases(test: str, *names: str) -> Iterator[Record]:
    """Yield the finished cases of a test in the kept ledgers, of all experiments or of some."""
    for path in sorted(HERE.glob("*.jsonl.xz")):
        for record in RunFolder.read(path).records.values():
            if names and record["params"].get("name") not in names:
                continue
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


def compared() -> Iterator[tuple[CompareCase, Record]]:
    """Yield the planned comparisons of the experiments whose runs are kept, with their metrics.

    They are worked out from the runs again, also where a ledger has their records.
    """
    runs = list(cases("test_train"))
    present = {run["params"]["experiment"] for run in runs}
    corpora = tuple(dict.fromkeys(run["params"]["corpus"] for run in runs))
    for suite, corpus in itertools.product(("study", "full"), corpora):
        plan = Plan(suite, {}, (corpus,))
        for case in plan.compare_cases():
            if case.experiment not in present:
                continue
            (design,) = (d for d in plan.design_cases() if d.experiment == case.experiment)
            pairs = [(c.a, c.b) for c in plan.compare_cases() if c.experiment == case.experiment]
            records = with_means(runs, case.experiment, [side for pair in pairs for side in pair])
            yield case, compare(records, design, pairs, (case.a, case.b)).metrics


def comparisons() -> tuple[Row, list[Row]]:
    """Return all planned comparisons of all kept experiments."""
    rows = []
    for case, metrics in compared():
        if metrics.get("difference") is None:  # no verdict
            continue
        rows.append(
            (
                case.experiment.split("-")[0],
                case.corpus,
                f"{words.arm(case.a)} less {words.arm(case.b)}",
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
    "Orders of the data": arms("orders4", "orders16", "samplers", "model3_order"),
    "Scarce data": arms("scarce", "repeats", "weight_decay", "visits"),
    "Models": arms("ladder"),
    "Test part": arms("folds", "model3_position"),
}


def draw_losses(axes: Axes) -> None:
    """Draw the losses of the runs of Model 5: training as lines, test as points."""
    for record, colour in zip(cases("test_train", "tutorial"), COLOURS, strict=False):
        train = record["series"]["loss_curve"]
        smooth = [
            fmean(row["loss"] for row in train[max(0, i - AROUND) : i + AROUND + 1])
            for i in range(len(train))
        ]
        label = words.arm(record["params"]["arm"])
        axes.plot([row["step"] for row in train], smooth, color=colour, linewidth=1.2, label=label)
        test = record["series"]["test_curve"]
        axes.plot([r["step"] for r in test], [r["loss"] for r in test], "o--", color=colour, ms=4)
    axes.set(xlabel="step", ylabel="loss, nats per token", ylim=(0, 12))
    axes.set_title("Losses of Model 5: training (lines), test (points)")
    axes.legend(fontsize=8)


def draw_positions(axes: Axes) -> None:
    """Draw the test loss of the runs of Model 5 along the test part."""
    for record, colour in zip(cases("test_train", "tutorial"), COLOURS, strict=False):
        blocks = record["series"]["test_blocks"]
        ends = list(itertools.accumulate(block["targets"] for block in blocks))
        axes.step(ends, [block["loss"] for block in blocks], where="pre", color=colour)
    axes.axvspan(ends[-1] - LICENCE_TOKENS, ends[-1], color="0.9", zorder=0)
    axes.set(xlabel="token of the test part (grey: licence)", ylabel="loss, nats per token")
    axes.set_title("Test loss of Model 5 by position")


def draw_passes(axes: Axes) -> None:
    """Draw the test loss after training, against passes, for each share of the text."""
    groups: dict[float, dict[float, list[float]]] = {}
    for record in cases("test_train", "repeats"):
        share, passes = record["params"]["text_share"], record["metrics"]["epochs"]
        losses = groups.setdefault(share, {}).setdefault(round(passes), [])
        losses.append(record["metrics"]["final_test_loss"])
    for share, by_passes in sorted(groups.items(), reverse=True):
        points = sorted((passes, fmean(losses)) for passes, losses in by_passes.items())
        axes.plot(*zip(*points, strict=True), "o-", ms=4, label=PARTS[share])
    axes.set(xscale="log", xlabel="passes over the part that is used", ylabel="nats per token")
    axes.set_xticks(ticks := (1, 2, 4, 8, 16), [str(tick) for tick in ticks])
    axes.set_title("python-docs: test loss after training, 3 seeds")
    axes.legend(fontsize=8)


def draw_visits(axes: Axes) -> None:
    """Draw the loss of training targets against how often they were shown."""
    groups: dict[float, dict[int, list[float]]] = {}
    for record in cases("test_train", "visits"):
        for row in record["series"]["loss_by_visits"]:
            if row["targets"] >= FEWEST_TARGETS:
                by_visits = groups.setdefault(record["params"]["target_epochs"], {})
                by_visits.setdefault(row["visits"], []).append(row["loss"])
    for passes, by_visits in sorted(groups.items()):
        points = sorted((visits, fmean(losses)) for visits, losses in by_visits.items())
        axes.plot(*zip(*points, strict=True), "o-", ms=4, label=f"{passes:g} passes")
    axes.set(xlabel="times that a target was shown", ylabel="nats per token")
    axes.set_title("python-docs: loss of training targets, 3 seeds")
    axes.legend(fontsize=8)


def draw(folder: Path) -> None:
    """Draw the figures of tutorial.md."""
    for name, panels in FIGURES.items():
        figure, places = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.9))
        for panel, axes in zip(panels, places, strict=True):
            panel(axes)
        figure.tight_layout()
        figure.savefig(folder / name, dpi=100)
        plt.close(figure)


FIGURES = {
    "tutorial-losses.png": (draw_losses, draw_positions),
    "tutorial-passes.png": (draw_passes, draw_visits),
}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]))
        sys.exit()
    for title, make in TABLES.items():
        columns, rows = make()
        if rows:
            print(f"\n## {title}\n\n{table(columns, rows)}")
