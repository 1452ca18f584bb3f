import gc
import time
from types import SimpleNamespace

import pytest
import torch

from bench import measure as module
from bench.measure import Measure, PhaseClock, quiet_gc, warm_up
from bench.run import Result

CPU = torch.device("cpu")


class FakeBenchmark:
    """Does what pytest-benchmark's pedantic mode does, without its plugin."""

    def pedantic(self, target, rounds):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            target()
            times.append(time.perf_counter() - start)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=times))


class AsyncDevice:
    """Work is queued at once and done only when somebody waits for it."""

    def __init__(self, monkeypatch):
        self.queued_s = 0.0
        monkeypatch.setattr(module, "synchronize", self.synchronize)

    def launch(self, seconds):
        self.queued_s += seconds

    def synchronize(self, _device):
        seconds, self.queued_s = self.queued_s, 0.0
        time.sleep(seconds)


@pytest.fixture
def measure():
    return Measure(FakeBenchmark(), Result(), round_budget_s=0.01)


def test_work_queued_on_a_device_is_waited_for(monkeypatch, measure):
    device = AsyncDevice(monkeypatch)
    measure(lambda _mark: device.launch(0.02), device=CPU, tokens=1)
    assert min(measure.result.samples["time_s"]) >= 0.02


def test_phase_is_charged_with_its_own_queued_work(monkeypatch, measure):
    device = AsyncDevice(monkeypatch)

    def step(mark):
        device.launch(0.02)
        mark("forward")
        mark("loss")

    measure(step, device=CPU, tokens=1)
    assert min(measure.result.samples["forward_s"]) >= 0.02
    assert max(measure.result.samples["loss_s"]) < 0.02


def test_phases_are_timed_in_the_same_rounds_and_add_up(measure):
    def step(mark):
        time.sleep(0.004)
        mark("forward")
        time.sleep(0.002)
        mark("backward")

    measure(step, device=CPU, tokens=1)
    samples = measure.result.samples
    for whole, *parts in zip(
        samples["time_s"], samples["forward_s"], samples["backward_s"], strict=True
    ):
        assert sum(parts) <= whole


def test_state_is_restored_between_warm_up_and_timing(measure):
    calls = []
    measure(
        lambda _mark: calls.append("call"),
        device=CPU,
        tokens=1,
        restore=lambda: calls.append("restore"),
    )
    warmup = measure.result.metrics["warmup_rounds"]
    rounds = measure.result.metrics["rounds"]
    assert calls == ["call"] * warmup + ["restore"] + ["call"] * rounds


def test_share_of_the_ceiling_is_rate_over_peak(measure):
    measure(
        lambda _mark: time.sleep(0.01), device=CPU, tokens=50, flops=1_000, peak_flops_per_s=1e6
    )
    metrics = measure.result.metrics
    assert metrics["mfu"] == pytest.approx(1_000 / metrics["time_s"] / 1e6)
    assert metrics["tokens_per_s"] == pytest.approx(50 / metrics["time_s"])


def test_unknown_ceiling_gives_no_share(measure):
    measure(lambda _mark: None, device=CPU, tokens=1, flops=1)
    assert measure.result.metrics["mfu"] is None


def test_warm_up_goes_on_until_two_calls_agree():
    pauses = iter([0.05, 0.03, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
    times = warm_up(lambda: time.sleep(next(pauses)), budget_s=10)
    assert len(times) >= 4
    assert abs(times[-1] / times[-2] - 1) < module.STEADY or len(times) == 10


def test_warm_up_makes_two_calls_however_slow():
    assert len(warm_up(lambda: time.sleep(0.01), budget_s=0.0)) == 2


def test_garbage_collector_rests_while_timing_and_works_again_afterwards():
    with quiet_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_phase_clock_repeats_phases_of_several_calls():
    clock = PhaseClock(CPU)
    for _ in range(3):
        clock.start()
        clock.mark("forward")
    assert len(clock.times_s["forward"]) == 3
