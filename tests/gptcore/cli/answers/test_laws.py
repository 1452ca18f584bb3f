"""What people read of scaling laws, beside the JSON object of the same call."""

from gptcore.console import fixed, format_cell
from tests.helpers.answers import row, shown
from tests.helpers.loss_tables import TRUTH


def test_fit_gives_the_law_and_each_parameter(ask):
    result, answer = ask("scale fit")
    e, a, b, alpha, beta = shown(*(result[name] for name in TRUTH))
    assert answer.startswith(f"The law is loss = {e} + {a} / N^{alpha} + {b} / D^{beta} nats per")
    assert row(answer, "alpha") == [
        alpha, *shown(result["sd"]["alpha"], *result["interval_95"]["alpha"]),
    ]  # fmt: skip


def test_fit_says_what_the_data_do_not_identify(ask):
    result, answer = ask("scale fit of too few")
    assert answer.startswith("The data do not identify E, A, alpha of the law")
    assert row(answer, "alpha") == ["-"] * 4
    assert answer.splitlines()[-1] == f"Warning: {result['warnings'][-1]}"


def test_evaluate_of_a_law_gives_the_error(ask):
    result, answer = ask("scale evaluate")
    assert answer.startswith(
        f"The law predicts size4 with a mean error of {result['are_last30']:.2f} % over the last "
        f"30 % of the tokens; its final loss is {abs(result['signed_final']):.2f} % too low.\n"
    )
    assert row(answer, "final loss, predicted")[0] == fixed(result["predicted_final"])


def test_evaluate_of_several_runs_lists_them(ask):
    result, answer = ask("scale evaluate of several")
    assert "predicts 3 runs" in answer
    for run in result["targets"]:
        assert row(answer, run["model"])[-1] == format_cell(run["are_last30"])


def test_predict_gives_the_loss_and_its_interval(ask):
    result, answer = ask("scale predict")
    low, high = result["interval_95"]
    assert answer.startswith(
        f"The predicted loss of 5e+09 parameters and 1e+11 tokens is {result['loss']:.3f} nats "
        f"per token (95 % interval {low:.3f} to {high:.3f}).\n"
    )


def test_allocate_gives_size_and_tokens(ask):
    result, answer = ask("scale allocate")
    assert answer.startswith(
        f"The best use of 1e+20 FLOPs is to train {result['params']:.3g} parameters on "
        f"{result['tokens']:.3g} tokens"
    )
    assert row(answer, "tokens for each parameter")[0] == format_cell(result["tokens_per_param"])


def test_isoflop_gives_the_exponent_and_a_row_for_each_level(ask):
    result, answer = ask("scale isoflop")
    assert answer.startswith(
        "The best number of parameters grows as FLOPs to the power "
        f"{result['exponent']:.3f}, by 2 levels of compute.\n"
    )
    for level in result["levels"]:
        assert format_cell(level["params"]) in answer


def test_plan_of_a_ladder_begins_with_the_decision(ask):
    result, answer = ask("scale plan")
    assert answer.startswith(result["decision"] + "\n")
    for run in result["models"]:
        assert format_cell(run["tokens"]) in answer
