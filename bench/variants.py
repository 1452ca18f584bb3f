"""Other ways to do the same work from the same weights: what is compared with ours.

    gptcore         ours as it is
    without-PIECE   ours with that one optimisation taken away (PIECES)
    nanogpt-style   what the usual short GPT does: queries, keys and values in one product, torch's
                    attention, all logits at once, fused AdamW
    plain           every piece taken away
    transformers    Hugging Face's GPT-2 with torch's attention (bench/peers.py)
    litgpt          Lightning's GPT in GPT-2's shape (bench/peers.py)

Pieces are taken away one at a time from ours, and not added one at a time to the plain model: a
gain then counts as it counts in use, beside all the others. All take the same batches, the same
clipping and AdamW of the same settings; weights, gradients and its state are float32.

Shapes: B sequences, T tokens, C channels, H heads, D = C / H, V ids.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from bench.record import shorten
from gptcore.devices import autocast, matmul_precision
from gptcore.model.config import ModelConfig
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT, MLP, Attention, Transformer
from gptcore.model.loss import next_token_loss
from gptcore.ops import bfloat16, gelu
from gptcore.ops.cross_entropy import cross_entropy
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer, train_step

Mark = Callable[[str], None]

PIECES = {
    "chunked-loss": "head and cross-entropy in chunks, gradients made at once",
    "gelu-again": "GELU's output made again in backward instead of kept",
    "onednn-gelu": "on a CPU, GELU as the epilogue of a product",
    "sparse-gradient": "gradient of the embedding as the few rows that it has",
    "fused-adamw": "AdamW as one kernel, not a loop over operations",
    "sdpa": "attention in one kernel, no table of all pairs of tokens",
    "fused-qkv": "queries, keys and values in one product",
    "bf16-products": "in bf16 on a CPU, linear layers and attention whose products use all threads",
}
"""What ours does, each of which can be taken away."""

USUAL = ("chunked-loss", "gelu-again", "onednn-gelu", "sparse-gradient", "bf16-products")
"""What the usual short GPT does not do."""

PACKAGES = {"transformers": "transformers", "litgpt": "litgpt"}
"""Variant → the package that it needs."""


class Variant:
    """One way to do the work of a GPT; this one is ours as it is.

    Args:
        model: with the weights to start from, on its device; it may be changed or taken apart.

    Attributes:
        model: what holds the parameters.
    """

    def __init__(self, model: GPT) -> None:
        self.model: Any = model

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits (B, T, V) for `inputs` (B, T)."""
        logits: Tensor = self.model(inputs)
        return logits

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss (scalar, float32, nats per token) of `targets` (B, T)."""
        return next_token_loss(self.model, inputs, targets)

    def make_optimizer(self, config: TrainConfig) -> torch.optim.Optimizer:
        """Return AdamW with weight decay on matrices only, fused where torch has it."""
        return make_optimizer(self.model, config)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        *,
        precision: str = "fp32",
        mark: Mark = lambda _phase: None,
    ) -> None:
        """Update the weights once; `mark` as in `gptcore.training.step.train_step`."""
        train_step(self.model, optimizer, inputs, targets, precision=precision, mark=mark)

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Return `prompt` (B, T) and the `new_tokens` likeliest tokens after it, one by one."""
        device = next(self.model.parameters()).device
        return generate(self.model, prompt, new_tokens, temperature=0, device=device)


