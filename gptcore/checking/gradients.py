"""Checks of the gradient: does it reach every parameter, and is it that of the loss?"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gptcore.checking.model_file import is_transformers
from gptcore.checking.subject import Subject, masks_of
from gptcore.checking.verdict import Verdict, fault, first_of, note, ok, skipped

PROBED = 20
"""Parameters of which one entry each is moved, to compare the loss with the gradient."""


def graph(subject: Subject) -> Verdict:
    """What the loss depends on are exactly the parameters of the model, and each has a gradient."""
    masks = masks_of(subject.model)
    if masks:
        return fault(
            f"{first_of(masks)} holds a mask and is a parameter",
            "An optimizer may change it, by weight decay at least, and then the model sees later "
            "tokens. A mask is a buffer: self.register_buffer('mask', torch.tril(torch.ones(T, "
            "T))).",
        )
    with subject.as_in_training():
        return _graph(subject)


def _graph(subject: Subject) -> Verdict:
    subject.model.zero_grad(set_to_none=True)
    loss = subject.loss(subject.ids(8), subject.ids(8, seed=1))
    trainable = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    if not trainable:
        return fault(
            "no parameter is trainable",
            "Every parameter has requires_grad=False. Usually a part of the model was to be frozen "
            "and requires_grad_(False) was called on the whole.",
        )
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
    without = {name: p for name, p in trainable.items() if p.grad is None}
    if without:
        return _not_reached(subject, without)
    frozen = [n for n, p in subject.model.named_parameters() if not p.requires_grad]
    if frozen:
        return note(
            f"requires_grad is False for {len(frozen)} of {len(known)} parameters: "
            f"{first_of(frozen)}",
            "They keep their first values. That is right for fixed positions, and for adapters of "
            "a model that is trained already; in a new model everything should learn.",
        )
    return ok(f"the gradient reaches all {len(known)} parameters")


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
    """The gradient is the slope of the loss, measured by moving weights."""
    if subject.is_large:
        return skipped(f"the model has {subject.n_params:,} parameters, too many for this check")
    if subject.rounding > 1e-6:
        return skipped("the model computes in numbers too coarse for this check")
    with subject.as_in_training():
        return _compare_slopes(subject)


def _compare_slopes(subject: Subject) -> Verdict:
    x, y = subject.ids(4), subject.ids(4, seed=1)
    subject.model.zero_grad(set_to_none=True)
    loss = subject.loss(x, y)
    if loss.grad_fn is None:
        return skipped("the loss has no gradient")
    loss.backward()  # type: ignore[no-untyped-call]
    is_fine = subject.rounding < 1e-12
    step, floor = (1e-5, 1e-6) if is_fine else (3e-3, 3e-3)
    wrong = []
    for name, weight in _probed(subject.model):
        along = _direction(weight, is_fine=is_fine)
        gradient = float((weight.grad * along).sum())  # type: ignore[operator]
        slope = _slope(subject, weight, step * along, x, y) / step
        allowed = 0.05 * max(abs(slope), abs(gradient)) + floor
        if abs(slope - gradient) <= allowed:
            continue
        finer = _slope(subject, weight, step / 4 * along, x, y) / (step / 4)
        if abs(finer - gradient) > allowed and abs(finer - slope) < allowed / 3:
            wrong.append(f"{name} ({gradient:.3g} for a slope of {slope:.3g})")
    if not wrong:
        return ok("the gradient is the slope of the loss, measured by moving weights")
    means = (
        "The gradient is not that of the loss. Usually a part of the forward pass is cut off by "
        ".detach() or .data, a backward pass is written by hand, or values pass through "
        "numpy. Where it is meant so, as in training with rounded weights, nothing is wrong."
    )
    detail = f"the gradient is not the slope of the loss for {first_of(wrong)}"
    # In coarse numbers, one alone may lie where the loss has a bend, as between two experts.
    return fault(detail, means) if is_fine or len(wrong) > 1 else note(detail, means)


def _probed(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield at most PROBED parameters that have a gradient, spread over the model."""
    names = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
    every = max(1, -(-len(names) // PROBED))
    yield from names[::every]


def _direction(weight: nn.Parameter, *, is_fine: bool) -> Tensor:
    """Return the direction in which a weight is moved, of length 1.

    In float64 it is a random one, which meets every entry: a row of an embedding that is cut off
    does not hide behind another that is not. In coarser numbers it is the entry whose gradient is
    the largest.
    """
    assert weight.grad is not None, "only weights with a gradient are probed"
    if is_fine:
        generator = torch.Generator("cpu").manual_seed(2)
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64, device="cpu")
        return drawn.div(drawn.norm()).to(weight.device)
    along = torch.zeros_like(weight, requires_grad=False)
    along.view(-1)[int(weight.grad.abs().argmax())] = 1
    return along


def _slope(subject: Subject, weight: nn.Parameter, step: Tensor, x: Tensor, y: Tensor) -> float:
    """Return half of what the loss gains when a weight moves by `step` in place of its opposite."""
    values, losses = weight.detach(), []
    before = values.clone()
    for sign in (1, -1):
        values.copy_(before + sign * step)
        losses.append(float(subject.quiet(lambda: subject.loss(x, y))))
    values.copy_(before)
    return (losses[0] - losses[1]) / 2


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
