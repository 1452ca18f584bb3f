"""Writes the ledger of one run, which is one results folder and can be resumed after a kill.

The folder holds `run.json` (the fingerprint of the run and the sizes chosen for it) and
`records.jsonl` (one line for each finished case, on disk before the next case starts).
"""

from __future__ import annotations

import json
import os
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
from gptcore.files import write_atomically
from gptcore.plain_text import shorten

try:
    import fcntl
except ImportError:  # Windows has no such lock, as the README says
    fcntl = None  # type: ignore[assignment]

Manifest = dict[str, Any]


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


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
        fingerprint: JSON values that must be equal for a run to be resumed.

    Raises:
        ValueError: the folder is in use, or it holds another run or other files.
    """

    def __init__(self, folder: Path, fingerprint: Manifest) -> None:
        self.folder = folder
        self.path = folder / LEDGER_NAME
        self.warnings: list[str] = []
        self._acquire_folder()
        try:
            self.manifest = self._open_manifest(fingerprint)
            self._cut_torn_line()
            self._file = self.path.open("ab")
            self.records, warnings = read_ledger(folder)
        except BaseException:
            self._lock.close()
            raise
        self.warnings += warnings

    def _acquire_folder(self) -> None:
        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            strangers = {p.name for p in folder.iterdir()} - {".lock", RUN_NAME}
            if strangers and not (folder / RUN_NAME).exists():
                raise ValueError(
                    f"{folder} holds {min(strangers)} and no {RUN_NAME}: it is not a results "
                    "folder; give a new or an empty one with --results=DIR"
                )
            self._lock = (folder / ".lock").open("w")
        except OSError as error:
            raise ValueError(
                f"cannot use {folder} as results folder: {error.strerror}; give another with "
                "--results=DIR"
            ) from None
        if fcntl:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                raise ValueError(
                    f"{folder} is in use by another run: wait for it, or give another folder"
                ) from None

    def _open_manifest(self, fingerprint: Manifest) -> Manifest:
        path = self.folder / RUN_NAME
        manifest: Manifest
        self.resumed = path.exists()
        if not self.resumed:  # written first, so that a run that is killed now can be resumed
            manifest = {"schema_version": SCHEMA_VERSION, "fingerprint": fingerprint}
            _write(path, json.dumps(manifest, indent=1) + "\n")
            return manifest
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            old = manifest["fingerprint"]
        except (ValueError, KeyError, TypeError):
            message = f"{path} cannot be read: give a new folder with --results=DIR"
            raise ValueError(message) from None
        changed = differences(old, json.loads(json.dumps(fingerprint)))
        if changed:
            raise ValueError(
                f"{self.folder} holds another run and is not resumed: {'; '.join(changed[:3])}"
                f"{f' and {len(changed) - 3} more' if len(changed) > 3 else ''}. "
                "Give a new folder with --results=DIR"
            )
        return manifest

    def keep(self, **facts: object) -> None:
        """Add facts that were chosen at the start of a run, such as its sizes, to `run.json`."""
        self.manifest |= facts
        _write(self.folder / RUN_NAME, json.dumps(self.manifest, indent=1) + "\n")

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                file.truncate(end)
                self.warnings.append(
                    f"the last line of {self.path} was incomplete: its case runs again"
                )

    def append(self, record: Record) -> None:
        """Write a record; when this returns, the record is on disk (fsync).

        Raises:
            ValueError: the record violates the format; nothing is written.
        """
        self._file.write(dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records[record["case"] or record["environment"]] = record

    def finished(self, case: str) -> bool:
        """Return whether `case` has succeeded, so that a resumed run leaves it out."""
        return case in self.records and self.records[case]["status"] == "ok"

    def cases(self, group: str) -> list[Record]:
        """Return the records of the finished cases of one group."""
        return [r for r in self.records.values() if r["group"] == group and r["status"] == "ok"]

    def close(self) -> None:
        """Close the file and release the lock."""
        self._file.close()
        self._lock.close()

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
    base = Path("results")
    base.mkdir(exist_ok=True)
    _write(base / LATEST_NAME, f"{folder.resolve()}\n")
