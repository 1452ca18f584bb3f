"""Results folders → runs, and their records → tidy DataFrames.

A frame has one row per case (or per row of a series). Its columns are the params and the metrics of
the case. Every metric of the schema is a column, NaN where it was not measured, so that no reader
of a frame has to ask whether a column exists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.ledger.folders import RunFolder
from bench.ledger.record import LATEST_NAME, Record
from bench.ledger.schema import METRICS, PHASE_TIMES, SERIES, TEXT_COLUMNS
from gptcore import plain_text
from gptcore.reading import read_text
from reports import words

UNSTEADY = {"noisy", "drifting"}
PAIRS = {"pair", "peers", "ablation", "own_pairs"}
"""Groups of cases that are timed in turns."""
OF_ONE_MACHINE = ("train_tokens_per_s", "energy_j", "a_time_to_reach_s", "b_time_to_reach_s")
"""Metrics of training runs, and of their comparisons, that are not compared between machines."""
FEWEST_ROUNDS = 3
"""Rounds in each process, at least, for the range over processes to be quoted."""


PARAMS = (
    "corpus", "model", "n_layer", "n_head", "n_embd", "vocab_size", "device", "precision",
    "batch_size", "block_size", "work", "sampler", "drop_last", "target_epochs", "learning_rate",
    "a", "b", "text_share", "raw", "source", "way", "split", "compile", "dimension", "sizes",
)  # fmt: skip
NUMBERS = ("target_epochs", "text_share", "process_rounds")
IDENTITY = ("case", "group", "status", "reason", "seed", "duration_s", "started_at")
STATE = ("stability", "process_low_s", "process_high_s", "verdict", "process_rounds", "caution")
"""Columns from the facts and samples of a case; the times are the range of process medians, and
`process_rounds` is the fewest rounds behind one of them."""
# Params that a chart compares. All others are its conditions and must be equal inside one chart.
COMPARED = {
    "sampler", "drop_last", "target_epochs", "work", "device", "precision", "model", "experiment",
    "text_share", "raw", "source", "way", "split", "compile", "dimension", "sizes", "seconds",
    "arm", "reader", "init", "weight_decay", "order_seed",
}  # fmt: skip


@dataclass(frozen=True)
class Run(RunFolder):
    """One results folder, and its cases as frames."""

    parts: dict[str, str] = field(default_factory=dict)
    """Environment id → the folder that its session wrote, where the run is several folders."""
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def cases(self, group: str) -> pd.DataFrame:
        """Return the finished cases of a group, one per row; do not change the frame in place.

        The speeds and times of training runs are left out where they are of several machines.
        """
        if group not in self._frames:
            records = [r for r in self.finished if r["group"] == group]
            frame = case_frame(records) if records else _no_cases()
            if len(self.machines) > 1:
                frame = frame.assign(**dict.fromkeys(OF_ONE_MACHINE, math.nan))
            self._frames[group] = frame
        return self._frames[group]

    def series(self, group: str, name: str) -> pd.DataFrame:
        """Return a series of all finished cases of a group, one of its rows per row."""
        key = f"{group} {name}"
        if key not in self._frames:
            records = (r for r in self.finished if r["group"] == group)
            self._frames[key] = series_frame(records, name)
        return self._frames[key].copy()

    @property
    def everything(self) -> list[Record]:
        """Return the environments, then the cases and skips."""
        return [*self.environments.values(), *self.records.values()]

    @property
    def finished(self) -> list[Record]:
        """Return the cases that ran to their end."""
        return [r for r in self.records.values() if r["status"] == "ok"]

    @property
    def is_timed(self) -> bool:
        """Return whether a case has times that can be compared."""
        return any("time_s" in r["metrics"] or "time_s" in r["samples"] for r in self.finished)

    @property
    def folders(self) -> list[str]:
        """Return the paths of its results folders."""
        return list(dict.fromkeys(self.parts.values())) or [str(self.folder)]

    @property
    def unfinished(self) -> list[Record]:
        """Return the failed cases, then the skipped ones."""
        left_out = [r for r in self.records.values() if r["status"] != "ok"]
        return sorted(left_out, key=lambda r: r["status"])


def latest_folder(base: Path = Path("results")) -> Path:
    """Return the newest run's folder, as `base`/latest names it.

    Raises:
        ValueError: no run was recorded there.
    """
    path = base / LATEST_NAME
    try:
        folder = read_text(path, at_most=2**16).strip()
    except ValueError:
        folder = ""
    if not folder:
        raise ValueError(f"{path} names no run: run `pytest --benchmark-only` or name a folder")
    return Path(folder)


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read several results folders.

    Raises:
        ValueError: one is missing or holds no ledger, or one is named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise ValueError(f"{folder} is given twice: name each results folder once")
    names = [path.name for path in resolved]
    return [
        Run.read(folder, None if names.count(path.name) == 1 else str(path))
        for folder, path in zip(folders, resolved, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Return a param as a value that a frame can hold: lists and objects become their JSON text.

    Half of a character pair, which JSON can write and UTF-8 cannot, becomes its escape.
    """
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


