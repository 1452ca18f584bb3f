import gc
import json
import mmap
import subprocess
import sys

import pytest
import torch

from bench.measuring import memory
from bench.measuring.memory import HighWaterMark, SampledPeak, peak_of, read_peaks
from bench.measuring.work import Work

CPU = torch.device("cpu")
MIB = 2**20
# Resident memory moves by pages of other things (the interpreter, the allocator's own books).
SLACK = 4 * MIB


pytestmark = pytest.mark.usefixtures("frozen")

linux = pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="needs /proc of Linux")


def hold(mib):
    """Return memory that is really there and goes back at once: pages of the system, written to.

    What an allocator does with freed memory depends on what the process did before.
    """
    pages = mmap.mmap(-1, mib * MIB)
    for start in range(0, mib * MIB, mmap.PAGESIZE):
        pages[start] = 1
    return pages


def phased(end_phase):
    first = hold(40)
    del first
    end_phase("forward")
    second = hold(90)
    end_phase("loss")
    del second
    gc.collect()
    end_phase("backward")


@linux
@pytest.mark.parametrize("make", [HighWaterMark, SampledPeak])
def test_peak_of_each_phase_is_what_that_phase_held(make):
    def slow(end_phase):  # sampling needs time to see the memory
        first = hold(40)
        end_phase("forward")
        del first

    peaks = read_peaks(Work(slow, CPU, 1), make())
    assert abs(peaks["forward_peak_bytes"] - 40 * MIB) < SLACK
    assert abs(peaks["peak_bytes"] - 40 * MIB) < SLACK


@linux
def test_peak_of_a_phase_ends_with_the_phase():
    peaks = read_peaks(Work(phased, CPU, 1))
    assert abs(peaks["forward_peak_bytes"] - 40 * MIB) < SLACK
    assert abs(peaks["loss_peak_bytes"] - 90 * MIB) < SLACK
    assert abs(peaks["backward_peak_bytes"] - 90 * MIB) < SLACK  # still held when it began
    assert peaks["peak_bytes"] == max(v for k, v in peaks.items() if k.endswith("_peak_bytes"))


@linux
def test_a_call_without_phases_has_a_peak():
    peaks = read_peaks(Work(lambda _end_phase: hold(30), CPU, 1))
    assert abs(peaks["peak_bytes"] - 30 * MIB) < SLACK


@linux
def test_freed_memory_that_is_still_held_does_not_hide_the_peak():
    pieces = [bytearray(100_000) for _ in range(400)]  # small enough to come from the heap
    keep = pieces[::50]
    del pieces
    peaks = read_peaks(Work(lambda _end_phase: [bytearray(100_000) for _ in range(300)], CPU, 1))
    assert keep
    assert abs(peaks["peak_bytes"] - 30_000_000) < SLACK


@linux
def test_peak_that_was_reached_before_does_not_count():
    hold(200)
    peaks = read_peaks(Work(lambda _end_phase: hold(10), CPU, 1))
    assert peaks["peak_bytes"] < 10 * MIB + SLACK


@linux
def test_memory_of_the_first_calls_alone_is_not_the_peak():
    sizes = iter([120, 120, 10])
    peaks = read_peaks(Work(lambda _end_phase: hold(next(sizes)), CPU, 1))
    assert peaks["peak_bytes"] < 10 * MIB + SLACK


@linux
def test_peak_is_read_after_two_full_calls():
    calls = []
    read_peaks(Work(lambda _end_phase: calls.append("call"), CPU, 1))
    assert len(calls) == memory.FULL_CALLS + 1 >= 3


CHILD = """
import resource
from bench.measuring.memory import HighWaterMark
print(HighWaterMark().peak_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@linux
def test_child_of_a_fat_parent_does_not_report_the_parents_peak():
    fat = hold(700)
    command = [sys.executable, "-c", CHILD]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peak, wrong = map(int, output.split())
    assert peak < 600 * MIB < len(fat)  # torch and what else the child imports
    if wrong < len(fat):
        pytest.skip("this kernel does not hand ru_maxrss on: there is nothing to get wrong")


HOLDS = """
import dataclasses, gc, json, psutil
from bench.measuring import pinning
from bench.measuring.memory import _return_free_memory, read_peaks
from bench.measuring.workloads import work_of
from bench.suite.cases import ModelCase
from bench.suite.inputs import Inputs
from gptcore.model.config import PRESETS
from gptcore.model.flops import n_params

pinning.pin(keep_memory=False)
inputs = Inputs(["python-docs"])
inputs.stream("python-docs")

def peaks(model):
    case = ModelCase("python-docs", model, "cpu", "fp32", 1, 16, "step")
    work = work_of("bench_model::test_step", case, inputs)
    return read_peaks(work)

peaks("model1")  # whatever a first step loads is loaded
gc.collect()
_return_free_memory()
before = psutil.Process().memory_info().rss
config = dataclasses.replace(PRESETS["model4"], block_size=16)
reads = [peaks("model4") for _ in range(3)]  # pages of the heap only ever add to a peak
peak = min(read["peak_bytes"] for read in reads)
print(json.dumps([reads[0]["base_bytes"] - before, peak, n_params(config)]))
"""


@linux
def test_memory_held_between_steps_is_weights_and_optimizer_state_and_no_copy():
    command = [sys.executable, "-c", HOLDS]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    held, peak, n_params = json.loads(output.splitlines()[-1])
    a_copy = 4 * n_params  # of the weights; pages of the heap and loaded kernels are far less
    assert held == pytest.approx(12 * n_params, abs=a_copy / 2)
    assert 4 * n_params < peak < 12 * n_params  # gradients and activations, but no state


def test_where_the_kernel_cannot_tell_memory_is_sampled(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    assert isinstance(peak_of(CPU), SampledPeak)


class FakeAllocator:
    """Counts as torch's allocators do."""

    def __init__(self):
        self.held = self.peak = 100

    def take(self, n):
        self.held += n
        self.peak = max(self.peak, self.held)

    def reset_peak_memory_stats(self, _device):
        self.peak = self.held

    def max_memory_allocated(self, _device):
        return self.peak


def test_accelerators_peak_comes_from_its_allocator(monkeypatch):
    allocator = FakeAllocator()
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch, "get_device_module", lambda _device: allocator)
    monkeypatch.setattr(memory, "synchronize", lambda _device: None)

    def step(end_phase):
        allocator.take(50)
        end_phase("forward")
        allocator.take(30)
        allocator.take(-80)
        end_phase("backward")

    assert read_peaks(Work(step, device, 1)) == {
        "base_bytes": 100,
        "peak_bytes": 80,
        "forward_peak_bytes": 50,
        "backward_peak_bytes": 80,
    }


def test_device_without_peak_statistics_has_none(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _device: object())
    device = torch.device("mps", 0)
    assert read_peaks(Work(lambda _end_phase: pytest.fail("not called"), device, 1)) == {}
