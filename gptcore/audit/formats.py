"""One batch, in any of the formats of training libraries → inputs, targets and masks.

Libraries name the same things differently; `FIELDS` lists the names that are known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

FIELDS = {
    "inputs": (
        "input_ids", "inputs", "input", "tokens", "x", "idx", "token_ids", "text",
        "decoder_input_tokens",
    ),
    "targets": ("labels", "targets", "target", "label", "y", "decoder_target_tokens"),
    "kept": ("attention_mask", "inputs_mask"),
    "learned": (
        "loss_mask", "completion_mask", "assistant_masks", "targets_loss_mask",
        "decoder_loss_weights",
    ),
    "segments": (
        "segment_ids", "sequence_id", "inputs_segmentation", "inputs_segment_ids", "document_ids",
        "doc_ids", "seq_idx", "decoder_segment_ids",
    ),
    "positions": (
        "position_ids", "inputs_position", "inputs_positions", "positions", "input_pos",
        "decoder_positions",
    ),
}  # fmt: skip
"""What a field of a batch means → the names it has in Hugging Face's libraries, TRL, torchtitan,
grain and MaxText, Megatron, LLM Foundry, T5X and nanoGPT. The first name that a batch has counts.
"""


def to_examples(batch: object, number: int) -> list[dict[str, Rows]]:
    """Return the fields of a batch; of each example where the examples are not put together.

    Returns:
        Mappings from the meanings of `FIELDS` to arrays of shape (B, W).

    Raises:
        ValueError: the batch has none of the formats that `audit` names.
    """
    if not isinstance(batch, Mapping | tuple | list) and not _is_array(batch):
        batch = getattr(batch, "__dict__", batch)  # an object with attributes
    if isinstance(batch, Mapping):
        return _from_mapping(batch, number)
    if isinstance(batch, tuple | list) and len(batch):
        first = batch[0]
        if isinstance(first, Mapping) and len(batch) > 1 and _is_array(batch[1]):
            return _from_mapping({**first, "labels": batch[1]}, number)  # as torchtitan has them
        if all(isinstance(part, Mapping | tuple) for part in batch):
            return [fields for part in batch for fields in to_examples(part, number)]
        if not _are_rows(batch):
            return _from_parts(batch, number)
    return [{"inputs": rows} for rows in _to_rows(batch, number)]


def _from_mapping(batch: Mapping[Any, Any], number: int) -> list[dict[str, Rows]]:
    named = {
        meaning: next((batch[name] for name in names if batch.get(name) is not None), None)
        for meaning, names in FIELDS.items()
    }
    if named["inputs"] is None:
        raise ValueError(
            f"batch {number} has the keys {', '.join(map(str, batch))}: it needs input_ids "
            "and may have labels"
        )
    inputs = _to_rows(named.pop("inputs"), number)
    found = {"targets": named.pop("targets")} if named["targets"] is not None else {}
    rows = {"inputs": inputs} | {name: _to_rows(value, number) for name, value in found.items()}
    for name, value in named.items():
        extra = _flags(value)
        if [len(row) for row in extra] == [len(row) for row in inputs] and all(
            one.shape == row.shape for one, row in zip(extra, inputs, strict=True)
        ):
            rows[name] = extra
    if len({len(parts) for parts in rows.values()}) > 1:
        raise ValueError(f"batch {number} has inputs and targets of different numbers of rows")
    return [dict(zip(rows, parts, strict=True)) for parts in zip(*rows.values(), strict=True)]


def _from_parts(batch: Sequence[Any], number: int) -> list[dict[str, Rows]]:
    """Return inputs, targets and a mask from a tuple of arrays; what else it holds is left out."""
    named: dict[str, Any] = {"input_ids": batch[0]}
    if len(batch) > 1 and _is_array(batch[1]) and np.ndim(batch[1]) == np.ndim(batch[0]):
        named["labels"] = batch[1]
    if len(batch) > 2 and _is_array(batch[2]) and np.isin(to_array(batch[2]), (0, 1)).all():
        named["loss_mask"] = batch[2]
    return _from_mapping(named, number)


def _are_rows(batch: Sequence[Any]) -> bool:
    """Return whether a list holds rows or tokens, and not inputs and targets."""
    if isinstance(batch, tuple) and not all(isinstance(part, int | np.integer) for part in batch):
        return False
    if not _is_array(batch[0]) or np.ndim(to_array(batch[0])) == 0:
        return True  # numbers, or lists of numbers
    if np.ndim(to_array(batch[0])) > 1 or len(batch) == 1:
        return len(batch) > 3
    # Arrays of one dimension: one row each, or the inputs and targets of one row.
    first, second = (np.asarray(to_array(part)) for part in batch[:2])
    return not (
        len(batch) <= 3
        and first.shape == second.shape
        and (np.array_equal(first[1:], second[:-1]) or np.array_equal(first, second))
    )


def _to_rows(tokens: Any, number: int) -> list[Rows]:
    """Return a tensor, an array or lists as int64 of shape (B, W); several where widths differ."""
    plain = to_array(tokens)
    try:
        array = np.asarray(plain)
    except (ValueError, TypeError):  # rows of different widths
        return [rows for row in plain for rows in _to_rows(row, number)]
    if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"batch {number} has {array.dtype} of shape {array.shape}: give (inputs, targets), a "
            "mapping with input_ids, or rows, each integers of shape (B, W) or (W,)"
        )
    return [array.reshape(-1, array.shape[-1]).astype(np.int64)]


def _flags(value: Any) -> list[Rows]:
    """Return a mask or numbers as rows; none where they have another form."""
    try:
        rows = [np.asarray(to_array(value))]
    except (ValueError, TypeError):
        rows = [np.asarray(to_array(row)) for row in value]
    if any(row.ndim not in (1, 2) or row.dtype.kind not in "iufb" for row in rows):
        return []
    return [row.reshape(-1, row.shape[-1]).astype(np.int64) for row in rows]


def to_array(tokens: Any) -> Any:
    """Return a tensor, on any device, as an array; lists of tensors too."""
    if getattr(tokens, "is_nested", False):
        return [to_array(part) for part in tokens.unbind()]
    if hasattr(tokens, "detach"):
        return tokens.detach().cpu().numpy()
    return [to_array(part) for part in tokens] if isinstance(tokens, list | tuple) else tokens


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")
