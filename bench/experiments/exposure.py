"""The loss of training targets by how often a run showed them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.measuring.work import Result
from gptcore.coverage.visits import measure_draws
from gptcore.evaluation.groups import by_visits, memorisation_gap
from gptcore.evaluation.losses import sweep_losses
from gptcore.model.gpt import GPT
from gptcore.sampling.base import Sampler


def note_visits(
    result: Result,
    model: GPT,
    ids: Tensor,
    sampler: Sampler,
    *,
    draws: int,
    device: torch.device,
) -> None:
    """Score the training part after training, and note its loss by visits in `result`.

    Args:
        result: where the series `loss_by_visits` and the memorisation gap are noted.
        model: the trained model.
        ids: (N,), the tokens that the segments of `sampler` lie in.
        sampler: the one that training read.
        draws: the number of draws of training.
        device: where the model is.
    """
    size = sampler.block_size
    visits = measure_draws(sampler, draws).visits
    parts = [ids[part.start : part.stop] for part in sampler.segments]
    losses = np.concatenate(
        [sweep_losses(model, part, block_size=size, device=device).numpy() for part in parts]
    )
    gap, ends = memorisation_gap(losses, visits) or (None, None)
    low, high = ends or (None, None)
    result.metrics |= {
        "train_part_loss": float(losses.mean(dtype=np.float64)),
        "memorisation_gap": gap,
        "memorisation_gap_low": low,
        "memorisation_gap_high": high,
    }
    result.series["loss_by_visits"] = [
        {
            "visits": group.first,
            "targets": group.n_targets,
            "loss": group.loss,
            "low": group.interval_95 and group.interval_95[0],
            "high": group.interval_95 and group.interval_95[1],
        }
        for group in by_visits(losses, visits)
    ]
