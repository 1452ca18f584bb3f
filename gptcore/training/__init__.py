"""Training: one step, the loop around it, and runs in a folder that survive being killed.

`train_step` is one update of the weights, `train` the loop, `run_training` a whole run with a log
of every step, checkpoints, a summary, and exact resuming. `TrainConfig` holds the settings.
"""

from gptcore.training.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    model_from_checkpoint,
    restore_checkpoint,
    save_checkpoint,
)
from gptcore.training.config import COMPILERS, StepMetrics, TrainConfig
from gptcore.training.loop import train
from gptcore.training.runs import run_training
from gptcore.training.step import make_optimizer, train_step

__all__ = [
    "COMPILERS",
    "StepMetrics",
    "TrainConfig",
    "latest_checkpoint",
    "load_checkpoint",
    "make_optimizer",
    "model_from_checkpoint",
    "restore_checkpoint",
    "run_training",
    "save_checkpoint",
    "train",
    "train_step",
]
