"""The variants that can be compared with gptcore, by name.

    gptcore         gptcore itself
    without-PIECE   gptcore without that one optimisation (PIECES)
    nanogpt-style   a usual short GPT: queries, keys and values in one product, torch's attention,
                    all logits at once, fused AdamW
    plain           gptcore without all of these optimisations
    transformers    Hugging Face's GPT-2 with torch's attention (bench/variants/peers.py)
    litgpt          Lightning's GPT in GPT-2's shape (bench/variants/peers.py)

Each optimisation is taken away from gptcore, and not added to the plain model, so that its gain is
measured together with all the others, as in use. All variants get the same initial weights,
batches, clipping and settings of AdamW; weights, gradients and optimizer state are float32.

Shapes: B sequences, T tokens, C channels, H heads, D = C / H, V ids.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from bench.variants.base import Variant
from bench.variants.checks import LOSS_TOLERANCE, check_logits, training_losses
from bench.variants.pieces import PIECES, USUAL, without
from gptcore.model.gpt import GPT
from gptcore.plain_text import shorten

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
"""Name → function that makes the variant from a GPT with the initial weights."""

DECODERS = ("gptcore", "plain", "transformers")
"""Variants that can generate text."""


def why_not(name: str) -> str | None:
    """Return why the variant `name` cannot run, in one line with a remedy; None if it can.

    Raises:
        ValueError: there is no variant `name`.
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
            return f"{package} cannot be imported ({error}): install its dependencies"
        return f"{package} is not installed: {REMEDIES[name]}"
    except Exception as error:
        said = shorten(str(error), 120)
        return f"{package} cannot be imported ({said}): install a version that fits this torch"
    return None


REMEDIES = {
    "transformers": "in the checkout, pip install '.[peers]' -c constraints.txt",
    "litgpt": "pip install litgpt 'transformers<5' in a separate environment, because it needs an "
    "older huggingface-hub",
}


@cache
def check_updates(name: str) -> None:
    """Check that a small model trained by the variant has the same losses as trained by gptcore.

    Raises:
        ValueError: the losses differ, so the variant or gptcore is wrong.
    """
    own, other = (training_losses(make) for make in (Variant, VARIANTS[name]))
    if not all(math.isclose(a, b, rel_tol=LOSS_TOLERANCE) for a, b in zip(own, other, strict=True)):
        said = [", ".join(f"{loss:.4f}" for loss in losses) for losses in (own, other)]
        raise ValueError(
            f"{name} does not train as gptcore does: losses {said[1]} against {said[0]}; "
            "its version may define the model differently: use another version"
        )


def build(name: str, model: GPT, sample: Tensor) -> Variant:
    """Return the variant `name` with the weights of `model`, checked to do the same.

    Args:
        name: a key of VARIANTS.
        model: a GPT; the variant may change it, so do not use it afterwards.
        sample: a few tokens (B, T) on which the logits are compared.

    Raises:
        ValueError: there is no variant `name`, it cannot run, or its results differ from ours.
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
