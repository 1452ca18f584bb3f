"""Text from a model: one token after another, or several where the text repeats itself.

Reading some tokens at once takes little more time than one, since fetching the weights is most of
it. So guesses of the next tokens are read along. Each token is still drawn by the model's logits
alone: a wrong guess costs time and changes nothing. (Speculative decoding, Leviathan et al., 2023,
with the text itself in place of a second model.)

Shapes: B rows of text, T tokens so far, V ids in the vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gptcore.checks import LARGEST_INT64, check_number, check_whole
from gptcore.model import GPT, KVCache

SHORT_DRAFT, LONG_DRAFT = 2, 15
"""Guesses read along with a token: 3 or 16 in all, at which products of matrices are quick."""

RUN_TOKENS = 3
"""The longest run of last tokens that is looked for earlier in the text."""


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
    drafts: bool = True,
    on_token: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the prompt and `new_tokens` tokens after it.

    Tokens are drawn on the CPU, each row's from a generator of its own with the seeds seed,
    seed + 1, …: the same seed gives the same text on every device and in every batch, up to
    rounding of the logits. Where the text is longer than the model's block_size, its last
    block_size tokens are the context; every token then has a new position in it and is read
    again, which takes block_size times the work.

    Args:
        model: on `device`; its training or evaluation mode is kept.
        prompt_ids: (T,) or, for several texts at once, (B, T), int64, not empty.
        new_tokens: how many for each row, at least 0.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: draw among that many most likely tokens, in [1, V]; None: among all.
        top_p: of these, draw among the fewest most likely ones whose probabilities add up to at
            least `top_p`, in (0, 1]; None: among all.
        seed: of the draws.
        device: of the model.
        drafts: read guesses along, in a single text within block_size: the same text, sooner
            where it repeats itself.
        on_token: called after each new token with the tokens done and `new_tokens`.

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
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            reader = Reader(model, rows, length + new_tokens, device, drafts=drafts)
            for end in range(length, length + new_tokens):
                logits = reader.next_logits(ids[:, :end])
                for row, generator in enumerate(generators):
                    ids[row, end] = _draw(logits[row], temperature, top_k, top_p, generator)
                if on_token:
                    on_token(end - length + 1, new_tokens)
    finally:
        model.train(was_training)
    return ids.view(*prompt_ids.shape[:-1], -1)


class Reader:
    """Reads texts as they grow, with guesses of what comes next.

    Args:
        model: on `device`.
        rows: B; guesses are made for a single text only: rows would come to differ in length.
        last_length: of the texts at their end; no guess goes further.
        device: of the model.
        drafts: whether to guess.
    """

    def __init__(
        self, model: GPT, rows: int, last_length: int, device: torch.device, *, drafts: bool
    ) -> None:
        self.model, self.device = model, device
        self.farthest = min(last_length - 1, model.config.block_size)
        self.cache = KVCache(model, rows)
        self.drafts = Drafts() if drafts and rows == 1 else None
        self.ahead: list[Tensor] = []  # logits (B, V) after each guess that was read

    def next_logits(self, ids: Tensor) -> Tensor:
        """Return logits (B, V) of the token after `ids` (B, T), on the CPU."""
        length, block_size = ids.shape[1], self.model.config.block_size
        if length > block_size:
            return self.model.next_logits(ids[:, -block_size:].to(self.device))[:, 0].float().cpu()
        draft = []
        if self.drafts:
            was_guessed = self.drafts.extend(ids[0, len(self.drafts.text) :].tolist())
            if was_guessed and self.ahead:
                return self.ahead.pop(0)
            draft = self.drafts.next(self.farthest - length)
        self.cache.length = min(self.cache.length, length - 1)  # forget guesses that were wrong
        guesses = torch.tensor(draft, dtype=torch.int64).expand(len(ids), -1)
        unread = torch.cat([ids[:, self.cache.length :], guesses], dim=1)
        logits = self.model.next_logits(unread.to(self.device), self.cache, len(draft) + 1)
        first, *self.ahead = logits.float().cpu().unbind(1)
        return first


class Drafts:
    """Guesses how a text goes on: as it did where its last tokens stood before.

    The longest run of up to RUN_TOKENS last tokens that stood before decides, at its latest place
    (prompt lookup). What was right of one draft decides the length of the next. Where nothing was,
    the next is empty, but the token after it is guessed all the same: once that is right, drafts
    begin again. So a text without repetition costs nothing.
    """

    def __init__(self) -> None:
        self.text: list[int] = []
        self.after: dict[tuple[int, ...], int] = {}  # run of tokens → where its latest place ends
        self.source: int | None = None  # the text is guessed to go on as it does from here
        self.expected: list[int] = []  # the next tokens as guessed: those read, and one more
        self.right = 0  # how many of these have come

    def extend(self, tokens: list[int]) -> bool:
        """Add what the text has become; return whether the last token was the one expected."""
        is_right = False
        for token in tokens:
            is_right = self.expected[:1] == [token]
            self.expected = self.expected[1:] if is_right else []
            self.right += is_right
            self.text.append(token)
            end, self.source = len(self.text), None
            for size in range(1, min(RUN_TOKENS, end) + 1):
                run = tuple(self.text[-size:])
                self.source = self.after.get(run, self.source)
                self.after[run] = end
        return is_right

    def next(self, most: int) -> list[int]:
        """Return at most `most` tokens to read along."""
        length = LONG_DRAFT if self.right > SHORT_DRAFT else SHORT_DRAFT if self.right else 0
        length, self.right = max(0, min(length, most)), 0
        if self.source is None:
            self.expected = []
        else:  # beyond its end the text goes on in circles
            stretch = self.text[self.source :]
            self.expected = [stretch[i % len(stretch)] for i in range(length + 1)]
        return self.expected[:-1]


def _draw(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator,
) -> int:
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
    if top_p is not None:
        weights, order = weights.sort(descending=True, stable=True)
        likelier = weights.cumsum(0) - weights  # what the tokens before each add up to
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
