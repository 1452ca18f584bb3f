"""Question: how many tokens per second can be assembled into batches, and which way is fastest?

Work unit: one batch of batch_size x block_size tokens at random starts, as int64 inputs and targets
in memory. "gather" indexes all windows at once, either in an array in memory or in a memory-mapped
file of uint16 or uint32 that is already in the page cache. "dataloader" is torch's DataLoader over
the same windows, one sample at a time, in the main process. "workers" is the same loader with two
worker processes, which stay alive over the rounds; the time to start them is recorded separately.
The cases run one after the other, so use `python -m bench pair` for a precise ratio. Not measured:
a model, cold disks, copies to an accelerator.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench.measuring.measure import Measure
from bench.measuring.work import Result, Work
from bench.suite.cases import LoadingCase
from bench.suite.inputs import Inputs
from gptcore.data.tokens import TokenStream
from gptcore.sampling.base import Sampler
from gptcore.sampling.batches import Stream, batch
from gptcore.sampling.loaders import StartDataset, StartSampler
from gptcore.sampling.samplers import make_sampler
from gptcore.training.step import EndPhase

BATCHES = 50
WORKERS = 2


@pytest.mark.benchmark(group="throughput")
@pytest.mark.usefixtures("benchmark")
def test_load(
    measure: Measure, result: Result, session: Inputs, case: LoadingCase, tmp_path: Path
) -> None:
    stream = session.stream(case.corpus)
    if case.source == "mapped":
        stream.save(tmp_path / "ids.npy")
        stream = TokenStream.open(tmp_path / "ids.npy", stream.vocab_size)
    ids: Stream = torch.from_numpy(stream.ids) if case.source == "memory" else stream.ids
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    def gather(_end_phase: EndPhase) -> None:
        for step in range(BATCHES):
            batch(ids, sampler, step, case.batch_size)

    _check_same(case, sampler, ids)
    call: Callable[[EndPhase], None] = gather
    if case.way != "gather":
        loader = _loader(case, sampler, ids)
        if case.way == "workers":
            start_ns = time.perf_counter_ns()
            next(iter(loader))
            result.metrics["worker_start_s"] = (time.perf_counter_ns() - start_ns) / 1e9

        def call(_end_phase: EndPhase) -> None:
            assert sum(1 for _ in loader) == BATCHES

    result.metrics["bytes_per_token"] = stream.ids.itemsize
    tokens = BATCHES * case.batch_size * case.block_size
    measure(Work(call, torch.device("cpu"), tokens, budget_s=1.5))


def _loader(case: LoadingCase, sampler: Sampler, ids: Stream) -> DataLoader[tuple[Tensor, Tensor]]:
    assert isinstance(ids, Tensor)
    # Spawned on every platform: a fork would copy torch's threads in an unknown state.
    workers: dict[str, Any] = {
        "num_workers": WORKERS,
        "persistent_workers": True,
        "multiprocessing_context": "spawn",
    }
    return DataLoader(
        StartDataset(ids, case.block_size),
        sampler=StartSampler(sampler, BATCHES * case.batch_size),
        batch_size=case.batch_size,
        **(workers if case.way == "workers" else {}),
    )


def _check_same(case: LoadingCase, sampler: Sampler, ids: Stream) -> None:
    """Check that the first batch holds the tokens that the text has at its starts."""
    inputs, targets = batch(ids, sampler, 0, case.batch_size)
    for row, start in enumerate(sampler.starts(0, case.batch_size).tolist()):
        window = torch.as_tensor(ids[start : start + case.block_size + 1].tolist())
        assert torch.equal(inputs[row], window[:-1])
        assert torch.equal(targets[row], window[1:])
