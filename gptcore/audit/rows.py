"""What is to be said of rows of tokens and their targets, before their draws are counted."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gptcore.audit.finding import Finding
from gptcore.audit.live import Masked, TokenRows
from gptcore.audit.log import Whole
from gptcore.audit.matching import match_rows
from gptcore.audit.places import Places
from gptcore.checks import as_array

RUN = np.dtype([(name, np.int64) for name in ("row", "document", "offset", "length")])


def join_documents(
    ids: npt.NDArray[np.integer] | Sequence[npt.NDArray[np.integer]],
) -> tuple[Whole, Whole]:
    """Return the text in one array, and the first token of each document.

    Raises:
        ValueError: the text, or a document, has another shape or type.
    """
    if isinstance(ids, list | tuple) and len(ids) and np.ndim(ids[0]):
        parts = [as_array("ids", part) for part in ids]
    else:
        parts = [as_array("ids", ids)]
    for part in parts:
        if part.ndim != 1 or part.dtype.kind not in "iu":
            raise ValueError(
                f"ids are {part.dtype} of shape {part.shape}: give integers in 1 dimension, or a "
                "list of documents of such integers"
            )
    text = np.concatenate(parts).astype(np.int64, copy=False)
    if not len(text):
        raise ValueError("ids are empty: give the text that the loader read")
    return text, np.cumsum([0, *(len(part) for part in parts[:-1])])


def tell_runs(places: Places, text: Whole, documents: Whole) -> npt.NDArray[np.void]:
    """Return (row, document, offset, length) of each run, as a structured array."""
    if len(documents) == 1 and places.delimiter is not None:
        at = np.flatnonzero(text == places.delimiter)
        documents = np.union1d([0], at) if len(at) else documents
    document = np.searchsorted(documents, places.start, side="right") - 1
    table = np.empty(len(places.row), dtype=RUN)
    columns = (places.row, document, places.start - documents[document], places.length)
    for name, column in zip(RUN.names or (), columns, strict=True):
        table[name] = column
    return table


def judge_places(places: Places, text: Whole, documents: Whole) -> list[Finding]:
    """Return what is to be said of the places of rows."""
    findings = []
    n_runs = np.bincount(places.row, minlength=len(places.unmatched))
    packed = n_runs > 1
    if packed.any() or (places.strange and n_runs.any()):
        findings.append(_packed(places, tell_runs(places, text, documents), packed))
    for name, count in places.stored.items():
        findings.append(
            Finding(
                "changed_ids",
                count,
                f"ids {name}",
                f"These rows occur in the text only if its ids are taken {name}. The text has ids "
                f"up to {int(text.max()):,}; an integer type that is too small, such as uint16, "
                "wraps round, and another byte order swaps bytes. The model learns other tokens.",
            )
        )
    if places.unmatched.any():
        findings.append(_unmatched(places, n_runs))
    if places.ambiguous.any():
        findings.append(ambiguous_rows(int(places.ambiguous.sum()), int(places.ambiguous.argmax())))
    return findings


def _packed(places: Places, runs: npt.NDArray[np.void], packed: npt.NDArray[np.bool_]) -> Finding:
    """Return the note about rows of several documents."""
    row = int(packed.argmax()) if packed.any() else int(places.row[0])
    mine = runs[runs["row"] == row]
    told = [f"({run['document']}, {run['offset']}, {run['length']})" for run in mine[:3]]
    more = ", …" if len(mine) > 3 else ""
    strange = ""
    if places.strange:
        ids = ", ".join(map(str, places.strange[:3])) + (", …" if len(places.strange) > 3 else "")
        strange = f" Tokens that the text lacks stand between them: {ids}."
    return Finding(
        "packed_rows",
        max(int(packed.sum()), 1),
        f"row {row} holds (document, offset, length) {', '.join(told)}{more}",
        "Rows hold pieces of several documents, or special tokens. Each run of text in them counts "
        f"as one draw; its document, offset and length are given.{strange}",
        "note",
    )


def _unmatched(places: Places, n_runs: npt.NDArray[np.integer]) -> Finding:
    """Return the finding about rows that do not occur in the text."""
    missing = places.unmatched & (n_runs == 0)
    partly = int(places.unmatched.sum()) - int(missing.sum())
    told = f" Of {partly} rows a part was found and is counted." if partly else ""
    return Finding(
        "unmatched_rows",
        int(places.unmatched.sum()),
        f"row {int(places.unmatched.argmax())}",
        "These rows do not occur in the text, and the other counts leave out what was not found."
        f"{told} The reason may be padding, special tokens, tokens that were changed (as masked "
        "language models need), or another text.",
    )


def nothing_found(parts: Sequence[TokenRows], text: Whole) -> str:
    """Say that no row occurs in the text, and why, where the reason can be seen."""
    count = sum(len(part.rows) for part in parts)
    told = f"none of the {count} rows occurs in the text: "
    rows = parts[0].rows
    turned, steps = np.ascontiguousarray(rows.T), np.diff(rows, axis=1)
    if 1 < turned.shape[1] <= len(text) and (match_rows(turned, text).starts >= 0).all():
        return (
            f"{told}their columns do, so the batches are turned. A collate function turns lists "
            "of numbers; give it tensors"
        )
    if 2 < rows.shape[1] < len(text) and (match_rows(steps, np.diff(text)).starts >= 0).all():
        return (
            f"{told}their differences do, so one number was added to all ids. Give the ids as the "
            "loader numbers them"
        )
    return f"{told}give the ids that the loader read, from the same tokenizer, cleaned the same way"


def ambiguous_rows(count: int, example: int) -> Finding:
    """Return the finding about rows that occur at several places."""
    return Finding(
        "ambiguous_rows",
        count,
        f"row {example}",
        "The tokens of these rows occur at several places of the text. Equal rows are assigned to "
        "these places in turn.",
        "note",
    )


def wrong_targets(count: int, example: str) -> Finding:
    """Return the finding about rows whose targets are not the next tokens."""
    return Finding(
        "wrong_targets",
        count,
        example,
        "The targets are neither the inputs moved by one token nor equal to the inputs, so the "
        "model learns something other than the next token. Check how the targets are made.",
    )


def judge_masked(masked: Masked, parts: Sequence[TokenRows], text: Whole) -> Finding:
    """Return the finding about targets without loss, and name what is masked.

    It is a fault where exactly one token of the text is masked, wherever it stands.
    """
    token = next(iter(masked.tokens))
    begins = all((part.rows[:, 0] == token).all() for part in parts)
    in_text = int(np.count_nonzero(text == token))
    if len(masked.tokens) == 1 and in_text and not masked.learned[token] and not begins:
        return Finding(
            "masked_targets",
            masked.count,
            f"token {token}, {masked.tokens[token]} times",
            f"Exactly one token is masked, {token}, and it is masked everywhere, although the text "
            f"holds it {in_text} times. If it ends a document, the model never learns to stop. "
            "This happens where the padding token is the end-of-text token: padding is then "
            "masked by its id. Give padding a token of its own, or mask by the attention mask.",
        )
    told = []
    if masked.padding:
        told.append(f"{masked.padding} of them fill rows (padding)")
    if masked.inside and not masked.prompts:
        told.append("the others come first in their rows, as prompts do")
    if masked.rows:
        told.append(f"{masked.rows} rows have no target that gives a loss")
    named = f" {'; '.join(told).capitalize()}." if told else ""
    reason = f"These targets give no loss; the other counts treat them as shown.{named}"
    return Finding("masked_targets", masked.count, "labels of -100", reason, "note")