def stability(record: Record) -> dict[str, Any]:
    """Return what is known of how steady a case ran: `verdict`, `reasons`, `remedies`."""
    state = record["facts"].get("stability")
    return state if isinstance(state, dict) and isinstance(state.get("verdict"), str) else {}


def cautions(record: Record) -> dict[str, str]:
    """Return what a reader has to know beside any number of a case: short words → a sentence."""
    found = {}
    verdict, reasons = stability(record).get("verdict"), stability(record).get("reasons")
    if verdict in UNSTEADY:
        first = reasons[0] if isinstance(reasons, list) and reasons else ""
        found[str(verdict)] = f"was {verdict}{f': {first}' if first else ''}"
    if record["facts"].get("warmup") == "out of time":
        found["warm-up out of time"] = "ran out of warm-up before its time was steady"
    listed = record["facts"].get("warnings")
    if isinstance(listed, list) and listed:
        found["timed with a warning" if record["group"] in PAIRS else "with a warning"] = (
            f"came with a warning: {listed[0]}"
        )
    return {name: plain_text.shorten(text, 240) for name, text in found.items()}


def _state(record: Record) -> dict[str, Any]:
    times = record["samples"].get("process_time_s") or [None]
    told = record["facts"].get("verdict")
    verdicts = stability(record).get("verdict"), told if isinstance(told, str) else None
    rounds = record["facts"].get("process_rounds")
    known = isinstance(rounds, list) and all(type(n) is int for n in rounds) and rounds
    fewest = min([*rounds, len(record["samples"].get("time_s", []))]) if known else None
    said = "; ".join(cautions(record)) or None
    state = (verdicts[0], min(times), max(times), verdicts[1], fewest, said)
    return {
        name: value if isinstance(value, (str, float, int)) else None
        for name, value in zip(STATE, state, strict=True)
    }


def _row(record: Record) -> dict[str, Any]:
    params = {
        _plain(name): _plain(value)
        for name, value in record["params"].items()
        if name in PARAMS or name not in METRICS
    }
    metrics = {name: value for name, value in record["metrics"].items() if value is not None}
    identity = {name: _plain(record[name]) for name in IDENTITY}
    return {
        **params, **metrics, **_state(record), **identity, "setting": setting(params),
    }  # fmt: skip


def setting(params: dict[str, Any]) -> str:
    """Return the conditions that must be equal for cases to share a chart."""
    known = dict(params)
    parts = (
        [plain_text.shorten(str(known.pop("corpus")))] if known.get("corpus") is not None else []
    )
    for compared in str(known.pop("differs_in", "")).split():
        known.pop(compared, None)
    if isinstance(name := known.pop("name", None), str):
        parts.append(f"experiment {plain_text.shorten(name)}")
    if {"n_layer", "n_embd"} <= known.keys() and "sampler" in known:
        shape = f"{known.pop('n_layer')} layers \u00d7 {known.pop('n_embd')}"
        heads = known.pop("n_head", None)
        parts.append(shape if heads is None else f"{shape}, {heads} heads")
    if (compact := known.pop("compact", None)) is not None:
        parts.append("compact vocabulary" if compact else "GPT-2 vocabulary")
    short = {
        "batch_size": "B",
        "block_size": "T",
        "vocab_size": "V",
        "learning_rate": "lr",
        "n_tokens": "tokens of the text",
        "target_epochs": "epoch-equivalents",
    }
    for name, value in known.items():
        if name not in COMPARED and value is not None:
            several = value if isinstance(value, list) else [value]
            shown = ", ".join(f"{v:,}" if type(v) is int else str(v) for v in several)
            label = short.get(name, plain_text.shorten(name))
            parts.append(f"{label}{words.NBSP}={words.NBSP}{plain_text.shorten(shown)}")
    return " · ".join(parts) or "conditions not recorded"


