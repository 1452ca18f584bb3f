"""Each measure against worked examples and slow references, and on texts made to break it."""

import itertools
import math
import re
import zlib
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.data.tokenizer import decode, encode
from gptcore.evaluation.text_form import (
    LEAST_SLICES,
    MEASURES,
    MOST_SLICES,
    compare_form,
    sample_bigrams,
    sample_unigrams,
    slice_starts,
)
from gptcore.evaluation.text_form_copies import longest_copies


def prose(n_sentences, seed=0):
    """Return made-up prose: common and rare words, names, quotations, lines of 70 characters."""
    rng = np.random.default_rng(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choice(list(letters), rng.integers(2, 9))) for _ in range(1500)]
    share = 1 / np.arange(1, 1501)
    paragraphs = []
    for _ in range(n_sentences // 5):
        sentences = []
        for _ in range(5):
            chosen = [*rng.choice(words, rng.integers(6, 15), p=share / share.sum())]
            chosen[rng.integers(1, 5)] += ","
            sentence = " ".join(chosen).capitalize() + rng.choice([".", ".", ".", "!"])
            sentences.append(f'"{sentence}"' if rng.random() < 0.3 else sentence)
        paragraphs.append(re.sub(r"(.{50,70}) ", r"\1\n", " ".join(sentences)))
    return "\n\n".join(paragraphs)


IDS = encode(prose(800), np.uint16)
OWN = (9000, 9500)
INTACT = decode(IDS[slice(*OWN)])
ELSEWHERE = decode(IDS[3000:3060])


@cache
def measure(text, own=OWN):
    """Return each measure of a text that was made of the tokens `own` of the prose."""
    (found,) = compare_form([encode(text)], IDS, decode, own=own)
    return {measured.name: measured for measured in found}


def values(text, reference="nothing"):
    (found,) = compare_form([encode(text)], encode(reference), decode)
    return {measured.name: measured.value for measured in found}


def fewer_stops(text):
    return re.sub(r'([.!]"?)(\s+"?\w)', lambda m: "," + m[2].lower(), text)


BREAKS = {
    "line_break_share": lambda text: text.replace("\n", " "),
    "chars_per_line": lambda text: text.replace(" ", "\n"),
    "punctuation_share": lambda text: re.sub(r"(\w) ", r"\1; ", text),
    "words_per_sentence": lambda text: fewer_stops(text[:-200]) + text[-200:],
    "capital_after_stop_share": str.lower,
    "unpaired_quotes_share": lambda text: text.replace('"', "”"),
    "class_divergence_bits": str.upper,
    "known_words_share": lambda text: re.sub(r"[a-z]{3,}", lambda m: m[0][::-1], text),
    "compression_ratio": lambda text: text[:200] * (len(text) // 200),
    "longest_run_tokens": lambda text: text[:-60] + " the" * 30,
    "seq_rep_share": lambda text: text[: len(text) // 2] * 2,
    "distinct_tokens_share": lambda text: " to be" * (len(text) // 6),
    "distinct_pairs_share": lambda text: " to be or not" * (len(text) // 13),
    "longest_copy_tokens": lambda text: text[:1000] + ELSEWHERE + text[1200:],
}


def test_the_intact_slice_is_usual_in_every_measure():
    found = measure(INTACT)
    assert list(found) == list(MEASURES) == list(BREAKS)
    assert all(abs(measured.z) < 3 for measured in found.values() if measured.z is not None)
    assert sum(measured.z is None for measured in found.values()) <= 2  # all slices are equal


@pytest.mark.parametrize("name", MEASURES)
def test_a_text_that_breaks_a_measure_is_far_from_all_slices(name):
    broken, intact = measure(BREAKS[name](INTACT))[name], measure(INTACT)[name]
    assert broken.value != intact.value
    if broken.z is not None:
        assert abs(broken.z) > 3
    assert max(broken.share_below, broken.share_above) == 1 or name == "words_per_sentence"


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("line_break_share", "known_words_share"),
        ("capital_after_stop_share", "words_per_sentence"),
        ("unpaired_quotes_share", "known_words_share"),
        ("known_words_share", "line_break_share"),
        ("longest_copy_tokens", "capital_after_stop_share"),
    ],
)
def test_a_broken_measure_leaves_an_unrelated_one_as_it_was(name, same):
    found = measure(BREAKS[name](INTACT))[same]
    assert found.z is None or abs(found.z) < 3


WORKED = (
    'He said, "Come in." Then\nhe left; it was late!\n\nwhy? Nobody “knows. In 1726, 3.14 was pi.\n'
)


def test_measures_of_a_text_by_hand():
    found = values(WORKED, reference="come in then nobody was 5")
    assert found["line_break_share"] == 4 / len(WORKED)
    assert found["chars_per_line"] == (24 + 21 + 41) / 3
    # , " . " ; ! ? “ . , . . are punctuation
    assert found["punctuation_share"] == 12 / len("".join(WORKED.split()))
    # in." late! why? knows. pi.: of 16 words all stand before the last end
    assert found["words_per_sentence"] == 16 / 5
    assert found["capital_after_stop_share"] == 3 / 4  # Then, why, Nobody, In
    assert found["unpaired_quotes_share"] == 1 / 3
    assert found["known_words_share"] == 7 / 16  # Come in Then was Nobody In was
    content = WORKED.encode()
    assert found["compression_ratio"] == len(zlib.compress(content, 9)) / len(content)


def test_divergence_of_character_classes_by_hand():
    """Half letters and half digits against letters alone: the mean has 3/4 and 1/4."""
    found = values("a1", reference="b")["class_divergence_bits"]
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found == pytest.approx(entropy - 0.5)


def test_crlf_counts_lines_as_lf_does():
    names = ("line_break_share", "chars_per_line", "class_divergence_bits", "unpaired_quotes_share")
    lf, crlf = (values(end.join(WORKED.split("\n")), WORKED) for end in ("\n", "\r\n"))
    assert crlf["line_break_share"] == 4 / (len(WORKED) + 4)
    assert [crlf[name] for name in names[1:]] == [lf[name] for name in names[1:]]
    assert values("a\r\rb\n\r\nc")["line_break_share"] == 4 / 8


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ('"a" b', 0), ('"a', 1), ("„a“ «b»", 0), ("”a“", 1), ("“a «b» c”", 0),
        ("“a\n\n“b”", 1 / 3), ('"a\nb"', 0), ("it's", None), ("「は」", 0),
    ],
)  # fmt: skip
def test_quotation_marks_are_paired_within_a_paragraph(text, share):
    assert values(text)["unpaired_quotes_share"] == share


tokens = st.lists(st.integers(0, 3), max_size=120)


@given(tokens)
@settings(max_examples=60, deadline=None)
def test_repeats_equal_a_slow_reference(ids):
    (found,) = compare_form([np.array(ids, dtype=int)], np.array([9]), lambda _: "")
    value = {measured.name: measured.value for measured in found}
    runs = "".join(map(str, ids))
    longest = max((len(m[0]) for m in re.finditer(r"(.)\1*", runs)), default=None)
    assert value["longest_run_tokens"] == longest
    fours = [tuple(ids[i : i + 4]) for i in range(len(ids) - 3)]
    expected = 1 - len(set(fours)) / len(fours) if len(fours) > 1 else None
    assert value["seq_rep_share"] == expected
    blocks = [ids[i : i + 50] for i in range(0, len(ids) - 49, 50)]
    for name, n in (("distinct_tokens_share", 1), ("distinct_pairs_share", 2)):
        shares = [len({*zip(*(b[i:] for i in range(n)), strict=False)}) / 50 for b in blocks]
        assert value[name] == (pytest.approx(np.mean(shares)) if shares else None)


def slow_copy(ids, piece, spans):
    """Return the longest copy by trying all pairs of places."""
    hidden = {place for span in spans for place in range(*span)}
    best = 0
    for here in range(*piece):
        for there in set(range(len(ids))) - hidden:
            n = 0
            while here + n < piece[1] and there + n < len(ids) and ids[here + n] == ids[there + n]:
                n += 1
            best = max(best, n)
    return best


@given(st.lists(st.integers(0, 2), min_size=2, max_size=40), st.data())
@settings(max_examples=100, deadline=None)
def test_longest_copy_equals_a_slow_reference(ids, data):
    start = data.draw(st.integers(0, len(ids) - 1))
    stop = data.draw(st.integers(start + 1, len(ids)))
    spans = [(max(0, 2 * start - stop), stop)]
    assert longest_copies(np.array(ids), [((start, stop), spans)]) == [
        slow_copy(ids, (start, stop), spans)
    ]


def test_copy_of_a_slice_is_searched_for_outside_of_it():
    """The reference says one sentence twice; each other slice has no copy of its own."""
    ids = np.arange(1000)
    ids[700:720] = ids[100:120]
    (text,) = compare_form([np.arange(100, 130)], ids, lambda _: "x")
    copy = text[-1]
    assert (copy.name, copy.value, copy.n_slices) == ("longest_copy_tokens", 30, 33)
    assert copy.mean == pytest.approx(2 * 20 / 33, rel=0.6)  # both places are cut by slices
    (own,) = compare_form([np.arange(100, 130)], ids, lambda _: "x", own=(100, 130))
    assert own[-1].value == 20
    (new,) = compare_form([np.arange(2000, 2030)], ids, lambda _: "x")
    assert new[-1].value == 0


def test_ranks_of_many_tokens_do_not_run_over():
    ids = np.arange(140_000)
    ids[100_000:100_020] = ids[5:25]
    ids[120_000:120_020] = ids[5:25] + 2**16
    piece = (100_000, 100_020)
    assert longest_copies(ids, [(piece, [piece])]) == [20]


def test_a_slice_is_compared_with_the_classes_of_the_rest():
    """Two digits and 28 letters in slices of two: the digits differ from the rest wholly."""
    ids = np.array([1, 1] + [0] * 28)
    (found,) = compare_form([ids[2:4]], ids, lambda part: "".join("a1"[i] for i in part))
    entropy = lambda p: -(p * math.log2(p) + (1 - p) * math.log2(1 - p))  # noqa: E731
    letters = entropy(1 / 28) - entropy(2 / 28) / 2  # against 26 letters and two digits
    divergence = {measured.name: measured for measured in found}["class_divergence_bits"]
    assert divergence.mean == pytest.approx((1 + 14 * letters) / 15)


def test_slices_do_not_overlap_and_span_the_reference():
    for n_reference, n in ((1000, 7), (1000, 99), (1000, 100), (30, 30), (12345, 100)):
        starts = slice_starts(n_reference, n)
        assert len(starts) == min(MOST_SLICES, n_reference // n)
        assert all(b - a >= n for a, b in itertools.pairwise(starts))
        assert starts[0] == 0
        assert starts[-1] == n_reference - n or len(starts) == 1
    assert slice_starts(5, 6) == slice_starts(5, 0) == []


def test_own_place_is_left_out_of_the_slices():
    counts = {own: measure(INTACT, own)["chars_per_line"].n_slices for own in (None, OWN)}
    assert counts[None] == len(IDS) // len(encode(INTACT))
    assert counts[OWN] in (counts[None] - 1, counts[None] - 2)


def test_z_shares_and_mean_are_those_of_the_slices():
    text = BREAKS["known_words_share"](INTACT)
    found = measure(text, own=None)["punctuation_share"]
    n = len(encode(text))
    slices = [decode(IDS[s : s + n]) for s in slice_starts(len(IDS), n)]
    expected = np.array([len(re.findall(r'[",.!]', t)) / len("".join(t.split())) for t in slices])
    assert found.mean == pytest.approx(expected.mean())
    assert found.z == pytest.approx((found.value - expected.mean()) / expected.std(ddof=1))
    assert found.share_below == (expected < found.value - 1e-9).mean()
    assert found.share_above == (expected > found.value + 1e-9).mean()
    near = np.abs(expected - expected.mean()) < 2 * expected.std(ddof=1)
    assert found.usual_share == near.mean()


def test_few_slices_and_slices_that_do_not_differ_have_no_z():
    few = measure(decode(IDS[: len(IDS) // (LEAST_SLICES - 1)]), own=None)
    assert all(found.z is None and found.value is not None for found in few.values())
    alike = np.full(4000, encode(" ab")[0])
    (found,) = compare_form([alike[:60]], alike, decode)
    assert all(measured.z is None for measured in found)
    assert (found[-1].value, found[-1].share_below, found[-1].share_above) == (60, 0, 0)


def test_a_word_of_a_slice_is_known_only_from_elsewhere():
    """Every word of the reference is there once, so no slice has a known word."""
    words = " ".join(f"w{chr(97 + i // 26)}{chr(97 + i % 26)}x" for i in range(300))
    ids = encode(words)
    (found,) = compare_form([ids[:40]], ids, decode)
    known = {measured.name: measured for measured in found}["known_words_share"]
    assert known.mean < 0.1 < 0.9 < known.value


def test_controls_have_the_frequencies_that_they_are_drawn_from():
    reference = np.array([0, 1, 2, 0, 1, 1, 3] * 50)
    once, twice = (sample_bigrams(reference, 400, seed=3) for _ in range(2))
    assert np.array_equal(once, twice)
    pairs = {*zip(reference, np.roll(reference, -1), strict=True)}
    assert {*itertools.pairwise(once)} <= pairs
    drawn = sample_unigrams(reference, 4000, seed=0)
    for token in np.unique(reference):
        share = (reference == token).mean()
        assert (drawn == token).mean() == pytest.approx(share, abs=4 * math.sqrt(share / 4000))


HOSTILE = {
    "empty": "",
    "one space": " ",
    "newlines alone": "\n" * 3000,
    "CRLF alone": "\r\n" * 3000,
    "full stops": "." * 50_000 + "a",
    "stops and quotes": '."' * 20_000,
    "quotes": "“" * 5_000,
    "blank lines of blanks": "\n \n" * 3_000 + " " * 10_000,
    "one line": "a" * 200_000,
    "apostrophes": "a'" * 10_000,
    "right to left": "مرحبا بالعالم. كيف حالك؟ أنا بخير! " * 60,
    "no spaces": "你好。世界\uff01" * 100,
    "control characters": "".join(map(chr, range(1, 0x20))) * 30 + "\u202e\ufeff\ufffd",
    "emoji": "👩‍👩‍👧‍👦🇩🇪" * 200,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_measured_or_undefined(name):
    found = measure(HOSTILE[name], own=None)
    numbers = [x for m in found.values() for x in (m.value, m.z) if x is not None]
    assert all(math.isfinite(x) for x in numbers)
    shares = [m.value for n, m in found.items() if n.endswith("_share") and m.value is not None]
    assert all(0 <= share <= 1 for share in shares)


def test_undefined_is_none_and_never_zero():
    found = values("")
    assert set(found.values()) == {None}
    found = values("no full stop and no mark")
    undefined = [name for name, value in found.items() if value is None]
    assert undefined == [
        "words_per_sentence", "capital_after_stop_share", "unpaired_quotes_share",
        "distinct_tokens_share", "distinct_pairs_share",
    ]  # fmt: skip
    arabic = values(HOSTILE["right to left"])
    assert arabic["capital_after_stop_share"] is None  # the letters have no case
    assert arabic["words_per_sentence"] == pytest.approx(2)


def test_a_lone_surrogate_of_the_decoder_is_no_fault():
    (found,) = compare_form([np.arange(5)], np.arange(50), lambda ids: "a\ud800b." * len(ids))
    assert found[0].value == 0


def test_texts_of_several_lengths_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 3\] tokens: give texts of one length"):
        compare_form([np.arange(2), np.arange(3)], np.arange(9), decode)


def test_search_for_copies_tells_its_rounds():
    told = []
    compare_form([IDS[:64]], IDS, decode, on_round=lambda *round: told.append(round))
    assert told[-1] == (6, 6)
    assert told == sorted(told)


def test_several_texts_at_once_are_measured_as_one_by_one():
    texts = [encode(INTACT)[:500], sample_unigrams(IDS, 500, seed=1)]
    alone = partial(compare_form, reference=IDS, decode=decode)
    assert alone(texts) == [alone([text])[0] for text in texts]
