import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.measuring import memory, pinning, processes, references, workloads
from bench.measuring.processes import measure_in_processes
from bench.suite.cases import ModelCase
from tests.helpers.checkout import ROOT
from tests.helpers.fake_benchmark import work

CORPUS = "python-docs"
STEP = "bench_model::test_step"
SMALL = ModelCase(CORPUS, "model3", "cpu", "fp32", 2, 64, "step")


def test_each_process_gives_times_phases_references_and_peaks():
    first, second = measure_in_processes(
        STEP, SMALL, {"specs": [CORPUS]}, processes=2, budget_s=0.1
    )
    logits = 2 * 64 * 50257 * 4  # B * T * V in fp32: a step holds them and their gradient
    phases = ("data", "forward", "loss", "backward", "optimizer")
    for each in (first, second):
        assert len(each.time_s) >= 3
        assert all(0 < t < 60 for t in each.time_s)
        assert set(each.phases_s) == set(phases)
        assert all(len(values) == len(each.time_s) for values in each.phases_s.values())
        assert {len(values) for values in each.references.values()} == {2}
        assert each.peaks["peak_bytes"] > 2 * logits
        assert {f"{phase}_peak_bytes" for phase in phases} < set(each.peaks)


@pytest.mark.parametrize("peak_is_known", [True, False])
def test_rounds_fill_the_budget_even_if_the_first_call_compiles(monkeypatch, peak_is_known):
    seconds = itertools.chain([0.3], itertools.repeat(0.002))
    slow_at_first = work(lambda _end_phase: time.sleep(next(seconds)))
    monkeypatch.setattr(workloads, "work_of", lambda *_: slow_at_first)
    monkeypatch.setattr(pinning, "pin", lambda **_: None)
    monkeypatch.setattr(references, "references", lambda _device: {})
    if not peak_is_known:
        monkeypatch.setattr(memory, "read_peaks", lambda _work: {})
    task = {"test": STEP, "kind": "ModelCase", "case": dataclasses.asdict(SMALL)}
    answer = processes._answer(task | {"specs": [CORPUS], "budget_s": 0.2})
    assert 50 <= len(answer["time_s"]) <= 100


def test_process_that_fails_says_why(monkeypatch, tmp_path):
    stand_in = tmp_path / "bench" / "measuring"  # of the module itself, which takes seconds to load
    stand_in.mkdir(parents=True)
    (stand_in / "processes.py").write_text("print('noise')\nraise ValueError(input())")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    wrong = dataclasses.replace(SMALL, model="model9")
    with pytest.raises(ValueError, match=r"new process ended without an answer: .*model9"):
        measure_in_processes(STEP, wrong, {"specs": [CORPUS]}, processes=1, budget_s=0.1)


def test_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(processes, "TIME_LIMIT_S", 0.2)
    with pytest.raises(ValueError, match="new process ended without an answer"):
        measure_in_processes(STEP, SMALL, {"specs": [CORPUS]}, processes=1, budget_s=0.1)


PARENT = """
from bench.suite.cases import ModelCase
from bench.measuring.processes import measure_in_processes
case = ModelCase("python-docs", "model3", "cpu", "fp32", 2, 64, "step")
measure_in_processes("bench_model::test_step", case, {"specs": ["python-docs"]}, 1, budget_s=600)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_process_ends_with_the_one_that_asked():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT)
    deadline = time.monotonic() + 60
    children = []
    while not children and time.monotonic() < deadline:
        time.sleep(0.1)
        children = psutil.Process(parent.pid).children()
    time.sleep(0.5)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert children
    assert not alive
