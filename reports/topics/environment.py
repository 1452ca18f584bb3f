"""What a run was measured on: its machine, settings, versions and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bench.ledger.folders import look_up
from gptcore import plain_text
from reports import words
from reports.blocks import Finding, Plotter, Section, Table, first_rows, table
from reports.claims import listed
from reports.facts import fact_name, fact_text
from reports.load import Run

ORDER = ("machine", "conditions", "pinned", "libraries", "software", "run", "end")
CAPTIONS = {
    "machine": "The machine.",
    "conditions": "State of the machine at the start and at the end of the run.",
    "pinned": "Settings that were fixed for the whole run.",
    "libraries": "How torch was built, and the libraries that it loaded.",
    "software": "Versions.",
    "run": "The run.",
    "end": "The end of the run.",
}
ELSEWHERE = {"corpora", "ceilings"}
MAX_CORPORA = 24


def find(run: Run) -> Iterator[Finding]:
    """Say where no time was measured on an accelerator, and why."""
    present = run.fact("machine", "accelerators")
    if any(not device.startswith("cpu") for device in _devices(run)):
        return  # whatever the facts say, a case ran elsewhere
    if present == []:
        yield Finding(
            20,
            "machine",
            "",
            "No accelerator was found, so every case ran on the CPU",
            "Every time in this report is of the CPU. It says nothing about a GPU.",
        )
    elif present and run.fact("run", "devices") == ["cpu"]:
        yield Finding(
            30,
            "machine",
            "",
            "An accelerator is present but was not measured",
            "The run was limited to the CPU. The option --devices adds the accelerator.",
        )


def _devices(run: Run) -> Iterator[str]:
    """Yield the device of each case that names one, and of the cases that pairs start from."""
    for params in (record["params"] for record in run.finished):
        for case in (params, params.get("base")):
            if isinstance(case, dict) and case.get("device"):
                yield str(case["device"])


def section(run: Run, _: Plotter) -> list[Section]:
    """Return what every number of the page was measured on."""
    tables, n = environment(run), len(run.environments)
    sessions = ""
    if n > 1:
        tables = [_sessions(run), *tables]
        sessions = f" This run was made in {n} sessions; the other tables describe the newest."
    if len(run.machines) > 1:
        sessions += (
            " They ran on several machines, so the speeds of training runs are not compared."
        )
    sessions += _nodes(run)
    missing = (
        "This ledger holds no environment record, so its machine and versions are unknown. Its "
        "times cannot be compared with those of other runs."
    )
    return [
        Section(
            "environment",
            "Environment",
            "Environment",
            f"The machine, the versions and the texts behind every number above.{sessions}",
            tables=tables,
            missing="" if tables else missing,
        )
    ]


def _nodes(run: Run) -> str:
    """Return a sentence on the cases that ran as tasks of a cluster, "" where there are none."""
    nodes = [node for r in run.finished if isinstance(node := r["facts"].get("node"), dict)]
    if not nodes:
        return ""
    kinds = {
        f"{fact_text(node.get('cpu') or 'an unknown CPU')} ({_threads(node.get('threads'))})"
        for node in nodes
    }
    n, where = words.count(len(nodes), "case"), listed(sorted(kinds))
    return (
        f" {n} ran as tasks of a Ray cluster, on {where}: other tasks ran beside them, so their "
        "training speeds and energy are not recorded."
    )


def _threads(number: Any) -> str:
    return words.count(number, "thread") if isinstance(number, int) else "threads unknown"


def _sessions(run: Run) -> Table:
    """Return where and with what each session of a run was made."""
    counts = Counter(record["environment"] for record in run.finished)
    rows = []
    for name, record in run.environments.items():
        folder = [run.parts[name]] if name in run.parts else []
        facts = (
            look_up(record, "machine", "cpu"),
            look_up(record, "run", "threads"),
            look_up(record, "software", "torch"),
            record["commit"] and record["commit"][:10],
        )
        shown = [fact_text(fact) for fact in facts]
        rows.append((record["started_at"][:16], *folder, *shown, str(counts[name])))
    columns = ("Began", *(["Folder"] if run.parts else []), "CPU", "Threads", "torch", "Commit")
    return table(
        "The sessions of this run, oldest first.", (*columns, "Finished cases"), first_rows(rows)
    )


def environment(run: Run) -> list[Table]:
    """Return the machine, its state, the software, the run and the texts, as far as recorded."""
    facts: dict[Any, Any] = run.environment["facts"] if run.environment else {}
    end = run.fact("end", default={})
    later = end.get("conditions") if isinstance(end, dict) else None
    made = [
        _part(name, facts[name], later if name == "conditions" else None)
        for name in dict.fromkeys([*ORDER, *facts])
        if name not in ELSEWHERE and isinstance(facts.get(name), dict) and facts[name]
    ]
    corpora = run.fact("corpora", default=[])
    for corpus in (corpora if isinstance(corpora, list) else [])[:MAX_CORPORA]:
        if isinstance(corpus, dict):
            name = words.corpus(corpus.get("name"))
            made.append(_of_facts(corpus, "A corpus.", f"The corpus {name}"))
    return made


def _part(name: str, facts: dict[Any, Any], later: Any) -> Table:
    """Return one part of the environment; `later` is the same part at the end of the run."""
    caption = CAPTIONS.get(name, words.sentence(fact_name(name)))
    fold = caption.removesuffix(".")
    if isinstance(later, dict):
        return _start_and_end(facts, later, caption, fold)
    if name == "end":
        facts = {k: v for k, v in facts.items() if k not in {"ceilings", "conditions"}}
    if name == "machine" and isinstance(facts.get("cpu"), str):
        fold = f"The machine: {plain_text.shorten(facts['cpu'], 60)}"
    return _of_facts(facts, caption, fold)


def _of_facts(facts: dict[Any, Any], caption: str, fold: str) -> Table:
    return table(caption, ("Fact", "Value"), first_rows(list(_rows(facts))), fold)


def _start_and_end(start: dict[Any, Any], end: dict[Any, Any], caption: str, fold: str) -> Table:
    before, after = dict(_rows(start)), dict(_rows(end))
    rows = [
        (name, before.get(name, words.MISSING), after.get(name, words.MISSING))
        for name in dict.fromkeys([*before, *after])
    ]
    return table(caption, ("Fact", "At the start", "At the end"), first_rows(rows), fold)


def _rows(facts: dict[Any, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each fact; what an object holds has its name before its own."""
    for key, value in facts.items():
        name = above + fact_name(key)
        if isinstance(value, dict) and value and above.count("·") < 2:
            yield from _rows(value, f"{name} · ")
        else:
            yield name, fact_text(value, str(key))
