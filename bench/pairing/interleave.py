"""Times the same cases of two checkouts in turns: `python -m bench compare --interleave CHECKOUT`.

In each round every case is timed once in each checkout, in a fresh process that runs the code of
that checkout; which one comes first alternates. Both meet the same machine, so the ratio inside a
round is free of its drift. Each time is on disk before the next one is measured. A run that was
stopped goes on in the same folder.
"""

from __future__ import annotations

import os
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.ledger.ledger import Ledger
from bench.ledger.record import Record, new_record, utc_now
from bench.measuring.environment import ROOT
from bench.measuring.processes import ask, run_python
from bench.suite.sizes import SUITES
from gptcore.console import Progress, clock
from gptcore.plain_text import shorten, visible

LISTING = Path(__file__).with_name("listing.py")
SIDES = ("base", "new")
Case = dict[str, Any]


@dataclass
class Side:
    """One checkout: its folder, what it lists of itself, and its ledger."""

    root: Path
    listed: dict[str, Any]
    ledger: Ledger
    environment: str

    def record(self, **fields: Any) -> Record:
        """Return a record with the fields that all records of this side share."""
        command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
        commit = self.listed["commit"]
        return new_record(environment=self.environment, command=command, commit=commit, **fields)

    def times(self, case: str) -> list[float]:
        """Return the time of each round of a case that is on disk."""
        known = self.ledger.records.get(case, {"samples": {}})
        return list(known["samples"].get("process_time_s", []))

    def time(self, name: str, case: Case, rounds: int) -> bool:
        """Time one more round after `rounds` of them; return whether the case ended well."""
        known = self.ledger.records.get(name, {"samples": {}, "facts": {}})
        samples = {key: list(values) for key, values in known["samples"].items()}
        counts = known["facts"].get("process_rounds", [])
        _cut(samples, counts, rounds)
        shared = {"case": name, **{key: case[key] for key in ("group", "params", "seed")}}
        start = time.perf_counter()
        try:
            answer = ask(case["task"], self.root)
        except ValueError as error:
            reason = shorten(str(error), 300)
            self.ledger.append(self.record(**shared, status="failed", reason=reason))
            return False
        added = {"process_time_s": [statistics.median(answer["time_s"])]}
        added |= {"time_s": answer["time_s"], **answer.get("references", {})}
        for key, values in added.items():
            samples[key] = [*samples.get(key, []), *values]
        medians = samples["process_time_s"]
        metrics = {
            "time_s": statistics.median(samples["time_s"]),
            "process_time_s": statistics.median(medians),
            "processes": len(medians),
            "rounds": len(samples["time_s"]),
        }
        facts = {"process_rounds": [*counts, len(answer["time_s"])]}
        duration_s = time.perf_counter() - start
        self.ledger.append(
            self.record(
                **shared, metrics=metrics, samples=samples, facts=facts, duration_s=duration_s
            )
        )
        return True


