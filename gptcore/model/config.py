"""The shape of a GPT, and the presets: shapes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

from gptcore.checks import LARGEST_INT64, check_number, check_whole


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a GPT; the defaults are those of GPT-2 small.

    Attributes:
        vocab_size: V.
        block_size: the largest T.
        n_layer: the number of blocks; with 0 the model is a bigram model.
        n_head: H; it divides `n_embd`.
        n_embd: C.
        dropout: the probability of dropout, in [0, 1), after the embedding, in attention and after
            both projections of a block.
        positions: whether learned position embeddings are added.
        mlp: whether an MLP follows the attention of each block.

    Raises:
        ValueError: a field is outside its range.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    positions: bool = True
    mlp: bool = True

    def __post_init__(self) -> None:
        sizes = {"vocab_size": 1, "block_size": 1, "n_layer": 0, "n_head": 1, "n_embd": 1}
        for name, least in sizes.items():
            size = check_whole(name, getattr(self, name), at_least=least, at_most=LARGEST_INT64)
            object.__setattr__(self, name, size)
        if self.n_embd % self.n_head:
            nearest = max(1, round(self.n_embd / self.n_head)) * self.n_head
            raise ValueError(
                f"n_embd is {self.n_embd}; it must be a multiple of n_head = {self.n_head}, "
                f"for instance {nearest}"
            )
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))
        for name in ("positions", "mlp"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give True or False")


PRESETS: dict[str, ModelConfig] = {
    "model1": ModelConfig(block_size=256, n_layer=0, n_head=1, n_embd=128, positions=False),
    "model2": ModelConfig(block_size=256, n_layer=1, n_head=1, n_embd=128, mlp=False),
    "model3": ModelConfig(block_size=256, n_layer=1, n_head=4, n_embd=128),
    "model4": ModelConfig(block_size=256, n_layer=4, n_head=4, n_embd=128),
    "model5": ModelConfig(block_size=256),
    "gpt2": ModelConfig(),
    "gpt2-medium": ModelConfig(n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": ModelConfig(n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": ModelConfig(n_layer=48, n_head=25, n_embd=1600),
}
"""Name → shape.

Each of model1 … model5 adds something to the one before: model1 is a token embedding alone, model2
has attention and positions, model3 several heads and an MLP, model4 several layers, and model5 the
size of GPT-2 small. The others are the published sizes of GPT-2.
"""
