"""Measures the ceilings of a machine, and its speed at this moment.

A ceiling is the highest rate measured on this machine: of matrix products at the model's shapes, in
each precision, and of memory traffic within several sizes. Every share of peak in the report is a
share of a ceiling. The maker's peak is recorded as well where the device is known. The reference
time is the median of one fixed product, measured just before and after a case: if it changes, the
machine has changed.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from bench.ledger.schema import MEMORY_MIB
from gptcore.cost.figures import peak_flops_per_s
from gptcore.devices import device_label, matmul_precision, synchronize
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer, train_step

PROBE = ModelConfig(vocab_size=4_000, block_size=64, n_layer=2, n_head=4, n_embd=128)
"""The small GPT whose training speed is compared with the reference machine's."""

# Rows x inner x columns of the products of GPT-2 small: those of a block and the gradient of a
# weight, for 1,024 tokens (B=4, T=256); the head and the gradients of its input and weight, for 256
# tokens; and a square one, since some libraries are at their best there.
GEMM_SHAPES = (
    *((1024, 768, 2304), (1024, 768, 768), (1024, 768, 3072), (1024, 3072, 768), (768, 1024, 3072)),
    *((256, 768, 50_257), (256, 50_257, 768), (50_257, 256, 768)),
    (2048, 2048, 2048),
)
FEWEST_ROUNDS = 3
COPY_BYTES = 256 * 2**20

CPU = torch.device("cpu")
# These products take milliseconds: 0.3 GFLOP on a CPU, 17 GFLOP on an accelerator.
REFERENCE_SHAPES = {"cpu": (256, 768, 768)}
REFERENCE_SHAPE = (2048, 2048, 2048)
FEWEST_REFERENCES = 5


def datasheet_flops_per_s(device: torch.device, precision: str) -> float | None:
    """Return the maker's dense peak of `device` in FLOP/s; None for a CPU or if unknown."""
    is_known = device.type == "cuda"
    return peak_flops_per_s(device_label(device), precision) if is_known else None


