"""A training run of the suite that is killed anywhere ends as one that was never killed."""

import itertools
import os
import subprocess
import sys

import pytest

from bench.experiments.kept_runs import CHECKPOINT_S, CURVE_NAME, RUN_NAME, train_kept
from gptcore.cost import energy
from gptcore.model.gpt import GPT
from tests.helpers.checkout import ROOT
from tests.helpers.counting import CONFIG, CPU, MODEL, batch_at

POINTS = (0, 3, 6, 10)


def run(folder, batch_at=batch_at, checkpoint_s=0.0):
    """Train 10 steps, by default with a checkpoint after each."""
    model = GPT(MODEL)
    return train_kept(
        folder, model, batch_at, CONFIG, device=CPU, fingerprint={}, epochs_per_step=0.5,
        points=POINTS, measure=lambda step: {"step": step, "loss": sum_of(model)},
        checkpoint_s=checkpoint_s,
    )  # fmt: skip


def sum_of(model):
    return model.lm_head.weight.sum().item()


def results_of(kept):
    return [(row["step"], row["loss"], row["grad_norm"]) for row in kept.log], kept.curve


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return results_of(run(tmp_path_factory.mktemp("unbroken") / "run"))


@pytest.fixture
def stopped(tmp_path):
    """Return the folder of a run that was stopped in its 9th step."""
    stop_at(8, tmp_path / "run")
    return tmp_path / "run"


def stop_at(step, folder, **options):
    def stop(number):
        if number == step:
            raise KeyboardInterrupt
        return batch_at(number)

    with pytest.raises(KeyboardInterrupt):
        run(folder, stop, **options)


def test_curve_has_a_row_for_every_point(unbroken):
    log, curve = unbroken
    assert [step for step, _, _ in log] == list(range(1, 11))
    assert [row["step"] for row in curve] == list(POINTS)


def test_energy_stands_beside_the_counters_that_showed_it(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "LEAST_S", 0.0)
    counters = {"RAPL": itertools.count(5, 7).__next__}
    monkeypatch.setattr(energy, "_processor_counters", lambda **_options: counters)
    kept = run(tmp_path / "run")
    assert (kept.energy_j, kept.facts["energy_source"]) == (7.0, "RAPL")
    again = run(tmp_path / "run")  # it trains no more, so the energy is that of before
    assert again.energy_j == 7.0


def test_short_run_has_one_checkpoint_at_its_end(tmp_path):
    stop_at(9, tmp_path / "run", checkpoint_s=CHECKPOINT_S)
    assert not (tmp_path / "run" / RUN_NAME / "checkpoints").exists()
    run(tmp_path / "run", checkpoint_s=CHECKPOINT_S)
    (checkpoint,) = (tmp_path / "run" / RUN_NAME / "checkpoints").iterdir()
    assert checkpoint.name == "step-00000010.pt"


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.bench.experiments import test_kept_runs as t
from gptcore.training.step import make_optimizer
make_optimizer(t.GPT(t.MODEL), t.CONFIG)  # what it imports is then shared by the forks
real, seen = {name: getattr(os, name) for name in ("fsync", "replace", "write")}, [0]
def call(name, kth):
    def wrapped(*arguments):
        seen[0] += 1
        if seen[0] == kth:
            if name == "write":  # half of a line
                real[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real[name](*arguments)
    return wrapped
for kth in range(4, 400, 11):
    process = os.fork()
    if not process:
        for name in real:
            setattr(os, name, call(name, kth))
        t.run(Path(sys.argv[1]) / str(kth))
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_run_that_is_killed_at_any_write_ends_as_an_unbroken_one(tmp_path, unbroken):
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=one_thread, check=True)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) > 4
    resumed = [run(folder) for folder in folders]
    assert all(results_of(kept) == unbroken for kept in resumed)
    assert not any("warnings" in kept.facts for kept in resumed)
    assert len({tuple(kept.facts["resumed_from"]) for kept in resumed}) > 2


@pytest.mark.parametrize("step", [0, 5])
def test_run_that_is_stopped_in_any_step_goes_on(tmp_path, unbroken, step):
    stop_at(step, tmp_path / "run")
    assert results_of(run(tmp_path / "run")) == unbroken


def test_run_that_has_ended_trains_no_more(tmp_path, unbroken):
    run(tmp_path / "run")
    again = run(tmp_path / "run", batch_at=None)
    assert results_of(again) == unbroken
    assert again.facts["resumed_from"] == []


def test_torn_line_of_the_curve_is_measured_again(stopped, unbroken):
    (stopped / CURVE_NAME).write_bytes((stopped / CURVE_NAME).read_bytes() + b'{"step":8,"lo')
    assert results_of(run(stopped)) == unbroken


def test_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(stopped, unbroken):
    (stopped / RUN_NAME / "checkpoints" / "step-00000008.pt").write_bytes(b"torn")
    kept = run(stopped)
    assert results_of(kept) == unbroken
    assert kept.facts["resumed_from"] == [7]
    assert "step-00000008.pt is damaged" in kept.facts["warnings"][0]


def damage_checkpoints(folder):
    for path in (folder / RUN_NAME / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])


DAMAGES = {
    "all checkpoints": damage_checkpoints,
    "no log": lambda folder: (folder / RUN_NAME / "metrics.jsonl").unlink(),
    "a line of the log": lambda folder: cut(folder / RUN_NAME / "metrics.jsonl"),
    "no summary": lambda folder: (folder / RUN_NAME / "summary.json").unlink(),
    "torn summary": lambda folder: (folder / RUN_NAME / "summary.json").write_text("{"),
    "no curve": lambda folder: (folder / CURVE_NAME).unlink(),
    "a line of the curve": lambda folder: cut(folder / CURVE_NAME),
    "no checksum": lambda folder: (folder / CURVE_NAME).write_text('{"step": 3}\n'),
}


def cut(path):
    """Change one character of the second line."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"4", b"5").replace(b"1", b"2")]))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_run_begins_again_and_says_so(stopped, unbroken, damage):
    DAMAGES[damage](stopped)
    kept = run(stopped)
    assert results_of(kept) == unbroken
    assert kept.facts["resumed_from"] == []
    (said,) = kept.facts["warnings"]
    assert said.startswith("the training run began again, because of damage: ")
