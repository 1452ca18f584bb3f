"""How a process is set up before it measures: threads, CPUs, precision, kernels.

Everything is set together, inherited by child processes, and read back for the record: what was
asked for is not always what a system gives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from gptcore.devices import keep_freed_memory

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
VARIABLE = "OMP_NUM_THREADS"
SDPA = ("cudnn", "flash", "math", "mem_efficient")
"""Kernels of attention that torch can be told to leave out; the CPU has flash and math."""

_before: dict[str, Any] = {}
"""CPUs allowed and OMP_NUM_THREADS, as they were before `pin` changed them."""

_lasting = {"keeps_freed_memory": False}
"""What `pin` set for as long as the process lives; the system does not tell."""


def read_text(path: Path | str) -> str | None:
    """Return the stripped text of a small system file, None where it is missing or unreadable."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def allowed_cpus() -> list[int]:
    """Return the numbers of the CPUs that this process was given, whether or not it is pinned."""
    return list(_before.get("affinity", _affinity()))


def usable_cpus() -> int:
    """Return how many logical CPUs this process may run on now."""
    return len(_affinity())


def cpu_limit() -> float | None:
    """Return how many CPUs' worth of time the control groups allow (Linux), None if unlimited.

    A group may use as much as the tightest of its ancestors; versions 1 and 2 are read.
    """
    limits = []
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = CGROUPS / controllers if controllers else CGROUPS
        if controllers and not base.exists():
            base = CGROUPS / "cpu"
        folder = base / path.strip("/")
        while folder.is_relative_to(base):
            limits.append(_quota(folder))
            folder = folder.parent
    return min((limit for limit in limits if limit is not None), default=None)


def _quota(folder: Path) -> float | None:
    text = read_text(folder / "cpu.max") or " ".join(
        read_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")
    )
    match = re.fullmatch(r"(\d+) (\d+)", text)  # "max" and -1 mean unlimited
    return int(match[1]) / int(match[2]) if match and int(match[2]) else None


def choose_threads() -> int:
    """Return the threads to use: OMP_NUM_THREADS if given, else the physical cores allowed.

    Raises:
        ValueError: OMP_NUM_THREADS is not a positive whole number.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        limit = cpu_limit()
        whole = usable_cpus() if limit is None else max(1, int(limit))
        return min(usable_cpus(), psutil.cpu_count(logical=False) or 1, whole)
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    raise ValueError(f"{VARIABLE} is {wanted!r}: give a positive whole number or unset it")


def set_threads() -> int:
    """Set torch's threads for the whole run: OMP_NUM_THREADS if given, else the physical cores.

    A container that may use 1.5 CPUs gets one thread: two would be stopped by turns.

    Returns:
        The number of intra-op threads; inter-op is 1, since these models have one stream of work.

    Raises:
        ValueError: OMP_NUM_THREADS is not a positive whole number.
    """
    threads = choose_threads()
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # too late once they have worked; the record says what holds
            torch.set_num_interop_threads(1)
    return threads


def choose_cpus(allowed: Iterable[int], n: int) -> list[int]:
    """Return `n` of the allowed CPUs: one for each physical core, then their siblings."""
    first: list[int] = []
    siblings: list[int] = []
    seen: set[str] = set()
    for cpu in sorted(allowed):
        topology = CPUS / f"cpu{cpu}" / "topology"
        core = read_text(topology / "core_cpus_list") or read_text(
            topology / "thread_siblings_list"
        )
        core = core or str(cpu)
        (siblings if core in seen else first).append(cpu)
        seen.add(core)
    return sorted((first + siblings)[:n])


def _set_affinity(cpus: Iterable[int]) -> None:
    """Move every thread of this process: those that exist already keep their own affinity."""
    wanted = set(cpus)
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), wanted)
        except OSError:  # ended since it was listed, or not allowed: `pinned` tells what holds
            continue


def pin(*, keep_memory: bool = True) -> dict[str, Any]:
    """Set this process up for measuring; child processes inherit threads and CPUs.

    Threads as `set_threads`; on Linux, where there are fewer than CPUs, the process keeps to one
    CPU of each physical core, as many as threads, within those that it was given. fp32 products
    are exact fp32 (no TF32), deterministic algorithms are not forced.

    Args:
        keep_memory: freed memory is kept for the next blocks where malloc can, for as long as the
            process lives; without it peaks are lower.

    Returns:
        What holds now, as `pinned`.

    Raises:
        ValueError: OMP_NUM_THREADS is not a positive whole number.
    """
    threads = set_threads()
    allowed = _affinity()
    if not _before:
        _before.update(affinity=allowed, omp=os.environ.get(VARIABLE))
    os.environ[VARIABLE] = str(threads)
    if hasattr(os, "sched_setaffinity") and threads < len(allowed):
        _set_affinity(choose_cpus(allowed, threads))
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if torch.are_deterministic_algorithms_enabled():  # to set it, torch loads its compiler
        torch.use_deterministic_algorithms(False)
    if keep_memory:
        _lasting["keeps_freed_memory"] = keep_freed_memory()
    return pinned()


def unpin() -> None:
    """Give CPUs and OMP_NUM_THREADS back as they were before the first `pin`."""
    if not _before:
        return
    if hasattr(os, "sched_setaffinity"):
        _set_affinity(_before["affinity"])
    os.environ.pop(VARIABLE, None)
    if _before["omp"] is not None:
        os.environ[VARIABLE] = _before["omp"]
    _before.clear()


def pinned() -> dict[str, Any]:
    """Return how this process is set up now, read back from torch and the system."""
    omp = os.environ.get(VARIABLE, "")
    return {
        "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "sdpa": [n for n in SDPA if getattr(torch.backends.cuda, f"{n}_sdp_enabled")()],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "intra_op_threads": torch.get_num_threads(),
        "inter_op_threads": torch.get_num_interop_threads(),
        "omp_num_threads": int(omp) if omp.isdecimal() else None,
        "affinity": _affinity(),
        **_lasting,
    }
