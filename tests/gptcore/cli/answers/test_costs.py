"""What people read of costs, beside the JSON object of the same call."""

import json

import pytest

from gptcore.cli.main import main
from gptcore.console import fixed, format_cell
from tests.helpers.answers import CALLS, row, shown


def test_cost_gives_money_and_time_as_ranges_with_their_sources(ask):
    result, answer = ask("cost")
    money = result["money"]
    assert answer.startswith(
        "Training 124,439,808 parameters on 1e+10 tokens takes 8.544e+18 FLOPs, 5.851 hours of one "
        f"h100 (5.192 to 11.26) and {format_cell(money['mid'])} US dollars ("
    )
    assert row(answer, "money, with development") == [
        *shown(*result["money_with_development"].values()), "US dollars"
    ]  # fmt: skip
    assert result["energy_kwh"] is None
    assert "The energy is not known, because no counter of it was read" in answer
    assert all(source in answer for source in result["sources"])
    assert "2025-10 to 2026-05" in answer


def test_cost_at_a_measured_speed_uses_no_table(ask):
    result, answer = ask("cost of a measured speed")
    assert row(answer, "time of one machine or accelerator") == [
        *shown(1e8 / 8e3 / 3600, 1e8 / 5e3 / 3600, 1e8 / 4e3 / 3600), "hours"
    ]  # fmt: skip
    assert row(answer, "energy") == ["0.5000", "0.5000", "0.5000", "kWh"]
    assert row(answer, "money, this run alone")[-1] == "units of --price"
    assert [source[:19] for source in result["sources"]] == ["Cost of a model wit"]


def test_cost_without_a_price_says_what_to_give(ask):
    result, answer = ask("cost of an unknown price")
    assert answer.startswith(
        "Training 7,259,008 parameters on 7,200 tokens takes 3.232e+11 FLOPs and 1 hours of one "
        "machine."
    )
    assert result["money"] is result["money_with_development"] is None
    assert "because no price of an hour is: give --price." in answer


def test_cost_beside_a_published_model_gives_the_break_even_and_all_options(ask):
    result, answer = ask("cost of building and reusing")
    found = result["break_even"]
    assert found["tokens"] == {"low": None, "mid": None, "high": None}  # 7 million parameters
    assert found["verdict"] in answer
    assert found["verdict"].startswith("Never at this size with up to 1e+15 tokens: 7.26e+06")
    assert found["money_with_development"] is None
    for option in result["options"]:
        cells = row(answer, option["option"])
        assert cells[1] == fixed(option["loss"]["mid"], 3)
        assert cells[3:] == shown(*option["money"].values())
    assert all(f"Warning: {warning}" in answer for warning in result["warnings"])


def test_building_at_the_break_even_has_a_price(folder, capsys):
    call = CALLS["cost of building and reusing"].replace("--model model4", "--model gpt2-medium")
    assert main([*call.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = result["break_even"]
    ratio = found["tokens"]["mid"] / result["tokens"]
    there, here = found["money_with_development"]["mid"], result["money_with_development"]["mid"]
    assert there == pytest.approx(ratio * here)
    assert main(call.split()) == 0
    assert f"costs {format_cell(there)} US dollars" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tokens 1 --law law.json", "takes two laws: --law and --fine-tuned"),
        ("--tokens 1 --published-loss 3", "takes two laws: --law and --fine-tuned"),
        ("--tokens 1 --law law.json --fine-tuned law.json", "the curve of fine-tuning is not of"),
        ("--tokens 1 --law tuned.csv --fine-tuned law.json", "tuned.csv is not a law"),
        ("--tokens 1 --law absent.json --fine-tuned law.json", "absent.json"),
        ("--tokens 0", "tokens is 0.0: give a number"),
        ("--tokens 1e9 --price 1,2", "price is (1.0, 2.0): give one number, or three as low,mid"),
        ("--tokens 1e9 --price 3,2,1", "give low,mid,high in this order"),
        ("--tokens 1e9 --accelerator abacus", "choose one of h100, h100-pcie"),
        ("--tokens 1e9 --n-head 7", "--n-embd is 128; it must be a multiple of --n-head = 7"),
    ],
)
def test_cost_refuses_in_one_line(folder, capsys, options, message):
    assert main(f"cost {options}".split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
