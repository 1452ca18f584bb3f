"""Every figure of planted ledgers, as Matplotlib figures beside what the page shows of them."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import matplotlib as mpl
import pytest

from reports import drawing
from reports.blocks import Plotter
from reports.load import Run
from reports.topics import sections_of
from tests.helpers.drawings import drawn
from tests.helpers.ledgers import (
    coverage_case,
    loader_case,
    model_case,
    position_case,
    record,
    standard_ledger,
    training_case,
    with_form,
    write_ledger,
)
from tests.helpers.own_ledgers import own_pair_case
from tests.helpers.reuse_ledgers import decision_case, published_case, run_case
from tests.helpers.timed_ledgers import pair_case, timed, timed_ledger

LONG = "_a sampler with a name that is much longer than any label of a line may ever become"


def growth(dimension, exponent):
    sizes = (1, 2, 4, 8)
    curve = [{"size": n, "time_s": 0.1 * n**exponent, "flops": 10**9 * n} for n in sizes]
    return record(
        f"bench_cost::test_growth[{dimension}]", group="growth",
        params={"dimension": dimension, "device": "cpu", "precision": "fp32", "sizes": [*sizes]},
        metrics={"exponent": exponent, "flops_exponent": 1.0}, series={"cost_curve": curve},
    )  # fmt: skip


def conditions():
    rows = [
        {"condition": name, "time_s": 0.5 * ratio, "ratio": ratio, "ratio_low": ratio * low,
         "ratio_high": ratio / low}
        for name, ratio, low in (("fp32", 1.0, 1.0), ("bf16", 0.6, 0.9), ("gradients", 1.02, 0.95))
    ]  # fmt: skip
    return record(
        "bench_cost::test_conditions[x]", group="conditions",
        params={"model": "model5", "device": "cpu", "batch_size": 1, "block_size": 256},
        metrics={"time_s": 0.5, "flops": 64 * 10**9}, series={"conditions": rows},
    )  # fmt: skip


def packing():
    rows = [
        {"packing": name, "block_size": 64, "rows": 9, "cropped_share": 0.1 * i,
         "padding_share": 0.0, "left_over_tokens": 1, "whole_documents": 2}
        for i, name in enumerate(("concatenate", "greedy_pad"))
    ]  # fmt: skip
    return record("bench_packing::test_packing[x]", group="packing", series={"packing": rows})


def visits(case):
    rows = [
        {"visits": i, "targets": 99, "loss": 5.0 - 0.1 * i, "low": 4.5, "high": 5.5}
        for i in range(5)
    ]
    case["series"]["loss_by_visits"] = rows
    return case


def records():
    """Return the records of a ledger in which every topic but scaling has a figure."""
    trained = [
        visits(with_form(training_case(sampler, seed), {"line_break_share": [30.0, 1.0, 0.2]}))
        for sampler in ("random_replacement", "sequential", "shuffled_blocks")
        for seed in range(3)
    ]
    timings = [
        timed(model_case("step", precision, time_s, 2.2e11, model=f"model{n}"))
        for n, precision, time_s in ((3, "fp32", 0.1), (4, "fp32", 0.4), (5, "bf16", 1.1))
    ]
    odd = coverage_case("sequential", 2.0)
    odd["params"]["sampler"], odd["case"] = LONG, "bench_coverage::test_coverage[odd]"
    every = [
        *standard_ledger(), *timed_ledger(), *timings, *trained, odd, growth("n_layer", 0.8),
        growth("batch_size", 0.95), growth("n_embd", 1.4), conditions(), packing(),
        loader_case("shuffled_blocks", 1.0, 40), position_case(True), position_case(False),
        pair_case("precision=bf16", 0.46, "faster"), pair_case("corpus=x", 1.0, "same"),
        own_pair_case(1.5),
        decision_case(run_case("gptcore", (10.8, 6.0, 5.0)), published_case(3.5)),
    ]  # fmt: skip
    return list({json_key(each): copy.deepcopy(each) for each in every}.values())


def json_key(record_):
    return record_["case"] or record_["environment"], record_["record"]


@contextmanager
def collecting(found):
    """Put every figure that is drawn for a page into `found`."""
    original = drawing.svg

    def svg(draw, data, name):
        found.append(drawn(draw, data))
        return original(draw, data, name)

    with pytest.MonkeyPatch.context() as patch, mpl.rc_context(drawing.STYLE):
        patch.setattr(drawing, "svg", svg)
        yield


def _other(plot):
    if not plot.other:
        return []
    words, svg = plot.other
    return [replace(plot, title=f"{plot.title}: {words}", svg=svg, other=None)]


def figures(folder, ledger):
    """Return (title, plot, figure) of every figure of a page of these records.

    A figure that has another axis is followed by a plot with that axis alone.
    """
    run = Run.read(write_ledger(folder, ledger), "run")
    found = []
    with collecting(found):
        plots = [
            drawing_
            for section in sections_of(run, Plotter("r", True))
            for plot in section.plots
            for drawing_ in (plot, *_other(plot))
        ]
    return [(plot.title, plot, figure) for plot, figure in zip(plots, found, strict=True)]
