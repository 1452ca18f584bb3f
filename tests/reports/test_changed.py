"""A run beside its base run and a folder of runs: on the page, and as a comment."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from reports import changed, history, load, page, pull_request
from reports.__main__ import main
from tests.helpers.compared_runs import environment, quiet, write


def case_table(section):
    return next(table for table in section.tables if table.caption == "Cases that changed.")


def two_runs(tmp_path: Path, slow: dict[str, float], n_cases: int = 6) -> tuple[load.Run, load.Run]:
    later = environment()
    later["facts"]["machine"] |= {"load_before": 3.5}
    folders = (
        write(tmp_path / "base", [environment(), *quiet(1, n_cases=n_cases)]),
        write(tmp_path / "new", [later, *quiet(50, slow, n_cases=n_cases)]),
    )
    base, new = load.load_runs(folders)
    return base, new


def test_what_changed_stands_first_with_its_verdict(tmp_path: Path) -> None:
    section = changed.section(*two_runs(tmp_path, {"c2": 1.5, "c4": 0.6}))
    rows = case_table(section).rows
    assert [(row[0][23:-1], row[1]) for row in rows] == [("c2", "slower"), ("c4", "faster")]
    assert rows[0][2].startswith("+")
    assert section.intro.startswith("In this run, 1 case is slower")
    folded = [table for table in section.tables if table.folded]
    assert [len(table.rows) for table in folded] == [4]


def test_the_first_sentence_says_that_no_case_is_shown_to_differ(tmp_path: Path) -> None:
    section = changed.section(*two_runs(tmp_path, {}))
    assert section.intro.startswith("No case is shown to be slower or faster. In this run, 6 cases")


def test_environments_are_compared_beside_the_times(tmp_path: Path) -> None:
    section = changed.section(*two_runs(tmp_path, {}))
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert rows["load before"] == ("0.120", "3.50")
    assert "cpu" not in rows  # it is the same


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    base, new = two_runs(tmp_path, {})
    new.environments["env-1"]["facts"]["machine"]["cpu"] = "Another CPU"
    section = changed.section(base, new)
    assert "cannot be compared" in section.intro
    assert "Another CPU" in section.intro


def test_comparison_that_fails_says_so_and_leaves_the_page_standing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, new = two_runs(tmp_path, {})
    monkeypatch.setattr(changed, "comparison", lambda *_: math.log(0))
    text, _ = page.render([new], "html", base)
    assert "The two runs could not be compared (ValueError: math domain error)." in text
    assert 'id="run1-speed"' in text


def test_page_with_a_base_run_shows_what_changed_before_all_sections(tmp_path: Path) -> None:
    base, new = two_runs(tmp_path, {"c2": 1.5})
    text, _ = page.render([new], "html", base)
    heads = re.findall(r'<h2 id="run1-([\w-]+)-title"', text)
    assert heads[:2] == ["answer", "changed"]


def test_comment_is_short_before_a_fold_is_opened_and_fits_into_github(tmp_path: Path) -> None:
    slow = {f"c{i}": 1.5 for i in range(0, 120, 2)}
    base, new = two_runs(tmp_path, slow, n_cases=120)
    text, (answer,) = pull_request.render(new, base)
    seen = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    assert len(seen) < 4_000
    assert len(text) < 65_536
    assert answer.startswith("In this run, ")
    assert text.count("| slower |") == 60
    assert text.index("| slower |") < text.index("<details>")


def test_command_writes_the_page_and_the_comment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, new = two_runs(tmp_path, {"c2": 1.5})
    for form in ("html", "md"):
        output = tmp_path / f"out.{form}"
        arguments = [new.folder, "--base", base.folder, "--format", form, "-o", output]
        assert main([str(argument) for argument in arguments]) == 0
        assert "slower" in output.read_text(encoding="utf-8")
    assert "In this run, 1 case is slower" in capsys.readouterr().out


@pytest.mark.parametrize("extra", [["--base", "base"], ["base"]])
def test_folder_of_runs_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    two_runs(tmp_path, {})
    paths = [str(tmp_path / name) if name == "base" else name for name in extra]
    assert main([str(tmp_path), *paths, "-o", str(tmp_path / "x.html")]) == 2
    assert "give it alone" in capsys.readouterr().err


def runs(folder: Path, n: int, step_at: int) -> Path:
    folder.mkdir()
    for i in range(n):
        record = environment()
        record |= {"started_at": f"2026-03-{i + 1:02d}T10:00:00+00:00", "commit": f"{i:040x}"}
        slow = {f"c{k}": 1.3 for k in range(3)} if i >= step_at else {}
        write(folder / f"run{i:02d}", [record, *quiet(100 * i, slow, n_cases=3)])
    return folder


def test_folder_of_runs_gives_an_index_with_its_steps(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs", 14, step_at=7)
    text, answer = page.render_index(folder, "html")
    assert answer.startswith("The time of 3 of 3 cases changed lastingly in 14 runs")
    index = history.index_page(folder, with_figures=True)
    listed, steps = index.sections
    assert [row[0] for row in listed.tables[0].rows][:2] == ["run13", "run12"]
    assert {row[1][:10] for row in steps.tables[0].rows} == {"2026-03-08"}
    assert len(steps.plots) == 3
    assert [row[-1] for row in steps.plots[0].data.rows].index("yes") == 7
    assert text.count("<figure>") == 3
    assert "<h1>" in text


def test_index_names_a_run_by_its_path_in_the_folder(tmp_path: Path) -> None:
    kept = runs(tmp_path / "kept", 2, step_at=9)
    (tmp_path / "linked").mkdir()
    for name in ("run00", "run01"):
        (tmp_path / "linked" / f"my-{name}").symlink_to(kept / name)
    listed = history.index_page(tmp_path / "linked", with_figures=False).sections[0]
    assert f"{tmp_path}/linked/my-run01" in listed.intro


def test_folder_of_few_runs_is_an_index_as_well(tmp_path: Path) -> None:
    text, answer = page.render_index(runs(tmp_path / "runs", 2, step_at=9), "md")
    assert "No change of any size could have been seen" in answer
    assert "run01" in text
