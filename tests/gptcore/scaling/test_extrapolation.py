"""A law is fitted to some sizes of a table and compared with another one."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.colpret import fit_colpret
from gptcore.scaling.extrapolation import Split, evaluate, predict_next
from gptcore.scaling.tables import Cut, check_table
from tests.helpers.loss_tables import LAW, TRUTH, ladder, trajectories

WHOLE = Cut(last_share=1)


def test_the_default_target_is_the_largest_size_and_is_not_fitted():
    table = trajectories(noise=0.001)
    result = evaluate(table)
    assert result.as_dict()["target"] == "size4"
    assert result.law.params_range[1] == pytest.approx(1e7 * 3**3)
    assert result.as_dict()["are_last30"] < 1
    assert result.as_dict()["interval_80"][0] < result.outcomes[0].predicted


def test_are_is_of_the_last_30_per_cent_and_signed_of_the_final_loss():
    table = trajectories()
    largest = table["model"] == "size4"
    late = largest & (table["tokens_seen"] > 0.75e10)
    table.loc[late, "loss"] *= 1.1
    result = evaluate(table, cut=WHOLE).as_dict()
    # 13 checkpoints from 70 % on, of which 10 are 10 % above the law
    assert result["are_last30"] == pytest.approx(100 * 10 / 13 * (1 - 1 / 1.1), rel=1e-3)
    assert result["signed_final"] == pytest.approx(100 * (1 / 1.1 - 1), rel=1e-3)


def test_the_k_smallest_sizes_and_reverse_choose_what_is_fitted():
    table = trajectories()
    few = evaluate(table, Split(models=3)).law
    assert few.params_range == pytest.approx((1e7, 9e7))
    back = evaluate(table, Split(reverse=True))
    assert back.outcomes[0].params == pytest.approx(1e7)
    assert back.law.params_range[0] == pytest.approx(3e7)


def test_a_target_can_be_predicted_from_its_own_start():
    table = trajectories(checkpoints=100)
    result = evaluate(table, Split(models=0, target_share=0.3))
    assert result.law.tokens_range[1] <= 0.3e10 * (1 + 1e-9)
    assert result.as_dict()["are_final"] < 0.1


def test_rows_of_the_largest_compute_can_be_the_target():
    n = np.tile(np.geomspace(1e7, 1e9, 7), 5)
    c = np.repeat(1e17 * 4.0 ** np.arange(5), 7)
    d = c / 6 / n
    table = pd.DataFrame({"model": n.astype(str), "params": n, "tokens_seen": d,
                          "loss": LAW.loss(n, d)})  # fmt: skip
    result = evaluate(table, Split(compute_gap=4), cut=WHOLE)
    assert len(result.outcomes) == 7
    assert result.as_dict()["are_final"] < 1e-3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"models": 9}, "there are 4"),
        ({"target": "nobody"}, "no model"),
        ({"target": "size0"}, "nothing to fit on"),
        ({"models": 0}, "nothing to fit on"),
        ({"target_share": 0.8}, "give 0 to 0.7"),
        ({"compute_gap": 1}, "above 1"),
        ({"compute_gap": 1e9}, "lower the gap"),
        ({"compute_gap": 4, "reverse": True}, "cannot be combined"),
    ],
)
def test_splits_that_cannot_be_are_refused(split, message):
    with pytest.raises(ValueError, match=message):
        evaluate(trajectories(), Split(**split))


def test_a_ladder_predicts_the_next_size():
    table = ladder(noise=0.003).rename(columns={"tokens_seen": "tokens"})
    prediction = predict_next(table, 1e7 * 3**5, 1e10, confidence=0.95)
    assert prediction["low"] < LAW.loss(1e7 * 3**5, 1e10) < prediction["high"]
    assert prediction["law"]["n_models"] == 15


def test_the_preset_is_one_least_squares_fit_after_ten_billion_tokens():
    table = trajectories(tokens=1e11)
    law = fit_colpret(check_table(table)[0])
    assert law.n_points == 5 * 36  # of 40 checkpoints, 4 have at most 1e10 tokens
    assert law.parameters["alpha"] == pytest.approx(TRUTH["alpha"], abs=0.01)  # where it stops
    assert law.predict(1e9, 1e11).low is None


def test_guesses_without_a_law_stand_beside_the_error():
    result = evaluate(ladder(sizes=4, noise=0.001), Split(target="m11")).as_dict()
    n = 1e7 * 3.0 ** np.arange(4)
    longest = [float(LAW.loss(size, 80 * size)) for size in n]
    slope = np.log(longest[2] / longest[1]) / np.log(3)
    line = longest[2] * 3**slope
    assert result["are_last_size"] == pytest.approx(100 * (longest[2] / longest[3] - 1), abs=0.4)
    assert result["are_two_sizes"] == pytest.approx(100 * abs(line / longest[3] - 1), abs=0.4)
    gain = longest[2] - longest[3]
    error = result["are_final"] / 100 * result["observed_final"]
    assert result["share_of_gain"] == pytest.approx(error / gain, rel=0.1)


def test_guesses_that_cannot_be_made_are_none():
    result = evaluate(trajectories(sizes=2)).as_dict()
    assert result["are_two_sizes"] is None
    assert result["are_last_size"] > 0
    alone = evaluate(trajectories(checkpoints=100), Split(models=0, target_share=0.3)).as_dict()
    assert alone["are_last_size"] is None
    assert alone["share_of_gain"] is None
