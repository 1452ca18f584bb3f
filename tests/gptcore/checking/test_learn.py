"""The guide from Model 1 to Model 5: what its reader writes passes the checks, and trains."""

import re
import shlex
import sys

import numpy as np
import pytest

from gptcore.checking import check_model, load_model_file
from gptcore.cli.main import make_parser
from tests.helpers.checkout import ROOT

GUIDE = (ROOT / "docs" / "learn.md").read_text(encoding="utf-8")
BLOCKS = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
MODEL, TRAINING, COMPACT = BLOCKS.findall(GUIDE)
SMALL_WEIGHTS = "        nn.init.normal_(self.wte.weight, std=0.02)\n"


def statuses(folder, text):
    path = folder / "mine.py"
    path.write_text(text)
    return {check.name: check.status for check in check_model(load_model_file(path))}


def test_first_model_of_a_reader_has_no_fault_and_lacks_attention_and_positions(tmp_path):
    found = statuses(tmp_path, MODEL)
    assert "fault" not in found.values()
    notes = [name for name, status in found.items() if status == "note"]
    assert notes == ["causality", "positions"]


def test_large_first_weights_are_the_fault_that_the_guide_names(tmp_path):
    assert SMALL_WEIGHTS in MODEL
    found = statuses(tmp_path, MODEL.replace(SMALL_WEIGHTS, ""))
    assert found["initial_loss"] == "fault"


ATTENTION = """
class Attention(nn.Module):
    def __init__(self, n_embd):
        super().__init__()
        self.q, self.k, self.v, self.c_proj = (nn.Linear(n_embd, n_embd) for _ in range(4))

    def forward(self, x):
        T, C = x.shape[1:]
        att = self.q(x) @ self.k(x).transpose(1, 2) / C**0.5
        mask = torch.tril(torch.ones(T, T))
        return self.c_proj(att.masked_fill(mask == 0, float("-inf")).softmax(-1) @ self.v(x))
"""
SECOND = (
    ("\n\nclass GPT", f"\n{ATTENTION}\n\nclass GPT"),
    (SMALL_WEIGHTS, f"{SMALL_WEIGHTS}        self.wpe = nn.Embedding(block_size, n_embd)\n"
     "        nn.init.normal_(self.wpe.weight, std=0.02)\n"
     "        self.ln_1, self.attn = nn.LayerNorm(n_embd), Attention(n_embd)\n"),
    ("        logits =", "        x = x + self.wpe(torch.arange(idx.shape[1]))\n"
     "        x = x + self.attn(self.ln_1(x))\n        logits ="),
)  # fmt: skip
"""What the guide asks a reader to add for Model 2."""


def test_second_model_of_a_reader_passes_and_its_late_mask_is_named(tmp_path):
    text = MODEL
    for old, new in SECOND:
        assert old in text
        text = text.replace(old, new)
    assert set(statuses(tmp_path, text).values()) == {"ok", "skipped"}
    path = tmp_path / "late.py"
    path.write_text(text.replace("torch.ones(T, T)", "torch.ones(T, T), diagonal=1"))
    found = {check.name: check for check in check_model(load_model_file(path))}
    assert "The mask begins one too late" in found["causality"].means


SMALL = (
    ("200, 2, 256, 5e-3", "4, 2, 64, 5e-3"),
    ('load_corpus("python-docs").text', '"The statement of the loop. " * 400'),
)
"""What is changed in the training script of the guide, to make it fast."""


def test_readers_can_train_their_own_model(tmp_path, monkeypatch, capsys):
    text = TRAINING
    for old, new in SMALL:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "mine.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(text, {"__name__": "__main__"})
    sys.modules.pop("mine")
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("step 0: training loss 10.")
    assert float(last.removeprefix("test loss ")) < 10


def test_compact_ids_are_those_of_the_text_numbered_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = SMALL[1]
    assert old in COMPACT
    exec(COMPACT.replace(old, new), {})
    ids = np.load("compact.npy")
    assert ids.dtype == np.uint16
    assert set(ids.tolist()) == set(range(ids.max() + 1))


@pytest.mark.parametrize("line", re.findall(r"^    gptcore (.*)$", GUIDE, flags=re.MULTILINE))
def test_commands_of_the_guide_are_understood(line):
    arguments = shlex.split(line.partition(" > ")[0])
    assert make_parser().parse_args(arguments).command == arguments[0]
