"""The format of a record, which is one JSON object in one line: writing, reading and checking it.

This module uses only the standard library, so that a report can be rendered without torch. The key
`record` says what a record is: a finished "case", the "environment" of a session, or a "skip" (a
case that did not run, and why). Unknown values are null; NaN and infinity are refused. The last key
of a line is `crc32`, a checksum of the bytes before it (`gptcore/lines.py`), which is checked and
taken off when the line is read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.ledger.checks import check_json, check_params, check_row
from bench.ledger.schema import INF, LARGEST, METRICS, SAMPLES, SERIES, Key
from gptcore.lines import CHECKSUM, VersionError, dump_line, load_line, load_lines
from gptcore.reading import read_bytes

SCHEMA_VERSION = 3
NOT_RUN = "not run: "
"""Begins the reason of a case that a suite left out because its time was too short."""
READ_VERSIONS = (2, 3)
"""Versions of records that can be read. Those of version 2 have no checksum."""

LEDGER_NAME = "records.jsonl"
RUN_NAME = "run.json"
LATEST_NAME = "latest"
"""Text file in `results/` that holds the path of the newest run."""

Record = dict[str, Any]

# Every key of a record with the types allowed for its value.
FIELDS: dict[str, tuple[type, ...]] = {
    "schema_version": (int,),
    "record": (str,),
    "case": (str, type(None)),
    "group": (str, type(None)),
    "params": (dict,),
    "status": (str,),
    "reason": (str, type(None)),
    "metrics": (dict,),
    "samples": (dict,),
    "series": (dict,),
    "environment": (str,),
    "facts": (dict,),
    "started_at": (str,),
    "duration_s": (int, float, type(None)),
    "seed": (int, type(None)),
    "command": (str,),
    "commit": (str, type(None)),
}
STATUS = {"case": {"ok", "failed"}, "environment": {"ok"}, "skip": {"skipped"}}
CASE_ID = re.compile(r"\w+::\w+(\[[^\n]*\])?")


def new_record(*, environment: str, command: str, commit: str | None, **fields: Any) -> Record:
    """Return a record that starts now, with these fields and plain values of the others."""
    return {
        "schema_version": SCHEMA_VERSION,
        "record": "case",
        "case": None,
        "group": None,
        "params": {},
        "status": "ok",
        "reason": None,
        "metrics": {},
        "samples": {},
        "series": {},
        "environment": environment,
        "facts": {},
        "started_at": utc_now(),
        "duration_s": None,
        "seed": None,
        "command": command,
        "commit": commit,
    } | fields


def _check_number(name: str, value: object, key: Key) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"metric {name} is {value!r}: it must be a number or null")
    high = min(key.high, LARGEST)
    if not max(key.low, -LARGEST) <= value <= high:
        raise ValueError(f"metric {name} is {value} {key.unit}: allowed is {key.low} to {high:.3g}")
    if key.whole and value != int(value):
        raise ValueError(f"metric {name} is {value}: it must be a whole number")


def _check_samples(name: str, values: object) -> None:
    if name not in SAMPLES:
        raise ValueError(f"unknown samples {name!r}: add the name to bench/ledger/schema.py")
    if not isinstance(values, list):
        raise ValueError(f"samples {name} must be a list")
    for value in values:
        if value is None:
            raise ValueError(f"samples {name} hold null: leave out values that were not measured")
        _check_number(name, value, METRICS[name])


def _check_series(name: str, rows: object) -> None:
    if name not in SERIES:
        raise ValueError(f"unknown series {name!r}: add it to bench/ledger/schema.py")
    if not isinstance(rows, list):
        raise ValueError(f"series {name} must be a list of rows")
    for row in rows:
        check_row(name, row)


def validate(record: object) -> Record:
    """Return `record` if it follows the format.

    Raises:
        VersionError: the record has a schema version that cannot be read.
        ValueError: a key is missing or unknown, or its value has a wrong type or is out of range.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a record is a JSON object, got {type(record).__name__}")
    version = record.get("schema_version")
    if type(version) is int and version not in READ_VERSIONS:
        raise VersionError(
            f"schema version {version} cannot be read, only {' and '.join(map(str, READ_VERSIONS))}"
            " can: measure again, or use the version of the suite that wrote it"
        )
    if record.keys() != FIELDS.keys():
        odd = sorted(record.keys() ^ FIELDS.keys())
        raise ValueError(f"keys missing or unknown: {', '.join(odd)}")
    for name, types in FIELDS.items():
        value = record[name]
        if not isinstance(value, types) or isinstance(value, bool):
            allowed = " or ".join(t.__name__ for t in types)
            raise ValueError(f"{name} is {value!r}: it must be {allowed}")
    if record["status"] not in STATUS.get(record["record"], ()):
        raise ValueError(f"record {record['record']!r} with status {record['status']!r}")
    if record["record"] != "environment" and not CASE_ID.fullmatch(record["case"] or ""):
        raise ValueError(f"case id {record['case']!r} is not module::test[params]")
    if record["status"] != "ok" and not record["reason"]:
        raise ValueError(f"{record['case']} is {record['status']} without a reason")
    duration = record["duration_s"]
    if duration is not None and not 0 <= duration < INF:
        raise ValueError(f"duration_s is {duration}: it must be finite and not negative")
    datetime.fromisoformat(record["started_at"])
    check_json([record["seed"], duration], "seed or duration_s")
    check_params(record["params"])
    check_json(record["facts"], "facts")
    for name, value in record["metrics"].items():
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}: add it to bench/ledger/schema.py")
        _check_number(name, value, METRICS[name])
    for name, values in record["samples"].items():
        _check_samples(name, values)
    for name, rows in record["series"].items():
        _check_series(name, rows)
    return record


def dumps(record: Record) -> str:
    """Return a valid record as one line of JSON with its checksum, without the line break."""
    return dump_line(validate(record))


def loads(line: str) -> Record:
    """Parse and check one line; the record comes without its checksum.

    Raises:
        VersionError: the record has a schema version that cannot be read.
        ValueError: the line is not JSON, not a record, or not as it was written.
    """
    value = load_line(line)
    checksum = value.pop(CHECKSUM, None)
    record = validate(value)
    if checksum is None and record["schema_version"] > 2:
        raise ValueError(f"its checksum ({CHECKSUM}) is missing, so it was damaged or changed")
    return record


def read_ledger(folder: Path, name: str = LEDGER_NAME) -> tuple[dict[str, Record], list[str]]:
    """Read the records of one run.

    A line that cannot be read, for example an incomplete one, is left out with a warning. Of
    several records of one case, the last one counts.

    Args:
        folder: a results folder.
        name: the file in it, which may be compressed.

    Returns:
        Id of a case or an environment → its record, in the order of the file; and the warnings.

    Raises:
        ValueError: `folder` has no ledger, or one of another schema version.
    """
    path = folder / name
    try:
        content = read_bytes(path)
    except ValueError as error:
        if name != LEDGER_NAME:
            raise
        raise ValueError(f"{folder} is not a results folder: {error}") from None
    try:
        lines, warnings = load_lines(content, path.name, loads)
    except VersionError as error:
        raise ValueError(f"{path}: {error}") from None
    records: dict[str, Record] = {}
    for record in lines:
        name = record["case"] or record["environment"]
        records.pop(name, None)
        records[name] = record
    return records, warnings


def utc_now() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
