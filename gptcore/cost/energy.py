"""Energy counters of the processor and of NVIDIA's accelerators, read around a piece of work.

RAPL (running average power limit) is the processor's counter, which Linux shows as files; NVML is
the library of NVIDIA's driver. Both count what the whole device takes, other programs included.
Where no counter can be read, the energy is None: it is never a power from a data sheet times the
duration of the work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gptcore.reading import read_text

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the zones of RAPL."""

LEAST_S = 2.0
"""Shorter work has no energy. Counters of accelerators move every 20 to 100 ms (PETSc's manual,
PetscLogGpuEnergyMeter), so both ends of shorter work would be uncertain by more than 10 %."""

SAMPLE_S = 10.0
"""Seconds between two readings. RAPL's counters begin again at 0, after some 60 kJ or more."""

Counters = Mapping[str, Callable[[], float]]
"""Name → the joules counted since some moment."""


@dataclass
class Energy:
    """What the counters showed, once the work is done.

    Attributes:
        joules: the energy; None where no counter of the device that works could be read.
        source: the counters that were read, or why there is no energy.
    """

    joules: float | None = None
    source: str = "the work has not ended"


@contextmanager
def measuring_energy(gpu: str | None = None) -> Iterator[Energy]:
    """Read the energy counters around the block.

    Args:
        gpu: the UUID of the NVIDIA accelerator that works (`gptcore.devices.gpu_uuid`); "" for an
            accelerator of another make, which has no counter here; None for work on a processor.
            Work on an accelerator counts the processor as well where its counters can be read.

    Yields:
        The energy, which is filled in when the block ends without an error.
    """
    energy = Energy()
    with ExitStack() as stack:
        try:
            counters = {**_gpu_counter(gpu, stack), **_processor_counters(needed=gpu is None)}
            before = {name: read() for name, read in counters.items()}
        except ValueError as error:
            energy.source = str(error)
            yield energy
            return
        start = time.monotonic()
        with _reading_again(counters):
            yield energy
        if time.monotonic() - start < LEAST_S:
            energy.source = f"the work took less than {LEAST_S:g} s, too little for the counters"
            return
        try:
            energy.joules = sum(
                _moved(name, read() - before[name]) for name, read in counters.items()
            )
            energy.source = ", ".join(counters)
        except ValueError as error:
            energy.source = str(error)


def _moved(name: str, joules: float) -> float:
    """Return what a counter counted.

    Raises:
        ValueError: it did not rise, as a device that is switched on does.
    """
    if joules <= 0:
        how = "stood still" if joules == 0 else "fell"
        raise ValueError(f"the counter {name} {how} during the work, so it shows no energy")
    return joules


@contextmanager
def _reading_again(counters: Counters) -> Iterator[None]:
    """Read RAPL's zones every SAMPLE_S in a thread, so that no return to 0 is missed."""
    ended = threading.Event()
    zones = [read for read in counters.values() if isinstance(read, _Zone)]

    def read_all() -> None:
        while not ended.wait(SAMPLE_S):
            for read in zones:
                with suppress(ValueError):  # the last reading will tell
                    read()

    thread = threading.Thread(target=read_all, daemon=True)
    if zones:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if zones:
            thread.join()


class _Zone:
    """A zone of RAPL as a counter that never returns to 0."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range_uj = _microjoules(folder / "max_energy_range_uj")
        self._last_uj, self._total_uj = _microjoules(self._file), 0
        if self._range_uj < max(1, self._last_uj):
            raise ValueError(f"{self._file} is above its range, {self._range_uj:,} microjoules")

    def __call__(self) -> float:
        now_uj = _microjoules(self._file)
        self._total_uj += (now_uj - self._last_uj) % self._range_uj
        self._last_uj = now_uj
        return self._total_uj / 1e6


def _microjoules(path: Path) -> int:
    text = read_text(path, at_most=4096).strip()
    if not text.isdecimal():
        raise ValueError(f"{path} holds no whole number, so it is no energy counter")
    return int(text)


def _processor_counters(*, needed: bool) -> Counters:
    """Return a counter for each processor package, and for memory that is counted apart.

    The zones `core` and `uncore` are parts of a package, and `psys` holds everything, so they are
    left out.

    Raises:
        ValueError: they are needed, and there are none or one cannot be read.
    """
    counters: dict[str, Callable[[], float]] = {}
    try:
        for folder in sorted(POWERCAP.glob("intel-rapl:*")):  # the name on AMD's processors as well
            kind = read_text(folder / "name", at_most=4096).strip()
            if kind.startswith("package") or kind == "dram":
                counters[f"RAPL {folder.name.removeprefix('intel-rapl:')} {kind}"] = _Zone(folder)
    except ValueError as error:
        if needed:
            raise ValueError(f"the processor's energy counter cannot be read: {error}") from None
        return {}
    if any("package" in name for name in counters):  # memory alone is not the processor
        return counters
    if needed:
        raise ValueError(f"this machine shows no energy counter of its processor in {POWERCAP}")
    return {}


def _gpu_counter(gpu: str | None, stack: ExitStack) -> Counters:
    """Return the counter of an NVIDIA accelerator; the driver's library is let go by `stack`.

    Raises:
        ValueError: the accelerator has no counter that can be read.
    """
    if gpu is None:
        return {}
    if not gpu:
        raise ValueError("no energy counter is known for accelerators that are not NVIDIA's")
    try:
        import pynvml
    except ImportError:
        raise ValueError(
            "an accelerator's energy counter needs nvidia-ml-py: pip install gptcore[energy]"
        ) from None

    def read() -> float:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        except pynvml.NVMLError as error:
            raise ValueError(f"NVML cannot read the energy counter of {gpu}: {error}") from None

    try:
        pynvml.nvmlInit()
        stack.enter_context(suppress(pynvml.NVMLError))  # an error of the end costs nothing
        stack.callback(pynvml.nvmlShutdown)
        handle = pynvml.nvmlDeviceGetHandleByUUID(gpu)
    except pynvml.NVMLError as error:
        raise ValueError(f"NVML does not find {gpu}: {error}") from None
    return {"NVML": read}
