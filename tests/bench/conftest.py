import gc
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from bench.measuring import clock as clocks
from bench.pairing import pair


@pytest.fixture
def frozen():
    """Keep the collector from what the process has loaded, which takes longer than a test."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def on_machine(monkeypatch, frozen):
    """Return a function that lets the clock be a machine's."""
    monkeypatch.setattr(pair, "quiet_gc", nullcontext)  # collecting takes longer than such a pair

    def use(machine):
        clock = SimpleNamespace(perf_counter_ns=machine.read)
        monkeypatch.setattr(clocks, "time", clock)
        return machine

    return use
