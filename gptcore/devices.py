"""The devices of this machine, one way to wait for them, and the precisions they offer."""

import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

PRECISIONS = ("fp32", "bf16")  # bf16: bfloat16 matrix products, float32 weights and optimizer


def available_devices() -> list[str]:
    """Return "cpu" and every accelerator present, numbered: "cuda:0", "cuda:1", "mps:0"."""
    devices = ["cpu"]
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and torch.accelerator.is_available():
        count = torch.accelerator.device_count()
        devices += [f"{accelerator.type}:{index}" for index in range(count)]
    return devices


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; without a number, as in "cuda", the first of its kind.

    Raises:
        ValueError: this machine has no such device.
    """
    devices = available_devices()
    for candidate in (name, f"{name}:0"):
        if candidate in devices:
            return torch.device(candidate)
    raise ValueError(f"device {name!r} is not here; choose one of {', '.join(devices)}")


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished all work given to it; the CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def supported_precisions(device: torch.device) -> list[str]:
    """Return those of PRECISIONS that `device` computes in; CUDA's emulated bf16 is left out."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.amp.is_autocast_available(device.type)
    return list(PRECISIONS) if has_bf16 else ["fp32"]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which forward passes on `device` compute in `precision`.

    Weights, gradients and optimizer state stay float32; run backward outside the context.

    Raises:
        ValueError: `precision` is not in PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)


def device_label(device: torch.device) -> str:
    """Return what people call `device`: the processor's or accelerator's product name."""
    if device.type == "cpu":
        return _cpu_name()
    module = torch.get_device_module(device)
    return (
        str(module.get_device_name(device)) if hasattr(module, "get_device_name") else str(device)
    )


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "cpu"
