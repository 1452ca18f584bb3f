import math

import numpy as np
import pytest
import torch

from gptcore.evaluation.losses import count_losses, evaluate, sweep_losses
from gptcore.intervals import LEAST_TARGETS, POPULATION, difference_interval, mean_interval
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.loss import token_losses

CPU = torch.device("cpu")
CONFIG = ModelConfig(vocab_size=31, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.3)


@pytest.fixture
def model() -> GPT:
    model = GPT(CONFIG)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # so that losses differ from token to token
    return model


def text(n_tokens: int) -> torch.Tensor:
    return torch.randint(31, (n_tokens,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n_tokens", [9, 10, 13, 16, 17, 30, 33])
@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_each_target_is_scored_once_from_the_first_window_that_has_it(model, n_tokens, stride):
    ids = text(n_tokens)
    losses = sweep_losses(model, ids, block_size=8, batch_size=3, device=CPU, stride=stride)
    model.eval()
    last = n_tokens - 9
    starts = [*range(0, last, stride), last]
    expected = []
    for target in range(1, n_tokens):
        start = next(start for start in starts if start < target <= start + 8)
        context = ids[start:target]
        expected.append(
            token_losses(model, context[None], ids[start + 1 : target + 1][None])[0, -1]
        )
    # float32, in batches of another shape.
    torch.testing.assert_close(losses, torch.stack(expected).detach(), atol=1e-4, rtol=0)


def test_half_a_block_is_the_default_stride(model):
    ids = text(50)
    default = sweep_losses(model, ids, block_size=8, device=CPU)
    assert torch.equal(default, sweep_losses(model, ids, block_size=8, device=CPU, stride=4))


def test_loss_and_bits_per_byte_are_those_of_the_sweep(model):
    ids = text(100)
    result = evaluate(model, ids, block_size=8, device=CPU, n_bytes=250)
    losses = sweep_losses(model, ids, block_size=8, device=CPU).double()
    assert result.n_targets == 99
    assert result.loss_nats_per_token == losses.mean().item()
    # The same sum, divided in another order.
    assert result.bits_per_byte == pytest.approx(losses.sum().item() / math.log(2) / 250, rel=1e-12)


def test_without_bytes_there_are_no_bits_per_byte(model):
    assert evaluate(model, text(20), block_size=8, device=CPU, n_bytes=None).bits_per_byte is None


def test_several_texts_have_one_interval_which_says_what_it_is_about(model):
    texts = [text(500), text(300)]
    result = evaluate(model, texts, block_size=8, device=CPU, n_bytes=None)
    losses = [sweep_losses(model, ids, block_size=8, device=CPU) for ids in texts]
    assert result.interval_95 == mean_interval(torch.cat(losses).double().numpy())
    assert result.interval_95[0] < result.loss_nats_per_token < result.interval_95[1]
    assert (result.interval_reason, result.interval_population) == (None, POPULATION)


def test_the_loss_is_compared_with_a_baseline_on_the_same_targets(model):
    texts = [text(500), text(300)]
    baseline = count_losses([text(90).numpy()], [ids.numpy() for ids in texts], 31)
    result = evaluate(model, texts, block_size=8, device=CPU, n_bytes=None, baseline=baseline)
    losses = torch.cat([sweep_losses(model, ids, block_size=8, device=CPU) for ids in texts])
    assert result.baseline_loss_nats_per_token == pytest.approx(baseline.mean())
    assert result.difference_nats_per_token == pytest.approx(
        losses.double().mean() - baseline.mean()
    )
    assert result.difference_interval_95 == difference_interval(losses.double().numpy(), baseline)


def test_token_counts_with_one_added_give_the_loss_of_each_target():
    losses = count_losses(
        [np.array([0, 0, 1]), np.array([1])], [np.array([2, 0]), np.array([0])], 3
    )
    assert losses == pytest.approx([-math.log(3 / 7)])


def test_a_short_text_has_no_interval_and_says_why(model):
    short, enough = (
        evaluate(model, text(n), block_size=8, device=CPU, n_bytes=None)
        for n in (LEAST_TARGETS, LEAST_TARGETS + 1)  # the first token is no target
    )
    assert short.interval_95 is None
    assert short.interval_reason == (
        f"the text has {LEAST_TARGETS - 1} targets, which are too few to show how far its parts "
        f"differ: score at least {LEAST_TARGETS}"
    )
    assert enough.interval_95 is not None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_model_is_refused(model, value):
    with torch.no_grad():
        model.lm_head.weight[3] = value
    with pytest.raises(ValueError, match=r"loss is not finite.*use another checkpoint"):
        evaluate(model, text(20), block_size=8, device=CPU, n_bytes=None)


def test_bf16_changes_the_loss_a_little(model):
    exact, low = (
        evaluate(model, text(60), block_size=8, device=CPU, n_bytes=None, precision=precision)
        for precision in ("fp32", "bf16")
    )
    difference = abs(exact.loss_nats_per_token - low.loss_nats_per_token)
    # bfloat16 keeps 8 bits: single losses near 30 are off by some tenths, their mean by less.
    assert 0 < difference < 0.3


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_of_the_model_kept(model, training):
    model.train(training)
    first, second = (sweep_losses(model, text(40), block_size=8, device=CPU) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training is training


def test_the_mode_of_the_model_is_kept_when_scoring_fails(model):
    with pytest.raises(ZeroDivisionError):
        sweep_losses(model, text(40), block_size=8, device=CPU, on_batch=lambda *_: 1 / 0)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": text(8)}, r"shape \(8,\).*more than block_size = 8"),
        ({"ids": text(20)[None]}, r"shape \(1, 20\)"),
        ({"ids": text(20).float()}, "torch.float32"),
        ({"ids": text(20) + 1}, r"must be in \[0, 31\): encode the text with"),
        ({"ids": text(20) - 2}, r"must be in \[0, 31\): encode the text with"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_size": 9}, "block_size = 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n_bytes": 0}, "n_bytes is 0"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
    ],
)
def test_evaluate_refuses(model, arguments, message):
    given = {"ids": text(60), "block_size": 8, "n_bytes": 1} | arguments
    with pytest.raises(ValueError, match=message):
        evaluate(model, given.pop("ids"), device=CPU, **given)


def test_a_stride_that_skips_targets_is_refused(model):
    with pytest.raises(ValueError, match="stride is 9"):
        sweep_losses(model, text(60), block_size=8, device=CPU, stride=9)


def test_progress_counts_every_batch_once():
    seen = []
    sweep_losses(
        GPT(ModelConfig(vocab_size=11, block_size=8, n_layer=1, n_head=1, n_embd=8)),
        torch.arange(50) % 11,
        block_size=8,
        batch_size=2,
        device=torch.device("cpu"),
        on_batch=lambda done, total: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, total in seen} == {len(seen)}
