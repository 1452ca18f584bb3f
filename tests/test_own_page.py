"""The model file of docs/own.md works as it stands, beside a fork of nanoGPT and its data."""

import re

import numpy as np

from gptcore.cli.main import main
from tests.helpers.checkout import ROOT
from tests.helpers.own_files import TEXTBOOK

PAGE = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")
MODEL_FILE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
NANOGPT = """

class GPTConfig:
    def __init__(self, **sizes):
        self.sizes = sizes


def GPT(config):
    return TextbookGPT(**config.sizes, dropout=0.0)
"""


def test_the_model_file_of_the_page_passes_its_checks_and_its_audit(tmp_path, monkeypatch):
    fork, elsewhere = tmp_path / "fork", tmp_path / "elsewhere"
    data = fork / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    elsewhere.mkdir()
    (fork / "model.py").write_text(TEXTBOOK + NANOGPT)
    (fork / "mine.py").write_text(MODEL_FILE)
    ids = np.random.default_rng(0).integers(65, size=22_000).astype(np.uint16)
    ids[:20_000].tofile(data / "train.bin")
    ids[20_000:].tofile(data / "val.bin")
    monkeypatch.chdir(elsewhere)  # as the commands of the page that run in the checkout
    assert main(["check", "../fork/mine.py"]) == 0
    loader = ["audit", "../fork/mine.py:get_batch", "--corpus", "../fork/data/shakespeare_char"]
    assert main([*loader, "--part", "train", "--batches", "50", "--fail-on", "fault"]) == 0
