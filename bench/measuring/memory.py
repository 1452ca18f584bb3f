"""Peak memory of a piece of work, by phase: from the kernel on a CPU, else from torch's allocator.

On Linux the peak is VmHWM of /proc/self/status, which is reset at the start of each phase. It is
read in a new process (`bench.measuring.processes`), because freed memory of an earlier case would
be used again and would not raise the peak. `ru_maxrss` is not used: it is inherited across exec,
so a child would report its parent's peak. Where there is no VmHWM, the resident memory is sampled
every 2 ms.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from gptcore.devices import synchronize

if TYPE_CHECKING:
    from bench.measuring.work import Work


STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): writing "5" to clear_refs sets VmHWM to the present VmRSS
FULL_CALLS = 2
"""Calls before the peak is read: the first ones allocate memory that the later ones reuse."""
SAMPLE_S = 0.002


class HighWaterMark:
    """The peak of this process's resident memory since the last `reset`, in bytes (Linux)."""

    source = "VmHWM"

    def reset(self) -> None:
        """Set the peak to the memory that is held now."""
        CLEAR_REFS.write_text(RESET_PEAK)

    def peak_bytes(self) -> int:
        """Return the peak since the last `reset`."""
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise OSError("VmHWM is not in /proc/self/status")


class SampledPeak:
    """The same peak, estimated by sampling: a peak shorter than SAMPLE_S can be missed."""

    source = "sampled resident memory"

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._lock = threading.Lock()
        self._peak = 0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        pause = threading.Event()
        while not pause.wait(SAMPLE_S):
            self.peak_bytes()

    def reset(self) -> None:
        """Set the peak to the memory that is held now."""
        with self._lock:
            self._peak = self._process.memory_info().rss

    def peak_bytes(self) -> int:
        """Return the peak since the last `reset`."""
        with self._lock:
            self._peak = max(self._peak, self._process.memory_info().rss)
            return self._peak


class AllocatorPeak:
    """The peak of the memory that torch's allocator handed out on an accelerator."""

    source = "allocator"

    def __init__(self, device: torch.device) -> None:
        self._device, self._module = device, torch.get_device_module(device)

    def reset(self) -> None:
        """Set the peak to the memory that is held now."""
        self._module.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Return the peak since the last `reset`."""
        return int(self._module.max_memory_allocated(self._device))


Peak = HighWaterMark | SampledPeak | AllocatorPeak


def peak_of(device: torch.device) -> Peak | None:
    """Return the best available reader of peaks; None if torch counts no memory of `device`."""
    if device.type != "cpu":
        counts = hasattr(torch.get_device_module(device), "max_memory_allocated")
        return AllocatorPeak(device) if counts else None
    try:
        reader = HighWaterMark()
        reader.reset()
        reader.peak_bytes()
    except OSError:
        return SampledPeak()
    return reader


def _return_free_memory() -> None:
    """Return freed memory to the system (glibc), so that the base does not contain it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def read_peaks(work: Work, peak: Peak | None = None) -> dict[str, int]:
    """Return the memory held between calls, and the peak of one call above it, by phase too.

    What is held is the process before its first call (weights, inputs, the program) and the state
    that this call allocates for all later ones (`Work.state_bytes`). The peak of a training step
    thus counts gradients and activations, but neither the weights nor the optimizer's state.

    Args:
        work: not yet called in this process, so that only its inputs and model are held.
        peak: reader of peaks; by default the best available one.

    Returns:
        base_bytes, peak_bytes, and `<phase>_peak_bytes` for each phase that the call ends; an empty
        dict where no peak can be read.
    """
    peak = peak or peak_of(work.device)
    if peak is None:
        return {}
    gc.collect()
    _return_free_memory()
    peak.reset()
    base = peak.peak_bytes()
    for _ in range(FULL_CALLS):
        work.call(lambda _phase: None)
    base += work.state_bytes()
    phases: dict[str, int] = {}

    def read(name: str) -> None:
        synchronize(work.device)
        phases[name] = max(phases.get(name, 0), peak.peak_bytes() - base)
        peak.reset()

    peak.reset()
    work.call(read)
    read("rest")  # what follows the last phase; the whole call if it has no phases
    whole = max(phases.values())
    named = {f"{name}_peak_bytes": max(0, n) for name, n in phases.items() if name != "rest"}
    return {"base_bytes": base, "peak_bytes": max(0, whole), **named}
