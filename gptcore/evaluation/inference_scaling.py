"""Measure what a fixed model gains from more compute at inference: longer contexts, more samples.

Choshen, Zhang & Andreas 2025 (arXiv:2410.11840) name this as the next question after training. Two
curves are measured on text that the model has not seen. The first is the loss of the next tokens
against the length of their context. The second is verbatim accuracy against k: k continuations are
sampled, and the likeliest of them is scored by its share of correct tokens. A power law
y = E + B / x^beta is fitted to each curve, with intervals over prompts. How many samples a target
needs is asked in `pass_at_k`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import comb
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT, evaluating
from gptcore.model.loss import token_losses
from gptcore.scaling import solver
from gptcore.scaling.solver import Data, Floats

FREE = np.array([True, False, True, False, True])  # E, B and beta; there is no second axis
FEWEST_POINTS = 4  # one more than the law has parameters
RESAMPLES = 80  # of the prompts; each needs one fit, of about 15 ms


@dataclass(frozen=True)
class PowerLaw:
    """y = E + B / x^beta, fitted to `n_points` points."""

    E: float
    B: float
    beta: float
    n_points: int

    def __call__(self, x: float) -> float:
        """Return y at `x`."""
        return float(self.E + self.B * x**-self.beta)


def fit_power(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit y = E + B / x^beta by `scaling.solver.solve`, which also fits the laws of training.

    Raises:
        ValueError: fewer than 4 points, or one that is not positive and finite.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(xs) != len(ys) or len(xs) < FEWEST_POINTS:
        raise ValueError(
            f"{len(xs)} x and {len(ys)} y: a power law with a floor needs at least "
            f"{FEWEST_POINTS} of each"
        )
    if not (np.isfinite([xs, ys]).all() and (xs > 0).all() and (ys > 0).all()):
        raise ValueError(f"x is {list(x)} and y is {list(y)}: give positive finite numbers")
    pivot = float(np.exp(np.log(xs).mean()))
    data = Data(np.zeros(len(xs)), np.log(xs / pivot), np.log(ys))
    held = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    theta, _ = solver.solve(data, delta=solver.DELTA, free=FREE, held=held)
    beta = float(theta[4])
    return PowerLaw(float(theta[0]), float(theta[2]) * pivot**beta, beta, len(xs))


def predict_mean(
    x: Sequence[float], values: Floats, at: float, *, seed: int = 0
) -> tuple[float, float, float]:
    """Return what the power law of the means over prompts says at `at`, with its 95 % interval.

    The interval is from a bootstrap over prompts (Efron & Tibshirani 1993): the law is fitted to
    the means of `RESAMPLES` draws of as many prompts. It holds if the curve is a power law.

    Args:
        x: (X,), the budgets.
        values: (P, X), what each prompt has at each budget; the means fall towards a floor.
        at: the budget asked about.
        seed: the seed of the draws.

    Raises:
        ValueError: as for `fit_power`, for the means.
    """
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    resampled = values[draws].mean(axis=1)  # (RESAMPLES, X)
    laws = [fit_power(x, row)(at) for row in resampled if (row > 0).all()]
    low, high = np.quantile(laws, [0.025, 0.975])
    return fit_power(x, values.mean(axis=0).tolist())(at), float(low), float(high)


def loss_by_context(
    model: GPT,
    ids: Tensor,
    starts: Sequence[int],
    contexts: Sequence[int],
    *,
    horizon: int,
    device: torch.device,
) -> Floats:
    """Return the mean loss of the `horizon` targets from each start, for each context length.

    For context length c every target is predicted from exactly the c tokens before it. The targets
    are the same for every c, so differences between columns are due to the context alone.

    Args:
        model: the model, on `device`; its training or evaluation mode is restored.
        ids: (N,), int64.
        starts: positions in `ids` of first targets, each at least the longest context.
        contexts: context lengths c, each in [1, block_size].
        horizon: the number of targets from each start.
        device: where the model is.

    Returns:
        (len(starts), len(contexts)), nats per token.

    Raises:
        ValueError: an argument is outside its range.
    """
    _check_contexts(starts, contexts, horizon, model.config.block_size, len(ids))
    targets = (torch.tensor(starts)[:, None] + torch.arange(horizon)).flatten()
    columns = []
    with evaluating(model):
        for context in contexts:
            # Each target and its context are one row of a batch.
            places = targets[:, None] + torch.arange(-context, 0)  # (targets, c)
            logits = model.next_logits(ids[places].to(device)).float().cpu()
            losses = torch.nn.functional.cross_entropy(logits, ids[targets], reduction="none")
            columns.append(losses.view(len(starts), horizon).double().mean(dim=1).numpy())
    return np.stack(columns, axis=1)


def _check_contexts(
    starts: Sequence[int], contexts: Sequence[int], horizon: int, block_size: int, n_tokens: int
) -> None:
    check_whole("horizon", horizon)
    if not contexts or not all(1 <= c <= block_size for c in contexts):
        raise ValueError(f"contexts are {list(contexts)}: give some in [1, {block_size}]")
    if not starts or min(starts) < max(contexts) or max(starts) + horizon > n_tokens:
        raise ValueError(
            f"{len(starts)} starts: give some from {max(contexts)} to {n_tokens - horizon}, so "
            "that context and targets are in the text"
        )


def sample_continuations(
    model: GPT, prompts: Tensor, truth: Tensor, *, samples: int, seed: int, device: torch.device
) -> tuple[Floats, Floats]:
    """Sample continuations at temperature 1; return the accuracy and log-likelihood of each.

    Args:
        model: the model, on `device`.
        prompts: (P, T), int64.
        truth: (P, n), int64, the tokens that follow each prompt; T + n is at most block_size + 1.
        samples: K, the number of continuations of each prompt.
        seed: the seed of the draws.
        device: where the model is.

    Returns:
        The share of the n tokens that equal the truth and the log-likelihood in nats, each (P, K).

    Raises:
        ValueError: an argument is outside its range.
    """
    check_whole("samples", samples)
    new, length = truth.shape[1], prompts.shape[1]
    if len(prompts) != len(truth) or length + new > model.config.block_size + 1:
        raise ValueError(
            f"prompts are {tuple(prompts.shape)} and truth is {tuple(truth.shape)}: give as many "
            f"rows of both, together at most {model.config.block_size + 1} tokens long"
        )
    rows = prompts.repeat_interleave(samples, dim=0)  # (P * K, T)
    drawn = generate(model, rows, new, seed=seed, device=device)  # (P * K, T + n)
    with evaluating(model):
        losses = token_losses(model, drawn[:, :-1].to(device), drawn[:, 1:].to(device)).cpu()
    right = (drawn[:, length:] == truth.repeat_interleave(samples, dim=0)).double().mean(dim=1)
    likely = -losses[:, length - 1 :].double().sum(dim=1)
    shape = (len(prompts), samples)
    return right.view(shape).numpy(), likely.view(shape).numpy()


def best_of(right: Floats, likely: Floats, k: int) -> Floats:
    """Return the expected accuracy of the likeliest of k samples: (P,).

    The expectation is exact: the mean over all C(K, k) ways to choose k of the K samples. When the
    samples are sorted by likelihood, the j-th (from 0) is the likeliest in C(K - 1 - j, k - 1) of
    these choices.

    Args:
        right: (P, K), the accuracy of each sample.
        likely: (P, K), the log-likelihood of each sample.
        k: the number of samples to choose from, in [1, K].

    Raises:
        ValueError: `k` is outside that range.
    """
    total = right.shape[1]
    k = check_whole("k", k, at_most=total)
    order = np.argsort(-likely, axis=1, kind="stable")
    weights = comb(total - 1 - np.arange(total), k - 1) / comb(total, k)
    return np.asarray(np.take_along_axis(right, order, axis=1) @ weights)
