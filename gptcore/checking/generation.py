"""Checks of what a model does when it writes text: the last logits, `generate`, the KV cache.

Shapes: B sequences, T tokens in each, V entries of the vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from gptcore.checking.model_file import (
    is_transformers,
    part_named,
    parts_of,
    required_targets,
    takes,
)
from gptcore.checking.python_file import one_line, where
from gptcore.checking.subject import BLOCK_SIZE, Greedy, Subject, difference
from gptcore.checking.verdict import Verdict, fault, joined, note, ok, skipped

PROMPT, BEYOND = 9, BLOCK_SIZE + 4
"""Tokens of a prompt, and of a text that is longer than the block."""
PROMPTS = 4
"""Prompts that are continued, since a wrong text may be right by chance."""
COUNTS = ("max_new_tokens", "new_tokens", "num_new_tokens", "num_tokens", "n_tokens", "max_tokens",
          "length", "steps", "n")  # fmt: skip
"""What a function that writes text calls the number of new tokens."""
CACHES = ("past_key_values", "past_key_value", "past_kv", "past", "layer_past", "kv_cache",
          "kv_caches", "cache", "caches")  # fmt: skip
"""What a forward pass calls the keys and values of earlier tokens."""


def inference_path(subject: Subject) -> Verdict:
    """Without targets, the forward pass gives the logits that it gives with them."""
    x = subject.ids(2)
    whole = subject.logits(x)
    with subject.passes():
        found = subject.file.without_targets(subject.model, x.clone())
    if found is None:
        return skipped("the forward pass has no path of its own for inference")
    found = found.detach().double()
    if found.dim() == 2 and found.shape[0] == x.shape[0]:
        found = found[:, None]
    if found.dim() != 3 or found.shape[1] not in (1, x.shape[1]):
        return skipped(f"without targets, the logits have the shape {tuple(found.shape)}")
    found = found[:, -1]
    if difference(found, whole[:, -1]) <= subject.tolerance:
        return ok("without targets, the last logits are those of the pass with targets")
    for turned in (whole[:, -1].softmax(-1), whole[:, -1].log_softmax(-1)):
        if difference(found, turned) <= subject.tolerance:
            return ok("without targets, the forward pass gives the probabilities of the last token")
    places = [t for t in range(x.shape[1]) if difference(found, whole[:, t]) <= subject.tolerance]
    read = f"; they are those of position {places[0]}" if places else ""
    return fault(
        f"without targets, the logits are not those of the last position{read}",
        "Texts are written from the wrong logits. Usually the inference path takes the wrong "
        "position: lm_head(x[:, [-1], :]) is right.",
    )


def greedy(subject: Subject) -> Verdict:
    """`generate` writes what a plain loop over the logits writes."""
    generate = getattr(subject.model, "generate", None)
    modes: list[bool] = []
    call = _caller(subject, generate, modes) if callable(generate) else None
    if call is None:
        return skipped("the model has no generate(idx, max_new_tokens)")
    found = ok("generate writes the most probable tokens by the logits")
    for seed in range(1 if subject.is_large else PROMPTS):
        found = _written(subject, call, subject.ids(1, PROMPT, seed=seed))
        if any(modes) and not subject.no_dropout:
            subject.no_dropout = True
            found = _written(subject, call, subject.ids(1, PROMPT, seed=seed))
        if found.status != "ok":
            break
    left = [fault("generate leaves the model in training mode", _MODE)] if any(modes) else []
    return joined([found, *left])


_MODE = (
    "The model was in evaluation mode, and what is computed after a text is written has dropout. "
    "generate should leave the mode as it is; the caller chooses it by model.eval() and "
    "model.train()."
)


def _written(
    subject: Subject, call: Callable[[Tensor, int], Tensor | None], prompt: Tensor
) -> Verdict:
    """Say whether what `generate` writes after a prompt are the most probable tokens."""
    refusal, asked = "", BEYOND - PROMPT
    try:
        written = call(prompt, asked)
    except Exception as error:
        refusal, asked = one_line(error), BLOCK_SIZE - PROMPT
        try:
            written = call(prompt, asked)
        except Exception as again:
            return note(
                f"generate fails: {where(again, subject.file.path)}",
                f"The check called generate(idx, max_new_tokens) with one row of {PROMPT} tokens; "
                "if it wants other arguments, nothing is wrong.",
            )
    if written is None:
        return skipped("generate returns no tensor of token ids")
    expected = _loop(subject, prompt, written.shape[1], last=True)
    place = _first_difference(written, expected, subject)
    if place is None:
        return _length_of(subject, written, asked, refusal)
    if place < PROMPT:
        return fault(
            f"token {place + 1} of the prompt is another one in the text that generate returns",
            "Usually the new token is put in front, where torch.cat((idx, idx_next), dim=1) is "
            "right; or the prompt is changed in place or cut.",
        )
    if place > BLOCK_SIZE:
        return _beyond_the_block(subject, written, prompt)
    return fault(
        f"new token {place - PROMPT + 1} of generate is not the most probable one by the logits, "
        "though every draw was replaced by the most probable token",
        "The texts are not those of the model. Usually the logits of the wrong position are read, "
        "where logits[:, -1, :] is right; or the softmax is not over the vocabulary, where dim=-1 "
        "is right; or the model reads the last token alone; or the KV cache gives wrong logits.",
    )


def _length_of(subject: Subject, written: Tensor, asked: int, refusal: str) -> Verdict:
    """Say whether a text of the right tokens has the length that was asked for."""
    more = written.shape[1] - PROMPT - asked
    if more > 0:
        return note(
            f"generate writes {asked + more} new tokens where {asked} were asked for",
            "Usually the loop runs once too often: for _ in range(max_new_tokens) is right.",
        )
    if refusal and not is_transformers(subject.model):
        return note(
            f"generate fails on a text that becomes longer than the block ({refusal[:80]})",
            "If longer texts are to be written, each step must read the last block alone: "
            "idx_cond = idx[:, -block_size:]. If they are refused on purpose, nothing is wrong.",
        )
    return ok("generate writes the most probable tokens by the logits")


def _beyond_the_block(subject: Subject, written: Tensor, prompt: Tensor) -> Verdict:
    """Say how a text is continued that is longer than the block, other than by its last block."""
    texts = {}
    for last in (None, False):
        with suppress(Exception):
            texts[last] = _loop(subject, prompt, written.shape[1], last=last)
    equal = [
        last for last, text in texts.items() if _first_difference(written, text, subject) is None
    ]
    if None in equal:
        return ok("generate writes the most probable tokens by the logits, after the whole text")
    detail = "beyond the block, generate writes other tokens than the last block's logits give"
    if equal:
        return fault(
            f"{detail}: it reads the first {BLOCK_SIZE} tokens again and again",
            "The text is cut at the wrong end: idx[:, -block_size:] is right, and not "
            "idx[:, :block_size].",
        )
    return note(
        detail,
        "A model with a KV cache may keep keys of tokens that the block no longer holds, and "
        "then writes another text than one that reads the last block anew. Without a cache, the "
        "text is cut to another length than the block: idx_cond = idx[:, -block_size:] is right.",
    )


def _caller(
    subject: Subject, generate: Callable[..., Any], modes: list[bool]
) -> Callable[[Tensor, int], Tensor | None] | None:
    """Return a function of prompt and count that writes greedily, None if it cannot be called.

    After each call, it adds to `modes` whether the model was left in training mode.
    """
    try:
        parameters = list(inspect.signature(generate).parameters.values())
    except (TypeError, ValueError):
        return None
    names = [p.name for p in parameters]
    count = next((name for name in COUNTS if name in names), None)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    needed = [p for p in needed[1:] if p != count]
    if is_transformers(subject.model):
        count, needed = "max_new_tokens", []
    if count is None or needed:
        return None

    def call(prompt: Tensor, new_tokens: int) -> Tensor | None:
        more: dict[str, Any] = {count: new_tokens}
        if is_transformers(subject.model):
            more |= {"do_sample": False, "attention_mask": torch.ones_like(prompt)}
        with torch.no_grad(), Greedy(), subject.passes():
            found = generate(prompt.clone(), **more)
            modes.append(subject.model.training)
        if not isinstance(found, Tensor) or found.is_floating_point() or found.dim() != 2:
            return None
        if found.shape[1] == new_tokens:
            found = torch.cat([prompt, found], 1)
        return found

    return call


def _loop(subject: Subject, prompt: Tensor, length: int, *, last: bool | None) -> Tensor:
    """Return a prompt with greedy tokens; the model reads the last or the first T, or all."""
    idx = prompt
    while idx.shape[1] < length:
        read = idx if last is None else idx[:, -BLOCK_SIZE:] if last else idx[:, :BLOCK_SIZE]
        following = subject.logits(read)[:, -1].argmax(-1, keepdim=True)
        idx = torch.cat([idx, following], 1)
    return idx


def _first_difference(written: Tensor, expected: Tensor, subject: Subject) -> int | None:
    """Return the first place where two texts differ, unless the logits there are about equal."""
    length = min(written.shape[1], expected.shape[1])
    differ = (written[0, :length] != expected[0, :length]).nonzero()
    if not len(differ):
        return None
    place = int(differ[0])
    if place < PROMPT or place > BLOCK_SIZE:
        return place
    logits = subject.logits(expected[:, :place])[0, -1]
    token = int(written[0, place])
    gap = float(logits.max() - logits[token]) if token < len(logits) else float("inf")
    return place if gap > subject.tolerance * float(logits.std()) else None


def kv_cache(subject: Subject) -> Verdict:
    """With the keys and values of earlier tokens, the logits are those without them."""
    parameters = inspect.signature(subject.model.forward).parameters
    name = next((name for name in CACHES if name in parameters), None)
    if name is None:
        return skipped("the forward pass takes no cache of keys and values")
    x = subject.ids(2)
    whole = subject.logits(x)
    prompt = _cached(subject, name, x[:, :PROMPT], None)
    if prompt is None:
        return skipped(f"the forward pass takes {name} and the check cannot see how it returns it")
    logits, cache = prompt
    worst = difference(logits, whole[:, :PROMPT][:, -logits.shape[1] :])
    for t in range(PROMPT, PROMPT + 4):
        step = _cached(subject, name, x[:, t : t + 1], cache)
        if step is None:
            return skipped(f"the forward pass takes {name} and returns none with it")
        logits, cache = step
        worst = max(worst, difference(logits[:, -1], whole[:, t]))
    if worst > subject.tolerance:
        return fault(
            f"with the cache, the logits differ by {worst:.2g} of their spread",
            "Texts that are written with the cache are not those of the model. Usually the "
            "positions begin at 0 again, where torch.arange(past, past + T) is right; or the mask "
            "is made for the new tokens alone, so that is_causal=True hides the past of a single "
            "token; or new keys stand before the old ones, where torch.cat((past_k, k), dim=-2) "
            "is right; or rotary angles are applied to cached keys again.",
        )
    return _several_at_once(subject, name, x, whole)


def _several_at_once(subject: Subject, name: str, x: Tensor, whole: Tensor) -> Verdict:
    said = "with the cache, token by token, the logits are those without it"
    try:
        begin = _cached(subject, name, x[:, :PROMPT], None)
        assert begin is not None
        step = _cached(subject, name, x[:, PROMPT : PROMPT + 4], begin[1])
    except Exception:
        return ok(f"{said}; several new tokens at once are refused")
    if step is None:
        return ok(said)
    logits = step[0]
    changed = difference(logits, whole[:, : PROMPT + 4][:, -logits.shape[1] :])
    if changed <= subject.tolerance:
        return ok(f"{said}, and so they are for several tokens at once")
    return note(
        f"{said}; for several new tokens at once they differ by {changed:.2g} of their spread",
        "The mask of several new tokens must be moved by the number of cached ones: "
        "torch.ones(T, past + T).tril(diagonal=past). With is_causal=True, torch lets the first "
        "new token see the first cached one alone. A model that only ever adds one token at a "
        "time is not affected.",
    )


def _cached(subject: Subject, name: str, x: Tensor, cache: Any) -> tuple[Tensor, Any] | None:
    """Return the logits of a pass with a cache, and the cache after it; None if there is none."""
    more: dict[str, Any] = {} if cache is None else {name: cache}
    if takes(subject.model.forward, "use_cache"):
        more["use_cache"] = True
    targets = required_targets(subject.model)
    if targets is not None:
        more[targets] = x
    with torch.no_grad(), subject.passes():
        output = subject.model(x.contiguous(), **more)
    logits = next(
        (
            part.detach().double()
            for part in (part_named(output, "logits"), *parts_of(output))
            if isinstance(part, Tensor) and part.dim() == 3 and part.shape[0] == x.shape[0]
        ),
        None,
    )
    after = part_named(output, name)
    if after is None and isinstance(output, tuple | list) and len(output) > 1:
        last = output[-1]
        after = None if isinstance(last, Tensor) and last.dim() < 3 else last
    return None if logits is None or after is None else (logits, after)
