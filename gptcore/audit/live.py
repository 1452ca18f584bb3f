"""Batches of a live loader → rows of tokens, with the number of targets in each row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole

IGNORE_INDEX = -100  # the label that torch's cross-entropy leaves out

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenRows:
    """Rows of equal width, drawn one after the other.

    Attributes:
        rows: integers of shape (B, W).
        length: targets of each row: W - 1 where the row holds its last target, else W.
        epoch: pass in which they were drawn, or None.
    """

    rows: npt.NDArray[np.integer]
    length: int
    epoch: int | None = None


@dataclass
class Batches:
    """The batches of a loader, checked and counted.

    Attributes:
        parts: the batches, in order.
        wrong_targets: rows whose targets are neither the inputs moved by one token nor equal to
            the inputs.
        wrong_example: the first such row, in words.
        masked_targets: targets of -100.
    """

    parts: list[TokenRows] = field(default_factory=list)
    wrong_targets: int = 0
    wrong_example: str = ""
    masked_targets: int = 0

    def add(self, batch: object, number: int, block_size: int | None, epoch: int | None) -> None:
        """Add one batch.

        Raises:
            ValueError: the batch has none of the formats that `audit` names.
        """
        inputs, targets = _unpack(batch, number)
        width = inputs.shape[1]
        if targets is None:
            length = width - 1 if block_size is None else block_size
            self.parts.append(TokenRows(inputs, check_length(length, width), epoch))
            return
        if targets.shape != inputs.shape:
            raise ValueError(
                f"batch {number} has inputs of shape {inputs.shape} and targets of shape "
                f"{targets.shape}: give one target for each input"
            )
        # Are the targets the inputs moved by one, or equal to the inputs? Masked ones are either.
        masked = targets == IGNORE_INDEX
        self.masked_targets += int(masked.sum())
        shifted = ((targets[:, :-1] == inputs[:, 1:]) | masked[:, :-1]).all(axis=1)
        equal = ((targets == inputs) | masked).all(axis=1)
        wrong = ~(shifted | equal)
        if wrong.any():
            self.wrong_targets += int(wrong.sum())
            self.wrong_example = self.wrong_example or f"batch {number}, row {int(wrong.argmax())}"
        # Targets moved by one hold one token more than the inputs: the last target of each row.
        if shifted.all() and not masked[:, -1].any():
            rows = np.concatenate([inputs, targets[:, -1:]], axis=1)
            self.parts.append(TokenRows(rows, width, epoch))
        else:
            self.parts.append(TokenRows(inputs, check_length(width - 1, width), epoch))


def check_length(length: int, width: int) -> int:
    """Return `length`, the number of targets in a row of `width` tokens.

    Raises:
        ValueError: it is neither `width` - 1 nor `width`, or it is 0.
    """
    length = check_whole("block_size", length, at_least=0)
    if length not in (width - 1, width) or length == 0:
        raise ValueError(
            f"rows have {width} tokens and block_size is {length}: it must be {width - 1} (rows "
            f"hold their last target) or {width} (targets lie one token to the right)"
        )
    return length


def read_batches(
    loader: Iterable[Any], *, block_size: int | None, max_batches: int | None, epochs: int
) -> Batches:
    """Return the batches of `epochs` passes over a loader; a single pass is not called an epoch.

    Raises:
        ValueError: a batch has another format, or a pass gives no batch.
    """
    epochs = check_whole("epochs", epochs)
    if max_batches is not None:
        check_whole("max_batches", max_batches)
    batches = Batches()
    number = 0
    for epoch in range(epochs):
        before = number
        for batch in islice(loader, max_batches):
            batches.add(batch, number, block_size, epoch if epochs > 1 else None)
            number += 1
        if number == before:
            raise ValueError(
                f"the loader gave no batch in pass {epoch}: give a loader that can be iterated "
                "once for each epoch, and that has not been iterated to its end"
            )
    return batches


def _unpack(batch: object, number: int) -> tuple[Rows, Rows | None]:
    """Return inputs and, where there are any, targets."""
    if isinstance(batch, Mapping):
        if "input_ids" not in batch:
            raise ValueError(
                f"batch {number} has the keys {', '.join(map(str, batch))}: it needs input_ids "
                "and may have labels"
            )
        inputs, targets = batch["input_ids"], batch.get("labels")
    elif isinstance(batch, tuple | list) and len(batch) in (1, 2):
        inputs, targets = batch[0], batch[1] if len(batch) == 2 else None
    else:
        inputs, targets = batch, None
    rows = _to_rows(inputs, number)
    return rows, None if targets is None else _to_rows(targets, number)


def _to_rows(tokens: Any, number: int) -> Rows:
    """Return a tensor, on any device, or an array as int64 of shape (B, W)."""
    array = np.asarray(tokens.detach().cpu() if hasattr(tokens, "detach") else tokens)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"batch {number} has {array.dtype} of shape {array.shape}: give (inputs, targets), a "
            "mapping with input_ids, or rows, each integers of shape (B, W)"
        )
    return array.astype(np.int64)
