"""Training on several processes as the suite measures it: the arithmetic of a record."""

import os

import pytest

from bench.experiments.devices import bind, summarise
from bench.ledger.checks import check_row
from bench.ledger.schema import METRICS
from bench.suite.devices import DEVICES

ONE = {"processes": 1, "time_s": 1.0, "local_s": 1.0, "all_reduce_s": 1e-5, "latency_s": 1e-5}
ONE |= {"time_min_s": 0.9, "time_max_s": 1.2}
TWO = {"processes": 2, "time_s": 0.8, "local_s": 0.6, "all_reduce_s": 0.102, "latency_s": 0.002}
TWO |= {"time_min_s": 0.7, "time_max_s": 0.9}


def test_a_link_is_that_of_the_ring_and_the_error_that_of_the_model():
    """4 MB in 0.1 s are 40 MB/s; half a second of computation and 106 ms of messages."""
    (case,) = DEVICES["smoke"]
    found = summarise(case, [ONE, TWO], 10**6)
    assert found.metrics["link_bytes_per_s"] == pytest.approx(4e7)
    assert found.metrics["link_latency_s"] == pytest.approx(1e-3)
    assert found.metrics["scaling_efficiency"] == pytest.approx(1 / 1.6)
    one, row = found.series["device_scaling"]
    assert (one["communication_share"], one["error"]) == (None, None)
    assert row["communication_share"] == pytest.approx(0.25)
    assert row["predicted_s"] == pytest.approx(0.5 + 0.1 + 6e-3)
    assert row["error"] == pytest.approx(0.606 / 0.8 - 1)


def test_the_ledger_takes_what_was_measured():
    (case,) = DEVICES["smoke"]
    found = summarise(case, [ONE, TWO], 10**6)
    assert found.metrics.keys() <= METRICS.keys()
    for row in found.series["device_scaling"]:
        check_row("device_scaling", row)


def test_each_process_has_a_cpu_of_its_own_as_far_as_they_go(monkeypatch):
    """The session may be bound to one CPU, which its processes would inherit."""
    bound = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: bound.append(cpus), raising=False)
    for rank in range(4):
        bind(rank, 4, [1, 0])
    assert bound == [{0}, {1}, {0}, {1}]
