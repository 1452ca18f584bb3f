"""A user's own model, loaded from a Python file.

>>> from gptcore.checking import load_model_file
>>> mine = load_model_file("mine.py")  # doctest: +SKIP
>>> model = mine.make_model(65, 32)  # doctest: +SKIP
>>> mine.loss(model, x, y)  # doctest: +SKIP
"""

from gptcore.checking.model_file import (
    ModelFile,
    load_function,
    load_model_file,
    load_python_file,
)

__all__ = ["ModelFile", "load_function", "load_model_file", "load_python_file"]
