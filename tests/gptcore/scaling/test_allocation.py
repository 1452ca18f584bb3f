"""How the best size grows with compute, by parabolas and by a law."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.allocation import (
    compare_with_law,
    disagreement,
    exponent_of,
    intervals_of_best,
    isoflop,
    refitted_sizes,
)
from gptcore.scaling.fitting import fit
from gptcore.scaling.planning import allocate
from gptcore.scaling.tables import Cut, check_table
from tests.helpers.loss_tables import LAW, TRUTH, ladder

EXPONENT = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])


def levels(*, low=1 / 3, high=3.0, sizes=7, flops=None, noise=0.0, bend=0.0):
    """Runs at equal compute, at sizes from `low` to `high` times the best one of the law.

    `bend` makes the loss grow away from the law's best size at high compute, as if the best size
    grew more slowly.
    """
    flops = 1e18 * 10.0 ** np.arange(4) if flops is None else np.asarray(flops)
    c = np.repeat(flops, sizes)
    best = np.array([allocate(LAW, each).params for each in c])
    n = best * np.tile(np.geomspace(low, high, sizes), len(flops))
    d = c / 6 / n
    moved = n * (c / c[0]) ** bend
    rng = np.random.default_rng(0)
    loss = LAW.loss(moved, c / 6 / moved) * np.exp(noise * rng.standard_normal(len(n)))
    names = [f"m{i}" for i in range(len(n))]
    return check_table(pd.DataFrame({"model": names, "params": n, "tokens_seen": d, "loss": loss}))[
        0
    ]


def test_isoflop_parabolas_find_the_exponent_of_the_law():
    result = isoflop(levels(low=0.7, high=1 / 0.7))
    assert len(result["levels"]) == 4
    # a symmetric parabola of a slightly skew valley
    assert result["exponent"] == pytest.approx(EXPONENT, abs=1e-3)
    assert result["levels"][0]["params"] == pytest.approx(allocate(LAW, 1e18).params, rel=0.02)


def test_a_good_grid_gets_no_warning_and_an_interval_that_holds_the_exponent():
    result = isoflop(levels(noise=0.001))
    assert result["warnings"] == []
    low, high = result["exponent_interval_95"]
    assert low < EXPONENT < high


@pytest.mark.parametrize(
    ("grid", "kind"),
    [
        ({"low": 1.5, "high": 20}, "and are left out"),
        ({"low": 0.8, "high": 9}, "on one side of the best one"),
        ({"low": 0.8, "high": 1.25}, "less than a factor"),
        ({"sizes": 4}, "only four sizes"),
        ({"low": 0.8, "high": 1.25, "noise": 0.01}, "that noise alone could give"),
    ],
)
def test_grids_that_mislead_are_warned_of(grid, kind):
    assert any(kind in warning for warning in isoflop(levels(**grid))["warnings"])


def test_a_trajectory_is_no_level_of_compute():
    n = np.repeat(1e7 * 2.0 ** np.arange(6), 200)
    d = np.tile(np.geomspace(1e8, 1e10, 200), 6)
    table = pd.DataFrame(
        {"model": n.astype(str), "params": n, "tokens_seen": d, "loss": LAW.loss(n, d)}
    )
    assert isoflop(check_table(table)[0])["levels"] == []


def test_parabolas_that_contradict_the_law_are_warned_of():
    table = levels(noise=0.0005)
    result = compare_with_law(isoflop(table), table)
    assert result["warnings"] == []
    assert result["law_exponent"] == pytest.approx(EXPONENT, abs=0.05)
    law = fit(table, cut=Cut(last_share=1), bootstraps=0)
    (warning,) = disagreement(law, isoflop(levels(noise=0.0005, bend=0.15)))
    assert "at least one of them does not describe these runs" in warning


def test_a_law_that_identifies_no_exponent_is_not_compared():
    law = fit(ladder(sizes=2), bootstraps=0)
    assert exponent_of(law) == (None, None)
    assert disagreement(law, isoflop(levels())) == []


def test_a_large_difference_within_wide_intervals_is_told_as_such():
    law = fit(levels(), bootstraps=0)
    exponent = exponent_of(law)[0]
    wide = {"exponent": exponent - 0.1, "exponent_interval_95": [0.1, 0.9]}
    (warning,) = disagreement(law, wide)
    assert "noise could explain the difference" in warning


def test_the_interval_of_the_best_size_holds_it_and_spends_the_budget():
    law = fit(ladder(noise=0.005), bootstraps=0)
    ends = intervals_of_best(refitted_sizes(law, 1e20), 1e20)
    low, high = ends["params_interval_95"]
    assert low < allocate(LAW, 1e20).params < high
    assert ends["tokens_interval_95"] == pytest.approx([1e20 / 6 / high, 1e20 / 6 / low])
    assert intervals_of_best(refitted_sizes(LAW, 1e20), 1e20)["params_interval_95"] is None
