"""Token files of other programs: what they hold is read, and what is wrong is said in one line."""

import hashlib
import os
import pickle

import numpy as np
import pytest

from gptcore.data.meta_pickle import read_meta
from gptcore.data.sources import load_source
from gptcore.data.token_files import read_token_file
from gptcore.data.vocabulary import Vocabulary
from tests.helpers.token_files import write_llmc, write_megatron, write_nanogpt

TEXT = "All the king's horses and all the king's men. " * 40
IDS = np.random.default_rng(0).integers(0, 50_257, 700)


def read(path, **options):
    return load_source(str(path), **options)


def test_nanogpt_folder_has_two_parts_and_the_vocabulary_of_its_meta(tmp_path):
    ids = write_nanogpt(tmp_path / "char", TEXT)
    (tmp_path / "char" / "input.txt").write_text(TEXT)
    source = read(tmp_path / "char")
    assert source.stream.ids[:].tolist() == ids.tolist()
    assert [(part.name, len(part.place)) for part in source.parts] == [
        ("train", 1656),
        ("val", 184),
    ]
    assert source.vocabulary.size == len(set(TEXT))
    assert source.vocabulary.decode(ids) == TEXT
    assert source.vocabulary.encode(TEXT).tolist() == ids.tolist()
    assert source.vocabulary.token_bytes(ids).sum() == len(TEXT)
    assert "input.txt" in source.warnings[0]


def test_parts_have_the_checksum_of_their_file(tmp_path):
    write_nanogpt(tmp_path, TEXT)
    train = read(tmp_path).part("train").as_dict(10)
    assert train["sha256"] == hashlib.sha256((tmp_path / "train.bin").read_bytes()).hexdigest()


def test_without_a_meta_the_largest_id_of_all_parts_gives_the_vocabulary(tmp_path):
    ids = write_nanogpt(tmp_path, TEXT, meta=False)
    assert read(tmp_path).vocabulary == Vocabulary(int(ids.max()) + 1)
    assert read(tmp_path, vocab_size=50).vocabulary == Vocabulary(50)
    with pytest.raises(ValueError, match=r"has ids up to \d+: they must lie in \[0, 5\)"):
        read(tmp_path, vocab_size=5)


def test_ids_of_50257_tokens_are_gpt2s(tmp_path):
    np.array([1, 2, 50_256], dtype=np.uint16).tofile(tmp_path / "x.bin")
    assert read(tmp_path / "x.bin").vocabulary.tokenizer == "gpt2"
    np.array([1, 2, 50_255], dtype=np.uint16).tofile(tmp_path / "x.bin")
    assert read(tmp_path / "x.bin").vocabulary.tokenizer is None
    assert read(tmp_path / "x.bin", vocab_size=50_257).vocabulary.tokenizer == "gpt2"


def test_llmc_files_of_both_kinds(tmp_path):
    write_llmc(tmp_path / "a.bin", IDS)
    source = read(tmp_path / "a.bin")
    assert source.vocabulary.tokenizer == "gpt2"
    assert source.stream.ids[:].tolist() == IDS.tolist()
    write_llmc(tmp_path / "b.bin", IDS + 70_000, magic=20240801, version=7, dtype="<u4")
    source = read(tmp_path / "b.bin")
    assert source.stream.ids[:].tolist() == (IDS + 70_000).tolist()
    assert source.vocabulary.tokenizer is None


def test_megatron_documents_are_borders(tmp_path):
    documents = [IDS[:300], IDS[300:300], IDS[300:310], IDS[310:700]]
    for code, dtype in ((8, "<u2"), (4, "<i4"), (5, "<i8")):
        write_megatron(tmp_path / "x", documents, code=code, dtype=dtype)
        for name in ("x.bin", "x.idx"):
            source = read(tmp_path / name)
            assert source.stream.ids[:].tolist() == IDS.tolist()
            assert source.starts.tolist() == [0, 300, 310]
            assert "1 document of x is empty" in source.warnings[0]
    assert [part.name for part in read(tmp_path).parts] == ["x"]
    assert len(load_source([str(tmp_path / "x.bin"), str(tmp_path / "x.idx")]).stream) == 700


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u4", "<i8", "<u8"])
def test_npy_of_any_integer_type(tmp_path, dtype):
    np.save(tmp_path / "x.npy", np.arange(100, dtype=dtype))
    source = read(tmp_path / "x.npy")
    assert source.stream.ids[:].tolist() == list(range(100))
    assert isinstance(source.stream.ids, np.memmap)


