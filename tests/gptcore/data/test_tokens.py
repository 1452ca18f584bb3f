import subprocess
import sys

import numpy as np
import pytest

from gptcore.data.tokens import TokenStream, check_ids


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
        "from gptcore import audit, coverage, data, sampling, theory\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_mapped_stream_is_the_one_saved_in_the_smallest_type(tmp_path, vocab_size, dtype):
    ids = np.array([0, 5, vocab_size - 1, 7])
    TokenStream(ids, vocab_size).save(tmp_path / "ids.npy")
    mapped = TokenStream.open(tmp_path / "ids.npy", vocab_size)
    assert isinstance(mapped.ids, np.memmap)
    assert mapped.ids.dtype == dtype
    assert mapped.ids.tolist() == ids.tolist()


def test_mapped_stream_with_an_id_outside_the_vocabulary_is_refused(tmp_path):
    TokenStream(np.array([0, 9]), 10).save(tmp_path / "ids.npy")
    with pytest.raises(ValueError, match="0 to 9: they must lie in"):
        TokenStream.open(tmp_path / "ids.npy", 9)


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x80\x04K\x01."])
def test_file_that_holds_no_tokens_is_refused(tmp_path, content):
    path = tmp_path / "ids.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot open tokens|no such file"):
        TokenStream.open(path, 10)


@pytest.mark.parametrize(
    "array",
    [np.array([0.5]), np.array([1, 2]), np.zeros((2, 2), np.uint16), np.array(1, np.uint16)],
)
def test_array_of_another_kind_is_refused(tmp_path, array):
    np.save(tmp_path / "ids.npy", array)
    with pytest.raises(ValueError, match=r"tokens|token ids"):
        TokenStream.open(tmp_path / "ids.npy", 10)
