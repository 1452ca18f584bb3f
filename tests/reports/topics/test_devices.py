"""The ratio of a processor and an accelerator, from records of a device that this machine lacks."""

from __future__ import annotations

from pathlib import Path

from bench.ledger.record import Record
from reports import load
from reports.blocks import Plotter
from reports.topics import devices
from tests.helpers.ledgers import environment, model_case, write_ledger

PEAK = 1e15


def run_of(tmp_path: Path, *records: Record) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", [environment(), *records]), "run")


def on(device: str, work: str, time_s: float, precision: str = "fp32") -> Record:
    made = model_case(work, precision, time_s, PEAK, device=device)
    return made | {"case": made["case"].replace("-cpu-", f"-{device}-")}


def test_ratios_have_the_range_of_the_rounds(tmp_path: Path) -> None:
    cases = [on(d, w, t) for w in ("forward", "step") for d, t in (("cpu", 4.0), ("cuda:0", 0.1))]
    run = run_of(tmp_path, *cases)
    rows = devices.ratios(run.cases("model"))
    assert list(rows["work"]) == ["forward", "step"]
    assert (rows["low"].lt(40) & rows["ratio"].round(6).eq(40) & rows["high"].gt(40)).all()
    assert [f.headline for f in devices.find(run)] == [
        "A forward pass of Model 5 is 40 times faster on cuda:0 than on the CPU",
        "A training step of Model 5 is 40 times faster on cuda:0 than on the CPU",
    ]
    (made,) = devices.section(run, Plotter("r", enabled=False))
    assert [row[4] for row in made.tables[0].rows] == ["40", "40"]
    assert not made.missing


def test_rounds_that_overlap_show_no_difference(tmp_path: Path) -> None:
    run = run_of(tmp_path, on("cpu", "step", 4.0), on("cuda:0", "step", 3.99))
    (found,) = devices.find(run)
    assert "no clear difference" in found.headline
    assert not found.clause


def test_other_precisions_are_not_compared_and_without_an_accelerator_the_section_says_so(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, on("cpu", "step", 4.0), on("cuda:0", "step", 0.1, precision="bf16"))
    assert devices.ratios(run.cases("model")).empty
    (made,) = devices.section(run, Plotter("r", enabled=False))
    assert "times each model on both" in made.missing