class FullLogits(Variant):
    """All logits at once, then torch's cross-entropy, as the usual implementations do.

    The phase "forward" of a step thus contains the head, which ours counts as "loss".
    """

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss; arguments as there."""
        return cross_entropy(self.logits(inputs), targets)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        *,
        precision: str = "fp32",
        mark: Mark = lambda _phase: None,
    ) -> None:
        """Update the weights once; arguments as there."""
        optimizer.zero_grad(set_to_none=True)
        with matmul_precision(precision):
            with autocast(inputs.device, precision):
                logits = self.logits(inputs)
            mark("forward")
            with autocast(inputs.device, precision):
                loss = cross_entropy(logits, targets)
            mark("loss")
            del logits  # as in a function of its own: only the graph still holds them
            loss.backward()  # type: ignore[no-untyped-call]
        mark("backward")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        mark("optimizer")

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Read the whole text again for every token: there is no cache; arguments as there."""
        ids = prompt.to(next(self.model.parameters()).device)
        with torch.inference_mode():
            for _ in range(new_tokens):
                likeliest = self.logits(ids)[:, -1].argmax(-1, keepdim=True)
                ids = torch.cat([ids, likeliest], dim=1)
        return ids.cpu()


class _LoopAdamW:
    """Mixed into a variant: AdamW as a loop over parameters and operations."""

    model: Any

    def make_optimizer(self, config: TrainConfig) -> torch.optim.Optimizer:
        """Return AdamW with weight decay on matrices only."""
        groups = make_optimizer(self.model, config).param_groups
        chosen = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups]
        betas = (config.beta1, config.beta2)
        return torch.optim.AdamW(
            chosen, lr=config.learning_rate, betas=betas, foreach=False, fused=False
        )


class _OwnLoop(_LoopAdamW, Variant):
    """Ours with AdamW as a loop."""


class _FullLogitsLoop(_LoopAdamW, FullLogits):
    """All logits at once, and AdamW as a loop."""


class _KeptMLP(MLP):
    """The MLP with the output of its GELU kept for backward."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self._project(self.c_fc(x)))
        return out


class _TorchMLP(MLP):
    """The MLP with torch's own GELU."""

    def _project(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(x, approximate="tanh"))
        return out


class _UsualMLP(_KeptMLP, _TorchMLP):
    """The MLP without either piece."""


MLPS: dict[frozenset[str], type[MLP]] = {
    frozenset(): MLP,
    frozenset({"gelu-again"}): _KeptMLP,
    frozenset({"onednn-gelu"}): _TorchMLP,
    frozenset({"gelu-again", "onednn-gelu"}): _UsualMLP,
}
"""Pieces of the MLP taken away → what is left."""


class _DenseTransformer(Transformer):
    """The transformer with a gradient of the embedding as large as the embedding; no cache."""

    def forward(self, idx: Tensor, cache: object = None) -> tuple[Tensor, None]:
        assert cache is None, "variants decode without a cache"
        x = self.wte(idx)  # (B, T, C)
        if self.config.positions:
            x = x + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        x = self.drop(x)
        for block in self.h:
            x = block(x)
        return self.ln_f(x), None


class _Attention(Attention):
    """Attention in pieces that can be exchanged; no cache."""

    def forward(self, x: Tensor, cache: object = None) -> Tensor:
        assert cache is None, "variants decode without a cache"
        rows, n, _ = x.shape
        heads = (part.view(rows, n, self.n_head, -1).transpose(1, 2) for part in self.project(x))
        y = self.attend(*heads)  # (B, H, T, D)
        out: Tensor = self.resid_dropout(self.c_proj(y.transpose(1, 2).flatten(2)))
        return out

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, each (B, T, C), from one product."""
        qkv: Tensor = self.c_attn(x)
        return qkv.chunk(3, dim=-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each token gathers, (B, H, T, D), from one kernel."""
        dropout = self.dropout if self.training else 0.0
        return bfloat16.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


class _TorchAttention(_Attention):
    """Attention by torch's kernel alone."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


class _SeparateProducts(_Attention):
    """Attention with one product each for queries, keys and values."""

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        weights, biases = self.c_attn.weight.chunk(3), self.c_attn.bias.chunk(3)
        return tuple(self.linear(x, w, b) for w, b in zip(weights, biases, strict=True))

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return one of the three products."""
        return bfloat16.linear(x, weight, bias)


