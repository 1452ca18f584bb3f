"""Training of a tiny model on a text that counts up, so that there is something to learn."""

import torch

from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.training.config import TrainConfig
from gptcore.training.loop import train
from gptcore.training.step import make_optimizer

CPU = torch.device("cpu")
MODEL = ModelConfig(vocab_size=17, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.1)
CONFIG = TrainConfig(steps=10, batch_size=4, block_size=8, learning_rate=1e-2, warmup_steps=2)


def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs and targets of a step: 4 windows of the text."""
    starts = torch.randint(17, (4, 1), generator=torch.Generator().manual_seed(step))
    ids = (starts + torch.arange(9)) % 17
    return ids[:, :-1], ids[:, 1:]


def steps_of(config: TrainConfig = CONFIG, model: GPT | None = None, **options):
    """Train a model and yield the metrics of each step."""
    model = model or GPT(MODEL)
    options = {"device": CPU, "epochs_per_step": 0.5} | options
    return train(model, make_optimizer(model, config), batch_at, config, **options)
