import pytest

from bench.bench_pair import test_pair as run_pair_case
from bench.experiments import pairs
from bench.ledger.record import FIELDS, SCHEMA_VERSION, validate
from bench.measuring.work import Result
from bench.suite.cases import ModelCase, PairCase
from bench.suite.catalog import params
from tests.helpers.machine import Machine

BASE = ModelCase("python-docs", "model3", "cpu", "fp32", 2, 64, "step")


class Pedantic:
    def pedantic(self, target, args, rounds):
        assert rounds == 1
        return target(*args)


def run_case(monkeypatch, machine, case, seconds_of):
    """Return the record of `case` and the cases that were built; the k-th takes seconds_of(k)."""
    built = []

    def build_fake(_test, built_case, _inputs):
        built.append(built_case)
        return machine.work(len(built), seconds_of(len(built)))

    monkeypatch.setattr(pairs, "work_of", build_fake)
    result = Result()
    run_pair_case(Pedantic(), result, None, case)
    record = dict.fromkeys(FIELDS) | {
        "schema_version": SCHEMA_VERSION,
        "record": "case",
        "case": f"bench_pair::test_pair[{case.id}]",
        "group": "pair",
        "params": params(case),
        "status": "ok",
        "metrics": result.metrics,
        "samples": result.samples,
        "series": result.series,
        "facts": result.facts,
        "environment": "e",
        "started_at": "2026-01-01T00:00:00+00:00",
        "command": "pytest",
    }
    return validate(record), built


def test_case_against_itself_is_built_anew_for_each_trial(monkeypatch, on_machine):
    machine = on_machine(Machine(0))
    case = PairCase(BASE, "", 3, 1.0)
    record, built = run_case(monkeypatch, machine, case, lambda _: 0.02)
    assert built == [BASE] * 4
    metrics, trials = record["metrics"], record["series"]["trials"]
    assert (metrics["trials"], metrics["false_alarms"]) == (3, 0)
    # Clopper and Pearson (1934): none of three, 1 - 0.025^(1/3).
    assert metrics["false_alarm_high"] == pytest.approx(0.7076, abs=1e-4)
    assert metrics["pairs"] == len(record["samples"]["a_time_s"]) > 60
    pooled = metrics["ratio_high"] - metrics["ratio_low"]
    assert pooled < min(t["ratio_high"] - t["ratio_low"] for t in trials)


def test_trials_called_slower_or_faster_are_false_alarms(monkeypatch, on_machine):
    machine = on_machine(Machine(0))
    case = PairCase(BASE, "", 3, 1.0)
    record, _ = run_case(monkeypatch, machine, case, lambda k: 0.03 if k == 3 else 0.02)
    metrics = record["metrics"]
    assert (metrics["false_alarms"], metrics["missed_cover"]) == (1, 1)
    assert metrics["false_alarm_rate"] == 1 / 3
    assert metrics["false_alarm_high"] == pytest.approx(0.9057, abs=1e-4)


def test_case_with_a_change_times_the_changed_case(monkeypatch, on_machine):
    machine = on_machine(Machine(0))
    case = PairCase(BASE, "precision=bf16", 1, 1.0)
    record, built = run_case(monkeypatch, machine, case, lambda k: 0.02 / k)
    assert [c.precision for c in built] == ["fp32", "bf16"]
    assert record["facts"]["verdict"] == "faster"
    assert record["metrics"]["ratio"] == pytest.approx(0.5, abs=0.02)
    assert "trials" not in record["metrics"]
