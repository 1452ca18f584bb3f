"""Other ways to do the same work from the same weights: what is compared with ours.

    gptcore         ours as it is
    without-PIECE   ours with that one optimisation taken away (PIECES)
    nanogpt-style   what the usual short GPT does: queries, keys and values in one product, torch's
                    attention, all logits at once, fused AdamW
    plain           every piece taken away
    transformers    Hugging Face's GPT-2 with torch's attention (bench/variants/peers.py)
    litgpt          Lightning's GPT in GPT-2's shape (bench/variants/peers.py)

Pieces are taken away one at a time from ours, and not added one at a time to the plain model: a
gain then counts as it counts in use, beside all the others. All take the same batches, the same
clipping and AdamW of the same settings; weights, gradients and its state are float32.

Shapes: B sequences, T tokens, C channels, H heads, D = C / H, V ids.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from bench.ledger.plain_text import shorten
from bench.variants.base import Variant
from bench.variants.checks import LOSS_TOLERANCE, check_logits, training_losses
from bench.variants.pieces import PIECES, USUAL, without
from gptcore.model.gpt import GPT

PACKAGES = {"transformers": "transformers", "litgpt": "litgpt"}
"""Variant → the package that it needs."""


def _peer(name: str, model: GPT) -> Variant:
    peers = importlib.import_module("bench.variants.peers")
    made: Variant = getattr(peers, name)(model)
    return made


VARIANTS: dict[str, Callable[[GPT], Variant]] = {
    "gptcore": Variant,
    **{f"without-{piece}": partial(without, pieces=(piece,)) for piece in PIECES},
    "nanogpt-style": partial(without, pieces=USUAL),
    "plain": partial(without, pieces=PIECES),
    "transformers": partial(_peer, "Transformers"),
    "litgpt": partial(_peer, "LitGPT"),
}
"""Name → how to make it from a GPT with the weights to start from."""

DECODERS = ("gptcore", "plain", "transformers")
"""Those that text generation is compared for."""


def why_not(name: str) -> str | None:
    """Return why the variant `name` cannot run here, in one line with a remedy; None if it can.

    Raises:
        ValueError: there is no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant is {name!r}: choose one of {', '.join(VARIANTS)}")
    if name not in PACKAGES:
        return None
    package = PACKAGES[name]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            return f"{package} cannot be imported ({error}): install what it needs"
        return f"{package} is not installed: {REMEDIES[name]}"
    except Exception as error:
        said = shorten(str(error), 120)
        return f"{package} cannot be imported ({said}): install a version that fits this torch"
    return None


REMEDIES = {
    "transformers": "in the checkout, pip install '.[peers]' -c constraints.txt",
    "litgpt": "pip install litgpt 'transformers<5' in an environment of its own, for it needs an "
    "older huggingface-hub",
}


@cache
def check_updates(name: str) -> None:
    """Check that a small model trained by the variant goes the way of ours, from wild weights.

    Raises:
        ValueError: it does not: that is a defect of the variant, or of ours.
    """
    own, other = (training_losses(make) for make in (Variant, VARIANTS[name]))
    if not all(math.isclose(a, b, rel_tol=LOSS_TOLERANCE) for a, b in zip(own, other, strict=True)):
        said = [", ".join(f"{loss:.4f}" for loss in losses) for losses in (own, other)]
        raise ValueError(
            f"{name} does not train as gptcore does: losses {said[1]} against {said[0]}; "
            "its version may define the model otherwise: use another one"
        )


def build(name: str, model: GPT, sample: Tensor) -> Variant:
    """Return the variant `name` with the weights of `model`, checked to do the same.

    Args:
        name: of VARIANTS.
        model: ours; not to be used any more afterwards.
        sample: tokens (B, T) on which logits are compared; few are enough.

    Raises:
        ValueError: there is no such variant, it cannot run here, or it does something else.
    """
    if reason := why_not(name):
        raise ValueError(reason)
    if name == "gptcore":
        return Variant(model)
    check_updates(name)
    model.eval()
    with torch.no_grad():
        expected = model(sample)
        variant = VARIANTS[name](model)
        variant.model.eval()
        check_logits(name, expected, variant.logits(sample))
    return variant
