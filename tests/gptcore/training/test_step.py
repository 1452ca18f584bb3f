import math
from dataclasses import replace

import pytest
import torch

from gptcore.devices import supported_precisions
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.ops.cross_entropy import IGNORE_INDEX, cross_entropy
from gptcore.training.compiling import prepare
from gptcore.training.config import COMPILERS, TrainConfig
from gptcore.training.step import accumulated_step, make_optimizer, train_step
from tests.helpers.counting import CONFIG, CPU, MODEL, batch_at

# --- config and schedule


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", True),
        ("block_size", 8.0),
        ("learning_rate", 0),
        ("learning_rate", math.inf),
        ("min_learning_rate_ratio", 1.5),
        ("warmup_steps", -1),
        ("warmup_steps", 11),
        ("weight_decay", math.nan),
        ("beta1", 1),
        ("beta2", -0.1),
        ("grad_clip", 0),
        ("grad_clip", True),
        ("schedule", "linear"),
        ("decay_share", 0),
        ("micro_batch_size", 0),
        ("micro_batch_size", 3),
        ("ema_decay", 1),
        ("precision", "fp16"),
        ("compile", "gcc"),
        ("recompute", 1),
        ("seed", -1),
    ],
)
def test_config_refuses_in_one_line_a_wrong(field, value):
    with pytest.raises(ValueError, match=rf"^{field} is {value!r}[;:] .*$"):
        replace(CONFIG, **{field: value})


def test_learning_rate_warms_up_linearly_and_falls_as_a_cosine():
    config = TrainConfig(steps=14, warmup_steps=4, learning_rate=1.0, min_learning_rate_ratio=0.2)
    rates = [config.learning_rate_at(step) for step in range(1, 15)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    # Float64 rounding of a cosine.
    assert rates[8] == pytest.approx((1.0 + 0.2) / 2, rel=1e-12)  # half way down
    assert rates[-1] == pytest.approx(0.2, rel=1e-12)
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_ratio_one_without_warmup_is_a_constant_learning_rate():
    config = TrainConfig(steps=5, learning_rate=0.3, min_learning_rate_ratio=1.0)
    assert {config.learning_rate_at(step) for step in range(1, 6)} == {0.3}


def test_a_constant_rate_warms_up_and_does_not_depend_on_the_steps():
    rates = [
        [TrainConfig(steps=n, schedule="constant", learning_rate=0.3, warmup_steps=3)
         .learning_rate_at(step) for step in range(1, n + 1)]
        for n in (2, 5, 9)
    ]  # fmt: skip
    assert rates[2] == pytest.approx([0.1, 0.2] + [0.3] * 7)
    assert rates[0] == rates[1][:2]
    assert rates[1] == rates[2][:5]


def test_wsd_is_constant_and_then_falls_as_one_minus_a_root():
    config = TrainConfig(steps=20, schedule="wsd", learning_rate=2.0, warmup_steps=2)
    assert config.decay_start == 16
    rates = [config.learning_rate_at(step) for step in range(1, 21)]
    assert rates[:16] == [1.0] + [2.0] * 15
    # Hägele et al. 2024, equation (1 - sqrt): n = 16, 17, 18, 19 of 20, 4 steps of decay.
    assert rates[16:] == [2 * (1 - math.sqrt(n / 4)) for n in range(4)]


def test_wsd_begins_alike_whatever_the_steps_and_warms_up_inside_a_short_run():
    short, long = (TrainConfig(n, schedule="wsd", warmup_steps=25) for n in (10, 100))
    assert short.decay_start == 8
    first = range(1, 9)
    assert [*map(short.learning_rate_at, first)] == [*map(long.learning_rate_at, first)]
    assert short.learning_rate_at(10) < short.learning_rate_at(9)


@pytest.mark.parametrize("step", [0, 11])
def test_there_is_no_learning_rate_outside_the_run(step):
    with pytest.raises(ValueError, match=f"step is {step}"):
        CONFIG.learning_rate_at(step)


# --- one step


def test_weight_decay_is_on_matrices_only():
    groups = make_optimizer(GPT(MODEL), CONFIG).param_groups
    decayed, free = groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in free["params"]} == {1}
    assert sum(p.numel() for group in groups for p in group["params"]) == GPT(MODEL).n_params


