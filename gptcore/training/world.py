"""The processes of a run: torchrun starts them, and they join, count together, and end together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from gptcore.devices import resolve_device

TIMEOUT_S = 600
"""Seconds that a process waits for the others before it gives up."""
LOST = (
    "another process of this run has ended or no longer answers: see what it or the launcher says, "
    "and continue with the same command and --resume"
)


def is_launched() -> bool:
    """Return whether torchrun has started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


def own_device(device: torch.device) -> torch.device:
    """Return the accelerator of this process, one each on a machine; a CPU is shared.

    Raises:
        ValueError: the machine has fewer accelerators than processes.
    """
    return device if device.type == "cpu" else resolve_device(f"{device.type}:{_local_rank()}")


def _local_rank() -> int:
    return int(os.environ["LOCAL_RANK"])


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun has started, for the time of the block.

    Raises:
        ValueError: another process has ended, or does not answer.
    """
    is_cpu = device.type == "cpu"
    if not is_cpu:
        torch.accelerator.set_device_index(device)
    with lost_process():
        dist.init_process_group(
            dist.get_default_backend_for_device(device),
            timeout=timedelta(seconds=TIMEOUT_S),
            device_id=None if is_cpu else device,
        )
        yield World(device)
        dist.destroy_process_group()


@contextmanager
def lost_process() -> Iterator[None]:
    """Turn what torch raises when another process is gone into a ValueError of one line."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not isinstance(error, dist.DistError) and not any(
            sign in text for sign in ("gloo", "connection closed", "connection reset", "timed out")
        ):
            raise
        raise ValueError(LOST) from error


class World:
    """The processes of a run.

    Attributes:
        rank: the number of this process, from 0; the first one leads.
        size: how many there are.
        device: that of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size, self.device = dist.get_rank(), dist.get_world_size(), device

    @property
    def leads(self) -> bool:
        """Whether this process keeps the folder of the run."""
        return self.rank == 0

    def part(self, count: int) -> range:
        """Return which of `count` windows this process takes.

        Raises:
            ValueError: there are fewer windows than processes.
        """
        if count < self.size:
            raise ValueError(
                f"batch_size is {count}, and {self.size} processes need a window each: start at "
                f"most {count} processes, or give a larger batch_size"
            )
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def total(self, number: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        total = number.detach().clone()
        dist.all_reduce(total)
        return total

    def greatest(self, *numbers: int) -> list[int]:
        """Return the greatest of each number over all processes."""
        told = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return [int(number) for number in told.tolist()]
