"""Time a training step of Model 5 on the CPU and on each accelerator, as the tutorial trains it.

    python docs/results/devices.py

B = 16 sequences of T = 256 random tokens, one process. On an accelerator the clock is read after
the device has finished.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gptcore.devices import available_devices, device_label, synchronize
from gptcore.model.config import PRESETS
from gptcore.model.gpt import GPT
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer, train_step

WARM_UP, CPU_STEPS, OTHER_STEPS = 3, 3, 30


def step_times(device: torch.device, precision: str) -> list[float]:
    """Return the seconds of single training steps."""
    config = TrainConfig(steps=100, batch_size=16, block_size=256, precision=precision)
    model = GPT(PRESETS["model5"], seed=0).to(device)
    optimizer = make_optimizer(model, config)
    ids = torch.randint(0, model.config.vocab_size, (16, 257), device=device)
    times = []
    for _ in range(WARM_UP + (CPU_STEPS if device.type == "cpu" else OTHER_STEPS)):
        started = time.perf_counter()
        train_step(model, optimizer, ids[:, :-1], ids[:, 1:], precision=precision, grad_clip=1.0)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return times[WARM_UP:]


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| device | precision | median, s | shortest to longest, s | steps |")
    print("| --- | --- | --- | --- | --- |")
    for name in available_devices():
        device = torch.device(name)
        for precision in ("bf16", "fp32"):
            times = step_times(device, precision)
            spread = f"{min(times):.4f} to {max(times):.4f}"
            label = device_label(device)
            print(f"| {label} | {precision} | {statistics.median(times):.4f} | {spread} |", end="")
            print(f" {len(times)} |", flush=True)
