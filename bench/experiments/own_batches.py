"""Batches of the loader of a user's own file, as a training run reads them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.suite.own import OwnModel
from bench.suite.training_cases import TrainCase
from gptcore.data.tokenizer import CompactVocabulary


def own_batches(
    own: OwnModel, case: TrainCase, vocabulary: CompactVocabulary | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets (B, T) of the file's loader, cut to the sizes of a case.

    The first rows and the first tokens of each are kept. The global generators are seeded
    once, because loaders draw from them.

    Args:
        own: the file.
        case: the training run.
        vocabulary: of the run's compact ids; None where it uses the loader's.

    Raises:
        ValueError: a batch is smaller than the case says, or has ids that the text lacks.
    """
    own.seed(case.seed)
    while True:
        inputs, targets = (part[: case.batch_size, : case.block_size] for part in own.batch())
        if inputs.shape != (case.batch_size, case.block_size):
            raise ValueError(
                f"get_batch of {own.name} gave a batch cut to {tuple(inputs.shape)}, and the run "
                f"needs {(case.batch_size, case.block_size)}: return batches of one shape"
            )
        yield _compact(inputs, vocabulary), _compact(targets, vocabulary)


def _compact(ids: Tensor, vocabulary: CompactVocabulary | None) -> Tensor:
    if vocabulary is None:
        return ids
    try:
        return torch.from_numpy(vocabulary.encode(ids.numpy().ravel())).view(ids.shape)
    except ValueError as error:
        raise ValueError(
            f"get_batch gives tokens that the text has not ({error}): name the data that it reads "
            "by --corpus"
        ) from error
