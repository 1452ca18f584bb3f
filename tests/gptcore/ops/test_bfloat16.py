"""Products and attention in bfloat16 on a CPU: what torch's own compute, no less exactly."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.ops import bfloat16
from gptcore.ops.bfloat16 import Linear, linear, matmul, scaled_dot_product_attention

SMALL = ModelConfig(vocab_size=97, block_size=16, n_layer=2, n_head=2, n_embd=16)


def draw(*shape, scale=1.0, seed=0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def off_by(result, exact):
    """Return the norm of the error over that of `exact`."""
    return ((result.double() - exact).norm() / exact.norm()).item()


@pytest.fixture
def low():
    """bfloat16 autocast on the CPU."""
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.fixture
def pieces(monkeypatch):
    """Products of more than 4 rows are made of 3 columns at a time, whatever the machine has."""
    monkeypatch.setattr(bfloat16, "MANY_ROWS", 4)
    monkeypatch.setattr(bfloat16, "COLUMNS_A_THREAD", 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def products_of(monkeypatch):
    """Return a list that grows by the shape of each product's result."""
    shapes, original = [], torch.mm

    def spy(a, b, **options):
        result = original(a, b, **options)
        shapes.append(tuple(result.shape))
        return result

    monkeypatch.setattr(torch, "mm", spy)
    return shapes


# --- products


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("columns", [1, 3, 4, 8])
@pytest.mark.parametrize("has_out", [False, True])
def test_product_in_pieces_is_the_product(columns, has_out):
    a, b = draw(5, 8).bfloat16(), draw(columns, 8, seed=1).bfloat16().t()
    out = torch.full((5, columns), math.nan, dtype=torch.bfloat16) if has_out else None
    product = matmul(a, b, out)
    assert product is out or not has_out
    # bfloat16 keeps 8 bits: one rounding of the exact sum, which may fall to either side.
    torch.testing.assert_close(product, (a.double() @ b.double()).bfloat16(), atol=0, rtol=2**-7)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    ("rows", "dtype", "expected"),
    [
        (4, torch.bfloat16, [(4, 7)]),
        (5, torch.bfloat16, [(5, 3), (5, 3), (5, 1)]),
        (5, torch.float32, [(5, 7)]),
    ],
)
def test_only_many_rows_in_bfloat16_come_in_pieces(monkeypatch, rows, dtype, expected):
    shapes = products_of(monkeypatch)
    matmul(torch.ones(rows, 8, dtype=dtype), torch.ones(8, 7, dtype=dtype))
    assert shapes == expected


def test_pieces_grow_with_the_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    shapes = products_of(monkeypatch)
    matmul(torch.ones(1024, 8, dtype=torch.bfloat16), torch.ones(8, 2048, dtype=torch.bfloat16))
    assert shapes == [(1024, 2048)]


# --- linear layers


def passes(function, x, weight, bias, grad):
    """Return the output and the gradients of its arguments."""
    inputs = [t.clone().requires_grad_() for t in (x, weight, bias)]
    out = function(*inputs)
    return [out, *torch.autograd.grad(out, inputs, grad.to(out.dtype))]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 8), (1, 2, 2, 8)])
def test_linear_layer_is_as_exact_as_torchs(low, shape):
    x, weight, bias = draw(*shape), draw(7, 8, seed=1), draw(7, seed=2)
    grad = draw(*shape[:-1], 7, seed=3)
    own = passes(linear, x, weight, bias, grad)
    torchs = passes(F.linear, x, weight, bias, grad)
    with torch.autocast("cpu", enabled=False):
        exact = passes(F.linear, *(t.double() for t in (x, weight, bias, grad)))
    assert [t.dtype for t in own] == [torch.bfloat16, *[torch.float32] * 3]
    for ours, theirs, truth in zip(own, torchs, exact, strict=True):
        assert ours.shape == theirs.shape
        # Inputs and results are rounded alike; the bias is added after one rounding more.
        assert off_by(ours, truth) <= 1.5 * off_by(theirs, truth) + 1e-4
        assert off_by(ours, truth) < 0.01


def test_bf16_inputs_keep_their_type(low):
    x = draw(6, 8).bfloat16().requires_grad_()
    linear(x, draw(7, 8), draw(7)).sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_linear_layer_elsewhere_is_torchs_bit_by_bit(monkeypatch):
    layer, x = Linear(8, 7), draw(6, 8)
    monkeypatch.delattr(bfloat16, "_Linear")
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.float16):
        assert layer(x).dtype == torch.float16
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert layer.to("meta")(torch.empty(6, 8)).shape == (6, 7)


def test_linear_layer_without_gradients(low):
    layer, x = Linear(8, 7), draw(6, 8)
    with torch.no_grad():
        out = layer(x)
        assert off_by(out, F.linear(*(t.double() for t in (x, layer.weight, layer.bias)))) < 0.01
    assert not out.requires_grad


