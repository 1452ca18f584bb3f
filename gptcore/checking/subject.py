"""The model that is checked: built small, with large random weights, in float64 where it can be.

Shapes: B sequences, T tokens in each, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gptcore.checking.model_file import ModelFile, plain

VOCAB_SIZE, BLOCK_SIZE = 97, 16
SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32}
"""The sizes of the model that is checked, where `make_model` takes them."""
LARGE = 20_000_000
"""With more parameters than this, checks that take many passes are left out."""
GAIN = 1.5
"""Weights are drawn with the standard deviation GAIN / sqrt(inputs), so that no part of the model
is so small that a fault in it would not show."""
SHIFT = 0.3
"""Standard deviation of what is added to biases and to the weights of norms."""


class Subject:
    """A model under examination.

    Args:
        file: the user's file.
        **sizes: sizes of the model in place of SIZES.

    Attributes:
        file: the user's file.
        model: the model; `randomise` gives it its large weights.
        is_reduced: whether it has the sizes SIZES, and not those of the file.
        n_vocab: ids that are given to the model are below this.
        n_logits: V, the size of a row of logits.
        rounding: the relative rounding of the coarsest numbers in a pass, 2e-16 for float64.
        no_dropout: whether every pass is made with dropout turned off from outside.
        no_noise: whether, besides, all random numbers of torch are replaced by constants.

    Raises:
        ValueError: the file makes no model.
    """

    def __init__(self, file: ModelFile, **sizes: int) -> None:
        self.file, self.is_reduced = file, file.takes_sizes
        self._sizes = SIZES | sizes
        self.model = self._build()
        self.no_dropout = self.no_noise = False
        self.n_params = sum(p.numel() for p in self.model.parameters())
        self.n_vocab = self.n_logits = VOCAB_SIZE
        self.rounding = 0.0

    def _build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return plain(self.make()).eval()

    def make(self) -> nn.Module:
        """Return a new model in the sizes of this one, as the file makes it."""
        try:
            return self.file.make_model(VOCAB_SIZE, BLOCK_SIZE, **self._sizes)
        except ValueError:
            if not self.is_reduced:
                raise
            self.is_reduced, self._sizes = False, {}  # it may not exist in these sizes
            return self.file.make_model(VOCAB_SIZE, BLOCK_SIZE)

    @property
    def is_large(self) -> bool:
        """Whether checks that take many passes are left out."""
        return self.n_params > LARGE

    @property
    def tolerance(self) -> float:
        """The largest difference of logits, in units of their spread, that says nothing."""
        return min(max(1e-6, 1000 * self.rounding), 0.3)

    def measure_vocabulary(self) -> None:
        """Find the size of a row of logits, from one pass of tokens with the id 0."""
        zeros = torch.zeros(1, BLOCK_SIZE, dtype=torch.int64)
        self.n_logits = self.logits(zeros).shape[-1]
        self.n_vocab = min(VOCAB_SIZE, self.n_logits)

    def randomise(self) -> None:
        """Give the model large random weights, in float64 if it can compute in it."""
        try:
            logits = self._with_large_weights(self.model.to(torch.float64))
        except Exception:
            logits = self._with_large_weights(self._build())
        if not is_finite(logits):
            self.model = self._build()
        with Precisions() as seen:
            self.logits(self.ids(2))
        self.rounding = seen.coarsest

    def with_one_layer(self) -> Subject:
        """Return the same model with a single layer, and large random weights too."""
        single = Subject(self.file, n_layer=1)
        single.no_dropout, single.no_noise = self.no_dropout, self.no_noise
        single.measure_vocabulary()
        single.randomise()
        return single

    def _with_large_weights(self, model: nn.Module) -> Tensor:
        draw_weights(model)
        self.model = model
        return self.logits(self.ids(2))

    def ids(self, rows: int, length: int = BLOCK_SIZE, seed: int = 0) -> Tensor:
        """Return random token ids (rows, length), on the device of the model."""
        generator = torch.Generator("cpu").manual_seed(seed)
        drawn = torch.randint(self.n_vocab, (rows, length), generator=generator, device="cpu")
        return drawn.to(self.device)

    @property
    def device(self) -> torch.device:
        """The device of the model's first parameter."""
        first = next(self.model.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, T, V) without gradients; B and T are those of `x`."""
        x = x.to(self.device).contiguous()
        return self.quiet(lambda: self.file.logits(self.model, x.clone()))

    def repeats(self) -> float:
        """Return by how much a second pass over the same tokens differs, after one over others."""
        x = self.ids(2)
        first, _, again = self.logits(x), self.logits(self.ids(2, seed=1)), self.logits(x)
        return difference(again, first)

    def quiet(self, call: Callable[[], Tensor]) -> Tensor:
        """Return what `call` computes, without gradients, in float64."""
        with torch.no_grad(), self.passes():
            return call().detach().double()

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Make every pass inside without dropout or noise, where that is needed.

        A model that changes its own mode in a pass is put back into the one that it had.
        """
        is_training = self.model.training
        calm = WithoutNoise if self.no_noise else WithoutDropout if self.no_dropout else nullcontext
        try:
            with calm():
                yield
        finally:
            self.model.train(is_training)

    @contextmanager
    def as_in_training(self) -> Iterator[None]:
        """Make every pass inside in training mode without dropout.

        The mode is left as it is where training mode is random all the same.
        """
        is_training, no_dropout = self.model.training, self.no_dropout
        self.model.train()
        self.no_dropout = True
        if self.repeats() > self.tolerance:
            self.model.train(is_training)
        try:
            yield
        finally:
            self.model.train(is_training)
            self.no_dropout = no_dropout

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the file's loss of targets `y` (B, T) after `x` (B, T)."""
        with self.passes():
            return self.file.loss(self.model, x.clone(), y.clone())


