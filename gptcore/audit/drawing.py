"""A function get_batch(split) → the batches that it returns, and what is wrong with their form."""

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.audit.finding import Finding, Severity
from gptcore.audit.formats import Rows, to_array
from gptcore.checks import check_whole
from gptcore.plain_text import shorten
from gptcore.streams import is_of_a_signal

GetBatch = Callable[..., Any]
Pair = tuple[Rows, Rows | None]

GIVE = "return x, y: two tensors of token ids of shape (B, T)"


@dataclass
class Drawn:
    """Batches in the order drawn.

    Attributes:
        pairs: inputs and targets of each batch, int64 of shape (B, T); None in place of targets
            that have another shape.
        findings: what is wrong with the form of the batches.
    """

    pairs: list[Pair]
    findings: list[Finding] = field(default_factory=list)


def draw(
    get_batch: GetBatch,
    part: str,
    *,
    n_batches: int,
    vocab_size: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Drawn:
    """Call get_batch(part) `n_batches` times.

    A function whose first argument is no name of a part is called without arguments.

    Args:
        get_batch: returns inputs and targets, tensors or arrays of shape (B, T), on any device.
        part: the name that it takes, such as "train".
        n_batches: how often it is called.
        vocab_size: ids must lie in [0, vocab_size); targets below 0 give no loss.
        progress: is called with the batches drawn and all of them.

    Raises:
        ValueError: the function needs other arguments, raises, or returns something else.
    """
    arguments = _arguments(get_batch, part)
    name = f"{getattr(get_batch, '__name__', 'get_batch')}({', '.join(map(repr, arguments))})"
    forms = _Forms(vocab_size)
    pairs: list[Pair] = []
    n_batches = check_whole("batches", n_batches)
    for number in range(n_batches):
        pairs.append(forms.read(_call(get_batch, arguments, name), name, f"batch {number}"))
        progress(number + 1, n_batches)
    return Drawn(pairs, forms.findings())


def _arguments(get_batch: GetBatch, part: str) -> tuple[str, ...]:
    """Return what the function is called with: the name of the part, or nothing.

    Raises:
        ValueError: it needs other arguments.
    """
    try:
        signature = inspect.signature(get_batch)
    except (ValueError, TypeError):  # a function written in C may have no signature
        return (part,)
    first = next(iter(signature.parameters.values()), None)
    is_other = first is not None and not isinstance(first.default, str | type(first.empty))
    for arguments in ((), (part,)) if is_other else ((part,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return arguments
    raise ValueError(
        f"{getattr(get_batch, '__name__', 'the function')}{signature} needs other arguments than "
        "the name of a part: give get_batch(split), whose other arguments have defaults"
    )


def _call(get_batch: GetBatch, arguments: Sequence[str], name: str) -> Any:
    """Return one batch.

    Raises:
        ValueError: the function raised.
    """
    try:
        return get_batch(*arguments)
    except (Exception, SystemExit) as error:
        if is_of_a_signal(error):
            raise
        told = shorten(" ".join(f"{type(error).__name__}: {error}".split()), 300)
        file = getattr(getattr(get_batch, "__code__", None), "co_filename", None)
        lines = [
            at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file
        ]
        place = f" in line {lines[-1]} of {Path(str(file)).name}" if lines else ""
        help_ = (
            "this machine has no such device, so let the loader use the CPU"
            if "CUDA" in told or "NVIDIA" in told
            else "names of files count from the folder in which the command runs"
            if isinstance(error, OSError)
            else "call it alone in Python to see more"
        )
        raise ValueError(f"{name} raised {told}{place} ({help_})") from error


# --- the form of a batch ---------------------------------------------------------------------


@dataclass
class _Seen:
    count: int
    example: str


class _Forms:
    """Reads batches, and counts what is wrong with their form."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.seen: dict[str, _Seen] = {}

    def read(self, batch: Any, name: str, place: str) -> Pair:
        """Return the inputs and targets of a batch.

        Raises:
            ValueError: it is no pair of arrays of whole numbers.
        """
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
            raise ValueError(f"{name} returned {type(batch).__name__}{size}: {GIVE}")
        x, y = (_to_rows(part, which, name) for part, which in zip(batch, "xy", strict=True))
        if y.shape == (1, x.size):  # flat, as cross_entropy takes them
            y = y.reshape(x.shape)
        self._note_types(batch, place)
        if x.shape != y.shape:
            self._add("unequal_shapes", 1, f"{place}: x is {x.shape} and y is {y.shape}")
        bad = ((x < 0) | (x >= self.vocab_size), y >= self.vocab_size)
        outside = [row for part in bad for row in np.unique(np.nonzero(part)[0]).tolist()]
        if outside:
            low, high = min(x.min(), y.min()), max(x.max(), y.max())
            example = f"{place}, row {outside[0]}: ids from {low} to {high}"
            self._add("ids_out_of_range", len(outside), example)
        return x, y if x.shape == y.shape else None

    def findings(self) -> list[Finding]:
        """Return what is wrong, in words."""
        return [
            Finding(kind, self.seen[kind].count, self.seen[kind].example,
                    told.format(vocab_size=self.vocab_size), severity)
            for kind, (told, severity) in WRONG.items()
            if kind in self.seen
        ]  # fmt: skip

    def _note_types(self, batch: Sequence[Any], place: str) -> None:
        """Note types, devices and layouts that a step of training refuses."""
        x, y = batch
        if not all(hasattr(part, "is_contiguous") for part in batch):
            return
        types = [str(part.dtype).removeprefix("torch.") for part in batch]
        if types[0] not in ("int64", "int32") or types[1] != "int64" or x.device != y.device:
            told = [f"{t} on {part.device}" for t, part in zip(types, batch, strict=True)]
            self._add("batch_types", 1, f"{place}: x is {told[0]} and y is {told[1]}")
        if not y.is_contiguous():
            self._add("not_contiguous", 1, place)

    def _add(self, kind: str, count: int, example: str) -> None:
        seen = self.seen.setdefault(kind, _Seen(0, example))
        seen.count += count


WRONG: dict[str, tuple[str, Severity]] = {
    "unequal_shapes": (
        "Inputs and targets have different shapes, so the loss fails or compares other places. "
        "Give one target for each input. The targets of these batches are not judged.",
        "fault",
    ),
    "batch_types": (
        "A step of training refuses these: torch.nn.Embedding takes int64 or int32, and "
        "cross_entropy takes targets of int64, on one device. Convert them by .long() and .to().",
        "fault",
    ),
    "ids_out_of_range": (
        "The vocabulary has {vocab_size:,} tokens, so ids go from 0 up to, and not including, that "
        "number. An embedding fails on others, or reads other memory. Targets below 0 are masked "
        "and do not count here. Check the tokenizer, and the type that ids were stored in.",
        "fault",
    ),
    "not_contiguous": (
        "Targets are a view of a larger tensor, so y.view(-1), which nanoGPT calls, fails. Return "
        "y.contiguous(), or let the model call .reshape(-1).",
        "note",
    ),
}
"""Kind of finding → what it means, and how bad it is."""


def _to_rows(tokens: Any, which: str, name: str) -> Rows:
    """Return x or y as int64 of shape (B, …); a single row is a batch of one.

    Raises:
        ValueError: they are no whole numbers in one, two or more dimensions.
    """
    try:
        array: npt.NDArray[Any] = np.asarray(to_array(tokens))
    except Exception as error:  # lists of unequal lengths; a tensor without data
        raise ValueError(f"{name} returned {which} of {type(tokens).__name__}: {GIVE}") from error
    with np.errstate(invalid="ignore"):  # infinity, and what is beyond int64
        is_whole = array.dtype.kind in "iu" or (
            array.dtype.kind == "f" and bool((array == array.astype(np.int64)).all())
        )
    if array.size == 0 or not is_whole or array.ndim not in ((1, 2) if which == "x" else (1, 2, 3)):
        raise ValueError(
            f"{name} returned {which} of {array.dtype} and shape {array.shape}: {GIVE}"
        )
    return (array[None] if array.ndim == 1 else array).astype(np.int64)


def judge_seeds(
    first: Sequence[Pair], again: Sequence[Pair], other: Sequence[Pair], *, is_regular: bool
) -> list[Finding]:
    """Judge the first batches of three starts of a loader.

    Args:
        first: of a start.
        again: of another start with the same seed.
        other: of a start with another seed.
        is_regular: whether the loader goes through the text in an order that is not random.
    """
    if not _are_equal(first, again):
        example = "two starts with the same seed give different batches"
        return [Finding("not_reproducible", 1, example, UNSEEDED, "note")]
    if not is_regular and _are_equal(first, other):
        example = "two starts with different seeds give the same batches"
        return [Finding("seed_ignored", 1, example, IGNORED, "note")]
    return []


def _are_equal(some: Sequence[Pair], others: Sequence[Pair]) -> bool:
    return all(np.array_equal(a[0], b[0]) for a, b in zip(some, others, strict=False))


UNSEEDED = (
    "The seeds of random, numpy and torch were set before the file was loaded, and a second start "
    "drew other batches. So a run cannot be repeated, and one that goes on after a stop draws "
    "anew. Draw from a generator that is made with a seed."
)
IGNORED = (
    "The batches look random, and they do not depend on the seeds of random, numpy and torch that "
    "were set before the file was loaded. The file sets a seed of its own: runs that are meant to "
    "differ by their seed see the same batches."
)