def case_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return cases as a tidy frame: identity, params, state, and every metric of the schema."""
    rows = [_row(record) for record in records]
    names = dict.fromkeys([*IDENTITY, "setting", *PARAMS, *STATE, *METRICS])
    names |= dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name, math.nan) for row in rows]
        if name in METRICS and name not in PARAMS:
            columns[name] = np.array(values, dtype=float)
        elif name in NUMBERS:
            columns[name] = pd.to_numeric(pd.Series(values), errors="coerce")
        else:
            columns[name] = pd.Series(values)
    columns["variant"] = variants(pd.DataFrame({n: columns[n] for n in ("sampler", "drop_last")}))
    return pd.DataFrame(columns)  # at once: adding so many columns one by one is slow


@cache
def _no_cases() -> pd.DataFrame:
    """Return the frame of the groups that were not run: most of them, in a partial ledger."""
    return case_frame([])


def variants(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the words for each row's sampler, with a dropped last batch where that varies."""
    labels = frame["sampler"].map(words.sampler)
    dropped = frame["drop_last"].eq(True)
    both = dropped.groupby(labels).transform("max") & ~dropped.groupby(labels).transform("min")
    return labels + (dropped & both).map({True: ", drop last", False: ""})


def series_frame(records: Iterable[Record], name: str) -> pd.DataFrame:
    """Return one series as a tidy frame: the columns of the series beside its case's.

    Where both have a column (`epochs`, for example), it is that of the series.
    """
    chosen = [record for record in records if record["series"].get(name)]
    keep, columns = ["case", "seed", "setting", "sampler", "drop_last"], list(SERIES[name])
    if not chosen:
        return pd.DataFrame(columns=[*columns, *keep, "variant"])
    cases = pd.DataFrame([_row(record) for record in chosen]).reindex(columns=keep)
    cases["variant"] = variants(cases)
    rows = [
        {**row, "index": i} for i, record in enumerate(chosen) for row in record["series"][name]
    ]
    frame = pd.DataFrame(rows)
    numeric = [column for column in columns if column not in TEXT_COLUMNS]
    frame[numeric] = frame[numeric].apply(pd.to_numeric, errors="coerce")
    return frame.join(cases, on="index").drop(columns="index")


def over_processes(case: Any) -> bool:
    """Return whether several processes timed a case often enough to quote their range."""
    return bool(case["processes"] > 1 and case["process_rounds"] >= FEWEST_ROUNDS)


def shares_of_peak(case: Any) -> tuple[float, float]:
    """Return the least and the largest share of the peak over processes, or that of the case."""
    if not over_processes(case):
        return float(case["mfu"]), float(case["mfu"])
    by_time = case["mfu"] * case["time_s"]
    least, most = (float(over(by_time, case[f"process_{end}_s"])) for end in ("high", "low"))
    return least, most


def share_of_step(case: Any, phase: str) -> float:
    """Return the share of a phase in all phases of a step; NaN where it is not known.

    A phase that takes longer than the whole step contradicts it, so its share is not known.
    """
    times = [case[name] for name in PHASE_TIMES if not words.is_missing(case[name])]
    return float(over(case[phase], sum(times))) if case[phase] <= case["time_s"] else math.nan


def over_rounds(rows: Any, a: str, b: str) -> tuple[Any, Any]:
    """Return the least and the largest ratio of two times that their rounds allow.

    Args:
        rows: a row or a frame.
        a: what the names of columns end with for the first of the two.
        b: the same for the other.
    """
    least = over(rows[f"time_min_s{a}"], rows[f"time_max_s{b}"])
    return least, over(rows[f"time_max_s{a}"], rows[f"time_min_s{b}"])


def over(a: Any, b: Any) -> Any:
    """Return a / b of numbers or columns; NaN where that is undefined, or beyond a double."""
    if isinstance(a, pd.Series) or isinstance(b, pd.Series):
        ratio = a / b
        return ratio.where(np.isfinite(ratio))
    known = not (words.is_missing(a) or words.is_missing(b)) and b != 0
    return a / b if known and math.isfinite(a / b) else math.nan


def as_text(column: pd.Series[Any]) -> pd.Series[str]:
    """Return a column as text, for a merge; "" where nothing was recorded."""
    return column.astype(object).where(column.notna(), "").astype(str)


def largest(models: pd.DataFrame, work: str, column: str) -> pd.DataFrame:
    """Return the case of the largest model that has `column`, fp32 before others."""
    frame = models[models["work"].eq(work) & models[column].gt(0)]
    order = frame.assign(other=frame["precision"].ne("fp32"))
    return order.sort_values(["n_params", "other"], ascending=[False, True], kind="stable").head(1)
