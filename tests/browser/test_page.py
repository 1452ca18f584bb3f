"""The page in a real browser: its script, its themes, its widths, print, and what axe finds.

Needs the dependency group "browser" and a Chromium: that of $CHROMIUM, or one on PATH. Screenshots
go to $SCREENSHOTS, where that is set (`tox run -e browser`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import explorer, load
from reports import page as pages
from tests.helpers.ledgers import record, standard_ledger, write_ledger
from tests.helpers.timed_ledgers import timed_ledger

api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: run `tox run -e browser`"
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (320, 400, 1280)
PACKED = 150
"""Records more than stand on the page as text."""


def chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = chromium()
    if not found:
        pytest.skip(f"no Chromium: set CHROMIUM, or install one of {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        # A test that runs as root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs, the first with a base run and more records than stand as text."""
    folder = tmp_path_factory.mktemp("page")
    more = [
        record(f"bench::test_more[{i}]", group="more", metrics={"time_s": 1 / (i + 3)})
        for i in range(explorer.SHOWN + PACKED)
    ]
    runs = [
        load.Run.read(write_ledger(folder / name, [*standard_ledger(), *rest]), name)
        for name, rest in (("first", [*timed_ledger(), *more]), ("second", []))
    ]
    html, _ = pages.render(runs, "html", runs[1])
    (folder / "page.html").write_text(html, encoding="utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one run with a base run; axe takes long on a page of many records."""
    folder = tmp_path_factory.mktemp("small")
    run = load.Run.read(write_ledger(folder / "run", [*standard_ledger(), *timed_ledger()]), "run")
    (folder / "page.html").write_text(pages.render([run], "html", run)[0], encoding="utf-8")
    return folder / "page.html"


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Any]:
    """The page in a window; a message of the console or a request of the page fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, faults = context.new_page(), []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: request.url == file.as_uri() or faults.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert [f for f in faults if not f.startswith(("blob:", file.as_uri()))] == []


def screenshot(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def copied(page: Any) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def downloaded(page: Any, button: Any) -> str:
    with page.expect_download() as waiting:
        button.click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


# --- the script ---------------------------------------------------------------------------------


def test_header_sorts_the_table_by_value_and_says_so(opened: Any) -> None:
    header = opened.get_by_role("columnheader", name="Time", exact=True).first
    table = header.locator("xpath=ancestor::table")
    column = header.evaluate("head => head.cellIndex")
    for order in ("ascending", "descending"):
        header.get_by_role("button").press("Enter")
        assert header.get_attribute("aria-sort") == order
        shown = table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
        units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
        times = [float(n.replace(",", "")) * units[u] for n, u in map(str.split, shown)]
        assert times == sorted(times, reverse=order == "descending")


def test_filter_finds_records_by_text_and_state_also_packed_ones(opened: Any) -> None:
    part = opened.locator("#run1-cases")
    last = explorer.SHOWN + PACKED - 1
    part.get_by_role("searchbox").fill(f"test_more[{last}]")
    assert "1 of " in part.get_by_role("status").inner_text()
    case = part.locator("details.case:visible")
    case.locator("summary").click()
    record = json.loads(case.locator(".record").inner_text())
    assert record["metrics"]["time_s"] == 1 / (last + 3)
    part.get_by_role("searchbox").fill("")
    part.get_by_role("combobox").select_option("skipped")
    states = part.locator("details.case:visible .state").all_inner_texts()
    assert states
    assert set(states) == {"skipped"}


def test_link_to_evidence_opens_its_case_whole(opened: Any) -> None:
    link = opened.locator(".evidence a").first
    target = str(link.get_attribute("href"))
    assert not opened.locator(target).locator(".record").is_visible()
    link.click()
    assert opened.locator(target).locator(".record").is_visible()


def test_link_to_a_packed_case_opens_it(opened: Any, file: Path) -> None:
    opened.evaluate(f"location.hash = 'run1-case{explorer.SHOWN + PACKED // 2}'")
    case = opened.locator(f"#run1-case{explorer.SHOWN + PACKED // 2} .record")
    case.wait_for(state="visible")
    assert "time_s" in case.inner_text()


def test_record_is_copied_as_json_csv_and_citation(opened: Any) -> None:
    opened.locator(".evidence a").first.click()
    case = opened.locator("details.case[open]")
    record = json.loads(case.locator(".record").inner_text())
    case.get_by_role("button", name="Copy JSON").click()
    assert json.loads(copied(opened)) == record
    case.get_by_role("button", name="Copy CSV").click()
    rows = [line.rsplit(",", 4) for line in copied(opened).split("\r\n")[1:] if line]
    values = {name: value for _, kind, name, _, value in rows if kind == "metrics"}
    assert {name: float(value) for name, value in values.items()} == record["metrics"]
    samples = [float(value) for _, kind, name, _, value in rows if name == "time_s" and value]
    assert set(record["samples"]["time_s"]) <= set(samples)
    case.get_by_role("button", name="Copy citation").click()
    assert record["case"] in copied(opened)
    assert record["commit"][:10] in copied(opened)


def test_commands_and_citation_are_copied(opened: Any) -> None:
    opened.locator("#run1-reproduce [data-copy]").first.click()
    assert "pytest --benchmark-only" in copied(opened)
    opened.get_by_role("button", name="Copy the citation").first.click()
    assert copied(opened).startswith("gptcore, Small-GPT training benchmark: run first")


def test_all_records_and_every_table_are_saved(opened: Any) -> None:
    part = opened.locator("#run1-cases")
    lines = downloaded(opened, part.get_by_role("button", name="All as JSON")).splitlines()
    cases = {json.loads(line)["case"] for line in lines}
    assert f"bench::test_more[{explorer.SHOWN + PACKED - 1}]" in cases
    rows = downloaded(opened, part.get_by_role("button", name="All as CSV")).splitlines()
    assert rows[0] == "case,kind,name,index,value"
    assert len(rows) > len(lines)
    table = downloaded(opened, opened.locator(".csv").first)
    assert "," in table.splitlines()[0]


def test_term_is_explained_on_hover_and_on_focus_until_escape(opened: Any) -> None:
    term, tip = opened.locator("dfn").first, opened.locator("#tip")
    term.hover()
    assert tip.is_visible()
    opened.keyboard.press("Escape")
    assert not tip.is_visible()
    term.focus()
    assert tip.is_visible()
    assert tip.inner_text() in term.locator(".tip").text_content()


def test_point_of_a_figure_tells_its_row_on_hover_and_by_the_arrow_keys(opened: Any) -> None:
    figure = opened.locator("figure:has(> div [data-tip])").first
    points, tip = figure.locator("> div [data-tip]"), opened.locator("#tip")
    rows = figure.locator("tbody tr").all()
    assert points.count() > 1
    points.first.hover()
    for cell in rows[0].locator("th, td").all_text_contents():
        assert cell.strip() in tip.inner_text()
    points.first.focus()
    opened.keyboard.press("ArrowDown")
    assert points.nth(1).get_attribute("aria-label") == tip.inner_text()


def test_base_run_is_chosen_on_a_page_of_several(opened: Any) -> None:
    opened.locator("#base").select_option("run2")
    column = opened.locator("#run1 .first .against").all_inner_texts()
    assert column[0] == "over base"
    assert any(text.startswith("1.000") for text in column)
    assert opened.locator("#run2 .first .against").count() == 0
    opened.locator("#base").select_option("")
    assert opened.locator(".against").count() == 0


def test_theme_is_chosen_and_kept(opened: Any) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, button = opened.evaluate(background), opened.locator("#theme")
    for name in ("light", "dark"):
        button.click()
        assert button.inner_text() == f"Theme: {name}"
    dark = opened.evaluate(background)
    assert dark != light
    opened.reload()
    assert opened.evaluate(background) == dark


def test_print_opens_all_folds_and_closes_them_again(opened: Any) -> None:
    closed = "document.querySelectorAll('details:not([open])').length"
    before = opened.evaluate(closed)
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate(closed) == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.evaluate(closed) == before


# --- without the script, on paper, for all ------------------------------------------------------


def test_page_is_complete_without_its_script(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".script:visible").count() == 0
    assert page.locator("dfn .tip").first.is_visible()
    page.locator("#run1-cases .every > summary").click()
    page.locator("#run1-cases details.case > summary").first.click()
    assert page.locator("#run1-cases .record").first.is_visible()
    assert "are packed in this page" in page.locator("#run1-cases").inner_text()
    context.close()


def test_figure_is_switched_to_another_axis(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    figure = page.locator("figure:has(.other)").first
    first, other = figure.locator("> [role=img]"), figure.locator(".other [role=img]")
    assert "logarithmic" in first.inner_text()
    assert not other.is_visible()
    figure.locator(".other > summary").click()
    assert other.is_visible()
    assert not first.is_visible()
    assert "logarithmic" not in other.inner_text()
    page.emulate_media(media="print")
    assert first.is_visible()
    context.close()


def test_paper_shows_all_that_is_folded(browser: Any, file: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#glossary table").is_visible()
    assert page.locator("#run1-case1 dl").is_visible()
    assert not page.locator("nav").is_visible()
    paper = page.pdf(path=Path(os.environ.get("SCREENSHOTS", tmp_path)) / "page.pdf")
    assert paper.startswith(b"%PDF")
    page.close()


def test_tables_are_not_torn_on_paper(browser: Any, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    inside = "table => [getComputedStyle(table).breakInside, table.rows.length]"
    tables = [table.evaluate(inside) for table in page.locator("table").all()[:40]]
    assert {rule for rule, rows in tables if rows <= 12} == {"avoid"}
    assert {rule for rule, rows in tables if rows > 13} == {"auto"}
    page.close()


def test_a_phone_shows_how_steady_a_case_ran(browser: Any, small: Path) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(small.as_uri())
    state = page.locator(".first table thead th", has_text="State").first.bounding_box()
    assert state["x"] + state["width"] <= 400
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_no_wider_than_the_window(browser: Any, small: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(small.as_uri())
    for fold in page.locator("section > details:not(.every)").all():
        fold.evaluate("fold => { fold.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for wide in page.locator(".scroll:visible").all()[:40]:
        key = wide.locator("tbody th").first
        wide.evaluate("box => { box.scrollLeft = 10000; }")
        assert key.bounding_box()["x"] >= 0  # the column that names the row stays
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "zoom"), [*((width, 1) for width in WIDTHS), (1280, 2)])
def test_axe_finds_nothing(browser: Any, small: Path, scheme: Any, width: int, zoom: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    size = {"width": width // zoom, "height": 900 // zoom}
    context = browser.new_context(
        viewport=size, color_scheme=scheme, device_scale_factor=zoom, bypass_csp=True
    )
    page = context.new_page()
    page.goto(small.as_uri())
    screenshot(page, f"{scheme}-{width}-{zoom}")
    page.locator("#run1-cases .every > summary").click()
    page.locator("#run1-cases details.case > summary").first.click()
    page.locator("#glossary details > summary").click()
    found = axe.run(page).response
    told = [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"][:3]
    ]
    assert told == []
    assert len(found["passes"]) > 20
    context.close()
