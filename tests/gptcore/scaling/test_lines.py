"""Runs on one line of sizes and tokens: predicted along it, null off it, and never an error."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling import solver
from gptcore.scaling.fitting import fit
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.solver import Data
from gptcore.scaling.tables import Cut
from tests.helpers.loss_tables import LAW, ladder, trajectories

SIZES = 1e7 * 2.0 ** np.arange(6)


def table_of(n, d, *, noise=0.002, seed=0, law=LAW):
    """One final loss for each run."""
    n, d = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(d, dtype=float))
    loss = law.loss(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    names = [f"m{i}" for i in range(len(n))]
    return pd.DataFrame({"model": names, "params": n, "tokens_seen": d, "loss": loss})


# Design: N and D of the runs, and of a run further along the line.
LINES = {
    "ray": (SIZES, 20 * SIZES, (1.28e9, 2.56e10)),
    "rounded": (SIZES, [2e8, 4e8, 8e8, 1.7e9, 3.3e9, 6.3e9], (1.28e9, 2.56e10)),
    "two near ratios": (SIZES, SIZES * np.tile([18, 22], 3), (1.28e9, 2.56e10)),
    "constant tokens": (SIZES, 1e10, (1.28e9, 1e10)),
    "constant size": (1e8, 20 * SIZES, (1e8, 2.56e10)),
    "tokens as N^2": (SIZES, 1e9 * (SIZES / 1e7) ** 2, (6.4e8, 4.096e12)),
    "two runs": (SIZES[:2], 20 * SIZES[:2], (4e7, 8e8)),
}


@pytest.mark.parametrize("design", LINES)
def test_a_line_is_predicted_along_it_and_not_off_it(design):
    n, d, (params, tokens) = LINES[design]
    law = fit(table_of(n, d))
    assert law.unidentified == solver.NAMES
    assert "cannot be told apart" in law.warnings[0]
    along = law.predict(params, tokens)
    assert along.low < float(LAW.loss(params, tokens)) < along.high
    assert along.low < along.loss < along.high
    off = (params * 4, tokens) if design == "constant size" else (params, tokens * 4)
    assert law.predict(*off).loss is None
    assert "off the line" in law.beyond(*off)


@pytest.mark.parametrize(("slope", "words"), [(1, "20 tokens per parameter"), (0, "2e+08 tokens")])
def test_the_warning_names_the_line_and_how_the_interval_would_grow(slope, words):
    law = fit(table_of(SIZES, 2e8 * (SIZES / 1e7) ** slope))
    assert words in law.warnings[0]
    assert "would grow from" in law.warnings[0]


def test_constant_compute_is_predicted_between_its_runs_alone():
    law = fit(table_of(SIZES, 1e17 / SIZES))
    assert law.predict(1e8, 1e9).low < LAW.loss(1e8, 1e9) < law.predict(1e8, 1e9).high
    assert law.predict(1e8, 1e10).loss is None


def test_intervals_along_a_ray_hold_as_often_as_they_say():
    held = []
    for seed in range(30):
        law = fit(table_of(SIZES, 20 * SIZES, noise=0.004, seed=seed))
        at = law.predict(1.28e9, 2.56e10, confidence=0.8, new_run=False)
        held.append(at.low <= LAW.loss(1.28e9, 2.56e10) <= at.high)
    # 80 % of 30 is 24 with a standard deviation of 2.2; docs/results/ladders.py has 1,000 tables
    assert np.sum(held) >= 18


def test_more_runs_and_less_noise_narrow_the_interval():
    def width(count, noise):
        sizes = np.geomspace(1e7, 3.2e8, count)
        at = fit(table_of(sizes, 20 * sizes, noise=noise)).predict(1.28e9, 2.56e10)
        return at.high - at.low

    assert width(12, 0.001) < width(12, 0.01)
    assert width(12, 0.003) < width(3, 0.003)


def test_ratios_that_differ_by_four_are_no_line():
    assert fit(ladder(lengths=(10, 40), noise=0.001)).line is None
    assert fit(trajectories(noise=0.001)).line is None


def test_a_single_run_off_the_line_identifies_no_law():
    n, d = np.append(SIZES, 1e7), np.append(20 * SIZES, 8e8)
    law = fit(table_of(n, d), bootstraps=0)
    assert law.unidentified == solver.NAMES
    assert "20 to 80 tokens per parameter" in law.warnings[0]
    assert law.predict(6.4e8, 80 * 6.4e8).low is not None
    assert law.predict(6.4e8, 160 * 6.4e8).low is None
    assert fit(table_of(np.append(n, 2e7), np.append(d, 1.6e9)), bootstraps=0).line is None


def test_one_loss_for_each_size_at_two_ratios_identifies_no_law():
    law = fit(table_of(SIZES, SIZES * np.tile([10, 30], 3)), bootstraps=0)
    assert law.unidentified == solver.NAMES
    n, d = np.repeat(SIZES, 2), np.outer(SIZES, [10, 30]).ravel()
    assert fit(table_of(n, d), bootstraps=0).line is None


def test_checkpoints_near_the_end_of_a_run_are_one_point_of_a_line():
    table = trajectories(noise=0.001).assign(tokens_seen=lambda t: t["tokens_seen"] * 2)
    law = fit(table, cut=Cut(last_share=0.2))
    assert law.line is not None
    assert law.n_models == 5
    # The line goes through the ends of the runs, so that the end of a larger run lies on it.
    law = fit(table, cut=Cut(last_share=0.5))
    assert law.predict(2 * table["params"].max(), table["tokens_seen"].max()).low is not None


@pytest.mark.parametrize("size", [None, 1e8])
def test_back_tests_widen_the_interval_beyond_the_end_of_a_line(size):
    n, d = np.full(6, size or SIZES), 20 * SIZES
    loss = table_of(n, d)["loss"] * np.where(np.arange(6) > 2, 1.05, 1)
    law = fit(table_of(n, d).assign(loss=loss), bootstraps=0)
    plain = replace(law, widening=1.0)
    assert law.widening > 1.5
    assert law.predict(n[-1], d[-1]) == plain.predict(n[-1], d[-1])
    further = (n[-1] if size else 2 * n[-1]), 2 * d[-1]
    assert law.predict(*further).high > plain.predict(*further).high


def test_the_law_of_a_line_survives_json():
    law = fit(table_of(SIZES, 20 * SIZES))
    again = ScalingLaw.from_dict(json.loads(json.dumps(law.as_dict())))
    assert again.predict(1e9, 2e10) == law.predict(1e9, 2e10)
    assert again.predict(1e9, 2e11) == law.predict(1e9, 2e11)


def test_columns_that_agree_are_no_singular_matrix():
    x = np.linspace(-2, 2, 6)
    starts = solver.project(Data(x, x, np.log(2 + np.exp(-x))), solver.ALL[:3])
    assert np.isfinite(starts).all()


@pytest.mark.parametrize("scale", [1e3, 1e8, 1e80])
@pytest.mark.parametrize("step", [1.0, 1 + 1e-7, 1.04, 3.0, 1e5])
def test_no_table_of_a_line_raises(scale, step):
    n = scale * step ** np.arange(4)
    for d in (20 * n, n * [20, 20.0001, 20, 20], 20 * n[::-1], np.full(4, 20 * scale)):
        table = table_of(n, d, noise=0.01)
        law = fit(table.assign(loss=table["loss"].clip(upper=10)), bootstraps=0)
        at = law.predict(n[-1], d[-1])
        assert at.loss is None or at.loss > 0


def test_sizes_within_five_per_cent_count_as_one():
    law = fit(trajectories(sizes=3, step=1.01, noise=0.001), bootstraps=0)
    assert "1 size" in law.warnings[0]
    assert law.predict(1e7, 1e10).loss is not None
    assert law.predict(1e9, 1e10).loss is None
