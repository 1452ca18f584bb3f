"""Training: one step, the loop around it, and runs in a folder that survive being killed.

`train_step` is one update of the weights, `train` the loop of steps, and `run_training` a whole run
with a log of every step, checkpoints and a summary. A resumed run repeats the losses of an
uninterrupted one bit for bit. `TrainConfig` holds the settings, the schedule among them.

    >>> import torch
    >>> from gptcore.model import GPT, ModelConfig
    >>> from gptcore.training import TrainConfig, make_optimizer, train
    >>> model = GPT(ModelConfig(vocab_size=8, block_size=4, n_layer=1, n_head=1, n_embd=8))
    >>> config = TrainConfig(steps=3, batch_size=2, block_size=4)
    >>> def batch_at(step):  # a function of the number of updates done
    ...     ids = (step + torch.arange(10)).view(2, 5) % 8
    ...     return ids[:, :-1], ids[:, 1:]
    >>> device = torch.device("cpu")
    >>> optimizer = make_optimizer(model, config)
    >>> steps = train(model, optimizer, batch_at, config, device=device, epochs_per_step=0.1)
    >>> [(metrics.step, metrics.tokens) for metrics in steps]
    [(1, 8), (2, 16), (3, 24)]
"""

from gptcore.training.averaging import begin_average, update_average
from gptcore.training.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    model_from_checkpoint,
    restore_checkpoint,
    save_checkpoint,
)
from gptcore.training.config import COMPILERS, SCHEDULES, StepMetrics, TrainConfig
from gptcore.training.loop import DivergedError, train
from gptcore.training.runs import run_training
from gptcore.training.step import accumulated_step, make_optimizer, train_step

__all__ = [
    "COMPILERS",
    "SCHEDULES",
    "DivergedError",
    "StepMetrics",
    "TrainConfig",
    "accumulated_step",
    "begin_average",
    "latest_checkpoint",
    "load_checkpoint",
    "make_optimizer",
    "model_from_checkpoint",
    "restore_checkpoint",
    "run_training",
    "save_checkpoint",
    "train",
    "train_step",
    "update_average",
]
