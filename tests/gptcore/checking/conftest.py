import sys

import pytest

from gptcore.checking.checks import check_model
from gptcore.checking.model_file import load_model_file
from tests.helpers.checkout import ROOT


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file of Python and return its path; the path of imports is put back."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def to(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return to


@pytest.fixture
def check(write):
    """Return what each check says, by name, of a model of tests/helpers with its lines changed."""

    def run(changes=(), *, of="textbook_gpt", more="", **options):
        text = (ROOT / f"tests/helpers/{of}.py").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return {c.name: c for c in check_model(load_model_file(write(text + more)), **options)}

    return run
