"""Calls of one function, several at a time, each in a process of its own."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


def run_all(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], processes: int
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each task and what the function returns for it, as they end.

    The processes end at once with this one and with the loop over the results, also after a kill or
    Ctrl-C. With one process, all happens in this one.

    Raises:
        ValueError: as the function, or a process was killed.
    """
    workers = min(processes, len(tasks))
    if workers <= 1:
        for number, task in enumerate(tasks):
            yield number, function(*task)
        return
    context = get_context("spawn")
    ending, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(ending,))
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
        ours.close()
        pool.shutdown(cancel_futures=True)


def _begin(ending: Connection) -> None:
    """Leave Ctrl-C to the first process, and end when that one closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(ending,), daemon=True).start()


def _end_with(ending: Connection) -> None:
    ending.poll(None)  # nothing is ever sent
    os._exit(1)
