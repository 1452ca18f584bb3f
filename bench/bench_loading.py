"""Question: how many tokens a second can be assembled into batches, and does it matter how?

Work unit: one batch of batch_size x block_size tokens at random starts, as int64 inputs and targets
in memory. "gather" is one vectorised indexing of all windows, from an array in memory or a file of
uint16 or uint32 mapped into it (read once before, so from the page cache); "dataloader" is torch's
DataLoader over the same windows, one sample at a time, in this process. The three run one after the
other in one session. Not measured: worker processes, cold disks, copies to an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench.experiments import LoadingCase
from bench.measure import Mark, Measure
from bench.run import Run
from gptcore.batches import Stream, batch
from gptcore.loaders import StartDataset, StartSampler
from gptcore.sampler import Sampler
from gptcore.samplers import make_sampler
from gptcore.tokens import TokenStream

BATCHES = 50


@pytest.mark.benchmark(group="throughput")
@pytest.mark.usefixtures("benchmark")
def test_load(measure: Measure, run: Run, case: LoadingCase, tmp_path: Path) -> None:
    stream = run.streams[case.corpus]
    if case.source == "mapped":
        stream.save(tmp_path / "ids.npy")
        stream = TokenStream.open(tmp_path / "ids.npy", stream.vocab_size)
    ids: Stream = torch.from_numpy(stream.ids) if case.source == "memory" else stream.ids
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    def gather(_mark: Mark) -> None:
        for step in range(BATCHES):
            batch(ids, sampler, step, case.batch_size)

    def iterate(_mark: Mark) -> None:
        starts = StartSampler(sampler, BATCHES * case.batch_size)
        assert isinstance(ids, Tensor)
        dataset = StartDataset(ids, case.block_size)
        for _ in DataLoader(dataset, sampler=starts, batch_size=case.batch_size):
            pass

    _check_same(case, sampler, ids)
    ways: dict[str, Callable[[Mark], None]] = {"gather": gather, "dataloader": iterate}
    measure.result.metrics["bytes_per_token"] = stream.ids.itemsize
    measure(
        ways[case.way],
        device=torch.device("cpu"),
        tokens=BATCHES * case.batch_size * case.block_size,
        budget_s=1.5,
    )


def _check_same(case: LoadingCase, sampler: Sampler, ids: Stream) -> None:
    """The first batch is what the text itself has at those places."""
    inputs, targets = batch(ids, sampler, 0, case.batch_size)
    for row, start in enumerate(sampler.starts(0, case.batch_size).tolist()):
        window = torch.as_tensor(ids[start : start + case.block_size + 1].tolist())
        assert torch.equal(inputs[row], window[:-1])
        assert torch.equal(targets[row], window[1:])
