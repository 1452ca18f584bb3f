"""Checks of the gradient: does it reach every parameter, and is it that of the loss?"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gptcore.checking.model_file import is_transformers
from gptcore.checking.subject import Subject
from gptcore.checking.verdict import Verdict, fault, first_of, note, ok, skipped

PROBED = 20
"""Parameters of which one entry each is moved, to compare the loss with the gradient."""


def graph(subject: Subject) -> Verdict:
    """What the loss depends on are exactly the parameters of the model, and each has a gradient."""
    subject.model.zero_grad(set_to_none=True)
    loss = subject.loss(subject.ids(8), subject.ids(8, seed=1))
    if loss.grad_fn is None:
        return fault(
            "the loss has no gradient",
            "Nothing can be trained. Usually the forward pass or the loss is inside "
            "torch.no_grad(), or calls .detach(), .item() or .data.",
        )
    known = {id(p) for p in subject.model.parameters()}
    foreign = [leaf for leaf in _leaves(loss) if id(leaf) not in known]
    if foreign:
        return _unregistered(subject, foreign)
    loss.backward()  # type: ignore[no-untyped-call]
    without = {
        name: p
        for name, p in subject.model.named_parameters()
        if p.requires_grad and p.grad is None
    }
    if not without:
        return ok(f"the gradient reaches all {len(known)} parameters")
    return _not_reached(subject, without)


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the tensors in which the graph of a loss begins."""
    found, waiting, seen = [], [loss.grad_fn], {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            found.append(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


def _unregistered(subject: Subject, foreign: list[Tensor]) -> Verdict:
    lists = [
        f"{name}.{key}".lstrip(".")
        for name, module in subject.model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, list | tuple | dict)
        and not key.startswith("_")
        and any(isinstance(v, nn.Module | Tensor) for v in _values(value))
    ]
    held = f"; {lists[0]} is a plain {'list or dict'}" if lists else ""
    return fault(
        f"{len(foreign)} tensors are trained on that are no parameters of the model, the first of "
        f"shape {tuple(foreign[0].shape)}{held}",
        "model.parameters() does not list them, so no optimizer moves them, no checkpoint holds "
        "them and .to(device) leaves them behind. Usually blocks stand in a plain list: "
        "nn.ModuleList([Block(config) for _ in range(n_layer)]) is right; for a tensor, "
        "nn.Parameter.",
    )


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]


def _not_reached(subject: Subject, without: dict[str, nn.Parameter]) -> Verdict:
    """Say which parameters have no gradient, and whether the loss depends on them all the same."""
    x, y = subject.ids(8), subject.ids(8, seed=1)
    before = float(subject.quiet(lambda: subject.loss(x, y)))
    kept = [p.detach().clone() for p in without.values()]
    with torch.no_grad():
        for p in without.values():
            p.mul_(1.5).add_(0.1)
    after = float(subject.quiet(lambda: subject.loss(x, y)))
    with torch.no_grad():
        for p, value in zip(without.values(), kept, strict=True):
            p.copy_(value)
    names = first_of(list(without))
    if abs(after - before) > 1e-4 * abs(before):
        return fault(
            f"the loss depends on {names}, but no gradient reaches them",
            "These parameters are never trained. Usually .detach(), .data, torch.no_grad() or "
            "torch.tensor(...) stands between them and the loss.",
        )
    if is_transformers(subject.model) or all("expert" in name for name in without):
        return note(
            f"the loss does not depend on {names}",
            "These parameters are not trained by this loss. That is right for a head of another "
            "task, and for experts that got no token of a small batch.",
        )
    return fault(
        f"the loss does not depend on {names}",
        "These parameters exist and are not used. Usually the forward pass leaves out a block "
        "(for block in self.h: x = block(x)), the position embedding (x = wte(idx) + wpe(pos)) or "
        "the last norm (lm_head(ln_f(x))).",
    )


def finite_differences(subject: Subject) -> Verdict:
    """The gradient is the slope of the loss, measured by moving single weights."""
    if subject.is_large:
        return skipped(f"the model has {subject.n_params:,} parameters, too many for this check")
    if subject.rounding > 1e-6:
        return skipped("the model computes in numbers too coarse for this check")
    x, y = subject.ids(4), subject.ids(4, seed=1)
    subject.model.zero_grad(set_to_none=True)
    subject.loss(x, y).backward()  # type: ignore[no-untyped-call]
    step = 1e-5 if subject.rounding < 1e-12 else 3e-3
    floor = 1e-6 if subject.rounding < 1e-12 else 3e-3
    wrong = []
    for name, weight in _probed(subject.model):
        gradient = float(weight.grad.flatten()[_largest(weight)])  # type: ignore[union-attr]
        slope = _slope(subject, weight, step, x, y)
        allowed = 0.05 * max(abs(slope), abs(gradient)) + floor
        if abs(slope - gradient) <= allowed:
            continue
        finer = _slope(subject, weight, step / 4, x, y)
        if abs(finer - gradient) > allowed and abs(finer - slope) < allowed / 3:
            wrong.append(f"{name} ({gradient:.3g} for a slope of {slope:.3g})")
    if not wrong:
        return ok("the gradient is the slope of the loss, measured on single weights")
    means = (
        "The gradient is not that of the loss. Usually a part of the forward pass is cut off by "
        ".detach() or .data, a backward pass is written by hand, or values pass through "
        "numpy. Where it is meant so, as in training with rounded weights, nothing is wrong."
    )
    detail = f"the gradient is not the slope of the loss in {len(wrong)} weights: {wrong[0]}"
    # One alone may lie where the loss has a bend, as between two experts.
    return fault(detail, means) if len(wrong) > 1 else note(detail, means)


def _probed(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield at most PROBED parameters that have a gradient, spread over the model."""
    names = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
    every = max(1, -(-len(names) // PROBED))
    yield from names[::every]


def _largest(weight: nn.Parameter) -> int:
    return int(weight.grad.abs().argmax())  # type: ignore[union-attr]


def _slope(subject: Subject, weight: nn.Parameter, step: float, x: Tensor, y: Tensor) -> float:
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(_largest(weight)), weight.shape))
    values, losses = weight.detach(), []
    before = values[place].clone()
    for sign in (1, -1):
        values[place] = before + sign * step
        losses.append(float(subject.quiet(lambda: subject.loss(x, y))))
    values[place] = before
    return (losses[0] - losses[1]) / (2 * step)


_NUMBER = re.compile(r"\.?\d+\.")
"""The number of a layer in the name of a parameter."""


def registered_once(subject: Subject) -> Verdict:
    """No two layers are the same object."""
    owners: dict[int, list[str]] = {}
    for name, module in subject.model.named_modules(remove_duplicate=False):
        for key, p in module.named_parameters(recurse=False):
            owners.setdefault(id(p), []).append(f"{name}.{key}".lstrip("."))
    repeated = [
        names
        for names in owners.values()
        if len(names) > 1 and len({_NUMBER.sub("", name) for name in names}) == 1
    ]
    if not repeated:
        return ok("no two layers share their parameters")
    first = repeated[0]
    return fault(
        f"{first[0]} and {first[1]} are one parameter, as are {len(repeated) - 1} other pairs",
        "All layers have the same weights, and the model has as many parameters as one of them. "
        "Usually a list is multiplied: [Block()] * n holds one block n times, where "
        "[Block() for _ in range(n)] makes n. If layers are to share weights, as in ALBERT, "
        "nothing is wrong.",
    )
