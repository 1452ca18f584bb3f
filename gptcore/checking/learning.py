"""Checks that train the model: on text without any pattern, and on one batch again and again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gptcore.checking.losses import mean_loss
from gptcore.checking.subject import BLOCK_SIZE, Subject
from gptcore.checking.verdict import Verdict, fault, note, ok, skipped

STEPS, BATCH_SIZE, LEARNING_RATE = 300, 16, 3e-3
LAST = 30
"""Steps at the end over which the loss is averaged."""


def independent_ids(subject: Subject) -> Verdict:
    """Nothing is learned from tokens that do not depend on each other."""
    if subject.is_large:
        return skipped(f"the model has {subject.n_params:,} parameters, too many to train it here")

    def draw(step: int) -> Tensor:
        return subject.ids(BATCH_SIZE, BLOCK_SIZE + 1, seed=1000 + step)

    losses = _train(subject, draw)
    reached, least = sum(losses[-LAST:]) / LAST, math.log(subject.n_vocab)
    detail = f"after {STEPS} steps on independent tokens the loss is {reached:.3g}"
    if reached > least - 0.1:
        return ok(f"{detail}, and cannot honestly be below ln V = {least:.3g}")
    return fault(
        f"{detail}, below ln V = {least:.3g}",
        "Each token is drawn without regard to the others, so no model can predict it: this one "
        "sees its targets. The checks of causality say how.",
    )


def overfitting(subject: Subject) -> Verdict:
    """One batch can be learned by heart."""
    if subject.is_large:
        return skipped(f"the model has {subject.n_params:,} parameters, too many to train it here")
    tokens = subject.ids(4, BLOCK_SIZE + 1, seed=7)
    losses = _train(subject, lambda _step: tokens)
    first, last = losses[0], sum(losses[-LAST:]) / LAST
    detail = f"in {STEPS} steps on one batch the loss falls from {first:.3g} to {last:.3g}"
    if last < 0.5 * first:
        return ok(
            f"{detail}; this cannot tell a sound model from most broken ones, which also learn one "
            "batch by heart, and those that see their targets do it best"
        )
    means = (
        "The model cannot learn 64 tokens by heart. Usually the gradient does not reach most of "
        "the parameters, the loss is that of other targets, or the logits cannot grow. Look at "
        "the checks above; if they find nothing, try another learning rate."
    )
    return fault(detail, means) if last > 0.8 * first else note(detail, means)


def _train(subject: Subject, draw: Callable[[int], Tensor]) -> list[float]:
    """Train a new model; return the cross-entropy of each step before its update."""
    fresh = Subject(subject.file)
    fresh.n_vocab = subject.n_vocab
    fresh.model.train()
    optimizer = torch.optim.Adam(fresh.model.parameters(), lr=LEARNING_RATE)
    losses = []
    for step in range(STEPS):
        tokens = draw(step)
        x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        optimizer.zero_grad(set_to_none=True)
        fresh.file.loss(fresh.model, x, y).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(fresh.model.parameters(), 1.0)
        if step == 0 or step >= STEPS - LAST:
            losses.append(mean_loss(fresh.logits(x), y))
        optimizer.step()
    return losses
