"""Batches of a training loop → what they show of one part of the data, and what of the others.

Legend: K rows, T inputs in a row, N tokens in the part.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gptcore.audit.audits import Audit, Text, audit_batches
from gptcore.audit.drawing import Drawn, Pair
from gptcore.audit.finding import Finding
from gptcore.audit.formats import Rows
from gptcore.audit.judging_draws import BEYOND_SD
from gptcore.audit.live import Batches, Flags
from gptcore.audit.log import Whole
from gptcore.audit.matching import match_rows
from gptcore.audit.rows import join_documents

COUNTS = tuple(name for name in Audit.__dataclass_fields__ if name != "findings")
UNKNOWN = -(2**40)
OWN = ("audit", "is_regular")
SAME = ("replayed_draws", "repeated_windows")  # what batches that repeat make of their draws


@dataclass(frozen=True)
class PartAudit:
    """What batches show of one part.

    Attributes:
        part: its name.
        batches: the batches drawn.
        rows: the rows in them.
        targets_equal_inputs: rows whose targets equal their inputs.
        wrong_targets: rows with other targets than the model learns the next token from.
        other_parts: name of each other part → rows that are in it, and not in this part.
        audit: the counts of the rows of this part; None where all rows are in other parts.
        is_regular: whether the distances from row to row show that the order is not random.
        findings: what deserves attention, faults first.
    """

    part: str
    batches: int
    rows: int
    targets_equal_inputs: int
    wrong_targets: int
    other_parts: dict[str, int]
    audit: Audit | None
    is_regular: bool
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; counts that are not defined are None."""
        counts = {name: self.audit and getattr(self.audit, name) for name in COUNTS}
        mine = {
            name: value for name, value in vars(self).items() if name not in ("audit", "is_regular")
        }
        return counts | mine | {"findings": [dict(vars(finding)) for finding in self.findings]}


def audit_part(
    drawn: Drawn,
    parts: Mapping[str, Text],
    part: str,
    *,
    model_shifts: bool = False,
    sampler: str | None = None,
) -> PartAudit:
    """Audit the batches that a training loop drew from one part of the data.

    Rows are looked up in the part, then in the other parts. Targets are judged apart: where they
    are wrong, the window is counted as if they were right.

    Args:
        drawn: the batches.
        parts: name → tokens, integers of shape (N,) or a list of documents.
        part: the name of the part that the loader was asked for.
        model_shifts: whether the model moves the targets by one token, as those of Hugging Face do.
            Targets that equal the inputs are then right, and moved ones are wrong.
        sampler: as in `audits.audit`.

    Raises:
        ValueError: the part is not known, or no row occurs in any part.
    """
    if part not in parts:
        raise ValueError(f"there is no part {part!r}: choose one of {', '.join(parts)}")
    texts = {name: join_documents(parts[name])[0] for name in sorted(parts, key=part.__ne__)}
    judged = _judge(drawn.pairs, texts, model_shifts=model_shifts)
    audited = None
    if judged.batches.parts:
        audited = audit_batches(judged.batches, parts[part], sampler=sampler)
    findings = [*drawn.findings, *judged.findings(model_shifts=model_shifts)]
    if audited is not None:
        repeats = _judge_repeats(drawn.pairs, audited)
        findings += [
            *repeats,
            *(f for f in audited.findings if not (repeats and f.kind in SAME)),
        ]
    return PartAudit(
        part=part,
        batches=len(drawn.pairs),
        rows=sum(len(x) for x, _ in drawn.pairs),
        targets_equal_inputs=judged.rows["targets_equal_inputs"],
        wrong_targets=judged.batches.wrong_targets,
        other_parts={name: judged.rows[name] for name in list(texts)[1:]},
        audit=audited,
        is_regular=_is_regular(np.concatenate(judged.starts)),
        findings=tuple(sorted(findings, key=lambda each: each.severity)),
    )


# --- rows ------------------------------------------------------------------------------------


