"""What a law's own sizes say about its intervals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gptcore.scaling.backtests import POOR, back_test, late_fall
from gptcore.scaling.extrapolation import evaluate
from gptcore.scaling.fitting import fit, fit_points
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.tables import Cut, check_table, make_points
from tests.helpers.loss_tables import ladder, trajectories


def falling_late(fall=0.04, **kind):
    """Runs whose losses fall by so much in the last tenth of each run."""
    table = trajectories(**kind)
    share = table["tokens_seen"] / table["tokens_seen"].max()
    return table.assign(loss=table["loss"] * (1 - fall * np.clip((share - 0.9) / 0.1, 0, 1)))


def bent(**kind):
    """Runs whose losses fall faster from the fourth size on than the law of the first three."""
    table = ladder(**kind)
    beyond = np.log(np.maximum(table["params"] / 9e7, 1))
    return table.assign(loss=table["loss"] * np.exp(-0.05 * beyond))


def test_a_law_that_holds_is_hardly_widened():
    law = fit(ladder(sizes=6, noise=0.004), bootstraps=0)
    assert 1 <= law.widening < 2
    assert law.late_fall == 0
    assert not any("widened" in warning for warning in law.warnings)


def test_a_law_that_missed_its_own_sizes_is_widened_with_a_warning():
    law = fit(bent(sizes=6, noise=0.002), bootstraps=0)
    assert law.widening > POOR
    assert any("widened by that factor" in warning for warning in law.warnings)


def test_widening_concerns_larger_sizes_only():
    law = fit(bent(sizes=6, noise=0.002), bootstraps=0)
    largest = law.params_range[1]
    inside, beyond = (law.predict(n, 1e10) for n in (largest, largest * 1.001))
    factor = np.log(beyond.high / beyond.loss) / np.log(inside.high / inside.loss)
    assert factor == pytest.approx(law.widening, rel=0.02)


def test_runs_that_fall_late_extend_the_interval_with_a_warning():
    result = evaluate(falling_late(noise=0.001)).as_dict()
    assert result["late_fall"] == pytest.approx(-3.5, abs=0.5)
    assert result["interval_80_holds"]
    assert any("as runs do whose learning rate decays" in text for text in result["warnings"])


@pytest.mark.parametrize("shares", [(0.25, 0.5, 1.0), (0.3, 0.6, 0.8, 1.0), (0.5, 0.75, 1.0)])
def test_a_late_fall_shows_in_three_losses_of_each_run(shares):
    table = falling_late(noise=0.002)
    table = table[(table["tokens_seen"] / 1e10).isin(shares)]
    assert fit(table, bootstraps=0).late_fall < -0.02
    last = fit(table, bootstraps=0, cut=Cut(final_only=True))
    assert last.late_fall == 0


def test_noise_at_the_ends_is_no_late_fall():
    assert late_fall(make_points(check_table(trajectories(noise=0.02))[0])) == 0


def test_separate_runs_have_no_ends_to_judge():
    assert late_fall(make_points(check_table(ladder(noise=0.01))[0])) == 0


def test_two_sizes_are_not_back_tested():
    points = make_points(check_table(ladder(sizes=2))[0])
    assert back_test(points, points.params, fit_points) == 1


def test_a_saved_law_keeps_its_widening_and_old_files_have_none():
    law = fit(falling_late(noise=0.001), bootstraps=0)
    saved = law.as_dict()
    again = ScalingLaw.from_dict(saved)
    assert (again.widening, again.late_fall) == (law.widening, law.late_fall)
    del saved["state"]["widening"], saved["state"]["late_fall"]
    assert ScalingLaw.from_dict(saved).widening == 1


def test_no_interval_overflows():
    law = replace(fit(ladder(noise=0.01), bootstraps=0), widening=1e13)
    assert math.isfinite(law.predict(1e12, 2e13).high)