# --- attention


def attention_gradients(function, q, k, v, grad):
    inputs = [t.clone().requires_grad_() for t in (q, k, v)]
    out = function(*inputs, is_causal=True)
    return [out, *torch.autograd.grad(out, inputs, grad)]


@pytest.mark.parametrize("n_tokens", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("scale", [0.1, 1, 8])
@pytest.mark.parametrize("width", [4, 5])
def test_attention_is_about_as_exact_as_torchs(monkeypatch, n_tokens, scale, width):
    """At scale 8 scores reach 200, where bfloat16 numbers lie 1 apart."""
    monkeypatch.setattr(bfloat16, "QUERY_BLOCK", 4)
    shape = (2, n_tokens, 3, width)  # as the model has them: heads beside each other
    q, k, v, grad = (
        draw(*shape, scale=s, seed=i).bfloat16().transpose(1, 2)
        for i, s in enumerate((scale, scale, 1, 1))
    )
    own = attention_gradients(scaled_dot_product_attention, q, k, v, grad)
    torchs = attention_gradients(F.scaled_dot_product_attention, q, k, v, grad)
    exact = attention_gradients(
        F.scaled_dot_product_attention, *(t.double() for t in (q, k, v, grad))
    )
    for ours, theirs, truth in zip(own, torchs, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert ours.shape == truth.shape
        # Where a score takes all, the gradient by scores vanishes, and rounding is what is left.
        norm = max(truth.norm().item(), max(scale, 1) * grad.double().norm().item() / 16)
        error, reference = ((t.double() - truth).norm().item() / norm for t in (ours, theirs))
        assert error <= 2.5 * reference + 2**-9


def test_rows_of_attention_come_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(bfloat16, "QUERY_BLOCK", 4)
    sizes, original = [], torch.Tensor.exp_
    monkeypatch.setattr(
        torch.Tensor, "exp_", lambda x: (sizes.append(tuple(x.shape)), original(x))[1]
    )
    q = draw(2, 3, 11, 4).bfloat16().requires_grad_()
    scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
    assert sizes == [(6, 3, 11), (6, 4, 8), (6, 4, 4)]


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.float32, {"is_causal": True}),
        (torch.bfloat16, {"is_causal": False}),
        (torch.bfloat16, {"attn_mask": torch.ones(5, 5, dtype=torch.bool).tril()}),
    ],
)
def test_other_attention_is_torchs_bit_by_bit(monkeypatch, dtype, options):
    monkeypatch.delattr(bfloat16, "_CausalAttention")
    q, k, v = (draw(2, 3, 5, 4, seed=i).to(dtype) for i in range(3))
    result = scaled_dot_product_attention(q, k, v, **options)
    assert torch.equal(result, F.scaled_dot_product_attention(q, k, v, **options))


def test_dropout_in_attention_is_torchs(monkeypatch):
    monkeypatch.delattr(bfloat16, "_CausalAttention")
    q = torch.ones(1, 1, 64, 4, dtype=torch.bfloat16)
    torch.manual_seed(0)
    own = scaled_dot_product_attention(q, q, q, dropout_p=0.5, is_causal=True)
    torch.manual_seed(0)
    theirs = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5, is_causal=True)
    assert torch.equal(own, theirs)
    assert own.unique().numel() > 2  # without dropout all are 1


@pytest.mark.parametrize("function", ["attention", "linear"])
def test_second_derivative_is_refused_not_wrong(low, function):
    x = draw(1, 2, 5, 4).bfloat16().requires_grad_()
    if function == "attention":
        out = scaled_dot_product_attention(x, x, x, is_causal=True)
    else:
        out = linear(x, draw(7, 4), draw(7))
    (gradient,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# --- the whole model


def model_gradients(precision, *, recompute=False, compiler=None):
    model = GPT(SMALL)
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.add_(draw(*weight.shape, scale=0.2, seed=i))
    model.transformer.recompute = recompute
    if compiler:
        model.transformer.compile(backend=compiler)
    ids = torch.randint(97, (3, 17), generator=torch.Generator().manual_seed(9))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logits = model.train()(ids[:, :-1])
    F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten()).backward()
    return {name: p.grad.double() for name, p in model.named_parameters()}


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"compiler": "eager"}])
def test_gradients_of_the_model_are_those_of_fp32_but_for_rounding(options):
    low = model_gradients("bf16", **options)
    for name, exact in model_gradients("fp32").items():
        # 8 bits through two layers; keys' biases move all scores of a row alike: no gradient.
        assert off_by(low[name], exact) < 0.05, name


def test_compiled_model_makes_torchs_products(monkeypatch):
    monkeypatch.delattr(bfloat16, "_Linear")
    monkeypatch.delattr(bfloat16, "_CausalAttention")
    torch.compiler.reset()
    assert model_gradients("bf16", compiler="eager")
