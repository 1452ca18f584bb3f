"""No text of a ledger means anything in a report, in Markdown or in HTML, whatever it holds."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bench.ledger.record import LEDGER_NAME, Record
from gptcore.lines import dump_line
from reports import load, markdown, page, pull_request
from tests.helpers.ledgers import environment, standard_ledger
from tests.helpers.timed_ledgers import timed_ledger

PAYLOADS = [
    "![x](//h/a.png)", "<img src=//h/a.png>", "<script>alert(1)</script>", "[a](http://h)",
    "http://h.io/x", "https://h.io", "www.h.io", "ftp://h.io", "h.io", "a@h.io", "@octocat",
    "@org/team", "#1", "GH-1", "o/r#1", "o/r@0123456", "0123456789abcdef0123456789abcdef01234567",
    ":tada:", "a | b", "| --- | --- |", "# x", "x\n# y", "x\n\n- y", "```", "`", "a``b", "~~~",
    "**b**", "_i_", "~~s~~", "$x$", "\\", "\\|", "\\`", "&lt;img&gt;", "&#64;octocat", "<!-- x",
    "[x]: http://h", "[^1]", "- x", "+ x", "1. x", "1) x", "> x", "===", "---", "- [ ] x",
    "<http://h>", "mailto:a@h.io", "\u00a0@octocat", "(@octocat)", "x\u2028# y", "    code",
    "\u202e@octocat", "\x1b[31m", "javascript:x", "a\\\nb", "x  \ny", "<details>", "]]>", "%23",
]  # fmt: skip
ACTIVE = re.compile(
    r"(?i)[@<>\\`*_~$\[\]|]|#\d|gh-\d|https?:|ftp:|www\.|mailto:|:\w+:|\w\.[a-z]|"
    r"\b[0-9a-f]{7,40}\b|&\w*;"
)
"""What GitHub, or linkify-it, makes something of in text outside code."""
SWITCHES = ("work", "precision", "sampler", "a", "b", "source", "way", "dimension", "compile")
"""Params that choose what a page says; one ledger has the payload there, one does not."""


def replaced(value: Any, name: Callable[[str], str], keep: tuple[str, ...] = ()) -> Any:
    """Return a JSON value with another name for every text in it."""
    if isinstance(value, dict):
        return {k: v if k in keep else replaced(v, name, keep) for k, v in value.items()}
    if isinstance(value, list):
        return [replaced(item, name, keep) for item in value]
    return name(value) if isinstance(value, str) else value


def hostile(name: Callable[[str], str], keep: tuple[str, ...]) -> list[Record]:
    """Return a ledger with another name for every text of a person, a model or a machine."""
    made = copy.deepcopy(ledger())
    for index, record in enumerate(made):
        for part in ("params", "facts", "series"):
            record[part] = replaced(record[part], name, (*keep, "verdict"))
        if record["case"]:
            inside = name(record["case"]).replace("\n", " ")
            record["case"] = f"{record['case'].partition('[')[0]}[{index} {inside}]"
        for part in ("command", "commit", "environment", "reason"):
            record[part] = record[part] and name(record[part])
        record["facts"][name("fact")] = {name("fact"): name("fact")}
    return made


@cache
def ledger() -> list[Record]:
    """Return cases of every kind, without the long series of numbers."""
    records = json.loads(json.dumps([environment(), *standard_ledger(), *timed_ledger()]))
    for record in records:
        record["series"] = {
            k: v for k, v in record["series"].items() if k in ("generated", "top_operators")
        }
    return records


def page_of(form: str, folder: Path, name: Callable[[str], str], keep: tuple[str, ...]) -> str:
    folder.mkdir()
    lines = map(dump_line, hostile(name, keep))
    (folder / LEDGER_NAME).write_text("\n".join(lines), encoding="ascii")
    if form.startswith("index"):
        return page.render_index(folder.parent, form.partition(" ")[2])[0]
    run = load.Run.read(folder, label=name("label"))
    assert not run.warnings
    run.warnings.append(f"line 1: {name('warning')}")
    if form == "comment":
        return pull_request.render(run, run)[0]
    return page.render([run, run], form, run)[0]


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def kinds(tokens: list[Token]) -> list[tuple[str, str]]:
    """Return the blocks, without what stands in them."""
    return [(token.type, token.tag) for token in tokens]


def children(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens for child in token.children or ()]


ROUNDS = 3
"""Pages for each ledger; every text is another payload in each of them."""


@pytest.mark.parametrize("form", ["md", "comment", "index md"])
@pytest.mark.parametrize("keep", [(), SWITCHES], ids=["all", "names"])
def test_no_text_of_a_ledger_becomes_markup(
    tmp_path: Path, keep: tuple[str, ...], form: str
) -> None:
    ranks: dict[str, int] = defaultdict(lambda: len(ranks))
    tmp_path /= "runs"
    tmp_path.mkdir()
    plain = kinds(parsed(page_of(form, tmp_path / "p", lambda text: f"name {ranks[text]}", keep)))
    for index in range(ROUNDS):

        def payload(text: str, start: int = index * len(PAYLOADS) // ROUNDS) -> str:
            return f"{PAYLOADS[(ranks[text] + start) % len(PAYLOADS)]} {ranks[text]}"

        shutil.rmtree(tmp_path)  # an index is one of all runs in its folder
        tmp_path.mkdir()
        text = page_of(form, tmp_path / str(index), payload, keep)
        assert not re.search("[\x1b\u2028\u202e]", text)
        tokens = parsed(text)
        # Where the names of all things change, other findings are the most important.
        assert kinds(tokens) == plain if keep else set(kinds(tokens)) <= set(plain)
        inline = children(tokens)
        assert {token.type for token in inline} <= {
            "text", "text_special", "code_inline", "strong_open", "strong_close", "softbreak",
        }  # fmt: skip
        shown = [re.sub(r"[|<]", "", t.content) for t in inline if t.type.startswith("text")]
        assert [found for found in shown if ACTIVE.search(found)] == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_is_shown_as_it_is(payload: str) -> None:
    for made in (markdown.escape(f"see {payload} now"), markdown.code(f"see {payload} now")):
        shown = "".join(token.content for token in children(parsed(made)))
        line = re.sub(r"[ \t\n]+", " ", f"see {payload} now")
        expected = line.replace("\u2028", "\\u2028").replace("\u202e", "\\u202e")
        assert shown == expected.replace("\x1b", "\\x1b")


def test_sentences_of_our_own_stay_readable() -> None:
    line = "Model 5 (124 M) is 2.15 times faster in bf16, 95 % interval 2.1 to 2.2; B = 4."
    assert markdown.escape(line) == line


def test_number_with_a_point_at_the_start_begins_no_list() -> None:
    assert kinds(parsed(markdown.escape("1. x"))) == kinds(parsed("x"))


# --- HTML and SVG ---------------------------------------------------------------------------

QUOTED = [
    '" onload="alert(1)', "' onload='alert(1)", "</svg><script>alert(1)</script>", "</style><b>",
    "--><b>", "]]><b>", "&quot; x=1", '"/><a href="//h">', "#0a0b0c", ' id="x"', "url(#x)",
    "{{ 1 }}", "{% raw %}", "javascript:alert(1)", "<svg onload=x>", "</title><b>", "\\u003cb",
]  # fmt: skip


class Tags(HTMLParser):
    """Collects every tag with the names of its attributes, and the links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.links += [value or "" for name, value in attrs if name.endswith("href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("form", ["html", "index html"])
@pytest.mark.parametrize("keep", [(), SWITCHES], ids=["all", "names"])
def test_no_text_of_a_ledger_becomes_a_tag_or_an_attribute(
    tmp_path: Path, keep: tuple[str, ...], form: str
) -> None:
    ranks: dict[str, int] = defaultdict(lambda: len(ranks))
    plain = Tags(page_of(form, tmp_path / "p", lambda text: f"name {ranks[text]}", keep))
    shown = set()
    for index, shift in enumerate((0, 8)):
        made = Tags(
            page_of(
                form,
                tmp_path / str(index),
                lambda text, shift=shift: (
                    f"{QUOTED[(ranks[text] + shift) % len(QUOTED)]} {ranks[text]}"
                ),
                keep,
            )
        )
        known = {*plain.found, ("text", ("style", "transform"))}  # a label that stands upright
        assert set(made.found) <= known
        assert all(link.startswith("#") for link in made.links)
        shown |= {payload for payload in QUOTED if payload in made.text}
    assert form != "html" or shown == set(QUOTED)
