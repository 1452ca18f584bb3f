"""Training on several processes equals training on one, and survives the loss of any of them."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gptcore.cli.main import main
from gptcore.files import WriteError
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import IGNORE_INDEX
from gptcore.training import shards
from gptcore.training import world as joining
from gptcore.training.checkpoints import load_checkpoint
from gptcore.training.config import TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.resuming import read_log
from gptcore.training.runs import run_training
from gptcore.training.step import accumulated_step, make_optimizer, train_step
from gptcore.training.world import World
from tests.helpers.counting import CONFIG as COUNTING
from tests.helpers.counting import CPU, batch_at
from tests.helpers.counting import MODEL as WITH_DROPOUT
from tests.helpers.ranks import fork, needs_fork, run_ranks

pytestmark = needs_fork
MODEL = replace(WITH_DROPOUT, dropout=0.0, n_layer=2)
CONFIG = replace(COUNTING, ema_decay=0.9, micro_batch_size=1)
ROUNDING = 1e-5
"""Relative: sums of float32 numbers in another order."""


def run(out_dir: Path, world: World | None = None, stop_at: int = 0, **options) -> dict:
    """Train the run of these tests, with the part of this process; end it after step `stop_at`."""

    def part_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        part = world.part(4) if world else range(4)
        inputs, targets = (ids[part.start : part.stop] for ids in batch_at(step))
        return inputs, targets

    def on_step(metrics) -> None:
        if metrics.step == stop_at:
            raise KeyboardInterrupt

    arguments = {"device": CPU, "fingerprint": {}, "epochs_per_step": 0.5, "resume": True}
    arguments |= {"batch_at": part_at, "config": CONFIG, "on_step": on_step} | options
    return run_training(out_dir, GPT(MODEL), world=world, **arguments)


def results_of(out_dir: Path) -> list[tuple[float, float]]:
    log, damaged = read_log(out_dir / "metrics.jsonl")
    assert not damaged
    return [(line["loss"], line["grad_norm"]) for line in log]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("alone")
    run(out_dir)
    return out_dir


def assert_same_run(out_dir: Path, alone: Path) -> None:
    for found, expected in zip(results_of(out_dir), results_of(alone), strict=True):
        assert found == pytest.approx(expected, rel=ROUNDING)
    one, other = (load_checkpoint(place / "checkpoints") for place in (out_dir, alone))
    assert one["step"] == other["step"] == CONFIG.steps
    for part in ("model", "average"):
        for name, weight in other[part].items():
            if name.endswith("c_attn.bias"):  # the gradient by the bias of the keys is rounding,
                continue  # and AdamW's step does not depend on its size
            torch.testing.assert_close(one[part][name], weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "shard", "micro"), [(2, False, None), (3, False, 1), (2, True, None), (3, True, 1)]
)
def test_gradients_are_those_of_one_process(tmp_path, size, shard, micro):
    config = TrainConfig(
        steps=1, batch_size=4, block_size=8, micro_batch_size=micro, grad_clip=math.inf
    )
    inputs, targets = batch_at(0)
    targets = targets.clone()
    targets[0, :5] = targets[1] = IGNORE_INDEX  # the second window has nothing to learn
    model = GPT(MODEL)
    options = {"grad_clip": math.inf} | ({"micro_batch_size": 1} if micro else {})
    update = accumulated_step if micro else train_step
    expected = update(model, make_optimizer(model, config), inputs, targets, **options)
    gradients = [p.grad for p in model.parameters()]

    def work(world: World) -> list[float]:
        part, own = world.part(4), GPT(MODEL)
        engine = Engine(world, own, config, None, shard=shard)
        batch = (ids[part.start : part.stop] for ids in (inputs, targets))
        found = engine.update(own, make_optimizer(own, config), *batch)
        here = [p.grad.full_tensor() if shard else p.grad for p in own.parameters()]
        largest = max(float((a - b).abs().max()) for a, b in zip(here, gradients, strict=True))
        return [largest, *(number.item() for number in found)]

    for code, answer in run_ranks(tmp_path, size, work):
        assert code == 0
        assert answer[0] < 1e-5
        assert answer[1:] == pytest.approx([n.item() for n in expected], rel=ROUNDING)


def test_a_run_goes_on_with_any_number_of_processes_and_either_engine(tmp_path, alone):
    """Two processes with DDP, three with FSDP2, one without torchrun, and two again."""
    out_dir = tmp_path / "run"
    sessions = [(2, False, 3), (3, True, 5), (1, False, 7), (2, True, 0)]
    for size, shard, stop_at in sessions:
        if size == 1:
            with pytest.raises(KeyboardInterrupt):
                run(out_dir, stop_at=stop_at)
            continue
        work = lambda world, s=shard, at=stop_at: run(out_dir, world, at, shard=s)  # noqa: E731
        answers = run_ranks(tmp_path, size, work)
        expected = (1, "KeyboardInterrupt: ") if stop_at else (0, {})
        assert answers[1:] == [expected] * (size - 1)  # a stop of one is a stop of all
        assert answers[0][0] == expected[0]
    assert_same_run(out_dir, alone)
    summary = json.loads((out_dir / "summary.json").read_bytes())
    assert summary["resumed_from"] == [3, 5, 7]
    assert summary["world_sizes"] == [2, 3, 1, 2]
    assert (summary["world_size"], summary["engine"]) == (2, "fsdp")
    kept = sorted(path.name for path in (out_dir / "checkpoints").iterdir())
    assert kept == ["step-00000007.pt", "step-00000010.shards"]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path, alone, killed):
    out_dir = tmp_path / "run"

    def work(world: World) -> dict:
        def dies_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            if step == 5 and world.rank == killed:
                os.kill(os.getpid(), signal.SIGKILL)
            part = world.part(4)
            return tuple(ids[part.start : part.stop] for ids in batch_at(step))

        return run(out_dir, world, batch_at=dies_at, checkpoint_every=4)

    answers = run_ranks(tmp_path, 2, work)
    assert answers[killed] == (-signal.SIGKILL, None)
    assert answers[1 - killed] == (1, f"ValueError: {joining.LOST}")
    assert run(out_dir)["resumed_from"] == [4]
    assert_same_run(out_dir, alone)


def test_a_process_that_is_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "TIMEOUT_S", 1)

    def work(world: World) -> list[int]:
        if world.rank:
            signal.sigtimedwait([signal.SIGUSR1], 3)
        return world.greatest(1)

    assert run_ranks(tmp_path, 2, work)[0] == (1, f"ValueError: {joining.LOST}")


def test_a_full_disk_of_one_process_ends_all_and_leaves_no_checkpoint(tmp_path, monkeypatch):
    out_dir = tmp_path / "run"

    def work(world: World) -> dict:
        def full(*_args, **_options):
            raise WriteError("cannot write x: No space left on device")

        if world.rank:
            monkeypatch.setattr(shards._Writer, "write_data", full)
        return run(out_dir, world)

    answers = run_ranks(tmp_path, 2, work)
    assert answers == [
        (1, "WriteError: cannot write x: No space left on device"),
        (1, "SystemExit: 2"),
    ]
    assert load_checkpoint(out_dir / "checkpoints") is None
    assert run(out_dir)["finished"]
    assert not [*(out_dir / "checkpoints").glob(".*")]


def test_what_cannot_be_trained_so_is_refused(tmp_path):
    def work(world: World) -> list[str]:
        told = []
        for change in ({"compile": "inductor"}, {"batch_size": 1}):
            config = replace(COUNTING, **change)
            with pytest.raises(ValueError, match="process") as error:
                Engine(world, GPT(MODEL), config, None, shard=False)
            told.append(str(error.value))
        return told

    (_, told), _ = run_ranks(tmp_path, 2, work)
    assert told[0].startswith("compile is for one process")
    assert told[1].startswith("batch_size is 1, and 2 processes need a window each")


def test_the_command_trains_on_the_processes_of_torchrun(tmp_path, capfd):
    text = tmp_path / "text.txt"
    text.write_text("one two three four five six seven eight nine ten " * 40, encoding="utf-8")
    options = ["--corpus", str(text), *["--steps", "2", "--block-size", "8", "--batch-size", "3"]]
    options += ["--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--shard", "--json", "--out"]
    answers = fork(tmp_path, 2, lambda: main(["train", *options, str(tmp_path / "run")]))
    assert answers == [(0, 0), (1, "SystemExit: 0")]
    printed = json.loads(capfd.readouterr().out)
    assert (printed["step"], printed["world_size"], printed["engine"]) == (2, 2, "fsdp")
    assert main(["train", *options, str(tmp_path / "other")]) == 2  # without torchrun
    assert "torchrun" in capfd.readouterr().err


def test_one_process_says_what_is_wrong(tmp_path, capfd):
    """The launcher has a store, in which the processes count; the parser asks for their number."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    command = ["train", "--corpus", str(tmp_path / "missing"), "--out", str(tmp_path / "run")]

    def work(*more: str) -> int:
        os.environ.update(told | {"MASTER_PORT": str(store.port)})
        return main([*command, *more])

    answers = fork(tmp_path, 3, work)
    assert sorted(answers, key=str) == [(0, 2), (1, "SystemExit: 2"), (1, "SystemExit: 2")]
    assert capfd.readouterr().err.count("no corpus and no file is called") == 1
    assert fork(tmp_path, 2, lambda: work("--unknown")) == [(1, "SystemExit: 2")] * 2
    assert capfd.readouterr().err.count("unrecognized arguments") == 1
