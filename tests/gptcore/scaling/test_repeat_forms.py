"""Three forms of what repeats are worth: each is found again from losses that it made."""

import numpy as np
import pytest

from gptcore.scaling.repeat_forms import FORMS, judge

CELLS = [(u, r) for u in (8e3, 32e3, 128e3) for r in (1, 3, 9, 27)]
UNIQUE, PASSES = map(np.array, zip(*CELLS, strict=True))


def made(name, sd=0.0):
    u, r = UNIQUE / np.exp(np.log(UNIQUE).mean()), PASSES - 1.0
    more = {"exponential": 5 * (1 - np.exp(-r / 5)), "bounded": r / (1 + r / 5), "additive": r}
    added = 0.02 * r**1.1 if name == "additive" else 0.0
    noise = np.random.default_rng(0).normal(0, sd, len(u))
    return (3 + 2 * (u * (1 + more[name])) ** -0.4 + added) * np.exp(noise)


@pytest.mark.parametrize("name", FORMS)
def test_form_that_made_the_losses_predicts_held_out_cells_best(name):
    found = judge(UNIQUE, PASSES, made(name, 0.001))
    assert min(found, key=lambda form: found[form].error) == name
    assert found[name].p_adjusted is None
    assert found[name].error < 0.005


def test_prediction_of_a_cell_does_not_know_its_loss():
    loss = made("bounded", 0.001)
    changed = loss * np.where(np.arange(len(loss)) == 5, 1.3, 1.0)
    first, then = (judge(UNIQUE, PASSES, each) for each in (loss, changed))
    for name in FORMS:
        assert then[name].predicted[5] == pytest.approx(first[name].predicted[5])
        assert then[name].predicted[4] != pytest.approx(first[name].predicted[4], rel=1e-6)


def test_extrapolation_to_more_passes_is_judged_where_enough_cells_have_fewer():
    found = judge(UNIQUE, PASSES, made("additive"))
    assert found["additive"].error_most_passes < 0.01 < found["bounded"].error_most_passes
    few = PASSES < 27
    assert (
        judge(UNIQUE[few], PASSES[few], made("bounded")[few])["bounded"].error_most_passes is None
    )


def test_losses_that_rise_with_tokens_have_no_negative_term():
    loss = 3 + 0.1 * np.log(UNIQUE)
    for form in judge(UNIQUE, PASSES, loss).values():
        assert loss.min() <= form.predicted.min() <= form.predicted.max() <= loss.max()
        assert np.ptp(form.predicted) < 0.2 * np.ptp(loss)  # all but constant: B is not negative


@pytest.mark.parametrize(
    ("unique", "passes", "loss", "reason"),
    [
        (UNIQUE[:7], PASSES[:7], np.ones(7), "at least 8"),
        (UNIQUE, PASSES - 0.5, np.ones(12), "at least one pass"),
        (UNIQUE, PASSES, np.zeros(12), "positive"),
    ],
)
def test_cells_that_cannot_be_fitted_are_refused(unique, passes, loss, reason):
    with pytest.raises(ValueError, match=reason):
        judge(unique, passes, loss)
