"""The recipe for continuous integration in docs/comparing.md, run as the runner's shell does."""

import os
import re
import shlex
import subprocess
import textwrap

import pytest

from bench.__main__ import make_parser as bench_parser
from gptcore.cli.main import make_parser
from tests.helpers.checkout import ROOT

GUIDE = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
RECIPE = GUIDE.partition("## In continuous integration")[2].partition("## History")[0]
STEP = textwrap.dedent(re.search(r"- run: \|\n((?: {12}.*\n)+)", RECIPE)[1])
STRICT = STEP.replace('if [ "$code" = 3 ]; then code=0; fi\n', "")


def git(*arguments, cwd):
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *names, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone whose `python -m bench compare` prints a table and ends with $ENDS_WITH."""
    folder = tmp_path_factory.mktemp("ci")
    git("init", "origin", cwd=folder)
    git("commit", "--allow-empty", "-m", "base", cwd=folder / "origin")
    git("clone", "origin", "checkout", cwd=folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text('#!/bin/sh\necho "| verdict |"\nexit "$ENDS_WITH"\n')
    (folder / "bin" / "python").chmod(0o755)
    return folder / "checkout"


def run(step, checkout, code):
    base = checkout.parent / "base"
    if base.exists():
        git("worktree", "remove", "--force", str(base), cwd=checkout)
    summary = checkout.parent / "summary.md"
    summary.write_text("")
    done = subprocess.run(
        ["bash", "-e", "-c", step.replace("${{ github.base_ref }}", "main")],
        cwd=checkout,
        env=os.environ
        | {
            "PATH": f"{checkout.parent / 'bin'}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(summary),
            "ENDS_WITH": str(code),
        },
        capture_output=True,
    )
    assert base.is_dir()
    assert summary.read_text() == "| verdict |\n"
    return done.returncode


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_verdicts_are_told_and_the_exit_code_is_kept(checkout, code):
    assert run(STEP, checkout, code) == (0 if code == 3 else code)
    assert STRICT != STEP
    assert run(STRICT, checkout, code) == code


def test_the_commands_of_the_recipe_are_understood():
    compare = shlex.split(re.search(r"python -m bench (compare .+) > ", RECIPE)[1])
    assert bench_parser("compare").parse_args(compare).interleave.name == "base"
    own = re.findall(r"- run: gptcore (.+)", RECIPE)
    assert [make_parser().parse_args(shlex.split(line)).command for line in own] == [
        "check",
        "audit",
    ]
