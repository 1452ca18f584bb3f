import pytest
import torch

from gptcore import devices
from gptcore.devices import (
    autocast,
    available_devices,
    device_label,
    resolve_device,
    supported_precisions,
    synchronize,
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


def test_the_cpu_computes_in_both_precisions():
    assert supported_precisions(CPU) == ["fp32", "bf16"]


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
    with pytest.raises(ValueError, match=r"'fp16'; choose one of fp32, bf16"):
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