class _WrittenOutAttention(_Attention):
    """Attention as its formula says: softmax(Q K^T / sqrt(D)) V, with a mask."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, dim = q.shape[-2:]
        later = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(dim)).masked_fill(later, -math.inf)
        shares = F.dropout(F.softmax(scores, dim=-1), self.dropout, self.training)
        return shares @ v


class _PlainAttention(_SeparateProducts, _WrittenOutAttention):
    """Attention without any piece."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x, weight, bias)


ATTENTION: dict[frozenset[str], type[Attention]] = {
    frozenset(): Attention,
    frozenset({"sdpa"}): _WrittenOutAttention,
    frozenset({"fused-qkv"}): _SeparateProducts,
    frozenset({"bf16-products"}): _TorchAttention,
    frozenset({"sdpa", "fused-qkv", "bf16-products"}): _PlainAttention,
}
"""Pieces of attention taken away → what is left."""


def without(model: GPT, pieces: Iterable[str]) -> Variant:
    """Return ours without `pieces` of PIECES, built anew around the weights of `model`."""
    gone = frozenset(pieces)
    bare = _built_without(gone, model.config)
    bare.load_state_dict(model.state_dict(), assign=True)
    bare.lm_head.weight = bare.transformer.wte.weight  # tied, as it was
    if "fused-adamw" in gone:
        return (_FullLogitsLoop if "chunked-loss" in gone else _OwnLoop)(bare)
    return (FullLogits if "chunked-loss" in gone else Variant)(bare)


def _built_without(gone: frozenset[str], config: ModelConfig) -> GPT:
    """Return the model without pieces, still without weights."""
    with torch.device("meta"):
        model = GPT(config)
        if "sparse-gradient" in gone:
            model.transformer = _DenseTransformer(config)
        for block in model.transformer.h:
            block.attn = ATTENTION[gone & {"sdpa", "fused-qkv", "bf16-products"}](config)
            if config.mlp:
                block.mlp = MLPS[gone & {"gelu-again", "onednn-gelu"}](config)
            if "bf16-products" in gone:
                for part in block.children():
                    _take_torchs_linear(part)
    return model


def _take_torchs_linear(part: nn.Module) -> None:
    """Put torch's own linear layers in the place of those of `part`."""
    for name, layer in part.named_children():
        if isinstance(layer, nn.Linear):
            setattr(part, name, nn.Linear(layer.in_features, layer.out_features))


def _peer(name: str, model: GPT) -> Variant:
    peers = importlib.import_module("bench.peers")
    made: Variant = getattr(peers, name)(model)
    return made


VARIANTS: dict[str, Callable[[GPT], Variant]] = {
    "gptcore": Variant,
    **{f"without-{piece}": partial(without, pieces=(piece,)) for piece in PIECES},
    "nanogpt-style": partial(without, pieces=USUAL),
    "plain": partial(without, pieces=PIECES),
    "transformers": partial(_peer, "Transformers"),
    "litgpt": partial(_peer, "LitGPT"),
}
"""Name → how to make it from a GPT with the weights to start from."""

DECODERS = ("gptcore", "plain", "transformers")
"""Those that text generation is compared for."""


