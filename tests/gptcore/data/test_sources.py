"""Tables, folders and parts in separate files as one stream with borders."""

import gzip
import json

import numpy as np
import pytest

from gptcore.data.chain import Chain
from gptcore.data.finding_files import part_of
from gptcore.data.leakage import certificate, default_ngram
from gptcore.data.position_bias import measure_bias
from gptcore.data.sources import load_source
from gptcore.data.splits import Segment
from gptcore.data.tokenizer import encode
from gptcore.data.vocabulary import Vocabulary
from gptcore.sampling.base import tell_segments
from gptcore.sampling.batches import gather
from tests.helpers.token_files import write_llmc, write_nanogpt

DOCUMENTS = ["One ring to rule them all. " * 9, "short", "", "And in the darkness bind them. " * 9]
IDS = [encode(text).tolist() for text in DOCUMENTS]
EVERY = [i for ids in IDS for i in ids]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in DOCUMENTS))
    return path


def test_json_lines_are_documents_and_not_text(table):
    source = load_source(str(table))
    assert source.stream.ids.tolist() == EVERY
    assert source.starts.tolist() == [0, len(IDS[0]), len(IDS[0]) + len(IDS[1])]
    assert source.stream.n_bytes == sum(map(len, DOCUMENTS))
    assert source.parts[0].as_dict(50_257)["documents"] == 3
    assert source.warnings == ("1 document of docs is empty and left out.",)


def test_compressed_json_lines_and_another_field(tmp_path):
    lines = "".join(json.dumps({"content": text}) + "\n" for text in DOCUMENTS)
    (tmp_path / "docs.jsonl.gz").write_bytes(gzip.compress(lines.encode("utf-16")))
    source = load_source(str(tmp_path / "docs.jsonl.gz"), field="content")
    assert source.name == "docs"
    assert len(source.stream) == len(EVERY)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_parquet_and_arrow_hold_what_json_lines_hold(tmp_path, table, kind):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = pa.table({"text": DOCUMENTS, "n": [1, 2, 3, 4]})
    path = tmp_path / ("docs.parquet" if kind == "parquet" else "docs.arrow")
    if kind == "parquet":
        parquet.write_table(columns, path)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(str(path), columns.schema) as writer:
            writer.write_table(columns)
    source, other = load_source(str(path)), load_source(str(table))
    assert source.stream.ids.tolist() == other.stream.ids.tolist()
    assert source.starts.tolist() == other.starts.tolist()
    for field, message in (("none", "its columns are 'text', 'n'"), ("n", "is int64: give one of")):
        with pytest.raises(ValueError, match=message):
            load_source(str(path), field=field)
    path.write_bytes(path.read_bytes()[:-9] if kind == "parquet" else b"ARROW1" + bytes(50))
    with pytest.raises(ValueError, match="cannot be read by pyarrow") as error:
        load_source(str(path))
    assert "\n" not in str(error.value)


def test_without_pyarrow_one_line_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"pip install 'gptcore\[parquet\]', or write"):
        load_source(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"n": 1}\n', r"line 1 has no 'text': it has 'n'; name the text with --field"),
        ('{"text": "a"}\n{"text": null}\n', "line 2: 'text' is NoneType"),
        ('{"text": ["a"]}\n', "line 1: 'text' is list"),
        ('"a"\n', "line 1 is no JSON object"),
        ('{"text": "a"\n', "line 1 is not JSON"),
        ('{"text": "\\ud800"}\n', "document 1: text has a lone surrogate"),
        ('{"text": ""}\n', "holds no document"),
        ("", "holds no document"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b'{"text": "\xe4"}', "is not UTF-8"),
        (b'{"text": "\0"}', "NUL"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_source(str(tmp_path / "x.jsonl"))
    assert "\n" not in str(error.value)


def test_a_folder_of_texts_is_sorted_and_each_text_is_a_segment(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, text in (("b.txt", DOCUMENTS[3]), ("a.txt", DOCUMENTS[0]), (".hidden", "no")):
        (tmp_path / name).write_text(text)
    (tmp_path / "sub" / "c.txt").write_text(DOCUMENTS[1])
    source = load_source(str(tmp_path))
    assert source.stream.ids.tolist() == IDS[0] + IDS[3] + IDS[1]
    assert [part.name for part in source.parts] == ["a", "b", "c"]
    assert len(source.starts) == 3
    assert load_source(str(tmp_path), join=True).starts.tolist() == [0]
    several = load_source([str(tmp_path / "b.txt"), str(tmp_path / "a.txt")])
    assert several.stream.ids.tolist() == IDS[0] + IDS[3]
    assert load_source(str(tmp_path / "*.txt")).stream.ids.tolist() == IDS[0] + IDS[3]
    with pytest.raises(ValueError, match="has no files"):
        load_source(str(tmp_path / "*.md"))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.bin", "train"),
        ("fineweb_val_000001.bin", "val"),
        ("tiny_shakespeare_train.bin", "train"),
        ("validation-00000-of-00001.parquet", "val"),
        ("test/a.txt", "test"),
        ("retrained.bin", None),
        ("a_test_of_time.txt", None),
    ],
)
def test_names_tell_parts(tmp_path, name, part):
    assert part_of(tmp_path / name, tmp_path) == part


