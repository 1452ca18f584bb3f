"""Lets the k-th of the system calls that write files fail, or write only a part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Fault:
    """One call of a function of `os` that fails.

    Args:
        call: name of the function: open, write, fsync, ftruncate, replace, unlink, close, mkdir.
        kth: the number of the call that fails, from 1 on.
        code: the error.
        short: whether a write has written half of its data before it fails.
        for_good: whether nothing can be cut off a file from that moment on.
    """

    def __init__(
        self, call: str, kth: int, code: int, *, short: bool = False, for_good: bool = False
    ) -> None:
        self.call, self.kth, self.code = call, kth, code
        self.short, self.for_good, self.seen = short, for_good, 0

    @property
    def happened(self) -> bool:
        """Return whether the call that fails has come."""
        return self.seen >= self.kth

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the call fail inside the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in {self.call, "ftruncate"}:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name == "ftruncate" and self.for_good and self.happened:
                raise OSError(self.code, os.strerror(self.code))
            if name == self.call:
                self.seen += 1
                if self.seen == self.kth:
                    if self.short:
                        real(args[0], bytes(args[1])[: len(args[1]) // 2])
                    if name == "close":
                        real(*args)
                    raise OSError(self.code, os.strerror(self.code))
            return real(*args, **options)

        return call
