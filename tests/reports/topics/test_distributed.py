"""Training on several processes: what is said of it, and what the section shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ledger.record import Record
from reports import load
from reports.blocks import Plotter
from reports.topics import distributed
from reports.words import MISSING
from tests.helpers.ledgers import environment, record, write_ledger
from tests.helpers.timed_ledgers import distributed_case

NO_FIGURES = Plotter("r", enabled=False)
STRONG = distributed_case("ddp", "strong", 1.0, 0.6, 0.96)
WEAK = distributed_case("fsdp", "weak", 1.0, 1.25, 4.0)


def run_of(folder: Path, *records: Record) -> load.Run:
    return load.Run.read(write_ledger(folder, [environment(), *records]), "run")


def test_speed_counts_the_batch_of_each_process_and_has_the_range_of_the_rounds(
    tmp_path: Path,
) -> None:
    frame = distributed.measured(run_of(tmp_path, STRONG, WEAK))
    expected = [1, 1 / 0.6, 1 / 0.96, 1, 2 / 1.25, 1]
    assert frame["speed"].tolist() == pytest.approx(expected)
    assert frame["low"].tolist() == pytest.approx([s * 0.95 / 1.05 for s in expected])
    assert frame["high"].tolist() == pytest.approx([s * 1.05 / 0.95 for s in expected])


def test_processes_are_called_faster_where_all_rounds_are(tmp_path: Path) -> None:
    first, second = distributed.find(run_of(tmp_path, STRONG, WEAK))
    assert first.headline == (
        "Training by DDP, one batch for all, was faster than on one process on 2 processes, but "
        "not on 4 processes"
    )
    assert second.headline.startswith("Training by FSDP2, a batch for each, was faster than")
    (none,) = distributed.find(run_of(tmp_path / "b", distributed_case("ddp", "weak", 1.0, 2.1)))
    assert none.headline.endswith("was never clearly faster than on one process")
    assert "0.952 times" in none.detail.replace("\u00a0", " ")


def test_section_has_three_figures_and_the_error_of_the_model(tmp_path: Path) -> None:
    run = run_of(tmp_path, STRONG, WEAK)
    (made,) = distributed.section(run, Plotter("r", enabled=True))
    assert [plot.title for plot in made.plots] == [
        "What is left of the speed of one process",
        "What the messages cost",
        "The model of clusters beside the measurement",
    ]
    (table,) = made.tables
    assert [row[-1].replace("\u00a0", " ") for row in table.rows] == [
        MISSING,
        "+10.0 %",
        "+10.0 %",
    ] * 2
    assert not made.missing


def test_without_a_measurement_the_section_has_the_command(tmp_path: Path) -> None:
    reason = "Suite standard trains on one process; pytest --suite=study -k bench_distributed does"
    name = "bench_distributed::test_scaling[processes]"
    skipped = record(name, record="skip", status="skipped", reason=reason)
    (made,) = distributed.section(run_of(tmp_path / "a", skipped), NO_FIGURES)
    assert reason in made.missing
    assert not distributed.section(run_of(tmp_path / "b"), NO_FIGURES)


def test_times_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    odd = distributed_case("mpi", "strong", 1.0, 1.0, 1.0)
    for row, time_s in zip(odd["series"]["device_scaling"], (1.0, 0.0, None), strict=True):
        row["time_s"] = time_s
    assert not [*distributed.find(run_of(tmp_path, odd))]
