"""Training runs in a folder: what they leave, and that a resumed run equals an unbroken one."""

import errno
import itertools
import json
import math
import random
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gptcore.cost import energy
from gptcore.files import WriteError
from gptcore.model.gpt import GPT
from gptcore.training import loop as training_loop
from gptcore.training import resuming, run_folder, runs, stopping
from gptcore.training import step as training_step
from gptcore.training.checkpoints import latest_checkpoint
from gptcore.training.config import COMPILERS, StepMetrics, TrainConfig
from gptcore.training.runs import run_training
from tests.helpers.counting import CONFIG, CPU, MODEL, batch_at, steps_of
from tests.helpers.failing_calls import Fault


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c():
    """A background job starts with SIGINT ignored; Python then leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(out_dir: Path, config: TrainConfig = CONFIG, **options) -> dict:
    fingerprint = {"corpus": "counting", "sampler": ["random", 0]}
    arguments = {"device": CPU, "fingerprint": fingerprint, "epochs_per_step": 0.5} | options
    return run_training(out_dir, GPT(MODEL), batch_at, config, **arguments)


def log_of(out_dir: Path) -> list[dict]:
    log, damaged = resuming.read_log(out_dir / "metrics.jsonl")
    assert not damaged
    return log


def results_of(out_dir: Path) -> list[tuple]:
    return [(line["step"], line["loss"], line["grad_norm"], line["lr"]) for line in log_of(out_dir)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("unbroken")
    run(out_dir)
    return out_dir


def interrupt_at(step: int):
    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


def test_a_run_leaves_log_summary_and_two_checkpoints(tmp_path):
    summary = run(tmp_path, checkpoint_every=3)
    log = log_of(tmp_path)
    assert [list(line) for line in log] == [list(StepMetrics.__dataclass_fields__)] * 10
    assert summary == json.loads((tmp_path / "summary.json").read_bytes())
    assert {k: summary[k] for k in ("finished", "step", "steps", "tokens", "epochs")} == {
        "finished": True,
        "step": 10,
        "steps": 10,
        "tokens": 320,
        "epochs": 5.0,
    }
    assert summary["final_loss"] == log[-1]["loss"]
    assert summary["resumed_from"] == []
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000009.pt", "step-00000010.pt"]


def test_log_and_loop_agree_to_the_last_digit(unbroken):
    logged = [(line["loss"], line["grad_norm"]) for line in log_of(unbroken)]
    assert logged == [(m.loss, m.grad_norm) for m in steps_of()]


def test_steps_after_the_checkpoint_are_cut_from_the_log_and_done_again(tmp_path, unbroken):
    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == 8:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, checkpoint_every=3, on_step=on_step)
    assert len(log_of(tmp_path)) == 8
    with (tmp_path / "metrics.jsonl").open("ab") as log:
        log.write(b'{"step": 9, "tok')  # as a kill inside a write leaves it
    summary = run(tmp_path, checkpoint_every=3, resume=True)
    assert summary["resumed_from"] == [6]
    assert results_of(tmp_path) == results_of(unbroken)


def test_a_run_interrupted_twice_names_both_resumptions(tmp_path, unbroken):
    for step in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, on_step=interrupt_at(step), resume=True)
    assert run(tmp_path, resume=True)["resumed_from"] == [4, 7]
    assert results_of(tmp_path) == results_of(unbroken)


def test_ctrl_c_inside_a_step_waits_for_its_end(tmp_path, monkeypatch):
    real = training_step.train_step

    def interrupted_step(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(training_loop, "train_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert (summary["step"], summary["finished"]) == (1, False)
    assert (tmp_path / "checkpoints/step-00000001.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "SAME_SIGNAL_S", -1)

    def interrupted_step(*args, **options):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training_loop, "train_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert log_of(tmp_path) == []


def test_an_interrupt_raised_by_the_callback_leaves_a_checkpoint(tmp_path):
    def on_step(metrics: StepMetrics) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=on_step)
    assert (tmp_path / "checkpoints/step-00000001.pt").exists()


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, [4, 8, 10]), (0.0, [*range(1, 11)])])
def test_checkpoints_are_due_by_steps_or_by_time(tmp_path, monkeypatch, seconds, expected):
    saved: list[int] = []
    monkeypatch.setattr(
        runs.checkpoints, "save_checkpoint", lambda *args, **_options: saved.append(args[1])
    )
    run(tmp_path, checkpoint_every=4, checkpoint_s=seconds)
    assert saved == expected


def test_a_folder_with_a_run_is_refused_without_resume(unbroken):
    with pytest.raises(ValueError, match=r"holds a run; continue it with --resume"):
        run(unbroken)


def test_resuming_without_a_checkpoint_starts_afresh(tmp_path, unbroken):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"ste')
    assert run(tmp_path, resume=True)["resumed_from"] == []
    assert results_of(tmp_path) == results_of(unbroken)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = run(tmp_path)
    log = (tmp_path / "metrics.jsonl").read_bytes()
    assert run(tmp_path, resume=True) == first
    assert (tmp_path / "metrics.jsonl").read_bytes() == log


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, unbroken):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint_every=3, on_step=interrupt_at(7))
    newest = tmp_path / "checkpoints/step-00000007.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="step-00000007.pt is damaged"):
        summary = run(tmp_path, resume=True)
    assert summary["resumed_from"] == [6]
    assert results_of(tmp_path) == results_of(unbroken)
    assert not newest.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": {"corpus": "other", "sampler": ["random", 0]}}, "corpus is 'counting'"),
        ({"config": replace(CONFIG, seed=1)}, r"train\.seed is 0 there and 1 here"),
        ({"config": replace(CONFIG, batch_size=5)}, r"train\.batch_size is 4 there and 5 here"),
    ],
)
def test_resuming_another_run_is_refused_and_the_difference_named(unbroken, change, message):
    log = log_of(unbroken)
    with pytest.raises(ValueError, match=message):
        run(unbroken, resume=True, **change)
    assert log_of(unbroken) == log


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
def test_resuming_a_run_without_its_log_or_summary_is_refused(tmp_path, name):
    run(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        run(tmp_path, resume=True)


def test_resuming_a_run_with_too_short_a_log_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(ValueError, match="has 4 steps and the checkpoint 10"):
        run(tmp_path, resume=True)


def test_a_diverged_run_keeps_its_log_and_its_last_good_checkpoint(tmp_path, monkeypatch):
    real = training_step.train_step

    def diverging_step(model, *args, **options):
        loss, grad_norm = real(model, *args, **options)
        is_sixth = len(log_of(tmp_path)) == 5
        return loss, grad_norm * math.inf if is_sixth else grad_norm

    monkeypatch.setattr(training_loop, "train_step", diverging_step)
    with pytest.raises(
        ValueError,
        match=r"diverged at step 6: loss \d.*gradient norm inf.*last good .*step-00000004\.pt$",
    ):
        run(tmp_path, checkpoint_every=2)
    assert len(log_of(tmp_path)) == 5
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000004.pt"
    assert json.loads((tmp_path / "summary.json").read_bytes())["finished"] is False


def test_checkpoint_every_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_every is 0"):
        run(tmp_path, checkpoint_every=0)


def test_summary_values_are_plain_json(unbroken):
    summary = json.loads((unbroken / "summary.json").read_bytes())
    assert summary["n_params"] == GPT(MODEL).n_params
    assert (summary["device"], summary["precision"]) == ("cpu", asdict(CONFIG)["precision"])
    total = math.fsum(line["step_time_s"] for line in log_of(unbroken))
    assert summary["train_time_s"] == total


def test_the_time_to_compile_is_in_the_summary(monkeypatch, tmp_path):
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": "eager"})  # makes no kernels: fast
    assert run(tmp_path / "plain")["compile_time_s"] is None
    config = replace(CONFIG, compile="inductor", micro_batch_size=2)
    summary = run(tmp_path / "compiled", config)
    assert summary["compile_time_s"] > 0
    assert summary["finished"]


FILES = {"metrics.jsonl", "summary.json", "checkpoints"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_second_run_in_a_folder_is_refused_and_changes_nothing(tmp_path, unbroken):
    refused = []

    def on_step(metrics: StepMetrics) -> None:
        before = contents(tmp_path)
        for resume in (False, True):
            with pytest.raises(ValueError, match="in use by another run") as caught:
                run(tmp_path, resume=resume)
            refused.append(str(caught.value))
        assert contents(tmp_path) == before

    run(tmp_path, on_step=on_step)
    assert len(refused) == 20
    assert results_of(tmp_path) == results_of(unbroken)
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("open", errno.ENOSPC),
        ("write", errno.ENOSPC),
        ("fsync", errno.EIO),
        ("replace", errno.EIO),
        ("close", errno.EIO),
        ("unlink", errno.EIO),
    ],
)
def test_a_run_ends_in_one_line_at_every_failing_call_and_can_be_resumed(
    tmp_path, unbroken, call, code
):
    for kth in range(1, 200, 5):
        folder = tmp_path / f"{kth}"
        fault = Fault(call, kth, code, short=call == "write")
        with fault.active():
            try:
                run(folder, checkpoint_every=3)
            except ValueError as error:
                message = str(error)
                assert fault.happened
                assert message.startswith("cannot write ")
                assert "\n" not in message
        left = {path.name for path in folder.rglob("*") if path.name not in FILES}
        assert all(name.startswith("step-") for name in left)
        run(folder, checkpoint_every=3, resume=True)
        assert results_of(folder) == results_of(unbroken)
        if not fault.happened:
            return
    pytest.fail("more calls than were expected")


def test_the_first_error_is_told_when_the_summary_cannot_be_written_either(tmp_path, monkeypatch):
    def full(_path: Path, _content: object) -> None:
        raise WriteError("cannot write summary.json: full")

    def on_step(metrics: StepMetrics) -> None:
        monkeypatch.setattr(run_folder, "write_whole", full)
        raise WriteError("cannot write step-00000001.pt: full")

    with pytest.raises(WriteError, match=r"step-00000001\.pt"):
        run(tmp_path, on_step=on_step)


def test_what_a_killed_run_had_written_goes_when_it_is_resumed(tmp_path):
    run(tmp_path)
    for folder in (tmp_path, tmp_path / "checkpoints"):
        (folder / ".partial-0123.pt").write_bytes(b"half a model")
    run(tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000010.pt"]


def test_a_flipped_byte_costs_at_most_its_lines_and_a_warning(tmp_path):
    run(tmp_path)
    path, rng = tmp_path / "metrics.jsonl", random.Random(0)
    whole, log = path.read_bytes(), log_of(tmp_path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(damaged)
        read, damages = resuming.read_log(path)
        assert all(entry in log for entry in read)
        assert damages or len(read) == 10


def test_resuming_names_the_damaged_line_and_keeps_the_others(tmp_path):
    run(tmp_path)
    path, log = tmp_path / "metrics.jsonl", log_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"step":4,', b'"step":5,'))
    with pytest.warns(UserWarning, match=r"metrics\.jsonl line 4 cannot be read and is left out"):
        run(tmp_path, resume=True)
    assert log_of(tmp_path) == log[:3] + log[4:]


def test_a_log_of_an_older_version_is_read_and_gets_its_checksums(tmp_path):
    run(tmp_path)
    path, log = tmp_path / "metrics.jsonl", log_of(tmp_path)
    whole = path.read_bytes()
    path.write_text("".join(json.dumps(entry) + "\n" for entry in log))
    assert log_of(tmp_path) == log
    run(tmp_path, resume=True)
    assert path.read_bytes() == whole


@pytest.mark.filterwarnings("ignore:.* is damaged")
@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "checkpoints/step-00000003.pt"])
@pytest.mark.parametrize("target", ["victim", "absent"])
def test_a_link_in_place_of_a_file_of_the_run_is_refused_and_its_target_stays_whole(
    tmp_path, name, target
):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    (folder / "checkpoints").mkdir(parents=True)
    victim.write_text("precious")
    (folder / name).symlink_to(tmp_path / target)
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"symbolic link|holds a run|damaged"):
            run(folder, checkpoint_every=3, resume=resume)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("summary.json", "", r"summary\.json is not JSON .*line 1"),
        ("summary.json", "null", r"summary\.json has no list of steps as resumed_from"),
        ("summary.json", '{"resumed_from": ["2"]}', "has no list of steps as resumed_from"),
        ("summary.json", '{"resumed_from": [true]}', "has no list of steps as resumed_from"),
        ("summary.json", "[" * 100_000, r"summary\.json is nested too deep"),
        ("metrics.jsonl", "{}\n" * 10, r"metrics\.jsonl line 1 cannot be read .*no other line"),
        ("metrics.jsonl", "[" * 100_000, r"metrics\.jsonl line 1 cannot be read"),
        ("metrics.jsonl", None, r"metrics\.jsonl has a step twice or out of order"),
    ],
)
def test_a_log_or_summary_of_the_wrong_shape_is_named(tmp_path, name, content, reason):
    run(tmp_path)
    log = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / name).write_text(log * 2 if content is None else content)
    with pytest.raises(ValueError, match=reason) as error:
        run(tmp_path, resume=True)
    assert "\n" not in str(error.value)


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """A processor whose energy counter rises by 30 J at each reading."""
    monkeypatch.setattr(energy, "LEAST_S", 0.0)
    counters = {"RAPL": itertools.count(0, 30).__next__}
    monkeypatch.setattr(energy, "_processor_counters", lambda **_options: counters)


def test_the_energy_of_all_steps_is_kept_with_its_counters(tmp_path, counter):
    summary = run(tmp_path / "run")
    assert (summary["energy_j"], summary["energy_source"]) == (30, "RAPL")
    assert json.loads((tmp_path / "run/summary.json").read_bytes()) == summary


def test_a_resumed_run_has_no_energy_because_a_part_of_it_is_not_counted(tmp_path, counter):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", on_step=interrupt_at(5))
    summary = run(tmp_path / "run", resume=True)
    assert summary["energy_j"] is None
    assert "resumed" in summary["energy_source"]


def test_a_finished_run_keeps_its_energy(tmp_path, counter):
    first = run(tmp_path)
    assert first["energy_j"] == 30
    assert run(tmp_path, resume=True) == first
    old = {key: value for key, value in first.items() if not key.startswith("energy")}
    (tmp_path / "summary.json").write_text(json.dumps(old))
    again = run(tmp_path, resume=True)
    assert again["energy_j"] is None
    assert "resumed" in again["energy_source"]


def test_a_machine_without_counters_says_why_there_is_no_energy(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    summary = run(tmp_path / "run")
    assert summary["energy_j"] is None
    assert "no energy counter" in summary["energy_source"]
