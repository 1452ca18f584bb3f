"""The examples in the docstrings of packages run, and print what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["ops", "model", "training", "evaluation", "scaling"])
def test_the_example_of_a_package_runs(name):
    results = doctest.testmod(importlib.import_module(f"gptcore.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
