"""Text from a model: one token after another.

Shapes: T tokens so far, V ids in the vocabulary.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gptcore.model import GPT, check_int


def generate(
    model: GPT,
    prompt_ids: Tensor,
    new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    device: torch.device,
    on_token: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the prompt and `new_tokens` tokens after it.

    Tokens are drawn on the CPU from a generator of their own, so the same seed gives the same text
    on every device, up to rounding of the logits. Where the text is longer than the model's
    block_size, its last block_size tokens are the context.

    Args:
        model: on `device`; its training or evaluation mode is kept.
        prompt_ids: (T,), int64, not empty.
        new_tokens: how many, at least 0.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: draw among that many most likely tokens, in [1, V]; None: among all.
        seed: of the draws.
        device: of the model.
        on_token: called after each new token with the tokens done and `new_tokens`.

    Returns:
        (T + new_tokens,), int64, on the CPU.

    Raises:
        ValueError: an argument is outside its range.
    """
    _check_request(model, prompt_ids, new_tokens, temperature, top_k)
    check_int("seed", seed, minimum=0)
    generator = torch.Generator("cpu").manual_seed(seed)
    length = len(prompt_ids)
    ids = torch.cat([prompt_ids.cpu(), torch.empty(new_tokens, dtype=torch.int64)])
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for end in range(length, length + new_tokens):
                context = ids[max(0, end - model.config.block_size) : end].to(device)
                logits = model.lm_head(model.hidden(context[None])[0, -1])  # (V,)
                ids[end] = _draw(logits.cpu(), temperature, top_k, generator)
                if on_token:
                    on_token(end - length + 1, new_tokens)
    finally:
        model.train(was_training)
    return ids


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """Return one token id by `logits` (V,)."""
    if not logits.isfinite().all():
        raise ValueError("the model's logits are not finite: it diverged; use another checkpoint")
    if temperature == 0:
        return int(logits.argmax())
    candidates = torch.arange(len(logits))
    if top_k is not None:
        logits, candidates = logits.topk(top_k)
    logits = logits.double()
    weights = ((logits - logits.max()) / temperature).exp()  # the greatest is 1: no overflow
    return int(candidates[torch.multinomial(weights, 1, generator=generator)])


def _check_request(
    model: GPT, prompt_ids: Tensor, new_tokens: int, temperature: float, top_k: int | None
) -> None:
    vocab_size = model.config.vocab_size
    if prompt_ids.dim() != 1 or prompt_ids.dtype != torch.int64 or len(prompt_ids) == 0:
        raise ValueError(
            f"prompt_ids are {prompt_ids.dtype} of shape {tuple(prompt_ids.shape)}; they must be "
            "one row of at least one int64 id: encode a text that is not empty"
        )
    low, high = (int(end) for end in prompt_ids.aminmax())
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"prompt_ids span [{low}, {high}]; they must be in [0, {vocab_size}): encode the "
            "prompt with the vocabulary that the model was trained on"
        )
    check_int("new_tokens", new_tokens, minimum=0)
    if type(temperature) not in (int, float) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature!r}; it must be a finite number >= 0")
    if top_k is not None:
        check_int("top_k", top_k, minimum=1)
        if top_k > vocab_size:
            raise ValueError(f"top_k is {top_k}; it must be at most vocab_size = {vocab_size}")
