"""Question: how many tokens does packing documents into rows throw away, or pad?

Work unit: one document of a text whose documents are known (topics, chapters, separators). The
counts come from the lengths of all documents alone, and they are exact. Not measured: training, and
what a model learns from documents that are cut or joined.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.measuring.work import Result
from bench.suite.cases import PackingCase
from bench.suite.inputs import Inputs
from gptcore.data.documents import document_segments
from gptcore.data.packing import PACKINGS, pack


@pytest.mark.benchmark(group="packing")
def test_packing(benchmark: Any, result: Result, session: Inputs, case: PackingCase) -> None:
    corpus = session.text(case.corpus)
    try:
        parts = document_segments(corpus, session.stream(case.corpus))
    except ValueError as error:
        pytest.skip(str(error))
    lengths = [len(part) for part in parts]

    def count() -> list[dict[str, Any]]:
        return [_row(lengths, size, name) for size in case.sizes for name in PACKINGS]

    result.metrics |= {"documents": len(lengths), "n_tokens": sum(lengths)}
    result.series["packing"] = benchmark.pedantic(count, rounds=1)


def _row(lengths: list[int], block_size: int, name: str) -> dict[str, Any]:
    found = pack(lengths, block_size + 1, name)
    return {
        "packing": name,
        "block_size": block_size,
        "rows": found.rows,
        "cropped_share": found.cropped_share,
        "padding_share": found.padding_share,
        "left_over_tokens": found.left_over_tokens,
        "whole_documents": found.whole_documents,
    }
