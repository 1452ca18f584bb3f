"""Reads results folders, and tells in what two runs differ apart from their times.

A folder may come from anywhere, so a fact may be missing or of another type, and text may hold
control characters, which are made visible before they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bench.ledger.record import LEDGER_NAME, Record, read_ledger
from gptcore.plain_text import shorten, visible

MACHINE = ("cpu", "cores", "usable_cpus", "accelerators", "threads")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
"""CPU flags that change which kernels run."""
VERSIONS = {"python": 2, "torch": 3, "numpy": 2}
"""Package whose version changes times → how many numbers of its version have to be equal."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
PINNED = (
    "matmul_precision",
    "sdpa",
    "deterministic",
    "intra_op_threads",
    "inter_op_threads",
    "keeps_freed_memory",
)


@dataclass(frozen=True)
class RunFolder:
    """The contents of one results folder.

    Attributes:
        label: name of the run in tables.
        folder: path of the folder.
        records: case id → its record (skipped cases included), in the order of the ledger.
        environments: environment id → its record, one for each session, oldest first.
        warnings: one for each line of the ledger that could not be read.
    """

    label: str
    folder: Path
    records: dict[str, Record]
    environments: dict[str, Record]
    warnings: list[str]

    @classmethod
    def read(cls, path: Path, label: str | None = None) -> Self:
        """Read a results folder, the `records.jsonl` in one, or a ledger that `keep` has written.

        Args:
            path: the folder, or the file, which may be compressed.
            label: name of the run; by default that of the folder, or of the file without endings.

        Raises:
            ValueError: the folder has no ledger.
        """
        is_kept = path.is_file() and path.name != LEDGER_NAME
        if is_kept:
            folder, name = path, path.name.partition(".")[0]
            records, warnings = read_ledger(path.parent, path.name)
        else:
            folder = path.parent if path.name == LEDGER_NAME else path
            name = folder.resolve().name
            records, warnings = read_ledger(folder)
        sessions = [(n, r) for n, r in records.items() if r["record"] == "environment"]
        return cls(
            label=label or name or str(folder),
            folder=folder,
            records={n: r for n, r in records.items() if r["record"] != "environment"},
            environments=dict(sorted(sessions, key=lambda pair: moment(pair[1]["started_at"]))),
            warnings=warnings,
        )

    @property
    def machines(self) -> set[tuple[str, ...]]:
        """Return one key for each machine, with its number of threads, of the sessions."""
        return {
            tuple(
                str(look_up(record, "run" if name == "threads" else "machine", name))
                for name in MACHINE
            )
            for record in self.environments.values()
        }

    @property
    def environment(self) -> Record | None:
        """Return the newest environment record, None if there is none."""
        return next(reversed(self.environments.values()), None)

    @property
    def started_at(self) -> datetime:
        """Return when the first session began; if none is recorded, when the first case began."""
        records = self.environments or self.records
        return min((moment(r["started_at"]) for r in records.values()), default=EARLIEST)

    def fact(self, *path: str, default: Any = None) -> Any:
        """Return one fact of the newest environment record, or `default` where it is missing."""
        value = look_up(self.environment, *path)
        return default if value is None else value


