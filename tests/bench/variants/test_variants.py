"""The variants are the same model as ours, and each goes without what its name says."""

import builtins
import copy
import importlib
import math
import sys
import types

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from bench.suite.sizes import ABLATION, ABLATION_BF16, ABLATION_LARGE
from bench.variants import base, checks, peers, pieces, registry
from gptcore.devices import autocast
from gptcore.model import gpt as model_module
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.ops import bfloat16
from gptcore.training.config import TrainConfig

WIDE = ModelConfig(vocab_size=301, block_size=12, n_layer=2, n_head=2, n_embd=8)
INSTALLED = [name for name in registry.VARIANTS if name != "litgpt"]
OWN = ["gptcore", *ABLATION, *ABLATION_LARGE, *ABLATION_BF16]
CONFIG = TrainConfig(1)


def wild(config=WIDE):
    """Return a model with weights far from the initial ones, where every mistake shows."""
    model = GPT(config)
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=draws))
    return model


def batch(config=WIDE):
    ids = torch.randint(config.vocab_size, (3, 13), generator=torch.Generator().manual_seed(4))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def gradients(variant):
    """Return name → gradient of the loss, as ours stores it."""
    variant.model.train()
    variant.loss(*batch()).backward()
    named = {name: p.grad.to_dense() for name, p in variant.model.named_parameters()}
    if isinstance(variant, peers.Transformers):
        return {n: g.t() if n.endswith(peers.INPUT_FIRST) else g for n, g in named.items()}
    return named


def calls_of(monkeypatch, module, name):
    """Return a list that grows by the arguments of each call of a function."""
    seen, original = [], getattr(module, name)

    def spy(*args, **options):
        seen.append((args, options))
        return original(*args, **options)

    monkeypatch.setattr(module, name, spy)
    return seen


# --- the same model


@pytest.mark.parametrize("name", INSTALLED)
def test_variant_has_the_logits_and_the_loss_of_ours(name):
    inputs, targets = batch()
    own, other = base.Variant(wild()), registry.VARIANTS[name](wild())
    other.model.eval()
    # Same float32 operations in another order: logits of size 10 differ by about 1e-5.
    torch.testing.assert_close(other.logits(inputs), own.logits(inputs), atol=1e-4, rtol=0)
    torch.testing.assert_close(other.loss(inputs, targets), own.loss(inputs, targets))


