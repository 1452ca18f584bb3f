import numpy as np
import pytest
import torch

from bench.experiments.exposure import note_visits
from bench.measuring.work import Result
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.sampling.samplers import make_sampler

CPU = torch.device("cpu")


def test_losses_of_the_training_part_are_grouped_by_what_the_run_showed():
    model = GPT(ModelConfig(vocab_size=32, block_size=8, n_layer=1, n_head=1, n_embd=8))
    ids = torch.from_numpy(np.random.default_rng(0).integers(32, size=2000))
    sampler = make_sampler("random_replacement", n_tokens=2000, block_size=8, seed=1)
    result = Result()
    note_visits(result, model, ids, sampler, draws=250, device=CPU)
    rows = result.series["loss_by_visits"]
    assert sum(row["targets"] for row in rows) == 1999
    assert sum(row["visits"] * row["targets"] for row in rows) == 250 * 8
    mean = sum(row["loss"] * row["targets"] for row in rows) / 1999
    assert mean == pytest.approx(result.metrics["train_part_loss"])
    ends = [result.metrics[f"memorisation_gap{end}"] for end in ("_low", "", "_high")]
    assert ends == sorted(ends)  # nothing was trained, so what the gap is does not matter