def moment(text: str) -> datetime:
    """Parse a time of a record; a time without a zone is UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def look_up(record: Record | None, *path: str) -> Any:
    """Return one fact of a record by its path of keys, None where it is missing."""
    value: Any = record["facts"] if record else None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def unread_lines(runs: Iterable[RunFolder]) -> list[str]:
    """Return the warnings of several runs, each with the name of its run."""
    return [f"{visible(run.label)}: {visible(line)}" for run in runs for line in run.warnings]


def machine_differences(base: RunFolder, new: RunFolder) -> list[str]:
    """Return the differences of machine, threads and versions between two runs, one line each.

    A fact that only one of the runs recorded does not count as a difference.
    """
    old, now = conditions(base), conditions(new)
    return [
        f"{name} {shorten(str(old[name]))} → {shorten(str(now[name]))}"
        for name in old
        if None not in (old[name], now[name]) and not _alike(name, old[name], now[name])
    ]


def machine_key(run: RunFolder) -> tuple[str, ...]:
    """Return a key that is equal for runs on one machine with the same number of threads."""
    known = conditions(run)
    return tuple(str(known[name]) for name in MACHINE)


def conditions(run: RunFolder) -> dict[str, Any]:
    """Return the facts that must be equal for times to be comparable; None where unknown."""
    known = {name: run.fact("machine", name) for name in MACHINE[:-1]}
    known["threads"] = run.fact("run", "threads")
    known["memory_bytes"] = run.fact("machine", "memory_bytes")
    flags = run.fact("machine", "cpu_flags")
    known["cpu_flags"] = [f for f in FLAGS if f in flags] if isinstance(flags, list) else None
    known |= {name: run.fact("pinned", name) for name in PINNED}
    return known | {name: run.fact("software", name) for name in VERSIONS}


def _alike(name: str, old: Any, new: Any) -> bool:
    if name == "memory_bytes" and isinstance(old, int) and isinstance(new, int):
        return 10 * abs(old - new) < max(old, new)  # the part that the system reserves varies
    if name in VERSIONS:
        return main_version(old, VERSIONS[name]) == main_version(new, VERSIONS[name])
    return bool(old == new)


def main_version(version: Any, numbers: int) -> str:
    """Return "3.11" for "3.11.7" and 2 numbers; a build tag such as "+cpu" is kept."""
    public, _, build = str(version).partition("+")
    return ".".join(public.split(".")[:numbers]) + build


def minor_differences(base: RunFolder, new: RunFolder) -> list[str]:
    """Return one line on versions that differ, although they hardly change times; else nothing."""
    old, now = _software(base), _software(new)
    lines = [
        f"{shorten(str(name))} {shorten(str(old[name]))} → {shorten(str(now[name]))}"
        for name in old
        if name in now and old[name] != now[name]
    ]
    return [f"versions differ: {', '.join(lines)}"] if lines else []


def size_differences(base: RunFolder, new: RunFolder) -> list[str]:
    """Return one line on settings that made the runs plan different cases; else nothing."""
    lines = []
    for name in ("suite", "devices"):
        old, now = base.fact("run", name), new.fact("run", name)
        if old != now and None not in (old, now):
            lines.append(f"{name} {shorten(str(old))} → {shorten(str(now))}")
    return [f"the runs planned different cases: {', '.join(lines)}"] if lines else []


def _software(run: RunFolder) -> dict[str, Any]:
    platform = run.fact("machine", "platform")
    software = run.fact("software")
    known = software if isinstance(software, dict) else {}
    return known | ({"platform": platform} if platform else {})


def corpus_differences(base: RunFolder, new: RunFolder, cases: Iterable[str]) -> list[str]:
    """Return the texts of `cases` that differ in content between two runs, one line each."""
    old, now = _corpora(base), _corpora(new)
    used = {str(base.records[name]["params"].get("corpus")) for name in cases}
    return [
        f"corpus {shorten(name)} sha256 {shorten(old[name], 12)} → {shorten(now[name], 12)}"
        for name in sorted(old.keys() & now.keys() & used)
        if old[name] != now[name]
    ]


def _corpora(run: RunFolder) -> dict[str, str]:
    listed = run.fact("corpora")
    corpora = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    return {str(c.get("name")): str(c.get("sha256")) for c in corpora}


def per_cent(log_ratio: float) -> str:
    """Return a difference of logarithms as a change: 0.0488 → "+5.0 %"."""
    return f"{100 * math.expm1(log_ratio):+.1f} %"


def duration(value: float | None, digits: int = 3) -> str:
    """Return a time with `digits` digits in s, ms, µs or ns; "-" for None."""
    if value is None:
        return "-"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= scale:
            return f"{value / scale:.{digits}g} {unit}"
    return f"{value / 1e-9:.{digits}g} ns"
