import gc
import statistics
import time
from contextlib import nullcontext

import pytest
import torch
from torch.utils.benchmark import Timer

from bench.measuring import clock as clocks
from bench.measuring.clock import (
    MIN_ROUNDS,
    WINDOW,
    PhaseClock,
    compilations,
    is_steady,
    quiet_gc,
    warm_up,
)
from bench.measuring.work import Work
from tests.helpers.fake_benchmark import CPU, spin, work


class AsyncDevice:
    """Work is queued at once and done only when somebody waits for it."""

    def __init__(self, monkeypatch):
        self.queued_s = 0.0
        monkeypatch.setattr(clocks, "synchronize", self.synchronize)

    def launch(self, seconds):
        self.queued_s += seconds

    def synchronize(self, _device):
        seconds, self.queued_s = self.queued_s, 0.0
        time.sleep(seconds)


# --- waiting for the device -----------------------------------------------------------------


def test_work_queued_on_a_device_is_waited_for(monkeypatch, measure):
    device = AsyncDevice(monkeypatch)
    measure(work(lambda _end_phase: device.launch(0.02)))
    assert min(measure.result.samples["time_s"]) >= 0.02


def test_work_queued_before_a_call_is_not_charged_to_it(monkeypatch):
    device = AsyncDevice(monkeypatch)
    clock = PhaseClock(CPU)
    device.launch(0.05)
    clock.start()
    assert clock.stop() < 0.02


def test_phase_is_charged_with_its_own_queued_work(monkeypatch, measure):
    device = AsyncDevice(monkeypatch)

    def step(end_phase):
        device.launch(0.02)
        end_phase("forward")
        end_phase("loss")

    measure(work(step))
    assert min(measure.result.samples["forward_s"]) >= 0.02
    assert statistics.median(measure.result.samples["loss_s"]) < 0.02  # of a busy machine


class FakeEvent:
    """An event of a device whose own clock runs at half the speed of the wall's."""

    def __init__(self, _device, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, later):
        return (later.at - self.at) * 1e3 / 2


def test_device_time_is_recorded_beside_wall_time(monkeypatch, measure):
    monkeypatch.setattr(torch, "Event", FakeEvent)
    monkeypatch.setattr(clocks, "synchronize", lambda _device: None)
    monkeypatch.setattr(clocks, "kept_rng", lambda _device: nullcontext())
    measure(Work(lambda _end_phase: time.sleep(0.01), torch.device("cuda", 0), 1))
    metrics = measure.result.metrics
    assert 0.005 <= metrics["device_time_s"] < metrics["time_s"]
    assert len(measure.result.samples["device_time_s"]) == metrics["rounds"]


def test_cpu_has_no_device_time(measure):
    measure(work(lambda _end_phase: None))
    assert "device_time_s" not in measure.result.metrics


# --- clocks ---------------------------------------------------------------------------------


def test_times_agree_with_an_independent_clock(measure):
    independent = []

    def call(_end_phase):
        start = time.monotonic()
        spin(0.005)
        independent.append(time.monotonic() - start)

    measure.budget_s = 0.2
    measure(work(call))
    times = measure.result.samples["time_s"]
    # The call is inside what is timed; the difference is a few microseconds of our own.
    for ours, theirs in zip(times, independent[-len(times) :], strict=True):
        assert theirs <= ours < theirs + 0.001


def test_times_agree_with_pytest_benchmarks_own(measure):
    measure(work(lambda _end_phase: spin(0.005)))
    theirs = measure.benchmark.stats.stats.data
    assert measure.result.samples["time_s"] == pytest.approx(theirs, abs=5e-4)


def test_times_agree_with_torchs_timer(measure):
    # About 10 ms: of shorter calls its blocks hold several, and their mean is another quantity.
    a, b = torch.randn(2, 1024, 1024)
    # Its range and our interval overlap, in one of three tries on a busy machine.
    for _ in range(3):
        timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
        theirs = timer.blocked_autorange(min_run_time=0.5)
        measure.budget_s = 0.5
        measure(work(lambda _end_phase: a @ b))
        ours = measure.result.metrics
        low, high = statistics.quantiles(theirs.times, n=20)[0], max(theirs.times)
        if ours["time_low_s"] <= high * 1.05 and low <= ours["time_high_s"] * 1.05:
            return
    pytest.fail(f"{ours['time_low_s']}-{ours['time_high_s']} against {theirs.times}")