def _time_s(call: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter_ns()
    call()
    synchronize(device)
    return (time.perf_counter_ns() - start) / 1e9


def _best_time_s(call: Callable[[], object], device: torch.device, budget_s: float) -> float:
    """Return the seconds of the fastest of repeated calls, since a ceiling is the best result."""
    best = float("inf")
    deadline = time.perf_counter() + budget_s
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        best = min(best, _time_s(call, device))
        rounds += 1
    return best


def gemm_flops_per_s(precision: str, device: torch.device, budget_s: float) -> float:
    """Return the best FLOP/s of a matrix product over GEMM_SHAPES; a multiply-add counts as 2."""
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for rows, inner, columns in GEMM_SHAPES:

        def operand(rows: int, columns: int) -> Tensor:  # repeated rows: random numbers are slow
            part = torch.randn(min(rows, 256), columns, generator=generator).to(device, dtype)
            return part.repeat(math.ceil(rows / len(part)), 1)[:rows]

        a, b = operand(rows, inner), operand(columns, inner)
        out = torch.empty(rows, columns, device=device, dtype=dtype)
        with matmul_precision(precision):
            time_s = _best_time_s(
                lambda a=a, b=b, out=out: torch.mm(a, b.T, out=out),  # type: ignore[misc]
                device,
                budget_s / len(GEMM_SHAPES),
            )
        best = max(best, 2 * rows * inner * columns / time_s)
    return best


def copy_bytes_per_s(device: torch.device, budget_s: float) -> float:
    """Return the rate of a 256 MiB copy into memory already in use, in copied bytes per second."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    copy = torch.zeros_like(source)
    return COPY_BYTES / _best_time_s(lambda: copy.copy_(source), device, budget_s)


def memory_bytes_per_s(mib: int, device: torch.device, budget_s: float) -> float:
    """Return the best rate of memory traffic within `mib` MiB, in bytes per second.

    It is the larger of reading them all and of copying one half to the other. Small sizes stay in a
    cache, so the rates over the sizes are those of the levels of memory.
    """
    n_bytes = mib * 2**20
    values = torch.ones(n_bytes // 4, device=device)
    source, copy = values.chunk(2)
    calls = (values.sum, lambda: copy.copy_(source))
    return n_bytes / min(_best_time_s(call, device, budget_s / 2) for call in calls)


def bandwidth(rates: Mapping[str, float], weight_bytes: float) -> float | None:
    """Return the highest rate at which memory can deliver weights of `weight_bytes`, in bytes/s.

    It is the rate of the largest measured size that is at most half of the weights, because a cache
    may keep a part of them between two uses. Weights for which no size is small enough, or devices
    without measured rates, have None: memory then gives no bound.
    """
    for mib in reversed(MEMORY_MIB):
        if 2 * mib * 2**20 <= weight_bytes:
            return rates.get(f"memory_{mib}mib_bytes_per_s")
    return None


def ceilings(device: torch.device, precisions: Iterable[str], budget_s: float) -> dict[str, float]:
    """Measure the ceilings of `device`, spending about `budget_s` on each."""
    return {
        **{f"gemm_{p}_flops_per_s": gemm_flops_per_s(p, device, budget_s) for p in precisions},
        "copy_bytes_per_s": copy_bytes_per_s(device, budget_s),
        **{
            f"memory_{mib}mib_bytes_per_s": memory_bytes_per_s(
                mib, device, budget_s / len(MEMORY_MIB)
            )
            for mib in MEMORY_MIB
        },
    }


@cache
def _reference_operands(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the fixed operands and the output of the product, made once and warmed up."""
    rows, inner, columns = REFERENCE_SHAPES.get(device.type, REFERENCE_SHAPE)
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, inner, generator=generator).to(device)
    b = torch.randn(inner, columns, generator=generator).to(device)
    out = torch.empty(rows, columns, device=device)
    for _ in range(2):
        torch.mm(a, b, out=out)
    return a, b, out


@torch.no_grad()
def reference_time_s(budget_s: float = 0.05, device: torch.device = CPU) -> float:
    """Return the median time of one fixed fp32 matrix product, in about `budget_s`.

    The product is 256 x 768 x 768 on a CPU, 2048 x 2048 x 2048 elsewhere. At least
    FEWEST_REFERENCES products are timed, after one more that fills the caches again.
    """
    a, b, out = _reference_operands(device)
    times_s: list[float] = []
    _time_s(lambda: torch.mm(a, b, out=out), device)
    deadline = time.perf_counter() + budget_s
    while len(times_s) < FEWEST_REFERENCES or time.perf_counter() < deadline:
        times_s.append(_time_s(lambda: torch.mm(a, b, out=out), device))
    return statistics.median(times_s)


def training_tokens_per_s(enough: float, budget_s: float) -> float:
    """Return the training speed of PROBE on the CPU in tokens per second, from its fastest step.

    Other load on the machine only makes steps slower. So steps are repeated until one reaches the
    speed `enough`, or for at most `budget_s`.
    """
    config = TrainConfig(steps=1, batch_size=16, block_size=PROBE.block_size)
    model = GPT(PROBE)
    optimizer = make_optimizer(model, config)
    generator = torch.Generator().manual_seed(0)
    shape = (2, config.batch_size, config.block_size)
    inputs, targets = torch.randint(PROBE.vocab_size, shape, generator=generator)
    tokens, best = inputs.numel(), math.inf
    deadline = time.perf_counter() + budget_s
    while best == math.inf or (time.perf_counter() < deadline and tokens / best < enough):
        start = time.perf_counter_ns()
        train_step(model, optimizer, inputs, targets)
        best = min(best, (time.perf_counter_ns() - start) / 1e9)
    return float(tokens / best)