def test_shards_lie_one_behind_the_other_and_are_not_joined_in_memory(tmp_path):
    for i in (0, 1, 2):
        write_llmc(tmp_path / f"fineweb_train_{i:06}.bin", IDS[i * 100 : i * 100 + 100])
    write_llmc(tmp_path / "fineweb_val_000000.bin", IDS[300:350])
    source = read(tmp_path / "fineweb_*.bin")
    ids = source.stream.ids
    assert not isinstance(ids, np.ndarray)
    assert ids[95:205].tolist() == IDS[95:205].tolist()
    places = np.array([[0, 349], [100, 99]])
    assert ids[places].tolist() == IDS[places].tolist()
    assert source.starts.tolist() == [0, 100, 200, 300]
    assert [len(part.place) for part in source.parts] == [300, 50]
    assert read(tmp_path, join=True).starts.tolist() == [0, 300]


def _wrong(name, content, message):
    return pytest.param(name, content, message, id=message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        _wrong("a.bin", b"", "holds no token ids"),
        _wrong("a.bin", b"123", "3 bytes, an odd number"),
        _wrong("a.bin", pickle.dumps({"a": 1}), "a pickle, which is not opened"),
        _wrong("a.bin", b"PK\x03\x04" + bytes(100), "zip archive"),
        _wrong("a.bin", np.array([20240326, 3], "<i4").tobytes(), "the weights of a model"),
        _wrong("a.bin", np.array([20240520, 1, 0], "<i4").tobytes(), "in a header of 12 bytes"),
        _wrong("a.bin", np.array([20240520, 9], "<i4").tobytes() + bytes(2000), "with version 9"),
        _wrong("a.npy", b"", "is not a NumPy file"),
        _wrong("a.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'", "is not a NumPy file"),
        _wrong("a.pkl", pickle.dumps([1]), "is a pickle"),
        _wrong("a.pt", b"PK\x03\x04", "is a pickle"),
        _wrong("a.idx", b"MMIDIDX\0\0", "is not an index of Megatron"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [701, 699, 0, -1, 2**31 - 1])
def test_an_llmc_header_that_lies_is_refused(tmp_path, count):
    write_llmc(tmp_path / "a.bin", IDS, count=count)
    with pytest.raises(ValueError, match=r"a\.bin (has|holds)"):
        read(tmp_path / "a.bin")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), dtype=np.int64),
        np.zeros(3),
        np.zeros(3, dtype=bool),
        np.array(["x"], dtype=object),
        np.array([5, -1]),
        np.array([2**40]),
        np.array([2**63], dtype=np.uint64),
        np.zeros(0, dtype=np.uint16),
    ],
)
def test_arrays_that_are_no_ids_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy") as error:
        read(tmp_path / "a.npy")
    assert "\n" not in str(error.value)


def test_a_cut_npy_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", IDS)
    content = (tmp_path / "a.npy").read_bytes()
    for changed in (content[:-1], content + b"\0", content.replace(b"(700,)", b"(7e9,)")):
        (tmp_path / "a.npy").write_bytes(changed)
        with pytest.raises(ValueError, match=r"a\.npy"):
            read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "wrong",
    [
        {"lengths": [300, 401]},
        {"lengths": [300, -400]},
        {"lengths": [2**31 - 1, 1]},
        {"pointers": [0, 0]},
        {"pointers": [0, 2**62]},
        {"borders": [0, 1, 3]},
        {"borders": [0, 2, 1]},
        {"borders": [1, 1, 2]},
        {"counts": (2**62, 3)},
        {"counts": (2, 2**63)},
        {"counts": (1, 3)},
        {"version": 2},
        {"code": 6},
        {"code": 99},
    ],
)
def test_an_index_that_does_not_fit_its_bin_is_refused(tmp_path, wrong):
    write_megatron(tmp_path / "x", [IDS[:300], IDS[300:]], **wrong)
    with pytest.raises(ValueError, match=r"x\.(idx|bin) has") as error:
        read(tmp_path / "x.bin")
    assert "\n" not in str(error.value)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("ran",)


