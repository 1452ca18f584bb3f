"""`python -m bench pair FILE.py gptcore`: the checks, three ratios, and what differs."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from bench.measuring import pinning
from bench.pairing import operands, own, processes
from bench.suite.own import OwnModel, config_of
from bench.variants.base import Variant
from bench.variants.differences import differences, facts
from bench.variants.own import Own
from bench.variants.registry import build
from gptcore.model.gpt import GPT
from tests.helpers.own_files import FIXED, FULL_MASK, write_model

SMALL = ("--vocab-size=31", "--block-size=8", "--n-layer=1", "--n-head=2", "--n-embd=16")
TIMED = ("--batch-size=1", "--seconds=0.06", "--processes=2")
CONFIG = config_of("L1-H2-C16", 31, 8)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    return lambda *names, **changes: str(write_model(tmp_path, *names, **changes))


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(pinning, "pin", lambda: {"intra_op_threads": torch.get_num_threads()})

    def here(task):  # importing torch in every new process would take most of the time
        with redirect_stdout(sys.stderr):
            return processes.answer(task)

    monkeypatch.setattr(own, "run_in_process", here)


@pytest.mark.usefixtures("in_this_process")
def test_json_has_three_ratios_the_checks_and_every_difference(write, capsys):
    path = write()
    assert main(["pair", path, "gptcore", *SMALL, *TIMED, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"], found["b"]) == ("mine.py", "gptcore")
    assert path not in json.dumps(found)
    assert list(found["works"]) == list(own.WORKS)
    for pairs in found["works"].values():
        low, high = pairs["interval_95"]
        assert low < pairs["ratio"] < high
        assert pairs["n_processes"] == 2
    assert found["sizes"] == {
        "vocab_size": 31, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16, "batch_size": 1
    }  # fmt: skip
    assert {check["status"] for check in found["checks"]} <= {"ok", "note", "skipped"}
    left = {each["what"]: (each["own"], each["other"]) for each in found["differences"]}
    assert left["attention"] == ("written out", "one kernel")
    assert left["weights"] == ("its own first weights, not copied", "first weights of gptcore")
    said = own.in_words(found)
    assert said.startswith("Time of gptcore over that of mine.py")
    assert all(words in said for words in own.WORKS.values())
    assert "not copied" in said


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"mask": FULL_MASK}, SMALL, "the check causality found a fault"),
        ({"make": FIXED}, SMALL, "--n-layer is 1, but mine.py builds 2: leave it out"),
        ({}, (*SMALL, "--corpus=python-docs"), "leave out --vocab-size"),
        ({}, ("--n-embd=30", "--n-head=4"), "--n-embd is 30; it must be a multiple of --n-head"),
        ({"more": "\nraise RuntimeError('half')\n"}, SMALL, "RuntimeError: half"),
    ],
)
def test_what_is_not_compared_is_refused_in_one_line(write, capsys, changes, arguments, said):
    assert main(["pair", write(**changes), "gptcore", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_sizes_without_a_model_file_are_refused(capsys):
    assert main(["pair", "gc:collect", "os:getcwd", "--n-layer=2"]) == 2
    assert "--n-layer is for a model file beside one of gptcore" in capsys.readouterr().err


def test_a_model_file_beside_anything_else_names_what_goes_with_it(write):
    with pytest.raises(ValueError, match="goes with gptcore, nanogpt-style or transformers"):
        operands.build(write(), "os:getcwd", [])


def test_a_model_and_itself_differ_in_nothing(write):
    file = OwnModel.load(Path(write()))
    a, b = (Own(file.file, file.build(CONFIG)) for _ in range(2))
    assert differences(a, b, CONFIG) == []


def test_facts_of_gptcore_are_those_of_its_documents():
    ids = torch.zeros(1, 8, dtype=torch.int64)
    found = facts(Variant(GPT(CONFIG)), CONFIG)
    assert found == {
        "parameters": f"{GPT(CONFIG).n_params:,}",
        "weights": "first weights of gptcore",
        "output layer": "tied to the input",
        "positions": "learned",
        "norm": "LayerNorm",
        "biases": "in all layers",
        "dropout": "0",
        "data type": "float32",
        "activation": "GELU, tanh",
        "attention": "one kernel",
        "logits": "in chunks",
        "optimizer": "AdamW, fused, weight decay 0 and 0.1",
    }
    plain = facts(build("plain", GPT(CONFIG), ids), CONFIG)
    told = {name: fact for name, fact in plain.items() if fact != found[name]}
    assert told == {
        "attention": "written out",
        "logits": "all at once",
        "optimizer": "AdamW, a loop over parameters, weight decay 0 and 0.1",
    }
