"""Times a pair in several new processes: the ratio of B to A, with what processes differ by.

A process places its memory, code and threads once, and all its pairs share what it got. More pairs
in one process therefore make an interval shorter, but not right. So the seconds are divided among
new processes, each builds both operands anew and times them in turns, and the interval is that of
Student's t over the processes. Only `run` starts this file as a program, as
`python -m bench.pairing.processes`: it reads its task as one line of JSON from standard input, and
the last line of its standard output is its answer.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from bench.measuring.environment import ROOT
from bench.measuring.processes import TIME_LIMIT_S, end_with_parent, run_python
from bench.options import MARGIN
from bench.pairing.pair import PairsDone, what_decides
from gptcore.stats import TimeRatio, log_ratio_of_pairs, ratio_of_pairs, verdict

PROCESSES = 6
"""With 6, Student's factor is 2.6; with 3 it would be 4.3."""
FEWEST_PROCESSES = 2

Task = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class ProcessPairs:
    """The pairs of several processes and the ratio over them.

    Attributes:
        answers: what each process answered: `a_time_s`, `b_time_s`, `first`, `a_calls`, `b_calls`,
            `warmup_s`, `seconds`, `warnings`, `device` and `threads`.
        ratio: time of b over time of a, with Student's interval over the processes.
        within: the same of each process, with the interval over its own pairs; None with too few.
        margin: relative difference that counts as none.
        verdict: "slower", "faster", "same" or "ambiguous", of b compared with a.
        warnings: what makes the result less certain, one sentence each.
    """

    answers: list[Answer]
    ratio: TimeRatio
    within: list[TimeRatio | None]
    margin: float
    verdict: str
    warnings: list[str]

    def joined(self, name: str) -> list[Any]:
        """Return a list of all processes, one after the other."""
        return [value for answer in self.answers for value in answer[name]]

    def total(self, name: str) -> float:
        """Return the sum of a number over the processes."""
        return float(sum(answer[name] for answer in self.answers))

    @property
    def log_ratios(self) -> list[float]:
        """Return ln of the ratio of each process."""
        return [_log_ratio(answer) for answer in self.answers]

    @property
    def spread(self) -> float:
        """Return the standard deviation of ln of the ratio between processes."""
        return statistics.stdev(self.log_ratios)


def _log_ratio(answer: Answer) -> float:
    return log_ratio_of_pairs(*_pairs(answer))


def _pairs(answer: Answer) -> tuple[list[float], list[float], list[bool]]:
    return answer["a_time_s"], answer["b_time_s"], [name == "a" for name in answer["first"]]


def ratio_of_processes(log_ratios: Sequence[float]) -> TimeRatio:
    """Return the ratio b / a over processes, with Student's 95 % interval.

    Every pair of one process shares what the process happened to get: the addresses of its memory,
    code and threads. That shift does not shrink with more pairs, so a process counts as one
    observation (Kalibera and Jones, ISMM 2013; Mytkowicz et al., ASPLOS 2009).

    Args:
        log_ratios: `log_ratio_of_pairs` of each process, at least 2.

    Raises:
        ValueError: fewer than 2 processes.
    """
    n = len(log_ratios)
    if n < FEWEST_PROCESSES:
        raise ValueError(f"{n} processes: give at least {FEWEST_PROCESSES}")
    mean, error = statistics.fmean(log_ratios), statistics.stdev(log_ratios) / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return TimeRatio(*(math.exp(mean + shift) for shift in (0.0, -half, half)))


def pair_in_processes(
    task: Task,
    seconds: float,
    *,
    processes: int = PROCESSES,
    margin: float = MARGIN,
    progress: PairsDone = lambda _done, _total: None,
    run: Callable[[Task], Answer] | None = None,
) -> ProcessPairs:
    """Time a pair in `processes` new processes, one after the other.

    Args:
        task: what `answer` reads, without the seconds.
        seconds: seconds of timing over all processes.
        processes: number of processes, at least FEWEST_PROCESSES.
        margin: relative difference that counts as none.
        progress: called with (processes done, processes in all).
        run: runs one task; by default in a new process.

    Raises:
        ValueError: a process could not time the pair.
    """
    answers = []
    for done in range(1, processes + 1):
        answers.append((run or run_in_process)(task | {"seconds": seconds / processes}))
        progress(done, processes)
    return summarise(answers, margin)


