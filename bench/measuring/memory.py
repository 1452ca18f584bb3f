"""Peak memory of a work, by phase: from the kernel on a CPU, from torch's allocator elsewhere.

On Linux the peak is VmHWM of /proc/self/status, set back at the start of each phase. It is read in
a process that does nothing else (`bench.measuring.processes`): memory that an earlier case left behind would
hide in it. `ru_maxrss` is not used: it survives exec, so the child of a fat parent reports the
parent's peak. Where there is no VmHWM, the resident memory is sampled every few milliseconds.
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
RESET_PEAK = "5"  # what proc(5) gives CLEAR_REFS to set VmHWM back to the present VmRSS
FULL_CALLS = 2
"""Calls before the peak is read: the first ones allocate what the later ones reuse."""
SAMPLE_S = 0.002


class HighWaterMark:
    """The peak of this process's resident memory since the last `reset`, in bytes (Linux)."""

    source = "VmHWM"

    def reset(self) -> None:
        """Start from the memory held now."""
        CLEAR_REFS.write_text(RESET_PEAK)

    def peak_bytes(self) -> int:
        """Return the peak since then."""
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise OSError("VmHWM is not in /proc/self/status")


class SampledPeak:
    """The same by sampling: short peaks can be missed."""

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
        """Start from the memory held now."""
        with self._lock:
            self._peak = self._process.memory_info().rss

    def peak_bytes(self) -> int:
        """Return the peak since then."""
        with self._lock:
            self._peak = max(self._peak, self._process.memory_info().rss)
            return self._peak


class AllocatorPeak:
    """The peak of what torch's allocator gave out on an accelerator."""

    source = "allocator"

    def __init__(self, device: torch.device) -> None:
        self._device, self._module = device, torch.get_device_module(device)

    def reset(self) -> None:
        """Start from the memory held now."""
        self._module.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Return the peak since then."""
        return int(self._module.max_memory_allocated(self._device))


Peak = HighWaterMark | SampledPeak | AllocatorPeak


def peak_of(device: torch.device) -> Peak | None:
    """Return the best way here to read the peak of `device`, None if torch counts none for it."""
    if device.type != "cpu":
        counts = hasattr(torch.get_device_module(device), "max_memory_allocated")
        return AllocatorPeak(device) if counts else None
    try:
        mark = HighWaterMark()
        mark.reset()
        mark.peak_bytes()
    except OSError:
        return SampledPeak()
    return mark


def _return_free_memory() -> None:
    """Give the system back what was freed: reused later, it would hide in the base (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def read_peaks(work: Work, peak: Peak | None = None) -> dict[str, int]:
    """Return the peak of one call over what was held before the first, whole and by phase.

    The peak of a step thus holds gradients, optimizer state and activations, and not the weights.

    Args:
        work: not called before in this process, so that the base is that of a built model.
        peak: how to read; by default the best way.

    Returns:
        base_bytes, peak_bytes and `<phase>_peak_bytes` for each phase that the call marks; nothing
        where no peak can be read.
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
    phases: dict[str, int] = {}

    def read(name: str) -> None:
        synchronize(work.device)
        phases[name] = max(phases.get(name, 0), peak.peak_bytes() - base)
        peak.reset()

    peak.reset()
    work.call(read)
    read("rest")  # what follows the last mark, and all of a call without phases
    whole = max(phases.values())
    named = {f"{name}_peak_bytes": max(0, n) for name, n in phases.items() if name != "rest"}
    return {"base_bytes": base, "peak_bytes": max(0, whole), **named}
