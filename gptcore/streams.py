"""The streams, signals and exit codes of a program: `gptcore`, `python -m bench` and `reports`.

Everything that a program prints passes a `Writer`, so what a person or a pipe reads is decided
here alone: hidden characters become visible, and characters that the encoding lacks become
escapes. `answer` turns what went wrong into one line and an exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from gptcore.plain_text import in_one_line, visible

KEPT = "\n\t\f\u200c\u200d"
"""Written as they are: line and page breaks, tabs, and the joiners of Persian, Hindi and emoji."""

CLOSED, BAD_INPUT, READER_HAS_GONE = "it is closed", 2, 141

SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
"""What asks a program to end; Windows lacks SIGHUP."""


class Writer:
    """A stream that makes hidden characters visible, and calls `lost` where it cannot be written.

    Attributes that are not here are those of the stream.
    """

    def __init__(self, stream: TextIO, lost: Callable[[Exception], None]) -> None:
        self._stream, self._lost, self._is_lost = stream, lost, False

    def write(self, text: str) -> int:
        """Write a text with the escapes of its hidden characters."""
        self._try(self._stream.write, visible(text, KEPT))
        return len(text)

    def rewrite_line(self, text: str) -> None:
        """Write over the line in which the terminal's cursor stands."""
        self._try(self._stream.write, f"\r\x1b[K{visible(text)}")

    def flush(self) -> None:
        """Hand over to the system what was written."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[..., object], *arguments: str) -> None:
        if self._is_lost:
            return
        try:
            call(*arguments)
        except (OSError, ValueError) as error:  # a closed stream raises ValueError
            self._is_lost = True
            with suppress(OSError, ValueError):  # what is left is thrown away, at exit as well
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._lost(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print `message` and end the program with exit code 2.

        Where torchrun gives the same command to several processes, the first one prints.
        """
        text = f"{self.prog}: {in_one_line(message)} (see {self.prog} --help)\n"
        follows = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK") != "0"
        self.exit(BAD_INPUT, None if follows else text)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Refuse `--` as a value, as in --name=--, of which argparse makes an empty list."""
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "'--' is not a value: give another one")
        return super()._get_values(action, arg_strings)


def answer(
    make_parser: Callable[[], argparse.ArgumentParser],
    work: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parse the arguments, do the work, and return its exit code.

    Whatever goes wrong is one line on standard error and exit code 2; Ctrl-C gives 130, and a
    reader of standard output that has gone gives 141.
    """
    file, names = Path(sys.argv[0]), frozenset[str]()
    name = file.parent.name if file.stem == "__main__" else file.name
    with _writers(lambda: name), warnings.catch_warnings():  # which puts showwarning back
        warnings.showwarning = lambda message, *_place, **_more: _say(f"{name}: warning: {message}")
        try:
            parser = make_parser()
            name = parser.prog
            options = parser.parse_args(arguments)
            words = (getattr(options, key, None) for key in ("command", "what"))
            name = " ".join([name, *filter(None, words)])
            names = frozenset(vars(options))
            return work(options)
        except KeyboardInterrupt:
            _say(f"{name}: interrupted")
            return 128 + signal.SIGINT
        except Exception as error:
            if sys.flags.dev_mode:
                traceback.print_exc()
            _say(f"{name}: {as_options(what_is_wrong(error), names)}")
            return BAD_INPUT
        finally:
            sys.stdout.flush()


@contextmanager
def _writers(name: Callable[[], str]) -> Iterator[None]:
    """Let standard output and standard error be Writers."""

    def lost(error: object) -> NoReturn:
        if isinstance(error, BrokenPipeError):
            raise SystemExit(READER_HAS_GONE)
        reason = getattr(error, "strerror", None) or error
        _say(f"{name()}: standard output cannot be written: {reason}")
        raise SystemExit(BAD_INPUT)

    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stderr = Writer(sys.stderr or nowhere, lambda _error: None)
        try:
            if sys.stdout is None:
                lost(CLOSED)
            sys.stdout = Writer(sys.stdout, lost)
            yield
        finally:
            sys.stdout, sys.stderr = before


def _say(text: str) -> None:
    """Print one line to standard error."""
    print(in_one_line(text), file=sys.stderr, flush=True)


def as_options(text: str, names: Collection[str]) -> str:
    """Return a message of the library with the options of a command in place of parameters."""
    return re.sub(
        r"(?<![\w'\"/.-])[a-z]+(?:_[a-z]+)+(?![\w'\"/.-])",
        lambda match: f"--{match[0].replace('_', '-')}" if match[0] in names else match[0],
        text,
    )


def what_is_wrong(error: BaseException) -> str:
    """Return what went wrong and, where it is known, what to do, in one line."""
    text = str(error).strip()
    first, kind = text.partition("\n")[0], type(error).__name__
    if isinstance(error, RecursionError):
        return "the input is nested too deeply: give one with fewer levels"
    if isinstance(error, OverflowError) or (isinstance(error, RuntimeError) and "overflow" in text):
        return f"a number or a size is too large ({first}): give smaller numbers"
    # Memory that torch cannot get is a RuntimeError with one of these words.
    no_memory = isinstance(error, RuntimeError) and ("allocate" in text or "out of memory" in text)
    if isinstance(error, MemoryError) or no_memory:
        return f"not enough memory{f' ({first})' if first else ''}: give smaller sizes"
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([" and ".join(names), error.strerror] if names else [error.strerror])
    if isinstance(error, ValueError | OSError | Warning | argparse.ArgumentTypeError) and text:
        return visible(text)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in place)
    return f"internal error{where} ({kind}: {first}): please report it; python -X dev shows more"


_signals: list[int] = []
"""The signals that have asked this program to end."""


def run(module: str) -> NoReturn:
    """Run `main` of a module as the program, from its first import to its exit code.

    A signal ends it without a traceback: Ctrl-C with 130, SIGTERM with 143.
    """
    for descriptor in range(3):  # else a file that is opened later takes the number of a stream
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, _stop)
    try:
        code = importlib.import_module(module).main()
    except BaseException:
        if not _signals:
            raise
    finally:
        for number in numbers:
            signal.signal(number, _leave)
    sys.exit(128 + _signals[0] if _signals else code)


def is_of_a_signal(error: BaseException) -> bool:
    """Return whether an exception is the one by which SIGTERM or SIGHUP ends this program.

    Whoever runs somebody else's code lets it through, because it says nothing about that code.
    """
    codes = [128 + number for number in SIGNALS if number != signal.SIGINT]
    return isinstance(error, SystemExit) and error.code in codes


def _leave(number: int, _frame: FrameType | None) -> None:
    """End the program at once: its work has ended, and only Python's own end is left."""
    os._exit(128 + (_signals or [number])[0])


def _stop(number: int, frame: FrameType | None) -> None:
    """End the program: at once while it imports, where an exception could be swallowed."""
    _signals.append(number)
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
