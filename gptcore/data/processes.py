"""Calls of one function, several at a time, each in a process of its own."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any


def run_all(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], processes: int
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each task and what the function returns for it, as they end.

    Processes end with this one, also when it is killed. With one process, all happens in this one.

    Raises:
        ValueError: as the function, or a process was killed.
    """
    if min(processes, len(tasks)) <= 1:
        for number, task in enumerate(tasks):
            yield number, function(*task)
        return
    workers = min(processes, len(tasks))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin)
    try:
        futures = {pool.submit(function, *task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a process was ended from outside, perhaps for want of memory: run the command again, "
            "which goes on with what is missing, perhaps with fewer processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the first process, and end when that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
