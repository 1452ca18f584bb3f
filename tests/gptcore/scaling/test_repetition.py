"""Laws of repeated text: what a token is worth that the model has seen before."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.repeats import fit_repeated
from gptcore.scaling.repetition import RepeatedLaw, allocate_repeated, best_sizes, effective
from tests.helpers.loss_tables import LAW, ladder


def test_the_two_stages_find_the_worth_of_repeated_tokens():
    rows = []
    for n in (1e7, 3e7, 1e8, 3e8, 1e9):
        for u in (1e9, 4e9, 1.6e10):
            for epochs in (1, 2, 5, 20, 60):
                seen = effective(LAW, n, u * epochs, u, 15.0, 5.0) if epochs > 1 else (n, u)
                loss = float(LAW.loss(*seen))
                rows.append((f"{n:g}-{u:g}-{epochs}", n, u * epochs, u, loss))
    table = pd.DataFrame(rows, columns=["model", "params", "tokens_seen", "unique_tokens", "loss"])
    law = fit_repeated(table)
    assert pytest.approx(15, rel=1e-3) == law.R_D
    assert pytest.approx(5, rel=0.02) == law.R_N
    assert law.loss(1e8, 2e10, 1e9) > law.loss(1e8, 2e10, 2e10)


def test_repeats_of_one_size_tell_nothing_of_excess_parameters():
    rows = [(f"{n:g}-{d:g}", n, d, d) for n in (1e7, 3e7, 1e8) for d in (1e8, 4e8, 1.6e9)]
    again = [(f"again{u:g}", 1e8, 1.6e9, u) for u in (1e8, 2e8, 4e8, 8e8)]
    columns = ["model", "params", "tokens_seen", "unique_tokens"]
    table = pd.DataFrame([*rows, *again], columns=columns)
    seen = effective(LAW, *(table[c].to_numpy() for c in table.columns[1:]), 3.0, np.inf)
    law = fit_repeated(table.assign(loss=LAW.loss(*seen)))
    assert pytest.approx(3, rel=1e-3) == law.R_D  # no noise: the optimiser's tolerance
    assert np.isinf(law.R_N)
    assert law.as_dict()["R_N"] is None
    assert any("R_N cannot be told" in warning for warning in law.warnings)


def test_worth_of_repeats_at_its_bound_says_so():
    """Repeated runs end 5 % above what their first pass alone would have given."""
    rows = [(f"{n:g}-{d:g}", n, d, d, 1.0) for n in (1e7, 3e7, 1e8) for d in (1e8, 4e8, 1.6e9)]
    rows += [(f"again{u:g}", 1e8, 1.6e9, u, 1.05) for u in (1e8, 2e8, 4e8, 8e8)]
    table = pd.DataFrame(rows, columns=["model", "params", "tokens_seen", "unique_tokens", "loss"])
    first_pass = LAW.loss(table["params"].to_numpy(), table["unique_tokens"].to_numpy())
    law = fit_repeated(table.assign(loss=table["loss"] * first_pass))
    assert any("R_D is at its least" in warning for warning in law.warnings)


def test_one_pass_leaves_the_law_as_it_is():
    assert effective(LAW, 1e6, 1e9, 2e9, 15.0, 5.0) == pytest.approx((1e6, 1e9))


def test_repetition_without_unique_tokens_is_refused():
    with pytest.raises(ValueError, match="unique_tokens"):
        fit_repeated(ladder())


def repeated(*, worth=15.0, small=None, noise=0.01, seed=0):
    """Runs of one pass and of several; `small` is R_D of texts below 1e10 tokens."""
    rng, rows = np.random.default_rng(seed), []
    for n in (1e7, 3e7, 1e8, 3e8, 1e9):
        rows += [(n, d, d, np.inf) for d in (1e9, 4e9, 1.6e10, 6e10)]
        rows += [
            (n, u * epochs, u, small if small and u < 1e10 else worth)
            for u in (1e9, 4e9, 1.6e10)
            for epochs in (2, 5, 20, 60)
        ]
    n, d, u = np.array(rows).T[:3]
    loss = [
        float(LAW.loss(*effective(LAW, *run[:3], run[3], np.inf))) if run[3] < np.inf
        else float(LAW.loss(*run[:2]))
        for run in rows
    ]  # fmt: skip
    return pd.DataFrame(
        {
            "model": [f"m{i}" for i in range(len(n))],
            "params": n,
            "tokens_seen": d,
            "unique_tokens": u,
            "loss": np.array(loss) * np.exp(noise * rng.standard_normal(len(n))),
        }
    )


def test_the_worth_of_repeats_has_intervals_that_hold_it():
    law = fit_repeated(repeated(noise=0.004), bootstraps=200)
    result = law.as_dict()
    low, high = result["R_D_interval_95"]
    assert low < 15 < high < 40
    inner = result["R_D_profile_95_given_law"]
    assert inner[0] < law.R_D < inner[1]
    assert inner[1] - inner[0] < 1.2 * (high - low)  # the profile holds the law of one pass
    assert result["goodness"]["r2"] > 0.9
    assert result["goodness"]["residual_sd"] == pytest.approx(0.004, rel=0.3)
    assert not any("R_D moves" in warning for warning in law.warnings)


def test_a_worth_that_depends_on_the_filter_is_warned_of():
    law = fit_repeated(repeated(small=2.0, noise=0.003), bootstraps=100)
    values = [row["R_D"] for row in law.by_filter]
    assert max(values) > 1.4 * min(values)
    assert any("R_D moves from" in warning for warning in law.warnings)


def test_predictions_of_repeated_text_carry_the_uncertainty_of_its_worth():
    law = fit_repeated(repeated(), bootstraps=200)
    few, many = (law.predict(3e8, 4e9 * epochs, 4e9) for epochs in (1.5, 60))
    truth = float(LAW.loss(*effective(LAW, 3e8, 2.4e11, 4e9, 15.0, np.inf)))
    assert many.low < truth < many.high
    assert many.high / many.low > few.high / few.low
    again = RepeatedLaw.from_dict(law.law, law.as_dict()).predict(3e8, 2.4e11, 4e9)
    assert again.low == pytest.approx(many.low, rel=1e-3)


def test_the_best_size_for_repeated_text_has_draws():
    law = fit_repeated(repeated(), bootstraps=100)
    sizes = best_sizes(law, 1e21, 4e9)
    best = allocate_repeated(law, 1e21, 4e9).params
    assert np.quantile(sizes, 0.025) < best < np.quantile(sizes, 0.975)
    assert len(best_sizes(RepeatedLaw(law.law, 15.0, np.inf), 1e21, 4e9)) == 0


def test_without_bootstraps_no_interval_is_given():
    law = fit_repeated(repeated(), bootstraps=0).as_dict()
    assert law["R_D_interval_95"] is None
    assert all(row["interval_95"] is None for row in law["R_D_by_filter"])
