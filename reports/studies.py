"""Results folders of one study → one run, so that one page shows a study of several folders."""

from __future__ import annotations

from collections.abc import Sequence

from bench.ledger.folders import moment
from bench.ledger.record import Record
from reports.load import Run


def joined(runs: Sequence[Run]) -> list[Run]:
    """Return runs of which those that are one study are one.

    A study is runs of the same suite, code of losses and texts that hold different cases; where
    they hold times, they are of one machine.
    """
    studies: list[list[Run]] = []
    for run in runs:
        for study in studies:
            if all(_of_one_study(run, other) for other in study):
                study.append(run)
                break
        else:
            studies.append([run])
    return [study[0] if len(study) == 1 else _join(study) for study in studies]


def _of_one_study(a: Run, b: Run) -> bool:
    for name in ("suite", "loss"):
        if a.fact("run", name) is None or a.fact("run", name) != b.fact("run", name):
            return False
    ran = [{n for n, r in run.records.items() if r["record"] == "case"} for run in (a, b)]
    alike = a.machines == b.machines and len(a.machines) == 1
    return not ran[0] & ran[1] and (alike or not (a.is_timed or b.is_timed))


def _join(study: Sequence[Run]) -> Run:
    """Return one run with the records of several; a case that ran anywhere is not left out."""
    records: dict[str, Record] = {}
    for run in study:
        for name, record in run.records.items():
            if record["record"] == "case" or name not in records:
                records[name] = record
    sessions = [pair for run in study for pair in run.environments.items()]
    return Run(
        label=" + ".join(run.label for run in study),
        folder=study[0].folder,
        records=records,
        environments=dict(sorted(sessions, key=lambda pair: moment(pair[1]["started_at"]))),
        warnings=[f"{run.label}: {line}" for run in study for line in run.warnings],
        parts={name: str(run.folder) for run in study for name in run.environments},
    )
