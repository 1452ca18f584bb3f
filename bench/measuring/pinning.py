"""Sets up a process before it measures: threads, CPUs, precision, memory.

Child processes inherit threads and CPUs. All settings are read back for the record, because a
system may not apply a setting that was asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from gptcore.devices import keep_freed_memory

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
VARIABLE = "OMP_NUM_THREADS"
MOST_THREADS = 4096
SDPA = ("cudnn", "flash", "math", "mem_efficient")
"""Attention kernels that torch can switch off; the CPU has flash and math."""

_before: dict[str, Any] = {}
"""The allowed CPUs and OMP_NUM_THREADS as they were before `pin` changed them."""

_lasting = {"keeps_freed_memory": False}
"""Settings of `pin` that last as long as the process and cannot be read back."""


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
    """Return the numbers of the CPUs that this process was allowed before it was pinned."""
    return list(_before.get("affinity", _affinity()))


def usable_cpus() -> int:
    """Return how many logical CPUs this process may run on now."""
    return len(_affinity())


def cpu_limit() -> float | None:
    """Return the CPU time that the control groups allow (Linux) in CPUs, None if unlimited.

    The lowest limit among a group and its ancestors holds; versions 1 and 2 are read.
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
    """Return the number of threads: that of OMP_NUM_THREADS, else the physical cores allowed.

    Raises:
        ValueError: OMP_NUM_THREADS asks for more than MOST_THREADS.
    """
    wanted = _wanted_threads(os.environ.get(VARIABLE, ""))
    if wanted is None:
        limit = cpu_limit()
        whole = usable_cpus() if limit is None else max(1, int(limit))
        return min(usable_cpus(), psutil.cpu_count(logical=False) or 1, whole)
    if wanted > MOST_THREADS:
        raise ValueError(f"{VARIABLE} asks for {wanted} threads: give at most {MOST_THREADS:,}")
    return wanted


def _wanted_threads(text: str) -> int | None:
    """Read OMP_NUM_THREADS as OpenMP does: a list has a number for each level of nested teams.

    The first one is that of the outermost level, which torch uses. OpenMP ignores text that is no
    list of positive whole numbers; its library says so when it is loaded.
    """
    number = r"\s*\+?0*[1-9][0-9]*\s*"
    listed = re.fullmatch(f"{number}(,{number})*", text, re.ASCII)
    first = int(text.partition(",")[0][:20]) if listed else 0
    return first if 0 < first < 2**63 else None


def set_threads() -> int:
    """Set torch's threads: OMP_NUM_THREADS if set, else one for each physical core allowed.

    A container with a quota of 1.5 CPUs gets one thread, because two would be paused in turns.

    Returns:
        The number of intra-op threads. Inter-op threads are set to 1, because a GPT runs one
        operation after the other.

    Raises:
        ValueError: OMP_NUM_THREADS asks for more than MOST_THREADS.
    """
    threads = choose_threads()
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # torch refuses this after parallel work; it is recorded
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
    """Set the affinity of every thread, because threads that exist already keep their own.

    Does nothing on a system without affinities.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    wanted = set(cpus)
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), wanted)
        except OSError:  # the thread has ended, or this is not allowed; `pinned` reads it back
            continue


@contextmanager
def unbound() -> Iterator[None]:
    """Let processes that start in the block use all CPUs that this one was allowed at first."""
    before = _affinity()
    _set_affinity(allowed_cpus())
    try:
        yield
    finally:
        _set_affinity(before)


def pin(*, keep_memory: bool = True, bind: bool = True) -> dict[str, Any]:
    """Set this process up for measuring; child processes inherit threads and CPUs.

    The number of threads comes from `set_threads`. On Linux, a process with fewer threads than CPUs
    is bound to as many CPUs as it has threads, each on another physical core where possible. fp32
    products are exact (no TF32), and deterministic algorithms are not required.

    Args:
        keep_memory: whether malloc keeps freed memory for later blocks, where it can, for as long
            as the process lives; this makes calls faster and their peak memory higher.
        bind: whether the process is bound to CPUs, as processes beside each other are not.

    Returns:
        The settings that now hold, as `pinned` returns them.

    Raises:
        ValueError: OMP_NUM_THREADS asks for more than MOST_THREADS.
    """
    threads = set_threads()
    allowed = _affinity()
    if not _before:
        _before.update(affinity=allowed, omp=os.environ.get(VARIABLE))
    os.environ[VARIABLE] = str(threads)
    if bind and threads < len(allowed):
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
    """Put the CPUs and OMP_NUM_THREADS back as they were before the first `pin`."""
    if not _before:
        return
    _set_affinity(_before["affinity"])
    os.environ.pop(VARIABLE, None)
    if _before["omp"] is not None:
        os.environ[VARIABLE] = _before["omp"]
    _before.clear()


def pinned() -> dict[str, Any]:
    """Return the settings of this process, read back from torch and the system."""
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
