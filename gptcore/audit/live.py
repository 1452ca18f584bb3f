"""Batches of a live loader → rows of tokens, with the number of targets in each row."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.audit.formats import Rows, to_examples
from gptcore.checks import check_whole

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TokenRows:
    """Rows of equal width, drawn one after the other.

    Attributes:
        rows: integers of shape (B, W).
        length: targets of each row: W - 1 where the row holds its last target, else W.
        epoch: pass in which they were drawn, or None.
        targets: the target of each token where it is not the next token, else -1; None for none.
        begins: bool of shape (B, W), the tokens at which a document begins; None if not told.
        padding: bool of shape (B, W), the tokens that only fill the row; None if not told.
        name: the batch, in words.
    """

    rows: npt.NDArray[np.integer]
    length: int
    epoch: int | None = None
    targets: Rows | None = None
    begins: Flags | None = None
    padding: Flags | None = None
    name: str = ""


@dataclass
class Masked:
    """Targets that give no loss.

    Attributes:
        count: how many there are.
        rows: rows in which all targets are masked.
        tokens: how often each token is masked.
        learned: how often each token is a target in batches with masked targets.
        padding: how many of the targets only fill a row.
        prompts: rows in which all masked targets, apart from padding, come first.
        inside: rows with masked targets apart from padding.
    """

    count: int = 0
    rows: int = 0
    tokens: Counter[int] = field(default_factory=Counter)
    learned: Counter[int] = field(default_factory=Counter)
    padding: int = 0
    prompts: int = 0
    inside: int = 0

    def add(self, tokens: Rows, masked: Flags, padding: Flags) -> None:
        """Count the masked targets of a batch; all arrays have one entry for each target."""
        self.count += int(masked.sum())
        if not masked.any():
            return
        self.rows += int(masked.all(axis=1).sum())
        for counter, chosen in ((self.tokens, masked), (self.learned, ~masked)):
            ids, counts = np.unique(tokens[chosen], return_counts=True)
            counter.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        inside = masked & ~padding
        self.padding += int((masked & padding).sum())
        some = inside.any(axis=1)
        self.inside += int(some.sum())
        learned = ~masked & ~padding
        self.prompts += int((some & ((np.cumsum(learned, axis=1) > 0) & inside).any(axis=1)).sum())


@dataclass
class Batches:
    """The batches of a loader, checked and counted.

    Attributes:
        parts: the batches, in order.
        wrong_targets: rows whose targets are neither the inputs moved by one token nor equal to
            the inputs.
        wrong_example: the first such row, in words.
        masked: targets that give no loss.
        is_whole: whether one pass was made, to the end of the loader.
        is_cut: whether drawing ended at a number of batches, wherever an epoch ends.
    """

    parts: list[TokenRows] = field(default_factory=list)
    wrong_targets: int = 0
    wrong_example: str = ""
    masked: Masked = field(default_factory=Masked)
    is_whole: bool = False
    is_cut: bool = False

    def add(self, batch: object, number: int, block_size: int | None, epoch: int | None) -> None:
        """Add one batch.

        Raises:
            ValueError: the batch has none of the formats that `audit` names.
        """
        for fields in to_examples(batch, number):
            self._add_rows(fields, f"batch {number}", block_size, epoch)

    def add_wrong(self, name: str, rows: npt.NDArray[np.intp]) -> None:
        """Count rows with wrong targets."""
        self.wrong_targets += len(rows)
        if len(rows):
            self.wrong_example = self.wrong_example or f"{name}, row {int(rows[0])}"

    def _add_rows(
        self, fields: dict[str, Rows], name: str, block_size: int | None, epoch: int | None
    ) -> None:
        inputs, targets = fields["inputs"], fields.get("targets")
        width = inputs.shape[1]
        if targets is not None and targets.shape != inputs.shape:
            raise ValueError(
                f"{name} has inputs of shape {inputs.shape} and targets of shape "
                f"{targets.shape}: give one target for each input"
            )
        masked = np.zeros(inputs.shape, dtype=bool) if targets is None else targets < 0
        if "learned" in fields:
            masked |= fields["learned"] == 0
        padding = _padding(fields, masked)
        if targets is not None:
            self._add_pairs(fields, masked, padding, name, epoch)
            return
        length = check_length(width - 1 if block_size is None else block_size, width)
        self.masked.add(inputs, masked, padding)
        begins = _begins(fields)
        self.parts.append(TokenRows(inputs, length, epoch, None, begins, padding, name))

    def _add_pairs(
        self,
        fields: dict[str, Rows],
        masked: Flags,
        padding: Flags,
        name: str,
        epoch: int | None,
    ) -> None:
        """Add inputs and targets. Are these the inputs moved by one, or equal to the inputs?

        Masked targets are either. Where a document of a packed row ends, its last target is not
        the next input.
        """
        inputs, targets, begins = fields["inputs"], fields["targets"], _begins(fields)
        width = inputs.shape[1]
        differ = (targets[:, :-1] != inputs[:, 1:]) & ~masked[:, :-1]
        equal = ((targets == inputs) | masked).all(axis=1)
        moved = 4 * differ.sum(axis=1) <= width
        self.add_wrong(name, np.flatnonzero(~(moved | equal)))
        last = masked[:, -1:]  # a row that padding fills has no last target
        whole = moved.all() and not last.all() and not (equal & differ.any(axis=1)).any()
        if whole:  # the last target makes the rows one token longer
            rows, length = np.concatenate([inputs, targets[:, -1:]], axis=1), width
            self.masked.add(
                rows[:, 1:],
                masked,
                np.concatenate([padding[:, 1:], last & padding[:, -1:]], axis=1),
            )
            rows = np.where(last & (np.arange(width + 1) == width), inputs[:, -1:], rows)
            padding = np.concatenate([padding, padding[:, -1:] | last], axis=1)
            if begins is not None:
                begins = np.concatenate([begins, np.zeros_like(last)], axis=1)
        else:
            rows, length = inputs, check_length(width - 1, width)
            moved_on = np.concatenate([inputs[:, 1:], inputs[:, -1:]], axis=1)
            self.masked.add(inputs if equal.any() else moved_on, masked, padding)
            differ &= (~equal & moved)[:, None]
        ends = np.full_like(rows, -1)
        ends[:, : width - 1][differ] = targets[:, :-1][differ]
        told = ends if differ.any() else None
        self.parts.append(TokenRows(rows, length, epoch, told, begins, padding, name))


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
    """Return the batches of `epochs` passes over a loader.

    Raises:
        ValueError: a batch has another format, or a pass gives no batch.
    """
    epochs = check_whole("epochs", epochs)
    if max_batches is not None:
        max_batches = check_whole("max_batches", max_batches)
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
    batches.is_whole = epochs == 1 and (max_batches is None or number < max_batches)
    return batches


# --- documents and padding -------------------------------------------------------------------


def _begins(fields: Mapping[str, Rows]) -> Flags | None:
    """Return the tokens at which a document begins, from segments or positions; None if not told.

    An attention mask with other numbers than 0 and 1 counts the documents of a row.
    """
    segments, positions = fields.get("segments"), fields.get("positions")
    if segments is None and "kept" in fields and fields["kept"].max() > 1:
        segments = fields["kept"]
    begins = np.zeros(fields["inputs"].shape, dtype=bool)
    if segments is not None:
        begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    elif positions is not None:
        begins[:, 1:] = positions[:, 1:] != positions[:, :-1] + 1
    else:
        return None
    return begins


def _padding(fields: Mapping[str, Rows], masked: Flags) -> Flags:
    """Return the tokens that only fill a row.

    A mask says so, or segments that fall back to 0 or are negative. Without them, these are equal
    tokens at an end of the row whose targets are all masked.
    """
    inputs = fields["inputs"]
    if "kept" in fields:
        return np.asarray(fields["kept"] == 0)
    if "segments" in fields:
        segments = fields["segments"]
        back = (segments == 0) & (np.maximum.accumulate(segments, axis=1) > 0)
        return np.asarray((segments < 0) | back)
    right = (inputs == inputs[:, -1:]) & masked
    targets = fields.get("targets")
    if targets is not None and not ((targets == inputs) | masked).all():
        # The first of these tokens may end the text: then it is the target of the one before.
        right[:, 1:] &= masked[:, :-1] | (targets[:, :-1] != inputs[:, 1:])
    right = np.logical_and.accumulate(right[:, ::-1], axis=1)[:, ::-1]
    left = np.logical_and.accumulate((inputs == inputs[:, :1]) & masked, axis=1)
    return np.asarray(right | (left & (left.sum(axis=1) > 1)[:, None]))
