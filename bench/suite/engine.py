"""Where cases run: the option `--engine`, and the cases that it is about."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from importlib.util import find_spec

from gptcore.console import quoted

ENGINES = "local, ray, ray://auto or ray://HOST:PORT"

TASKS = {
    "bench_coverage::test_coverage": None,
    "bench_loaders::test_dataloader": None,
    "bench_packing::test_packing": None,
    "bench_position::test_position": None,
    "bench_position::test_fold": None,
    "bench_convergence::test_train": None,
    "bench_convex::test_convex": None,
    "bench_scaling::test_rung": None,
    "bench_scaling::test_target": "bench_scaling::test_predict",
    "bench_scaling::test_repeated": None,
}
"""The benchmarks whose cases train or count, and so may run as tasks of a cluster (docs/scale.md) →
the benchmark that they wait for, whose records they read."""


def check_engine(engine: str, devices: Sequence[str]) -> None:
    """Refuse an engine that is unknown, or that cannot run here.

    Raises:
        ValueError: it is unknown, Ray is not installed, there is nobody at its address, or a device
            is no CPU.
    """
    if engine == "local":
        return
    if not re.fullmatch(r"ray(://(auto|.+:[0-9]{1,5}))?", engine):
        raise ValueError(f"engine {quoted(engine)} is unknown: choose {ENGINES}")
    if find_spec("ray") is None:
        raise ValueError(f"--engine={engine} needs Ray: pip install 'ray>=2.60'")
    if set(devices) != {"cpu"}:
        raise ValueError(f"--engine={engine} runs cases on CPUs: add --devices=cpu")
    if engine.endswith(tuple("0123456789")):
        host, _, port = engine.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise ValueError(
                f"no Ray cluster answers at {host}:{port} ({error}): give the address that ray "
                "start printed on the first machine, or start a cluster there"
            ) from None


def is_task(name: str) -> bool:
    """Return whether the case with this id may run as a task of a cluster."""
    return name.partition("[")[0] in TASKS
