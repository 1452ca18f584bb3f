"""Times a case in new processes, all alike, and reads its peak memory there.

Each process places memory and threads anew, so processes, and not rounds, are the independent
repetitions of a measurement. Every process reads the peak, although only the first is recorded:
the calls for it show how long a call takes, and they are the whole warm-up of long calls. A process
without them would not be like the others.

Only `ask` runs this file, as `python -m bench.measuring.processes`: the child reads its task as one
line of JSON from standard input and writes its answer as the last line of standard output.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from bench.measuring.environment import ROOT
from bench.measuring.work import ProcessTimes
from gptcore.plain_text import shorten

TIME_LIMIT_S = 1_800
FEWEST_ROUNDS = 3
"""Calls timed in each process at least: the median of fewer is the time of one call."""


def measure_in_processes(
    test: str, case: Any, arguments: dict[str, Any], processes: int, budget_s: float
) -> list[ProcessTimes]:
    """Time a case in new processes, one after the other.

    Args:
        test: the benchmark of the case, as in "bench_model::test_step".
        case: an instance of one of the classes in `bench.suite.cases`.
        arguments: those of the `Inputs` that the case uses, by name.
        processes: number of processes, at least 1.
        budget_s: timed seconds in each process; at least FEWEST_ROUNDS calls are timed.

    Raises:
        ValueError: a process ended without an answer.
    """
    task = {
        "test": test,
        "kind": type(case).__name__,
        "case": dataclasses.asdict(case),
        "budget_s": budget_s,
        **arguments,
    }
    return [ProcessTimes(**ask(task)) for _ in range(processes)]


def ask(task: dict[str, Any], root: Path | None = None) -> dict[str, Any]:
    """Return the answer of a new process that runs the code of a checkout, by default this one.

    A process that loads a user's model file runs in the present folder, from which that file may
    read.

    Raises:
        ValueError: the process ended without an answer.
    """
    folder = Path.cwd() if task.get("model") else None
    return run_python(["-m", "bench.measuring.processes"], task, root or ROOT, folder=folder)


def _environment(root: Path) -> dict[str, str]:
    """Return the variables of a process that imports gptcore from a checkout."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    paths = [str(root), os.environ.get("PYTHONPATH", "")]  # before an installed copy of gptcore
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_python(
    arguments: Sequence[str],
    task: dict[str, Any],
    root: Path,
    *,
    folder: Path | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """Run Python with the code of a checkout, on a line of JSON; return the JSON of its last line.

    Args:
        arguments: those of Python.
        task: what the process reads as one line of standard input, which then stays open.
        root: the checkout.
        folder: the folder in which the process runs, by default the checkout.
        limit_s: seconds after which the process is ended; None for TIME_LIMIT_S.

    Raises:
        ValueError: the process ended without an answer.
    """
    pipe = subprocess.PIPE
    output = ""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder or root,
            env=_environment(root),
            stdin=pipe,
            stdout=pipe,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        limit = threading.Timer(limit_s or TIME_LIMIT_S, process.kill)
        limit.start()
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()  # it stays open: the child ends when this end is closed
            output = process.stdout.read()
            process.wait()
        except BrokenPipeError:  # the child ended before it read its input
            process.wait()
        finally:
            limit.cancel()
            process.kill()
        errors.seek(0)
        return _read(output, errors.read().strip().splitlines(), process.wait())


def _read(output: str, lines: list[str], code: int) -> dict[str, Any]:
    """Return the JSON of the last line; `lines` are those of standard error."""
    if code != 0 or not output.strip():
        why = shorten(lines[-1], 200) if lines else f"exit code {code}"
        raise ValueError(f"the new process ended without an answer: {why}")
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


def end_with_parent() -> None:
    """End this process when standard input closes, which means that the parent has ended."""
    sys.stdin.read()
    os._exit(1)


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    from bench.measuring import pinning
    from bench.measuring.clock import PhaseClock, compilations, prepare, quiet_gc, rounds_for
    from bench.measuring.memory import read_peaks
    from bench.measuring.references import references
    from bench.measuring.workloads import work_of
    from bench.suite.catalog import Case
    from bench.suite.inputs import Inputs
    from gptcore.devices import synchronize

    pinning.pin(keep_memory=False)  # peak memory is that of malloc's default settings
    kinds = {kind.__name__: kind for kind in get_args(Case)}
    case = kinds[task["kind"]](**task["case"])
    work = work_of(task["test"], case, Inputs(task["specs"], task.get("model")))
    calls_s, warmup_s, budget_s = list[float](), list[float](), task["budget_s"]

    def call(end_phase: Callable[[str], None]) -> None:
        start = time.perf_counter_ns()
        work.call(end_phase)
        synchronize(work.device)
        calls_s.append((time.perf_counter_ns() - start) / 1e9)

    peaks = read_peaks(dataclasses.replace(work, call=call))
    pinning.pin()  # times are measured with the same settings as in the main process
    work.restore()
    clock = PhaseClock(work.device)
    if not calls_s or min(calls_s) < budget_s / 10:  # longer calls are warm after read_peaks
        _, warmup_s, _ = prepare(work, clock, budget_s / 2)
    before, compiled = references(work.device), compilations()
    with quiet_gc():
        for _ in range(rounds_for(warmup_s or calls_s, budget_s, FEWEST_ROUNDS)):
            clock.start()
            work.call(clock.end_phase)
            clock.stop()
    if compilations() != compiled:
        sys.exit("torch.compile compiled while the clock ran: give the model inputs of one shape")
    after = references(work.device)
    return {
        "time_s": clock.totals_s,
        "peaks": peaks,
        "phases_s": clock.times_s,
        "device_s": clock.device_s,
        "warmup_s": warmup_s,
        "references": {name: [before[name], after[name]] for name in before},
    }


if __name__ == "__main__":
    line = sys.stdin.readline()
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps(_answer(json.loads(line))))
