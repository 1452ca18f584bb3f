"""Checks of the new weights: tying, initialisation, and what the optimizer holds."""

from __future__ import annotations

import math
import re
from collections import Counter

import torch
from torch import Tensor, nn

from gptcore.checking.python_file import one_line
from gptcore.checking.subject import SIZES, VOCAB_SIZE, Subject
from gptcore.checking.verdict import Verdict, fault, first_of, note, ok, skipped

TIED = "self.lm_head.weight = self.transformer.wte.weight"


def tying(subject: Subject) -> Verdict:
    """Embedding and head are one matrix, or two that are independent."""
    embeddings = [
        (f"{name}.weight", module.weight)
        for name, module in subject.model.named_modules()
        if isinstance(module, nn.Embedding) and module.num_embeddings >= VOCAB_SIZE
    ]
    heads = [
        (f"{name}.weight", module.weight)
        for name, module in subject.model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == subject.n_logits
    ]
    if not embeddings:
        return skipped("no nn.Embedding of the vocabulary was found")
    name, embedding = embeddings[0]
    if not heads or any(weight is embedding for _, weight in heads):
        return ok(f"{name} is embedding and head at once")
    for head, weight in heads:
        if weight.data_ptr() == embedding.data_ptr():
            return fault(
                f"{name} and {head} are two parameters in the same memory",
                "The optimizer moves that memory twice, with two gradients. Tie the parameters "
                f"and not their .data: {TIED}.",
            )
        if _is_copy(weight, embedding):
            return fault(
                f"{name} and {head} have the same values and are two parameters",
                "They are equal before training and drift apart in it. Usually a copy is made "
                f"where the parameter was meant: {TIED}, without clone() or copy_().",
            )
    return note(
        f"{name} and {heads[-1][0]} are two independent matrices",
        "GPT-2 has one matrix for both, and many newer models have two. Two take more parameters: "
        f"V * n_embd more. To tie them: {TIED}.",
    )


def _is_copy(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b) and bool((a != a.flatten()[0]).any())


def optimizer(subject: Subject) -> Verdict:
    """The optimizer holds every trainable parameter, and nothing else."""
    try:
        made = subject.file.make_optimizer(subject.model)
    except Exception as error:
        if subject.file.has_optimizer:
            raise
        return note(
            f"configure_optimizers fails: {one_line(error)}",
            "It was called with the arguments that nanoGPT's training script gives. If it takes "
            "the same names for other things, nothing is wrong.",
        )
    if made is None:
        return skipped(
            "the file has no make_optimizer(model) and the model no configure_optimizers"
        )
    listed = Counter(id(p) for group in made.param_groups for p in group["params"])
    held = set(listed)
    own = {id(p): name for name, p in subject.model.named_parameters() if p.requires_grad}
    missing = [name for key, name in own.items() if key not in held]
    if missing:
        return fault(
            f"the optimizer does not hold {first_of(missing)}",
            "These parameters keep their first values for ever. Usually groups are chosen by name "
            "or by dimension and leave out biases and norms: those with p.dim() >= 2 belong into "
            "the group with weight decay, and all others into the group without.",
        )
    twice = [name for key, name in own.items() if listed[key] > 1]
    if twice:
        return fault(
            f"the optimizer holds {first_of(twice)} more than once",
            "Each step moves these parameters several times. Usually two lists of parameters are "
            "joined that both have them, or a tied matrix is listed under both of its names: "
            "model.named_parameters() lists it once.",
        )
    foreign = len(held - {id(p) for p in subject.model.parameters()})
    if foreign:
        return fault(
            f"the optimizer holds {foreign} tensors that are no parameters of the model",
            "They may belong to another model, or to this one before it was changed or moved. Make "
            "the optimizer last, from model.parameters().",
        )
    return ok(f"the optimizer holds all {len(own)} parameters")


_PROJECTIONS = re.compile(r"(attn|attention)\w*\.(\w*\.)?(\w*proj|\w*dense|wo|o|out\w*)\.weight$")


def residual_scale(subject: Subject) -> Verdict:
    """The projections back into the residual stream begin smaller than other matrices."""
    found: list[float] = []
    others: list[float] = []
    for name, weight in subject.model.named_parameters():
        if weight.dim() != 2 or not re.search(r"\.\d+\.", name):
            continue
        is_projection = _PROJECTIONS.search(name) and "c_attn" not in name
        is_input = re.search(r"(q|k|v|query|key|value)_?(proj)?\.weight$", name)
        width = float(weight.detach().double().std())
        (found if is_projection and not is_input else others).append(width)
    if not found or not others:
        return skipped("no projection of attention was found by its name")
    ratio = (sum(found) / len(found)) / (max(others) + 1e-12)
    layers = SIZES["n_layer"] if subject.is_reduced else len(found)
    wanted = 1 / math.sqrt(2 * layers)
    detail = f"the projections of attention have {ratio:.2f} times the spread of other matrices"
    if ratio < (1 + wanted) / 2:
        return ok(f"{detail}; GPT-2 has 1 / sqrt(2 n_layer) = {wanted:.2f}")
    return note(
        f"{detail}, and GPT-2 has 1 / sqrt(2 n_layer) = {wanted:.2f}",
        "Each block adds to the residual stream, which then grows with depth. GPT-2 starts both "
        "projections of a block smaller: nn.init.normal_(c_proj.weight, std=0.02 / "
        "math.sqrt(2 * n_layer)). Models with other initialisations do without.",
    )
