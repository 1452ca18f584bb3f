"""The contamination probe of `gptcore evaluate`: is a text continued verbatim?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.cli.models import Loaded, load_model
from gptcore.cli.options import Json
from gptcore.cli.scored_text import ScoredText
from gptcore.console import Progress

if TYPE_CHECKING:
    import torch


def probe(
    args: argparse.Namespace, loaded: Loaded[Any], text: ScoredText, device: torch.device
) -> Json:
    """Return how far a model continues the longest piece of the text, beside another model.

    Raises:
        ValueError: the models have different tokens, or the text is too short.
    """
    import torch

    from gptcore.evaluation import contamination
    from gptcore.intervals import difference_interval

    beside = load_model(args.probe_beside)
    if loaded.encode is not None or not beside.vocabulary.matches(loaded.vocabulary):
        raise ValueError(
            f"--probe-beside needs a model with the same tokens, and {args.probe_beside} has "
            f"{beside.vocabulary.in_words}: give one trained on the tokens of --checkpoint"
        )
    ids = torch.from_numpy(max((piece.ids for piece in text.pieces), key=len))
    starts = contamination.place_prompts(len(ids))
    ours, others = (
        contamination.matched_lengths(
            each.model.to(device), ids, starts, device=device, on_batch=Progress("prompt")
        ).astype(np.float64)
        for each in (loaded, beside)
    )
    longest = contamination.CONTINUATION
    whole, whole_beside = int((ours == longest).sum()), int((others == longest).sum())
    return {
        "beside": beside.about,
        "n_prompts": len(starts),
        "prompt_tokens": contamination.PROMPT,
        "continuation_tokens": longest,
        "verbatim": whole,
        "verbatim_beside": whole_beside,
        "mean_matched_tokens": float(ours.mean()),
        "mean_matched_tokens_beside": float(others.mean()),
        "difference_tokens": float((ours - others).mean()),
        "difference_interval_95": difference_interval(ours, others),
        "verdict": _verdict(len(starts), longest, whole, whole_beside),
    }


def _verdict(n_prompts: int, longest: int, whole: int, whole_beside: int) -> str:
    """Say what the counts show, and what they do not."""
    found = (
        f"Of {n_prompts:,} prompts the model continues {whole:,} verbatim for {longest} tokens, "
        f"and the model beside it {whole_beside:,}."
    )
    if whole > whole_beside:
        return (
            f"{found} Passages that only one of them knows by heart suggest that its training data "
            "held this text or copies of it."
        )
    return (
        f"{found} That is no sign of contamination, and no proof against it: most of what a model "
        "was trained on it cannot repeat."
    )
