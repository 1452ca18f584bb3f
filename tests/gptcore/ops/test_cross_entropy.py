import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss, token_losses
from gptcore.ops import cross_entropy as cross_entropy_ops
from gptcore.ops.cross_entropy import IGNORE_INDEX, cross_entropy, linear_cross_entropy

CONFIG = ModelConfig(vocab_size=11, block_size=5, n_layer=1, n_head=1, n_embd=8)


def test_loss_is_minus_the_log_probability_of_the_target():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    loss = cross_entropy(logits, torch.tensor([[1, 2]]))
    # float32 rounds the logarithms.
    assert float(loss) == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2, rel=1e-6)


def test_loss_of_low_precision_logits_is_float32():
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.tensor([[0, 1, 2], [3, 4, 5]])
    loss = cross_entropy(logits, targets)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(logits.float(), targets))


def test_mean_of_token_losses_is_the_loss():
    idx = torch.arange(12).view(2, 6) % 11
    model, inputs, targets = GPT(CONFIG), idx[:, :-1], idx[:, 1:]
    losses = token_losses(model, inputs, targets)
    assert losses.shape == (2, 5)
    # The same ten float32 numbers, added in another order.
    torch.testing.assert_close(losses.mean(), next_token_loss(model, inputs, targets))


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"targets are \(2, 2\) and logits \(2, 3, 7\)"):
        cross_entropy(torch.zeros(2, 3, 7), torch.zeros(2, 2, dtype=torch.int64))


# --- the head and the cross-entropy at once


@pytest.fixture
def small_chunks(monkeypatch):
    """Two tokens to a chunk of float32 logits over 13 ids, one to a block."""
    monkeypatch.setattr(cross_entropy_ops, "CHUNK_BYTES", 2 * 13 * 4)
    monkeypatch.setattr(cross_entropy_ops, "BLOCK_BYTES", 13 * 4)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("is_bf16", "rows"), [(False, [2] * 7 + [1]), (True, [4] * 3 + [3])])
def test_chunks_have_so_many_bytes_in_any_precision(monkeypatch, is_bf16, rows):
    seen, original = [], cross_entropy_ops.score_logits

    def spy(logits, *args, **options):
        seen.append(len(logits))
        return original(logits, *args, **options)

    monkeypatch.setattr(cross_entropy_ops, "score_logits", spy)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        linear_cross_entropy(*case())
    assert seen == rows


