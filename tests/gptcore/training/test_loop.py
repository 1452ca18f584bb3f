"""The training loop: what each step is a function of, and when it stops."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from gptcore.model.gpt import GPT
from gptcore.training import loop as training_loop
from gptcore.training.config import SCHEDULES
from gptcore.training.loop import train
from gptcore.training.step import make_optimizer
from tests.helpers.counting import CONFIG, CPU, MODEL, batch_at, steps_of


def test_training_learns_to_count():
    losses = [metrics.loss for metrics in steps_of(replace(CONFIG, steps=60))]
    assert losses[0] == pytest.approx(math.log(17), abs=0.1)
    assert losses[-1] < 1.0


def test_steps_are_numbered_by_the_updates_done():
    metrics = list(steps_of())
    assert [m.step for m in metrics] == list(range(1, 11))
    assert [m.tokens for m in metrics] == [32 * step for step in range(1, 11)]
    assert [m.epochs for m in metrics] == [0.5 * step for step in range(1, 11)]
    assert [m.lr for m in metrics] == [CONFIG.learning_rate_at(step) for step in range(1, 11)]
    assert all(m.step_time_s > 0 for m in metrics)


def test_a_step_reports_its_speed_and_the_memory_of_the_process():
    for metrics in steps_of():
        assert metrics.tokens_per_s == pytest.approx(32 / metrics.step_time_s)
        if sys.platform == "linux":
            assert 50e6 < metrics.memory_bytes < 50e9  # torch alone takes more than the first


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loop_follows_every_schedule_in_micro_batches(schedule):
    config = replace(CONFIG, schedule=schedule, warmup_steps=0, decay_share=0.5)
    model = replace(MODEL, dropout=0.0)
    whole, several = (
        list(steps_of(replace(config, micro_batch_size=size), GPT(model))) for size in (None, 1)
    )
    assert [m.lr for m in several] == [config.learning_rate_at(step) for step in range(1, 11)]
    # Float32 rounding in 10 steps.
    assert [m.loss for m in several] == pytest.approx([m.loss for m in whole], rel=1e-4)
    assert [m.loss for m in several] != [m.loss for m in whole]


def test_the_first_batch_is_number_zero():
    asked: list[int] = []

    def spy(step: int):
        asked.append(step)
        return batch_at(step)

    model = GPT(MODEL)
    optimizer = make_optimizer(model, CONFIG)
    list(train(model, optimizer, spy, CONFIG, first_step=7, device=CPU, epochs_per_step=0.5))
    assert asked == [7, 8, 9]


def test_dropout_of_a_step_does_not_depend_on_what_was_drawn_before():
    plain = [m.loss for m in steps_of()]
    disturbed = []
    for metrics in steps_of():
        disturbed.append(metrics.loss)
        torch.rand(100)
    assert plain == disturbed


def test_seed_decides_dropout():
    first, other = ([m.loss for m in steps_of(replace(CONFIG, seed=seed))] for seed in (0, 1))
    assert first != other


def test_without_dropout_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    list(steps_of(model=GPT(replace(MODEL, dropout=0.0))))
    assert torch.equal(before, torch.get_rng_state())


def test_a_callback_that_evaluates_does_not_switch_dropout_off():
    model = GPT(MODEL)
    losses = []
    for metrics in steps_of(model=model):
        losses.append(metrics.loss)
        model.eval()
    assert losses == [m.loss for m in steps_of()]


def test_the_device_is_waited_for_before_the_clock_is_read(monkeypatch):
    events: list[str] = []
    monkeypatch.setattr(
        training_loop, "synchronize", lambda device: events.append(f"wait {device}")
    )
    clock = training_loop.time.perf_counter_ns
    monkeypatch.setattr(
        training_loop.time, "perf_counter_ns", lambda: events.append("clock") or clock()
    )
    next(steps_of())
    assert events == ["clock", "wait cpu", "clock"]


def test_divergence_stops_training_and_names_the_step():
    model = GPT(MODEL)
    steps = steps_of(model=model)
    assert [next(steps).step, next(steps).step] == [1, 2]
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(
        ValueError, match=r"diverged at step 3: loss nan.*learning_rate below 0\.01"
    ):
        next(steps)


@pytest.mark.parametrize(("loss", "grad_norm"), [(math.inf, 1.0), (1.0, math.inf)])
def test_either_number_that_is_not_finite_stops_training(monkeypatch, loss, grad_norm):
    result = torch.tensor(loss), torch.tensor(grad_norm)
    monkeypatch.setattr(training_loop, "train_step", lambda *_, **__: result)
    with pytest.raises(ValueError, match=f"step 1: loss {loss}, gradient norm {grad_norm}"):
        next(steps_of())


def test_batches_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"batch of step 1 is \(4, 8\); the config says \(5, 8\)"):
        next(steps_of(replace(CONFIG, batch_size=5)))
