from types import SimpleNamespace

import pytest
import torch

from bench.measuring import ceilings


def named(monkeypatch, name):
    monkeypatch.setattr(ceilings, "device_label", lambda _device: name)
    return torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "fp32", "bf16"),
    [
        ("NVIDIA H100 80GB HBM3", 66.9e12, 989.4e12),
        ("NVIDIA H100 PCIe", 51.2e12, 756e12),
        ("NVIDIA A100-SXM4-40GB", 19.5e12, 312e12),
        ("A100-PCIE-40GB", 19.5e12, 312e12),
        ("NVIDIA L4", 30.3e12, 121e12),
        ("NVIDIA L40S", 91.6e12, 362.05e12),
        ("Tesla T4", 8.1e12, None),  # no bf16 there
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),  # a slice
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("Fake 9000", None, None),
    ],
)
def test_the_datasheet_knows_a_device_by_its_whole_name(monkeypatch, name, fp32, bf16):
    device = named(monkeypatch, name)
    assert ceilings.datasheet_flops_per_s(device, "fp32") == fp32
    assert ceilings.datasheet_flops_per_s(device, "bf16") == bf16


def test_a_cpu_has_no_datasheet(monkeypatch):
    named(monkeypatch, "NVIDIA L4")
    assert ceilings.datasheet_flops_per_s(torch.device("cpu"), "fp32") is None


def test_the_reference_is_the_median_of_at_least_five_products(monkeypatch):
    times = iter([9.0, 5.0, 1.0, 2.0, 8.0, 3.0])  # the first is not counted
    monkeypatch.setattr(ceilings, "_time_s", lambda _call, _device: next(times))
    assert ceilings.reference_time_s(budget_s=0) == 3.0
    assert next(times, None) is None


def test_the_reference_times_the_product_and_waits_for_the_device(monkeypatch):
    waited = []
    monkeypatch.setattr(ceilings, "synchronize", lambda device: waited.append(device))
    a, b, out = ceilings._reference_operands(ceilings.CPU)
    out.zero_()
    assert 0 < ceilings.reference_time_s(budget_s=0) < 10
    torch.testing.assert_close(out, a @ b)
    assert waited == [ceilings.CPU] * 2 * 6


def test_the_reference_keeps_to_its_budget(monkeypatch):
    now = iter(range(10**6))
    clock = SimpleNamespace(
        perf_counter=lambda: next(now) / 100, perf_counter_ns=lambda: next(now) * 10**7
    )
    monkeypatch.setattr(ceilings, "time", clock)
    ceilings.reference_time_s(budget_s=1.0)
    assert next(now) <= 110  # every look at this clock takes 10 ms: about 1 s, not more


def test_the_reference_makes_its_operands_once():
    ceilings.reference_time_s(budget_s=0)
    (first, *_), (second, *_) = (ceilings._reference_operands(ceilings.CPU) for _ in range(2))
    assert first is second


def test_ceilings_are_measured_for_each_precision_and_for_copies(monkeypatch):
    monkeypatch.setattr(ceilings, "COPY_BYTES", 2**20)
    monkeypatch.setattr(ceilings, "GEMM_SHAPES", ((8, 8, 8),))
    monkeypatch.setattr(ceilings, "MEMORY_MIB", (1, 2))
    measured = ceilings.ceilings(torch.device("cpu"), ("fp32", "bf16"), 0.0)
    assert sorted(measured) == [
        "copy_bytes_per_s",
        "gemm_bf16_flops_per_s",
        "gemm_fp32_flops_per_s",
        "memory_1mib_bytes_per_s",
        "memory_2mib_bytes_per_s",
    ]
    assert min(measured.values()) > 0


def test_peak_is_measured_at_the_products_of_block_head_and_their_gradients(monkeypatch):
    seen = set()

    def mm(a, b, out):
        seen.add((*a.shape, b.shape[1]))
        return out

    monkeypatch.setattr(ceilings.torch, "mm", mm)
    ceilings.gemm_flops_per_s("fp32", ceilings.CPU, 0.0)
    assert seen == set(ceilings.GEMM_SHAPES)
    assert {(256, 768, 50_257), (256, 50_257, 768), (50_257, 256, 768)} <= seen


@pytest.mark.parametrize(
    ("weights_mib", "rate"), [(7.9, None), (8, 4.0), (31, 4.0), (32, 3.0), (130, 2.0), (5000, 1.0)]
)
def test_memory_rate_is_that_of_a_level_that_may_hold_half_of_the_weights(weights_mib, rate):
    rates = {f"memory_{mib}mib_bytes_per_s": 4.0 - i for i, mib in enumerate((4, 16, 64, 512))}
    assert ceilings.bandwidth(rates, weights_mib * 2**20) == rate


def test_memory_rate_counts_the_bytes_that_are_read_or_read_and_written(monkeypatch):
    monkeypatch.setattr(ceilings, "_time_s", lambda call, _device: call() is None or 0.5)
    assert ceilings.memory_bytes_per_s(1, ceilings.CPU, 0.0) == 2 * 2**20