def draw_weights(model: nn.Module) -> None:
    """Give every trainable parameter a large random value; equal seeds give equal values."""
    generator = torch.Generator("cpu").manual_seed(1)
    done: set[int] = set()
    with torch.no_grad():
        for module in model.modules():
            for name, weight in module.named_parameters(recurse=False):
                if id(weight) in done or not weight.requires_grad or _is_mask(weight):
                    continue
                done.add(id(weight))
                noise = torch.randn(
                    weight.shape, generator=generator, dtype=torch.float64, device="cpu"
                ).to(weight.device)
                if weight.dim() < 2:
                    weight.add_((SHIFT * noise).to(weight.dtype))
                else:
                    weight.copy_(GAIN / math.sqrt(_inputs(module, name, weight)) * noise)


def masks_of(model: nn.Module) -> list[str]:
    """Return the names of trainable parameters that are masks of attention."""
    return [n for n, p in model.named_parameters() if p.requires_grad and _is_mask(p)]


def _is_mask(weight: Tensor) -> bool:
    """Return whether a tensor shows or hides each of T tokens from each of T others."""
    if weight.dim() < 2 or weight.shape[-2:] != (BLOCK_SIZE, BLOCK_SIZE):
        return False
    first = weight.detach().reshape(-1, BLOCK_SIZE, BLOCK_SIZE)[0]
    hidden = first[torch.ones_like(first, dtype=torch.bool).triu(1)]
    is_even = bool((hidden == hidden[0]).all()) and len(set(first.flatten().tolist())) == 2
    return is_even and bool(first[1, 0] != hidden[0])


def _inputs(module: nn.Module, name: str, weight: Tensor) -> int:
    """Return how many products each output of a matrix adds up."""
    if isinstance(module, nn.Linear | nn.Embedding):
        return weight.shape[-1]
    return min(weight.shape[-2:]) if name == "weight" else weight.shape[-2]


def is_finite(logits: Tensor) -> bool:
    """Return whether logits are finite, but for −inf, with which vocabularies are filled up."""
    return bool(torch.isfinite(logits.masked_fill(logits == -math.inf, 0)).all())


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference of two rows of logits (…, V), in units of the spread of `b`.

    The difference of two rows is the root of their mean square. Entries of −inf, with which some
    models fill up their vocabulary, count as 0.
    """
    a, b = (logits.masked_fill(logits == -math.inf, 0) for logits in (a, b))
    spread = float(b.std()) + 1e-12
    return float((a - b).square().mean(-1).sqrt().max()) / spread


_DROPOUTS = {
    nn.functional.dropout, nn.functional.dropout1d, nn.functional.dropout2d,
    nn.functional.dropout3d, nn.functional.alpha_dropout, nn.functional.feature_alpha_dropout,
    torch.dropout, torch.alpha_dropout, torch.feature_dropout,
}  # fmt: skip


class WithoutDropout(TorchFunctionMode):
    """Every dropout of torch inside this context is left out, wherever it is called."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        kwargs = dict(kwargs or {})
        if func in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is nn.functional.scaled_dot_product_attention:
            args = args[:4] + ((0.0, *args[5:]) if len(args) > 4 else ())
            if len(args) <= 4:
                kwargs["dropout_p"] = 0.0
        if func is nn.functional.multi_head_attention_forward:
            kwargs["training"] = False  # its own dropout cannot be seen from outside
        return func(*args, **kwargs)


_NOISES = {
    torch.rand: 0.5, torch.rand_like: 0.5, Tensor.uniform_: 0.5,
    torch.randn: 0.0, torch.randn_like: 0.0, Tensor.normal_: 0.0, torch.normal: 0.0,
    torch.bernoulli: 1.0, Tensor.bernoulli: 1.0, Tensor.bernoulli_: 1.0, Tensor.exponential_: 1.0,
}  # fmt: skip
"""Function of torch that draws random numbers → what takes their place."""


class WithoutNoise(WithoutDropout):
    """Every dropout inside this context is left out, and every random number is a constant."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        result = super().__torch_function__(func, types, args, kwargs)
        return result.fill_(_NOISES[func]) if func in _NOISES else result


class Precisions(TorchFunctionMode):
    """Notes the coarsest floating-point numbers that torch computes inside this context.

    Attributes:
        coarsest: their relative rounding, `torch.finfo(dtype).eps`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.coarsest = 0.0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point():
            self.coarsest = max(self.coarsest, torch.finfo(result.dtype).eps)
        return result


class Greedy(TorchFunctionMode):
    """Every draw from probabilities inside this context takes the most probable entry."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        if func in (torch.multinomial, Tensor.multinomial):
            probabilities = args[0] if args else (kwargs or {})["input"]
            return probabilities.argmax(-1, keepdim=True)
        return func(*args, **(kwargs or {}))
