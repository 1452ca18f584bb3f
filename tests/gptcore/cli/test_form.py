"""The command `gptcore form`: what it reads, what it leaves out, what it refuses."""

import json

import pytest

from gptcore.cli.main import main
from gptcore.data.tokenizer import decode, encode
from gptcore.evaluation.text_form import MEASURES

BOOK = "\n".join(f"The {i}th sheep of {i * i % 97} jumped over the fence." for i in range(400))


@pytest.fixture
def form(tmp_path, capsys, monkeypatch):
    """Run `gptcore form` on these bytes beside the book; return exit code, JSON and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(BOOK)

    def run(content, *options):
        (tmp_path / "written.txt").write_bytes(content)
        try:
            code = main(["form", "written.txt", "--corpus", "book.txt", "--json", *options])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return run


def of(result, key="value"):
    return {row["name"]: row[key] for row in result["metrics"]}


def test_every_measure_has_its_value_and_its_z(form):
    code, result, _ = form(b"The 7th sheep sat. It was late.\n" * 20)
    assert code == 0
    assert list(of(result)) == list(MEASURES)
    assert of(result, "definition") == MEASURES
    assert of(result)["seq_rep_share"] > 0.9
    assert of(result, "z")["seq_rep_share"] > 3
    assert of(result, "unigram_z")["chars_per_line"] is not None
    assert result["n_slices"] == result["corpus_tokens"] // result["n_tokens"]
    assert result["warnings"] == []


def test_a_part_of_the_corpus_is_not_compared_with_itself(form):
    ids = encode(BOOK)
    text = decode(ids[600:700]).strip()
    _, result, _ = form(f"{text}\n".encode())
    first, stop = result["place_in_corpus"]
    assert decode(ids[first:stop]).strip() == text
    assert of(result)["longest_copy_tokens"] < 20
    uncut = len(ids) // result["n_tokens"]
    assert result["n_slices"] in {uncut - 1, uncut - 2}  # those that touch its place
    (warning,) = result["warnings"]
    assert warning.startswith(f"The text stands word for word in the corpus, at its tokens {first}")


def test_an_empty_file_has_no_value(form):
    code, result, _ = form(b"")
    assert code == 0
    assert {*of(result).values(), *of(result, "z").values()} == {None}
    assert result["warnings"] == ["The file is empty, so no measure is defined: give a text."]


def test_a_text_too_long_for_slices_has_values_alone(form):
    _, result, _ = form(BOOK[:4000].encode() * 3)
    assert set(of(result, "z").values()) == {None}
    assert of(result)["line_break_share"] > 0
    assert "a z needs 10: give a shorter text or a longer corpus" in result["warnings"][0]


def test_line_ends_and_marks_are_cleaned_as_in_the_corpus(form):
    text = BOOK[200:900]
    assert form(text.encode())[1]["place_in_corpus"]
    marked = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    assert form(marked)[1]["metrics"] == form(text.encode())[1]["metrics"]
    raw = form(marked, "--raw")[1]
    assert raw["place_in_corpus"] is None
    assert raw["n_chars"] == len(text) + text.count("\n")
    assert of(raw)["chars_per_line"] == of(form(text.encode())[1])["chars_per_line"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (bytes(range(256)), "NUL character at character 0, so it is binary"),
        (b"abc\xed\xa0\x80", "is not UTF-8 at byte 3: convert it"),  # a lone surrogate
        (b"\xff\xd8\xff\xe0", "is not UTF-8 at byte 0"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(form, content, told):
    code, result, err = form(content)
    assert (code, result) == (2, None)
    assert told in err
    assert err.count("\n") == 1
    assert "written.txt" in err
