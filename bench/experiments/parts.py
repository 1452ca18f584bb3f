"""The parts of a text that a training run uses: where its windows lie, and what is scored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

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
    corpus = session.raw(case.corpus) if case.raw else session.text(case.corpus)
    try:
        return document_segments(corpus, stream, used)
    except ValueError as error:
        pytest.skip(str(error))


def shortened(part: Segment, share: float) -> Segment:
    """Return the first `share` of a part of a text."""
    return Segment(part.start, part.start + round(share * len(part)))


def scored(part: Segment, case: TrainCase) -> int:
    """Return how many tokens of a test part are scored."""
    return len(part) if case.test_tokens is None else min(len(part), case.test_tokens)


def with_copies(ids: Tensor, parts: Sequence[Segment], case: TrainCase) -> Tensor:
    """Return as many training tokens, of which a share are copies of one short piece.

    The piece comes after the tokens that are kept and is none of them (Hernandez et al. 2022,
    arXiv:2205.10487). It is a whole number of blocks, so that every copy is cut alike.

    Raises:
        ValueError: the piece would be shorter than a block.
    """
    text = torch.cat([ids[part.start : part.stop] for part in parts])
    blocks = round(case.copied * len(text) / case.copies / case.block_size)
    if not blocks:
        raise ValueError(
            f"copies is {case.copies}: {case.copied:g} of {len(text)} tokens are too few for so "
            f"many copies of a block of {case.block_size}; use fewer copies"
        )
    length = blocks * case.block_size
    kept = len(text) - case.copies * length
    return torch.cat([text[:kept], text[kept : kept + length].repeat(case.copies)])
