"""Where the windows of a training run lie: in the parts of the split, or in their documents."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.suite.inputs import Inputs
from bench.suite.training_cases import TrainCase
from gptcore.data.documents import document_segments
from gptcore.data.splits import Segment
from gptcore.data.tokens import TokenStream

BY_DOCUMENT = ("rechunked_documents", "rechunked_once")
"""Samplers whose segments are documents."""


def parts_of(
    case: TrainCase, session: Inputs, stream: TokenStream, used: Sequence[Segment]
) -> Sequence[Segment]:
    """Return the segments that windows lie in: documents, for a sampler that cuts these anew.

    A case is left out where its text has no known documents.
    """
    if case.sampler not in BY_DOCUMENT:
        return used
    corpus = session.raw(case.corpus) if case.raw else session.corpora[case.corpus]
    try:
        return document_segments(corpus, stream, used)
    except ValueError as error:
        pytest.skip(str(error))
