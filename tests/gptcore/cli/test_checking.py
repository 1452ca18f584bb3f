import json

import pytest

from gptcore.cli.main import main
from tests.helpers.checkout import ROOT

TEXTBOOK = (ROOT / "tests/helpers/textbook_gpt.py").read_text(encoding="utf-8")


@pytest.fixture
def check(tmp_path, capsys):
    """Run `gptcore check` on a text with one change; return exit code, output and error."""

    def run(old="", new="", *options, text=TEXTBOOK):
        assert old in text
        path = tmp_path / "mine.py"
        path.write_text(text.replace(old, new) if old else text)
        code = main(["check", str(path), *options])
        return code, *capsys.readouterr()

    return run


def test_a_sound_model_ends_with_0_and_prints_one_object_whatever_it_prints_itself(check):
    forward = "T = idx.size(1)"
    code, out, err = check(forward, f"print('noise'); {forward}", "--json")
    assert code == 0
    result = json.loads(out)
    assert {"name", "status", "detail", "means"} <= result["checks"][0].keys()
    assert all(each["means"] is None for each in result["checks"] if each["status"] == "ok")
    assert "noise" in err


def test_a_fault_ends_with_1_and_says_what_it_means(check):
    code, out, _ = check("== 0)", "== 2)")
    assert code == 1
    assert "Fault (causality): changing token" in out
    assert "att.masked_fill(mask == 0, -inf) must come before" in out


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("T = idx.size(1)", "raise KeyError('no\\nlayer')", "forward"),
        ("loss = F.cross_entropy(", "raise RuntimeError('two\\nlines')\n            (", "forward"),
        ("decay = [", "raise TypeError('no\\ngroups')\n    [", "optimizer"),
    ],
)
def test_what_the_model_raises_is_a_fault_of_one_line(check, old, new, name):
    code, out, _ = check(old, new, "--json")
    assert code == 1
    found = {each["name"]: each for each in json.loads(out)["checks"]}[name]
    assert found["status"] == "fault"
    assert "\n" not in found["detail"]
    assert "mine.py)" in found["detail"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "has no make_model"),
        ("for i in range(3):\n    loss.backward()", "trains when it is imported (line 2)"),
        ("def make_model(v, t):\n    raise RuntimeError('two\\nlines')", "two lines (line 2 of"),
        ("def make_model(v, t):\n    import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_checked_ends_with_2_and_one_line(check, text, said):
    code, out, err = check(text=text)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
