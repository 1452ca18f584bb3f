import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from bench.measuring import environment, pinning

HAS_AFFINITY = hasattr(os, "sched_setaffinity")
linux_only = pytest.mark.skipif(not HAS_AFFINITY, reason="affinity can be set on Linux only")


@pytest.fixture(autouse=True)
def put_back():
    """Leave the process as it was: its threads, CPUs and environment are everybody's."""
    threads, omp = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    yield
    pinning.unpin()
    torch.set_num_threads(threads)
    os.environ.pop("OMP_NUM_THREADS", None)
    if omp is not None:
        os.environ["OMP_NUM_THREADS"] = omp


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system whose files are those that a test writes: write(path, text)."""

    def redirect(path):
        text = str(path)
        return tmp_path / text.lstrip("/") if text.startswith(("/proc", "/sys")) else Path(path)

    real = pinning.read_text
    for module in (pinning, environment):
        monkeypatch.setattr(module, "read_text", lambda path: real(redirect(path)))

    def write(path, text):
        redirect(path).parent.mkdir(parents=True, exist_ok=True)
        redirect(path).write_text(text)

    return write


def two_threads_a_core(system, cores):
    """CPU k and CPU k + cores share a core, as Linux numbers them."""
    for cpu in range(2 * cores):
        core = cpu % cores
        system(
            f"/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list", f"{core},{core + cores}\n"
        )


# The limit of a container


@pytest.mark.parametrize(
    ("text", "limit"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("-3 x y", None), ("1 0", None)],
)
def test_the_quota_of_a_container_is_read(system, text, limit):
    system("/proc/self/cgroup", "0::/\n")
    system("/sys/fs/cgroup/cpu.max", text)
    assert pinning.cpu_limit() == limit


def test_the_tightest_group_above_counts(system):
    system("/proc/self/cgroup", "0::/pod/box\n")
    system("/sys/fs/cgroup/pod/box/cpu.max", "max 100000")
    system("/sys/fs/cgroup/pod/cpu.max", "50000 100000")
    system("/sys/fs/cgroup/cpu.max", "400000 100000")
    assert pinning.cpu_limit() == 0.5


@pytest.mark.parametrize(("quota", "limit"), [("250000", 2.5), ("-1", None)])
def test_the_quota_of_old_control_groups_is_read(system, quota, limit):
    system("/proc/self/cgroup", "3:memory:/x\n2:cpu:/box\n0::/\n")
    system("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", quota)
    system("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000")
    system("/sys/fs/cgroup/memory/x/cpu.max", "1 100000")  # another controller's
    assert pinning.cpu_limit() == limit


@pytest.mark.parametrize("text", [None, "", "garbage", "0:\n:\n"])
def test_without_control_groups_there_is_no_limit(system, text):
    if text is not None:
        system("/proc/self/cgroup", text)
    assert pinning.cpu_limit() is None


# Threads


@pytest.mark.parametrize(("limit", "threads"), [(None, 6), (1.5, 1), (0.5, 1), (4.0, 4), (64.0, 6)])
def test_threads_are_the_physical_cores_that_may_be_used(monkeypatch, limit, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(pinning, "cpu_limit", lambda: limit)
    monkeypatch.setattr(pinning, "usable_cpus", lambda: 12)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 12 if logical else 6)
    assert pinning.choose_threads() == threads


def test_omp_num_threads_wins(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert pinning.set_threads() == torch.get_num_threads() == 3


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "", "1.5", "2,2"])
def test_an_odd_omp_num_threads_is_refused_in_one_line(monkeypatch, wanted):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    with pytest.raises(ValueError, match=r"^OMP_NUM_THREADS is .*positive whole number") as caught:
        pinning.set_threads()
    assert "\n" not in str(caught.value)


# Pinning


def test_each_core_gives_one_cpu_before_any_gives_two(system):
    two_threads_a_core(system, 4)
    assert pinning.choose_cpus(range(8), 3) == [0, 1, 2]
    assert pinning.choose_cpus([0, 4, 1, 5], 2) == [0, 1]
    assert pinning.choose_cpus([4, 0, 5], 2) == [0, 5]
    assert pinning.choose_cpus([0, 4, 1, 5], 3) == [0, 1, 4]


def test_without_a_topology_the_first_cpus_are_taken(system):
    assert pinning.choose_cpus([7, 3, 5], 2) == [3, 5]


@linux_only
def test_pinning_keeps_every_thread_to_as_many_cpus_as_threads(monkeypatch):
    given = sorted(os.sched_getaffinity(0))
    if len(given) < 2:
        pytest.skip("one CPU cannot be narrowed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = threading.Event()
    older = threading.Thread(target=done.wait)
    older.start()
    try:
        facts = pinning.pin()
        tasks = (older.native_id, threading.get_native_id())
        assert [sorted(os.sched_getaffinity(task)) for task in tasks] == [facts["affinity"]] * 2
    finally:
        done.set()
        older.join()
    assert len(facts["affinity"]) == 1
    assert set(facts["affinity"]) < set(given)
    assert pinning.usable_cpus() == 1
    assert pinning.allowed_cpus() == given
    assert environment.machine()["usable_cpus"] == len(given)
    pinning.unpin()
    assert sorted(os.sched_getaffinity(0)) == given


@linux_only
def test_with_as_many_threads_as_cpus_the_affinity_stays(monkeypatch):
    given = sorted(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", str(len(given)))
    assert pinning.pin()["affinity"] == given


@linux_only
def test_children_inherit_threads_and_cpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    facts = pinning.pin()
    code = "import os; print(os.environ['OMP_NUM_THREADS'], *os.sched_getaffinity(0))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["1", *map(str, facts["affinity"])]


def test_pinning_sets_exact_products_and_says_so(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True)
    facts = pinning.pin()
    assert facts == pinning.pinned()
    assert facts["matmul_precision"] == torch.get_float32_matmul_precision() == "highest"
    assert facts["tf32"] is False
    assert facts["deterministic"] is False
    assert (facts["intra_op_threads"], facts["omp_num_threads"]) == (1, 1)
    assert {"flash", "math"} <= set(facts["sdpa"])


@pytest.mark.parametrize("kept", [True, False])
def test_pinning_says_whether_freed_memory_is_kept(monkeypatch, kept):
    monkeypatch.setattr(pinning, "_lasting", {})
    monkeypatch.setattr(pinning, "keep_freed_memory", lambda: kept)
    assert pinning.pin(keep_memory=False).get("keeps_freed_memory") is None
    assert pinning.pin()["keeps_freed_memory"] is kept


def test_the_record_holds_what_torch_does_not_what_was_asked():
    torch.backends.cuda.enable_flash_sdp(False)
    try:
        assert "flash" not in pinning.pinned()["sdpa"]
    finally:
        torch.backends.cuda.enable_flash_sdp(True)


@pytest.mark.parametrize("omp", [None, "1"])
def test_unpinning_gives_the_environment_back(monkeypatch, omp):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    pinning.pin()
    pinning.pin()  # the second must not take the first's as what was before
    assert os.environ["OMP_NUM_THREADS"] == str(torch.get_num_threads())
    pinning.unpin()
    assert os.environ.get("OMP_NUM_THREADS") == omp


# Facts


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
    found = environment.conditions()["frequency_hz"], environment.machine()["max_frequency_hz"]
    assert found == hertz


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


@pytest.mark.parametrize(("text", "found"), [("0::/\n", False), ("1:cpu:/kubepods/pod7\n", True)])
def test_a_container_is_told_by_its_control_group(system, monkeypatch, text, found):
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    system("/proc/1/cgroup", text)
    assert environment._in_container() is found


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
    found = environment.libraries()
    assert re.fullmatch(r"[0-9a-f]{7,40}|Unknown", found["torch"]["git_version"])
    assert found["torch"]["cuda"] == torch.version.cuda
    assert found["torch"]["openmp"] or sys.platform == "darwin"
    assert all("filepath" not in pool for pool in found["pools"])  # a path tells who measured


# Ceilings, datasheets, reference
