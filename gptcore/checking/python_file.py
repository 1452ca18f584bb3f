"""Runs a Python file of the user as a module, unless that would start a training.

What importing it would do is read from its syntax tree without running it.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from gptcore.plain_text import shorten
from gptcore.reading import MOST_JSON_BYTES, check_regular, read_text
from gptcore.streams import is_of_a_signal


def load_python_file(path: Path | str) -> ModuleType:
    """Run a Python file as a module and return it.

    What it prints goes to standard error, it sees no arguments of the command line, and standard
    input is empty for it. No import statement can name the module, so a file called random.py
    replaces nothing; modules that lie beside it can be imported by it.

    Raises:
        ValueError: it is no regular file, it trains when it is imported, or it cannot be imported.
    """
    path = Path(path)
    check_regular(path, at_most=MOST_JSON_BYTES)
    _check_import(path)
    spec = importlib.util.spec_from_file_location(f"file {path.resolve()}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} does not end in .py: give a file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    folder = str(path.resolve().parent)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)  # as `python file.py` does
    try:
        with as_a_program(path):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may call sys.exit when it is imported
        raise ValueError(f"{path} cannot be imported: {where(error, path)}") from error
    return module


@contextmanager
def as_a_program(path: Path) -> Iterator[None]:
    """Give a file the arguments and the streams of a program that is run alone."""
    arguments, stdin = sys.argv, sys.stdin
    sys.argv, sys.stdin = [str(path)], io.StringIO()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv, sys.stdin = arguments, stdin


def load_function(name: str) -> Callable[..., Any]:
    """Return the function that "path/file.py:function" names.

    Raises:
        ValueError: as `load_python_file`, or the file has no such function.
    """
    path, _, function = name.rpartition(":")
    if not path.endswith(".py"):
        raise ValueError(f"{shorten(name)!r} names no function: write it as file.py:function")
    found = getattr(load_python_file(path), function, None)
    if not callable(found):
        raise ValueError(f"{path} has no function {function!r}: name one that it defines")
    return found  # type: ignore[no-any-return]


def one_line(error: BaseException) -> str:
    """Return the type and message of an exception in one line of at most 300 characters."""
    return shorten(f"{type(error).__name__}: {error}", 300)


def where(error: BaseException, path: Path) -> str:
    """Return an exception in one line, with the last line of `path` that it passed.

    Raises:
        SystemExit: the exception is that of a signal, which ends this program and says nothing
            about the file.
    """
    if is_of_a_signal(error):
        raise error
    lines, trace = [], error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).absolute() == path.absolute():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    place = f" (line {lines[-1]} of {path.name})" if lines else ""
    return f"{one_line(error)}{place}"


# --- what importing a file would do ---------------------------------------------------------

_TRAINERS = ("train", "fit", "run")
"""Methods of an object called trainer that train."""


def _check_import(path: Path) -> None:
    """Check that importing a file does not start a training.

    A file that Python cannot read as source passes, since importing it says what is wrong, and
    one that is nested too deeply to be searched.

    Raises:
        ValueError: it would; the functions and classes that can be copied out are named.
    """
    try:
        tree = ast.parse(read_text(path, at_most=MOST_JSON_BYTES))
        training = _names_that_train(tree)
        line = next(_training_lines(tree.body, training), None)
    except (SyntaxError, RecursionError):
        return
    if line is None:
        return
    raise ValueError(
        f"{path} trains when it is imported (line {line}): {_what_to_copy(path, tree, training)}"
    )


def _names_that_train(tree: ast.Module) -> set[str]:
    """Return the functions and methods of a file that train, also through one another."""
    bodies = {
        node.name: node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found: set[str] = set()
    while more := {
        name
        for name, body in bodies.items()
        if name not in found and any(True for _ in _training_lines(body, found))
    }:
        found |= more
    return found


def _training_lines(
    body: list[ast.stmt], training: set[str], *, in_loop: bool = False
) -> Iterator[int]:
    """Yield the lines in which running these statements trains.

    These are a backward pass in a loop, and a call of something that trains. Functions and classes
    are only defined by running their statements, and `if __name__ == "__main__"` is not entered.
    """
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            continue
        looped = in_loop or isinstance(statement, ast.For | ast.While)
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr | ast.withitem):
                yield from _training_calls(child, training, in_loop=looped)
        for blocks in (
            statement,
            *getattr(statement, "handlers", ()),
            *getattr(statement, "cases", ()),
        ):
            for name in ("body", "orelse", "finalbody"):
                yield from _training_lines(getattr(blocks, name, []), training, in_loop=looped)


def _training_calls(node: ast.AST, training: set[str], *, in_loop: bool) -> Iterator[int]:
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Name) and call.func.id in training:
            yield call.lineno
        elif isinstance(call.func, ast.Attribute):
            name, owner = call.func.attr, ast.unparse(call.func.value).lower()
            by_trainer = name in _TRAINERS and "trainer" in owner
            if by_trainer or name in training or (in_loop and name == "backward"):
                yield call.lineno


def _what_to_copy(path: Path, tree: ast.Module, training: set[str]) -> str:
    """Return the advice: what to copy out of a file that trains, and what it takes from others."""
    useful = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in training
    ]
    advice = "with a function make_model(vocab_size, block_size) that returns the model"
    if useful:
        advice = f"copy {', '.join(useful)} into a new file, {advice}"
    else:
        advice = f"write a file that only defines the model, {advice}"
    siblings = [
        f"{node.module}.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module
        and (path.parent / f"{node.module}.py").is_file()
    ]
    if siblings:
        advice += f"; it imports from {', '.join(siblings)}, which your file may do as well"
    return advice
