"""A user's own model, loaded from a Python file, and what is wrong with it.

`python_file` runs a file, `model_file` knows its model, `checks` lists what is asked about it.

    >>> from gptcore.checking import check_model, load_model_file
    >>> mine = load_model_file("mine.py")  # doctest: +SKIP
    >>> [check.name for check in check_model(mine) if check.status == "fault"]  # doctest: +SKIP
    ['causality']
"""

from gptcore.checking.checks import CHECKS, Check, check_model
from gptcore.checking.model_file import ModelFile, load_model_file
from gptcore.checking.python_file import load_function, load_python_file

__all__ = [
    "CHECKS",
    "Check",
    "ModelFile",
    "check_model",
    "load_function",
    "load_model_file",
    "load_python_file",
]
