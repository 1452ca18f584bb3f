"""DataFrames and records → tables of words, the same for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bench.ledger.record import Record
from bench.ledger.schema import METRICS
from reports import findings, words
from reports.coverage import missed_share
from reports.findings_sampling import rates, ratio_of_rates, tail_z

MAX_ROWS = 60


@dataclass(frozen=True)
class Table:
    """A caption, the names of the columns, and rows of text; the first column names the row.

    `numeric` holds the positions of the columns that align to the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    """A line below the table."""
    folded: str = ""
    """What stands on the fold under which a long table is hidden; "" for none."""


def table(
    caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], folded: str = ""
) -> Table:
    """Build a table; a column whose name ends in "#" is numeric."""
    return Table(
        caption=caption,
        columns=tuple(name.removesuffix("#") for name in columns),
        rows=list(rows),
        numeric=frozenset(i for i, name in enumerate(columns) if name.endswith("#")),
        folded=folded,
    )


def first_rows(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the first MAX_ROWS rows; a row below them says how many more there are."""
    if len(rows) <= MAX_ROWS:
        return rows
    blank = ("",) * (len(rows[0]) - 2)
    return [*rows[:MAX_ROWS], ("…", f"{len(rows) - MAX_ROWS:,} more in the ledger", *blank)]


def case_label(case: pd.Series) -> str:
    """Return the short name of a timing: "Model 5, cpu, fp32, B 4, T 256"."""
    return words.conditions(case, equals=words.NBSP)


def _time_interval(case: pd.Series) -> str:
    """Return the 95 % interval of the median; of too few rounds for one, their range."""
    if pd.isna(case["time_low_s"]) or pd.isna(case["time_high_s"]):
        n = "" if pd.isna(case["rounds"]) else f" (range of {words.number(case['rounds'])} rounds)"
        return f"{_range(case)}{n}"
    return words.si_range(case["time_low_s"], case["time_high_s"], "s")


def _range(case: pd.Series) -> str:
    return words.si_range(case["time_min_s"], case["time_max_s"], "s")


def _processes(case: pd.Series) -> str:
    if pd.isna(case["processes"]) or pd.isna(case["process_low_s"]):
        return words.number(case["processes"])
    spread = words.si_range(case["process_low_s"], case["process_high_s"], "s")
    return f"{words.number(case['processes'])}: {spread}"


def speed(models: pd.DataFrame) -> Table:
    """Return time, speed and share of peak of every timed case; columns that hold nothing go."""
    has = models.notna().any()
    columns: list[tuple[str, bool, Callable[[pd.Series], str]]] = [
        ("Case", True, case_label),
        ("Work", True, lambda case: words.work(case["work"])),
        ("Time#", True, lambda case: words.si(case["time_s"], "s")),
        ("95 % interval#", True, _time_interval),
        ("Rounds#", True, lambda case: words.number(case["rounds"])),
        ("Steadiness", has["stability"], lambda case: words.steadiness(case["stability"])),
        ("Processes: medians#", has["processes"], _processes),
        ("On the device#", has["device_time_s"], lambda c: words.si(c["device_time_s"], "s")),
        ("Compiling#", has["compile_s"], lambda case: words.si(case["compile_s"], "s")),
        ("Tokens/s#", True, lambda case: words.number(case["tokens_per_s"])),
        # Beside a roofline, its table has the rate.
        (
            "Rate#",
            not has["attainable_flops_per_s"],
            lambda case: words.si(case["flops_per_s"], "FLOP/s"),
        ),
        ("Share of peak#", True, lambda case: words.percent(case["mfu"])),
        ("Of datasheet#", has["mfu_datasheet"], lambda c: words.percent(c["mfu_datasheet"])),
    ]
    shown = [(name, cell) for name, present, cell in columns if present]
    rows = [tuple(cell(case) for _, cell in shown) for _, case in models.iterrows()]
    caption = "Time is the median over rounds, of one call."
    return table(caption, tuple(name for name, _ in shown), rows)


def coverage(frame: pd.DataFrame) -> Table:
    """Return observed against expected, per sampler and length of training."""
    rows = []
    for _, case in frame.iterrows():
        share = case["missed_targets"] / (case["train_tokens"] - 1)
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
        "Visits min / mean / max#", "Starts seen#",
    )  # fmt: skip
    return table("Targets missed, observed against exact theory; one seed each.", columns, rows)


def two_by_two(cells: pd.DataFrame) -> Table:
    """Return the 2 x 2, length by length: replacement in rows, the grid beside the free phase.

    Args:
        cells: complete ones of one setting, from `coverage.two_by_two`.
    """
    rows = []
    frame = cells.assign(share=missed_share(cells), targets=cells["train_tokens"] - 1)
    for (epochs, replacement), pair in frame.groupby(["target_epochs", "replacement"]):
        length = f"{words.tick(epochs)} epoch{'' if epochs == 1 else 's'}"
        row = [f"{length}, {'with' if replacement else 'without'} replacement"]
        for _, cell in pair.sort_values("grid", ascending=False).iterrows():
            row += [
                words.percent(cell["share"]),
                words.percent(cell["expected_missed_targets"] / cell["targets"]),
                words.signed(cell["z_missed_targets"], 2),
                words.percent(cell["alignment_coverage"]),
            ]
        rows.append(tuple(row))
    columns = (
        "Epoch-equivalents", "Fixed grid: missed#", "Expected#", "z#", "Starts seen#",
        "Free phase: missed#", "Expected#", "z#", "Starts seen#",
    )  # fmt: skip
    caption = (
        "The 2 \u00d7 2: share of targets missed, and of the possible starts seen, one seed each."
    )
    return table(caption, columns, rows)


def scarce_text(frame: pd.DataFrame) -> Table:
    """Return what the same budget of tokens shows of less text, sampler by sampler."""
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
                    words.percent(case["missed_targets"] / targets),
                    " / ".join(visits),
                    words.percent(case["repeated_windows"] / case["draws"]),
                    words.percent(case["alignment_coverage"]),
                )
            )
    columns = (
        "Sampler, share of the text", "Tokens fed#", "Epochs#", "Missed#", "Share#",
        "Visits min / mean / max#", "Repeated windows#", "Starts seen#",
    )  # fmt: skip
    caption = (
        "What scarce text changes: about the same budget of tokens on less of the training part."
    )
    return table(caption, columns, rows)


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
                f"{words.corpus(case['corpus'])}, {words.form(case['raw'])}",
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
        "Unseen tokens#", "Boilerplate tokens#", "Of the test part#",
    )  # fmt: skip
    caption = "The last block, with its rank among all blocks in brackets; 1 is the highest."
    note = (
        "Unigram and bigram: cross-entropy in nats/token. Divergence: Jensen-Shannon, of the "
        "token frequencies, in nats. All against the rest of the text."
    )
    return replace(table(caption, columns, rows), note=note)


def folds(frame: pd.DataFrame) -> Table:
    """Return the loss of one model per fold of a text, each on the block it did not train on."""
    rows = [
        (
            words.fold(case["split"]),
            words.loss(case["final_test_loss"]),
            f"{words.loss(case['final_test_loss_low'])} to "
            f"{words.loss(case['final_test_loss_high'])}",
            words.number(case["bits_per_byte"]),
            words.loss(case["unigram_test_loss"]),
            words.number(case["shared_13grams"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = (
        "Tested on", "Test loss#", "95 % interval#", "Bits/byte#", "Unigram counts#",
        "13-grams shared#",
    )  # fmt: skip
    caption = "One small model per fold of the text, scored on every token of the block left out."
    note = (
        "Losses in nats/token; the interval is of the mean over that block alone. One seed a fold, "
        "so differences between folds hold the noise of training too."
    )
    return replace(table(caption, columns, rows), note=note)


def _in_unit(name: str, value: float) -> str:
    return words.percent(value) if name == "unseen" else words.loss(value)


def loading(frame: pd.DataFrame) -> Table:
    """Return the ways to make batches, each against gathering whole ones from memory."""
    base = frame[frame["source"].eq("memory") & frame["way"].eq("gather")]
    rows = []
    for _, case in frame.iterrows():
        rate, low, high = rates(case)
        row = (
            words.loading(case["source"], case["way"]),
            words.si(rate, ""),
            f"{words.si(low, '')} to {words.si(high, '')}",
            words.number(case["rounds"]),
            words.number(case["bytes_per_token"]),
        )
        against = (words.MISSING, words.MISSING)
        if not base.empty:
            ratio, least, most = ratio_of_rates(case, base.iloc[0])
            against = (words.number(ratio), f"{words.number(least)} to {words.number(most)}")
        rows.append((*row, *(("1", "") if case["case"] in set(base["case"]) else against)))
    columns = (
        "Way", "Tokens/s#", "Slowest to fastest round#", "Rounds#", "Bytes/token#",
        "Against whole batches from memory#", "Extremes over rounds#",
    )  # fmt: skip
    caption = "Making batches, without a model; separate cases, one after the other."
    return table(caption, columns, rows)


def ledger(frame: pd.DataFrame) -> Table:
    """Return how long it takes to count the visits of all targets."""
    rows = [
        (
            words.number(case["ledger_tokens"]),
            words.number(case["draws"]),
            words.si(case["time_s"], "s"),
            f"{words.si(case['time_min_s'], 's')} to {words.si(case['time_max_s'], 's')}",
            words.number(case["rounds"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = ("Tokens of the text", "Windows drawn#", "Time#", "Fastest to slowest#", "Rounds#")
    return table("Counting what windows show, exactly: time of one count.", columns, rows)


def shared_text(cases: pd.DataFrame) -> str:
    """Return one line on what train and test part share, "" where that was not measured."""
    kinds = {"shared_tokens": "tokens", "shared_targets": "targets", "shared_13grams": "13-grams"}
    shared = [
        f"{_extent(cases[name], words.number)} {kind}"
        for name, kind in kinds.items()
        if cases[name].notna().any()
    ]
    trained = cases["fraction_of_test_targets_trained"]
    lines = [f"Train and test share {', '.join(shared)}."] if shared else []
    if trained.notna().any():
        lines.append(f"Of the test targets {_extent(trained, words.percent)} were trained on.")
    return " ".join(lines)


def _extent(values: pd.Series, shown: Callable[[Any], str]) -> str:
    """Return the one value of all cases, or the least and the most."""
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"


def training(frame: pd.DataFrame) -> Table:
    """Return the mean over seeds of each sampler's runs."""
    rows = []
    for variant, runs in frame.groupby("variant", sort=False):
        losses = runs["final_test_loss"]
        rows.append(
            (
                str(variant),
                words.number(len(runs)),
                words.loss(runs["initial_test_loss"].mean()),
                words.loss(losses.mean()),
                f"{words.loss(losses.min())} to {words.loss(losses.max())}",
                words.loss(runs["unigram_test_loss"].mean()),
                words.number(runs["bits_per_byte"].mean()),
                words.number(float(f"{runs['missed_targets'].mean():.3g}")),
                words.number(float(f"{runs['train_tokens_per_s'].median():.3g}")),
            )
        )
    columns = (
        "Sampler", "Seeds#", "Loss before#", "Loss after#", "Lowest to highest seed#",
        "Unigram counts#", "Bits/byte#", "Targets missed#", "Tokens/s#",
    )  # fmt: skip
    return table("Test loss in nats/token; means over seeds, speed as median.", columns, rows)


def comparisons(frame: pd.DataFrame) -> Table:
    """Return every paired comparison with its interval, tests and outcome."""
    rows = [
        (
            f"{words.sampler(pair['a'])} {words.MINUS} {words.sampler(pair['b'])}",
            findings.outcome(pair),
            words.signed(pair["difference"]),
            words.interval(pair["difference_low"], pair["difference_high"]),
            words.number(pair["n_seeds"]),
            words.p_value(pair["p_value"]),
            words.p_value(pair["p_adjusted"]),
            words.p_value(pair["p_equivalence"]),
            words.number(pair["margin"]),
        )
        for _, pair in frame.iterrows()
    ]
    columns = (
        "First minus second", "Outcome", "Difference#", "95 % interval#", "Seeds#", "p#",
        "p adjusted#", "p equivalence#", "Margin#",
    )  # fmt: skip
    return table("Paired differences in final test loss, nats/token.", columns, rows)


def not_run(records: list[Record]) -> Table:
    """Return what failed or was skipped, with the reason."""
    rows = [(r["case"], r["status"], r["reason"]) for r in records]
    return table("Cases without a result.", ("Case", "Status", "Reason"), rows)


def _meaning(name: str) -> str:
    expected = "exact expectation of: " if name.startswith("expected_") else ""
    return expected + METRICS[name].meaning


def glossary(records: list[Record]) -> Table:
    """Return the meaning of every metric that occurs in `records`, in the order of the schema."""
    used = {name for record in records for name in record["metrics"]}
    rows = [
        (
            name,
            key.unit,
            _meaning(name),
        )
        for name, key in METRICS.items()
        if name in used
    ]
    return table("What every metric in this report means.", ("Metric", "Unit", "Meaning"), rows)
