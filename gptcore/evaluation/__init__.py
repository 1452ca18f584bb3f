"""Evaluation: the loss of a model on a text, and what a fixed model gains from more inference.

`evaluate` scores every target of a text once and returns nats per token and bits per byte, with an
interval. `sweep_losses` returns the loss of each target. `loss_by_context` measures a model with
longer contexts, `sample_continuations` and `best_of` measure it with more samples. `fit_power` fits
a power law to either curve, and `predict_mean` gives its interval. `pass_at_k` is the share of
prompts that k samples solve, and `samples_for` says how many samples a target needs. `compare_form`
measures how a text is written, beside slices of a corpus.

    >>> import torch
    >>> from gptcore.evaluation import evaluate
    >>> from gptcore.model import GPT, ModelConfig
    >>> model = GPT(ModelConfig(vocab_size=256, block_size=16, n_layer=1, n_head=2, n_embd=16))
    >>> ids = torch.tensor(list(b"A model reads this text, one byte after another." * 5))
    >>> device = torch.device("cpu")
    >>> result = evaluate(model, ids, block_size=16, device=device, n_bytes=len(ids))
    >>> result.n_targets, round(result.loss_nats_per_token, 1)  # untrained: about ln 256
    (239, 5.5)
"""

from gptcore.evaluation.inference_scaling import (
    PowerLaw,
    best_of,
    fit_power,
    loss_by_context,
    predict_mean,
    sample_continuations,
)
from gptcore.evaluation.losses import Evaluation, count_losses, evaluate, sweep_losses
from gptcore.evaluation.pass_at_k import SamplesNeeded, pass_at_k, pass_interval, samples_for
from gptcore.evaluation.text_form import (
    MEASURES,
    Measured,
    compare_form,
    sample_bigrams,
    sample_unigrams,
)

__all__ = [
    "MEASURES",
    "Evaluation",
    "Measured",
    "PowerLaw",
    "SamplesNeeded",
    "best_of",
    "compare_form",
    "count_losses",
    "evaluate",
    "fit_power",
    "loss_by_context",
    "pass_at_k",
    "pass_interval",
    "predict_mean",
    "sample_bigrams",
    "sample_continuations",
    "sample_unigrams",
    "samples_for",
    "sweep_losses",
]
