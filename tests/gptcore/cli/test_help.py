"""What `--help` and `--version` print, on narrow terminals as well."""

import re
from itertools import pairwise

import pytest

import gptcore
from gptcore.cli.main import COMMANDS, main
from gptcore.cli.options import SAMPLERS_TOLD
from gptcore.sampling.samplers import SAMPLERS


def printed(capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        main([*argv])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    assert printed(capsys, "--version") == f"gptcore {gptcore.__version__}\n"


def test_every_sampler_is_explained(capsys):
    assert list(SAMPLERS_TOLD) == list(SAMPLERS)
    assert "sequential (blocks side by side, in order)" in " ".join(
        printed(capsys, "plan", "--help").split()
    )


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("command", ["", "scale", *COMMANDS])
def test_help_fits_the_terminal_but_for_examples(capsys, monkeypatch, width, command):
    monkeypatch.setenv("COLUMNS", str(width))
    usage, _, rest = printed(capsys, *command.split(), "--help").partition("\n\n")
    prose, _, _ = rest.partition("example:")
    words = [word for word in re.split(r"[ |]", usage) if len(word) > width]
    assert [line for line in prose.splitlines() if len(line) > width] == words == []
    assert width == 40 or max(map(len, usage.splitlines())) <= width


@pytest.mark.parametrize("command", COMMANDS)
def test_the_lines_of_a_description_are_full(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "60")
    _, _, rest = printed(capsys, *command.split(), "--help").partition("\n\n")
    lines = re.split(r"\n\n(?:options|positional arguments):\n", rest)[0].splitlines()
    short = [
        line
        for line, following in pairwise(lines)
        if line and following and len(f"{line} {following.split()[0]}") <= 60 - 2
    ]
    assert short == []  # argparse leaves 2 columns
