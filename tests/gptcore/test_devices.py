import mmap
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from gptcore import devices
from gptcore.devices import (
    autocast,
    available_devices,
    device_label,
    matmul_precision,
    resolve_device,
    supported_precisions,
    synchronize,
    to_device,
)

CPU = torch.device("cpu")


class FakeAccelerator:
    """Two devices of kind xpu that record each wait."""

    def __init__(self) -> None:
        self.waits: list[torch.device] = []

    def is_available(self) -> bool:
        return True

    def current_accelerator(self) -> torch.device:
        return torch.device("xpu")

    def device_count(self) -> int:
        return 2

    def synchronize(self, device: torch.device) -> None:
        self.waits.append(device)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> FakeAccelerator:
    fake = FakeAccelerator()
    monkeypatch.setattr(torch, "accelerator", fake)
    return fake


def test_the_cpu_comes_first():
    assert available_devices()[0] == "cpu"


def test_every_accelerator_is_listed(accelerator):
    assert available_devices() == ["cpu", "xpu:0", "xpu:1"]


def test_an_accelerator_built_for_but_absent_is_not_listed(accelerator, monkeypatch):
    monkeypatch.setattr(accelerator, "is_available", lambda: False)
    assert available_devices() == ["cpu"]


def test_a_name_without_number_is_the_first_of_its_kind(accelerator):
    assert resolve_device("xpu") == torch.device("xpu", 0)
    assert resolve_device("xpu:1") == torch.device("xpu", 1)
    assert resolve_device("cpu") == CPU


def test_an_absent_device_is_refused_with_the_list_of_those_present(accelerator):
    with pytest.raises(ValueError, match=r"'cuda' is not here; choose one of cpu, xpu:0, xpu:1"):
        resolve_device("cuda")


def test_an_accelerator_is_waited_for(accelerator):
    synchronize(torch.device("xpu", 1))
    assert accelerator.waits == [torch.device("xpu", 1)]


def test_the_cpu_is_not_waited_for(accelerator):
    synchronize(CPU)
    assert accelerator.waits == []


@pytest.mark.parametrize("rounds", [True, False])
def test_the_cpu_offers_medium_where_products_are_rounded(monkeypatch, rounds):
    monkeypatch.setattr(devices, "cpu_rounds_products", lambda: rounds)
    assert supported_precisions(CPU) == ["fp32", "bf16", "medium"][: 2 + rounds]


def test_medium_rounds_products_and_nothing_else_where_it_is_offered():
    a, b = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    for precision, worst in {"fp32": 1e-4, "medium": 0.2}.items():
        with matmul_precision(precision):
            error = (a @ b - exact).abs().max()
        # Sums of 64 products of size 1: bfloat16 keeps 8 bits of each factor.
        assert error < worst
        is_rounded = precision == "medium" and "medium" in supported_precisions(CPU)
        assert (error > 1e-3) == is_rounded


@pytest.mark.parametrize("outside", ["highest", "high", "medium"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "medium"])
def test_the_precision_of_products_is_put_back(outside, precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(outside)
    try:
        for context in (matmul_precision(precision), autocast(CPU, precision)):
            with context:
                inside = torch.get_float32_matmul_precision()
            assert inside == ("medium" if precision == "medium" else "highest")
            assert torch.get_float32_matmul_precision() == outside
    finally:
        torch.set_float32_matmul_precision(before)


class FakeIds:
    """A tensor on `device` that notes what is asked of it."""

    def __init__(self, device: str, calls: list) -> None:
        self.device, self.calls = torch.device(device), calls

    def pin_memory(self) -> "FakeIds":
        self.calls.append("pin")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> "FakeIds":
        self.calls.append((str(device), non_blocking))
        return self


@pytest.mark.parametrize(
    ("source", "target", "calls"),
    [
        ("cpu", "cuda:0", ["pin", ("cuda:0", True)]),
        ("cpu", "xpu:1", ["pin", ("xpu:1", True)]),
        ("cuda:0", "cuda:1", [("cuda:1", False)]),  # no memory of the host's to lock
        ("cpu", "mps:0", [("mps:0", False)]),  # shares the host's memory
        ("cpu", "cpu", [("cpu", False)]),
    ],
)
def test_batches_are_copied_without_waiting_where_that_is_safe(source, target, calls):
    seen: list = []
    to_device(FakeIds(source, seen), torch.device(target))
    assert seen == calls


def test_on_the_cpu_a_batch_stays_where_it_is():
    ids = torch.arange(3)
    assert to_device(ids, CPU) is ids


def test_cuda_without_bf16_units_offers_fp32_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert supported_precisions(torch.device("cuda")) == ["fp32"]


def test_a_device_without_autocast_offers_fp32_only(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: False)
    assert supported_precisions(torch.device("xpu")) == ["fp32"]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_decides_the_precision_of_products_not_of_weights(precision, dtype):
    layer = torch.nn.Linear(2, 2)
    with autocast(CPU, precision):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_an_unknown_precision_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"'fp16'; choose one of fp32, bf16, medium"):
        autocast(CPU, "fp16")


