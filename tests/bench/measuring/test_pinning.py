import os
import subprocess
import sys
import threading

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


@pytest.mark.parametrize("wanted", ["4", "4,2", " 4 ", "4 , 2,1", "+4", "004", "4,99", "\t4"])
def test_omp_num_threads_may_be_a_list_whose_first_number_counts(monkeypatch, wanted):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert pinning.choose_threads() == 4


@pytest.mark.parametrize(
    "wanted",
    ["0", "-1", "two", "", " ", "1.5", "4,", ",4", "4,0", "4,-1", "4,x", "4;2", "2 3", "0x4", "٣",
     "9" * 20, "9" * 5000],
)  # fmt: skip
def test_an_odd_omp_num_threads_is_ignored_as_openmp_ignores_it(monkeypatch, wanted):
    monkeypatch.setattr(pinning, "usable_cpus", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert pinning.choose_threads() == 1


def test_more_threads_than_a_system_can_have_are_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "100000,2")
    with pytest.raises(ValueError, match=r"^OMP_NUM_THREADS asks for 100000 threads: give at most"):
        pinning.set_threads()


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
