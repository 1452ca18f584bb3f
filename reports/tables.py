"""DataFrames and records → tables of words, the same for HTML and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.record import METRICS, Record
from reports import findings, words
from reports.load import Run


@dataclass(frozen=True)
class Table:
    """A caption, the names of the columns, and rows of text; the first column names the row.

    `numeric` holds the positions of the columns that align to the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()


def _table(caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """Build a table; a column whose name ends in "#" is numeric."""
    return Table(
        caption=caption,
        columns=tuple(name.removesuffix("#") for name in columns),
        rows=list(rows),
        numeric=frozenset(i for i, name in enumerate(columns) if name.endswith("#")),
    )


def _text(value: Any) -> str:
    """Return one fact as text: lists joined, objects as JSON, null as the mark for missing."""
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return words.number(value)


def case_label(case: pd.Series) -> str:
    """Return the short name of a timing: "Model 5, cpu, fp32, B 4, T 256"."""
    return words.conditions(case, equals=words.NBSP)


def speed(models: pd.DataFrame) -> Table:
    """Return time, speed and share of peak of every timed case."""
    rows = []
    for _, case in models.iterrows():
        low, high = words.si(case["time_min_s"], "s"), words.si(case["time_max_s"], "s")
        rows.append(
            (
                case_label(case),
                words.work(case["work"]),
                words.si(case["time_s"], "s"),
                f"{low} to {high}",
                words.number(case["rounds"]),
                words.number(case["tokens_per_s"]),
                words.si(case["flops_per_s"], "FLOP/s"),
                words.percent(case["mfu"]),
            )
        )
    columns = (
        "Case", "Work", "Time#", "Fastest to slowest#", "Rounds#", "Tokens/s#", "Rate#",
        "Share of peak#",
    )  # fmt: skip
    return _table("Time is the median over rounds, of one call.", columns, rows)


def ceilings(run: Run) -> Table:
    """Return what the machine was measured to be capable of."""
    metrics = run.environment["metrics"] if run.environment else {}
    names = {
        "gemm_fp32_flops_per_s": "Matrix product, fp32",
        "gemm_bf16_flops_per_s": "Matrix product, bf16",
        "copy_bytes_per_s": "Memory copy",
        "reference_speed": "Speed against the reference machine",
    }
    rows = [
        (label, words.metric(name, metrics.get(name)).removesuffix(f"{words.NBSP}ratio"))
        for name, label in names.items()
    ]
    return _table(
        "Ceilings of this machine, measured at the start of the run.", ("Ceiling", "Best#"), rows
    )


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
        "Visits min / mean / max#", "Alignments#",
    )  # fmt: skip
    return _table("Targets missed, observed against exact theory; one seed each.", columns, rows)


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
    return _table("Test loss in nats/token; means over seeds, speed as median.", columns, rows)


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
    return _table("Paired differences in final test loss, nats/token.", columns, rows)


def not_run(records: list[Record]) -> Table:
    """Return what failed or was skipped, with the reason."""
    rows = [(r["case"], r["status"], r["reason"]) for r in records]
    return _table("Cases without a result.", ("Case", "Status", "Reason"), rows)


def environment(run: Run) -> list[Table]:
    """Return the machine, the software, the run and the corpora, as far as they were recorded."""
    tables = []
    memory = run.fact("machine", "memory_bytes")
    for part in ("machine", "software", "run"):
        facts = run.fact(part, default={})
        if isinstance(facts, dict) and facts:
            rows = [(str(key).replace("_", " "), _text(value)) for key, value in facts.items()]
            if part == "machine" and isinstance(memory, (int, float)):
                shown = ("memory", f"{memory / 2**30:,.1f}{words.NBSP}GiB")
                rows = [shown if key == "memory bytes" else (key, text) for key, text in rows]
            tables.append(_table(f"The {part}.", ("Fact", "Value"), rows))
    corpora = run.fact("corpora", default=[])
    for corpus in corpora if isinstance(corpora, list) else []:
        if isinstance(corpus, dict):
            rows = [(str(key).replace("_", " "), _text(value)) for key, value in corpus.items()]
            tables.append(_table("A corpus.", ("Fact", "Value"), rows))
    return tables


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
    return _table("What every metric in this report means.", ("Metric", "Unit", "Meaning"), rows)
