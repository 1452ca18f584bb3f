"""Runs that signals end: what they leave, their exit codes, and that they go on bit for bit."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptcore.training import loop as training_loop
from gptcore.training import stopping
from gptcore.training.checkpoints import latest_checkpoint
from gptcore.training.config import SCHEDULES
from tests.gptcore.training.test_extensions import assert_equal_runs
from tests.gptcore.training.test_runs import log_of, run
from tests.helpers.checkout import ROOT
from tests.helpers.counting import CONFIG

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

STEPS = 40
CONFIGS = {
    name: replace(CONFIG, steps=STEPS, schedule=name, micro_batch_size=2, ema_decay=0.9)
    for name in SCHEDULES
}
CHILD = """
import os, sys, threading, time
from pathlib import Path
from tests.gptcore.training import test_interruptions as t

def main():
    from gptcore import streams
    return streams.answer(streams.Parser, work, [])

def work(_options):
    folder, schedule, number, delay = sys.argv[1:]
    timer = threading.Timer(float(delay), os.kill, [os.getpid(), int(number)])
    def on_step(metrics):
        if metrics.step == 1:
            timer.start()
        time.sleep(0.01)
    t.run(Path(folder), t.CONFIGS[schedule], checkpoint_every=9, on_step=on_step)
"""


class EndedError(Exception):
    """What a handler of signals raises here."""


@pytest.fixture(params=["SIGINT", "SIGTERM", "SIGHUP"])
def number(request):
    """A signal, whose handler raises EndedError."""
    number = getattr(signal, request.param)

    def handle(_number, _frame):
        raise EndedError

    before = signal.signal(number, handle)
    yield number
    assert signal.getsignal(number) is handle
    signal.signal(number, before)


@pytest.mark.parametrize(
    ("schedule", "number", "delay"),  # of the 0.4 s at least that the steps take
    [
        ("constant", signal.SIGKILL, 0.2),
        ("cosine", signal.SIGTERM, 0.1),
        ("wsd", signal.SIGINT, 0.3),
    ],
)
def test_a_run_that_a_signal_ended_at_any_moment_goes_on_bit_for_bit(
    tmp_path, schedule, number, delay
):
    (tmp_path / "program.py").write_text(CHILD)
    default = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)"  # it may be ignored
    default = "" if number == signal.SIGKILL else default
    result = subprocess.run(
        [sys.executable, "-c", f"{default}\nfrom gptcore.streams import run; run('program')",
         str(tmp_path / "run"), schedule, str(int(number)), str(delay)],
        cwd=ROOT, capture_output=True, check=False, timeout=120,
        env=os.environ | {
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        },
    )  # fmt: skip
    killed = number == signal.SIGKILL
    assert result.returncode == (-number if killed else 128 + number), result.stderr
    assert result.stderr.count(b"\n") <= 1
    if not killed:
        step = log_of(tmp_path / "run")[-1]["step"]
        assert 0 < step < STEPS
        assert latest_checkpoint(tmp_path / "run/checkpoints").name == f"step-{step:08}.pt"
        summary = json.loads((tmp_path / "run/summary.json").read_bytes())
        assert (summary["finished"], summary["step"]) == (False, step)
    run(tmp_path / "run", CONFIGS[schedule], resume=True)
    run(tmp_path / "unbroken", CONFIGS[schedule])
    assert_equal_runs(tmp_path / "run", tmp_path / "unbroken")


def raise_at(number: int, step: int, times: int = 1):
    def on_step(metrics):
        if metrics.step == step:
            for _ in range(times):
                signal.raise_signal(number)

    return on_step


def test_a_signal_does_what_it_did_before_when_step_checkpoint_and_summary_are_done(
    tmp_path, number
):
    with pytest.raises(EndedError):
        run(tmp_path, on_step=raise_at(number, 4))
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000004.pt"
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert (summary["step"], summary["finished"]) == (4, False)
    assert not (tmp_path / ".lock").exists()


def test_a_signal_that_comes_twice_at_once_counts_once(tmp_path, number):
    """`timeout` signals a process and then its group, so that one process gets both."""
    with pytest.raises(EndedError):
        run(tmp_path, on_step=raise_at(number, 4, times=3))
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000004.pt"


def test_a_second_signal_does_not_wait(tmp_path, number, monkeypatch):
    monkeypatch.setattr(stopping, "SAME_SIGNAL_S", -1)
    with pytest.raises(EndedError):
        run(tmp_path, on_step=raise_at(number, 4, times=2))
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_another_signal_after_the_first_does_not_wait_either(tmp_path, number, monkeypatch):
    monkeypatch.setattr(stopping, "SAME_SIGNAL_S", -1)
    first = signal.SIGTERM if number == signal.SIGHUP else signal.SIGHUP

    def on_step(_metrics):
        signal.raise_signal(first)
        signal.raise_signal(number)

    with pytest.raises(EndedError):
        run(tmp_path, on_step=on_step)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run(tmp_path, on_step=raise_at(signal.SIGTERM, 4))["finished"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_returns_does_not_let_the_run_go_on(tmp_path):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with pytest.raises(SystemExit) as error:
            run(tmp_path, on_step=raise_at(signal.SIGTERM, 4))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (error.value.code, seen) == (143, [1])
    assert len(log_of(tmp_path)) == 4


def test_outside_the_main_thread_signals_are_left_alone(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), set()
    thread = threading.Thread(
        target=run, args=[tmp_path],
        kwargs={"on_step": lambda _: seen.add(signal.getsignal(signal.SIGTERM))},
    )  # fmt: skip
    thread.start()
    thread.join()
    assert seen == {before}


def test_a_weight_that_is_not_finite_never_reaches_a_checkpoint(tmp_path, monkeypatch):
    real = training_loop.train_step

    def bad_step(model, *args, **options):
        numbers = real(model, *args, **options)
        if len(log_of(tmp_path)) == 5:  # the loss and the gradient of the step are still finite
            with torch.no_grad():
                model.lm_head.weight[0, 0] = torch.inf
        return numbers

    monkeypatch.setattr(training_loop, "train_step", bad_step)
    with pytest.raises(ValueError, match=r"diverged at step 6: a weight .*learning_rate.*warmup_st"
                       r".*the last good checkpoint is .*step-00000004\.pt$") as error:  # fmt: skip
        run(tmp_path, checkpoint_every=2)
    assert "\n" not in str(error.value)
    names = sorted(path.name for path in Path(tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000002.pt", "step-00000004.pt"]
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3, 4, 5, 6]
