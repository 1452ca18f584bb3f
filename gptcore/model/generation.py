"""Generate text: each token is drawn from the model's logits after the text so far.

A KV cache keeps the keys and values of the tokens read, so each new token is read once. When the
text is longer than the model's block_size, the context is its last block_size tokens. Each further
token then shifts the position of every token in the context and invalidates the cache, so the whole
context is read again, at block_size times the work.

Shapes: B rows of text, T tokens so far, V ids in the vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gptcore.checks import LARGEST_INT64, check_number, check_whole
from gptcore.model.gpt import GPT, evaluating
from gptcore.model.kv_cache import KVCache

Draw = Callable[[Tensor, torch.Generator], int]
"""Logits (V,) and a generator → the id of the token drawn."""


def generate(
    model: GPT,
    prompt_ids: Tensor,
    new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    device: torch.device,
    on_token: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the prompt followed by `new_tokens` generated tokens.

    Each row has its own generator on the CPU, with the seeds seed, seed + 1, …: the same seed gives
    the same text on every device and in every batch, up to rounding of the logits.

    Args:
        model: the model, on `device`; its training or evaluation mode is restored.
        prompt_ids: (T,) or, for several texts at once, (B, T), int64, not empty.
        new_tokens: the number of tokens to generate for each row, at least 0.
        temperature: the logits are divided by it; 0 takes the most likely token.
        top_k: only this many most likely tokens can be drawn, in [1, V]; None: all of them.
        top_p: of these, only the fewest most likely tokens whose probabilities add up to at least
            `top_p` can be drawn, in (0, 1]; None: all of them (Holtzman et al., 2020).
        seed: the seed of the first row's generator.
        device: where the model is.
        on_token: called after each new token with the number generated so far and `new_tokens`.

    Returns:
        (T + new_tokens,) or (B, T + new_tokens), int64, on the CPU.

    Raises:
        ValueError: an argument is outside its range.
    """
    _check_prompt(model, prompt_ids)
    _check_draws(model.config.vocab_size, new_tokens, temperature, top_k, top_p)
    check_whole("seed", seed, at_least=0, at_most=LARGEST_INT64)
    prompts = prompt_ids.cpu().view(-1, prompt_ids.shape[-1])
    rows, length = prompts.shape
    generators = [torch.Generator("cpu").manual_seed(seed + row) for row in range(rows)]
    ids = torch.cat([prompts, torch.empty(rows, new_tokens, dtype=torch.int64)], dim=1)
    draw = partial(_draw, temperature=temperature, top_k=top_k, top_p=top_p)
    with evaluating(model):
        _fill(model, ids, length, draw, generators, device, on_token)
    return ids.view(*prompt_ids.shape[:-1], -1)


def _fill(
    model: GPT,
    ids: Tensor,
    length: int,
    draw: Draw,
    generators: list[torch.Generator],
    device: torch.device,
    on_token: Callable[[int, int], None] | None,
) -> None:
    """Draw the tokens of `ids` (B, T) from column `length` on, column by column, in place."""
    rows, total = ids.shape
    cache = KVCache(model.config, model.lm_head.weight, rows)
    for end in range(length, total):
        logits = _next_logits(model, ids[:, :end], cache, device)
        # Draw one token for each row; the next pass reads these tokens.
        for row, generator in enumerate(generators):
            ids[row, end] = draw(logits[row], generator)
        if on_token:
            on_token(end - length + 1, total - length)


def _next_logits(model: GPT, ids: Tensor, cache: KVCache, device: torch.device) -> Tensor:
    """Return logits (B, V) of the token after `ids` (B, T), on the CPU."""
    block_size = model.config.block_size
    if ids.shape[1] <= block_size:  # read only the tokens that are not in the cache
        logits = model.next_logits(ids[:, cache.length :].to(device), cache)
    else:  # the position of every token has shifted: the cache no longer applies
        logits = model.next_logits(ids[:, -block_size:].to(device))
    return logits.float().cpu()


def _draw(
    logits: Tensor,
    generator: torch.Generator,
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> int:
    """Draw one token id from the softmax of `logits` (V,), restricted by `top_k` and `top_p`."""
    if not logits.isfinite().all():
        raise ValueError(
            "the model's logits are not finite, so training diverged: use another checkpoint"
        )
    if temperature == 0:
        return int(logits.argmax())
    # Keep the k most likely tokens.
    candidates = torch.arange(len(logits))
    if top_k is not None:
        logits, candidates = logits.topk(top_k)
    logits = logits.double()
    # Unnormalised probabilities; the largest is 1, so that exp cannot overflow.
    weights = ((logits - logits.max()) / temperature).exp()
    # Of these, keep the fewest most likely tokens that have the share top_p of the probability.
    if top_p is not None:
        weights, order = weights.sort(descending=True, stable=True)
        likelier = weights.cumsum(0) - weights  # total weight of the more likely tokens
        weights = weights[likelier < top_p * weights.sum()]
        candidates = candidates[order]
    return int(candidates[torch.multinomial(weights, 1, generator=generator)])


def _check_prompt(model: GPT, prompt_ids: Tensor) -> None:
    vocab_size = model.config.vocab_size
    if prompt_ids.dim() not in (1, 2) or prompt_ids.dtype != torch.int64 or not prompt_ids.numel():
        raise ValueError(
            f"prompt_ids are {prompt_ids.dtype} of shape {tuple(prompt_ids.shape)}; they must be "
            "rows of at least one int64 id, all of one length: encode a text that is not empty"
        )
    low, high = (int(end) for end in prompt_ids.aminmax())
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"prompt_ids span [{low}, {high}]; they must be in [0, {vocab_size}): encode the "
            "prompt with the vocabulary that the model was trained on"
        )


def _check_draws(
    vocab_size: int, new_tokens: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    check_whole("new_tokens", new_tokens, at_least=0)
    check_number("temperature", temperature, "[0, inf)")
    if top_k is not None:
        check_whole("top_k", top_k)
        if top_k > vocab_size:
            raise ValueError(f"top_k is {top_k}; it must be at most vocab_size = {vocab_size}")
    if top_p is not None:
        check_number("top_p", top_p, "(0, 1]")
