import json
import re
import statistics
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import torch

from bench.__main__ import main
from bench.measuring import pinning
from bench.pairing import processes
from bench.pairing.operands import build, default_device, load_call
from tests.helpers.checkout import ROOT

CALLS = """
import functools, time

def short():
    print("noise on standard output")
    time.sleep(0.005)

def long():
    time.sleep(0.015)

def broken():
    raise RuntimeError("two\\nlines")

def leaving():
    raise SystemExit(0)

async def later():
    pass

async def asynchronous_generator():
    yield

def generator():
    yield

class Class:
    async def __call__(self):
        pass

coroutine_object = Class()
coroutine_partial = functools.partial(functools.partial(later))
hidden_coroutine = lambda: later()
hidden_generator = lambda: (x for x in "ab")
def needs_arguments(a, *, b, c=1):
    pass
def defaults(a=1, *b, **c):
    pass
built_in = len

@functools.wraps(later)
def runs_it():
    pass
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setattr(pinning, "pin", lambda: {"intra_op_threads": torch.get_num_threads()})

    def here(task):  # importing torch in every new process would take most of the time
        with redirect_stdout(sys.stderr):
            return processes.answer(task)

    monkeypatch.setattr(processes, "run_in_process", here)
    path = tmp_path / "random.py"  # it must not stand in for the module of that name
    path.write_text(CALLS)
    return path


@pytest.mark.parametrize("name", ["short", "defaults", "runs_it"])
def test_functions_without_arguments_are_taken(calls, name):
    load_call(f"{calls}:{name}")()
    load_call("gc:collect")()


def test_json_is_one_object_with_every_timing(calls, capsys):
    arguments = ["pair", f"{calls}:short", f"{calls}:long", "--seconds", "2", "--json"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert "noise on standard output" in err
    assert printed["verdict"] == "slower"
    assert printed["interval_95"][0] < printed["ratio"] < printed["interval_95"][1]
    assert printed["n_pairs"] == len(printed["a_time_s"]) == len(printed["b_time_s"])
    assert printed["a_s"] == statistics.median(printed["a_time_s"])
    assert printed["n_processes"] == len(printed["processes"]) == processes.PROCESSES
    assert printed["n_pairs"] == sum(each["n_pairs"] for each in printed["processes"])
    assert {"a", "b", "b_s", "margin", "seconds", "warnings", "first", "machine"} <= printed.keys()


def test_text_says_how_many_times_as_long(calls, capsys):
    assert main(["pair", f"{calls}:long", f"{calls}:short", "--seconds", "0.5"]) == 0
    said, _, *table = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d+"
    interval = rf"95 % interval {number} to {number}"
    assert re.fullmatch(rf"B takes {number} times as long as A \({interval}\): \w.*\.", said)
    assert table[1].split()[-1] == f"{calls}:long"
    assert re.match(r"\d+ pairs in 6 processes, ", table[-2])
    assert "between processes (standard deviation)" in table[-1]


def test_margin_is_given_in_per_cent(calls, capsys):
    names = [f"{calls}:short", f"{calls}:short"]
    assert main(["pair", *names, "--seconds", "0.5", "--margin", "100", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["margin"] == 1.0
    assert printed["verdict"] == "same"


def test_file_shadows_no_module(calls):
    build(f"{calls}:short", f"{calls}:long", [])
    import random

    assert hasattr(random, "getrandbits")


def test_function_of_a_module_is_found():
    _, b = build("time:monotonic", "os:getcwd", [])
    assert b.device == default_device()


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("{}:short", "{}:missing", "has no function 'missing'"),
        ("{}:short", "nowhere.py:f", "nowhere.py: there is no such file; give the path"),
        ("{}:short", "no_such_module:f", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("{}:short", "precision=bf16", "changes a parameter of a case"),
        ("{}:short", "long", "'long' names nothing"),
        ("{}:short", "{}:broken", "a call failed: RuntimeError: two lines"),
        ("{}:short", "{}:leaving", "a call failed: SystemExit: 0"),
        ("{}:short", "{}:later", "is a coroutine function"),
        ("{}:short", "{}:coroutine_object", "is a coroutine function"),
        ("{}:short", "{}:coroutine_partial", "is a coroutine function"),
        ("{}:short", "{}:generator", "is a generator function"),
        ("{}:short", "{}:asynchronous_generator", "is an asynchronous generator function"),
        ("{}:short", "{}:Class", "is a class"),
        ("{}:short", "{}:needs_arguments", "needs a, b: give a function without arguments"),
        ("{}:short", "{}:built_in", "needs obj"),
        ("{}:short", "{}:hidden_coroutine", "returns work that it has not done"),
        ("{}:short", "{}:hidden_generator", "returns work that it has not done"),
        ("bench_model::test_step[python-docs-model3]", "precision=bf16", "the closest are"),
        ("bench_position::test_position[python-docs-raw]", "raw=false", "cannot be timed"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(calls, capsys, a, b, said):
    assert main(["pair", a.format(calls), b.format(calls), "--seconds", "0.5"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) <= 1 + err.count("noise on standard output")


STEP = "bench_model::test_step[python-docs-model3-cpu-fp32-B2-T64-seed0]"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("work=forward", "give the other case's id"),
        ("corpus=shakespeare", "'shakespeare' is not given"),
        ("model=model9", "choose one of model1"),
        ("colour=red", "give one of"),
    ],
)
def test_change_that_makes_no_case_is_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        build(STEP, setting, ["python-docs"])


def test_case_and_its_change_are_built():
    a, b = build(STEP, "batch_size=1", ["python-docs"])
    assert (a.tokens, b.tokens) == (128, 64)


def test_command_runs_as_people_type_it(tmp_path):
    path = tmp_path / "calls.py"
    path.write_text(CALLS)
    command = [sys.executable, "-m", "bench", "pair", f"{path}:long", f"{path}:long"]
    done = subprocess.run(
        [*command, "--seconds", "0.5", "--processes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "times as long as A" in done.stdout
    assert "in 2 processes" in done.stdout


def test_what_a_new_process_refuses_is_said_in_one_line(tmp_path):
    task = {"a": f"{tmp_path}/absent.py:f", "b": "os:getcwd", "corpora": [], "seconds": 0.1}
    with pytest.raises(ValueError, match=r"absent.py: there is no such file"):
        processes.run_in_process(task)
