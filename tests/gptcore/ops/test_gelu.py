"""GELU through oneDNN: the numbers of torch's own, where it is used and where it is not."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from bench.variants import registry
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.ops import gelu as gelu_module
from gptcore.ops.gelu import gelu


def torchs(x):
    return F.gelu(x, approximate="tanh")


def draw(*shape, dtype=torch.float32, scale=3.0):
    x = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.to(dtype)


@pytest.fixture
def few(monkeypatch):
    """A tensor of any size is large."""
    monkeypatch.setattr(gelu_module, "MIN_NUMEL", 1)


@pytest.fixture
def taken(monkeypatch):
    """Return a list that grows by what oneDNN's GELU is applied to."""
    seen, original = [], gelu_module._Gelu.apply
    monkeypatch.setattr(gelu_module._Gelu, "apply", lambda x: (seen.append(x), original(x))[1])
    return seen


fast = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512")
    or not torch.backends.mkldnn.is_available()
    or not hasattr(torch.backends.mkldnn, "matmul"),
    reason="this torch (before 2.9?) or this processor has no vectorised oneDNN",
)


@fast
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64,), (3, 32), (2, 5, 64)])
def test_numbers_and_gradients_are_those_of_torch(taken, dtype, shape):
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 in oneDNN")
    x, grad = draw(*shape, dtype=dtype).requires_grad_(), draw(*shape, dtype=dtype)
    out = gelu(x)
    assert len(taken) == 1
    assert (out.shape, out.dtype) == (shape, dtype)
    exact = torchs(x.double())
    # Of numbers up to 12: float32 is off by a few units of the last of its 24 bits, or of its 8.
    unit = 2**-24 if dtype == torch.float32 else 2**-8
    assert (out - exact).abs().max() <= 12 * unit
    ours, theirs = (torch.autograd.grad(f, x, grad)[0] for f in (out, torchs(x)))
    assert torch.equal(ours, theirs)


@fast
@pytest.mark.usefixtures("few")
def test_every_bit_of_a_number_takes_part(taken):
    """The identity must not round: steps of 2^-20 beside 1 are seen."""
    x = 1 + torch.arange(64) * 2**-20
    assert len(gelu(x).unique()) == 64
    assert taken


@fast
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_and_tiny_numbers(dtype):
    sizes = [0, 1e-45, 1e-30, 1e-3, 1, 50, 1e4, 1e15, 1e20, 3e38, 7, 9, 11, 13, 15, 17]
    x = torch.tensor([*sizes, *(-size for size in sizes)]).to(dtype)
    torch.testing.assert_close(gelu(x), torchs(x))


@fast
@pytest.mark.usefixtures("few")
def test_second_derivative_is_torchs():
    x = draw(4, 16).requires_grad_()
    second = []
    for function in (gelu, torchs):
        (first,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.sum(), x)[0])
    torch.testing.assert_close(*second)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "x",
    [
        draw(3, 5),  # not a whole number of lines
        draw(32, 32).t(),
        draw(64).double(),
        draw(64).half(),
        torch.empty(64, device="meta"),
    ],
    ids=["odd", "transposed", "float64", "float16", "meta"],
)
def test_elsewhere_it_is_torchs_bit_by_bit(taken, x):
    result = gelu(x)
    assert x.is_meta or torch.equal(result, torchs(x))
    assert not taken


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precision_that_would_round_the_inputs_is_not_used(taken, precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        gelu(draw(64))
    finally:
        torch.set_float32_matmul_precision(before)
    assert not taken


@fast
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("switch", ["matmul", "onednn", "all"])
def test_precision_set_by_newer_switches_counts_too(taken, switch):
    """They make the older one raise when read."""
    onednn = torch.backends.mkldnn
    switch = {"matmul": onednn.matmul, "onednn": onednn, "all": torch.backends}[switch]
    own, onednn.matmul.fp32_precision = onednn.matmul.fp32_precision, "none"  # as others say
    before, switch.fp32_precision = switch.fp32_precision, "bf16"
    try:
        gelu(draw(64))
    finally:
        switch.fp32_precision = before
        onednn.matmul.fp32_precision = own
    assert not taken


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("lack", ["capability", "oneDNN", "enabled", "switch"])
def test_processor_or_build_that_lacks_it_takes_torchs(monkeypatch, taken, lack):
    if lack == "capability":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    else:
        onednn = SimpleNamespace(is_available=lambda: lack != "oneDNN", enabled=lack != "enabled")
        if lack != "switch":  # as before torch 2.9
            onednn.matmul = SimpleNamespace(fp32_precision="none")
        monkeypatch.setattr(torch.backends, "mkldnn", onednn)
    assert torch.equal(gelu(draw(64)), torchs(draw(64)))
    assert not taken


def test_few_numbers_take_torchs(taken):
    gelu(draw(8, 64))
    assert not taken


@pytest.mark.usefixtures("few")
def test_compiled_model_has_torchs(taken):
    torch.compiler.reset()
    model = GPT(ModelConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16))
    model.compile(backend="eager")
    assert math.isfinite(model(torch.zeros(2, 8, dtype=torch.int64)).sum().item())
    assert not taken


@fast
@pytest.mark.usefixtures("few")
def test_model_uses_it_once_forward_and_again_in_backward(taken):
    model = GPT(ModelConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16))
    model(torch.zeros(2, 8, dtype=torch.int64)).sum().backward()
    assert len(taken) == 2


@fast
def test_check_before_timing_takes_it(monkeypatch):
    """Comparisons train a small model first; a wrong GELU of large ones must not pass there."""
    monkeypatch.setattr(gelu_module._Gelu, "apply", lambda x: 1.02 * torchs(x))
    with pytest.raises(ValueError, match="does not train as gptcore does"):
        registry.check_updates.__wrapped__("without-onednn-gelu")