def test_without_a_fused_kernel_the_optimizer_is_the_plain_one(monkeypatch):
    real = torch.optim.AdamW

    def adamw(*args, fused=None, **options):
        if fused:
            raise RuntimeError("no fused kernel")
        return real(*args, **options)

    monkeypatch.setattr(torch.optim, "AdamW", adamw)
    assert isinstance(make_optimizer(GPT(MODEL), CONFIG), real)


def test_a_step_equals_adamw_written_out():
    model = GPT(replace(MODEL, dropout=0.0))
    inputs, targets = batch_at(0)
    next_token_loss(model, inputs, targets).backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    grads = {name: p.grad for name, p in model.named_parameters()}
    norm = torch.stack([grad.pow(2).sum() for grad in grads.values()]).sum().sqrt()
    clip = norm.item() / 2
    optimizer = make_optimizer(model, CONFIG)
    model.zero_grad()
    loss, grad_norm = train_step(model, optimizer, inputs, targets, grad_clip=clip)
    # The first update of Adam is lr * g / (|g| + eps), with g clipped to half of its length.
    for name, parameter in model.named_parameters():
        grad = grads[name] / 2
        decay = 1 - 1e-2 * 0.1 if grad.dim() == 2 else 1.0
        expected = before[name] * decay - 1e-2 * grad / (grad.abs() + 1e-8)
        # Where |g| is near eps = 1e-8, float32 rounding of g shows.
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-4, rtol=1e-4, msg=name)
    torch.testing.assert_close(grad_norm, norm)
    assert loss.item() == pytest.approx(math.log(17), abs=0.1)
    assert not loss.requires_grad


def test_phases_are_marked_in_order():
    phases: list[str] = []
    model = GPT(MODEL)
    train_step(model, make_optimizer(model, CONFIG), *batch_at(0), end_phase=phases.append)
    assert phases == ["forward", "loss", "backward", "optimizer"]


def test_gradients_left_over_do_not_change_a_step():
    losses = []
    for leftover in (0.0, 100.0):
        model = GPT(replace(MODEL, dropout=0.0))
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, leftover)
        optimizer = make_optimizer(model, CONFIG)
        train_step(model, optimizer, *batch_at(0))
        losses.append(next_token_loss(model, *batch_at(0)).item())
    assert losses[0] == losses[1]


