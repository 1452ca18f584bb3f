"""The devices of this machine, their precisions, how to wait for them, and how memory is freed."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

PRECISIONS = ("fp32", "bf16", "medium")
"""Precisions of training; weights, gradients and optimizer state are float32 in all of them.

`fp32`: float32 products without rounding of their inputs. `bf16`: bfloat16 products and
activations. `medium`: fp32 with bf16 products, that is, activations stay float32, and products may
round their inputs to bfloat16 (or TF32).
"""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # from glibc's malloc.h
_LARGE_BYTES = 2**18  # a block of this size is worth a system call of its own


def keep_freed_memory() -> bool:
    """Make malloc keep freed blocks of any size for later ones; return whether it does.

    Otherwise glibc returns large blocks to the system, and every step pays for new, zeroed pages.
    The setting holds for the whole process, until `return_freed_memory`. C libraries other than
    glibc are not changed.
    """
    return _mallopt({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1})


def return_freed_memory() -> bool:
    """Make malloc return every large block to the system when it is freed; return whether it does.

    The process then holds only the memory in use, but new pages take time.
    """
    return _mallopt(
        {_M_MMAP_MAX: 2**16, _M_MMAP_THRESHOLD: _LARGE_BYTES, _M_TRIM_THRESHOLD: _LARGE_BYTES}
    )


def _mallopt(settings: dict[int, int]) -> bool:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)  # absent in musl
    return mallopt is not None and all(mallopt(name, value) for name, value in settings.items())


def available_devices() -> list[str]:
    """Return "cpu" and every accelerator present, numbered: "cuda:0", "cuda:1", "mps:0"."""
    devices = ["cpu"]
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and torch.accelerator.is_available():
        count = torch.accelerator.device_count()
        devices += [f"{accelerator.type}:{index}" for index in range(count)]
    return devices


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; a name without number, such as "cuda", means the first one.

    Raises:
        ValueError: this machine has no such device.
    """
    devices = available_devices()
    for candidate in (name, f"{name}:0"):
        if candidate in devices:
            return torch.device(candidate)
    raise ValueError(f"device {name!r} is not here; choose one of {', '.join(devices)}")


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished all work given to it; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def to_device(ids: Tensor, device: torch.device) -> Tensor:
    """Return `ids` on `device`; CUDA and XPU copy them from page-locked memory, without waiting."""
    if ids.device.type == "cpu" and device.type in ("cuda", "xpu"):
        return ids.pin_memory().to(device, non_blocking=True)
    return ids.to(device)


def supported_precisions(device: torch.device) -> list[str]:
    """Return those of PRECISIONS that `device` gains from.

    CUDA's emulated bf16 is left out, and so is "medium" where torch rounds nothing: there it would
    be fp32 under another name.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        has_medium = has_bf16  # the same generation brought TF32
    else:
        has_bf16 = torch.amp.is_autocast_available(device.type)
        has_medium = device.type == "cpu" and cpu_rounds_products()
    offered = {"fp32": True, "bf16": has_bf16, "medium": has_medium}
    return [name for name in PRECISIONS if offered[name]]


def cpu_rounds_products() -> bool:
    """Return whether "medium" lets torch round the inputs of float32 products on this CPU.

    oneDNN rounds on processors with matrix units for bfloat16 (Intel's AMX). It does not on those
    that have vector instructions for bfloat16 alone, so the answer is that of a small product.
    """
    numbers = torch.full((64, 64), 1 + 2**-12, device="cpu")  # bfloat16 rounds it to 1
    with matmul_precision("medium"):
        return bool((numbers @ torch.eye(64, device="cpu") != numbers).any())


def check_precision(precision: str) -> None:
    """Raise ValueError unless `precision` is in PRECISIONS."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return a context in which forward passes on `device` compute in `precision`.

    Weights, gradients and optimizer state stay float32; run backward outside the context, but
    inside `matmul_precision`.

    Raises:
        ValueError: `precision` is not in PRECISIONS.
    """
    check_precision(precision)
    return _autocast(device, precision)


@contextmanager
def _autocast(device: torch.device, precision: str) -> Iterator[None]:
    is_bf16 = precision == "bf16"
    low = torch.autocast(device.type, torch.bfloat16, enabled=is_bf16)
    with matmul_precision(precision), low:
        yield


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute float32 products in `precision`; afterwards restore the setting from before.

    The setting belongs to the process: threads that train at the same time share it.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "medium" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def device_label(device: torch.device) -> str:
    """Return the product name of the processor or accelerator, for people to read."""
    if device.type == "cpu":
        return _cpu_name()
    module = torch.get_device_module(device)
    return (
        str(module.get_device_name(device)) if hasattr(module, "get_device_name") else str(device)
    )


def gpu_uuid(device: torch.device) -> str | None:
    """Return the UUID by which NVIDIA's driver finds a device: None for a CPU, "" if unknown."""
    if device.type == "cpu":
        return None
    if device.type != "cuda" or torch.version.cuda is None:  # ROCm's devices are called cuda, too
        return ""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid else ""


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "cpu"


def host_memory_bytes() -> int | None:
    """Return the memory of this machine, or of its container if that has less; None if unknown."""
    limits = []
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # ValueError: the word "max"
            limits.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
    return min(limits, default=None)


def reset_peak_memory(device: torch.device) -> None:
    """Let `memory_bytes` of an accelerator count from now on; a CPU has nothing to reset."""
    if device.type != "cpu":
        reset = getattr(torch.get_device_module(device), "reset_peak_memory_stats", None)
        if reset is not None:
            reset(device)


def memory_bytes(device: torch.device) -> int | None:
    """Return the memory in use, in bytes, or None where it cannot be read cheaply.

    On an accelerator it is the most that torch's allocator has held since `reset_peak_memory`. On a
    CPU it is the resident memory of this process now, which Linux alone tells without a library.
    """
    if device.type != "cpu":
        peak = getattr(torch.get_device_module(device), "max_memory_allocated", None)
        return None if peak is None else int(peak(device))
    with suppress(OSError):
        resident_pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(resident_pages) * os.sysconf("SC_PAGE_SIZE")
    return None


def choose_devices(names: str | None) -> dict[str, tuple[str, ...]]:
    """Return device → precisions for a comma-separated list, or for all devices of this machine.

    Raises:
        ValueError: this machine lacks a device of the list.
    """
    wanted = available_devices() if names is None else [n.strip() for n in names.split(",")]
    devices = [resolve_device(name) for name in wanted]
    return {
        "cpu" if device.type == "cpu" else str(device): tuple(supported_precisions(device))
        for device in devices
    }
