"""Several processes of one run, forked from a test, which join over gloo as torchrun's would."""

import json
import os
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp

from gptcore.training.world import World, joined

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="the processes are forked")
CPU = torch.device("cpu")


def run_ranks(folder: Path, size: int, work: Callable[[World], Any]) -> list[tuple[int, Any]]:
    """Return for each of `size` processes its exit code, and what `work` returned in it.

    An exception gives the code 1 and its text; a signal gives its negative number.
    """
    return fork(folder, size, lambda: _work(work))


def _work(work: Callable[[World], Any]) -> Any:
    with joined(CPU) as world:
        return work(world)


def fork(folder: Path, size: int, work: Callable[[], Any]) -> list[tuple[int, Any]]:
    """Call `work` in `size` processes whose environment is that of torchrun."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": size}
    children = []
    for rank in range(size):
        answer = folder / f"answer-{rank}.json"
        answer.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the children do not use
            child = os.fork()
        if child == 0:
            environment = told | {"RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_RUN_ID": "test"}
            os.environ.update({name: str(value) for name, value in environment.items()})
            os._exit(_answer(work, answer))
        children.append((child, answer))
    results = []
    for child, answer in children:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        results.append((code, json.loads(answer.read_text()) if answer.exists() else None))
    return results


def _answer(work: Callable[[], Any], answer: Path) -> int:
    try:
        result, code = work(), 0
    except BaseException as error:
        traceback.print_exc()
        result, code = f"{type(error).__name__}: {error}", 1
    answer.write_text(json.dumps(result))
    sys.stdout.flush()
    return code
