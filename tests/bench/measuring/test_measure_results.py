import time
from pathlib import Path

import pytest

from bench.measuring.work import ProcessTimes
from tests.helpers.fake_benchmark import spin, work


def test_share_of_the_ceiling_is_rate_over_peak(measure):
    measure.ceilings = lambda _device: {
        "gemm_fp32_flops_per_s": 1e6,
        "memory_4mib_bytes_per_s": 1e9,
        "memory_16mib_bytes_per_s": 2e3,
    }
    measure.result.metrics["n_params"] = 10 * 2**20
    measure(
        work(
            lambda _end_phase: time.sleep(0.01),
            tokens=50,
            flops=1_000,
            bytes_moved=10,
            precision="fp32",
            count_flops=lambda: 990,
        )
    )
    metrics = measure.result.metrics
    assert metrics["mfu"] == pytest.approx(1_000 / metrics["time_s"] / 1e6)
    assert metrics["tokens_per_s"] == pytest.approx(50 / metrics["time_s"])
    assert metrics["flops_counted"] == 990
    assert metrics["intensity"] == 100
    # Half of 40 MiB of weights is more than 16 MiB: 100 FLOP/B times 2,000 B/s.
    assert metrics["bandwidth_bytes_per_s"] == 2e3
    assert metrics["attainable_flops_per_s"] == 200_000


def test_weights_that_a_cache_may_hold_are_bound_by_the_peak_alone(measure):
    measure.ceilings = lambda _device: {
        "gemm_fp32_flops_per_s": 1e6, "memory_4mib_bytes_per_s": 1.0
    }  # fmt: skip
    measure.result.metrics["n_params"] = 2**20
    measure(work(lambda _end_phase: None, flops=1_000, bytes_moved=10, precision="fp32"))
    assert measure.result.metrics["bandwidth_bytes_per_s"] is None
    assert measure.result.metrics["attainable_flops_per_s"] == 1e6


def test_unknown_ceiling_gives_no_share(measure):
    measure(work(lambda _end_phase: None, flops=1))
    metrics = measure.result.metrics
    assert metrics["mfu"] is metrics["mfu_datasheet"] is metrics["attainable_flops_per_s"] is None


def test_work_is_timed_in_new_processes_and_called_once_here(measure):
    calls = []
    measure.in_processes = lambda: [
        ProcessTimes(
            [3.0], {"peak_bytes": 7}, {"forward": [2.0]}, references={"reference_s": [1, 2]}
        ),
        ProcessTimes([2.0, 2.0, 9.0], {"peak_bytes": 8}, {"forward": [1.0, 1.0, 8.0]}),
    ]
    measure(work(lambda _end_phase: calls.append(1), in_processes=True))
    metrics, samples = measure.result.metrics, measure.result.samples
    assert len(calls) == 1
    assert samples["time_s"] == [3.0, 2.0, 2.0, 9.0]
    assert samples["forward_s"] == [2.0, 1.0, 1.0, 8.0]
    assert samples["process_time_s"] == [3.0, 2.0]
    assert samples["reference_s"] == [1, 2]
    assert (metrics["processes"], metrics["process_time_s"]) == (2, 2.5)
    assert measure.result.facts["process_rounds"] == [1, 3]
    assert metrics["peak_bytes"] == 7
    # Calls so long that those whose memory was read are enough have no warm-up of their own.
    assert measure.result.metrics["warmup_rounds"] is measure.result.metrics["warmup_s"] is None
    assert measure.result.facts["warmup"] == "by the calls that read the peak"


def test_only_work_that_asks_for_it_is_timed_in_new_processes(measure):
    measure.in_processes = lambda: pytest.fail("not asked for")
    measure(work(lambda _end_phase: None))
    assert "process_time_s" not in measure.result.samples


def test_failed_process_fails_the_case_with_the_reason(measure):
    def fail():
        raise ValueError("killed for memory")

    measure.in_processes = fail
    with pytest.raises(ValueError, match="killed for memory"):
        measure(work(lambda _end_phase: None, in_processes=True))


def test_processes_that_differ_are_no_drift_of_the_rounds(measure):
    slow = [1.0, 1.002, 0.999, 1.001, 0.998, 1.0]
    measure.in_processes = lambda: [ProcessTimes(slow), ProcessTimes([1.3 * t for t in slow])]
    measure(work(lambda _end_phase: None, in_processes=True))
    reasons = measure.result.facts["stability"]["reasons"]
    assert len(reasons) == 1
    assert "2 processes differ" in reasons[0]


def test_every_case_says_whether_it_was_stable(measure):
    measure(work(lambda _end_phase: spin(0.002)))
    facts = measure.result.facts
    assert facts["stability"]["verdict"] in {"stable", "noisy", "drifting"}
    assert len(measure.result.samples["reference_s"]) == 2
    assert measure.result.metrics["memory_reference_s"] == pytest.approx(1e-2)
    assert "load_before" in facts


def test_profile_is_taken_after_the_timing(measure):
    events = []

    def trace(_work):
        events.append("trace")
        return [{"operator": "mm"}], Path("t.json")

    measure.trace = trace
    measure(work(lambda _end_phase: events.append("call")))
    assert events[-1] == "trace"
    assert events.count("trace") == 1
    assert measure.result.facts["trace"] == "t.json"


def test_profile_that_fails_does_not_lose_the_times(measure):
    def fail(_work):
        raise ValueError("the disk is full")

    measure.trace = fail
    measure(work(lambda _end_phase: None))
    assert measure.result.facts["trace_failed"] == "the disk is full"
    assert measure.result.samples["time_s"]


def test_calls_after_the_rounds_are_not_timed(measure):
    """With --benchmark-cprofile, pytest-benchmark calls once more, under its profiler."""
    timed, asked = measure.benchmark.pedantic, []

    def pedantic(target, rounds):
        asked.append(rounds)
        timed(target, rounds)
        target()

    measure.benchmark.pedantic = pedantic
    measure(work(lambda end_phase: end_phase("forward")))
    assert [len(measure.result.samples["time_s"])] == asked
    assert [len(measure.result.samples["forward_s"])] == asked
