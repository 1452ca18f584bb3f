"""Writes the ledger of one run, which is one results folder and can be resumed after a kill.

The folder holds `run.json` (the fingerprint of the run and the sizes chosen for it) and
`records.jsonl` (one line for each finished case, on disk before the next case starts).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.ledger.record import (
    LATEST_NAME,
    LEDGER_NAME,
    RUN_NAME,
    SCHEMA_VERSION,
    Record,
    dumps,
    read_ledger,
)
from gptcore.files import LOCK, PARTIAL, lock_folder, remove_partials, write_errors, write_whole
from gptcore.lines import Appender
from gptcore.plain_text import shorten
from gptcore.reading import read_json

RUNS = "runs"
"""Folder of the training runs of the cases that are not finished yet."""
NAME_LENGTH = 150
FOLDERS = ("", "models", "traces")
"""Where in a results folder files are written."""

Manifest = dict[str, Any]


def file_name(case: str, suffix: str = "") -> str:
    """Return a name for what is kept of a case: safe on every system, unique, of 150 characters.

    Letters, digits and `._+=-` are kept; a hash of the whole id makes the name unique.
    """
    tail = f"-{hashlib.sha256(case.encode()).hexdigest()[:10]}{suffix}"
    words = re.sub(r"[^A-Za-z0-9._+=-]+", "_", case).strip("._") or "case"
    return words[: NAME_LENGTH - len(tail)] + tail


def differences(old: object, new: object, name: str = "") -> list[str]:
    """Return one line for each leaf in which two fingerprints differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    if old == new:
        return []
    was, now = ("absent" if value is None else shorten(str(value)) for value in (old, new))
    return [f"{name} was {was} and is {now}"]


class Ledger:
    """The open ledger of one run, which locks its folder; use it as a context manager.

    Args:
        folder: results folder, created if missing. A run with the same fingerprint is resumed.
        fingerprint: JSON values that must be equal for a run to be resumed. Its part `time` may
            differ in a folder that has no times.
        timeless: the tests whose cases claim no time, as module::test.

    Attributes:
        moved: the differences of part `time`, where there are any; then only timeless cases may be
            added.

    Raises:
        ValueError: the folder is in use, or it holds another run or other files.
    """

    def __init__(self, folder: Path, fingerprint: Manifest, timeless: Collection[str] = ()) -> None:
        self.folder = folder
        self.moved: list[str] = []
        self.path = folder / LEDGER_NAME
        with ExitStack() as stack:
            stack.enter_context(lock_folder(folder))
            self._refuse_strangers()
            self.manifest = self._open_manifest(fingerprint)
            for name in FOLDERS:
                remove_partials(folder / name)
            self._lines = stack.enter_context(Appender(self.path))
            self.records, self.warnings = read_ledger(folder)
            measured = {name.partition("[")[0] for name in self.records if self.finished(name)}
            timed = sorted(measured - set(timeless))
            if self.moved and timed:
                raise ValueError(self._another(self.moved, f"it has times, of {timed[0]}"))
            self._open = stack.pop_all()
        if self._lines.was_torn:
            line = f"the last line of {self.path} was incomplete: its case runs again"
            self.warnings.insert(0, line)

    def _refuse_strangers(self) -> None:
        with write_errors(self.folder):
            names = {path.name for path in self.folder.iterdir()} - {LOCK}
        strangers = {name for name in names if not name.startswith(PARTIAL)}
        if strangers and RUN_NAME not in names:
            raise ValueError(
                f"{self.folder} holds {min(strangers)} and no {RUN_NAME}: it is not a results "
                "folder; give a new or an empty one with --results=DIR"
            )

    def _open_manifest(self, fingerprint: Manifest) -> Manifest:
        path = self.folder / RUN_NAME
        manifest: Manifest
        self.resumed = path.exists() or path.is_symlink()
        if not self.resumed:  # written first, so that a run that is killed now can be resumed
            manifest = {"schema_version": SCHEMA_VERSION, "fingerprint": fingerprint}
            write_whole(path, json.dumps(manifest, indent=1) + "\n")
            return manifest
        try:
            manifest = read_json(path)
            old = manifest["fingerprint"]
            if not 0 < manifest.get("speed", 1.0) < math.inf:
                raise ValueError("a speed is positive")
        except (ValueError, KeyError, TypeError):
            message = f"{path} cannot be read: give a new folder with --results=DIR"
            raise ValueError(message) from None
        new = json.loads(json.dumps(fingerprint))
        changed = differences(old, new)
        self.moved = [line for line in changed if line.startswith("time.")]
        if len(self.moved) < len(changed):
            raise ValueError(self._another(changed))
        return manifest

    def _another(self, changed: list[str], why: str = "") -> str:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return (
            f"{self.folder} holds another run and is not resumed: {'; '.join(changed[:3])}{more}"
            f"{why and f', and {why}'}. Give a new folder with --results=DIR"
        )

    def check_timeless(self, cases: Iterable[str], timeless: Collection[str]) -> None:
        """Refuse to add times to a folder whose other cases ran in another environment.

        Raises:
            ValueError: one of the cases is timed, and the environment differs.
        """
        timed = [
            case
            for case in cases
            if case.partition("[")[0] not in timeless and not self.finished(case)
        ]
        if self.moved and timed:
            why = f"{shorten(timed[0], 120)} takes a time; -k selects cases that take none"
            raise ValueError(self._another(self.moved, why))

    def keep(self, **facts: object) -> None:
        """Add facts that were chosen at the start of a run, such as its sizes, to `run.json`."""
        self.manifest |= facts
        write_whole(self.folder / RUN_NAME, json.dumps(self.manifest, indent=1) + "\n")

    def append(self, record: Record) -> None:
        """Write a record; when this returns, the record is on disk (fsync).

        Raises:
            WriteError: the record cannot be written; the ledger is as it was before.
            ValueError: the record violates the format; nothing is written.
        """
        self._lines.append(dumps(record))
        self.records[record["case"] or record["environment"]] = record

    def finished(self, case: str) -> bool:
        """Return whether `case` has succeeded, so that a resumed run leaves it out."""
        known = self.records.get(case)
        return known is not None and known["record"] == "case" and known["status"] == "ok"

    def cases(self, group: str) -> list[Record]:
        """Return the records of the finished cases of one group."""
        return [r for r in self.records.values() if r["group"] == group and r["status"] == "ok"]

    def close(self) -> None:
        """Close the file and release the lock."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def point_latest(folder: Path) -> None:
    """Write the path of `folder` to results/latest, which `python -m reports` reads by default."""
    write_whole(Path("results") / LATEST_NAME, f"{folder.resolve()}\n")
