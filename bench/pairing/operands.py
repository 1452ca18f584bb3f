"""Finds the operands of a pair by name: a case, a changed case, or a function."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from bench.measuring.work import Work
from bench.measuring.workloads import change, find_case, work_of
from bench.suite.inputs import Inputs
from bench.suite.sizes import UNIFORM
from gptcore.checking.python_file import load_function, one_line

EXAMPLE = "bench_model::test_step[python-docs-model4-cpu-fp32-B4-T256-seed0]"


def default_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def work_from(call: Callable[[], object], device: torch.device) -> Work:
    """Return the work that calls a function without arguments.

    The call fails where the function only prepares work, which then is done in no timing.
    """

    def run(_end_phase: Callable[[str], None]) -> None:
        returned = call()
        if type(returned) in UNSTARTED:
            if hasattr(returned, "close"):  # else Python warns of a coroutine that never ran
                returned.close()
            raise ValueError("the function returns work that it has not done: do it inside")

    return Work(run, device, tokens=0)


def load_call(operand: str) -> Callable[[], object]:
    """Return the function that "module:function" or "path/file.py:function" names.

    Raises:
        ValueError: there is no such module, file or function.
    """
    source, _, name = operand.rpartition(":")
    call: Any
    if source.endswith(".py"):
        call = load_function(operand)
    else:
        try:
            call = getattr(importlib.import_module(source), name, None)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may call sys.exit when it is imported
            raise ValueError(f"{source} cannot be imported: {one_line(error)}") from error
        if not callable(call):
            raise ValueError(f"{source} has no function {name!r}: give one without arguments")
    wrong = _why_not_timed(call)
    if wrong:
        raise ValueError(f"{operand} {wrong}: give a function without arguments that does the work")
    return call  # type: ignore[no-any-return]


UNSTARTED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
"""What a call returns that has only prepared its work."""

_KINDS: dict[Callable[[object], bool], str] = {
    inspect.iscoroutinefunction: "is a coroutine function",
    inspect.isgeneratorfunction: "is a generator function",
    inspect.isasyncgenfunction: "is an asynchronous generator function",
}


def _why_not_timed(call: Callable[..., object]) -> str | None:
    """Return why a call of this object is not the work that a user means, None if it is."""
    if isinstance(call, type):
        return "is a class"
    inner = call
    while isinstance(inner, functools.partial):
        inner = inner.func
    for candidate in (inner, type(inner).__call__):
        for test, kind in _KINDS.items():
            if test(candidate):
                return kind
    with suppress(ValueError, TypeError):  # a function written in C may have no signature
        needed = [
            name
            for name, parameter in inspect.signature(call, follow_wrapped=False).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if needed:
            return f"needs {', '.join(needed)}"
    return None


def build(a: str, b: str, corpora: Sequence[str]) -> tuple[Work, Work]:
    """Return the work of each operand.

    Args:
        a: a case id, module:function or file.py:function.
        b: the same, or changes to the case a, as in "precision=bf16" or "seed=1,variant=plain".
        corpora: texts that cases use.

    Raises:
        ValueError: a name is unknown, or its work cannot be built on this machine.
    """
    is_change = re.fullmatch(r"\w+=[^\[\]]*", b) is not None
    if is_change and "::" not in a:
        raise ValueError(
            f"{b!r} changes a parameter of a case, but {a!r} is not a case such as {EXAMPLE}"
        )
    for text in (a,) if is_change else (a, b):
        if not re.fullmatch(r"\w+::.+|(.+\.py|[\w.]+):\w+", text):
            raise ValueError(
                f"{text!r} names nothing: give a case such as {EXAMPLE}, module:function or "
                f"file.py:function{'' if text == a else ', or a change such as precision=bf16'}; "
                "a file.py with a model goes with gptcore, nanogpt-style or transformers"
            )
    if "::" not in a + b:
        device = default_device()
        return work_from(load_call(a), device), work_from(load_call(b), device)
    inputs = Inputs(corpora)
    return _build_case(a, "", inputs), _build_case(*((a, b) if is_change else (b, "")), inputs)


def _build_case(name: str, setting: str, inputs: Inputs) -> Work:
    if "::" not in name:
        return work_from(load_call(name), default_device())
    test, case = find_case(name, tuple(inputs.corpora))
    if re.search(r"\bwork=", setting):
        raise ValueError("the kind of work cannot be changed: give the other case's id as B")
    if setting:
        case = change(case, setting)
    corpus = getattr(case, "corpus", UNIFORM)
    if corpus not in (*inputs.corpora, UNIFORM):
        known = ", ".join((*inputs.corpora, UNIFORM))
        raise ValueError(f"the text {corpus!r} is not given (given are {known}): add --corpus")
    try:
        return work_of(test, case, inputs)
    except (AssertionError, KeyError, RuntimeError) as error:
        raise ValueError(f"{name} {setting} cannot be built: {one_line(error)}") from error
