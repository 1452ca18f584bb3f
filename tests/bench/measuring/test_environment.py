import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from bench.measuring import environment, pinning


def broken(*_, **__):
    raise RuntimeError("not on this system")


def test_the_machine_stays_the_same_while_its_conditions_vary(monkeypatch):
    machine = environment.machine()
    monkeypatch.setattr(os, "getloadavg", lambda: (7.5, 0, 0), raising=False)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=2**30))
    frequency = SimpleNamespace(current=900.0, max=0.0)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: frequency)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pinning.pin()
    assert environment.machine() | {"max_frequency_hz": None} == machine | {
        "max_frequency_hz": None
    }
    now = environment.conditions()
    assert (now["load"], now["swap_used_bytes"], now["frequency_hz"]) == (7.5, 2**30, 9e8)


@pytest.mark.parametrize(
    ("frequency", "hertz"),
    [
        (lambda: None, (None, None)),
        (lambda: SimpleNamespace(current=2_000.0, max=0.0), (2e9, None)),
        (lambda: SimpleNamespace(current=1_500.0, max=3_500.0), (1.5e9, 3.5e9)),
        (broken, (None, None)),
    ],
)
def test_clocks_that_the_system_does_not_tell_are_null(monkeypatch, frequency, hertz):
    monkeypatch.setattr(psutil, "cpu_freq", frequency)
    clocks = environment.conditions()["frequency_hz"], environment.machine()["max_frequency_hz"]
    assert clocks == hertz


def test_a_system_without_load_or_swap_has_null_there(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setattr(psutil, "swap_memory", broken)
    now = environment.conditions()
    assert now["load"] is None
    assert now["swap_used_bytes"] is None


def test_a_system_without_proc_and_sys_has_null_there(system):
    machine = environment.machine()
    unknown = ("cpu_limit", "governor", "virtual_machine", "container")
    assert [machine[name] for name in unknown] == [None] * 4
    assert machine["cpu_flags"] == []


def test_flags_and_the_hypervisor_are_whole_words(system):
    system("/proc/cpuinfo", "flags : fpu avx512f amx_bf16 hypervisor\n")
    machine = environment.machine()
    assert machine["cpu_flags"] == ["avx512f", "amx_bf16"]  # not "bf16"
    assert machine["virtual_machine"] is True
    system("/proc/cpuinfo", "flags : avx2 hypervisors\n")
    assert environment.machine()["virtual_machine"] is False


@pytest.mark.parametrize(
    ("text", "is_container"), [("0::/\n", False), ("1:cpu:/kubepods/pod7\n", True)]
)
def test_a_container_is_told_by_its_control_group(system, monkeypatch, text, is_container):
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    system("/proc/1/cgroup", text)
    assert environment._in_container() is is_container


def test_governors_are_listed_once_each(system, monkeypatch):
    names = [f"/sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor" for n in range(3)]
    for name, text in zip(names, ("performance\n", "powersave\n", "performance\n"), strict=True):
        system(name, text)
    monkeypatch.setattr(Path, "glob", lambda _self, _pattern: map(Path, [*names, "/sys/no/such"]))
    assert environment._governor() == "performance, powersave"


def test_text_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\n")
    assert pinning.read_text(tmp_path) is None
    assert pinning.read_text(tmp_path / "missing") is None
    assert pinning.read_text(tmp_path / "bytes") == "\N{REPLACEMENT CHARACTER}"


class FakeAccelerator:
    """Answers like torch.cuda with pynvml, except for what `missing` names."""

    def __init__(self, missing=()):
        for name in missing:
            setattr(self, name, broken)

    def get_device_name(self, _device):
        return "Fake 9000"

    def get_device_properties(self, _device):
        return SimpleNamespace(total_memory=16 * 2**30, multi_processor_count=40)

    def get_device_capability(self, _device):
        return (9, 0)

    def clock_rate(self, _device):
        return 1_980

    def temperature(self, _device):
        return 61

    def power_draw(self, _device):
        return 350_500


@pytest.fixture
def accelerator(monkeypatch):
    def install(module):
        monkeypatch.setattr(environment, "available_devices", lambda: ["cpu", "cuda:0"])
        monkeypatch.setattr(torch, "get_device_module", lambda _device: module)
        return module

    return install


def test_an_accelerator_is_described(accelerator, system):
    accelerator(FakeAccelerator())
    system(
        "/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n",
    )
    machine = environment.machine()
    assert machine["accelerators"] == ["Fake 9000"]
    assert machine["accelerator_facts"]["cuda:0"] == {
        "name": "Fake 9000",
        "driver": "570.124.06",
        "memory_bytes": 16 * 2**30,
        "compute_capability": "9.0",
        "multiprocessors": 40,
    }
    assert environment.conditions()["clocks"]["cuda:0"] == {
        "clock_hz": 1.98e9,
        "temperature_celsius": 61,
        "power_w": 350.5,
    }


def test_an_accelerator_that_answers_nothing_has_nulls(accelerator, system):
    names = ("get_device_properties", "get_device_capability", "clock_rate", "power_draw")
    accelerator(FakeAccelerator(missing=(*names, "temperature")))
    facts = environment.machine()["accelerator_facts"]["cuda:0"]
    assert facts.pop("name") == "Fake 9000"
    assert set(facts.values()) == {None}
    assert set(environment.conditions()["clocks"]["cuda:0"].values()) == {None}


def test_an_accelerator_without_such_functions_has_nulls(accelerator):
    accelerator(SimpleNamespace())
    assert set(environment.conditions()["clocks"]["cuda:0"].values()) == {None}


def test_the_build_of_torch_and_its_libraries_are_named():
    known = environment.libraries()
    assert re.fullmatch(r"[0-9a-f]{7,40}|Unknown", known["torch"]["git_version"])
    assert known["torch"]["cuda"] == torch.version.cuda
    assert known["torch"]["openmp"] or sys.platform == "darwin"
    assert all("filepath" not in pool for pool in known["pools"])  # a path tells who measured


# Ceilings, datasheets, reference
