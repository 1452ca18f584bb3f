"""Model files as users write them, written from the textbook model."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.checkout import ROOT

TEXTBOOK = (ROOT / "tests" / "helpers" / "textbook_gpt.py").read_text(encoding="utf-8")
MASK = "torch.tril(torch.ones(block_size, block_size)) == 0"
GET_BATCH = """

def get_batch(split):
    ids = torch.arange(4_000) % 50
    starts = torch.randint(3_500, (6,))
    rows = torch.stack([ids[i : i + 41] for i in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]
"""


def write_model(
    folder: Path, name: str = "mine.py", *, more: str = "", mask: str = "", make: str = ""
) -> Path:
    """Write a model file and return its path.

    Args:
        folder: where.
        name: of the file.
        more: what is added at its end.
        mask: what stands in place of the mask of the textbook model.
        make: another make_model.
    """
    text = TEXTBOOK
    if mask:
        assert MASK in text
        text = text.replace(MASK, mask)
    if make:
        text += f"\n\n{make}\n"
    path = folder / name
    path.write_text(text + more)
    return path


FULL_MASK = "torch.zeros(block_size, block_size) == 1"
"""A mask that hides nothing, so that every token sees the future."""
FIXED = "def make_model(vocab_size, block_size):\n"
FIXED += "    return TextbookGPT(vocab_size, block_size, 2, 4, 16, 0.1)"
"""A make_model that takes no sizes."""
