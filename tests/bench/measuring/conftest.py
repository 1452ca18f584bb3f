from pathlib import Path

import pytest

from bench.measuring import environment, pinning
from bench.measuring import measure as measure_module
from bench.measuring.measure import Measure
from bench.measuring.work import Result
from tests.helpers.fake_benchmark import FakeBenchmark


@pytest.fixture
def measure(monkeypatch, frozen):
    made = {"reference_s": 1e-3, "memory_reference_s": 1e-2}
    monkeypatch.setattr(measure_module, "references", lambda _device: made)
    return Measure(FakeBenchmark(), Result(), budget_s=0.01)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system whose files are those that a test writes: write(path, text)."""

    def redirect(path):
        text = str(path)
        return tmp_path / text.lstrip("/") if text.startswith(("/proc", "/sys")) else Path(path)

    real = pinning.read_text
    for module in (pinning, environment):
        monkeypatch.setattr(module, "read_text", lambda path: real(redirect(path)))

    def write(path, text):
        redirect(path).parent.mkdir(parents=True, exist_ok=True)
        redirect(path).write_text(text)

    return write