@dataclass
class _Judged:
    """Rows whose part is known, one batch after the other.

    Attributes:
        names: the parts, that of the loader first.
        starts: the first tokens of the rows, batch by batch.
        batches: the rows that are in no other part, with the targets that they should have.
        rows: kind of finding → its rows.
        examples: kind of finding → its first row, in words.
    """

    names: Sequence[str]
    starts: list[Whole] = field(default_factory=list)
    batches: Batches = field(default_factory=lambda: Batches(is_cut=True))
    rows: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, rows: _Rows) -> None:
        """Add the rows of one batch."""
        name = f"batch {number}"
        self.starts.append(rows.start)
        for kind, found in {
            "targets_equal_inputs": rows.equal,
            "shifted_twice": rows.twice,
            **{other: rows.place == i for i, other in enumerate(self.names) if i},
        }.items():
            self.rows[kind] += int(found.sum())
            if found.any():
                self.examples.setdefault(kind, f"{name}, row {int(found.argmax())}")
        self.batches.add_wrong(name, np.flatnonzero(rows.wrong))
        mine = rows.place <= 0
        if mine.any():
            self.batches.add((rows.x[mine], rows.y[mine]), number, None, None)

    def findings(self, *, model_shifts: bool) -> list[Finding]:
        """Return what is to be said of targets and of other parts."""
        part, *others = self.names
        found = {} if model_shifts else {"targets_equal_inputs": EQUAL}
        found |= {"shifted_twice": TWICE}
        found |= {other: OTHER.format(part=part, other=other) for other in others}
        return [
            Finding(
                "other_part" if kind in others else kind,
                self.rows[kind],
                self.examples[kind] + (f" is in {kind}" if kind in others else ""),
                told,
            )
            for kind, told in found.items()
            if self.rows[kind]
        ]


EQUAL = (
    "The targets of these rows are their inputs, so a model learns to copy the token that it sees: "
    "its loss falls to almost 0, and it cannot write. Move them by one token: "
    "y = data[i + 1 : i + 1 + T]. If the model itself moves the targets, as those of Hugging Face "
    "do, say so: --model-shifts yes."
)
TWICE = (
    "The targets of these rows are moved by one token, and a model that moves them again learns "
    "the token after the next. Let the targets be the inputs."
)
OTHER = (
    "The loader was asked for {part}, and these rows are in {other} and not in {part}. A model "
    "that trains on the text of its validation has too low a loss there, and a validation on the "
    "training text measures what was memorised. Check which data get_batch reads for {part}."
)


@dataclass(frozen=True)
class _Rows:
    """Rows and what was found of them.

    Attributes:
        x: inputs of shape (K, T).
        y: targets of shape (K, T). Where they are wrong, and the part holds the row, both are what
            they should be.
        place: int64 of shape (K,), the index of the part that holds each row, or -1.
        start: int64 of shape (K,), the first token of each row in that part, or -1.
        equal: bool of shape (K,), whether the targets are the inputs.
        twice: whether the targets are moved, and the model moves them again.
        wrong: whether the targets are others.
    """

    x: Rows
    y: Rows
    place: Whole
    start: Whole
    equal: Flags
    twice: Flags
    wrong: Flags

    def split(self, sizes: Sequence[int]) -> Iterator[_Rows]:
        """Return parts of these sizes, one after the other."""
        ends = np.cumsum(sizes)[:-1]
        columns = [np.split(getattr(self, name), ends) for name in self.__dataclass_fields__]
        return itertools.starmap(_Rows, zip(*columns, strict=True))


def _judge(pairs: Sequence[Pair], texts: Mapping[str, Whole], *, model_shifts: bool) -> _Judged:
    """Return the rows of all batches, judged in the order drawn."""
    alike = defaultdict(list)  # T → batches
    for number, (x, _) in enumerate(pairs):
        alike[x.shape[1]].append(number)
    found: dict[int, _Rows] = {}
    for numbers in alike.values():
        x = np.concatenate([pairs[number][0] for number in numbers])
        y = np.concatenate([_targets(pairs[number]) for number in numbers])
        rows = _place(x, y, list(texts.values()), model_shifts=model_shifts)
        sizes = [len(pairs[number][0]) for number in numbers]
        found |= dict(zip(numbers, rows.split(sizes), strict=True))
    judged = _Judged(list(texts))
    for number in range(len(pairs)):
        judged.add(number, found[number])
    return judged


