"""The section on convergence: which runs share a figure, and what stands beside a difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bench.ledger.record import Record
from reports import load, words
from reports.blocks import Plotter, Section
from reports.topics.convergence import figures, section
from tests.helpers.ledgers import comparison_case, training_case, variance_case, write_ledger

Show = Callable[[list[Record]], Section]
DIFFERENCES = [0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.02, 0.02]


@pytest.fixture
def shown(tmp_path: Path) -> Show:
    def show(records: list[Record]) -> Section:
        run = load.Run.read(write_ledger(tmp_path / "run", records), "run")
        (made,) = section(run, Plotter("r", True))
        return made

    return show


def arms_apart() -> list[Record]:
    """Return runs of one experiment whose arms differ in the learning rate and the width."""
    runs = []
    for rate, width in ((0.001, 64), (0.004, 128)):
        for seed in (0, 1):
            run = training_case("sequential", seed)
            run["case"] = f"bench_convergence::test_train[{rate}-{seed}]"
            run["params"] |= {
                "experiment": "rates-python-docs-L2",
                "arm": f"C{width}-lr{rate}",
                "learning_rate": rate,
                "n_embd": width,
                "differs_in": "n_embd learning_rate",
            }
            runs.append(run)
    return runs


def test_arms_that_differ_in_other_settings_than_the_sampler_share_a_figure(shown: Show) -> None:
    made = shown(arms_apart())
    (test, _) = made.plots
    assert test.data is not None
    arms = {row[0].replace(words.NBSP, " ") for row in test.data.rows}
    assert any("learning rate 0.001" in arm for arm in arms)
    assert any("learning rate 0.004" in arm for arm in arms)
    assert "lr" not in test.caption  # it is no condition that all runs share
    (training,) = made.tables
    assert [row[1] for row in training.rows] == ["2", "2"]


def test_runs_of_ledgers_without_arms_are_told_apart_by_their_sampler(shown: Show) -> None:
    runs = [training_case(sampler, 0) for sampler in ("sequential", "shuffled_blocks")]
    for run in runs:
        del run["params"]["arm"]
    (training,) = shown(runs).tables
    assert [row[0] for row in training.rows] == ["DataLoader, unshuffled", "DataLoader, shuffled"]


def test_experiments_on_one_text_have_tables_of_their_own(shown: Show) -> None:
    pairs = [comparison_case("a", b, DIFFERENCES) for b in "bc"]
    for pair, name in zip(pairs, ("orders", "decay"), strict=True):
        pair["params"]["experiment"] = f"{name}-python-docs-L2"
    captions = [table.caption for table in shown(pairs).tables]
    assert [c for c in captions if "Experiment: orders on python-docs" in c] == [*captions[:2]]
    assert "Experiment: decay on python-docs" in captions[2]


def test_difference_has_a_figure_of_its_course_and_a_table_of_its_size(shown: Show) -> None:
    made = shown([comparison_case("a", "b", DIFFERENCES)])
    assert "holds at each point alone" in made.plots[1].caption
    row = dict(zip(made.tables[1].columns, made.tables[1].rows[0], strict=True))
    assert row["Worth how many times the steps"] == "1.11"
    assert row["Ratio of the tokens (95 % interval)"] == "0.800 (0.700 to 0.900)"
    assert row["Tokens until it, first and second"].replace(words.NBSP, " ") == "40.0 k, 50.0 k"


def test_earlier_comparison_has_no_empty_table_of_sizes(shown: Show) -> None:
    case = comparison_case("a", "b", DIFFERENCES, reached_loss=None)
    case["series"] = {}
    made = shown([case])
    assert len(made.tables) == len(made.plots) == 1


@pytest.mark.parametrize("speeds", [(2000.0, 500.0), (2000.0, None), (None, None)])
def test_losses_are_shown_by_seconds_where_all_speeds_are_known(
    tmp_path: Path, speeds: tuple[float | None, float | None]
) -> None:
    cases = arms_apart()
    for case in cases:
        speed = speeds["0.004" in case["case"]]
        if case["group"] == "convergence":
            case["metrics"].pop("train_tokens_per_s", None)
            case["metrics"] |= {"train_tokens_per_s": speed} if speed else {}
    run = load.Run.read(write_ledger(tmp_path / "run", cases), "run")
    plots = [plot for part in section(run, Plotter("r", True)) for plot in part.plots]
    losses = [plot for plot in plots if plot.title.startswith("Loss")]
    assert len(losses) >= 2
    assert {plot.other is not None for plot in losses} == {all(speeds)}


def test_seconds_are_tokens_at_the_speed_of_the_arm() -> None:
    points = pd.DataFrame(
        {
            "variant": ["a", "a", "a", "b"],
            "tokens": [0.0, 4000.0, 4000.0, 4000.0],
            "train_tokens_per_s": [1000.0, 1000.0, 4000.0, 500.0],
        }
    )
    assert figures.with_seconds(points)["seconds"].tolist() == [0.0, 4.0, 4.0, 8.0]


def test_variance_estimated_below_zero_is_said(shown: Show) -> None:
    case = variance_case("python-docs", 0.4)
    case["series"]["variance"][0] |= {"variance": -1e-5, "sd": 0.0, "share": 0.0}
    (table,) = shown([case]).tables
    assert "16 crossed runs of crossed on python-docs" in table.caption
    assert table.rows[0][2] == "0, estimated below 0"
    assert table.rows[1][4] == f"40{words.NBSP}%"