@pytest.mark.parametrize("name", INSTALLED)
def test_variant_has_the_gradients_of_ours(name):
    own = gradients(base.Variant(wild()))
    other = gradients(registry.VARIANTS[name](wild()))
    assert own.keys() == other.keys()
    for key, gradient in own.items():
        # Sums of up to 300 float32 terms in another order.
        torch.testing.assert_close(other[key], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", INSTALLED)
def test_variant_trains_as_ours_does(name):
    registry.check_updates.__wrapped__(name)


@pytest.mark.parametrize("name", ["plain", "transformers"])
def test_variant_writes_the_text_of_ours(name):
    prompt = batch()[0][:2, :5]
    own, other = base.Variant(wild()), registry.VARIANTS[name](wild())
    other.model.eval()
    assert torch.equal(other.decode(prompt, 6), own.decode(prompt, 6))


def test_bf16_step_of_a_variant_is_near_its_fp32_step():
    losses = []
    for precision in ("fp32", "bf16"):
        made = registry.VARIANTS["plain"](wild())
        made.step(made.make_optimizer(CONFIG), *batch(), precision=precision)
        losses.append(made.loss(*batch()).item())
    # bfloat16 keeps 8 bits: products are off by 0.4 %; but it must not be the fp32 step itself.
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_model_that_is_another_one_is_refused(monkeypatch):
    monkeypatch.setattr(pieces._KeptMLP, "forward", lambda self, x: self.c_proj(self.c_fc(x)))
    with pytest.raises(ValueError, match="plain does not train as gptcore does: losses"):
        registry.check_updates.__wrapped__("plain")


def test_logits_that_differ_are_refused():
    same = torch.zeros(1, 2, 3)
    checks.check_logits("x", same, same)
    with pytest.raises(ValueError, match=r"logits of x differ .* by up to 0\.01"):
        checks.check_logits("x", same, same + 0.01)
    with pytest.raises(ValueError, match="by up to nan"):
        checks.check_logits("x", same, same * math.nan)


def test_wrong_weights_are_noticed_before_timing(monkeypatch):
    def swapped(model):
        with torch.no_grad():
            model.transformer.h[0].attn.c_attn.bias.add_(1)
        return base.FullLogits(model)

    monkeypatch.setitem(registry.VARIANTS, "plain", swapped)
    monkeypatch.setattr(registry, "check_updates", lambda _name: None)
    with pytest.raises(ValueError, match="logits of plain differ"):
        registry.build("plain", wild(), batch()[0])


def test_variant_that_updates_otherwise_is_refused_before_timing(monkeypatch):
    class NoMomentum(base.FullLogits):
        def make_optimizer(self, config):
            return torch.optim.SGD(self.model.parameters(), config.learning_rate)

    monkeypatch.setitem(registry.VARIANTS, "plain", NoMomentum)
    registry.check_updates.cache_clear()
    with pytest.raises(ValueError, match="plain does not train as gptcore does"):
        registry.build("plain", wild(), batch()[0])


@pytest.mark.parametrize("name", [name for name in OWN if name != "gptcore"])
def test_variant_shares_the_weights_and_leaves_the_model_what_it_is(name):
    model = wild()
    kinds = [type(part) for part in model.modules()]
    other = registry.VARIANTS[name](model).model
    assert [type(part) for part in model.modules()] == kinds
    own = {key: weight.data_ptr() for key, weight in model.named_parameters()}
    assert {key: weight.data_ptr() for key, weight in other.named_parameters()} == own
    assert other.lm_head.weight is other.transformer.wte.weight


# --- each piece is gone


def test_every_ablation_of_the_suites_is_a_variant():
    others = {"gptcore", "transformers", "litgpt"}
    assert set(OWN) - others == set(registry.VARIANTS) - others


def largest_logits(monkeypatch, name):
    """Return the most rows that a loss was taken of at once."""
    seen = calls_of(monkeypatch, F, "cross_entropy")
    made = registry.VARIANTS[name](wild())
    made.step(made.make_optimizer(CONFIG), *batch())
    return max((args[0].numel() for args, _ in seen), default=0)


@pytest.mark.parametrize("name", OWN)
def test_all_logits_exist_at_once_only_without_the_chunked_loss(monkeypatch, name):
    whole = name in {"without-chunked-loss", "nanogpt-style", "plain"}
    assert largest_logits(monkeypatch, name) == (3 * 12 * WIDE.vocab_size if whole else 0)


@pytest.mark.parametrize("name", OWN)
def test_attention_is_written_out_only_without_sdpa(monkeypatch, name):
    seen = calls_of(monkeypatch, F, "scaled_dot_product_attention")
    registry.VARIANTS[name](wild()).logits(batch()[0])
    assert len(seen) == (0 if name in {"without-sdpa", "plain"} else WIDE.n_layer)


@pytest.mark.parametrize("name", OWN)
def test_products_are_separate_only_without_fused_qkv(monkeypatch, name):
    seen = calls_of(monkeypatch, F, "linear")
    registry.VARIANTS[name](wild()).logits(batch()[0])
    widths = [args[1].shape[0] for args, _ in seen]
    separate = name in {"without-fused-qkv", "plain"}
    assert widths.count(3 * WIDE.n_embd) == (0 if separate else WIDE.n_layer)


@pytest.mark.parametrize("name", OWN)
def test_gelu_is_made_again_in_backward_unless_it_is_kept(monkeypatch, name):
    seen = calls_of(monkeypatch, F, "gelu")  # which ours ends in where few numbers come
    made = registry.VARIANTS[name](wild())
    made.loss(*batch()).backward()
    kept = name in {"without-gelu-again", "nanogpt-style", "plain"}
    assert len(seen) == WIDE.n_layer * (1 if kept else 2)


@pytest.mark.parametrize("name", OWN)
def test_gelu_is_torchs_only_without_ours(monkeypatch, name):
    seen = calls_of(monkeypatch, model_module, "gelu")
    registry.VARIANTS[name](wild()).logits(batch()[0])
    gone = name in {"without-onednn-gelu", "nanogpt-style", "plain"}
    assert len(seen) == (0 if gone else WIDE.n_layer)


@pytest.mark.parametrize("name", OWN)
def test_gradient_of_the_embedding_is_dense_only_without_the_sparse_one(name):
    model = registry.VARIANTS[name](wild()).model
    # Not tied: the embedding's own gradient then arrives as it was made.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model(batch()[0]).sum().backward()
    dense = name in {"without-sparse-gradient", "nanogpt-style", "plain"}
    assert model.transformer.wte.weight.grad.is_sparse != dense


@pytest.mark.parametrize("name", OWN)
def test_adamw_is_a_loop_only_without_the_fused_one(name):
    made = registry.VARIANTS[name](wild())
    groups = made.make_optimizer(CONFIG).param_groups
    loops = name in {"without-fused-adamw", "plain"}
    assert all(g["fused"] is not loops and g["foreach"] is not True for g in groups)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]


