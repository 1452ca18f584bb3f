"""What a person or a pipe reads, and the exit codes, of the three programs."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gptcore import streams
from gptcore.streams import Parser
from tests.helpers.checkout import ROOT

PROGRAMS = ("gptcore", "bench", "reports")
HOSTILE = "a\x1b[2Jb\x07c\x9bd\u202ee\rf\bg\x7fh\udcffi\u2028j"
SHOWN = r"a\x1b[2Jb\x07c\x9bd\u202ee\rf\x08g\x7fh\udcffi\u2028j"


@pytest.fixture
def program(capsys):
    """Run some work as a program; return its exit code, its output and its errors."""

    def run(work, *arguments):
        parser = Parser(prog="prog")
        parser.add_argument("word", nargs="?")
        try:
            code = streams.answer(lambda: parser, lambda _options: work() or 0, arguments)
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def fail(error):
    raise error


def test_what_is_printed_shows_its_hidden_characters(program):
    def work():
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)

    assert program(work) == (0, SHOWN + "\n", SHOWN + "\n")


def test_text_stays_as_it_is(program):
    text = "1:100:2 [:m:] [b]x[/b] novel[final]\ttab\n\fpage 👩\u200d💻 क\u200cष 模型 \\x1b"
    assert program(lambda: print(text)) == (0, text + "\n", "")


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    "say",
    [
        lambda: streams.warnings.warn(HOSTILE + "\nnext", stacklevel=1),
        lambda: fail(ValueError(HOSTILE + "\nnext")),
        lambda: fail(OSError(5, "Input/output error", HOSTILE + "\nnext")),
        lambda: fail(KeyError(HOSTILE)),
    ],
)
def test_warnings_and_errors_are_one_line_without_hidden_characters(program, say):
    _, out, error = program(say)
    assert out == ""
    assert error.startswith("prog: ")
    assert error.count("\n") == 1
    assert error[:-1].isprintable()


def test_what_argparse_refuses_is_one_line_without_hidden_characters(program):
    code, _, error = program(lambda: None, "word", HOSTILE + "\nnext")
    assert code == 2
    assert error.count("\n") == 1
    assert error[:-1].isprintable()


@pytest.mark.parametrize("option", ["--size=--", "--name=--"])
def test_two_dashes_are_no_value(capsys, option):
    parser = Parser(prog="prog")
    parser.add_argument("--size", type=int)
    parser.add_argument("--name")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args([option])
    assert stop.value.code == 2
    assert "'--' is not a value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("steps is 0: give 1"), "steps is 0: give 1"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "x.csv: No such file"),
        (MemoryError(), "not enough memory: give smaller"),
        (MemoryError("Unable to allocate 7 EiB"), r"not enough memory (Unable to allocate 7 EiB)"),
        (RuntimeError("can't allocate memory: 9\nstack"), "not enough memory (can't allocate"),
        (RuntimeError("Storage size calculation overflowed"), "too large (Storage size"),
        (OverflowError("int too large to convert to float"), "too large (int too large"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (UnicodeEncodeError("ascii", "ä", 0, 1, "no"), "can't encode"),
        (UserWarning("one line is damaged"), "prog: one line is damaged"),
        (FileNotFoundError(2, "Name too long", "a" * 5000), "a…a"),
        (KeyError("x"), "internal error in test_streams.py, line"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (ValueError(), "internal error"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_what_went_wrong_is_one_line(program, error, words):
    code, out, said = program(lambda: fail(error))
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert out == ""
    assert words in said
    assert said.count("\n") == 1


class Stream:
    """A stream that cannot be written."""

    def __init__(self, error):
        self.error = error

    def write(self, _text):
        raise self.error

    flush = fileno = lambda self: self.write("")


@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("closed"), BrokenPipeError(32)])
def test_standard_error_that_cannot_be_written_changes_nothing(program, monkeypatch, error):
    for stream in (Stream(error), None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert program(lambda: print("lost", file=sys.stderr) or print("kept"))[:2] == (0, "kept\n")
        assert program(lambda: fail(ValueError("x")))[0] == 2
        assert sys.stderr is stream


@pytest.mark.parametrize(
    ("stream", "code", "said"),
    [
        (Stream(OSError(28, "No space left on device")), 2, "No space left on device"),
        (Stream(ValueError("I/O operation on closed file")), 2, "closed file"),
        (Stream(BlockingIOError(11, "would block")), 2, "would block"),
        (None, 2, "it is closed"),
        (Stream(BrokenPipeError(32, "Broken pipe")), 141, ""),
    ],
)
def test_standard_output_that_cannot_be_written(program, monkeypatch, stream, code, said):
    monkeypatch.setattr(sys, "stdout", stream)
    got, _, error = program(lambda: print("lost"))
    assert got == code
    assert sys.stdout is stream
    assert said in error
    assert error.count("\n") == (code == 2)


def shell(line, **environment):
    """Run a line of bash, with `$GPTCORE` and the like for the programs."""
    names = {name.upper(): f"{sys.executable} -m {name}" for name in PROGRAMS}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, capture_output=True, check=False,
        env=os.environ | names | environment,
    )  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("how", "code", "lines"),
    [("| true", 141, 0), (">/dev/full", 2, 1), (">&-", 2, 1), ("2>&-", 0, 0), ("<&-", 0, 0)],
)
def test_exit_codes_of_broken_streams(program, how, code, lines):
    if "full" in how and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    result = shell(f"${program.upper()} --help {how}")
    assert result.returncode == code
    assert result.stderr.count(b"\n") == lines
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-16"])
def test_characters_that_the_encoding_lacks_become_escapes(encoding):
    code = "from gptcore import streams; " \
        "print(streams.answer(streams.Parser, lambda _: print('模 → ä') or 0, []))"  # fmt: skip
    result = shell(f'{sys.executable} -c "{code}"', PYTHONIOENCODING=encoding)
    expected = "模 → ä" if encoding == "utf-16" else "模 → ä".encode(
        encoding, "backslashreplace").decode(encoding)  # fmt: skip
    assert result.stdout.decode(encoding).split("\n") == [expected, "0", ""]
    assert result.stderr == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["imports", "works", "exits"])
def test_signals_end_a_program_without_a_traceback(tmp_path, number, when):
    """The signal comes while a module is imported, while it works, or while Python exits."""
    wait = "open('ready', 'w').close()\n    time.sleep(60)\n"
    (tmp_path / "slow.py").write_text(
        f"import time\nfrom gptcore import streams\ndef wait():\n    {wait}\n"
        + ("try:\n    wait()\nexcept BaseException:\n    pass\n" if when == "imports" else "")
        + ("import atexit\natexit.register(wait)\nwait = int\n" if when == "exits" else "")
        + "def main():\n    return streams.answer(streams.Parser, lambda _: wait(), [])\n"
    )
    default = f"import signal; signal.signal({number}, signal.SIG_DFL)"  # which may be ignored here
    command = [sys.executable, "-c", f"{default}; from gptcore.streams import run; run('slow')"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error.count(b"\n") <= 1
    assert b"Traceback" not in error


def test_numbers_that_json_lacks_are_null():
    from gptcore.cli.main import finite

    value = {"a": [float("nan"), (1.5, float("-inf"))], "b": {"c": float("inf")}, "d": "nan"}
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == {
        "a": [None, [1.5, None]], "b": {"c": None}, "d": "nan",
    }  # fmt: skip


def test_programs_print_through_the_writer_alone():
    """No program writes to a descriptor or to `sys.__stdout__`, past the Writer."""
    for name in PROGRAMS:
        for path in (ROOT / name).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for way in ("sys.__std", "os.write(1", "os.write(2", ".buffer.write", "input("):
                assert way not in text, path


def test_options_are_not_lost_by_the_name_of_a_program(program):
    parser = argparse.ArgumentParser(prog="prog")
    assert streams.answer(lambda: parser, lambda _options: 3, []) == 3