def why_not(name: str) -> str | None:
    """Return why the variant `name` cannot run here, in one line with a remedy; None if it can.

    Raises:
        ValueError: there is no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant is {name!r}: choose one of {', '.join(VARIANTS)}")
    if name not in PACKAGES:
        return None
    package = PACKAGES[name]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            return f"{package} cannot be imported ({error}): install what it needs"
        return f"{package} is not installed: {REMEDIES[name]}"
    except Exception as error:
        said = shorten(str(error), 120)
        return f"{package} cannot be imported ({said}): install a version that fits this torch"
    return None


REMEDIES = {
    "transformers": "in the checkout, pip install '.[peers]' -c constraints.txt",
    "litgpt": "pip install litgpt 'transformers<5' in an environment of its own, for it needs an "
    "older huggingface-hub",
}


# --- is it the same model? --------------------------------------------------------------------

CHECK = ModelConfig(vocab_size=61, block_size=16, n_layer=2, n_head=2, n_embd=16)
"""What updates are compared on: everything that a large model has but its size, in no time."""

CHECK_STEPS = 3
CHECK_REPEATS = gelu.MIN_NUMEL // (2 * CHECK.block_size * 4 * CHECK.n_embd)
"""How often two windows are repeated in a batch: the MLP then has as many numbers between its
layers as our GELU needs before it uses oneDNN. Means over the batch are those of two windows."""

LOGIT_TOLERANCE = 1e-3
"""Between logits of size 1 to 10: orders of the same float32 sums differ by 1e-5 and less a layer;
a mask, a position or a GELU of the other kind that is wrong moves some by 1e-2 and more."""
LOSS_TOLERANCE = 1e-4
"""Relative, between losses before and after updates: rounding moves them by 1e-6, and a gradient
that is wrong somewhere, or a weight that is decayed and should not be, by 1e-3 and more."""


@cache
def check_updates(name: str) -> None:
    """Check that a small model trained by the variant goes the way of ours, from wild weights.

    Raises:
        ValueError: it does not: that is a defect of the variant, or of ours.
    """
    own, other = (_losses(make) for make in (Variant, VARIANTS[name]))
    if not all(math.isclose(a, b, rel_tol=LOSS_TOLERANCE) for a, b in zip(own, other, strict=True)):
        said = [", ".join(f"{loss:.4f}" for loss in losses) for losses in (own, other)]
        raise ValueError(
            f"{name} does not train as gptcore does: losses {said[1]} against {said[0]}; "
            "its version may define the model otherwise: use another one"
        )


def _losses(make: Callable[[GPT], Variant]) -> list[float]:
    """Return the losses of a small model before each of a few updates, and after the last."""
    draws = torch.Generator().manual_seed(0)
    model = GPT(CHECK)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=draws))
    return _train(make(model), draws)


def _train(variant: Variant, draws: torch.Generator) -> list[float]:
    ids = torch.randint(CHECK.vocab_size, (2, CHECK.block_size + 1), generator=draws)
    ids = ids.repeat(CHECK_REPEATS, 1)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    variant.model.train()
    optimizer = variant.make_optimizer(TrainConfig(CHECK_STEPS, learning_rate=1e-2))
    losses = [float(variant.loss(inputs, targets).detach())]
    for _ in range(CHECK_STEPS):
        variant.step(optimizer, inputs, targets)
        losses.append(float(variant.loss(inputs, targets).detach()))
    return losses


@torch.no_grad()
def check_logits(name: str, expected: Tensor, found: Tensor) -> None:
    """Check the logits of a variant against ours, of the same weights and tokens.

    Raises:
        ValueError: they differ by more than rounding.
    """
    apart = float((expected - found).abs().max())
    if not apart <= LOGIT_TOLERANCE:
        raise ValueError(
            f"logits of {name} differ from those of gptcore by up to {apart:.2g} (allowed: "
            f"{LOGIT_TOLERANCE:g}): it is not the same model; use another version of it"
        )


def build(name: str, model: GPT, sample: Tensor) -> Variant:
    """Return the variant `name` with the weights of `model`, checked to do the same.

    Args:
        name: of VARIANTS.
        model: ours; not to be used any more afterwards.
        sample: tokens (B, T) on which logits are compared; few are enough.

    Raises:
        ValueError: there is no such variant, it cannot run here, or it does something else.
    """
    if reason := why_not(name):
        raise ValueError(reason)
    if name == "gptcore":
        return Variant(model)
    check_updates(name)
    model.eval()
    with torch.no_grad():
        expected = model(sample)
        variant = VARIANTS[name](model)
        variant.model.eval()
        check_logits(name, expected, variant.logits(sample))
    return variant
