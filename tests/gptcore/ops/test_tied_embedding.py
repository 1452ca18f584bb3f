"""The gradient of a matrix at both ends is the sum of the two, however backward is called."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.ops import cross_entropy as cross_entropy_ops
from gptcore.ops.cross_entropy import cross_entropy, linear_cross_entropy

CONFIG = ModelConfig(vocab_size=31, block_size=8, n_layer=1, n_head=2, n_embd=8)


def wild():
    model = GPT(CONFIG).double()
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=draws))
    return model


def batch(seed=0):
    ids = torch.randint(31, (3, 9), generator=torch.Generator().manual_seed(seed))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def expected(*seeds, scale=1.0):
    """Return the matrix's gradient of the summed losses, by torch's own operations alone."""
    model = wild()
    for seed in seeds:
        inputs, targets = batch(seed)
        x = F.embedding(inputs, model.transformer.wte.weight)
        x = x + model.transformer.wpe.weight
        for block in model.transformer.h:
            x = block(x)
        logits = F.linear(model.transformer.ln_f(x), model.lm_head.weight)
        (scale * cross_entropy(logits, targets)).backward()
    return model.lm_head.weight.grad


def check(model, gradient):
    tied = model.lm_head.weight.grad
    assert not tied.is_sparse
    torch.testing.assert_close(tied, gradient, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_gradient_is_the_sum_of_both_ends(scale):
    model = wild()
    (scale * next_token_loss(model, *batch())).backward()
    check(model, expected(0, scale=scale))


def test_gradients_of_batches_accumulate():
    model = wild()
    for seed in (0, 1):
        next_token_loss(model, *batch(seed)).backward()
    check(model, expected(0, 1))


def test_losses_of_two_batches_at_once():
    model = wild()
    sum(next_token_loss(model, *batch(seed)) for seed in (0, 1)).backward()
    check(model, expected(0, 1))


def test_two_losses_of_the_same_tokens():
    model, (inputs, targets) = wild(), batch()
    (hidden, waiting), weight = model.transformer(inputs), model.lm_head.weight
    losses = [linear_cross_entropy(hidden, weight, t, waiting) for t in (targets, targets)]
    (losses[0] + losses[1]).backward()
    check(model, expected(0, 0))


def test_second_backward_of_the_same_graph():
    model = wild()
    loss = next_token_loss(model, *batch())
    loss.backward(retain_graph=True)
    loss.backward()
    check(model, expected(0, 0))


@pytest.mark.parametrize("reaches_the_head", [True, False])
def test_what_another_pass_left_is_not_added(reaches_the_head):
    model, (inputs, targets) = wild(), batch()
    hidden, waiting = model.transformer(inputs)
    loss = linear_cross_entropy(hidden, model.lm_head.weight, targets, waiting)
    torch.autograd.grad(loss, hidden, retain_graph=True)  # does not reach the embedding
    if reaches_the_head:
        loss.backward()
        check(model, expected(0))
    else:
        hidden.sum().backward()
        grad = model.lm_head.weight.grad
        another = wild()
        another.hidden(inputs).sum().backward()
        torch.testing.assert_close(grad.to_dense(), another.lm_head.weight.grad.to_dense())


@pytest.mark.parametrize("names", [["lm_head"], ["lm_head", "transformer.wpe"]])
def test_gradients_of_some_parameters_alone(names):
    model = wild()
    parameters = [model.get_submodule(name).weight for name in names]
    gradient, *_ = torch.autograd.grad(next_token_loss(model, *batch()), parameters)
    torch.testing.assert_close(gradient, expected(0), atol=1e-12, rtol=1e-9)


def test_channels_cut_from_their_graph_leave_the_head_its_gradient():
    model, (inputs, targets) = wild(), batch()
    hidden, waiting = model.transformer(inputs)
    linear_cross_entropy(hidden.detach_(), model.lm_head.weight, targets, waiting).backward()
    weight = model.lm_head.weight.detach().requires_grad_()
    cross_entropy(F.linear(hidden, weight), targets).backward()
    check(model, weight.grad)


def test_matrix_that_is_not_the_embedding_gets_its_own_gradient():
    model, (inputs, targets) = wild(), batch()
    head = model.lm_head.weight.detach().clone().requires_grad_()
    hidden, waiting = model.transformer(inputs)
    linear_cross_entropy(hidden, head, targets, waiting).backward()
    own = model.transformer.wte.weight.grad.to_dense()
    torch.testing.assert_close(own + head.grad, expected(0), atol=1e-12, rtol=1e-9)


def test_without_the_place_to_wait_torch_adds_the_gradients():
    model, (inputs, targets) = wild(), batch()
    linear_cross_entropy(model.hidden(inputs), model.lm_head.weight, targets).backward()
    check(model, expected(0))


def test_gradient_is_the_heads_own_memory(monkeypatch):
    made, original = [], cross_entropy_ops.chunked_losses

    def spy(*args):
        result = original(*args)
        made.append(result[2].data_ptr())
        return result

    monkeypatch.setattr(cross_entropy_ops, "chunked_losses", spy)
    model = wild()
    next_token_loss(model, *batch()).backward()
    assert made == [model.lm_head.weight.grad.data_ptr()]