def _targets(pair: Pair) -> Rows:
    """Return the targets; where they have another shape, UNKNOWN."""
    x, y = pair
    return np.full_like(x, UNKNOWN) if y is None else y


def _place(x: Rows, y: Rows, texts: Sequence[Whole], *, model_shifts: bool) -> _Rows:
    """Find rows in the parts, and compare their targets with the text.

    A row is looked up with its last target, then without it, then by its targets.

    Args:
        x: inputs of shape (K, T).
        y: targets of shape (K, T); those below 0 may stand for any token.
        texts: the parts, that of the loader first.
        model_shifts: as in `audit_part`.
    """
    masked = y < 0
    moved = ((y[:, :-1] == x[:, 1:]) | masked[:, :-1]).all(axis=1)
    equal = ~moved & ((y == x) | masked).all(axis=1)
    place, start = np.full(len(x), -1), np.full(len(x), -1)
    ended = moved & ~masked[:, -1]
    _look_up(np.concatenate([x, y[:, -1:]], axis=1), texts, place, start, chosen=ended)
    ended &= place < 0  # the last target does not go on in the text
    _look_up(x, texts, place, start, chosen=place < 0)
    altered = (place < 0) & ~moved & ~equal
    _look_up(y, texts, place, start, chosen=altered)
    altered &= place >= 0  # the targets are text, and the inputs are not what stands before them
    start[altered] = (start[altered] - 1).clip(min=0)
    right = masked.all(axis=1) | (equal if model_shifts else moved & ~ended)
    twice = moved & ~ended & ~right & (place >= 0)
    wrong = (place >= 0) & ~(right | equal | twice)
    # What a model should have seen of the windows of the part.
    mend = np.flatnonzero((place == 0) & (~(right | twice) | (y == UNKNOWN).all(axis=1)))
    window = start[mend, None] + np.arange(x.shape[1] + 1)
    tokens = np.where(window < len(texts[0]), texts[0][window.clip(max=len(texts[0]) - 1)], -1)
    x, y = x.copy(), y.copy()
    x[mend], y[mend] = tokens[:, :-1], tokens[:, 1:]
    return _Rows(x, y, place, start, equal, twice, wrong)


def _look_up(
    rows: Rows, texts: Sequence[Whole], place: Whole, start: Whole, *, chosen: Flags
) -> None:
    """Write into `place` and `start` which text first holds each chosen row, and where."""
    for i, text in enumerate(texts):
        left = np.flatnonzero(chosen & (place < 0))
        if len(left) and rows.shape[1] <= len(text):
            found = match_rows(rows[left], text).starts
            start[left] = found
            place[left[found >= 0]] = i


def _is_regular(start: Whole) -> bool:
    """Return whether most distances from a row to the next one occur several times."""
    counts = np.unique(np.diff(start), return_counts=True)[1]
    return 2 * int(counts[counts > 1].sum()) > len(start)


def _judge_repeats(pairs: Sequence[Pair], audited: Audit) -> list[Finding]:
    """Judge batches that equal the one before, where chance or a short text explain too few."""
    same = [
        number
        for number in range(1, len(pairs))
        if np.array_equal(pairs[number][0], pairs[number - 1][0])
    ]
    starts = max(audited.n_tokens - audited.block_size, 1)
    chance = len(pairs) * starts ** -float(len(pairs[0][0]))
    one_epoch = len(same) == len(pairs) - 1 and audited.missed_targets <= audited.block_size
    if one_epoch or len(same) <= chance + BEYOND_SD * math.sqrt(chance):
        return []
    return [
        Finding(
            "repeated_batches",
            len(same),
            f"batch {same[0]} equals batch {same[0] - 1}",
            "Batches equal the one before, so the model sees the same few windows again and again. "
            "A seed that get_batch sets anew in each call does this, or a batch that is drawn once "
            "and kept.",
        )
    ]
