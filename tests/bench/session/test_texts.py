"""The suite runs on texts of any name and any content."""

import pytest

from bench.measuring import processes
from bench.measuring.work import ProcessTimes
from reports.__main__ import main as report
from tests.helpers.sessions import SMOKE, cases


def test_text_whose_name_is_not_ascii_has_whole_case_ids(run, tmp_path):
    book = tmp_path / "bücher.txt"
    book.write_text("The cat sat on the mat. " * 2000)
    folder = tmp_path / "run"
    options = (*SMOKE, f"--corpus={book}", f"--results={folder}", "-k", "sequential-keep")
    assert run(*options)[0] == 0
    assert all("[bücher-" in name for name in cases(folder))
    assert "1 skipped" in run(*options)[1]


def test_texts_of_one_name_are_told_apart_by_their_folders(run, tmp_path):
    options = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "book.txt").write_text(f"The {name} cat sat on the mat. " * 2000)
        options.append(f"--corpus={tmp_path / name / 'book.txt'}")
    options += [f"--results={tmp_path / 'run'}", "-k", "seed0 and train"]
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    found = cases(tmp_path / "run")
    assert {"a_book", "b_book"} == {name.split("-")[1] for name in found}


TEXTS = {
    "table": "".join(f"| {i:<24} | {i * i:>24} | {i % 3:<12} |\n" for i in range(600)),
    "chinese": "".join(chr(0x4E00 + i * i % 2503) for i in range(20_000)),
    "one line": " ".join(f"word{i * i % 1009}" for i in range(9_000)),
}
"""In tables GPT-2's tokens repeat; Chinese has 2 tokens and more in a character."""


@pytest.mark.parametrize("text", TEXTS)
def test_suite_runs_on_texts_other_than_prose(run, tmp_path, monkeypatch, text):
    # New processes would time the same work again, and take most of the time of this test.
    times = [ProcessTimes([0.01], {"base_bytes": 2**20, "peak_bytes": 2**20})]
    monkeypatch.setattr(processes, "measure_in_processes", lambda *_arguments: times)
    book = tmp_path / f"{text}.txt"
    book.write_text(TEXTS[text], encoding="utf-8")
    options = (f"--corpus={book}", f"--results={tmp_path / 'run'}")
    options += ("-k", "test_forward or bench_position or test_coverage")
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    modules = {case.partition("::")[0] for case in cases(tmp_path / "run")}
    assert modules == {"bench_model", "bench_position", "bench_coverage"}


def test_text_full_of_markup_gives_a_harmless_report(run, tmp_path):
    book = tmp_path / "<script>alert(1)&$y_1$.txt"
    book.write_text("<script>alert(2)</script>\n</pre><img src=x onerror=alert(3)> $\\frac\n" * 900)
    folder, page = tmp_path / "run", tmp_path / "report.html"
    options = (f"--corpus={book}", f"--results={folder}", "-k", "seed0 and train")
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    assert report([str(folder), "-o", str(page)]) == 0
    html = page.read_text()
    assert "&lt;script&gt;" in html
    assert html.count("<script") == 2  # the data of the page and its own script
    assert "<img" not in html
