import functools
import statistics

import pytest
import torch

from gptcore.devices import supported_precisions
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.loss import token_losses
from gptcore.training.config import TrainConfig
from gptcore.training.loop import train
from gptcore.training.step import make_optimizer

CPU = torch.device("cpu")
CONFIG = TrainConfig(steps=25, batch_size=8, block_size=16, learning_rate=1e-2, warmup_steps=2)
SHAPE = ModelConfig(vocab_size=20, block_size=16, n_layer=1, n_head=2, n_embd=32)


def draw(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch in which each id is mostly the one before plus 3."""
    jumps = torch.where(torch.rand(8, 17, generator=generator) < 0.7, 3, 1)
    ids = jumps.cumsum(1) % 20
    return ids[:, :-1], ids[:, 1:]


@functools.cache
def loss_after_training(precision: str, seed: int) -> float:
    """Return the loss on a test batch, in fp32."""
    config = TrainConfig(**vars(CONFIG) | {"precision": precision, "seed": seed})
    model = GPT(SHAPE, seed=seed)
    steps = train(
        model,
        make_optimizer(model, config),
        lambda step: draw(torch.Generator().manual_seed(1000 * seed + step)),
        config,
        device=CPU,
        epochs_per_step=1.0,
    )
    for _ in steps:
        pass
    return token_losses(model, *draw(torch.Generator().manual_seed(10**6))).mean().item()


@pytest.mark.parametrize("precision", ["bf16", "medium"])
def test_training_in_another_precision_ends_within_the_noise_of_seeds(precision):
    if precision not in supported_precisions(CPU):
        pytest.skip(f"{precision} rounds nothing on this CPU; run on one with AMX")
    exact = [loss_after_training("fp32", seed) for seed in range(3)]
    rounded = loss_after_training(precision, 0)
    assert max(exact) < 0.8 * torch.tensor(20.0).log()  # they have learned something
    # Same weights, same batches: only rounding is left, against all that a seed changes.
    assert abs(rounded - exact[0]) < statistics.stdev(exact)
    assert rounded != exact[0]  # it did compute otherwise
