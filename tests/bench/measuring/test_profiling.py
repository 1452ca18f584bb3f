import gzip
import json
from types import SimpleNamespace

import pytest
import torch

from bench.ledger.ledger import file_name
from bench.ledger.schema import SERIES
from bench.measuring import profiling as module
from bench.measuring.profiling import SUFFIX, top_operators, trace
from bench.measuring.work import Work

CPU = torch.device("cpu")


def product(size=64):
    a = torch.ones(size, size)

    def call(end_phase):
        b = a @ a
        end_phase("forward")
        b.exp_()
        end_phase("loss")
        return b.sum()

    return Work(call, CPU, tokens=0)


def event(key, cpu_us, device_us=0.0, count=1, device="CPU", annotation=False):
    return SimpleNamespace(
        key=key,
        count=count,
        self_cpu_time_total=cpu_us,
        self_device_time_total=device_us,
        device_type=SimpleNamespace(name=device),
        is_user_annotation=annotation,
    )


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    path = tmp_path_factory.mktemp("traces") / "deep" / "t.json.gz"
    return trace(product(), path, calls=2), read(path), path


def test_the_trace_shows_each_phase_as_a_range_around_its_operators(traced):
    events = [e for e in traced[1]["traceEvents"] if e.get("ph") == "X"]
    phases = sorted((e for e in events if e["name"].startswith("phase: ")), key=lambda e: e["ts"])
    assert [e["name"] for e in phases] == ["phase: forward", "phase: loss", "phase: rest"] * 2
    (first, *_) = phases
    inside = [e["name"] for e in events if first["ts"] < e["ts"] < first["ts"] + first["dur"]]
    assert "aten::mm" in inside
    assert "aten::exp_" not in inside


def test_the_rows_are_the_series_of_the_record_largest_first(traced):
    rows = traced[0]
    assert {tuple(row) for row in rows} == {SERIES["top_operators"]}
    times = [row["self_time_s"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {"aten::mm", "aten::exp_", "aten::sum"} <= {row["operator"] for row in rows}
    assert {row["calls"] for row in rows if row["operator"] == "aten::mm"} == {2}


def test_nothing_but_the_trace_is_left_in_its_folder(traced):
    assert [p.name for p in traced[2].parent.iterdir()] == ["t.json.gz"]


def test_the_first_call_is_not_traced(tmp_path):
    calls = []

    def call(end_phase):
        torch.ones(2).cos() if calls else torch.ones(2).sin()
        calls.append(1)

    rows = trace(Work(call, CPU, tokens=0), tmp_path / "t.json")
    assert len(calls) == 2
    assert "aten::sin" not in {row["operator"] for row in rows}


def test_times_are_for_one_call_and_shares_of_all_operators():
    events = [event(f"aten::op{i}", 2e6 * (i + 1), count=4) for i in range(20)]
    rows = top_operators(events, 2, on_device=False)
    assert len(rows) == 15
    assert rows[0] == {
        "operator": "aten::op19",
        "calls": 4,
        "self_time_s": 20.0,
        "share": pytest.approx(20 / 210),
    }


def test_on_an_accelerator_its_time_counts_once():
    events = [
        event("aten::mm", 5.0, device_us=90.0),
        event("aten::add", 50.0, device_us=10.0),
        event("aten::view", 50.0),  # no kernel
        event("sgemm_kernel", 0.0, device_us=90.0, device="CUDA"),  # the kernel of mm
        event("phase: forward", 5.0, device_us=100.0),
        event("Optimizer.step#AdamW.step", 5.0, device_us=100.0, annotation=True),
    ]
    rows = top_operators(events, 1, on_device=True)
    assert [(row["operator"], row["share"]) for row in rows] == [
        ("aten::mm", 0.9),
        ("aten::add", 0.1),
    ]


def test_work_without_operators_has_no_rows(tmp_path):
    assert trace(Work(lambda _end_phase: None, CPU, tokens=0), tmp_path / "t.json") == []


def test_an_accelerator_is_observed_where_torch_can(monkeypatch):
    both = {module.ProfilerActivity.CPU, module.ProfilerActivity.CUDA}
    monkeypatch.setattr(module, "supported_activities", lambda: both)
    cuda, mps = torch.device("cuda"), torch.device("mps")
    assert set(module._activities(cuda)) == both
    assert module._activities(mps) == module._activities(CPU) == [module.ProfilerActivity.CPU]
    monkeypatch.setattr(module, "supported_activities", lambda: {module.ProfilerActivity.CPU})
    assert module._activities(cuda) == [module.ProfilerActivity.CPU]


def test_phases_that_change_from_call_to_call_are_refused_in_one_line(tmp_path):
    names = iter(["data", "forward"])
    with pytest.raises(ValueError, match=r"phase 'forward' ended .* data:") as caught:
        trace(Work(lambda end_phase: end_phase(next(names)), CPU, tokens=0), tmp_path / "t.json")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_trace_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, path):
        with open(path, "w") as file:
            file.write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.profile, "export_chrome_trace", full)
    with pytest.raises(ValueError, match=r"cannot write \S+t\.json: No space left") as caught:
        trace(product(), tmp_path / "t.json")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_old_trace_survives_a_failed_one(tmp_path, monkeypatch):
    (tmp_path / "t.json").write_text("old")

    def broken(self, path):
        raise RuntimeError("profiler\nbroke" + "x" * 5_000)

    monkeypatch.setattr(module.profile, "export_chrome_trace", broken)
    with pytest.raises(ValueError, match="profiler") as caught:
        trace(product(), tmp_path / "t.json")
    assert len(str(caught.value)) < 300
    assert (tmp_path / "t.json").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write \S+t\.json: "):
        trace(product(), tmp_path / "file" / "t.json")


@pytest.mark.parametrize(
    ("name", "calls", "message"), [("t.txt", 1, "must end in"), ("t.json", 0, "calls is 0")]
)
def test_wrong_arguments_are_refused_before_the_work_runs(tmp_path, name, calls, message):
    def call(end_phase):
        raise AssertionError("the work ran")

    with pytest.raises(ValueError, match=message):
        trace(Work(call, CPU, tokens=0), tmp_path / name, calls=calls)


ODD_IDS = [
    "bench_model::test_step[python-docs-model1-cpu-fp32-B4-T256-s0]",
    "bench_model::test_step[python-docs-model1-cpu-fp32-B4_T256-s0]",
    "a::b[c/d]", "a::b[c:d]", "a::b[c d]", "a::b[../../etc/passwd]", "a::b[C D]", "a::b[ü]",
    "a::b[é]", "", "...", "a::b[" + "x" * 1_000 + "1]", "a::b[" + "x" * 1_000 + "2]",
    "a::b[\0\n]",
]  # fmt: skip


def test_names_of_traces_are_safe_unique_and_short():
    names = [file_name(case, SUFFIX) for case in ODD_IDS]
    assert len({name.lower() for name in names}) == len(ODD_IDS)
    for name in names:
        assert len(name) <= 150
        assert set(name) <= set(module_letters())
        assert not name.startswith(".")
        assert name.endswith(".json.gz")


def module_letters():
    return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=-"


def test_the_name_of_a_trace_still_reads_like_its_case():
    assert file_name(ODD_IDS[0], SUFFIX).startswith(
        "bench_model_test_step_python-docs-model1-cpu-fp32"
    )
