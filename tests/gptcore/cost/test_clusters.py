"""Steps on many devices: the arithmetic of rings, and its limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.cost.clusters import Link, predict_step

LINK = Link(1e9, 1e-6)


def test_one_device_takes_its_own_time():
    step = predict_step(2.0, 10**6, 1, LINK)
    assert (step.time_s, step.communication_s, step.efficiency) == (2.0, 0.0, 1.0)


def test_a_worked_example():
    """4 MB over 4 devices at 1 GB/s: 6 messages of 1 MB take 6 ms, and 6 latencies 6 µs."""
    step = predict_step(0.4, 10**6, 4, LINK)
    assert step.compute_s == pytest.approx(0.1)
    assert step.communication_s == pytest.approx(0.006006)
    assert step.efficiency == pytest.approx(0.1 / 0.106006)
    sharded = predict_step(0.4, 10**6, 4, LINK, engine="fsdp")
    assert sharded.communication_s == pytest.approx(0.009009)
    weak = predict_step(0.4, 10**6, 4, LINK, weak=True)
    assert (weak.compute_s, weak.time_s) == (0.4, pytest.approx(0.406006))


def test_what_is_hidden_is_at_most_the_computation():
    assert predict_step(0.4, 10**6, 4, LINK, overlap=1.0).time_s == pytest.approx(0.1)
    slow = predict_step(0.4, 10**6, 4, Link(1e6), overlap=1.0)
    assert slow.time_s == pytest.approx(slow.communication_s) == pytest.approx(6.0)


@given(
    devices=st.integers(1, 4096),
    overlap=st.floats(0, 1),
    engine=st.sampled_from(["ddp", "fsdp"]),
    weak=st.booleans(),
)
def test_efficiency_is_a_share_and_falls_with_the_devices(devices, overlap, engine, weak):
    options = {"engine": engine, "weak": weak, "overlap": overlap}
    few, many = (predict_step(1.0, 10**8, n, LINK, **options) for n in (devices, devices + 1))
    assert 0 < many.efficiency <= few.efficiency * (1 + 1e-12) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"engine": "mpi"}, "engine is 'mpi': choose one of ddp, fsdp"),
        ({"overlap": 1.5}, "overlap"),
        ({"devices": 0}, "devices"),
        ({"compute_s": 0.0}, "compute_s"),
    ],
)
def test_what_is_out_of_range_is_refused(change, named):
    with pytest.raises(ValueError, match=named):
        predict_step(**({"compute_s": 1.0, "n_params": 1, "devices": 2, "link": LINK} | change))
