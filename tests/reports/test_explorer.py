"""The explorer of a page: every record, as text or packed, and none of it markup."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path

import pytest

from bench.ledger.record import Record
from reports import explorer, load, page
from tests.helpers.ledgers import environment, record, standard_ledger, write_ledger


def run_of(tmp_path: Path, records: list[Record]) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", records), "run")


def many(n: int) -> list[Record]:
    cases = [
        record(f"bench::test[{i}]", metrics={"time_s": 1 / (i + 3)}, samples={"time_s": [i / 7]})
        for i in range(n)
    ]
    return [environment(), *cases]


def unpacked(groups: list[str]) -> list[Record]:
    return [r for group in groups for r in json.loads(gzip.decompress(base64.b64decode(group)))]


def test_records_beyond_those_shown_are_packed_whole(tmp_path: Path) -> None:
    records = many(explorer.SHOWN + 450)
    made = explorer.explorer(run_of(tmp_path, records), "run1", [], 1)
    assert len(made.shown) == explorer.SHOWN
    assert [entry.record for entry in made.packed] == unpacked(made.groups)
    assert made.left_out == 0
    assert len(made.data["index"]) == len(made.packed) == 251 + 200
    everything = [json.loads(entry.text) for entry in [*made.shown, *made.packed]]
    key = lambda item: (item["case"] or "", item["environment"])  # noqa: E731
    assert sorted(everything, key=key) == sorted(records, key=key)


def test_evidence_stands_on_the_page_wherever_it_is_in_the_ledger(tmp_path: Path) -> None:
    last = f"bench::test[{explorer.SHOWN + 99}]"
    run = run_of(tmp_path, many(explorer.SHOWN + 100))
    shown = explorer.explorer(run, "run1", [last], 1).shown
    assert shown[-2].name == last  # before the environment, in the order of the ledger
    assert shown[-2].anchor == f"run1-case{explorer.SHOWN + 100}"


def test_what_the_page_has_no_room_for_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "CHARACTERS", 200_000)
    made = explorer.explorer(run_of(tmp_path, many(2_000)), "run1", [], 1)
    assert made.left_out > 0
    assert len(made.shown) + len(made.packed) + made.left_out == 2_001
    assert sum(map(len, made.groups)) < 200_000


def test_data_of_the_page_ends_no_script_element() -> None:
    hostile = "</script><script>alert(1)</script><!--"
    block = explorer.data_block({"name": hostile})
    assert "<" not in block
    assert json.loads(block) == {"name": hostile}


def test_metric_is_shown_in_words_and_at_full_precision(tmp_path: Path) -> None:
    run = run_of(tmp_path, many(1))
    text, _ = page.render([run], "html")
    assert '333\u00a0ms <span class="exact">0.3333333333333333</span>' in text


def test_long_text_of_a_record_is_cut(tmp_path: Path) -> None:
    case = record("bench::test[x]", facts={"text": "x" * 9_999, "short": 'a "quoted\\" b'})
    (entry,) = explorer.explorer(run_of(tmp_path, [case]), "run1", [], 1).shown
    facts = json.loads(entry.text)["facts"]
    assert facts["short"] == 'a "quoted\\" b'
    assert facts["text"] == "x" * explorer.MAX_TEXT + "…"


def test_state_says_how_a_case_ended_or_how_steady_it_ran(tmp_path: Path) -> None:
    records = standard_ledger()
    made = explorer.explorer(run_of(tmp_path, records), "run1", [], 1)
    assert {"environment", "skipped", "failed", "finished"} >= set(made.states)
    shaky = record("bench::test[s]", facts={"stability": {"verdict": "noisy"}})
    assert explorer.state(shaky) == "noisy"


def test_page_holds_a_record_only_once(tmp_path: Path) -> None:
    run = run_of(tmp_path, many(explorer.SHOWN + 10))
    text, _ = page.render([run], "html")
    shown = [json.loads(html.unescape(x)) for x in re.findall(r'class="record">(.*?)</pre>', text)]
    data = json.loads(text.rpartition('id="data">')[2].partition("</script>")[0])
    cases = [r["case"] for r in shown + unpacked(data["run1"]["groups"])]
    assert len(cases) == len(set(cases)) == explorer.SHOWN + 11
