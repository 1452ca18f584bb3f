"""Evaluation: the loss on a text with every target scored once, and what more inference gains.

`evaluate` returns nats per token and bits per byte with an interval. `loss_by_context` and
`sample_continuations` measure a fixed model with longer contexts and with more samples.
"""

from gptcore.evaluation.inference_scaling import (
    PowerLaw,
    best_of,
    fit_power,
    loss_by_context,
    sample_continuations,
)
from gptcore.evaluation.losses import Evaluation, evaluate, sweep_losses

__all__ = [
    "Evaluation",
    "PowerLaw",
    "best_of",
    "evaluate",
    "fit_power",
    "loss_by_context",
    "sample_continuations",
    "sweep_losses",
]
