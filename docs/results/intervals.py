"""How often does the interval of a test loss hold the mean of the whole text?

Every text is cut into tokens. A model of token counts, and one of pairs of tokens, are counted on
its first fifth and score all the rest, whose mean loss is the truth. Stretches of 5,000, 8,000 and
14,000 tokens, spread evenly over the rest, are taken as if each were all that was scored. The table
gives the share of stretches whose interval holds the truth, for both models and for the difference
between them on the same tokens, beside an interval as if tokens were independent. The interval of a
mean over 95 % of independent stretches would have a relative width of 1: `width` is half the width
of the interval divided by 1.96 standard deviations of the means of the stretches.

Run in the checkout, in about a minute:

    python docs/results/intervals.py                    # two texts that every Python has
    python docs/results/intervals.py BOOK.txt …         # texts, names and gutenberg:NUMBER
    python docs/results/intervals.py LOSSES.npy …       # losses of any model, in order, from NumPy

Stretches of a text overlap, and a text of 150,000 tokens has only 15 that do not: the share of one
text is known to about 6 %, so look at the mean over many texts.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))
from gptcore.data.corpora import load_corpus
from gptcore.data.tokenizer import encode
from gptcore.intervals import mean_interval

Floats = npt.NDArray[np.float64]
LENGTHS = (5_000, 8_000, 14_000)
LONGEST = 1_000_000  # characters of a text that are used
PYTHON = "python-source"


def read_text(name: str) -> str:
    """Return the start of a text; PYTHON is the source text of Python's standard library."""
    if name == PYTHON:
        files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        return "\n".join(file.read_text(errors="replace") for file in files)[:LONGEST]
    return load_corpus(name).text[:LONGEST]


def count_losses(text: str) -> tuple[Floats, Floats]:
    """Return the losses of all but the first fifth under counts of tokens and of pairs."""
    _, ids = np.unique(encode(text), return_inverse=True)
    n_types, n_train = int(ids.max()) + 1, len(ids) // 5
    counts = np.bincount(ids[:n_train], minlength=n_types) + 0.1
    p_token = (counts / counts.sum())[ids[1:]]
    _, pairs = np.unique(ids[:-1] * n_types + ids[1:], return_inverse=True)
    seen = np.bincount(pairs[: n_train - 1], minlength=int(pairs.max()) + 1)[pairs]
    before = np.bincount(ids[: n_train - 1], minlength=n_types)[ids[:-1]]
    p_pair = (seen + 20 * p_token) / (before + 20)  # a Dirichlet prior of 20 tokens
    return -np.log(p_token[n_train:]), -np.log(p_pair[n_train:])


def rows_of_losses(name: str) -> Iterator[tuple[str, Floats]]:
    """Yield the name of a row of losses, and the row."""
    if name.endswith(".npy"):
        yield Path(name).stem, np.load(name).astype(np.float64)
        return
    tokens, pairs = count_losses(read_text(name))
    stem = Path(name).stem
    yield from ((f"{stem} tokens", tokens), (f"{stem} pairs", pairs))
    yield f"{stem} difference", pairs - tokens


def check_stretches(losses: Floats, length: int, n_stretches: int) -> tuple[float, float, float]:
    """Return the shares held by the interval and by the naive one, and the relative width."""
    truth = losses.mean()
    starts = np.linspace(0, len(losses) - length, n_stretches).astype(int)
    held, naive, halves, means = [], [], [], []
    for start in starts:
        stretch = losses[start : start + length]
        low, high = mean_interval(stretch) or (np.nan, np.nan)
        held.append(low <= truth <= high)
        naive.append(abs(stretch.mean() - truth) <= 1.96 * stretch.std() / length**0.5)
        halves.append((high - low) / 2)
        means.append(stretch.mean())
    width = np.mean(halves) / (1.96 * np.std(means))
    return float(np.mean(held)), float(np.mean(naive)), float(width)


def main() -> int:
    """Print a line for each row of losses, and their mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", default=["python-docs", PYTHON])
    parser.add_argument("--stretches", type=int, default=100, help="of each length (default: 100)")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="TOKENS")
    args = parser.parse_args()
    print(f"{'losses':32}{'tokens':>9}{'held %':>9}{'naive %':>9}{'width':>7}")
    rows = []
    for text in args.texts:
        for name, losses in rows_of_losses(text):
            fitting = [length for length in args.lengths if 4 * length <= len(losses)]
            if not fitting:
                print(f"{name:32}{len(losses):9,}  too short for stretches: give a longer text")
                continue
            row = np.mean([check_stretches(losses, n, args.stretches) for n in fitting], axis=0)
            rows.append(row)
            held, naive, width = row
            print(f"{name:32}{len(losses):9,}{100 * held:9.1f}{100 * naive:9.1f}{width:7.2f}")
            sys.stdout.flush()
    if rows:
        held, naive, width = np.mean(rows, axis=0)
        print(f"{'mean':32}{len(rows):9}{100 * held:9.1f}{100 * naive:9.1f}{width:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
