"""A model of another implementation, with the face that training and scoring ask of a GPT."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gptcore.model.config import ModelConfig

Logits = Callable[[nn.Module, Tensor], Tensor]
"""Model and ids (B, T) → logits (B, T, V)."""
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Model, inputs and targets (B, T) → their mean loss, a scalar."""


class ForeignModel(nn.Module):
    """Another implementation's model: token ids (B, T) → logits (B, T, V).

    It can be trained by `train_step` and scored by `token_losses`. It has no KV cache, it is
    neither compiled nor recomputed, and a run of it begins again after a kill: what a checkpoint of
    it must hold is not known, so none can be verified.

    Args:
        model: the module, on its device.
        config: its sizes; `dropout` is above 0 where it draws random numbers while it is trained.
        logits: how its logits are asked for.
        loss: how its loss is asked for; training uses it, scoring does not.
    """

    def __init__(self, model: nn.Module, config: ModelConfig, logits: Logits, loss: Loss) -> None:
        super().__init__()
        self.model, self.config = model, config
        self._logits, self._loss = logits, loss

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits (B, T, V) for `idx` (B, T), int64."""
        return self._logits(self.model, idx.contiguous())

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss (scalar) of `targets` (B, T) after `inputs` (B, T)."""
        # Windows of a text are views with a stride, which many models cannot flatten by `view`.
        return self._loss(self.model, inputs.contiguous(), targets.contiguous())

    @property
    def n_params(self) -> int:
        """Number of parameters; those that modules share count once."""
        return sum(parameter.numel() for parameter in self.parameters())


def dropout_of(model: nn.Module) -> float:
    """Return the highest probability of dropout in somebody else's model."""
    values = [m.p for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    values += [v for m in model.modules() if isinstance(v := getattr(m, "dropout", None), float)]
    return max((v for v in values if 0 <= v <= 1), default=0.0)
