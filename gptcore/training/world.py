"""The processes of a run: torchrun starts them, and they join, count together, and end together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from gptcore.devices import resolve_device
from gptcore.streams import BAD_INPUT

TIMEOUT_S, ASKING_S = 600, 5
"""Seconds that a process waits for the others, and for the launcher, before it gives up."""
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
    if device.type == "cpu" or not is_launched():
        return device
    return resolve_device(f"{device.type}:{os.environ['LOCAL_RANK']}")


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the process of a run that meets an error first say it; the others end in silence.

    The first one is where the cause is: the others learn of an error when its process ends.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not is_launched() or _is_first():
            raise
        is_ctrl_c = isinstance(error, KeyboardInterrupt)
        raise SystemExit(128 + signal.SIGINT if is_ctrl_c else BAD_INPUT) from None


def _is_first() -> bool:
    """Return whether no other process has asked this; the launcher counts."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    timeout = timedelta(seconds=ASKING_S)
    try:
        store = dist.TCPStore(address, port, timeout=timeout)  # type: ignore[attr-defined]
        count: int = store.add(f"gptcore/errors/{os.environ['TORCHELASTIC_RESTART_COUNT']}", 1)
    except dist.DistError:  # the launcher has gone
        return True
    return count == 1


@contextmanager
def joined(device: torch.device) -> Iterator[World | None]:
    """Join the processes that torchrun has started, for the time of the block; None without it.

    Raises:
        ValueError: another process has ended, or does not answer.
    """
    if not is_launched():
        yield None
        return
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
