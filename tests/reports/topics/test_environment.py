"""What the page says of cases that ran as tasks of a cluster."""

import copy

from bench.engines.task import SPEEDS
from bench.suite.engine import is_task
from reports.__main__ import main as report
from tests.helpers.ledgers import standard_ledger, write_ledger


def page(folder, nodes):
    """Return the page of a ledger whose tasks ran on these nodes, in turns."""
    records, tasks = copy.deepcopy(standard_ledger()), 0
    for record in records:
        if nodes and record["record"] == "case" and is_task(record["case"]):
            record["facts"]["node"] = nodes[tasks % len(nodes)]
            record["metrics"] |= dict.fromkeys(set(SPEEDS) & set(record["metrics"]))
            tasks += 1
    write_ledger(folder / "run", records)
    assert report([str(folder / "run"), "-o", str(folder / "page.html")]) == 0
    return (folder / "page.html").read_text(), tasks


def test_tasks_are_named_with_their_nodes(tmp_path):
    nodes = [{"cpu": "Fast <CPU>", "threads": 1}, {"cpu": None, "threads": []}]
    text, tasks = page(tmp_path, nodes)
    assert tasks > 10
    said = (
        f"{tasks} cases ran as tasks of a Ray cluster, on Fast &lt;CPU&gt; (1 thread) and an "
        "unknown CPU (threads unknown): other tasks ran beside them, so their training speeds and "
        "energy are not recorded."
    )
    assert said in text


def test_without_tasks_nothing_is_said_of_a_cluster(tmp_path):
    assert "Ray cluster" not in page(tmp_path, [])[0]


def test_losses_without_speeds_are_drawn_by_tokens_alone(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without, _ = page(tmp_path / "without", [{"cpu": "A", "threads": 1}])
    with_speeds, _ = page(tmp_path / "with", [])
    assert "seconds of training" in with_speeds
    assert "seconds of training" not in without
