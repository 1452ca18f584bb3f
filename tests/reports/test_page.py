"""The report: what it claims, what it survives, and what it never lets through."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.ledger.record import LEDGER_NAME, Record
from bench.ledger.schema import METRICS
from reports import drawing, explorer, load, page, topics
from reports.__main__ import main
from reports.advice.item import Advice
from reports.blocks import table
from reports.first_screen import FirstScreen
from reports.topics.sampling import figures as sampling_figures
from tests.helpers.checkout import ROOT
from tests.helpers.ledgers import (
    comparison_case,
    counting_case,
    coverage_case,
    environment,
    loading_case,
    model_case,
    position_case,
    record,
    skip,
    standard_ledger,
    training_case,
    write_ledger,
)

HOSTILE = "<script>alert(1)</script> $x_1$ _lead \u202eevil\u202c مرحبا \ud800 \x00" + "w" * 500


class Document(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def run_of(tmp_path: Path, records: list[Record]) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", records), "run")


def html_of(tmp_path: Path, records: list[Record]) -> str:
    return page.render([run_of(tmp_path, records)], "html")[0]


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html_of(tmp_path_factory.mktemp("standard"), standard_ledger())


# --- the page -------------------------------------------------------------------------------


def test_page_loads_nothing_from_outside(standard: str) -> None:
    assert not re.search(r"https?://|//[a-z]+\.", standard)
    scripts = Document(standard).all("script")
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not Document(standard).all("link")


def test_policy_of_the_page_allows_its_script_alone(standard: str) -> None:
    (policy,) = [
        str(attrs["content"]) for attrs in Document(standard).all("meta") if "http-equiv" in attrs
    ]
    script = standard.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}';" in policy


def test_parts_of_the_page_stand_in_the_order_of_reading(standard: str) -> None:
    links = [str(attrs["href"]) for attrs in Document(standard).all("a")]
    contents = [link.partition("-")[2] for link in links[1 : links.index("#glossary")]]
    assert contents[0] == "answer"
    assert contents[-2:] == ["cases", "reproduce"]
    heads = re.findall(r'<h2 id="run1-([\w-]+)-title"', standard)
    assert heads == contents


def test_finding_stands_in_the_section_of_its_topic(standard: str) -> None:
    section = standard.partition('id="run1-speed"')[2].partition("</section>")[0]
    assert "A training step of Model 5 in bf16" in section.partition("<figure>")[0]


def test_first_screen_shows_advice_with_its_warning_and_price(tmp_path: Path) -> None:
    run = run_of(tmp_path, standard_ledger())
    case = next(iter(run.records))
    bars = {1: (0.5, None)}
    glance = dataclasses.replace(
        table("Cases.", ("Case", "Share#"), [("a", "50 %"), ("b", "")]), bars=bars
    )
    advice = Advice("Train in bf16", "It is faster.", "It was loud.", "One option.", (case,))
    first = FirstScreen("It trains.", [advice], "Partly: noisy.", "1 token/s", glance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "first_screen", lambda *_: first)
        made = {form: page.render([run], form)[0] for form in ("html", "md")}
    for text in ("Train in bf16", "It is faster.", "It was loud.", "One option.", "Partly: noisy"):
        assert text in Document(made["html"]).text
        assert text in made["md"]
    shown = made["html"].partition('id="run1-answer"')[2].partition("</section>")[0]
    assert re.search(r'<a href="#run1-case\d+">case \d+</a>', shown)
    assert '<p id="run1-quote">1 token/s</p>' in shown
    assert re.findall(r'style="width:([\d.]+)%"', shown) == ["50.0"]


def test_page_has_unique_ids_and_every_link_has_its_target(standard: str) -> None:
    document = Document(standard)
    ids = [attrs["id"] for _, attrs in document.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] or "" for attrs in document.all("a")]
    links += re.findall(r'(?:xlink:href="|url\()(#[^")]+)', standard)
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_figure_has_words_for_those_who_cannot_see_it(standard: str) -> None:
    images = [attrs for _, attrs in Document(standard).tags if attrs.get("role") == "img"]
    assert len(images) == 18
    assert all(8 < len(attrs["aria-label"] or "") < 160 for attrs in images)


def test_every_table_has_a_caption_and_scoped_headers(standard: str) -> None:
    document = Document(standard)
    assert len(document.all("caption")) == len(document.all("table")) > 5
    assert all(attrs.get("scope") in {"col", "row"} for attrs in document.all("th"))


def test_every_opened_tag_is_closed(standard: str) -> None:
    for tag in ("section", "table", "figure", "details", "svg", "div", "ul", "li", "p", "g"):
        opened, closed = len(re.findall(rf"<{tag}[\s>]", standard)), standard.count(f"</{tag}>")
        empty = len(re.findall(rf"<{tag}(?:\s[^>]*)?/>", standard))
        assert opened == closed + empty, tag


def test_figures_follow_the_theme_of_the_page(standard: str) -> None:
    assert "currentColor" in standard
    assert "var(--c1)" in standard
    drawings = "".join(re.findall(r"<svg.*?</svg>", standard, flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) == set()


def test_report_of_the_same_ledger_is_the_same_byte_for_byte(standard: str, tmp_path: Path) -> None:
    again = html_of(tmp_path, standard_ledger())
    folder = re.compile(r"Results folder: <code>.*</code>")
    assert folder.sub("", again) == folder.sub("", standard)


def test_page_shows_what_did_not_run_and_why(standard: str) -> None:
    text = Document(standard).text
    assert "no accelerator was found" in text
    assert "MemoryError: 11.2 GiB needed" in text


def test_page_says_how_to_reproduce_it(standard: str) -> None:
    text = Document(standard).text
    assert "git checkout 0123456789abcdef" in text
    assert "pytest --benchmark-only --suite=standard" in text
    assert "a" * 64 in text
    assert "b" * 64 in text


def test_glossary_explains_every_metric_of_the_ledger(standard: str) -> None:
    text = Document(standard).text
    for name in {name for item in standard_ledger() for name in item["metrics"]}:
        assert METRICS[name].meaning in text


def test_every_record_of_the_ledger_is_on_the_page_with_all_it_holds(standard: str) -> None:
    blocks = re.findall(r'<pre class="record">(.*?)</pre>', standard, flags=re.DOTALL)
    shown = [json.loads(html.unescape(block)) for block in blocks]
    key = lambda item: (item["case"] or "", item["environment"])  # noqa: E731
    assert sorted(shown, key=key) == sorted(json.loads(json.dumps(standard_ledger())), key=key)


def test_control_characters_of_generated_text_are_visible(standard: str) -> None:
    assert "\x1b" not in standard
    assert r"\x1b[31m\x00" in standard


def test_several_runs_stand_one_after_the_other_under_their_names(tmp_path: Path) -> None:
    folders = [
        write_ledger(tmp_path / name, [environment(), model_case("step", "fp32", time, 2.2e11)])
        for name, time in (("first", 5.0), ("second", 4.0))
    ]
    document = Document(page.render(load.load_runs(folders), "html")[0])
    assert [a["aria-label"] for a in document.all("article")] == ["Run first", "Run second"]
    ids = [attrs["id"] for _, attrs in document.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_newest_of_several_sessions_is_shown_and_their_number_said(tmp_path: Path) -> None:
    facts = {"machine": {"cpu": "Newer CPU"}}
    late = environment(environment="env-2", facts=facts, started_at="2026-03-02T10:00:00+00:00")
    whole = html_of(tmp_path, [late, environment()])
    text = Document(whole.partition('id="run1-cases"')[0]).text
    assert "Newer CPU" in text
    assert text.count("Example CPU") == 1  # in the list of sessions
    assert "2 sessions" in text


# --- partial and hostile ledgers ------------------------------------------------------------


PARTS: dict[str, list[Record]] = {
    "nothing": [],
    "environment without facts": [environment(facts={}, metrics={})],
    "odd facts": [environment(facts={"machine": 3, "corpora": ["x", None], "run": {"a": None}})],
    "skips alone": [skip("a::b[c]", "no time left")],
    "no environment": [model_case("step", "fp32", 5.6, 2.2e11)],
    "timing without numbers": [record("a::b", group="model", metrics={"time_s": None})],
    "timing alone": [record("a::b", group="model", metrics={"time_s": 1.0})],
    "coverage without series": [coverage_case("sequential", 1.0) | {"series": {}}],
    "coverage without params": [coverage_case("random_replacement", 1.0) | {"params": {}}],
    "coverage without numbers": [coverage_case("random_replacement", 1.0) | {"metrics": {}}],
    "training without series": [training_case("sequential", 0) | {"series": {}}],
    "training without numbers": [training_case("sequential", 0) | {"metrics": {}}],
    "comparison without tests": [
        record("a::b", group="comparison", metrics={"difference": 0.1}, params={"a": "x", "b": "y"})
    ],
    "scarce text without params": [
        coverage_case("sequential", 1.0) | {"params": {"text_share": 0.1}}
    ],
    "position without series": [position_case(raw=False) | {"series": {}}],
    "position without numbers": [position_case(raw=True) | {"metrics": {}}],
    "position without params": [position_case(raw=True) | {"params": {}}],
    "loading without params": [loading_case("memory", "gather", 0.1) | {"params": {}}],
    "loading without numbers": [
        loading_case("memory", "gather", 0.1) | {"metrics": {"time_s": 0.1}}
    ],
    "counting without numbers": [
        counting_case() | {"metrics": {"ledger_tokens": 1, "time_s": 0.1}}
    ],
    "unknown group": [record("a::b", group="scaling", metrics={"time_s": 2.0})],
}


@pytest.mark.parametrize("name", PARTS)
def test_report_of_a_partial_ledger_is_complete_in_itself(name: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, PARTS[name])
    for form in ("html", "md"):
        text, _ = page.render([run], form)
        assert "What did not run, and why?" in text
        assert not re.search(r"\bnan\b|\bNone\b", Document(text).text)


def test_absent_parts_are_said_to_be_absent(tmp_path: Path) -> None:
    text = Document(html_of(tmp_path, [skip("a::b[c]", "no time left")])).text
    assert "holds no timing" in text
    assert "holds no training run" in text
    assert "Nothing can be concluded" in text


def test_parts_without_data_stand_together_below_the_others(tmp_path: Path) -> None:
    text = html_of(tmp_path, [coverage_case("sequential", 1.0)])
    heads = re.findall(r'<h2 id="run1-([\w-]+)-title"', text)
    assert "sampling" in heads
    assert "position" not in heads
    assert heads.index("without-data") > heads.index("sampling")
    assert re.search(r'<dt id="run1-position">Test part</dt>\s*<dd>\w', text)
    assert text.count('href="#run1-without-data"') == 1


def test_the_end_of_a_long_finding_is_folded() -> None:
    sentences = [f"Sentence {i} says {i} of p = 0.5 and no more than that." for i in range(12)]
    shown, more = page.parted(" ".join(sentences))
    assert f"{shown} {more}".split(". S") == " ".join(sentences).split(". S")
    assert len(shown) <= page.SHOWN_AT_ONCE
    assert shown.endswith("that.")
    assert more.startswith("Sentence 6")
    assert page.parted(" ".join(sentences[:7])) == (" ".join(sentences[:7]), "")
    assert page.parted("x" * 900) == ("x" * 900, "")


def hostile_ledger() -> list[Record]:
    given: dict[str, Any] = {"corpus": HOSTILE}
    cases = [
        model_case("step", "fp32", 5.6, 2.2e11, model=HOSTILE, device=HOSTILE, **given),
        coverage_case("sequential", 1.0),
        training_case("sequential", 0),
        position_case(raw=False),
        loading_case("memory", "gather", 0.1),
    ]
    for case in cases[3:]:
        case["params"] |= given | {"source": HOSTILE, "more": [HOSTILE]}
    for case in cases[1:3]:
        case["params"] |= given | {"sampler": "_" + HOSTILE, "extra": {"a": [1]}, "epochs": "x"}
    for case in cases:
        case["command"] = HOSTILE
    pair = comparison_case("a", "b", [0.1, 0.2, 0.3])
    pair["params"] |= {"a": HOSTILE, "b": "_b", "corpus": HOSTILE}
    odd = {"machine": {"cpu": HOSTILE, HOSTILE: [HOSTILE, {}]}, "corpora": [{HOSTILE: HOSTILE}]}
    return [environment(facts=odd), *cases, pair, skip("a::b[<script>]", HOSTILE)]


@pytest.mark.parametrize("form", ["html", "md"])
def test_hostile_names_are_harmless_everywhere(form: str, tmp_path: Path) -> None:
    folder = write_ledger(tmp_path / "run", hostile_ledger())
    output = tmp_path / "report"
    assert main([str(folder), "-o", str(output), "--format", form]) == 0
    text = output.read_text(encoding="utf-8")
    assert text.count("<script") == {"html": 2, "md": 0}[form]  # the data and the page's own
    assert not re.search("[\x00\u202e\u202c]", text)
    assert "$x_1$" in text


def test_sampler_names_that_begin_with_an_underscore_are_drawn(tmp_path: Path) -> None:
    case = coverage_case("sequential", 1.0)
    case["params"]["sampler"] = "_hidden_"
    curves = run_of(tmp_path, [case]).series("coverage", "coverage_curve")
    assert "_hidden_</text>" in drawing.svg(sampling_figures.covered, curves, "f")


def test_names_cut_to_the_same_label_are_not_averaged_together() -> None:
    long = "x" * 60
    frame = pd.DataFrame({"variant": [f"{long}1", f"{long}2"], "epochs": 1.0, "covered": 0.5})
    assert drawing.with_labels(frame)["variant"].nunique() == 2


# --- the topics -----------------------------------------------------------------------------


def test_every_module_of_topics_is_listed_once() -> None:
    folder = Path(topics.__file__).parent
    names = sorted(path.stem for path in folder.iterdir() if not path.name.startswith("__"))
    assert sorted(topic.__name__.rpartition(".")[2] for topic in topics.TOPICS) == names


def test_page_and_findings_know_topics_by_the_list_alone() -> None:
    for name in ("page.py", "findings.py"):
        text = (ROOT / "reports" / name).read_text(encoding="utf-8")
        (line,) = re.findall(r"reports\.topics\S* import .*", text)
        assert line.endswith((" import findings_of", " import sections_of"))


# --- the frames -----------------------------------------------------------------------------


def test_frame_of_cases_has_every_metric_and_the_params(tmp_path: Path) -> None:
    frame = run_of(tmp_path, standard_ledger()).cases("model")
    assert set(METRICS) <= set(frame.columns)
    assert list(frame["precision"]) == ["fp32", "fp32", "fp32", "bf16", "bf16"]
    assert frame["missed_targets"].isna().all()


def test_dropped_last_batch_is_named_only_where_it_varies(tmp_path: Path) -> None:
    keep, drop = coverage_case("sequential", 1.0), coverage_case("sequential", 2.0)
    drop["params"]["drop_last"] = True
    both = run_of(tmp_path, [keep, drop]).cases("coverage")["variant"]
    assert list(both) == ["DataLoader, unshuffled", "DataLoader, unshuffled, drop last"]
    alone = load.case_frame([drop])["variant"]
    assert list(alone) == ["DataLoader, unshuffled"]


def test_charts_do_not_mix_corpora(tmp_path: Path) -> None:
    records = [coverage_case("sequential", 1.0), coverage_case("sequential", 1.0, corpus="other")]
    text = html_of(tmp_path, records)
    assert text.count("<strong>How much of the text was shown</strong>") == 2


# --- the command ----------------------------------------------------------------------------


def test_command_prints_the_path_and_three_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_ledger(tmp_path / "run", standard_ledger())
    output = tmp_path / "deep" / "report.html"
    assert main([str(folder), "-o", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Report: {output}"
    assert [line[:2] for line in lines[1:]] == ["- "] * 3
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]


def test_default_is_the_newest_run_and_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_ledger(tmp_path / "run", [environment()])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "latest").write_text(f"{folder}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert main(["--format", "md"]) == 0
    assert {p.name for p in (tmp_path / "reports/html").iterdir()} == {"index.html", "index.md"}


def test_unreadable_line_is_a_warning_in_both_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_ledger(tmp_path / "run", [environment()])
    with (folder / LEDGER_NAME).open("a", encoding="utf-8") as file:
        file.write('{"cut in the mid')
    assert main([str(folder), "-o", str(tmp_path / "r.html")]) == 0
    assert "line 2 cannot be read" in capsys.readouterr().err
    assert "line 2 cannot be read" in (tmp_path / "r.html").read_text(encoding="utf-8")


def bad_arguments(tmp_path: Path) -> dict[str, list[str]]:
    good = str(write_ledger(tmp_path / "run", [environment()]))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    out = ["-o", str(tmp_path / "r.html")]
    return {
        "nowhere is not a results folder": [str(tmp_path / "nowhere"), *out],
        "empty is not a results folder": [str(tmp_path / "empty"), *out],
        "given twice": [good, f"{good}/", *out],
        "it is a folder": [good, "-o", str(tmp_path / "empty")],
        "cannot write": [good, "-o", str(tmp_path / "file" / "r.html")],
        "names no run": out,
    }


@pytest.mark.parametrize(
    "message",
    [
        "nowhere is not a results folder",
        "empty is not a results folder",
        "given twice",
        "it is a folder",
        "cannot write",
        "names no run",
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(bad_arguments(tmp_path)[message]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
    assert not (tmp_path / "r.html").exists()


def test_curves_are_drawn_where_scipy_is_missing() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None; import pandas; from reports import line_charts; "
        "frame = pandas.DataFrame({'variant': ['a', 'a'], 'x': [0, 1], 'y': [0, 1]}); "
        "figure, axes = line_charts.line_chart(frame, 'title', 'x', 'y'); print(len(axes.lines))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) >= 1


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "examples:" in capsys.readouterr().out


def test_page_of_many_records_is_small_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "Room", partial(page.Room, figures=2))
    monkeypatch.setattr(explorer, "SHOWN_CHARACTERS", 300_000)
    monkeypatch.setattr(page, "MAX_FINDINGS", 30)
    many = [
        position_case(raw=False, corpus=f"corpus-{i}") | {"case": f"bench::test[c{i}]"}
        for i in range(45)
    ]
    lost = [
        record(f"bench::test_lost[{i}]", status="failed", reason="x" * 4999) for i in range(200)
    ]
    text = html_of(tmp_path, [environment(), *many, *lost])
    found = Document(text)
    assert len(found.all("figure")) == 2
    assert "this section leaves out 5 case groups, 38 figures." in found.text
    assert re.search(r"this section leaves out \d+ table rows\.", found.text)
    assert "17 more findings are left out" in found.text
    shown, packed = (
        int(re.search(pattern, found.text)[1])
        for pattern in (r"The first (\d+) of these records", r"The other (\d+) are packed")
    )
    assert shown + packed == 246
    targets = {attrs.get("id") for _, attrs in found.tags}
    linked = {str(attrs["href"])[1:] for attrs in found.all("a")}
    assert len(linked) > 20
    assert linked <= targets
    assert len(text) < 1_200_000
