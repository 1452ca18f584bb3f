"""The table of timings: the command that says what training costs at their speed."""

import json
import shlex

import pytest

from gptcore.cli.main import main
from reports import load
from reports.blocks import Plotter
from reports.page import render
from reports.topics import speed
from tests.helpers.ledgers import write_ledger
from tests.helpers.timed_ledgers import timed_ledger


def test_the_command_below_the_timings_gives_their_speed(tmp_path, capsys):
    run = load.Run.read(write_ledger(tmp_path, timed_ledger()), "run")
    tables = [each for part in speed.section(run, Plotter("r", True)) for each in part.tables]
    (command,) = {each.command for each in tables if each.command}
    assert main([*shlex.split(command)[1:], "--json"]) == 0
    hours = json.loads(capsys.readouterr().out)["hours"]
    models = run.cases("model")
    step = models[models["model"].eq("model5") & models["work"].eq("step")].iloc[0]
    assert hours["mid"] == pytest.approx(1e9 / step["tokens_per_s"] / 3600, rel=1e-3)
    assert hours["low"] < hours["mid"] < hours["high"]
    for output_format in ("html", "md"):
        assert f"{command}" in render([run], output_format)[0]
