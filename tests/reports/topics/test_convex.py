"""The topic on convex problems: what few seeds may claim, and what the section shows."""

from reports import load
from reports.blocks import Plotter
from reports.topics import convex
from tests.helpers.ledgers import write_ledger
from tests.reports.test_headlines import convex_cases


def read(folder, cases):
    return load.Run.read(write_ledger(folder, cases), "run")


def test_few_seeds_tell_no_orders_apart(tmp_path):
    cases = convex_cases(-0.9, -1.6, -2.4)
    cases[1]["metrics"]["n_seeds"] = 4  # two of them measure
    (found,) = convex.find(read(tmp_path, cases))
    assert found.headline.endswith("there were too few seeds to tell the orders of the data apart")


def test_section_has_the_curves_and_the_slopes_of_each_order(tmp_path):
    cases = convex_cases(-0.9, -1.6, -2.4)
    for case, rate in zip(cases, (-0.9, -1.6, -2.4), strict=True):
        case["series"]["excess"] = [
            {"epochs": k, "excess": k**rate, "low": None, "high": None, "step_size": 0.1}
            for k in (2, 4, 8)
        ]
    (section,) = convex.section(read(tmp_path, cases), Plotter("r", True))
    assert len(section.plots) == 1
    assert [row[0] for row in section.tables[0].rows] == [
        "random blocks of the grid",
        "blocks, shuffled once",
        "DataLoader, shuffled",
    ]
    assert "Half of the seeds choose the step size" in section.tables[0].note