def uneven_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 6 windows whose targets are ignored unevenly: 0, 3, 8, 8, 7 and 1 of 8."""
    inputs = torch.randint(17, (6, 8), generator=torch.Generator().manual_seed(seed))
    targets = (inputs + 1) % 17
    for row, n_ignored in zip(targets, (0, 3, 8, 8, 7, 1), strict=True):
        row[:n_ignored] = IGNORE_INDEX
    return inputs, targets


def gradients_of(step, **options) -> tuple[list[float], list[torch.Tensor], list[torch.Tensor]]:
    model = GPT(replace(MODEL, dropout=0.0)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    numbers = step(model, optimizer, *uneven_batch(), grad_clip=math.inf, **options)
    grads = [p.grad.clone() for p in model.parameters()]
    return [n.item() for n in numbers], grads, [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_micro_batches_weight_every_scored_target_alike(size):
    numbers, grads, weights = gradients_of(train_step)
    several = gradients_of(accumulated_step, micro_batch_size=size)
    # Float64 rounding, in sums over another order of the targets.
    assert several[0] == pytest.approx(numbers, rel=1e-12)
    torch.testing.assert_close(several[1], grads, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(several[2], weights, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("precision", supported_precisions(CPU))
def test_micro_batches_compute_in_every_precision(precision):
    results = []
    for step, options in ((train_step, {}), (accumulated_step, {"micro_batch_size": 2})):
        model = GPT(replace(MODEL, dropout=0.0))
        optimizer = make_optimizer(model, CONFIG)
        numbers = step(model, optimizer, *uneven_batch(), precision=precision, **options)
        results.append([n.item() for n in numbers])
    # bfloat16 has 8 bits; its products are the same here, but they are added in another order.
    assert results[0] == pytest.approx(results[1], rel=1e-5 if precision == "fp32" else 2e-2)


def test_bf16_keeps_weights_gradients_and_optimizer_in_float32():
    model = GPT(replace(MODEL, dropout=0.0))
    optimizer = make_optimizer(model, CONFIG)
    exact = next_token_loss(model, *batch_at(0)).item()
    loss, _ = train_step(model, optimizer, *batch_at(0), precision="bf16")
    state = [value for values in optimizer.state.values() for value in values.values()]
    grads = [p.grad for p in model.parameters()]
    assert {t.dtype for t in [loss, *model.parameters(), *grads, *state]} == {torch.float32}
    # Logits are near 0.1 and bfloat16 keeps 8 bits of them.
    assert 0 < abs(loss.item() - exact) < 0.01


def steps_of(config: TrainConfig, steps: int = 4) -> tuple[list[float], float | None]:
    """Return the losses of some steps of a new model, and the seconds spent compiling it."""
    model = GPT(MODEL)
    compile_time_s = prepare(model, config, CPU)
    optimizer, losses = make_optimizer(model, config), []
    for step in range(steps):
        torch.manual_seed(step)  # of dropout
        losses.append(train_step(model, optimizer, *batch_at(step))[0].item())
    return losses, compile_time_s


def test_the_losses_are_those_of_the_plain_form():
    model, losses = GPT(MODEL), []
    optimizer = make_optimizer(model, CONFIG)
    for step in range(4):
        torch.manual_seed(step)
        inputs, targets = batch_at(step)
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    # float32 sums in another order.
    assert steps_of(CONFIG)[0] == pytest.approx(losses, abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 1, 2, math.inf])
def test_the_gradient_is_clipped_as_torch_does(share):
    """`share` of its norm is the greatest that is allowed."""
    model = GPT(replace(MODEL, dropout=0.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    inputs, targets = batch_at(0)
    _, norm = train_step(model, optimizer, inputs, targets, grad_clip=math.inf)
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    _, again = train_step(model, optimizer, inputs, targets, grad_clip=share * norm.item())
    expected = torch.linalg.vector_norm(torch.cat([g.flatten() for g in whole.values()]))
    torch.testing.assert_close(norm, expected)
    assert again == norm
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, min(share, 1) * whole[name])


def test_a_gradient_that_is_not_finite_is_said_to_be_so():
    model = GPT(MODEL)
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    with torch.no_grad():
        model.transformer.h[0].ln_1.weight[0] = math.nan
    assert train_step(model, optimizer, *batch_at(0))[1].isnan()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiling_is_timed_and_changes_no_loss(monkeypatch, backend):
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": backend})  # makes no kernels: fast
    plain, nothing = steps_of(replace(CONFIG, compile=None))
    compiled, compile_time_s = steps_of(replace(CONFIG, compile="inductor"))
    assert nothing is None
    assert compile_time_s > 0
    # float32; the compiler may order sums otherwise.
    assert compiled == pytest.approx(plain, abs=1e-6)


def test_after_preparing_no_step_compiles(monkeypatch):
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": "eager"})  # makes no kernels: fast
    torch.compiler.reset()  # nothing is left over from other tests
    model = GPT(MODEL)
    prepare(model, replace(CONFIG, compile="inductor"), CPU)
    assert all(p.grad is None for p in model.parameters())
    with torch.compiler.set_stance("fail_on_recompile"):
        train_step(model, make_optimizer(model, CONFIG), *batch_at(0))


def test_a_compiler_that_fails_is_reported_in_one_line(monkeypatch):
    def fail(*_):
        raise torch._dynamo.exc.TorchDynamoException("no compiler\nand a long trace")

    model = GPT(MODEL)
    monkeypatch.setattr(model, "hidden", fail)
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": "eager"})  # makes no kernels: fast
    message = r"^torch.compile with inductor failed \(no compiler\);.*$"
    with pytest.raises(ValueError, match=message):
        prepare(model, replace(CONFIG, compile="inductor"), CPU)


def test_recomputing_changes_no_loss():
    assert steps_of(replace(CONFIG, recompute=True)) == steps_of(CONFIG)


def test_medium_rounds_the_products_of_backward_too(monkeypatch):
    seen = []
    model = GPT(MODEL)
    for parameter in model.parameters():
        parameter.register_hook(lambda _: seen.append(torch.get_float32_matmul_precision()))
    before = torch.get_float32_matmul_precision()
    train_step(model, make_optimizer(model, CONFIG), *batch_at(0), precision="medium")
    assert set(seen) == {"medium"}
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("precision", supported_precisions(CPU))
def test_in_every_precision_the_model_learns(precision):
    model = GPT(replace(MODEL, dropout=0.0))
    optimizer = make_optimizer(model, CONFIG)
    for step in range(50):
        loss, _ = train_step(model, optimizer, *batch_at(step), precision=precision)
    assert loss.item() < 1.0