# --- phases and state -----------------------------------------------------------------------


def test_phases_are_timed_in_the_same_rounds_and_add_up(measure):
    def step(end_phase):
        time.sleep(0.004)
        end_phase("forward")
        time.sleep(0.002)
        end_phase("backward")

    measure(work(step))
    samples = measure.result.samples
    for whole, *parts in zip(
        samples["time_s"], samples["forward_s"], samples["backward_s"], strict=True
    ):
        assert sum(parts) <= whole


def test_state_is_restored_between_warm_up_and_timing(measure):
    calls = []
    measure(work(lambda _end_phase: calls.append("call"), restore=lambda: calls.append("restore")))
    warmup = measure.result.metrics["warmup_rounds"]
    rounds = measure.result.metrics["rounds"]
    assert calls == ["call"] * warmup + ["restore"] + ["call"] * rounds


def test_random_numbers_after_warm_up_are_those_of_before(measure):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = []
    measure(work(lambda _end_phase: drawn.append(torch.rand(3))))
    first_timed = drawn[measure.result.metrics["warmup_rounds"]]
    assert torch.equal(first_timed, expected)


def test_phase_clock_repeats_phases_of_several_calls():
    clock = PhaseClock(CPU)
    for _ in range(3):
        clock.start()
        clock.end_phase("forward")
    assert len(clock.times_s["forward"]) == 3


# --- warm-up --------------------------------------------------------------------------------


def test_warm_up_goes_on_until_the_rolling_median_stands_still():
    pauses = iter([0.05, 0.04, 0.03, 0.02] + [0.01] * 96)
    times = warm_up(lambda: spin(next(pauses)), budget_s=10)
    assert is_steady(times)
    assert len(times) >= 4 + WINDOW


def test_one_slow_call_does_not_keep_a_steady_time_from_being_seen():
    assert is_steady([1.0, 1.0, 1.0, 1.0, 9.0, 1.0])


def test_falling_times_are_not_steady():
    assert not is_steady([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


def test_warm_up_makes_two_calls_however_slow():
    assert len(warm_up(lambda: time.sleep(0.01), budget_s=0.0)) == 2


def test_cost_of_the_warm_up_and_how_it_ended_are_recorded(measure):
    measure(work(lambda _end_phase: time.sleep(0.02)))
    assert measure.result.metrics["warmup_s"] >= 0.04
    assert measure.result.facts["warmup"] == "out of time"


def test_there_are_rounds_enough_for_an_interval(measure):
    measure(work(lambda _end_phase: time.sleep(0.02)))
    metrics = measure.result.metrics
    assert metrics["rounds"] == MIN_ROUNDS
    assert metrics["time_low_s"] <= metrics["time_s"] <= metrics["time_high_s"]
    assert metrics["time_p95_s"] is None  # not from so few


# --- torch.compile --------------------------------------------------------------------------


def test_compile_time_is_reported_apart_from_the_time(measure):
    def slow_backend(graph, _inputs):
        time.sleep(0.2)
        return graph.forward

    double = torch.compile(lambda x: x * 2, backend=slow_backend)
    x = torch.ones(8)
    measure(work(lambda _end_phase: double(x)))
    assert measure.result.metrics["compile_s"] > 0.2
    assert measure.result.metrics["time_max_s"] < 0.2


def test_recompiling_while_the_clock_runs_is_an_error(measure):
    triple = torch.compile(lambda x: x * 3, backend="eager", dynamic=False)
    sizes = iter(range(2, 10**6))
    before = compilations()
    with pytest.raises(AssertionError, match="inputs of one shape"):
        measure(work(lambda _end_phase: triple(torch.ones(next(sizes)))))
    assert compilations() > before
    torch._dynamo.reset()


def test_without_compilation_there_is_no_compile_time(measure):
    measure(work(lambda _end_phase: None))
    assert measure.result.metrics["compile_s"] is None


# --- garbage collector ----------------------------------------------------------------------


def test_garbage_collector_rests_while_timing(measure):
    seen = []
    measure(work(lambda _end_phase: seen.append(gc.isenabled())))
    rounds = measure.result.metrics["rounds"]
    assert seen[-rounds:] == [False] * rounds
    assert gc.isenabled()


def test_garbage_collector_works_again_afterwards():
    with quiet_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
