"""A folder in which every call of `tests.helpers.answers` can be made."""

import json
import os
import shutil
import sys

import pandas as pd
import pytest

from gptcore.cli.main import main
from tests.helpers.answers import CALLS
from tests.helpers.checkout import ROOT
from tests.helpers.loss_tables import TRUTH, ladder, trajectories


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """A folder with the texts, logs, tables, law and trained model of CALLS; it is entered."""
    path = tmp_path_factory.mktemp("answers")
    book = "\r\n".join(f"The {i}th sheep jumped over the fence." for i in range(300))
    (path / "novel[final].txt").write_text(book)
    (path / "lengths.txt").write_text("6\n3\n5\n2\n9\n")
    marker = "*** {} OF THE PROJECT GUTENBERG EBOOK SHEEP ***\n"
    story = "The cat sat on the mat and the dog sat on the log. " * 1500
    licence = "Redistribution is subject to trademark licence terms, royalties and fees. " * 60
    (path / "story.txt").write_text(
        marker.format("START") + story + "\n" + marker.format("END") + licence
    )
    (path / "written.txt").write_text("The dog sat on the mat.\nThe cat sat on it. " * 9)
    for name, starts in (
        ("holes", range(0, 990, 11)),
        ("resumed", [*range(0, 550, 11), *range(440, 990, 11)]),
        ("random", [(i * i * 37 + i) % 981 for i in range(400)]),
    ):
        rows = "".join(f"{start},10\n" for start in starts)
        (path / f"{name}.csv").write_text(f"start,length\n{rows}")
    shutil.copy(ROOT / "tests/helpers/modern_gpt.py", path / "modern.py")
    ladder(noise=0.003).to_csv(path / "ladder.csv", index=False)
    trajectories(sizes=2).to_csv(path / "two.csv", index=False)
    both = [trajectories(noise=0.003).assign(family=name) for name in ("one", "two")]
    pd.concat(both).to_csv(path / "losses.csv", index=False)
    tokens = [10.0**k for k in range(4, 9)]
    tuned = {"model": list("abcde"), "params": 1e8, "tokens_seen": tokens}
    losses = {"loss": [2.4 + 9 / n**0.3 for n in tokens]}
    pd.DataFrame(tuned | losses).to_csv(path / "tuned.csv", index=False)
    levels = ladder(sizes=7, step=2.0, lengths=(1,))
    levels = pd.concat(
        levels.assign(tokens_seen=flops / 6 / levels["params"]) for flops in (1e18, 1e19)
    )
    e, a, b, alpha, beta = TRUTH.values()
    levels["loss"] = e + a / levels["params"] ** alpha + b / levels["tokens_seen"] ** beta
    levels.assign(model=[f"m{i}" for i in range(14)]).to_csv(path / "levels.csv", index=False)
    before = os.getcwd()
    os.chdir(path)
    with open(os.devnull, "w") as nowhere, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", nowhere)
        assert main(CALLS["train"].split()) == 0
        with open("law.json", "w") as law:
            patch.setattr(sys, "stdout", law)
            assert main([*CALLS["scale fit"].split(), "--json"]) == 0
        with open("tuned.json", "w") as law:
            patch.setattr(sys, "stdout", law)
            assert main(["scale", "fit", "tuned.csv", "--json"]) == 0
    yield path
    os.chdir(before)


@pytest.fixture
def ask(folder, capsys, monkeypatch):
    """Run a call of CALLS; return its JSON object and its answer on a terminal of that width."""

    def run(call, width=None):
        assert main([*CALLS[call].split(), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        monkeypatch.setenv("COLUMNS", str(width or 80))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None, raising=False)
        assert main(CALLS[call].split()) == 0
        return result, capsys.readouterr().out

    return run
