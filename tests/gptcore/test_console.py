"""What long work says while it runs, and how answers are laid out."""

import argparse

import pytest

from gptcore import console
from gptcore.cli import options
from gptcore.plain_text import columns


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set: clock[0] = seconds."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_pace_is_that_of_the_units_done(clock, capsys):
    progress = console.Progress("step")
    for done in range(1, 5):
        clock[0] += 30
        progress(done, 4)
    assert lines(capsys) == [
        "step 1/4 · ? to go",
        "step 2/4 · 1:00 to go",
        "step 3/4 · 0:30 to go",
        "step 4/4",
    ]


def test_what_was_done_before_the_first_call_sets_no_pace(clock, capsys):
    progress = console.Progress("pair")
    clock[0] += 500  # warming up, and two pairs to find the pace
    for done in (3, 4, 5):
        progress(done, 10)
        clock[0] += 20
    assert lines(capsys) == [
        "pair 3/10 · ? to go",
        "pair 4/10 · 2:00 to go",
        "pair 5/10 · 1:40 to go",
    ]


def test_short_work_and_quick_units_are_not_talked_about(clock, capsys):
    progress = console.Progress("step")
    for done in range(1, 4):
        clock[0] += 0.6
        progress(done, 3)
    assert lines(capsys) == []
    progress = console.Progress("step")
    for done in range(1, 31):
        clock[0] += 1
        progress(done, 30)
    assert [line.partition(" ·")[0] for line in lines(capsys)] == [
        "step 10/30",
        "step 20/30",
        "step 30/30",
    ]


def test_work_of_one_unit_ends_without_time_to_go(clock, capsys):
    progress = console.Progress("step")
    clock[0] += 5
    progress(7, 7, " (resumed)")
    assert lines(capsys) == ["step 7/7 (resumed)"]


def test_long_work_is_told_in_hours_and_an_unknown_total_has_no_end(clock, capsys):
    progress = console.Progress("step")
    progress(0, 10)
    clock[0] += 1_000
    progress(1, 10)
    clock[0] += 10
    progress(2_000, None, " kB")
    assert lines(capsys) == ["step 1/10 · 2 h 30 min to go", "step 2,000 kB · ? to go"]


def test_a_pace_can_be_said_before_it_is_known(clock):
    progress = console.Progress("planned second", pace_s=1.0, few=10)
    assert progress.to_go_s(0, 100) == 100
    clock[0] += 20
    assert progress.to_go_s(10, 100) == 90
    assert progress.to_go_s(20, 100) == 80
    clock[0] += 20
    assert progress.to_go_s(20, 100) == 160


TABLE = console.Table(
    ("name", "tokens", "share, %"), [("1:100:2 :smile: [b]novel", 139015, 12.5), ("b", None, 1e-9)]
)


def test_numbers_are_aligned_right_and_names_are_as_they_are():
    assert TABLE.lines() == [
        "name                       tokens  share, %",
        "1:100:2 :smile: [b]novel  139,015     12.50",
        "b                               -     1e-09",
    ]


@pytest.mark.parametrize("width", range(24, 50))
def test_texts_fold_at_a_narrow_terminal_and_lose_nothing(width):
    lines = TABLE.lines(width)
    assert max(map(len, lines)) <= width
    letters, all_letters = (sorted("".join("".join(t).split())) for t in (lines, TABLE.lines()))
    assert letters == all_letters
    assert {"139,015", "12.50", "1e-09"} <= set(" ".join(lines).split())


@pytest.mark.parametrize("width", [1, 12, 20, 23])
def test_where_the_numbers_are_too_wide_each_cell_has_a_line(width):
    lines = TABLE.lines(width)
    assert {"139,015", "12.50", "1e-09"} <= set(" ".join(lines).split())
    assert TABLE.lines(23)[-4:] == ["", "name: b", "tokens: -", "share, %: 1e-09"]


@pytest.mark.parametrize("name", ["模型四号", "🐑🐑", "é", "e\u0301", "\uff57\uff49", "한국어"])
@pytest.mark.parametrize("width", [None, 20, 40])
def test_wide_characters_count_as_the_columns_that_they_take(name, width):
    heading, *lines = console.Table(("name", "n"), [(name, 1), ("b", 22)]).lines(width)
    assert {columns(line) for line in lines} == {columns(heading)}
    assert name in lines[0]


def test_wide_characters_fold_within_the_width():
    lines = console.Table(("a", "b"), [("模型" * 30, 1234567)]).lines(40)
    assert max(map(columns, lines)) <= 40
    assert "".join(lines).count("模") == 30
    assert max(map(columns, console.wrap("模型 " * 30, 21))) <= 21


def test_hidden_characters_of_a_cell_are_counted_as_they_are_shown():
    heading, first, second = console.Table(("m", "n"), [("a\x1b[2J\t", 1), ("b", 22)]).lines()
    assert first == r"a\x1b[2J\t   1"
    assert len(heading) == len(first) == len(second)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (True, "yes"), (0, "0"), (142515, "142,515"), (10**12, "1,000,000,000,000"),
        (0.0, "0"), (3250.0, "3,250"), (34.5749, "34.57"), (142514.6, "142,515"),
        (-0.0762, "-0.07620"), (9.9996, "10.000"), (1e20, "1e+20"), (12345678.9, "1.235e+07"),
        (0.00001234, "1.234e-05"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits_or_more(value, text):
    assert console.format_cell(value) == text


def test_an_answer_keeps_words_whole_and_tables_apart():
    answer = console.Answer("One two three.", [TABLE, TABLE, "/a/long/path/of/a/user is there."])
    lines = answer.lines(12)
    assert lines[:3] == ["One two", "three.", ""]
    assert lines[-3:] == ["", "/a/long/path/of/a/user", "is there."]
    assert "" in console.Answer("a", [TABLE, TABLE]).lines()[2:]
    assert ["", ""] not in [lines[i : i + 2] for i in range(len(lines))]


def test_width_is_that_of_the_terminal_and_without_one_there_is_none(capsys, monkeypatch):
    answer = console.Answer("word " * 30 + "end.")
    monkeypatch.setenv("COLUMNS", "40")
    console.show(answer)
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True)
    console.show(answer)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_a_typed_text_is_utf8_in_every_locale():
    """A locale without UTF-8 gives bytes as surrogates."""
    assert options.to_text("caf\udcc3\udca9 → é") == "café → é"
    with pytest.raises(argparse.ArgumentTypeError, match="not text in UTF-8"):
        options.to_text("caf\udce9")


def test_a_file_to_write_is_not_named_like_a_folder(tmp_path):
    for read in (console.to_file, console.to_picture):
        with pytest.raises(argparse.ArgumentTypeError, match="names a folder: name a file"):
            read(f"{tmp_path}/x.svg/")
