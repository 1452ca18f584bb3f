"""A Python file of the user: its functions, its model, and how that is called.

The file is the user's own code and is run when it is loaded, as `python FILE.py` would. A model
file defines `make_model(vocab_size, block_size)`, or the classes `GPT` and `GPTConfig` of nanoGPT;
and perhaps `loss(model, x, y)`, `make_optimizer(model)` and `get_batch(split)`.
Shapes: B sequences, T tokens in each, V entries of the vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gptcore.checking.python_file import as_a_program, load_python_file, where

SIZES = ("n_layer", "n_head", "n_embd")
"""The sizes that `make_model` may take besides the two that it must take."""
TARGETS = ("targets", "target", "labels", "label", "y")
"""What a forward pass that returns its loss calls the targets."""


@dataclass(frozen=True)
class ModelFile:
    """A user's model.

    Attributes:
        path: the file.
        module: the file as a module.
    """

    path: Path
    module: ModuleType

    def _own(self, name: str) -> Callable[..., Any] | None:
        function = getattr(self.module, name, None)
        return function if callable(function) else None

    @property
    def takes_sizes(self) -> bool:
        """Whether `make_model` takes n_layer, n_head and n_embd."""
        make = self._own("make_model") or self._own("GPTConfig")
        return make is not None and all(takes(make, size) for size in SIZES)

    @property
    def has_optimizer(self) -> bool:
        """Whether the file has a `make_optimizer(model)` of its own."""
        return self._own("make_optimizer") is not None

    @property
    def get_batch(self) -> Callable[[str], Any] | None:
        """The file's own `get_batch(split)`, which returns inputs and targets; None without one."""
        return self._own("get_batch")

    def make_model(self, vocab_size: int, block_size: int, **sizes: int) -> nn.Module:
        """Return a new model for `vocab_size` tokens and sequences of up to `block_size`.

        Args:
            vocab_size: V; the model may have more logits than that.
            block_size: the largest T.
            sizes: n_layer, n_head and n_embd; those that the file does not take are left out.

        Raises:
            ValueError: the file's function or class fails, or returns no module.
        """
        make, config = self._own("make_model"), self._own("GPTConfig")
        try:
            with as_a_program(self.path):
                if make is not None:
                    sizes = {name: size for name, size in sizes.items() if takes(make, name)}
                    model = make(vocab_size, block_size, **sizes)
                else:
                    assert config is not None, "load_model_file has checked it"
                    sizes |= {"vocab_size": vocab_size, "block_size": block_size}
                    if takes(config, "sequence_len"):  # as nanochat calls it
                        sizes["sequence_len"] = block_size
                    taken = {name: size for name, size in sizes.items() if takes(config, name)}
                    model = self.module.GPT(config(**taken))
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"the model of {self.path} fails: {where(error, self.path)}"
            ) from error
        if not isinstance(model, nn.Module):
            raise ValueError(
                f"make_model of {self.path} returns {type(model).__name__}: return a "
                "torch.nn.Module"
            )
        return model

    def logits(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the logits (B, T, V) of the next token at every position of `x` (B, T), int64.

        The forward pass may return them alone, in a tuple, in a mapping or as `.logits`. It gets
        targets if it takes them, since nanoGPT otherwise gives the last position alone; their loss
        is not used.

        Raises:
            ValueError: it returns no logits of that shape.
        """
        name = None if is_transformers(model) else _targets_name(model)
        calls: list[dict[str, Tensor]] = [{name: x.clone()}] if name else []
        if required_targets(model) is None:
            calls.append({})
        for arguments in calls:
            output = model(x, **arguments)
            found = _logits_in(output, x)
            if found is not None:
                return found
        raise ValueError(
            f"the forward pass of {type(model).__name__} returns {_shape(output)} for tokens of "
            f"shape {tuple(x.shape)}: return logits of shape (B, T, V), alone, as (logits, loss) "
            "or as .logits"
        )

    def without_targets(self, model: nn.Module, x: Tensor) -> Tensor | None:
        """Return the logits of a pass without targets, of whatever shape.

        None where the forward pass does not treat targets, or cannot do without them.
        """
        name = _targets_name(model)
        if name is None or required_targets(model) is not None or is_transformers(model):
            return None
        with torch.no_grad():
            output = model(x)
        found = part_named(output, "logits")
        parts = [part for part in (found, *parts_of(output)) if isinstance(part, Tensor)]
        return parts[0] if parts else None

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss (a scalar) of the targets `y` (B, T) after `x` (B, T).

        It is `own_loss`, or else the mean cross-entropy of the logits.

        Raises:
            ValueError: the file's own loss is no scalar, or there are no logits.
        """
        found = self.own_loss(model, x, y)
        if found is None:
            found = nn.functional.cross_entropy(self.logits(model, x).flatten(0, 1), y.flatten())
        return found

    def own_loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
        """Return the loss that the file computes itself, None if it computes none.

        It is that of the file's function `loss`, or else the one that the forward pass returns
        when it gets targets. Models of `transformers` move the labels by themselves, so theirs is
        not used.

        Raises:
            ValueError: the file's own loss is no scalar.
        """
        own, name = self._own("loss"), _targets_name(model)
        if own is not None:
            found = own(model, x, y)
            if not isinstance(found, Tensor) or found.numel() != 1:
                raise ValueError(
                    f"loss of {self.path} returns {_shape(found)}: return one number as a tensor"
                )
            return found.reshape(())
        if name is None or is_transformers(model):
            return None
        return _loss_in(model(x, **{name: y}))

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Return the optimizer of the file or of nanoGPT's `configure_optimizers`, else None.

        Raises:
            ValueError: the file's own function returns no optimizer.
        """
        own = self._own("make_optimizer")
        with as_a_program(self.path):
            if own is not None:
                found = own(model)
                if not isinstance(found, torch.optim.Optimizer):
                    raise ValueError(
                        f"make_optimizer of {self.path} returns {type(found).__name__}: return a "
                        "torch.optim.Optimizer"
                    )
                return found
            configure = getattr(model, "configure_optimizers", None)
            if not callable(configure):
                return None
            given = _nanogpt_arguments(model)
            if any(name not in given for name in _required(configure)):
                return None
            found = configure(
                **{name: value for name, value in given.items() if takes(configure, name)}
            )
        return found if isinstance(found, torch.optim.Optimizer) else None


def load_model_file(path: Path | str) -> ModelFile:
    """Return the model that a Python file defines.

    Raises:
        ValueError: as `load_python_file`, or the file defines no model.
    """
    file = ModelFile(Path(path), load_python_file(path))
    make = file._own("make_model")
    if make is None and not (file._own("GPT") and file._own("GPTConfig")):
        classes = [
            name
            for name, value in vars(file.module).items()
            if isinstance(value, type)
            and issubclass(value, nn.Module)
            and value.__module__ == file.module.__name__
        ]
        named = f" (its modules are {', '.join(classes)})" if classes else ""
        raise ValueError(
            f"{path} has no make_model{named}: add a function make_model(vocab_size, block_size) "
            "that returns your model"
        )
    if make is not None and not _takes_two(make):
        raise ValueError(
            f"make_model of {path} takes ({', '.join(inspect.signature(make).parameters)}): write "
            "make_model(vocab_size, block_size), and n_layer, n_head and n_embd if it can"
        )
    return file


# --- signatures ------------------------------------------------------------------------------


def takes(function: Callable[..., Any], name: str) -> bool:
    """Return whether a function takes an argument of that name."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _required(function: Callable[..., Any]) -> list[str]:
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _takes_two(make: Callable[..., Any]) -> bool:
    sizes = {name: 1 for name in SIZES if takes(make, name)}
    try:
        inspect.signature(make).bind(1, 1, **sizes)
    except TypeError:
        return False
    return True


def plain(model: nn.Module) -> nn.Module:
    """Return the model itself where `torch.compile` has wrapped it."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def _targets_name(model: nn.Module) -> str | None:
    parameters = inspect.signature(plain(model).forward).parameters
    return next((name for name in TARGETS if name in parameters), None)


def required_targets(model: nn.Module) -> str | None:
    """Return what the forward pass calls the targets if it cannot do without them, else None."""
    name = _targets_name(model)
    return name if name in _required(plain(model).forward) else None


def is_transformers(model: nn.Module) -> bool:
    """Return whether a model is one of Hugging Face's transformers, whose labels are its inputs."""
    return any(kind.__module__.startswith("transformers.") for kind in type(plain(model)).__mro__)


def _nanogpt_arguments(model: nn.Module) -> dict[str, Any]:
    """Return what nanoGPT's training script gives to `configure_optimizers`, by name."""
    device = next(model.parameters()).device
    return {
        "weight_decay": 0.1,
        "learning_rate": 6e-4,
        "betas": (0.9, 0.95),
        "device_type": device.type,
        "device": device.type,
    }


# --- what a forward pass returns -------------------------------------------------------------


def parts_of(output: Any) -> list[Any]:
    """Return what a forward pass returns, as a list."""
    if isinstance(output, Mapping):
        return list(output.values())
    if isinstance(output, tuple | list):
        return list(output)
    return [output]


def part_named(output: Any, name: str) -> Any:
    """Return the part of an output that has a name, None without one."""
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _logits_in(output: Any, x: Tensor) -> Tensor | None:
    """Return logits (B, T, V) out of an output, also where they are flat, (B * T, V)."""
    batch, length = x.shape
    for part in (part_named(output, "logits"), *parts_of(output)):
        if not isinstance(part, Tensor) or not part.is_floating_point():
            continue
        if part.dim() == 3 and part.shape[:2] == x.shape:
            return part
        if part.dim() == 2 and part.shape[0] == batch * length:
            return part.reshape(batch, length, -1)
    return None


def _loss_in(output: Any) -> Tensor | None:
    for part in (part_named(output, "loss"), *parts_of(output)):
        if isinstance(part, Tensor) and part.is_floating_point() and part.numel() == 1:
            return part.reshape(())
    return None


def _shape(value: Any) -> str:
    """Return what a value is, in words, with the shapes of its tensors."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(_shape(part) for part in value)})"
    return "None" if value is None else type(value).__name__
