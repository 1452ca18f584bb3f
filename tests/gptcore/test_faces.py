"""The public face of each package: the example in its docstring, and the names it exports."""

import doctest
import importlib
import pkgutil

import pytest

import gptcore

ROOMS = [room.name for room in pkgutil.iter_modules(gptcore.__path__, "gptcore.") if room.ispkg]


@pytest.mark.parametrize("name", ["gptcore", *ROOMS])
def test_the_example_in_the_docstring_runs(name):
    # Lines that need a file are marked with `# doctest: +SKIP`.
    assert doctest.testmod(importlib.import_module(name), globs={}).failed == 0


@pytest.mark.parametrize("name", ROOMS)
def test_every_exported_name_exists_and_is_listed_once(name):
    exported = getattr(importlib.import_module(name), "__all__", [])
    namespace = {}
    exec(f"from {name} import *", namespace)
    assert set(exported) <= set(namespace)
    assert len(set(exported)) == len(exported)
