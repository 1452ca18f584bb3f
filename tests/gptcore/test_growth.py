"""Memory for each token or row stays small; docs/results/growth.py measures large inputs."""

import tracemalloc

import numpy as np
import pytest

from gptcore.audit.log import read_log
from gptcore.data.block_counts import BlockCounts
from gptcore.data.leakage import certificate
from gptcore.data.splits import make_split
from gptcore.evaluation.text_form_copies import longest_copies


@pytest.fixture
def peak_of():
    """Call a function; return the most bytes that Python and NumPy held for it at a time."""

    def measure(function, *args, **options):
        tracemalloc.start()
        try:
            function(*args, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def test_shared_ngrams_take_few_bytes_a_token(peak_of, monkeypatch):
    monkeypatch.setattr("gptcore.data.leakage.AT_ONCE", 2**12)
    ids = np.random.default_rng(0).integers(50_000, size=300_000).astype(np.uint16)
    split = make_split("tail", len(ids), block_size=256)
    # 7 when written, nearly all for the n-grams of the test part; 92 with arrays of all tokens
    assert peak_of(certificate, ids, split, block_size=256) < 15 * len(ids)


def test_counts_of_bigrams_take_few_bytes_a_token(peak_of, monkeypatch):
    monkeypatch.setattr("gptcore.data.block_counts.AT_ONCE", 2**14)
    ids = np.random.default_rng(0).integers(40, size=300_000).astype(np.uint16)
    # 9 when written; 57 with arrays of int64
    assert peak_of(BlockCounts, ids) < 20 * len(ids)


@pytest.mark.parametrize("row", ["{},8\n", '{{"start": {}, "length": 8}}\n'])
def test_a_log_takes_few_bytes_a_row(peak_of, monkeypatch, tmp_path, row):
    monkeypatch.setattr("gptcore.audit.log.BLOCK", 2**14)
    starts = np.random.default_rng(0).integers(10**6, size=50_000).tolist()
    path = tmp_path / "log"
    head = "" if row.startswith("{{") else "start,length\n"
    path.write_text(head + "".join(row.format(start) for start in starts))
    # 8 for the starts, 4 while they are read; lengths and lines take none
    assert peak_of(read_log, path, n_tokens=10**7) < 20 * len(starts) + 3e6


def test_longest_copies_take_few_bytes_a_token(peak_of):
    once = np.random.default_rng(0).integers(50_000, size=20_000)
    ids = np.tile(once, 5)  # every run of tokens is there again
    pieces = [((i, i + 1000), [(max(0, i - 1000), i + 1000)]) for i in range(0, len(ids), 1000)]
    # 110 when written, nearly all of it for sorting; 4 for each doubling
    assert peak_of(longest_copies, ids, pieces) < 170 * len(ids)
