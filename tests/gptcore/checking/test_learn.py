"""The guide from Model 1 to Model 5: its model passes the checks, its commands are commands."""

import re
import shlex

import pytest

from gptcore.checking import check_model, load_model_file
from gptcore.cli.main import make_parser
from tests.helpers.checkout import ROOT

GUIDE = (ROOT / "docs" / "learn.md").read_text(encoding="utf-8")
(MODEL,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
SMALL_WEIGHTS = "        nn.init.normal_(self.wte.weight, std=0.02)\n"


def statuses(folder, text):
    path = folder / "mine.py"
    path.write_text(text)
    return {check.name: check.status for check in check_model(load_model_file(path))}


def test_first_model_of_a_reader_has_no_fault_and_lacks_attention_and_positions(tmp_path):
    found = statuses(tmp_path, MODEL)
    assert "fault" not in found.values()
    notes = [name for name, status in found.items() if status == "note"]
    assert notes == ["causality", "positions"]


def test_large_first_weights_are_the_fault_that_the_guide_names(tmp_path):
    assert SMALL_WEIGHTS in MODEL
    found = statuses(tmp_path, MODEL.replace(SMALL_WEIGHTS, ""))
    assert found["initial_loss"] == "fault"


@pytest.mark.parametrize("line", re.findall(r"^    gptcore (.*)$", GUIDE, flags=re.MULTILINE))
def test_commands_of_the_guide_are_understood(line):
    arguments = shlex.split(line.partition(" > ")[0])
    assert make_parser().parse_args(arguments).command == arguments[0]
