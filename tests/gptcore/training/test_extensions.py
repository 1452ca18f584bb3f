"""A run that goes on to more steps than were planned: when it equals a run planned for them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptcore.files import WriteError
from gptcore.training import run_folder
from gptcore.training.checkpoints import load_checkpoint
from gptcore.training.config import TrainConfig
from tests.gptcore.training.test_runs import interrupt_at, log_of, results_of, run
from tests.helpers.counting import CONFIG

CONSTANT, WSD = (
    replace(CONFIG, schedule=name, micro_batch_size=2, ema_decay=0.9)
    for name in ("constant", "wsd")
)


def states_of(out_dir: Path) -> tuple[dict, dict, dict]:
    checkpoint = load_checkpoint(out_dir / "checkpoints")
    moments = checkpoint["optimizer"]["state"]
    return checkpoint["model"], checkpoint["average"], moments


def assert_equal_runs(one: Path, other: Path) -> None:
    assert results_of(one) == results_of(other)
    # Bit for bit: the tolerance is 0.
    torch.testing.assert_close(states_of(one), states_of(other), rtol=0, atol=0)


def extended(folder: Path, config: TrainConfig, steps: int = 16) -> dict:
    run(folder, config)
    return run(folder, replace(config, steps=steps), resume=True)


@pytest.mark.parametrize(("config", "start"), [(CONSTANT, 10), (WSD, 8)])
def test_an_extended_run_equals_one_planned_for_its_steps(tmp_path, config, start):
    summary = extended(tmp_path / "extended", config)
    run(tmp_path / "planned", replace(config, steps=16))
    assert_equal_runs(tmp_path / "extended", tmp_path / "planned")
    assert summary["finished"]
    assert summary["resumed_from"] == [start]
    assert summary["extensions"] == [
        {
            "from_step": start,
            "steps_before": 10,
            "steps": 16,
            "lr_used_min": 5e-3,
            "lr_used_max": 1e-2,
            "lr_used_last": 1e-2,
            "lr_next": 1e-2,
            "exact": True,
        }
    ]


def test_an_extended_cosine_says_which_rates_were_used(tmp_path):
    summary = extended(tmp_path, CONFIG)
    (change,) = summary["extensions"]
    longer = replace(CONFIG, steps=16)
    assert not change["exact"]
    assert change["lr_used_last"] == CONFIG.learning_rate_at(10)
    assert change["lr_next"] == longer.learning_rate_at(11) > change["lr_used_last"]
    assert [line["lr"] for line in log_of(tmp_path)[10:]] == [
        longer.learning_rate_at(step) for step in range(11, 17)
    ]
    assert json.loads((tmp_path / "summary.json").read_bytes()) == summary


def test_wsd_goes_on_inside_its_decay_where_no_checkpoint_is_older_and_says_so(tmp_path):
    run(tmp_path, WSD)
    (tmp_path / "checkpoints/step-00000008.pt").unlink()
    (change,) = run(tmp_path, replace(WSD, steps=16), resume=True)["extensions"]
    assert (change["from_step"], change["exact"]) == (10, False)
    assert change["lr_used_last"] == WSD.learning_rate_at(10) < change["lr_next"]


def test_the_checkpoint_before_the_decay_outlives_newer_ones(tmp_path):
    run(tmp_path, replace(WSD, decay_share=0.5), checkpoint_every=2)
    names = [path.name for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert names == ["step-00000005.pt", "step-00000008.pt", "step-00000010.pt"]


def test_a_run_can_be_extended_before_its_end_and_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", CONSTANT, on_step=interrupt_at(4))
    for steps in (12, 12, 16):
        summary = run(tmp_path / "a", replace(CONSTANT, steps=steps), resume=True)
    changes = [(e["from_step"], e["steps_before"], e["steps"]) for e in summary["extensions"]]
    assert changes == [(4, 10, 12), (12, 12, 16)]
    assert summary["resumed_from"] == [4, 12]
    run(tmp_path / "b", replace(CONSTANT, steps=16))
    assert_equal_runs(tmp_path / "a", tmp_path / "b")


def test_an_extension_that_was_interrupted_is_told_once(tmp_path):
    run(tmp_path, CONSTANT)
    longer = replace(CONSTANT, steps=16)
    for _ in range(2):  # each ends before a checkpoint of the extension is written
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, longer, resume=True, on_step=lambda _metrics: 1 / 0)
    assert len(run(tmp_path, longer, resume=True)["extensions"]) == 1


def test_an_extension_that_cannot_cut_the_log_leaves_a_run_that_can_be_resumed(
    tmp_path, monkeypatch
):
    def full(_path: Path, _content: object) -> None:
        raise WriteError("cannot write: full")

    run(tmp_path / "a", WSD)
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_whole", full)
        with pytest.raises(WriteError):
            run(tmp_path / "a", replace(WSD, steps=16), resume=True)
    run(tmp_path / "a", WSD, resume=True)
    run(tmp_path / "b", WSD)
    assert_equal_runs(tmp_path / "a", tmp_path / "b")


def test_fewer_steps_are_refused_in_one_line(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=interrupt_at(6))
    log = log_of(tmp_path)
    with pytest.raises(
        ValueError, match=r"^steps is 8, .* planned for 10, of which 6 are done"
    ) as e:
        run(tmp_path, replace(CONFIG, steps=8), resume=True)
    assert "\n" not in str(e.value)
    assert log_of(tmp_path) == log


def test_other_settings_are_still_refused_when_there_are_more_steps(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match=r"train\.learning_rate is 0\.01 there and 0\.02 here"):
        run(tmp_path, replace(CONFIG, steps=16, learning_rate=0.02), resume=True)


def test_a_run_of_an_older_version_is_resumed(tmp_path):
    """Its settings, log and summary lack what was added later."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "old", on_step=interrupt_at(4))
    (path,) = (tmp_path / "old/checkpoints").iterdir()
    content = torch.load(path, weights_only=True)
    for name in ("schedule", "decay_share", "micro_batch_size", "ema_decay"):
        del content["fingerprint"]["train"][name]
    torch.save(content, path)
    log, summary_path = log_of(tmp_path / "old"), tmp_path / "old/summary.json"
    lines = [
        json.dumps({k: v for k, v in line.items() if k not in ("tokens_per_s", "memory_bytes")})
        for line in log
    ]
    (tmp_path / "old/metrics.jsonl").write_text("\n".join(lines) + "\n")
    summary = json.loads(summary_path.read_bytes())
    del summary["extensions"]
    summary_path.write_text(json.dumps(summary))
    run(tmp_path / "old", resume=True)
    run(tmp_path / "new")
    assert results_of(tmp_path / "old") == results_of(tmp_path / "new")
    memory = [line["memory_bytes"] for line in log_of(tmp_path / "old")]
    assert memory[:4] == [None] * 4