def test_parts_in_files_are_the_split(tmp_path):
    write_nanogpt(tmp_path, DOCUMENTS[0] * 4)
    source = load_source(str(tmp_path))
    split, warnings = source.split("tail", 0.9, embargo=0, block_size=16)
    n, n_train = len(source.stream), int(0.9 * len(source.stream))
    assert split.train == (Segment(0, n_train),)
    assert split.test == (Segment(n_train, n),)
    assert warnings == []
    with pytest.raises(ValueError, match="leave out --split"):
        source.split("head", 0.9, embargo=0, block_size=16)
    with pytest.raises(ValueError, match=r"the test part has 98 tokens .* window needs 201"):
        source.split("tail", 0.9, embargo=0, block_size=200)


def test_the_test_file_comes_before_the_validation_file_as_the_test_part(tmp_path):
    for name in ("train", "val", "test"):
        np.save(tmp_path / f"{name}.npy", np.arange(100) % 9)
    source = load_source(str(tmp_path))
    assert source.split("tail", 0.9, embargo=0, block_size=8)[0].test == (Segment(200, 300),)
    assert source.part("val").place == Segment(100, 200)
    with pytest.raises(ValueError, match="has no part 'dev': it has train, val, test"):
        source.part("dev")


def test_documents_shorter_than_a_window_are_left_out_and_told(table):
    source = load_source(str(table))
    split, warnings = source.split("block:2/2", 0.9, embargo=0, block_size=8)
    assert all(len(part) > 8 for part in (*split.train, *split.test))
    assert "documents of the test part have less than the 9 tokens" in warnings[0]
    joined, warnings = load_source(str(table), join=True).split(
        "block:2/2", 0.9, embargo=0, block_size=8
    )
    assert (len(joined.train), len(joined.test), warnings) == (1, 1, [])


def test_a_chain_counts_and_draws_as_an_array(tmp_path):
    ids = np.random.default_rng(0).integers(0, 9, 300)
    for i in range(3):
        write_llmc(tmp_path / f"{i}.bin", ids[100 * i : 100 * i + 100])
    source = load_source(str(tmp_path), join=True)
    chain = source.stream.ids
    assert isinstance(chain, Chain)
    split = source.split("tail", 0.9, embargo=0, block_size=8)[0]
    assert certificate(chain, split, block_size=8, ngram=3) == certificate(
        ids, split, block_size=8, ngram=3
    )
    for mine, theirs in zip(
        gather(chain, [0, 95, 291], 8), gather(ids, [0, 95, 291], 8), strict=True
    ):
        assert mine.tolist() == theirs.tolist()
    assert measure_bias(chain, vocab_size=9) == measure_bias(ids, vocab_size=9)
    with pytest.raises(ValueError, match="several files"):
        np.asarray(chain)


def test_position_bias_of_a_large_vocabulary_does_not_depend_on_its_names():
    ids = np.random.default_rng(0).integers(0, 70, 2_000)
    small = measure_bias(ids, vocab_size=200_000)
    large = measure_bias(ids + 100_000, vocab_size=200_000)
    assert small == large
    with pytest.raises(ValueError, match=r"they must lie in \[0, 50\)"):
        measure_bias(ids, vocab_size=50)


@pytest.mark.parametrize(
    ("vocab_size", "n"),
    [(65, 49), (256, 49), (1_024, 20), (32_768, 13), (50_257, 13), (128_256, 13)],
)
def test_the_length_of_ngrams_follows_the_vocabulary(vocab_size, n):
    assert default_ngram(vocab_size) == n


def test_a_vocabulary_without_text_reads_and_writes_ids():
    vocabulary = Vocabulary(100)
    assert vocabulary.encode("5, 7 99").tolist() == [5, 7, 99]
    assert vocabulary.decode([5]) is None
    assert vocabulary.token_bytes(np.array([5])) is None
    for prompt in ("hello", "100", "-1", "5.0", "9" * 50):
        with pytest.raises(ValueError, match="is no token id"):
            vocabulary.encode(prompt)
    assert Vocabulary.from_dict(vocabulary.as_dict()) == vocabulary


def test_unused_ids_at_the_end_of_a_vocabulary_have_no_text():
    padded = Vocabulary(50_304, "gpt2")
    assert padded.decode([464, 50_300]) == "The\ufffd"
    assert padded.token_bytes(np.array([464, 50_300])).tolist() == [3, 0]
    characters = Vocabulary(4, "meta.pkl", ("a", "ü"))
    assert characters.decode([1, 3, 0]) == "ü\ufffda"
    assert characters.token_bytes(np.array([0, 1, 3])).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match=r"no token of meta\.pkl stands for 'b'"):
        characters.encode("ab")


def test_many_segments_are_told_by_a_checksum():
    few = [Segment(i * 10, i * 10 + 5) for i in range(1000)]
    assert tell_segments(few)[1] == [10, 15]
    assert tell_segments([*few, Segment(20_000, 20_001)]).startswith("1001 segments, ")
