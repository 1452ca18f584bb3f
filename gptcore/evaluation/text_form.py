"""The form of a text: fourteen measures of how it is written, beside slices of a longer text.

The slices are as long as the text, do not overlap and are spread over the longer text, here called
the reference. The measures say whether a text looks like the reference, not whether it makes sense.

Shapes: n tokens in a text, N tokens in the reference.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.evaluation.text_form_copies import Ints, Span, Told, longest_copies

MEASURES: dict[str, str] = {
    "line_break_share": "line breaks over characters; CRLF is one break",
    "chars_per_line": "characters of a line that is not blank, mean",
    "punctuation_share": "of the characters that are not white space, those of punctuation",
    "words_per_sentence": "words up to the last sentence end, over the number of sentence ends",
    "capital_after_stop_share": "of the letters that begin a sentence, those that are capitals",
    "unpaired_quotes_share": "of the quotation marks, those without partner in their paragraph",
    "class_divergence_bits": "Jensen-Shannon divergence of the classes of characters",
    "known_words_share": "of the words, those that occur in the reference",
    "compression_ratio": "bytes after compression over bytes before",
    "longest_run_tokens": "longest run of one token",
    "seq_rep_share": "seq-rep-4: of the runs of four tokens, those that stand earlier, too",
    "distinct_tokens_share": "distinct-1: different tokens over tokens, mean over blocks of 50",
    "distinct_pairs_share": "distinct-2: different pairs of tokens over tokens, likewise",
    "longest_copy_tokens": "longest run of tokens that stands in the reference, too",
}
"""Name of a measure → its definition; docs/form.md has the sources."""

MOST_SLICES, LEAST_SLICES = 100, 10
"""There is no z where fewer than LEAST_SLICES slices have a value."""
USUAL_Z = 2.0
"""About 95 % of slices are closer to their mean than this, where a measure is nearly normal."""
BLOCK_TOKENS = 50
"""Fixed length of the blocks in which different tokens are counted."""
ROUNDING = 1e-12
"""Values this close are equal: they are sums of the same terms in another order."""

Values = dict[str, float | None]
Decode = Callable[[Ints], str]

_LINE_END = re.compile(r"\r\n?|\n")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001
_STOP = re.compile(r"(?<![.!?…؟।])[.!?…؟।]++[)\]\"'”’»]*+(?!\S)|[。！？]++[」』）”]*+")  # noqa: RUF001
_AFTER_STOP = re.compile(r"\s*+[(\[\"'“‘«„*_`]*+(\w)")  # noqa: RUF001
_QUOTE = re.compile('["“”„«»「」『』]')
_PARTNER = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』"}


@dataclass(frozen=True)
class Measured:
    """One measure of a text, beside the slices.

    Attributes:
        name: a key of `MEASURES`.
        value: of the text; None where it is undefined, and so are z and the shares below and above.
        mean: over the slices; None where none has a value.
        sd: standard deviation over the slices, with divisor n_slices - 1; None where fewer than
            LEAST_SLICES have a value, and so are z and the three shares.
        z: (value - mean) / sd; None where the slices do not differ, too.
        share_below: of the slices, those with a smaller value.
        share_above: of the slices, those with a larger value.
        usual_share: of the slices, those whose own z is within ±USUAL_Z: 0.95 if the measure is
            normal; None where the slices do not differ, too.
        n_slices: the slices in which the measure is defined.
    """

    name: str
    value: float | None
    mean: float | None
    sd: float | None
    z: float | None
    share_below: float | None
    share_above: float | None
    usual_share: float | None
    n_slices: int


def compare_form(
    texts: Sequence[Ints],
    reference: Ints,
    decode: Decode,
    *,
    own: Span | None = None,
    on_round: Told | None = None,
) -> list[tuple[Measured, ...]]:
    """Measure texts of equal length, and slices of a reference of that length.

    What is held against the reference (the words, the classes of characters and the longest copy)
    is held against all of it for a text, and against the rest of it for a slice. No copy of a slice
    may begin in the slice or in the n tokens before it.

    Args:
        texts: token ids of each text, (n,) each.
        reference: token ids, (N,), of the same vocabulary.
        decode: returns the text of token ids.
        own: the tokens of the reference that are the text itself, if it is a part of it; they
            are left out of all that the texts are compared with.
        on_round: told of the progress of the search for copies.

    Returns:
        For each text all `MEASURES`, in their order.

    Raises:
        ValueError: the texts differ in length.
    """
    lengths = {len(text) for text in texts}
    if len(lengths) > 1:
        raise ValueError(f"texts have {sorted(lengths)} tokens: give texts of one length")
    n = max(lengths, default=0)
    slices = [(start, start + n) for start in slice_starts(len(reference), n)]
    if own is not None:
        slices = [part for part in slices if part[1] <= own[0] or own[1] <= part[0]]
    copies = _copies(texts, reference, slices, own, on_round)
    whole = _Counts.of(decode(reference))
    part = _Counts.of(decode(reference[slice(*own)]) if own else "")
    rows = [_of_text(decode(ids), whole, part) | _of_tokens(ids) for ids in texts]
    for first, last in slices:
        ids = reference[first:last]
        text = decode(ids)
        rows.append(_of_text(text, whole, _Counts.of(text)) | _of_tokens(ids))
    for row, copy in zip(rows, copies, strict=True):
        row["longest_copy_tokens"] = float(copy) if n else None
    return [_beside(row, rows[len(texts) :]) for row in rows[: len(texts)]]


def slice_starts(n_reference: int, n: int) -> list[int]:
    """Return the starts of at most MOST_SLICES slices of `n` tokens, evenly spread, none shared."""
    count = min(MOST_SLICES, n_reference // n) if n else 0
    return [i * (n_reference - n) // max(1, count - 1) for i in range(count)]


def sample_unigrams(reference: Ints, n: int, seed: int) -> Ints:
    """Draw each of `n` tokens by its frequency in the reference."""
    return np.random.default_rng(seed).choice(reference, n)


def sample_bigrams(reference: Ints, n: int, seed: int) -> Ints:
    """Draw `n` tokens, each by how often it follows the one before it in the reference."""
    rng = np.random.default_rng(seed)
    behind = np.roll(reference, -1)  # the first token follows the last
    order = np.argsort(reference, kind="stable")
    ranked, followers = reference[order], behind[order]
    drawn = np.empty(n, dtype=reference.dtype)
    token, uniform = rng.choice(reference), rng.random(n)
    for i in range(n):
        low, high = np.searchsorted(ranked, [token, token + 1])
        drawn[i] = token = followers[low + int(uniform[i] * (high - low))]
    return drawn


def _copies(
    texts: Sequence[Ints],
    reference: Ints,
    slices: Sequence[Span],
    own: Span | None,
    on_round: Told | None,
) -> list[int]:
    """Return the longest copy of each text, and then that of each slice, in tokens."""
    joined: list[npt.NDArray[np.int64]] = [reference.astype(np.int64)]
    pieces: list[tuple[Span, list[Span]]] = []
    n = len(texts[0]) if texts else 0
    hidden = [(len(reference), len(reference) + len(texts) * (n + 1))]
    before_own = [] if own is None else [(max(0, own[0] - n), own[1])]
    for i, text in enumerate(texts):
        start = len(reference) + i * (n + 1) + 1
        joined += [np.array([-1 - i]), text.astype(np.int64)]  # an id that occurs only here
        pieces.append(((start, start + n), [*before_own, *hidden]))
    pieces += [((a, b), [(max(0, a - n), b), *hidden]) for a, b in slices]
    return longest_copies(np.concatenate(joined), pieces, on_round)


@dataclass(frozen=True)
class _Counts:
    """How often each word and each class of characters occurs in a text."""

    words: Counter[str]
    classes: Counter[str]

    @classmethod
    def of(cls, text: str) -> "_Counts":
        words = Counter(word.casefold() for word in _WORD.findall(text))
        classes: Counter[str] = Counter()
        for char, count in Counter(_LINE_END.sub("\n", text)).items():
            classes[_class_of(char)] += count
        return cls(words, classes)


def _class_of(char: str) -> str:
    """Return the first letter of the Unicode category; cases and line ends are their own."""
    category = unicodedata.category(char)
    return category if category in {"Lu", "Ll"} else char if char == "\n" else category[0]


def _of_text(text: str, whole: _Counts, left_out: _Counts) -> Values:
    """Measure a text against the counts of the reference without those of a part of it."""
    lines = _LINE_END.split(text)
    filled = [len(line) for line in lines if line.strip()]
    counts, content = _Counts.of(text), text.encode("utf-8", "replace")
    stops = list(_STOP.finditer(text))
    rest = {name: whole.classes[name] - left_out.classes[name] for name in whole.classes}
    visible = [(char, count) for char, count in Counter(text).items() if not char.isspace()]
    marks = sum(count for char, count in visible if unicodedata.category(char)[0] == "P")
    known = sum(n for w, n in counts.words.items() if whole.words[w] > left_out.words[w])
    before_stop = len(_WORD.findall(text[: stops[-1].end()])) if stops else 0
    return {
        "line_break_share": _over(len(lines) - 1, len(text)),
        "chars_per_line": _over(sum(filled), len(filled)),
        "punctuation_share": _over(marks, sum(count for _, count in visible)),
        "words_per_sentence": _over(before_stop, len(stops)),
        "capital_after_stop_share": _over(*_capitals(text, stops)),
        "unpaired_quotes_share": _over(*_quotes(lines)),
        "class_divergence_bits": _divergence(counts.classes, rest),
        "known_words_share": _over(known, counts.words.total()),
        "compression_ratio": _over(len(zlib.compress(content, 9)), len(content)),
    }


def _over(a: float, b: float) -> float | None:
    """Return a / b; None where b is 0, because nothing was counted."""
    return a / b if b else None


def _capitals(text: str, stops: Sequence[re.Match[str]]) -> tuple[int, int]:
    """Return how many sentences begin with a capital, and how many with a letter that has case."""
    found = (_AFTER_STOP.match(text, stop.end()) for stop in stops)
    first = [match[1] for match in found if match and match[1].lower() != match[1].upper()]
    return sum(not char.islower() for char in first), len(first)


def _quotes(lines: Sequence[str]) -> tuple[int, int]:
    """Return how many quotation marks lack their partner in the paragraph, and how many there are.

    Apostrophes look like single quotation marks, so those are not counted.
    """
    total = unpaired = 0
    expected: list[str] = []
    for line in [*lines, ""]:
        for mark in _QUOTE.findall(line):
            total += 1
            if expected and mark == expected[-1]:
                expected.pop()
            elif mark in _PARTNER:
                expected.append(_PARTNER[mark])
            else:
                unpaired += 1
        if not line.strip():  # the paragraph ends
            unpaired += len(expected)
            expected.clear()
    return unpaired, total


def _divergence(a: Mapping[str, int], b: Mapping[str, int]) -> float | None:
    """Return the entropy of the mean of two distributions less the mean of their entropies."""
    if not sum(a.values()) or not sum(b.values()):
        return None
    names = sorted({*a, *b})
    p, q = (np.array([x.get(n, 0) for n in names]) / sum(x.values()) for x in (a, b))
    return _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2


def _entropy(p: npt.NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _of_tokens(ids: Ints) -> Values:
    """Measure how a text repeats its own tokens."""
    ids = np.unique(ids, return_inverse=True)[1]
    borders = np.flatnonzero(np.diff(ids, prepend=-1, append=-1))
    fours = _joined(_joined(ids, 1), 2)
    blocks = ids[: len(ids) // BLOCK_TOKENS * BLOCK_TOKENS].reshape(-1, BLOCK_TOKENS)
    pairs = blocks[:, :-1] * (len(ids) + 1) + blocks[:, 1:]
    return {
        "longest_run_tokens": float(np.diff(borders).max()) if len(ids) else None,
        "seq_rep_share": 1 - len(np.unique(fours)) / len(fours) if len(fours) > 1 else None,
        "distinct_tokens_share": _distinct(blocks),
        "distinct_pairs_share": _distinct(pairs),
    }


def _joined(ids: Ints, step: int) -> Ints:
    """Return a number for each pair of tokens that stand `step` apart: equal for equal pairs."""
    pairs = ids[:-step] * (len(ids) + 1) + ids[step:]
    numbers: Ints = np.unique(pairs, return_inverse=True)[1]
    return numbers


def _distinct(blocks: Ints) -> float | None:
    """Return the mean over rows of their different values, over BLOCK_TOKENS."""
    if not len(blocks):
        return None
    different = 1 + (np.diff(np.sort(blocks, axis=1), axis=1) > 0).sum(axis=1)
    return float(different.mean() / BLOCK_TOKENS)


def _beside(row: Values, slices: Sequence[Values]) -> tuple[Measured, ...]:
    """Return each measure of a text beside those of the slices, in the order of `MEASURES`."""
    return tuple(_measured(name, row[name], [part[name] for part in slices]) for name in MEASURES)


def _measured(name: str, value: float | None, slices: Sequence[float | None]) -> Measured:
    defined = np.array([other for other in slices if other is not None])
    n = len(defined)
    mean = float(defined.mean()) if n else None
    sd = z = below = above = usual = None
    if mean is not None and n >= LEAST_SLICES:
        sd = float(defined.std(ddof=1))
        spread = sd > ROUNDING * max(1.0, abs(mean))
        usual = float((np.abs(defined - mean) < USUAL_Z * sd).mean()) if spread else None
        if value is not None:
            z = (value - mean) / sd if spread else None
            below = float((defined < value - ROUNDING).mean())
            above = float((defined > value + ROUNDING).mean())
    return Measured(name, value, mean, sd, z, below, above, usual, n)