def case(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hidden (3, 5, 8), weight (13, 8) and targets (3, 5), two of them ignored."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 5, 8, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(13, 8, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(13, (3, 5), generator=generator)
    targets[0, 2] = targets[2, 4] = IGNORE_INDEX
    return hidden, weight, targets


def plain(hidden, weight, targets):
    return cross_entropy(hidden @ weight.t(), targets)


def results(function, hidden, weight, targets, upstream=1.0):
    loss = function(hidden, weight, targets)
    return loss.detach(), *torch.autograd.grad(loss * upstream, (hidden, weight))


@pytest.mark.parametrize("upstream", [1.0, -2.5])
@pytest.mark.parametrize("chunked", [True, False])
def test_fused_loss_and_gradients_equal_the_plain_ones(request, chunked, upstream):
    if chunked:
        request.getfixturevalue("small_chunks")
    fused = results(linear_cross_entropy, *case(), upstream)
    for ours, expected in zip(fused, results(plain, *case(), upstream), strict=True):
        # float32 sums of numbers near 1, in another order.
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_ids", [5, 16, 1000, 50257])
def test_losses_and_gradients_are_made_in_place_bit_by_bit(monkeypatch, dtype, n_ids):
    """torch does not promise that a softmax may overwrite its input."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, n_ids, generator=generator, dtype=dtype)
    targets = torch.randint(n_ids, (40,), generator=generator)
    log_p = logits.log_softmax(-1)
    monkeypatch.setattr(torch.Tensor, "copy_", None)  # nothing is made elsewhere
    losses = cross_entropy_ops.score_logits(logits, targets, make_gradient=True)
    assert torch.equal(losses, -log_p[torch.arange(40), targets])
    log_p.exp_()[torch.arange(40), targets] -= 1
    assert torch.equal(logits, log_p)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("device", "n_blocks"), [("cpu", 3), ("meta", 1)])
def test_only_the_cpu_divides_a_chunk_into_blocks_for_its_cache(monkeypatch, device, n_blocks):
    """Each block is several kernels, which an accelerator starts one after another."""
    monkeypatch.setattr(cross_entropy_ops, "BLOCK_BYTES", 2 * 5 * 4)
    seen, original = [], torch.nn.functional.nll_loss

    def spy(log_p, *arguments, **options):
        seen.append(log_p.shape)
        return original(log_p, *arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "nll_loss", spy)
    logits, targets = torch.zeros(6, 5, device=device), torch.zeros(6, dtype=int, device=device)
    losses = cross_entropy_ops.score_logits(logits, targets, make_gradient=True)
    assert losses.shape == (6,)
    assert len(seen) == n_blocks


def test_fused_gradients_pass_gradcheck():
    hidden, weight, targets = case(torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w: linear_cross_entropy(h, w, targets), (hidden, weight)
    )


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_fused_loss_makes_only_the_gradients_asked_for(wanted):
    hidden, weight, targets = case()
    _, by_hidden, by_weight = results(plain, hidden, weight, targets)
    hidden, weight = (
        t.detach().requires_grad_(w) for t, w in zip((hidden, weight), wanted, strict=True)
    )
    linear_cross_entropy(hidden, weight, targets).backward()
    for tensor, expected, is_wanted in zip(
        (hidden, weight), (by_hidden, by_weight), wanted, strict=True
    ):
        if is_wanted:
            torch.testing.assert_close(tensor.grad, expected, atol=1e-6, rtol=1e-6)
        else:
            assert tensor.grad is None


def test_fused_gradients_accumulate_over_backward_passes():
    hidden, weight, targets = case()
    _, *once = results(linear_cross_entropy, hidden, weight, targets)
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    linear_cross_entropy(hidden, weight, targets).backward()
    for tensor, grad in zip((hidden, weight), once, strict=True):
        torch.testing.assert_close(tensor.grad, 3 * grad)


def test_a_weight_that_is_embedding_and_head_gets_both_gradients():
    _, weight, targets = case()
    ids = targets.clamp(min=0)
    gradients = []
    for function in (linear_cross_entropy, plain):
        loss = function(torch.tanh(weight[ids]), weight, targets)
        gradients.append(torch.autograd.grad(loss, weight)[0])
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-6)  # float32, another order of sums


def test_without_gradients_the_fused_loss_is_the_same_number():
    hidden, weight, targets = case()
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad
    assert torch.equal(loss, linear_cross_entropy(hidden, weight, targets).detach())


def test_ignored_targets_change_no_gradient():
    hidden, weight, targets = case()
    _, by_hidden, _ = results(linear_cross_entropy, hidden, weight, targets)
    assert not by_hidden[targets == IGNORE_INDEX].any()
    assert by_hidden[targets != IGNORE_INDEX].any(-1).all()


def test_the_loss_of_an_ignored_token_is_zero():
    model, idx = GPT(CONFIG), torch.arange(5)[None]
    losses = token_losses(model, idx, torch.tensor([[1, IGNORE_INDEX, 3, 4, 5]]))
    assert (losses == 0).tolist() == [[False, True, False, False, False]]


@pytest.mark.parametrize("chunked", [True, False])
def test_under_autocast_the_products_are_bf16_and_the_results_float32(request, chunked):
    if chunked:
        request.getfixturevalue("small_chunks")
    hidden, weight, targets = case()
    exact = results(plain, hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets)
        logits = hidden @ weight.t()
    loss.backward()
    low = (loss.detach(), hidden.grad, weight.grad)
    assert {t.dtype for t in low} == {torch.float32}
    # The same bfloat16 logits, scored in float32.
    assert logits.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(cross_entropy(logits, targets).item(), abs=1e-6)
    for ours, expected in zip(low, exact, strict=True):
        # bfloat16 keeps 8 bits; logits reach 8, so probabilities are off by some per cent.
        assert 0 < (ours - expected).norm() < 0.03 * expected.norm()


def test_a_second_derivative_is_refused():
    hidden, weight, targets = case()
    loss = linear_cross_entropy(hidden, weight, targets)
    with pytest.raises(ValueError, match=r"no second derivative.*cross_entropy\(model\(inputs\)"):
        torch.autograd.grad(loss, hidden, create_graph=True)


@pytest.mark.usefixtures("small_chunks")
def test_no_tensor_holds_all_logits():
    hidden, weight, targets = case()
    with TensorSizes() as sizes:
        linear_cross_entropy(hidden, weight, targets).backward()
    assert max(sizes.largest) <= max(2 * 13, 3 * 5 * 8)  # a chunk of logits, or the hidden state
    with TensorSizes() as sizes:
        plain(hidden, weight, targets).backward()
    assert max(sizes.largest) == 3 * 5 * 13


class TensorSizes(TorchDispatchMode):
    """Notes the number of elements of everything that an operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.largest: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.largest += [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        return out


def test_fused_loss_refuses_targets_of_another_shape():
    hidden, weight, targets = case()
    with pytest.raises(ValueError, match=r"targets are \(2, 5\).*output \(3, 5, 8\)"):
        linear_cross_entropy(hidden, weight, targets[:2])


def test_a_target_outside_the_vocabulary_is_refused():
    hidden, weight, targets = case()
    targets[1, 1] = 13
    with pytest.raises(IndexError, match="13"):
        linear_cross_entropy(hidden, weight, targets)
