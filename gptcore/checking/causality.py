"""Checks of what the logits at a position depend on: other tokens, other rows, the position.

Shapes: B sequences, T tokens in each, V entries of the vocabulary.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from gptcore.checking.model_file import is_transformers
from gptcore.checking.python_file import one_line, where
from gptcore.checking.subject import (
    BLOCK_SIZE,
    VOCAB_SIZE,
    Subject,
    WithoutDropout,
    difference,
    is_finite,
)
from gptcore.checking.verdict import Verdict, fault, note, ok, skipped

CHANGED = range(1, BLOCK_SIZE)
"""The tokens that are changed, one at a time, to see which logits change."""
FEW = (1, 2, 5, 8, 11, BLOCK_SIZE - 1)
"""Those of a large model, whose passes take long."""


def forward(subject: Subject) -> Verdict:
    """The forward pass gives one row of finite logits for each position."""
    try:
        subject.measure_vocabulary()
        logits = subject.logits(subject.ids(2))
    except (Exception, SystemExit) as error:
        return fault(
            f"the model fails: {where(error, subject.file.path)}",
            f"make_model was asked for a vocabulary of {VOCAB_SIZE} and a block of {BLOCK_SIZE}, "
            "and the forward pass was given int64 token ids of shape (B, T), and targets where it "
            "takes them. It must use both sizes and return logits of shape (B, T, V).",
        )
    shape = f"logits of shape {tuple(logits.shape)} for tokens of shape (2, {BLOCK_SIZE})"
    if not is_finite(logits):
        first = int((~torch.isfinite(logits)).any(-1).any(0).nonzero()[0])
        return fault(
            f"the logits at position {first} are not finite",
            "A softmax over a row in which every entry is masked gives NaN. Look at the mask: a "
            "token must see itself, torch.tril(torch.ones(T, T)) with diagonal=0. If the mask is "
            "right, look for a logarithm, a root or a division that can leave its domain.",
        )
    if subject.n_logits < VOCAB_SIZE:
        return _too_few_logits(subject)
    return ok(shape)


def _too_few_logits(subject: Subject) -> Verdict:
    detail = f"{subject.n_logits} logits for a vocabulary of {VOCAB_SIZE}"
    means = (
        f"The ids from {subject.n_logits} on can never be predicted, and a target with such an id "
        "ends training. The head must have one output for each entry of the vocabulary: "
        "nn.Linear(n_embd, vocab_size)."
    )
    tables = [m for m in subject.model.modules() if isinstance(m, nn.Embedding)]
    if any(table.num_embeddings == VOCAB_SIZE for table in tables):
        return fault(detail, means)
    return note(detail, f"{means} If make_model ignores vocab_size on purpose, nothing is wrong.")


def causality(subject: Subject) -> Verdict:
    """Logits at a position depend on the tokens up to it, and on no later one."""
    x = subject.ids(1)
    before = subject.logits(x)
    reach: dict[int, list[int]] = {}
    remembers = False
    tokens = FEW if subject.is_large else CHANGED
    for j in tokens:
        changed = x.clone()
        changed[0, j] = (changed[0, j] + 1 + subject.n_vocab // 2) % subject.n_vocab
        after = subject.logits(changed)
        moved = [difference(after[0, i], before[0, i]) for i in range(BLOCK_SIZE)]
        remembers |= max(moved[j + 1 :], default=0.0) > subject.tolerance
        seen = [i for i in range(j) if moved[i] > subject.tolerance]
        if seen:
            reach[j] = seen
    if not reach and not remembers:
        return _one_token_alone(subject)
    if not reach:
        return ok("logits at a position stay when a later token changes")
    j = max(reach, key=lambda key: len(reach[key]))
    detail = f"changing token {j} changes the logits at {_positions(reach[j])} before it"
    # Attention may give a token so little weight that its change is not seen: most must be.
    blocks = subject.is_reduced and 2 * len(reach) > len(tokens)
    blocks &= all(min(seen) >= j - 3 for j, seen in reach.items())
    if blocks and any(len(seen) < j for j, seen in reach.items()):
        return fault(
            f"{detail}, and no token changes more than 3 positions before it",
            "The model sees the next token, once in each block. The mask begins one too late: use "
            "torch.tril(torch.ones(T, T)) with diagonal=0, or is_causal=True, and check that "
            "inputs and targets are not moved twice.",
        )
    return fault(
        detail,
        "The model sees tokens that it is to predict, so its losses are too low and its texts are "
        "bad. Usually attention has no mask; or the mask comes after the softmax, where "
        "att.masked_fill(mask == 0, -inf) must come before it; or the softmax is over the queries, "
        "where dim=-1 (the keys) is right; or single entries of the mask are wrong; or the "
        "heads are put back by y.view(B, T, C), where "
        "y.transpose(1, 2).contiguous().view(B, T, C) is right; or a norm runs over time, where "
        "LayerNorm(n_embd) runs over the channels.",
    )


def _one_token_alone(subject: Subject) -> Verdict:
    detail = "changing a token changes the logits at no later position"
    means = "The model predicts each token from the one before it alone, as a table of pairs does. "
    if not _has_layers(subject):
        return note(
            detail,
            f"{means}It has no layer between the embedding and the head, so nothing else can be "
            "expected of it: attention is what it lacks.",
        )
    return fault(
        detail,
        f"{means}Usually the mask leaves the diagonal alone, where torch.tril(torch.ones(T, T)) is "
        "right; or what attention returns is not added to the stream.",
    )


def _has_layers(subject: Subject) -> bool:
    """Return whether the model has a matrix that belongs to no embedding and is no head."""
    return any(
        weight.dim() > 1 and subject.n_logits not in weight.shape
        for module in subject.model.modules()
        if not isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
    )


def _positions(seen: list[int]) -> str:
    if len(seen) == 1:
        return f"position {seen[0]}"
    whole = seen[-1] - seen[0] + 1 == len(seen)
    return f"positions {seen[0]} to {seen[-1]}" if whole else f"{len(seen)} positions"


def prefix(subject: Subject) -> Verdict:
    """The beginning of a sequence gives the same logits alone as inside the whole."""
    x = subject.ids(2)
    whole = subject.logits(x)
    worst = 0.0
    for length in (1, 5, BLOCK_SIZE // 2, BLOCK_SIZE - 1):
        try:
            alone = subject.logits(x[:, :length])
        except Exception as error:
            return note(
                f"{length} tokens alone fail: {one_line(error)}",
                f"The model only takes sequences of {BLOCK_SIZE} tokens, so it cannot continue a "
                "short text. Usually the mask or the position embedding is not cut to the length "
                "of the input: mask[:, :, :T, :T] and wpe(torch.arange(T)) are right.",
            )
        worst = max(worst, difference(alone, whole[:, :length]))
    if worst <= subject.tolerance:
        return ok("the beginning of a sequence gives the same logits alone and inside the whole")
    return fault(
        f"logits of the beginning alone differ by {worst:.2g} of their spread",
        "What is computed at a position depends on how many tokens follow. Usually the heads are "
        "made by x.view(B, n_head, T, d), which mixes times, where "
        "x.view(B, T, n_head, d).transpose(1, 2) is right; or positions are counted from the end; "
        "or the mask is not causal.",
    )


def batch(subject: Subject) -> Verdict:
    """A row gives the same logits alone as in a batch."""
    x = subject.ids(4)
    together = subject.logits(x)
    alone = torch.cat([subject.logits(row[None]) for row in x])
    changed = difference(alone, together)
    if changed <= subject.tolerance:
        return ok("a row gives the same logits alone and in a batch")
    return fault(
        f"logits of a row alone differ from those in a batch by {changed:.2g} of their spread",
        "Rows of a batch influence each other, so a loss depends on its neighbours. Usually a norm "
        "or a mean runs over the batch (BatchNorm, or mean(0)), where LayerNorm(n_embd) runs over "
        "the channels of each token; or batch and time are swapped by a view, where transpose is "
        "right; or positions number the rows, where torch.arange(idx.size(1)) is right; or "
        "nn.MultiheadAttention and nn.Transformer lack batch_first=True.",
    )


def positions(subject: Subject) -> Verdict:
    """A sequence of one repeated token gives different logits at different positions."""
    x = torch.full((1, BLOCK_SIZE), 3 % subject.n_vocab)
    logits = subject.logits(x)
    if _spread_over_time(logits) > subject.tolerance:
        return ok("a repeated token gives different logits at different positions")
    equal = "a repeated token gives the same logits at every position"
    if not subject.is_reduced:
        return note(equal, _RELATIVE)
    try:
        single = subject.with_one_layer()
    except Exception:  # a design may need several layers
        return note(equal, _RELATIVE)
    tokens = single.ids(1)
    swapped = tokens.clone()
    near = [BLOCK_SIZE - 3, BLOCK_SIZE - 2]  # inside a window of attention too
    tokens[0, near] = torch.arange(2) % single.n_vocab
    swapped[0, near] = tokens[0, near].flip(0)
    moved = difference(single.logits(tokens)[:, -1], single.logits(swapped)[:, -1])
    if moved > single.tolerance:
        return ok(f"{equal}, and the order of tokens matters: positions are relative")
    table = _position_table(subject)
    if table:
        return fault(
            f"{equal}, and the order of earlier tokens does not matter, although {table} exists",
            "Every token gets the same position. Usually wpe is called with zeros or with a "
            "single number: wpe(torch.arange(T, device=idx.device)) is right, added to wte(idx).",
        )
    return note(
        f"{equal}, and in one block the order of earlier tokens does not matter",
        "The model has no positions but those that the causal mask gives (NoPE). If it should have "
        "them: x = wte(idx) + wpe(torch.arange(T)) before the blocks, or rotary positions, which "
        "turn queries and keys by angles that grow with the position.",
    )


_RELATIVE = (
    "The model has relative positions (rotary, ALiBi), or none at all, or gives every token the "
    "same position. If it should have learned positions: x = wte(idx) + wpe(torch.arange(T)). A "
    "make_model that takes n_layer, n_head and n_embd, and works with one layer, lets the check "
    "tell these apart."
)


def _spread_over_time(logits: Tensor) -> float:
    return difference(logits[:, 1:], logits[:, :1].expand_as(logits[:, 1:]))


def _position_table(subject: Subject) -> str | None:
    """Return the name of a table with one learned vector for each position, None without one."""
    for name, weight in subject.model.named_parameters():
        is_table = weight.dim() >= 2 and weight.shape[-2] == BLOCK_SIZE
        if is_table and re.search("pos|wpe", name.lower()) and "rel" not in name.lower():
            return name
    return None


def length(subject: Subject) -> Verdict:
    """A sequence longer than the block is refused."""
    x = subject.ids(1, BLOCK_SIZE + 1)
    try:
        logits = subject.logits(x)
    except Exception:
        return ok(f"{BLOCK_SIZE + 1} tokens are refused by a model of {BLOCK_SIZE}")
    repeated = subject.logits(torch.full((1, BLOCK_SIZE), 3 % subject.n_vocab))
    if _spread_over_time(repeated) <= subject.tolerance:
        return ok(f"{BLOCK_SIZE + 1} tokens are read by positions that are relative")
    return note(
        f"{BLOCK_SIZE + 1} tokens give {logits.shape[1]} rows of logits without an error, though "
        f"block_size is {BLOCK_SIZE}",
        "The model has absolute positions and reads beyond its block. If they are taken modulo "
        "the block size or held at the last one, several tokens share a position: use "
        "assert T <= block_size in the forward pass. If make_model ignores block_size, or if "
        "positions are computed by sines, nothing is wrong.",
    )


def train_mode(subject: Subject) -> Verdict:
    """With dropout turned off, training mode computes what evaluation mode computes."""
    x = subject.ids(2)
    wanted = subject.logits(x)
    subject.model.train()
    try:
        with WithoutDropout():
            first, second = subject.logits(x), subject.logits(x)
    finally:
        subject.model.eval()
    if difference(first, second) > subject.tolerance:
        if is_transformers(subject.model):
            return skipped("training mode is random beyond dropout")
        return note(
            "training mode is random even with dropout turned off",
            "Noise of your own is added in training, such as dropped layers, noise of a router or "
            "dropout that is written by hand. The check cannot tell whether it is right.",
        )
    changed = difference(first, wanted)
    if changed <= subject.tolerance:
        return ok("training mode without dropout computes what evaluation mode computes")
    return fault(
        f"with dropout turned off, training and evaluation mode differ by {changed:.2g} of the "
        "logits' spread",
        "The loss in evaluation is that of another function than the one that was trained. Usually "
        "a BatchNorm keeps statistics, where LayerNorm(n_embd) is right; or a scale belongs to "
        "one mode alone, such as dropout that does not divide by 1 - p in training.",
    )
