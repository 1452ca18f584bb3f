"""Options of small runs of the suite, and what such a run has recorded."""

import json

SMOKE = ("--benchmark-only", "--suite=smoke")

ONE_CASE = (*SMOKE, "-k", "sequential-keep")


def cases(folder, record="case"):
    *lines, _unfinished = (folder / "records.jsonl").read_bytes().split(b"\n")  # it may be growing
    return [r["case"] for r in map(json.loads, lines) if r["record"] == record]
