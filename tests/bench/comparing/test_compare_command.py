import subprocess
import sys

import pytest

from bench.__main__ import main
from bench.ledger.folders import RunFolder
from bench.ledger.record import LEDGER_NAME
from gptcore.console import Table
from tests.helpers.checkout import ROOT
from tests.helpers.compared_runs import case, command, environment, quiet, rounds, write


def test_margin_and_k_choose(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 1.1})])
    assert command(base, new, "--margin", "20") == 0
    assert command(base, new, "-k", "[c3]") == 0
    capsys.readouterr()
    assert command(base, new, "-k", "nothing") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--margin=0"], ["--margin=101"], ["--margin=nan"], ["--fail-on=slow"], ["--fail-on=new"],
        ["--format=html"], ["extra"],
    ],
)  # fmt: skip
def test_bad_option_exits_2_in_one_line(base, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        command(base, base, *arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_folder_exits_2_in_one_line(tmp_path, base, capsys):
    assert command(tmp_path / "none", base) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_command_prints_help_and_exits_2(capsys):
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().err


HOSTILE = "a|b`c`<img src=x>\x1b]0;title\x07\u202e@all"


@pytest.fixture
def hostile(tmp_path):
    def records(seed):
        return [environment(), *quiet(seed), case(HOSTILE, rounds(seed))]

    new = records(50)
    new[1] |= {"status": "failed", "reason": "x\x1b[2J|<b>"}
    return write(tmp_path / "old", records(0)), write(tmp_path / "new", new)


@pytest.mark.parametrize("form", ["text", "md", "json"])
def test_hostile_ids_do_not_reach_the_terminal(hostile, capsys, form):
    command(*hostile, "--format", form)
    printed = capsys.readouterr()
    assert not any(char in printed.out + printed.err for char in "\x1b\x07\u202e")


def test_hostile_ids_do_not_break_a_markdown_table(hostile, capsys):
    command(*hostile, "--format", "md")
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in rows} == {10}
    assert not any("<img" in line or "<b>" in line or "@all" in line for line in lines)


def test_markdown_has_the_slower_case_above_the_fold(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 1.1})])
    command(base, new, "--format", "md", "--margin", "8")
    text = capsys.readouterr().out
    assert text.startswith("**1 slower, 5 same**")
    assert text.index("`bench_model::test_step[c2]`") < text.index("<details>")
    assert text.index("`bench_model::test_step[c1]`") > text.index("<details>")


def test_text_answers_first_and_has_whole_ids_and_the_machine(tmp_path, capsys):
    name = "x" * 300
    old, new = (
        write(
            tmp_path / str(seed), [environment(), *quiet(seed), case(name, rounds(seed, level_s))]
        )
        for seed, level_s in ((0, 0.1), (50, 0.2))
    )
    command(old, new, "--margin", "8")
    text = capsys.readouterr().out
    assert text.startswith("In NEW, 1 case is slower and 6 are the same within 8 %.\n")
    assert f"bench_model::test_step[{name}]\n" in text
    assert "Example CPU" in text


def test_table_fits_a_narrow_terminal_and_nothing_is_cut(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    name = "[bold]" + "x" * 300
    lines = str(Table(("verdict", "change", "case"), [("slower", "+5.0 %", name)])).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line[16:].strip() for line in lines[1:]) == name


def test_compare_needs_no_torch(base):
    code = (
        "import sys; from bench.__main__ import main; "
        "code = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    arguments = [sys.executable, "-c", code, "compare", str(base), str(base)]
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)


def test_labels_come_from_the_folder_even_for_a_ledger_file(base):
    run = RunFolder.read(base / LEDGER_NAME)
    assert isinstance(run, RunFolder)
    assert run.label == "base"