HUGE_MEMO = b"\x80\x02}r\xff\xff\xff\x7f."
BIG_STRING = b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x."
NESTED = b"\x80\x02" + b"(" * 10 + b"t" * 10 + b"."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps({"vocab_size": 3, "itos": {0: Evil()}}),
        pickle.dumps({"vocab_size": np.int64(3)}),
        b"cos\nsystem\n(S'mkdir ran'\ntR.",
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00",
        HUGE_MEMO,
        BIG_STRING,
        NESTED,
        b"",
        b"vocab_size = 3",
    ],
)
def test_a_pickle_that_is_no_plain_dictionary_is_never_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"meta\.pkl is not opened") as error:
        read_meta(tmp_path / "meta.pkl")
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(error.value)


def test_the_unpickler_itself_refuses_every_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptcore.data.meta_pickle._check_instructions", lambda _: None)
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"it refers to \w+\.mkdir"):
        read_meta(tmp_path / "meta.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ([1, 2], "has no vocabulary"),
        ({}, "has no vocabulary"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": "3"}, "vocab_size is '3'"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"vocab_size": 2**60}, "give a whole number of at most"),
        ({"vocab_size": 1, "itos": {0: "a", 1: "b"}}, "the vocabulary has 2 ids"),
        ({"itos": {0: "a", 2: "b"}}, "no text for the id 1"),
        ({"itos": {0: "a", 1: 5}}, "no text for the id 1"),
        ({"itos": {"0": "a"}}, "must give the text of each id"),
        ({"itos": {0: "\ud800"}}, "surrogate"),
    ],
)
def test_a_meta_without_a_vocabulary_is_refused(tmp_path, meta, message):
    content = pickle.dumps(meta, protocol=2)
    (tmp_path / "meta.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_meta(tmp_path / "meta.pkl")


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_a_plain_meta_is_read(tmp_path, protocol):
    meta = {"vocab_size": 4, "itos": {0: "a", 1: "ü"}, "stoi": {"a": 0, "ü": 1}}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta, protocol=protocol))
    assert read_meta(tmp_path / "meta.pkl") == Vocabulary(4, "meta.pkl", ("a", "ü"))


def test_special_files_are_refused_and_links_to_files_are_followed(tmp_path):
    write_nanogpt(tmp_path / "real", TEXT)
    (tmp_path / "link.bin").symlink_to(tmp_path / "real" / "train.bin")
    assert len(read(tmp_path / "link.bin").stream) == 1656
    (tmp_path / "broken.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there is no such file"):
        read(tmp_path / "broken.bin")
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(ValueError, match="is a pipe"):
        read_token_file(tmp_path / "pipe.bin")
    (tmp_path / "real" / "meta.pkl").unlink()
    os.mkfifo(tmp_path / "real" / "meta.pkl")
    with pytest.raises(ValueError, match="is a pipe"):
        read(tmp_path / "real")


def test_parts_of_different_vocabularies_are_refused(tmp_path):
    write_llmc(tmp_path / "train.bin", IDS)
    write_llmc(tmp_path / "val.bin", IDS, magic=20240801, version=7, dtype="<u4")
    with pytest.raises(ValueError, match="give files that one tokenizer wrote"):
        read(tmp_path)


def test_a_file_beside_two_parts_must_belong_to_one(tmp_path):
    write_nanogpt(tmp_path, TEXT)
    np.save(tmp_path / "more.npy", IDS)
    with pytest.raises(ValueError, match=r"more\.npy belongs to no part"):
        read(tmp_path)
