"""The section on what makes a step take longer, and the tutorial's 45 s explained."""

from pathlib import Path

import pytest

from reports import drawing
from reports.blocks import Plotter
from reports.load import load_runs
from reports.topics import cost
from tests.helpers.ledgers import environment, record, write_ledger

SIZES = {"batch_size": (1, 2, 4), "n_layer": (1, 2, 4)}


def growth_case(dimension, exponent=0.9, device="cpu"):
    sizes = SIZES[dimension]
    return record(
        f"bench_cost::test_growth[{dimension}-{device}]",
        group="growth",
        params={
            "dimension": dimension,
            "device": device,
            "precision": "fp32",
            "sizes": list(sizes),
            "seconds": 3.0,
        },
        metrics={
            "rounds": 6,
            "exponent": exponent,
            "exponent_low": exponent - 0.02,
            "exponent_high": exponent + 0.02,
            "flops_exponent": 1.0,
        },
        series={
            "cost_curve": [
                {"size": n, "time_s": 0.1 * n**exponent, "flops": 10**9 * n} for n in sizes
            ]
        },
    )


def conditions_case(device="cpu", time_s=0.5, ratios=(1.0, 0.6, 1.1, 1.8), model="model5"):
    names = ("fp32", "bf16", "gradients", "one_thread")
    return record(
        f"bench_cost::test_conditions[{model}-{device}]",
        group="conditions",
        params={
            "model": model,
            "device": device,
            "batch_size": 1,
            "block_size": 256,
            "seconds": 15,
        },
        metrics={"rounds": 5, "time_s": time_s, "flops": 64 * 10**9},
        series={
            "conditions": [
                {
                    "condition": name,
                    "time_s": ratio * time_s,
                    "ratio": ratio,
                    "ratio_low": ratio if ratio == 1 else 0.98 * ratio,
                    "ratio_high": ratio if ratio == 1 else 1.02 * ratio,
                }
                for name, ratio in zip(names, ratios, strict=True)
            ]
        },
    )


def section(tmp_path: Path, *cases):
    folder = write_ledger(tmp_path / "run", [environment(), *cases])
    (made,) = cost.section(load_runs([folder])[0], Plotter("x", enabled=True))
    return made


def test_growth_is_drawn_against_the_flops_and_tabled_with_its_interval(tmp_path):
    made = section(tmp_path, growth_case("batch_size"), growth_case("n_layer", 0.7))
    assert [plot.title for plot in made.plots] == ["How a training step grows"]
    assert "depth (L)" in made.plots[0].svg
    assert made.plots[0].data.rows[0] == ("sequences (B)", "1", "1", "1")
    (table,) = made.tables
    assert table.rows[0] == ("sequences (B), cpu", "1, 2, 4", "0.900", "0.880 to 0.920", "1", "6")


def test_curve_that_bends_has_a_slope_at_its_end_and_no_exponent(tmp_path):
    bent = growth_case("n_layer", 0.75)
    bent["series"]["cost_curve"] = [
        {"size": n, "time_s": time_s, "flops": n} for n, time_s in ((1, 1.0), (2, 1.5), (4, 2.85))
    ]
    (table,) = section(tmp_path, bent).tables
    assert table.rows[0][2:4] == ("0.926 (two largest sizes)", "\u2013")
    stored = growth_case("n_layer", 0.75)
    stored["metrics"] |= {"bend": 0.36, "bend_low": 0.3, "bend_high": 0.42}
    stored["metrics"] |= {"last_slope": 0.93, "last_slope_low": 0.91, "last_slope_high": 0.95}
    (table,) = section(tmp_path / "b", stored).tables
    assert table.rows[0][2:4] == ("0.930 (two largest sizes)", "0.910 to 0.950")


def test_times_and_flops_are_multiples_of_those_at_the_smallest_size(tmp_path):
    folder = write_ledger(tmp_path / "run", [environment(), growth_case("n_layer", 0.5)])
    run = load_runs([folder])[0]
    frame = cost.relative(run.series("growth", "cost_curve"), run.cases("growth"))
    assert frame["size"].tolist() == [1, 2, 4]
    assert frame["time_s"].tolist() == pytest.approx([1, 2**0.5, 2])
    assert frame["flops"].tolist() == [1, 2, 4]


def test_tutorials_seconds_are_divided_by_the_factors_that_were_measured(tmp_path):
    """45 s over 16 times 0.5 s is 5.62; 1.8 by threads and 1.1 by gradients leave 2.84."""
    made = section(tmp_path, conditions_case())
    (table,) = made.tables
    assert table.rows[0] == ("The tutorial, on a CPU", "45.0\u00a0s", "22.8\u00a0GFLOP/s")
    assert table.rows[2][1:] == ("8.00\u00a0s", "128\u00a0GFLOP/s")
    assert "reports 45.0\u00a0s, 5.62 times the 8.00\u00a0s measured here" in table.note
    assert (
        "1.80 times as long on one thread and 1.10 times as long with gradients enabled"
        in table.note
    )
    assert "A factor of 2.84 stays unexplained" in table.note
    assert "No accelerator was timed" in table.note


def test_a_factor_that_may_be_none_is_not_taken_out(tmp_path):
    """1.01 with an interval from 0.99: only the threads' 1.8 is, of 5.62, and leaves 3.12."""
    note = section(tmp_path, conditions_case(ratios=(1.0, 0.6, 1.01, 1.8))).tables[0].note
    assert "1.80 times as long on one thread. A factor of 3.12 stays unexplained" in note


def test_accelerator_is_set_beside_the_tutorials_second(tmp_path):
    made = section(tmp_path, conditions_case(), conditions_case("cuda:0", 0.001))
    assert (
        "cuda:0 takes 16.0\u00a0ms; the tutorial reports about 1.00\u00a0s" in made.tables[0].note
    )
    assert "No accelerator" not in made.tables[0].note


def test_other_models_are_not_set_beside_the_tutorial(tmp_path):
    (table,) = section(tmp_path, conditions_case(model="model3")).tables
    assert table.note == ""
    assert not any("The tutorial" in row[0] for row in table.rows)


def test_run_that_did_not_try_has_no_such_section(tmp_path):
    folder = write_ledger(tmp_path / "run", [environment()])
    assert cost.section(load_runs([folder])[0], Plotter("x", enabled=True)) == []


def test_run_in_which_it_failed_says_so(tmp_path):
    failed = growth_case("n_layer") | {"status": "failed", "reason": "MemoryError", "metrics": {}}
    made = section(tmp_path, failed)
    assert made.tables == made.plots == []
    assert "No timing of growing sizes finished" in made.missing


def test_first_condition_is_not_drawn_against_itself(tmp_path):
    folder = write_ledger(tmp_path / "run", [environment(), conditions_case()])
    run = load_runs([folder])[0]
    rows = run.series("conditions", "conditions").assign(device="cpu")
    figure = cost.conditions_figure(rows)
    texts = [text.get_text() for text in figure.axes[0].texts if "(" not in text.get_text()]
    assert texts == ["In bf16", "With gradients enabled", "On one thread"]
    assert drawing.svg(cost.conditions_figure, rows, "a")