@pytest.mark.parametrize("name", OWN)
def test_bf16_products_are_torchs_only_without_ours(monkeypatch, name):
    linear = calls_of(monkeypatch, bfloat16._Linear, "apply")
    attention = calls_of(monkeypatch, bfloat16._CausalAttention, "apply")
    made = registry.VARIANTS[name](wild())
    with autocast(torch.device("cpu"), "bf16"):
        made.loss(*batch())
    gone = name in {"without-bf16-products", "nanogpt-style", "plain"}
    of_a_layer = 6 if name == "without-fused-qkv" else 4
    assert len(linear) == (0 if gone else of_a_layer * WIDE.n_layer)
    assert len(attention) == (0 if gone or name == "without-sdpa" else WIDE.n_layer)


# --- what is not installed


def without_package(monkeypatch, package, error):
    original = builtins.__import__

    def load(name, *args, **options):
        if name.partition(".")[0] == package:
            raise error
        return original(name, *args, **options)

    monkeypatch.setattr(importlib, "import_module", lambda name: load(name))


@pytest.mark.parametrize("name", ["transformers", "litgpt"])
def test_missing_package_is_a_reason_with_a_remedy(monkeypatch, name):
    without_package(monkeypatch, name, ModuleNotFoundError("no", name=name))
    reason = registry.why_not(name)
    assert reason.startswith(f"{name} is not installed: ")
    assert "pip install" in reason
    assert "\n" not in reason


def test_package_that_breaks_when_imported_is_a_reason(monkeypatch):
    without_package(monkeypatch, "litgpt", RuntimeError("two\nlines"))
    assert "litgpt cannot be imported (two lines)" in registry.why_not("litgpt")
    without_package(monkeypatch, "litgpt", ModuleNotFoundError("no x", name="x"))
    assert "install its dependencies" in registry.why_not("litgpt")


def test_own_variants_need_nothing():
    assert [registry.why_not(name) for name in OWN] == [None] * len(OWN)


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant is 'faster': choose one of gptcore, "):
        registry.why_not("faster")


class FakeLitGPT(nn.Module):
    """A GPT with the parameter names, and the ways in, of litgpt."""

    def __init__(self, config):
        super().__init__()
        c = config.n_embd
        self.n_head = config.n_head
        layers = {"norm_1": nn.LayerNorm(c), "norm_2": nn.LayerNorm(c)}
        attn = nn.ModuleDict({"qkv": nn.Linear(c, 3 * c), "proj": nn.Linear(c, c)})
        wide = config.intermediate_size
        mlp = nn.ModuleDict({"fc": nn.Linear(c, wide), "proj": nn.Linear(wide, c)})
        block = nn.ModuleDict({**layers, "attn": attn, "mlp": mlp})
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.padded_vocab_size, c),
                "h": nn.ModuleList(copy.deepcopy(block) for _ in range(config.n_layer)),
                "ln_f": nn.LayerNorm(c),
            }
        )
        self.lm_head = nn.Linear(c, config.padded_vocab_size, bias=False)

    def forward(self, idx):
        x = self.transformer.wte(idx)
        for block in self.transformer.h:
            heads = block.attn.qkv(block.norm_1(x)).chunk(3, dim=-1)
            q, k, v = (h.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for h in heads)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + block.attn.proj(y.transpose(1, 2).flatten(2))
            wide = F.gelu(block.mlp.fc(block.norm_2(x)), approximate="tanh")
            x = x + block.mlp.proj(wide)
        return self.lm_head(self.transformer.ln_f(x))


@pytest.fixture
def fake_litgpt(monkeypatch):
    names = ("litgpt", "litgpt.config", "litgpt.model")
    package, config, model = (types.ModuleType(name) for name in names)
    config.Config, model.GPT = types.SimpleNamespace, FakeLitGPT
    for name, module in zip(names, (package, config, model), strict=True):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("fake_litgpt")
def test_weights_reach_litgpt_under_its_names_and_the_head_stays_tied():
    made = registry.build("litgpt", wild(), batch()[0])
    assert made.model.lm_head.weight is made.model.transformer.wte.tokens.weight
    assert sum(p.numel() for p in made.model.parameters()) == wild().n_params


@pytest.mark.usefixtures("fake_litgpt")
def test_litgpt_does_not_write_text_and_says_why():
    made = registry.VARIANTS["litgpt"](wild())
    with pytest.raises(ValueError, match="its embedding does not get positions"):
        made.decode(batch()[0], 2)


@pytest.mark.usefixtures("fake_litgpt")
@pytest.mark.parametrize("name", ["transformers", "litgpt"])
def test_peer_without_such_a_shape_is_refused_in_words(name):
    config = ModelConfig(vocab_size=9, block_size=4, n_layer=1, n_head=1, n_embd=4, mlp=False)
    with pytest.raises(ValueError, match=f"{name} has no model without positions or MLP"):
        registry.VARIANTS[name](GPT(config))
