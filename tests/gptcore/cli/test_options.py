"""Every option of every program, and every message that names one: found by walking the parsers."""

import argparse
import ast
import dataclasses
import re
from pathlib import Path

import pytest

from bench.__main__ import COMMANDS as BENCH
from bench.__main__ import make_parser as bench_parser
from gptcore.cli.cost import to_values
from gptcore.cli.main import main, make_parser
from gptcore.cli.options import to_model, to_text
from gptcore.console import PICTURES, at_home, number, to_file, to_path, to_picture, whole
from gptcore.model.config import ModelConfig
from gptcore.training.config import TrainConfig
from reports.__main__ import parser as reports_parser
from tests.helpers.checkout import ROOT

PLACES = {"DIR", "FILE", "LOG", "TABLE", "LAW.json", "BASE", "NEW", "RESULTS"}
TEXTS = {"TEXT", "NAME|PATH", "A", "B"}
NOT_TEXTS = {"family", "prompt", "k"}
HOSTILE = ("-1", "0", "1" + "0" * 30, "1.5", "nan", "inf", "", " ", "9" * 5000, "1e-320", "x\x1b\n")


def parsers(parser, name=""):
    """Yield the name and the parser of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, sub in action.choices.items():
                yield from parsers(sub, f"{name} {word}")
            return
    yield name, parser


def programs():
    yield from parsers(make_parser(), "gptcore")
    for command in BENCH:
        (found,) = (p for n, p in parsers(bench_parser(command), "bench") if n.endswith(command))
        yield f"bench {command}", found
    yield "reports", reports_parser()


PROGRAMS = dict(programs())
ACTIONS = [
    pytest.param(parser, action, id=f"{name} {action.option_strings or action.dest}")
    for name, parser in PROGRAMS.items()
    for action in parser._actions
    if action.nargs != 0
]
ALL_OPTIONS = {option for parser in PROGRAMS.values() for option in parser._option_string_actions}


@pytest.mark.parametrize(("parser", "action"), ACTIONS)
def test_every_path_knows_the_home_folder(monkeypatch, parser, action):
    monkeypatch.setenv("HOME", "/home/somebody")
    if action.metavar in PLACES and action.type is not to_picture:
        assert action.type in (to_path, to_file)
        assert parser._get_value(action, "~/x") == Path("/home/somebody/x")
        assert parser._get_value(action, "~") == Path("/home/somebody")
        assert parser._get_value(action, "x~/~y") == Path("x~/~y")
    elif action.metavar in TEXTS and action.dest not in NOT_TEXTS and action.type is not whole:
        assert action.type is at_home
        assert parser._get_value(action, "~/x") == "/home/somebody/x"
    else:
        assert action.type is not Path


def test_without_a_home_folder_a_tilde_is_refused_and_names_that_begin_with_one_stay(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda text: text)  # as where none is known
    for text in ("~", "~/x"):
        with pytest.raises(argparse.ArgumentTypeError, match="no home folder is known"):
            to_path(text)
    assert to_path("~nobody.txt") == Path("~nobody.txt")


@pytest.mark.parametrize("value", HOSTILE)
def test_any_value_of_any_option_is_read_or_refused_in_one_line(capsys, value):
    for parser, action in (param.values for param in ACTIONS if param.values[1].type):
        try:
            read = parser._get_value(action, value)
        except argparse.ArgumentError as refused:
            with pytest.raises(SystemExit):
                parser.error(str(refused))
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert said[:-1].isprintable()
            assert len(said) < 400
        else:
            scale = 100 if action.dest == "margin" else 1
            is_text = action.type in (to_path, to_file, to_text, at_home, to_model)
            assert is_text or scale * read == pytest.approx(float(value))


@pytest.mark.parametrize(
    ("parser", "action"), [param for param in ACTIONS if param.values[1].dest == "plot"]
)
def test_pictures_are_refused_before_the_work(tmp_path, parser, action):
    (tmp_path / "folder.svg").mkdir()
    for name in ("", ".", "x", "x.tiff", "none/x.svg", "folder.svg", ".svg"):
        with pytest.raises(argparse.ArgumentError):
            parser._get_value(action, str(tmp_path / name) if name else "")
    for suffix in (*PICTURES, ".SVG"):
        assert parser._get_value(action, str(tmp_path / f"x{suffix}")).suffix == suffix


TINY = "--n-layer 1 --n-head 2 --n-embd 8 --block-size 16 --batch-size 2 --steps 1"
CALLS = {
    "plan": "--tokens 1000 --block-size 16",
    "coverage": "--corpus book.txt --block-size 16 --steps 5",
    "audit": "log.csv --tokens 991",
    "leakage": "--corpus book.txt --block-size 16",
    "train": f"--out run --corpus book.txt {TINY}",
    "scale fit": "ladder.csv",
    "scale evaluate": "ladder.csv",
    "bias": "--corpus book.txt",
    "evaluate": "--checkpoint none",
    "generate": "--checkpoint none --prompt x",
    "cost": "--tokens 1e6",
}
NUMBERS = [
    pytest.param(name, action.option_strings[0], id=f"{name} {action.option_strings[0]}")
    for name in CALLS
    for action in PROGRAMS[f"gptcore {name}"]._actions
    if action.type not in (None, number, to_values, to_path, to_picture, at_home)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("The sheep jumped over the fence. " * 300)
    (tmp_path / "log.csv").write_text("start,length\n0,10\n10,10\n")
    rows = "".join(f"m{n},{10.0**n},{10.0**d},{2 + d / 10}\n" for n in (6, 7) for d in (8, 9))
    (tmp_path / "ladder.csv").write_text(f"model,params,tokens_seen,loss\n{rows}")
    return tmp_path


def ask(capsys, name, *options):
    """Run a command of gptcore; return its exit code and what it said."""
    try:
        code = main([*name.split(), *CALLS[name].split(), *options])
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


@pytest.mark.parametrize(("name", "option"), NUMBERS)
@pytest.mark.parametrize("value", ["-1", "1" + "0" * 30, "9" * 4000])
def test_whole_numbers_out_of_bounds_are_refused_in_one_line(folder, capsys, name, option, value):
    code, said = ask(capsys, name, f"{option}={value}")
    assert code == 2
    assert said.count("\n") == 1
    assert "internal error" not in said
    assert not (folder / "run").exists()
    known = PROGRAMS[f"gptcore {name}"]._option_string_actions
    named = set(re.findall(r"--[a-z][a-z-]+", said))
    assert named <= set(known) | {"--out"}  # of gptcore train, which the message names as well


def test_too_short_a_text_is_told_with_remedies_that_a_command_has(folder, capsys):
    fields = {f.name for config in (ModelConfig, TrainConfig) for f in dataclasses.fields(config)}
    for name in ("coverage", "leakage", "train", "bias"):
        code, said = ask(capsys, name, "--train-fraction=0.0001")
        assert code == 2
        assert not fields & set(re.findall(r"[a-z]+(?:_[a-z]+)+", said))


def messages():
    """Yield the place and the text of each message that tells people what is wrong."""
    tells = ("ValueError", "ArgumentTypeError", "exit", "warn")
    for path in (ROOT / "conftest.py", *(p for n in PACKAGES for p in (ROOT / n).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in tells and node.args:
                    parts = getattr(node.args[0], "values", [node.args[0]])
                    text = "".join(str(getattr(part, "value", "")) for part in parts
                                   if isinstance(part, ast.Constant))  # fmt: skip
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


PACKAGES = ("gptcore", "bench", "reports")
FOREIGN = {"--force-reinstall", "--benchmark-only", "--benchmark-histogram", "--dist", "--tx"}
"""Options of pip, pytest and their plugins."""


def test_every_option_that_a_message_names_exists():
    conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
    known = ALL_OPTIONS | set(re.findall(r'"(--[a-z]+)"', conftest)) | FOREIGN
    named = [
        (place, set(re.findall(r"--[a-z][a-z-]+", text)) - known) for place, text in messages()
    ]
    assert len(named) > 100
    assert [(place, unknown) for place, unknown in named if unknown] == []


def test_no_remedy_names_what_is_no_option_of_every_command():
    """The library's own parameters may be named as wrong, but as a remedy in words only."""
    hidden = {f.name for c in (ModelConfig, TrainConfig) for f in dataclasses.fields(c)}
    hidden -= {"learning_rate", "batch_size"}  # options wherever their messages can appear
    wrong = [
        (place, remedy)
        for place, text in messages()
        for remedy in re.split(r"[:;]", text)[1:]
        if re.match(r" (use|give|take|train|choose|shorten|set|build|raise|lower)\b", remedy)
        and hidden & set(re.findall(r"[a-z]+(?:_[a-z]+)+", remedy))
    ]
    assert wrong == []


def test_a_parameter_is_printed_as_its_option_and_a_name_in_quotes_stays():
    from gptcore.streams import as_options

    text = "block_size is 0 and 'block_size' in /data/block_size.txt; vocab_size is 2"
    assert as_options(text, {"block_size"}) == text.replace("block_size", "--block-size", 1)
    assert whole("7") == 7
