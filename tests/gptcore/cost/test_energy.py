"""Energy counters: files as Linux shows them, and a driver's library that is a fake."""

import shutil
import sys
import time
from types import ModuleType

import pytest

from gptcore.cost import energy
from gptcore.cost.energy import measuring_energy

RANGE_UJ = 262_143_328_850


@pytest.fixture
def zones(tmp_path, monkeypatch):
    """Zones of one Intel processor; return a function that sets their counters, in joules."""

    def put(folder, name, joules):
        zone = tmp_path / folder
        zone.mkdir(exist_ok=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (zone / "energy_uj").write_text(f"{round(joules * 1e6)}\n")

    def count(package=0.0, dram=0.0, others=0.0):
        put("intel-rapl:0", "package-0", package)
        put("intel-rapl:0:0", "core", others)
        put("intel-rapl:0:1", "dram", dram)
        put("intel-rapl:1", "psys", others)
        put("intel-rapl-mmio:0", "package-0", others)  # the same package by another way

    count()
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setattr(energy, "LEAST_S", 0.0)
    return count


class NVMLError(Exception):
    pass


@pytest.fixture
def driver(monkeypatch):
    """A driver with one accelerator; its counter is `driver.millijoules`."""
    library = ModuleType("pynvml")
    library.NVMLError, library.millijoules, library.running = NVMLError, 5_000, 0

    def switch(by):
        library.running += by

    def find(uuid):
        if uuid != "GPU-1":
            raise NVMLError("Not Found")
        return "handle"

    def read(handle):
        assert handle == "handle"
        if library.millijoules is None:
            raise NVMLError("Not Supported")
        return library.millijoules

    library.nvmlInit, library.nvmlShutdown = lambda: switch(1), lambda: switch(-1)
    library.nvmlDeviceGetHandleByUUID = find
    library.nvmlDeviceGetTotalEnergyConsumption = read
    monkeypatch.setitem(sys.modules, "pynvml", library)
    yield library
    assert library.running == 0


def test_packages_and_their_memory_are_added_and_nothing_is_counted_twice(zones):
    zones(package=100, dram=10, others=7)
    with measuring_energy() as found:
        zones(package=350, dram=35, others=7_000)
    assert found.joules == pytest.approx(275)
    assert found.source == "RAPL 0 package-0, RAPL 0:1 dram"


def test_a_counter_that_returns_to_zero_goes_on(zones):
    zones(package=RANGE_UJ / 1e6 - 40)
    with measuring_energy() as found:
        zones(package=60, dram=1)
    assert found.joules == pytest.approx(101)


def test_a_counter_that_returns_to_zero_twice_is_read_in_between(zones, monkeypatch):
    monkeypatch.setattr(energy, "SAMPLE_S", 0.001)
    whole = RANGE_UJ / 1e6
    read = energy._microjoules
    seen = []
    monkeypatch.setattr(energy, "_microjoules", lambda path: seen.append(read(path)) or seen[-1])

    def until_read(joules):
        zones(package=joules)
        while round(joules * 1e6) not in seen:
            time.sleep(0.001)

    with measuring_energy() as found:
        until_read(0.9 * whole)
        until_read(0.8 * whole)
        zones(package=0.7 * whole, dram=1)
    assert found.joules == pytest.approx(2.7 * whole + 1)


def test_a_machine_without_counters_has_no_energy(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "absent")
    with measuring_energy() as found:
        pass
    assert found.joules is None
    assert found.source.startswith("this machine shows no energy counter of its processor")


def test_memory_alone_is_not_the_processor(zones, tmp_path):
    (tmp_path / "intel-rapl:0" / "name").write_text("psys\n")
    with measuring_energy() as found:
        (tmp_path / "intel-rapl:0:1" / "energy_uj").write_text("5000000\n")
    assert found.joules is None
    assert "no energy counter of its processor" in found.source


def test_two_packages_are_added(zones, tmp_path):
    shutil.copytree(tmp_path / "intel-rapl:0", tmp_path / "intel-rapl:2")
    (tmp_path / "intel-rapl:2" / "name").write_text("package-1\n")
    with measuring_energy() as found:
        zones(package=5, dram=1)
        (tmp_path / "intel-rapl:2" / "energy_uj").write_text("3000000\n")
    assert found.joules == pytest.approx(9)
    assert found.source == "RAPL 0 package-0, RAPL 0:1 dram, RAPL 2 package-1"


@pytest.mark.parametrize("range_uj", [0, 1_000])
def test_a_counter_beyond_its_range_is_no_energy(zones, tmp_path, range_uj):
    zones(package=1)
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text(f"{range_uj}\n")
    with measuring_energy() as found:
        pass
    assert found.joules is None
    assert "above its range" in found.source


def test_a_counter_that_stands_still_is_no_energy(zones):
    with measuring_energy() as found:
        zones(dram=4)
    assert found.joules is None
    assert found.source == (
        "the counter RAPL 0 package-0 stood still during the work, so it shows no energy"
    )


@pytest.mark.parametrize("content", ["", "many\n", "-5\n", "1e9\n"])
def test_what_is_no_number_is_no_energy(zones, tmp_path, content):
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content)
    with measuring_energy() as found:
        pass
    assert found.joules is None
    assert "cannot be read" in found.source


