"""Signals that ask a run to end: the first one waits for the end of the step.

Ctrl-C (SIGINT), SIGTERM, which schedulers and launchers such as torchrun send before they kill, and
SIGHUP, which comes when a terminal closes, are treated alike. A signal that is ignored stays so.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gptcore.streams import SIGNALS

SAME_SIGNAL_S = 0.2
"""Signals so soon after the first one count as the same: `timeout` sends two, to a process and to
its group, and so does a launcher that passes on the Ctrl-C that its processes get as well."""


class Stop:
    """Whether the run is to end.

    Attributes:
        number: the signal that asked for it, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._at = 0.0

    def ask(self, number: int) -> bool:
        """Note a signal; return whether it is a second one, which does not wait."""
        if self.number is None:
            self.number, self._at = number, time.monotonic()
            return False
        return time.monotonic() - self._at > SAME_SIGNAL_S


@contextmanager
def wait_for_the_step(stop: Stop) -> Iterator[None]:
    """Let the first signal call `stop.ask` instead of interrupting an update half-way.

    A second one does what it did before. Outside the main thread, where Python handles no signals,
    nothing is changed.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    before = {n: action for n, action in before.items() if action not in (None, signal.SIG_IGN)}

    def restore() -> None:
        for number, action in before.items():
            signal.signal(number, action)

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.ask(number):
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        restore()


def end(stop: Stop) -> None:
    """Do what the signal that asked for the end does without this module; no signal, nothing.

    Raises:
        KeyboardInterrupt: after SIGINT.
        SystemExit: after another signal, with 128 plus its number, unless it ends the process.
    """
    if stop.number is None:
        return
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(stop.number)
    raise KeyboardInterrupt if stop.number == signal.SIGINT else SystemExit(128 + stop.number)
