"""Does a model continue a text verbatim, as if it had been trained on it?

A prompt of tokens from the text is given to the model, which continues it with its most likely
token each time. How many tokens of the text it repeats before the first difference is the matched
length (Carlini et al., "Quantifying Memorization Across Neural Language Models", 2022: prompts of
50 tokens, continuations of 50).

The continuation need not be written: until the first difference it is the text itself, so one pass
over the text tells at each place whether the most likely token is the next one.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT, evaluating

PROMPT = 50
CONTINUATION = 50
PROMPTS = 400
"""Prompts in a text that has room for as many; 384 are needed for an interval."""
_BATCH = 8


def place_prompts(n_tokens: int, *, most: int = PROMPTS) -> npt.NDArray[np.int64]:
    """Return where prompts begin, evenly spread over a text; none overlaps a continuation.

    Raises:
        ValueError: the text has no room for one.
    """
    length = PROMPT + CONTINUATION
    n_prompts = min(check_whole("most", most), n_tokens // length)
    if not n_prompts:
        raise ValueError(
            f"the text has {n_tokens} tokens, and a prompt with its continuation has {length}: "
            "give a longer text"
        )
    return np.linspace(0, n_tokens - length, n_prompts).astype(np.int64)


def matched_lengths(
    model: GPT | ForeignModel,
    ids: Tensor,
    starts: npt.NDArray[np.integer],
    *,
    device: torch.device,
    on_batch: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.int64]:
    """Return how many tokens of the text the model repeats after each prompt.

    Args:
        model: the model, on `device`; its training or evaluation mode is restored.
        ids: (N,), int64.
        starts: (n,), where prompts of PROMPT tokens begin, as from `place_prompts`.
        device: where the model is.
        on_batch: called after each batch with the prompts done and the number of all.

    Returns:
        (n,), each in [0, CONTINUATION].

    Raises:
        ValueError: the model reads fewer tokens than a prompt and its continuation have.
    """
    length = PROMPT + CONTINUATION - 1  # the last token is never read, only guessed
    if model.config.block_size < length:
        raise ValueError(
            f"the probe reads {length} tokens at once, and the model at most "
            f"{model.config.block_size}: give a model that reads more"
        )
    lengths = []
    with evaluating(model):
        for chosen in torch.split(torch.as_tensor(starts), _BATCH):
            windows = torch.stack([ids[start : start + length + 1] for start in chosen.tolist()])
            guesses = model(windows[:, :-1].to(device))[:, PROMPT - 1 :].argmax(-1).cpu()
            same = guesses == windows[:, PROMPT:]  # (B, CONTINUATION)
            lengths.append(same.long().cumprod(1).sum(1))
            if on_batch:
                on_batch(sum(map(len, lengths)), len(starts))
    return torch.cat(lengths).numpy()
