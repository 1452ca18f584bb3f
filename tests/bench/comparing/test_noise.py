import math

import numpy as np
import pytest

from bench.comparing.noise import Difference, Part, Prior, difference, noise
from bench.comparing.timing import is_timed, median_variance, timing
from gptcore.stats import holm, verdict
from tests.helpers import ledgers


def case(name, times_s, samples):
    return ledgers.record(name, samples={"time_s": list(times_s)} | samples)


def test_variance_of_the_median_covers_independent_and_dependent_rounds():
    rng = np.random.default_rng(3)
    for n, memory in ((5, 0.0), (8, 0.0), (20, 0.0), (200, 0.6)):
        medians, estimates = [], []
        for _ in range(200):
            values = rng.normal(0, 1, n)
            for i in range(1, n):
                values[i] += memory * values[i - 1]
            medians.append(np.median(values))
            estimates.append(median_variance(values)[0])
        # A bootstrap of few values is coarse: within a factor of 2 on average, never far too small.
        assert 0.75 < np.mean(estimates) / np.var(medians) < 2.5


def simulated_run(rng, levels, sds, machine):
    """Ledger of a run: outliers, slow drift, processes that differ, a machine of its own speed."""
    records = []
    for i, (level, sd) in enumerate(zip(levels, sds, strict=True)):
        n = int(rng.choice([5, 8, 20, 60]))
        logs = level + machine + rng.normal(0, sd, 3)
        drift = np.cumsum(rng.normal(0, 0.001, n))
        noise = rng.normal(0, 0.01, n) + (rng.random(n) < 0.05) * math.log(1.3)
        samples = {
            "process_time_s": np.exp(logs + rng.normal(0, 0.003, 3)).tolist(),
            "reference_s": (1e-3 * np.exp(machine + rng.normal(0, 0.005, 2))).tolist(),
        }
        if i % 2:
            del samples["process_time_s"]
        records.append(case(f"c{i}", np.exp(logs[0] + drift + noise), samples=samples))
    return {record["case"]: timing(record) for record in records if is_timed(record)}


def test_runs_of_the_same_code_are_rarely_called_different():
    rng = np.random.default_rng(8)
    wrong = families = cases = 0
    for _ in range(30):
        levels, sds = rng.normal(-3, 1, 24), 0.01 * np.exp(rng.normal(0, 0.5, 24))
        base, new = (simulated_run(rng, levels, sds, rng.normal(0, 0.02)) for _ in range(2))
        estimate = noise(base, new)
        compared = [difference(base[name], new[name], estimate) for name in base]
        adjusted = holm([d.p_value for d in compared])
        calls = [
            verdict(*(math.exp(x) for x in (d.d, *d.interval)), margin=0.03)
            for d, p in zip(compared, adjusted, strict=True)
            if p <= 0.05
        ]
        false = sum(call in ("slower", "faster") for call in calls)
        wrong, families, cases = wrong + false, families + bool(false), cases + len(compared)
    assert wrong / cases <= 0.01
    assert families <= 4  # 5 % of 30 families is 1.5; more than 4 has a probability of 1.6 %


@pytest.mark.parametrize("n_cases", [1, 2, 3, 5])
def test_few_cases_in_two_processes_are_rarely_called_different(n_cases):
    rng = np.random.default_rng(n_cases)

    def run():
        timings = {}
        for name in map(str, range(n_cases)):
            logs = rng.normal(-3, 0.05, 2)
            times = np.exp(logs[0] + rng.normal(0, 0.01, 20))
            samples = {"process_time_s": np.exp(logs).tolist()}
            timings[name] = timing(case(f"m::t[{name}]", times, samples))
        return timings

    false = 0
    for _ in range(100):
        base, new = run(), run()
        noises = noise(base, new)
        compared = [difference(base[name], new[name], noises) for name in base]
        adjusted = holm([d.p_value for d in compared])
        false += any(
            p <= 0.05 and abs(d.d) > math.log(1.03) for d, p in zip(compared, adjusted, strict=True)
        )
    assert false <= 10  # 5 % of 100 is 5; more than 10 has a probability of 1 %


def test_time_without_rounds_is_not_passed_over():
    record = ledgers.record("m::t[a]", metrics={"time_s": 0.5})
    assert is_timed(record)
    assert timing(record).rounds == 1


def test_cases_of_one_process_are_rarely_called_different_beside_quieter_ones_of_three():
    rng, families = np.random.default_rng(5), 0

    def run():
        quiet = {f"q{i}": tuple(rng.normal(-3, 0.01, 3)) for i in range(6)}
        logs = quiet | {f"lone{i}": (rng.normal(-3, 0.05),) for i in range(4)}
        return {
            name: timing(case(name, np.exp(values[0] + rng.normal(0, 0.01, 5)), samples))
            for name, values in logs.items()
            for samples in [{"process_time_s": np.exp(values).tolist()} if values[1:] else {}]
        }

    for _ in range(40):
        base, new = run(), run()
        estimate = noise(base, new)
        p_values = [difference(base[name], new[name], estimate).p_value for name in base]
        families += min(holm(p_values)) <= 0.05
    assert families <= 4


def test_a_noisy_case_keeps_its_own_variance():
    prior = Prior(0.01**2, 8)
    assert prior.moderate(Part(0.1**2, 4)).variance == pytest.approx(0.1**2)
    assert prior.moderate(Part(0.001**2, 4)).variance > 0.005**2
    assert prior.moderate(None) == Part(0.03**2, 4)


def test_detectable_slowdown_is_found_in_four_of_five():
    rng = np.random.default_rng(4)
    parts, bound, level = (Part(0.02**2, 4),), 0.05, 0.0025
    least = Difference(0.0, parts, bound).detectable(level)
    found = 0
    for _ in range(500):
        error = 0.02 * math.sqrt(rng.chisquare(4) / 4)
        d = least + rng.normal(0, 0.02)
        found += Difference(d, (Part(error**2, 4),), bound).p_value <= level
    assert 0.78 < found / 500 < 0.9  # the normal approximation gives 84 %


def test_paired_rounds_cancel_what_both_sides_share():
    rng = np.random.default_rng(5)
    drift = np.cumsum(rng.normal(0, 0.2, 8))
    runs = []
    for change in (0.0, 0.05):
        logs = {f"c{i}": drift + change + rng.normal(0, 0.01, 8) for i in range(6)}
        runs.append(
            {
                name: timing(case(name, [1.0], {"process_time_s": np.exp(values).tolist()}))
                for name, values in logs.items()
            }
        )
    paired = noise(*runs, paired=True)
    for name in runs[0]:
        low, high = difference(runs[0][name], runs[1][name], paired).interval
        assert 0 < low < 0.05 < high + 0.01
        assert high - low < 0.05


def test_one_paired_round_shows_no_variance():
    runs = [
        {"a": timing(case("m::t[a]", [1.0], {"process_time_s": [level_s]}))}
        for level_s in (0.1, 0.2)
    ]
    assert difference(runs[0]["a"], runs[1]["a"], noise(*runs, paired=True)) is None
