import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench import fresh
from bench.cases import ModelCase
from bench.fresh import measure_fresh

CORPUS = "python-docs"
STEP = "bench_model::test_step"
SMALL = ModelCase(CORPUS, "model3", "cpu", "fp32", 2, 64, "step")
ROOT = Path(__file__).parent.parent


def test_each_process_gives_its_own_time_and_the_first_its_peaks():
    found = measure_fresh(STEP, SMALL, [CORPUS], processes=2, budget_s=0.1)
    peaks = found.peaks
    assert len(found.time_s) == 2
    assert all(0 < t < 60 for times in found.time_s for t in times)
    logits = 2 * 64 * 50257 * 4  # B * T * V in fp32: a step holds them and their gradient
    assert peaks["peak_bytes"] > 2 * logits
    assert {f"{p}_peak_bytes" for p in ("data", "forward", "loss", "backward", "optimizer")} < set(
        peaks
    )


def test_process_that_fails_says_why(monkeypatch, tmp_path):
    stand_in = tmp_path / "bench"  # of bench.fresh itself, which takes seconds to load
    stand_in.mkdir()
    (stand_in / "__init__.py").touch()
    (stand_in / "fresh.py").write_text("print('noise')\nraise ValueError(input())")
    monkeypatch.setattr(fresh, "ROOT", tmp_path)
    wrong = dataclasses.replace(SMALL, model="model9")
    with pytest.raises(ValueError, match=r"fresh process ended without an answer: .*model9"):
        measure_fresh(STEP, wrong, [CORPUS], processes=1, budget_s=0.1)


def test_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(fresh, "TIME_LIMIT_S", 0.2)
    with pytest.raises(ValueError, match="fresh process ended without an answer"):
        measure_fresh(STEP, SMALL, [CORPUS], processes=1, budget_s=0.1)


PARENT = """
from bench.cases import ModelCase
from bench.fresh import measure_fresh
case = ModelCase("python-docs", "model3", "cpu", "fp32", 2, 64, "step")
measure_fresh("bench_model::test_step", case, ["python-docs"], 1, budget_s=600)
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
