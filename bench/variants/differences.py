"""What is not the same in two implementations at the same sizes, so that no ratio hides it.

Facts are read from the modules and the optimizer of a variant, and from the operations that one
forward pass calls. A fact that cannot be read is "unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.variants.base import FullLogits, Variant
from bench.variants.own import Own
from gptcore.model.config import ModelConfig
from gptcore.model.foreign import dropout_of
from gptcore.training.config import TrainConfig

ACTIVATIONS = {"silu": "SiLU", "relu": "ReLU", "erf": "GELU by its formula with erf"}
"""Operation of torch → the activation that it is."""
UNKNOWN = "unknown"
OWN_WEIGHTS = "its own first weights, not copied"


def differences(own: Variant, other: Variant, config: ModelConfig) -> list[dict[str, str]]:
    """Return each fact that differs: `what`, and how it is in `own` and in `other`.

    Args:
        own: the user's model.
        other: the implementation that it is compared with.
        config: the sizes of both.
    """
    a, b = (facts(each, config) for each in (own, other))
    return [{"what": name, "own": a[name], "other": b[name]} for name in a if a[name] != b[name]]


def facts(variant: Variant, config: ModelConfig) -> dict[str, str]:
    """Return what is known of an implementation: name of a fact → the fact in words."""
    model: nn.Module = variant.model
    read: dict[str, Callable[[], str]] = {
        "parameters": lambda: f"{sum(p.numel() for p in model.parameters()):,}",
        "weights": lambda: OWN_WEIGHTS if isinstance(variant, Own) else "first weights of gptcore",
        "output layer": lambda: _output_layer(model, config),
        "positions": lambda: _positions(model, config),
        "norm": lambda: _names(type(m).__name__ for m in model.modules() if _is_norm(m)),
        "biases": lambda: _biases(model, config),
        "dropout": lambda: f"{dropout_of(model):g}",
        "data type": lambda: _names(str(p.dtype)[6:] for p in model.parameters()),
        "activation": lambda: _activation(_operations(variant, config)),
        "attention": lambda: _attention(_operations(variant, config)),
        "logits": lambda: _logits(variant),
        "optimizer": lambda: _optimizer(variant),
    }
    return {name: _asked(ask) for name, ask in read.items()}


def _asked(ask: Callable[[], str]) -> str:
    """Return a fact; somebody else's module may raise anything when it is read."""
    try:
        return ask()
    except Exception:
        return UNKNOWN


def _names(found: Iterator[str]) -> str:
    return ", ".join(sorted(set(found))) or "none"


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not list(module.children())


def _matrices(model: nn.Module, size: int) -> int:
    return sum(p.dim() == 2 and size in p.shape for p in model.parameters())


def _output_layer(model: nn.Module, config: ModelConfig) -> str:
    return "a matrix of its own" if _matrices(model, config.vocab_size) > 1 else "tied to the input"


def _positions(model: nn.Module, config: ModelConfig) -> str:
    shape = (config.block_size, config.n_embd)
    learned = any(tuple(p.shape[-2:]) == shape for p in model.parameters())
    return "learned" if learned else "not learned"


def _biases(model: nn.Module, config: ModelConfig) -> str:
    """Return how many layers with a weight have a bias, the output layer left out."""
    layers = [m._parameters for m in model.modules() if {"bias", "weight"} <= m._parameters.keys()]
    is_head = [config.vocab_size in getattr(each["weight"], "shape", ()) for each in layers]
    layers = [each for each, head in zip(layers, is_head, strict=True) if not head]
    with_bias = sum(each["bias"] is not None for each in layers)
    if with_bias in (0, len(layers)):
        return "in all layers" if with_bias else "none"
    return f"in {with_bias} of {len(layers)} layers"


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the names of torch's operations, with how their GELU is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.called: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func).split(".")[1]
        exact = (kwargs or {}).get("approximate", "none") == "none"
        self.called.add(f"gelu {'exact' if exact else 'tanh'}" if name == "gelu" else name)
        return func(*args, **(kwargs or {}))


def _operations(variant: Variant, config: ModelConfig) -> set[str]:
    """Return the operations of one forward pass on a short sequence."""
    device = next(variant.model.parameters()).device
    ids = torch.zeros(1, min(16, config.block_size), dtype=torch.int64, device=device)
    was_training = variant.model.training
    variant.model.eval()
    recorder = _Recorder()
    try:
        with recorder:  # gradients stay enabled: without them torch may fuse a whole layer
            variant.logits(ids)
    finally:
        variant.model.train(was_training)
    return recorder.called


def _activation(called: set[str]) -> str:
    found = [f"GELU, {name[5:]}" for name in sorted(called) if name.startswith("gelu ")]
    found += [text for name, text in ACTIVATIONS.items() if name in called]
    if not found and {"tanh", "pow"} <= called:
        found = ["GELU, tanh"]
    return ", ".join(found) or UNKNOWN


def _attention(called: set[str]) -> str:
    if any("scaled_dot_product" in name for name in called):
        return "one kernel"
    return "written out" if called & {"softmax", "_softmax"} else UNKNOWN


def _logits(variant: Variant) -> str:
    if isinstance(variant, Own):
        return "as its loss computes them"
    return "all at once" if isinstance(variant, FullLogits) else "in chunks"


def _optimizer(variant: Variant) -> str:
    optimizer = variant.make_optimizer(TrainConfig(1))
    settings = optimizer.defaults
    on_cpu = next(variant.model.parameters()).device.type == "cpu"
    several = settings.get("foreach")
    if settings.get("fused"):
        how = "fused"
    elif several or (several is None and not on_cpu):
        how = "several tensors at once"
    else:
        how = "a loop over parameters"
    decays = sorted({group.get("weight_decay", 0.0) for group in optimizer.param_groups})
    decay = " and ".join(map("{:g}".format, decays))
    return f"{type(optimizer).__name__}, {how}, weight decay {decay}"
