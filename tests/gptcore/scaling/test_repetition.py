"""Laws of repeated text: what a token is worth that the model has seen before."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.repetition import effective, fit_repeated
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
