"""Rows of tokens → the runs of text that they hold.

A row that occurs in the text as a whole is one draw. Other rows are cut into pieces where a
document begins, where padding lies, and at tokens that the text lacks; each run of text in them is
a draw.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gptcore.audit.live import Flags, TokenRows
from gptcore.audit.log import Whole
from gptcore.audit.matching import match_rows
from gptcore.audit.runs import Pieces, Runs, TextIndex, find_runs, least_run

FOLLOWS, BROKEN = 1, 2  # a document begins; the token before it has a target of its own
FEW_SEPARATORS = 4
PROBE = 256  # rows that are tried first; if none has a run, the others are not tried


@dataclass(eq=False)
class Places:
    """Where rows of tokens come from; arrays have one entry for each run, in order of the rows.

    Attributes:
        row: row of each run, counted over all parts.
        start: first token of each run in the text.
        length: tokens of each run.
        first: whether the first token of the run counts as a target.
        beyond: whether the target of its last token is the next token of the text.
        unsure: whether the run occurs at several places.
        unmatched: bool for each row, whether any of its text is not found.
        ambiguous: bool for each row, whether it occurs at several places.
        wrong: for each part, rows whose targets do not continue their text.
        stored: how ids of the text were changed before they were found, in words.
        strange: tokens in the rows that the text lacks, apart from padding.
        delimiter: the token at which every document begins, or None.
        unplaced: tokens of packed rows that do not tell their place.
        possible: bool of shape (N,), the targets that unsure runs may show.
    """

    row: Whole
    start: Whole
    length: Whole
    first: Flags
    beyond: Flags
    unsure: Flags
    unmatched: Flags
    ambiguous: Flags
    wrong: dict[int, npt.NDArray[np.intp]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    strange: list[int] = field(default_factory=list)
    delimiter: int | None = None
    unplaced: int = 0
    possible: Flags | None = None


def find_places(parts: Sequence[TokenRows], ids: Whole, documents: Whole) -> Places:
    """Return where the rows come from.

    Args:
        parts: the rows, in the order drawn.
        ids: the text, int64 of shape (N,).
        documents: the first token of each document in the text, from 0.
    """
    offsets = np.cumsum([0, *(len(part.rows) for part in parts)])
    start = np.full(int(offsets[-1]), -1, dtype=np.int64)
    width, beyond = np.empty_like(start), np.zeros(len(start), dtype=bool)
    ambiguous = np.zeros(len(start), dtype=bool)
    stored: dict[str, int] = {}
    change = np.zeros(len(ids) + 1, dtype=np.int64)
    for part, first, last in zip(parts, offsets[:-1], offsets[1:], strict=True):
        width[first:last] = part.rows.shape[1]
        beyond[first:last] = part.length == part.rows.shape[1]
    for size in np.unique(width[width <= len(ids)]):
        mine = np.flatnonzero(width == size)
        rows = np.concatenate([part.rows for part in parts if part.rows.shape[1] == size])
        rows = rows.astype(np.int64, copy=False)
        for name, as_stored, text in _stored(rows, ids):
            left = np.flatnonzero(start[mine] < 0)
            if not len(left):
                break
            match = match_rows(as_stored[left], text)
            start[mine[left]], ambiguous[mine[left]] = match.starts, match.ambiguous
            np.add.at(change, match.possible + 1, 1)
            np.add.at(change, np.minimum(match.possible + size + beyond[mine].any(), len(ids)), -1)
            if name and (match.starts >= 0).any():
                stored[name] = stored.get(name, 0) + int((match.starts >= 0).sum())
    whole = np.flatnonzero(start >= 0)
    first = _begin_documents(start[whole], ids, documents, ~ambiguous[whole])
    places = Places(
        whole, start[whole], width[whole], first, beyond[whole], ambiguous[whole], start < 0,
        ambiguous, stored=stored, possible=np.cumsum(change[:-1]) > 0,
    )  # fmt: skip
    _find_wrong(places, parts, offsets, ids)
    if len(whole) < len(start):
        _add_runs(places, parts, offsets, ids, documents)
    return places


def _stored(
    rows: npt.NDArray[np.integer], ids: Whole
) -> list[tuple[str, npt.NDArray[np.integer], Whole]]:
    """Return ways in which the ids of the text may have been stored, the plain one first."""
    ways: list[tuple[str, npt.NDArray[np.integer], Whole]] = [("", rows, ids)]
    ways += [
        (f"modulo {2**bits:,}", rows % 2**bits, ids % 2**bits)
        for bits in (16, 8)
        if int(ids.max()) >= 2 ** (bits - 1) and int(rows.max()) < 2**bits
    ]
    if int(rows.min()) >= 0 and int(rows.max()) < 2**16 and int(ids.max()) < 2**16:
        swapped = rows.astype(np.uint16).byteswap().astype(np.int64)
        ways.append(("with their two bytes swapped", swapped, ids))
    return ways


def _begin_documents(start: Whole, ids: Whole, documents: Whole, sure: Flags) -> Flags:
    """Return which rows begin a document: nothing could predict its first token.

    Documents are known, or all rows follow one token of the text, which then ends documents.
    """
    begins = np.isin(start, documents[1:])
    before = ids[start[sure & (start > 0)] - 1]
    if len(documents) == 1 and len(before) > 2 and (before == before[0]).all():
        begins = (start > 0) & (ids[start - 1] == before[0])
    return np.asarray(begins)


def _find_wrong(
    places: Places, parts: Sequence[TokenRows], offsets: npt.NDArray[np.integer], ids: Whole
) -> None:
    """Find rows that go on in the text where their targets do not."""
    for i, part in enumerate(parts):
        if part.targets is not None:
            known = (part.targets >= 0) & np.isin(part.targets, ids)
            found = ~places.unmatched[offsets[i] : offsets[i + 1]]
            places.wrong[i] = np.flatnonzero(known.any(axis=1) & found)


def _add_runs(
    places: Places,
    parts: Sequence[TokenRows],
    offsets: npt.NDArray[np.integer],
    ids: Whole,
    documents: Whole,
) -> None:
    """Add the runs of the rows that do not occur as a whole."""
    rows = np.flatnonzero(places.unmatched)
    places.delimiter = _delimiter(parts, offsets, rows)
    begins = np.flatnonzero(ids == (-1 if places.delimiter is None else places.delimiter))
    if len(documents) > 1 and not np.isin(begins, documents).all():
        places.delimiter = None  # a token with which documents begin, but which they hold as well
    depth = max(part.rows.shape[1] for part in parts) + 1
    index = TextIndex(ids, min(depth, len(ids)))
    probe = rows[:: max(1, len(rows) // PROBE)]
    if len(rows) > 2 * PROBE and not len(
        find_runs(_cut(parts, offsets, probe, ids, places)[0], index, documents).piece
    ):
        return
    pieces, lonely = _cut(parts, offsets, rows, ids, places)
    runs = find_runs(pieces, index, documents)
    assert places.possible is not None
    places.possible |= runs.possible
    row = pieces.row[runs.piece]
    wanted, covered = _cover(pieces, runs, places, least_run(ids))
    # A row counts if its runs hold half of its tokens that the text has.
    kept = 2 * covered >= wanted
    places.unmatched[rows] = (covered < wanted + lonely)[rows]
    chosen = kept[row]
    _check_ends(places, parts, offsets, pieces, runs, chosen)
    at_start = np.isin(runs.start, documents)
    first = (runs.chained | (at_start & ~runs.shared)) & (runs.start > 0)
    order = np.argsort(np.concatenate([places.row, row[chosen]]), kind="stable")
    for name, values in {
        "row": row, "start": runs.start, "length": runs.length, "first": first,
        "beyond": np.zeros(len(row), dtype=bool), "unsure": runs.ambiguous,
    }.items():  # fmt: skip
        setattr(places, name, np.concatenate([getattr(places, name), values[chosen]])[order])
    places.unplaced += int(places.length[places.unsure].sum())
    places.ambiguous |= (
        np.bincount(row[chosen & runs.ambiguous], minlength=len(places.unmatched)) > 0
    )


def _delimiter(
    parts: Sequence[TokenRows], offsets: npt.NDArray[np.integer], rows: Whole
) -> int | None:
    """Return the token at which all these rows, and all documents that are told, begin."""
    tokens = []
    for i, part in enumerate(parts):
        mine = rows[(rows >= offsets[i]) & (rows < offsets[i + 1])] - offsets[i]
        begins = np.zeros(part.rows.shape, dtype=bool) if part.begins is None else part.begins
        begins = begins.copy()
        kept = np.ones_like(begins) if part.padding is None else ~part.padding
        begins[np.arange(len(begins)), kept.argmax(axis=1)] = True
        tokens.append(part.rows[mine][(begins & kept)[mine]])
    found = np.concatenate(tokens)
    return int(found[0]) if len(found) > 1 and (found == found[0]).all() else None


def _cut(
    parts: Sequence[TokenRows],
    offsets: npt.NDArray[np.integer],
    rows: Whole,
    ids: Whole,
    places: Places,
) -> tuple[Pieces, Whole]:
    """Return the pieces of rows, and for each row the tokens in pieces that may be looked up."""
    known = np.unique(ids)
    table: list[tuple[int, int, int, bool, bool]] = []
    flat: list[Whole] = []
    size, lost = 0, np.zeros(int(offsets[-1]), dtype=np.int64)
    strange: Counter[int] = Counter()
    lonely: list[tuple[int, int]] = []
    of_part = np.searchsorted(offsets, rows, side="right") - 1
    for row, i in zip(rows.tolist(), of_part.tolist(), strict=True):
        tokens, begins, blank = _spread(parts[i], row - int(offsets[i]), places.delimiter)
        lacking = ~np.isin(tokens, known)
        found = np.flatnonzero(lacking & ~blank)
        strange.update(tokens[found].tolist())
        lonely += [(row, int(tokens[i])) for i in found if 0 < i < len(tokens) - 1]
        gap = lacking | blank
        edges = np.flatnonzero(np.diff(np.concatenate([[True], gap, [True]]).astype(np.int8)))
        for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            cuts = [low, *(np.flatnonzero(begins[low + 1 : high]) + low + 1).tolist(), high]
            for a, b in itertools.pairwise(cuts):
                chained = a > 0 or begins[a] > 0
                ended = b < len(tokens) and begins[b] == BROKEN
                table.append((size + a, size + b, row, chained, ended))
        flat.append(tokens)
        size += len(tokens)
    # A token that stands once inside a row is no separator, but text that is not found.
    for row, token in lonely:
        lost[row] += strange[token] == 1
    places.strange = [token for token, count in strange.most_common() if count > 1]
    begin, end, of_piece, first, ended = np.array(table, dtype=np.int64).reshape(-1, 5).T.copy()
    pieces = Pieces(
        np.concatenate(flat),
        begin,
        end,
        of_piece,
        first.astype(bool),
        ended.astype(bool),
        np.repeat(rows, [len(tokens) for tokens in flat]),
    )
    return pieces, lost


def _cover(pieces: Pieces, runs: Runs, places: Places, least: int) -> tuple[Whole, Whole]:
    """Return, for each row, the tokens that should be in runs, and those that are.

    Tokens that are mostly in no run stand between documents, even where the text has them. At the
    ends of a row, a few tokens are too short for a run, and equal tokens are padding.
    """
    change = np.zeros(len(pieces.tokens) + 1, dtype=np.int64)
    inside = np.zeros_like(change)
    for begin, end, marks in (
        (pieces.begin, pieces.end, inside),
        (runs.begin, runs.begin + runs.length, change),
    ):
        np.add.at(marks, begin, 1)
        np.add.at(marks, end, -1)
    looked, found = np.cumsum(inside[:-1]) > 0, np.cumsum(change[:-1]) > 0
    ids, of_token, counts = np.unique(pieces.tokens, return_inverse=True, return_counts=True)
    lost = np.bincount(of_token[looked & ~found], minlength=len(ids))
    between = (lost > 1) & (2 * lost > counts)
    if between.sum() > FEW_SEPARATORS or 10 * lost[between].sum() > np.count_nonzero(looked):
        between[:] = False
    places.strange += ids[between].tolist()
    row = pieces.row_of_token
    missing = looked & ~found & ~between[of_token]
    # A piece of one token has no target of its own; so have short stretches at the ends of rows.
    alone = pieces.begin[pieces.end - pieces.begin == 1]
    places.unplaced += int(missing[alone].sum())
    missing[alone] = False
    edges = np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8))
    for low, high in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        at_end = low == 0 or high == len(row) or row[low - 1] != row[low] or row[high] != row[low]
        differ = np.flatnonzero(pieces.tokens[low:high] != pieces.tokens[high - 1])
        kept = int(differ[-1]) + 1 if len(differ) else 0  # the equal tokens after them are padding
        if at_end and (kept < least or high - low < least):
            missing[low:high] = False
            places.unplaced += int(high - low)
    n_rows = len(places.unmatched)
    covered = np.bincount(row[looked & found], minlength=n_rows)
    return covered + np.bincount(row[missing], minlength=n_rows), covered


def _spread(part: TokenRows, row: int, delimiter: int | None) -> tuple[Whole, Whole, Flags]:
    """Return the tokens of a row, where a document begins, and which only fill the row.

    The last target of a document, where it is not the next input, is put after its input.
    """
    tokens = np.asarray(part.rows[row], dtype=np.int64)
    begins = (tokens == (-1 if delimiter is None else delimiter)) * FOLLOWS
    if part.begins is not None:
        begins |= part.begins[row]
    blank = np.zeros(len(tokens), bool) if part.padding is None else part.padding[row]
    if part.targets is None:
        return tokens, begins, blank
    ends = np.flatnonzero((part.targets[row] >= 0) & ~blank)
    begins[ends + 1] = BROKEN
    begins[0] |= FOLLOWS * bool(len(ends))  # rows of whole documents begin with one
    return (
        np.insert(tokens, ends + 1, part.targets[row][ends]),
        np.insert(begins, ends + 1, 0),
        np.insert(blank, ends + 1, False),
    )


def _check_ends(
    places: Places,
    parts: Sequence[TokenRows],
    offsets: npt.NDArray[np.integer],
    pieces: Pieces,
    runs: Runs,
    chosen: Flags,
) -> None:
    """Find rows in which the last target of a document does not continue its text."""
    reached = np.zeros(len(pieces.row), dtype=bool)
    last = pieces.tokens[pieces.end[runs.piece] - 1]
    left = pieces.end[runs.piece] - np.isin(last, places.strange) - runs.begin - runs.length
    reached[runs.piece[(left <= 0) & chosen]] = True
    short = (pieces.end - pieces.begin) < 2
    bad = np.unique(pieces.row[pieces.ended & ~(reached | short)])
    for i, part in enumerate(parts):
        if part.targets is not None:
            mine = bad[(bad >= offsets[i]) & (bad < offsets[i + 1])] - offsets[i]
            has_end = (part.targets[mine] >= 0).any(axis=1)
            places.wrong[i] = np.union1d(places.wrong.get(i, mine[:0]), mine[has_end])
