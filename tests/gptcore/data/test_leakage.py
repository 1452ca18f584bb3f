import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data.leakage import _Ngrams, certificate
from gptcore.data.splits import Segment, Split, WindowSplit, make_split, random_windows
from tests.helpers.strategies import repeatable


def brute_force(ids, split, block_size, ngram):
    """Count with sets what `certificate` counts with arrays."""

    def pieces(part):
        if isinstance(part, tuple):
            return [range(segment.start, segment.stop) for segment in part]
        return [range(start, start + block_size + 1) for start in part.tolist()]

    def shown(part):
        return {i for piece in pieces(part) for i in piece}

    def grams(part):
        places = shown(part)
        starts = [i for i in places if all(i + d in places for d in range(ngram))]
        return {tuple(ids[i : i + ngram].tolist()) for i in starts}

    train_targets = {i for piece in pieces(split.train) for i in piece[1:]}
    test_targets = [i for piece in pieces(split.test) for i in piece[1:]]
    return {
        "shared_tokens": len(shown(split.train) & shown(split.test)),
        "shared_targets": len(train_targets & set(test_targets)),
        "fraction_of_test_targets_trained": sum(i in train_targets for i in test_targets)
        / len(test_targets),
        "shared_ngrams": len(grams(split.train) & grams(split.test)),
        "n_test_ngrams": len(grams(split.test)),
        "n_test_tokens": len(shown(split.test)),
        "n_test_targets": len(test_targets),
    }


@repeatable
@given(
    n_tokens=st.integers(40, 90),
    n_types=st.integers(1, 4),
    ngram=st.integers(1, 15),
    split=st.sampled_from(["tail", "middle", "interleaved:3", 1, 2, 5]),
    seed=st.integers(0, 99),
)
def test_certificate_counts_what_sets_count(n_tokens, n_types, ngram, split, seed):
    ids = np.random.default_rng(seed).integers(0, n_types, n_tokens)
    if isinstance(split, str):
        parts = make_split(split, n_tokens, 0.6, embargo=1, block_size=3)
    else:
        parts = random_windows(n_tokens, 0.6, block_size=3, stride=split, seed=seed)
    leakage = certificate(ids, parts, block_size=3, ngram=ngram)
    expected = brute_force(ids, parts, 3, ngram)
    assert {name: getattr(leakage, name) for name in expected} == expected


def test_random_windows_train_on_999_of_1000_test_targets():
    # A target lies in T / S = 4 windows; scored in one of them, it was trained on unless the other
    # 3 are all for testing, which is 0.1 ** 3. Over 40,000 targets the share has sd 0.0003.
    n_tokens = 100_000
    split = random_windows(n_tokens, 0.9, block_size=8, stride=2, seed=0)
    leakage = certificate(np.arange(n_tokens), split, block_size=8)
    assert leakage.fraction_of_test_targets_trained == pytest.approx(0.999, abs=0.001)
    assert leakage.shared_targets > 0.99 * leakage.n_test_tokens * 8 / 9


@pytest.mark.parametrize("spec", ["tail", "head", "middle", "block:2/5", "interleaved:4"])
def test_a_split_of_tokens_shares_no_position(spec):
    ids = np.arange(2_000)
    leakage = certificate(ids, make_split(spec, 2_000, block_size=16), block_size=16)
    assert (leakage.shared_tokens, leakage.shared_targets, leakage.shared_ngrams) == (0, 0, 0)
    assert leakage.fraction_of_test_targets_trained == 0


def test_overlap_of_segments_is_measured_and_not_assumed_away():
    split = Split((Segment(0, 60),), (Segment(50, 100),))
    leakage = certificate(np.arange(100), split, block_size=4)
    assert (leakage.shared_tokens, leakage.shared_targets) == (10, 9)
    assert leakage.fraction_of_test_targets_trained == 9 / 49


def test_a_passage_that_stands_in_both_parts_is_found():
    ids = np.arange(1_000)
    ids[950:965] = ids[100:115]  # 15 tokens: three 13-grams
    leakage = certificate(ids, make_split("tail", 1_000, block_size=8), block_size=8).as_dict()
    assert leakage["shared_13grams"] == 3
    assert leakage["n_test_13grams"] == 88
    assert leakage["shared_13grams_share"] == 3 / 88
    assert leakage["shared_tokens"] == 0


