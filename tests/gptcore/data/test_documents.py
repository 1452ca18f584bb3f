"""Where documents begin, in characters and in tokens."""

import dataclasses
import json

import pytest

from gptcore.data.corpora import load_corpus
from gptcore.data.documents import document_lengths, document_segments, document_starts
from gptcore.data.splits import Segment
from gptcore.data.tokenizer import decode
from gptcore.data.tokens import TokenStream

BOOK = """The Title

Contents
 CHAPTER I.
 CHAPTER II.

BOOK I

CHAPTER I.
It began in chapter one of all.

  CHAPTER II.
It went on. Chapter 3
PART II. A VOYAGE
[Chapter IX.]
It ended.
"""


@pytest.fixture
def corpus_of(tmp_path):
    def corpus_of(text, name="text.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load_corpus(str(tmp_path / name))

    return corpus_of


def texts_of(corpus, within=None):
    stream = TokenStream.from_text(corpus.text)
    parts = document_segments(corpus, stream, within)
    return [decode(stream.ids[part.start : part.stop]) for part in parts]


def test_chapters_begin_at_headings_that_stand_alone(corpus_of):
    corpus = corpus_of(BOOK)
    texts = texts_of(corpus)
    assert "".join(texts) == corpus.text
    heads = [text.split("\n")[0].strip() for text in texts]
    assert heads == ["The Title", "CHAPTER I.", "CHAPTER II.", "[Chapter IX.]"]
    assert "BOOK I" in texts[1], "headings that follow each other begin one document"


def test_chapters_of_a_text_that_is_not_cleaned(tmp_path):
    (tmp_path / "raw.txt").write_bytes(BOOK.replace("\n", "\r\n").encode())
    corpus = load_corpus(str(tmp_path / "raw.txt"), raw=True)
    assert len(texts_of(corpus)) == 4


def test_separator_ends_a_document(corpus_of):
    text = "CHAPTER I.\none<|endoftext|>two é<|endoftext|>\n<|endoftext|>three<|endoftext|>"
    corpus = corpus_of(text)
    pieces = ["CHAPTER I.\none<|endoftext|>", "two é<|endoftext|>\n<|endoftext|>"]
    pieces += ["three<|endoftext|>"]
    starts = document_starts(corpus)
    assert starts == [0, len(pieces[0]), len(pieces[0] + pieces[1])]
    assert texts_of(corpus) == pieces


def test_topics_are_the_documents_of_python_docs():
    from pydoc_data.topics import topics

    texts = texts_of(load_corpus("python-docs"))
    assert "".join(texts) == "\n".join(topics[key] for key in sorted(topics))
    assert texts[:-1] == [topics[key] + "\n" for key in sorted(topics)[:-1]]


def test_documents_are_cut_at_the_parts_that_are_wanted(corpus_of):
    corpus = corpus_of(BOOK)
    stream = TokenStream.from_text(corpus.text)
    whole = document_segments(corpus, stream)
    middle = whole[1].start + 2, whole[2].stop - 3
    assert document_segments(corpus, stream, [Segment(*middle)]) == (
        Segment(middle[0], whole[1].stop),
        Segment(whole[2].start, middle[1]),
    )
    inside = Segment(whole[1].start + 1, whole[1].start + 3)
    assert document_segments(corpus, stream, [inside]) == (inside,)


def test_token_that_two_documents_share_belongs_to_the_first(corpus_of):
    corpus = corpus_of("one<|endoftext|>t\u00e9n" + "<|endoftext|>   x")
    stream = TokenStream.from_text(corpus.text)
    parts = document_segments(corpus, stream)
    assert [part.start for part in parts][1:] == [part.stop for part in parts][:-1]
    assert parts[-1].stop == len(stream)


@pytest.mark.parametrize("text", ["No heading at all.", "chapter one\ntext", "CHAPTER I.\nall"])
def test_text_without_borders_is_refused(corpus_of, text):
    with pytest.raises(ValueError, match="has no known documents: give a text with"):
        document_starts(corpus_of(text))


def test_tokens_of_another_text_are_refused(corpus_of):
    corpus = corpus_of(BOOK)
    stream = TokenStream.from_text(corpus.text)
    with pytest.raises(ValueError, match="give all tokens of this text"):
        document_segments(corpus, TokenStream(stream.ids[:-1], stream.vocab_size))
    with pytest.raises(ValueError, match=r"before compact\(\)"):
        document_segments(corpus, stream.compact()[0])
    other = dataclasses.replace(corpus_of("No headings."), name="python-docs")
    with pytest.raises(ValueError, match="no known documents"):
        document_starts(other)


def test_lengths_from_numbers_json_lines_folders_and_texts(tmp_path, corpus_of):
    (tmp_path / "numbers.txt").write_text("\n 12\n\n7\r\n3\n")
    assert document_lengths(str(tmp_path / "numbers.txt")) == [12, 7, 3]
    lines = [json.dumps({"text": text, "id": 1}) for text in ("one two", "three")]
    (tmp_path / "docs.jsonl").write_text("\n".join([lines[0], "", lines[1]]))
    assert document_lengths(str(tmp_path / "docs.jsonl")) == [2, 1]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.txt").write_text("three")
    (folder / "a.txt").write_text("one two")
    (folder / ".hidden").write_text("")
    assert document_lengths(str(folder)) == [2, 1]
    corpus_of("1984 was\n<|endoftext|> a year", "year.md")
    with pytest.raises(ValueError, match=r"line 1 is '1984 was': give the length of one document"):
        document_lengths(str(tmp_path / "year.md"))
    corpus_of("In 1984<|endoftext|> a year", "novel.md")
    assert len(document_lengths(str(tmp_path / "novel.md"))) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n", "5\n0\n", r"line 2 is '0': give the length"),
        ("n", "5\n-3\n", r"line 2 is '-3'"),
        ("n", "5\n2.5\n", r"line 2 is '2.5'"),
        ("n", "5\n1e3\n", r"line 2 is '1e3'"),
        ("n", "5\nlength\n", r"line 2 is 'length'"),
        ("n", f"5\n{'9' * 5000}\n", "line 2 is '9{20}…'"),
        ("n", "5\n٣\n", "line 2 is"),
        ("n", f"{2**53 + 1}\n", "line 1 is"),
        ("n", "5\n\0\n", "NUL"),
        ("n.jsonl", '{"text": ""}\n', "holds no document"),
        ("n.jsonl", '["text"]\n', "line 1 is no JSON object"),
        ("n.jsonl", '{"text": 3}\n', "line 1: 'text' is int"),
        ("n.jsonl", "{\n", "n.jsonl line 1"),
        ("n.jsonl", "\n\n", "holds no document"),
        ("n", "", "empty"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        document_lengths(str(tmp_path / name))


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no files"):
        document_lengths(str(tmp_path))
