"""Texts → shards of tokens: the same tokens as of the whole, and a run that goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.cli.main import main
from gptcore.data import shards
from gptcore.data.shards import plan_shards, write_shards
from gptcore.data.sources import load_source
from gptcore.data.tokenizer import encode
from tests.helpers.checkout import ROOT
from tests.helpers.strategies import repeatable

END = 50_256
WORDS = ["a", "The", "'s", "don't", "12", "3.4", "?!", "<|endoftext|>"]
SPACES = [" ", "  ", "\n", "\r\n", "\t", "\x0b", "\x1c", "\u00a0", "\u3000", "\u2003", "\u0085"]
PIECES = [*WORDS, *SPACES, "é", "漢字", "😀", "…", "\x7f"]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 40)
    monkeypatch.setattr(shards, "PIECE", 16)


def written(folder, **options):
    return write_shards([str(folder / "texts")], folder / "out", processes=1, **options)


def put(folder, *texts):
    (folder / "texts").mkdir()
    for i, text in enumerate(texts):
        (folder / "texts" / f"{i}.txt").write_bytes(text.encode())


def ids_of(folder):
    return load_source(str(folder / "out")).stream.ids[:]


def expected(*texts):
    return np.concatenate([np.append(encode(text), END) for text in texts if text])


def test_shards_hold_the_tokens_of_the_whole_texts(tmp_path, small):
    texts = [
        "One day, the cat sat.  On a\n\nmat! " * 9,
        "short",
        "",
        "Zwei \u00a0 Wörter\u3000 x " * 5,
    ]
    put(tmp_path, *texts)
    result = written(tmp_path)
    np.testing.assert_array_equal(ids_of(tmp_path), expected(*texts))
    assert result["documents"] == 3
    assert result["empty"] == 1
    assert result["n_bytes"] == sum(len(text.encode()) for text in texts)
    source = load_source(str(tmp_path / "out"))
    assert (source.sha256, len(source.stream)) == (result["sha256"], result["n_tokens"])
    assert len(result["shards"]) > 5
    assert source.vocabulary.tokenizer == "gpt2"
    assert not source.warnings


@repeatable
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=60), st.integers(1, 30))
def test_no_cut_changes_a_token(tmp_path_factory, pieces, size):
    text, folder = "".join(pieces), tmp_path_factory.mktemp("text")
    path = folder / "a.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", size)
        patch.setattr(shards, "PIECE", 7)
        parts = [part for shard in plan_shards([path]) for part in shard]
        ids = [ids for part in parts for ids in shards._encoded(part)]
    np.testing.assert_array_equal(np.concatenate(ids), expected(text))
    assert [part.begin for part in parts] == [0, *(part.end for part in parts[:-1])]


def test_a_text_without_a_place_to_cut_is_one_shard(tmp_path, small):
    put(tmp_path, "漢字" * 50)
    assert len(written(tmp_path)["shards"]) == 1
    np.testing.assert_array_equal(ids_of(tmp_path), expected("漢字" * 50))


@pytest.mark.parametrize("after", range(1, 9))
def test_a_run_goes_on_after_any_shard(tmp_path, small, monkeypatch, after):
    texts = ["It was the best of times, it was the worst of times. " * 4, "Call me Ishmael. " * 8]
    put(tmp_path, *texts)

    def stop(what, done, _total):
        if what == "tokenizing" and done:
            told.append(done)
        if len(told) == after:
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, progress=stop)
    with pytest.raises(ValueError, match="is not finished: run the same gptcore tokenize"):
        load_source(str(tmp_path / "out"))
    (tmp_path / "out" / ".partial-1234.bin").write_bytes(b"torn")
    assert written(tmp_path)["resumed"] == after
    np.testing.assert_array_equal(ids_of(tmp_path), expected(*texts))
    again = written(tmp_path)
    assert again["resumed"] == len(again["shards"])
    assert not list((tmp_path / "out").glob(".partial*"))


def change_text(folder):
    (folder / "texts" / "0.txt").write_text("Another text. " * 20)


def change_size(_folder):
    shards.SHARD_BYTES = 50


def add_text(folder):
    (folder / "texts" / "1.txt").write_text("More.")


@pytest.mark.parametrize("change", [change_text, change_size, add_text])
def test_other_texts_and_settings_are_refused(tmp_path, small, change):
    put(tmp_path, "It was the best of times. " * 9)
    written(tmp_path)
    change(tmp_path)
    with pytest.raises(ValueError, match="was begun with other texts, or with another version"):
        written(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path, small):
    put(tmp_path, "It was the best of times. ")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"holds thesis\.txt: give a new or an empty folder"):
        written(tmp_path)


def test_a_shard_that_was_changed_is_refused(tmp_path, small):
    put(tmp_path, "It was the best of times. " * 9)
    written(tmp_path)
    path = tmp_path / "out" / "shard_000001.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    with pytest.raises(ValueError, match=r"is not the shard that manifest\.json names"):
        ids_of(tmp_path)
    with pytest.raises(ValueError, match="changed after they were written"):
        written(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="is damaged: delete this file"):
        written(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"fine " * 20 + b"\xff" + b" more" * 9, "is not UTF-8 at byte 100: convert it"),
        (b"\xff\xfea\0", "is not UTF-8 at byte 0"),
        (b"It is " * 9 + b"torn \xe6\xbc", "is not UTF-8 at byte 59"),
        ("\u6f22".encode() * 7 + b"\xe6 a", "is not UTF-8 at byte 21"),
        (b"\x1f\x8b\x08\0", "compressed by gzip: decompress it first"),
        (b"", "the texts are empty"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, small, content, complaint):
    put(tmp_path, "")
    (tmp_path / "texts" / "0.txt").write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        written(tmp_path)
    (tmp_path / "texts" / "0.txt").write_text("mended " * 20)
    assert written(tmp_path)["documents"] == 1


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path, small):
    put(tmp_path, "It was the best of times. " * 9)
    path = tmp_path / "texts" / "0.txt"
    content = path.read_bytes()
    with pytest.raises(ValueError, match="changed while it was read"):
        written(tmp_path, progress=lambda *_: path.write_bytes(content.upper()))


@pytest.mark.parametrize("out", ["texts/out", "texts/b/../out", "texts"])
def test_shards_among_the_texts_are_refused(tmp_path, out):
    put(tmp_path, "It was the best of times. ")
    with pytest.raises(ValueError, match="whose texts are read: give a folder outside"):
        write_shards([str(tmp_path / "texts")], tmp_path / out, processes=1)
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["0.txt"]


def test_token_files_and_tables_are_refused(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    assert main(["tokenize", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "out")]) == 2
    assert "give texts, one document a file" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_processes_go_on(tmp_path, number):
    text = "It was the best of times, it was the worst of times. " * 400
    put(tmp_path, *[f"{i}. {text}" for i in range(12)])
    program = (
        "from gptcore.data import shards; from gptcore.cli.main import main; import sys\n"
        "if __name__ == '__main__':\n"
        "    shards.SHARD_BYTES = 20_000\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(program)
    command = [sys.executable, str(script), "tokenize", str(tmp_path / "texts"), "--out", str(out)]
    command += ["--processes", "2", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("shard_*"))) < 3:
        time.sleep(0.01)
    process.send_signal(number)
    process.wait()
    assert not (out / "manifest.json").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert '"resumed": 0' not in done.stdout
    np.testing.assert_array_equal(
        ids_of(tmp_path),
        expected(*(path.read_text() for path in sorted((tmp_path / "texts").iterdir()))),
    )
