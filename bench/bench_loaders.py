"""Question: does torch's DataLoader show the targets that the sampler that stands for it promises?

The samplers `sequential` and `shuffled_blocks` stand for a DataLoader without and with shuffle=True
in all comparisons. Here a real one is read, over a text in which each token is its own position, so
that the first input of a row is the start of its window. Its counts stand beside those of the
sampler at as many draws, and beside theory. Work unit: one draw. Not measured: training, and time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bench.measuring.work import Result
from bench.suite.cases import DataLoaderCase
from bench.suite.inputs import Inputs
from gptcore.coverage.summaries import z_scores
from gptcore.coverage.visits import Coverage, measure_coverage
from gptcore.data.splits import tail_split
from gptcore.sampling.base import Sampler
from gptcore.sampling.loaders import loader_passes
from gptcore.sampling.samplers import make_sampler
from gptcore.theory.expectations import expect_of


def loader_starts(sampler: Sampler, draws: int) -> npt.NDArray[np.int64]:
    """Return the starts of the first `draws` windows of the loader that a sampler stands for."""
    batches = loader_passes(
        torch.arange(sampler.segments[-1].stop),
        sampler.segments,
        block_size=sampler.block_size,
        batch_size=sampler.batch_size,
        shuffle=sampler.name == "shuffled_blocks",
        drop_last=sampler.drop_last,
        seed=sampler.seed,
    )
    rows: Iterator[int] = (start for inputs, _ in batches for start in inputs[:, 0].tolist())
    return np.fromiter(itertools.islice(rows, draws), dtype=np.int64, count=draws)


def _count(sampler: Sampler, starts: npt.NDArray[np.int64]) -> Coverage:
    return measure_coverage(starts, segments=sampler.segments, block_size=sampler.block_size)


@pytest.mark.benchmark(group="dataloader")
def test_dataloader(benchmark: Any, result: Result, session: Inputs, case: DataLoaderCase) -> None:
    n_tokens = len(session.stream(case.corpus))
    (train,) = tail_split(n_tokens, block_size=case.block_size).train
    sampler = make_sampler(
        case.sampler,
        segments=[train],
        block_size=case.block_size,
        seed=case.seed,
        batch_size=case.batch_size,
        drop_last=case.drop_last,
    )
    assert sampler.draws_per_epoch is not None
    draws = round(case.target_epochs * sampler.draws_per_epoch)
    starts = benchmark.pedantic(loader_starts, args=(sampler, draws), rounds=1)
    shown, promised = _count(sampler, starts), _count(sampler, sampler.starts(0, draws))
    expectation = expect_of(sampler, draws)
    observed = {k: v for k, v in shown.as_dict().items() if k not in ("n_tokens", "block_size")}
    expected = {f"expected_{k}": v for k, v in vars(expectation).items() if k in observed}
    result.metrics |= {
        **observed,
        **expected,
        "n_tokens": n_tokens,
        "train_tokens": len(train),
        "never_targets": expectation.never_targets,
        "sd_missed_targets": expectation.sd_missed_targets,
        "z_missed_targets": z_scores(shown, expectation)["missed_targets"],
        "sampler_missed_targets": promised.missed_targets,
        "sampler_repeated_windows": promised.repeated_windows,
    }
