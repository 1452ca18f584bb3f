import gc
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from bench.measuring import clock as clocks
from bench.pairing import pair


@pytest.fixture
def on_machine(monkeypatch):
    """Return a function that lets the clock be a machine's."""
    monkeypatch.setattr(pair, "quiet_gc", nullcontext)  # collecting takes longer than such a pair
    gc.collect()
    gc.freeze()

    def use(machine):
        clock = SimpleNamespace(perf_counter_ns=machine.read)
        monkeypatch.setattr(clocks, "time", clock)
        return machine

    yield use
    gc.unfreeze()