def summarise(answers: list[Answer], margin: float) -> ProcessPairs:
    """Return the ratio over the processes that gave `answers`, with its verdict."""
    ratio = ratio_of_processes([_log_ratio(answer) for answer in answers])
    within = [ratio_of_pairs(*_pairs(answer)) for answer in answers]
    outcome = verdict(ratio.ratio, ratio.low, ratio.high, margin=margin)
    warnings = list(dict.fromkeys(line for answer in answers for line in answer["warnings"]))
    if outcome == "ambiguous" and margin > 0:
        seconds = sum(answer["seconds"] for answer in answers)
        warnings.append(what_decides(ratio.high / ratio.low, margin, seconds, len(answers)))
    return ProcessPairs(answers, ratio, within, margin, outcome, warnings)


def run_in_process(task: Task) -> Answer:
    """Run a task in a new process, which ends with this one.

    Raises:
        ValueError: the process could not time the pair, or ended without an answer.
    """
    result: Answer = run_python(
        ["-m", "bench.pairing.processes"],
        task,
        ROOT,
        folder=Path.cwd(),
        limit_s=TIME_LIMIT_S + 2 * task["seconds"],
    )
    if "error" in result:
        raise ValueError(result["error"])
    return result


def answer(task: Task) -> Answer:
    """Build both operands in this process and time them in turns.

    Args:
        task: `seconds`; `corpora`, the texts; perhaps `model`, a model file; and either `a` and `b`
            as `operands.build` reads them, or `test`, `base` (the fields of a ModelCase) and
            `change`. With `works`, each kind of work of `base` is timed for a share of the seconds.

    Returns:
        What `Answer` holds; with `works`, kind of work → that.
    """
    from bench.measuring.pinning import pin
    from bench.pairing.operands import build
    from bench.suite.inputs import Inputs

    state = pin()
    if "test" not in task and "works" not in task:
        return _time(build(task["a"], task["b"], task["corpora"]), task["seconds"], state)
    inputs = Inputs(task["corpora"], task.get("model"))
    if "test" in task:
        return _time(_case_and_change(task, inputs), task["seconds"], state)
    seconds = task["seconds"] / len(task["works"])
    return {
        work: _time(_case_and_change(task | _of_work(task, work), inputs), seconds, state)
        for work in task["works"]
    }


def _of_work(task: Task, work: str) -> Task:
    return {"test": f"bench_model::test_{work}", "base": task["base"] | {"work": work}}


def _time(operands: tuple[Any, Any], seconds: float, state: dict[str, Any]) -> Answer:
    from bench.pairing.pair import time_in_turns
    from gptcore.checking.python_file import one_line
    from gptcore.devices import device_label

    a, b = operands
    try:
        timed = time_in_turns(a, b, seconds, fewest=2)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a call may even raise SystemExit
        raise ValueError(f"a call failed: {one_line(error)}") from error
    return timed | {"device": device_label(a.device), "threads": state["intra_op_threads"]}


def _case_and_change(task: Task, inputs: Any) -> tuple[Any, Any]:
    from bench.measuring.workloads import change, work_of
    from bench.suite.cases import ModelCase

    case = ModelCase(**task["base"])
    other = change(case, task["change"]) if task["change"] else case
    return work_of(task["test"], case, inputs), work_of(task["test"], other, inputs)


def main() -> None:
    """Read a task, and print the answer or the reason why there is none as one line of JSON."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    with redirect_stdout(sys.stderr):  # what the operands print is no answer
        try:
            found = answer(task)
        except ValueError as error:
            found = {"error": str(error)}
    print(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main()