def test_a_counter_that_vanishes_during_the_work_is_no_energy(zones, tmp_path):
    with measuring_energy() as found:
        (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert found.joules is None


def test_work_that_is_too_short_has_no_energy(zones, monkeypatch):
    monkeypatch.setattr(energy, "LEAST_S", 3600.0)
    with measuring_energy() as found:
        zones(package=9)
    assert found.joules is None
    assert "less than 3600 s" in found.source


def test_an_accelerator_is_counted_with_its_processor(zones, driver):
    with measuring_energy("GPU-1") as found:
        driver.millijoules += 2_500
        zones(package=4, dram=1)
    assert found.joules == pytest.approx(7.5)
    assert found.source == "NVML, RAPL 0 package-0, RAPL 0:1 dram"


def test_an_accelerator_is_counted_alone_where_the_processor_cannot_be(
    zones, driver, tmp_path, monkeypatch
):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "absent")
    with measuring_energy("GPU-1") as found:
        driver.millijoules += 2_500
    assert (found.joules, found.source) == (2.5, "NVML")


@pytest.mark.parametrize(
    ("gpu", "reason"), [("GPU-2", "NVML does not find GPU-2"), ("", "not NVIDIA's")]
)
def test_the_processor_alone_never_stands_for_work_on_an_accelerator(zones, driver, gpu, reason):
    with measuring_energy(gpu) as found:
        zones(package=4)
    assert found.joules is None
    assert reason in found.source


def test_a_slice_of_an_accelerator_without_counter_has_no_energy(zones, driver):
    driver.millijoules = None
    with measuring_energy("GPU-1") as found:
        zones(package=4)
    assert found.joules is None
    assert "Not Supported" in found.source


def test_a_counter_that_a_new_start_of_the_driver_sets_back_is_no_energy(zones, driver):
    with measuring_energy("GPU-1") as found:
        driver.millijoules = 20
        zones(package=4, dram=1)
    assert found.joules is None
    assert "the counter NVML fell" in found.source


def test_an_error_of_letting_the_driver_go_does_not_end_the_work(zones, driver, monkeypatch):
    switch_off = driver.nvmlShutdown

    def fail():
        switch_off()
        raise NVMLError("Driver Not Loaded")

    monkeypatch.setattr(driver, "nvmlShutdown", fail)
    with measuring_energy("GPU-1") as found:
        driver.millijoules += 2_500
        zones(package=4, dram=1)
    assert found.joules == pytest.approx(7.5)


def test_without_the_library_the_reason_names_it(zones, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with measuring_energy("GPU-1") as found:
        pass
    assert found.joules is None
    assert "pip install gptcore[energy]" in found.source


def test_an_error_of_the_work_passes_and_leaves_no_energy(zones, driver):
    with pytest.raises(RuntimeError, match="broken"), measuring_energy("GPU-1") as found:
        raise RuntimeError("broken")
    assert found.joules is None