def _cut(samples: dict[str, list[float]], counts: list[int], rounds: int) -> None:
    """Forget what follows the first `rounds` rounds, which the other side lacks."""
    whole = len(counts)
    if whole <= rounds:
        return
    del samples["time_s"][sum(counts[:rounds]) :]
    for key, values in samples.items():
        if key != "time_s":
            del values[len(values) * rounds // whole :]
    del counts[rounds:]


def interleave(
    checkout: Path,
    *,
    suite: str,
    specs: Sequence[str] = ("python-docs",),
    rounds: int,
    only: str = "",
    folder: Path | None = None,
    new: Path | None = None,
) -> tuple[Path, Path]:
    """Time the cases of two checkouts in turns.

    Args:
        checkout: folder of the code that NEW is compared with.
        suite: the suite whose timed cases are run.
        specs: the texts: names, or paths.
        rounds: number of rounds, at least 2.
        only: run only cases with this text in their id.
        folder: where both ledgers go, in `base` and `new`; a run found there goes on.
        new: folder of the later code, by default this checkout.

    Returns:
        The results folders of the two sides.

    Raises:
        ValueError: a folder is no checkout, the suite is unknown, no case is common to both, or all
            cases failed.
    """
    roots = [_checkout(checkout), _checkout(new or ROOT)]
    specs = [str(Path(spec).resolve()) if Path(spec).exists() else spec for spec in specs]
    listed = [_list(root, suite, specs) for root in roots]
    names = [n for n in listed[1]["cases"] if n in listed[0]["cases"] and only in n]
    if not names:
        raise ValueError(
            f"the checkouts have no timed case of suite {suite} with {shorten(only)!r} in its id "
            f"in common; cases of this one: {', '.join(list(listed[1]['cases'])[:3])}, …"
        )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = folder or Path("results") / f"interleaved-{stamp}"
    shas = [each["fingerprint"]["source_sha256"] for each in listed]
    ledgers: list[Ledger] = []
    try:
        for name, each in zip(SIDES, listed, strict=True):
            key = {"interleaved": shas, "cases": names, **each["fingerprint"]}
            ledgers.append(Ledger(folder / name, key))
        _run(_sides(roots, listed, ledgers, stamp), names, rounds, folder)
    finally:
        for ledger in ledgers:
            ledger.close()
    return folder / SIDES[0], folder / SIDES[1]


def _checkout(path: Path) -> Path:
    needed = ("bench/measuring/processes.py", "bench/suite/catalog.py", "gptcore/__init__.py")
    missing = [name for name in needed if not (path / name).is_file()]
    if missing:
        raise ValueError(
            f"{path} is not a checkout of gptcore, or of a version that is too old, because it "
            f"lacks {missing[0]}: give the folder of another one, for example that of "
            "`git worktree add ../base origin/main`"
        )
    return path.resolve()


def _list(root: Path, suite: str, specs: Sequence[str]) -> dict[str, Any]:
    if suite not in SUITES:
        known = ", ".join(SUITES)
        raise ValueError(f"suite {shorten(suite)!r} is unknown: choose one of {known}")
    program = ["-c", LISTING.read_text(encoding="utf-8")]
    task = {"suite": suite, "specs": specs}
    try:
        return run_python(program, task, root)
    except ValueError as error:
        raise ValueError(f"{root} cannot list its cases: {error}") from None


def _sides(
    roots: Sequence[Path], listed: Sequence[dict[str, Any]], ledgers: Sequence[Ledger], stamp: str
) -> list[Side]:
    """Return both sides, their environments recorded; an id says that they belong together."""
    pairing = ledgers[0].manifest.get("interleaved") or f"{stamp}-{os.getpid()}"
    sides = []
    for root, known, ledger in zip(roots, listed, ledgers, strict=True):
        ledger.keep(interleaved=pairing)
        side = Side(root, known, ledger, f"{utc_now()}-{os.getpid()}")
        run = known["facts"]["run"] | {"interleaved": pairing, "folder": str(ledger.folder)}
        ledger.append(side.record(record="environment", facts=known["facts"] | {"run": run}))
        sides.append(side)
    return sides


def _run(sides: Sequence[Side], names: Sequence[str], rounds: int, folder: Path) -> None:
    progress = Progress("process", few=1)
    total, done = 2 * rounds * len(names), 0
    lost: set[str] = set()
    print(
        f"{len(names)} cases, {rounds} rounds, {total} processes; results: {visible(str(folder))} "
        f"(--results={visible(str(folder))} resumes it)",
        file=sys.stderr,
        flush=True,
    )
    for turn in range(rounds):
        for index, name in enumerate(names):
            has = min(len(side.times(name)) for side in sides)
            to_time = name not in lost and has == turn  # on both sides, even if the first one fails
            for side in sides if (turn + index) % 2 == 0 else sides[::-1]:
                if to_time:
                    to_go = clock(progress.to_go_s(done, total))
                    where = SIDES[sides.index(side)]
                    print(
                        f"[{done + 1}/{total}] round {turn + 1}, {to_go} to go · {where} "
                        f"{visible(name)}",
                        file=sys.stderr,
                        flush=True,
                    )
                    if not side.time(name, side.listed["cases"][name], turn):
                        lost.add(name)
                done += 1
    if len(lost) == len(names):
        reason = next(r["reason"] for s in sides for r in s.ledger.records.values() if r["reason"])
        raise ValueError(f"no case could be timed in both checkouts: {reason}")
