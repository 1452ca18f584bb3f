"""What the wheel promises: its page runs as it stands, from a folder that is not the checkout.

In an environment of tox the wheel is installed, and its commands are those of the wheel; elsewhere
they are those of the checkout.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import numpy as np

import gptcore
from tests.helpers.checkout import ROOT

PAGE = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    gptcore (.+)$", PAGE, re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN = """
import shlex, sys
from gptcore.cli.main import main
for line in sys.argv[1:]:
    print("$", line, flush=True)
    code = main(shlex.split(line))
    assert code == 0, (line, code)
print(sys.modules["gptcore"].__file__)
"""


def test_every_command_of_the_page_runs_in_another_folder(tmp_path):
    (tmp_path / "mine.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    (tmp_path / "data").mkdir()
    text = "".join(f"The {i}th sheep jumped over the fence.\n" for i in range(200))
    (tmp_path / "book.txt").write_text(text)
    ids = np.random.default_rng(0).integers(65, size=22_000).astype(np.uint16)
    ids[:20_000].tofile(tmp_path / "data" / "train.bin")
    ids[20_000:].tofile(tmp_path / "data" / "val.bin")
    packages = Path(sysconfig.get_paths()["purelib"])
    installed = (packages / "gptcore").is_dir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, *COMMANDS],
        cwd=tmp_path,
        env=environment if installed else environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,  # a machine that is busy with other work needs minutes
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("$ ") == len(COMMANDS) == 8
    imported = Path(done.stdout.splitlines()[-1])
    assert imported == (packages if installed else ROOT) / "gptcore" / "__init__.py"
    assert (tmp_path / "runs" / "first" / "summary.json").exists()


def test_the_first_screen_of_the_page_says_what_the_wheel_has():
    first = " ".join(PAGE.splitlines()[:24])
    assert "does not hold** the benchmarks" in first
    assert "CPU build of PyTorch first" in first
    assert PROJECT["readme"] == "docs/package.md"


def test_the_page_has_no_link_into_the_checkout():
    assert re.findall(r"\]\((?!https://)", PAGE) == []


def test_the_version_stands_once():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", gptcore.__version__)


def test_classifiers_and_matrix_name_the_same_versions_of_python():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    matrix = re.search(r"matrix = py\{([\d,]+)\}", tox)[1].split(",")
    assert [version.replace(".", "") for version in named] == matrix
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_lowest_versions_are_the_bounds():
    lowest = (ROOT / "lowest.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", lowest, re.MULTILINE))
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "dependency-groups"
    ]
    bounds = [*PROJECT["dependencies"], *(x for x in groups["test"] if isinstance(x, str))]
    bounds += [x for name in ("bench", "report") for x in groups[name] if isinstance(x, str)]
    for name, low in (bound.split(">=") for bound in bounds):
        assert pinned[name] == low or pinned[name].startswith(f"{low}."), name