def test_the_label_of_the_cpu_is_one_line_of_text():
    label = device_label(CPU)
    assert label.strip() == label != ""


def test_the_label_of_the_cpu_needs_no_proc_file_system(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "Path", lambda _: tmp_path / "absent")
    assert device_label(CPU) != ""


def test_the_label_of_an_accelerator_is_its_product_name(monkeypatch):
    class Module:
        @staticmethod
        def get_device_name(device: torch.device) -> str:
            return f"Accelerator {device.index}"

    monkeypatch.setattr(torch, "get_device_module", lambda _: Module)
    assert device_label(torch.device("xpu", 1)) == "Accelerator 1"


def test_the_label_of_a_nameless_accelerator_is_its_torch_name(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _: object())
    assert device_label(torch.device("mps", 0)) == "mps:0"


@pytest.mark.parametrize("setting", ["keep", "return"])
def test_setting_malloc_says_whether_it_took_everything(monkeypatch, setting):
    refused, monkey = set(), SimpleNamespace(mallopt=lambda name, _: int(name not in refused))
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: monkey)
    function = getattr(devices, f"{setting}_freed_memory")
    assert function() is True
    refused.add(-4)  # M_MMAP_MAX
    assert function() is False


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_without_mallopt_nothing_is_set(monkeypatch, platform):
    monkeypatch.setattr(devices.sys, "platform", platform)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: SimpleNamespace())
    assert devices.keep_freed_memory() is devices.return_freed_memory() is False


HOLES = """
import os, psutil, torch
from gptcore import devices

def print_returned(first, then):
    first(), then()
    blocks = [torch.ones(2**18) for _ in range(200)]
    rss, blocks[::2] = psutil.Process().memory_info().rss, [None] * 100
    print(rss - psutil.Process().memory_info().rss)

keep, give_back = devices.keep_freed_memory, devices.return_freed_memory
if not keep(): raise SystemExit(77)
if os.fork():  # each setting in a process without the blocks of the other
    os.wait()
    print_returned(give_back, keep)
else:
    print_returned(keep, give_back)
"""


def test_freed_memory_stays_or_goes_as_was_last_set():
    child = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True)
    if child.returncode == 77:
        pytest.skip("this C library has no mallopt; run on Linux with glibc")
    given_back, kept = (int(n) / 2**20 for n in child.stdout.split())
    assert given_back > 95  # of 100 MiB, every second of 200
    assert kept < 2


def test_memory_of_an_accelerator_is_the_peak_of_its_allocator(monkeypatch):
    resets: list[torch.device] = []
    module = SimpleNamespace(
        reset_peak_memory_stats=resets.append, max_memory_allocated=lambda _device: 123
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _device: module)
    gpu = torch.device("xpu:1")
    devices.reset_peak_memory(gpu)
    assert resets == [gpu]
    assert devices.memory_bytes(gpu) == 123


def test_memory_is_none_where_torch_counts_none_of_the_device(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _device: SimpleNamespace())
    devices.reset_peak_memory(torch.device("mps"))
    assert devices.memory_bytes(torch.device("mps")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_of_a_cpu_is_what_the_process_holds():
    before = devices.memory_bytes(CPU)
    with mmap.mmap(-1, 2**26) as held:  # new pages, of which only those written are resident
        for _ in range(2**6):
            held.write(b"1" * 2**20)
        # Python's own allocations may come and go.
        assert devices.memory_bytes(CPU) - before == pytest.approx(2**26, rel=0.2)
