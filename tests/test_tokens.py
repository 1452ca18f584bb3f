import subprocess
import sys

import numpy as np
import pytest

from gptcore.tokens import TokenStream, check_ids, check_whole


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.uint64])
def test_ids_become_contiguous_int64(dtype):
    ids = check_ids(np.array([[1, 2], [3, 4]], dtype=dtype)[:, 0], 5)
    assert ids.dtype == np.int64
    assert ids.flags.c_contiguous
    assert ids.tolist() == [1, 3]


def test_ids_above_65535_do_not_wrap():
    assert check_ids([65_536, 2**40], 2**41).tolist() == [65_536, 2**40]


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
        (["1"], "<U1"),
        ([-1, 3], "from -1 to 3"),
        ([10], "from 10 to 10"),
        (np.array([2**63], dtype=np.uint64), "9223372036854775808"),
        ([[1, 2]], r"shape \(1, 2\)"),
        (3, r"shape \(\)"),
        ([], "not empty"),
    ],
)
def test_bad_ids_are_refused(ids, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        check_ids(ids, 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0, -3, True, np.True_, 2.0, "2", None])
def test_only_whole_positive_numbers_count(value):
    with pytest.raises(ValueError, match=r"steps is .* at least 1"):
        check_whole("steps", value)


def test_a_numpy_integer_is_whole():
    assert check_whole("steps", np.int32(7)) == 7
    assert type(check_whole("steps", np.int32(7))) is int


def test_a_text_becomes_its_gpt2_tokens():
    stream = TokenStream.from_text("Hello world é")
    assert stream.ids[:2].tolist() == [15496, 995]
    assert (len(stream), stream.vocab_size, stream.n_bytes) == (len(stream.ids), 50257, 14)


def test_a_compact_stream_keeps_the_text():
    stream = TokenStream.from_text("the cat and the dog and the cat")
    compact, vocabulary = stream.compact()
    assert (compact.vocab_size, compact.n_bytes) == (vocabulary.size, stream.n_bytes)
    assert compact.ids.max() == vocabulary.size - 1
    np.testing.assert_array_equal(vocabulary.decode(compact.ids), stream.ids)


@pytest.mark.parametrize(
    "arguments", [([], 5, 1), ([5], 5, 1), ([1], 0, 1), ([1], 5, 0), ([1], 5, 2.5)]
)
def test_a_bad_stream_is_refused(arguments):
    with pytest.raises(ValueError, match=r"give|must"):
        TokenStream(*arguments)


def test_an_empty_text_is_refused():
    with pytest.raises(ValueError, match="not empty"):
        TokenStream.from_text("")


def test_the_data_side_does_not_import_torch():
    code = (
        "import sys\n"
        "from gptcore import corpora, coverage, samplers, splits, theory, tokenizer, tokens\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
