"""The benchmarks as pytest collects them: which case one runs, and its id."""

from __future__ import annotations

import pytest

from bench.suite.catalog import Case


def case_of(item: pytest.Item) -> Case | None:
    """Return the case of a benchmark; None for another test or a benchmark without cases."""
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
    return case if isinstance(case, Case) else None


def case_id(item: pytest.Item) -> str:
    """Return the stable id of a case: module::test[params]."""
    case, name = case_of(item), f"{item.path.stem}::{item.name}"
    # pytest writes an id that is not ASCII with escapes
    return f"{name.partition('[')[0]}[{case.id}]" if case else name
