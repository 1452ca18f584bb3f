"""Ends a session in order where a signal asks for it, and says how to resume it.

Ctrl-C ends pytest with exit code 2. SIGTERM, which schedulers send before they kill, and SIGHUP,
which comes when a terminal closes, would end the process at once; here they end the session as
Ctrl-C does, with exit code 143 or 129. A training run writes a checkpoint before it ends.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from gptcore.streams import SIGNALS


class Stopped(KeyboardInterrupt):
    """A signal has asked the session to end. It is no Exception, so no case catches it."""


class Stopping:
    """The plugin of one session; it handles the signals from its creation to `restore`.

    Attributes:
        number: the signal that has asked the session to end, or None.
        resume: what to do to go on, once there is something to go on with.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.resume = ""
        handled = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._stop) for number in handled}

    def _stop(self, number: int, _frame: FrameType | None = None) -> None:
        self.number = number
        raise Stopped(f"{signal.Signals(number).name} has ended the session{self.resume}")

    @property
    def exit_code(self) -> int:
        """Return the exit code of the session that a signal has ended."""
        return (
            pytest.ExitCode.INTERRUPTED
            if self.number in (None, signal.SIGINT)
            else 128 + self.number
        )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """End with the exit code of the signal where pytest would end in a traceback."""
        try:
            yield
        except Stopped as error:
            pytest.exit(str(error), returncode=self.exit_code)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Start no case after a signal whose exception was lost, as in a destructor."""
        if self.number is not None:
            self._stop(self.number)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self) -> Generator[None, Any, Any]:
        """End the session where a case ended itself after a signal, or took away its exception.

        A training run ends itself. Compiled code that a signal interrupts may raise an exception of
        its own in place of that of the handler.
        """
        try:
            return (yield)
        except KeyboardInterrupt as error:
            if self.number is None or isinstance(error, Stopped):
                raise
            self._stop(self.number)
        except SystemExit as error:
            asked = [number for number in SIGNALS if error.code == 128 + number]
            if not asked:
                raise
            self._stop(asked[0])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Set the exit code."""
        with self.errors():
            result = yield
        if self.number is not None:
            session.exitstatus = self.exit_code
        return result

    def restore(self) -> None:
        """Let the signals do what they did before."""
        for number, action in self._before.items():
            signal.signal(number, action)