def test_a_test_part_shorter_than_an_ngram_has_no_share():
    split = make_split("tail", 100, block_size=8)
    leakage = certificate(np.zeros(100, dtype=np.int64), split, block_size=8)
    assert (leakage.n_test_ngrams, leakage.shared_ngrams, leakage.shared_ngrams_share) == (
        0,
        0,
        None,
    )
    long = certificate(np.arange(100), split, block_size=8, ngram=1_000)
    assert (long.n_test_ngrams, long.shared_ngrams_share) == (0, None)


def test_names_hold_the_length_of_the_ngrams():
    split = make_split("tail", 100, block_size=8)
    leakage = certificate(np.arange(100), split, block_size=8, ngram=5).as_dict()
    assert {"shared_5grams", "shared_5grams_share", "n_test_5grams"} < set(leakage)


def test_ids_of_any_size_are_told_apart():
    ids = np.arange(100, dtype=np.int64) + 2**61
    ids[10:12], ids[70:72], ids[20] = (0, 7), (4, 7), 2**62 - 1  # 4 * 2**62 is 0 in 64 bits
    split = make_split("tail", 100, 0.5, block_size=8)
    leakage = certificate(ids, split, block_size=8, ngram=2)
    assert (leakage.shared_ngrams, leakage.n_test_ngrams) == (0, 49)


def test_rounds_chunks_and_equal_hashes_change_no_count(monkeypatch):
    ids = np.random.default_rng(0).integers(0, 3, 900).astype(np.uint16)
    split = make_split("middle", 900, 0.4, block_size=8)
    whole = certificate(ids, split, block_size=8, ngram=5)
    hashed = _Ngrams._hash

    def collide(ngrams, ids):  # until the third try
        return hashed(ngrams, ids) % np.uint64(5 if ngrams.seed < 2 else 2**63)

    monkeypatch.setattr("gptcore.data.leakage.AT_ONCE", 70)
    monkeypatch.setattr("gptcore.data.leakage.MOST_NGRAMS", 100)
    monkeypatch.setattr(_Ngrams, "_hash", collide)
    assert certificate(ids, split, block_size=8, ngram=5) == whole
    same = certificate(np.zeros_like(ids), split, block_size=8, ngram=5)  # leaves rounds empty
    assert (same.shared_ngrams, same.n_test_ngrams) == (1, 1)


@pytest.mark.parametrize(
    ("split", "change", "complaint"),
    [
        (Split((Segment(0, 50),), (Segment(60, 101),)), {}, "the text has 100 tokens"),
        (Split((Segment(0, 50),), (Segment(60, 68),)), {}, "a window needs 9"),
        (WindowSplit(np.array([0]), np.array([92])), {}, "tokens 92 to 100"),
        (WindowSplit(np.array([-1]), np.array([9])), {}, "tokens -1 to 7"),
        (
            WindowSplit(np.array([0]), np.array([], dtype=np.int64)),
            {},
            "part .* is empty",
        ),
        (Split((), (Segment(0, 50),)), {}, "part .* is empty"),
        (make_split("tail", 100, block_size=8), {"block_size": 0}, "block_size is 0"),
        (make_split("tail", 100, block_size=8), {"ngram": 0}, "ngram is 0"),
        (make_split("tail", 100, block_size=8), {"ids": [0.5] * 100}, "float64"),
    ],
)
def test_a_split_of_another_text_is_refused(split, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        certificate(**{"ids": np.arange(100), "split": split, "block_size": 8} | change)


def test_a_million_tokens_take_seconds():
    ids = np.random.default_rng(0).integers(0, 50_257, 1_000_000)
    split = make_split("tail", len(ids), block_size=256)
    start = time.perf_counter()
    certificate(ids, split, block_size=256)
    assert time.perf_counter() - start < 10  # 0.9 s when nothing else runs


def test_segments_that_windows_join_may_be_short_and_begin_with_a_target():
    split = Split((Segment(0, 4), Segment(4, 20)), (Segment(3, 12),))
    found = certificate(range(20), split, block_size=6, joins=True)
    assert found.shared_targets == 8  # tokens 4 to 11
    with pytest.raises(ValueError, match="in pieces of at least 4"):
        certificate(range(20), split, block_size=6)
