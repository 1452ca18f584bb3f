import numpy as np
import pytest

from bench.comparing.compare import compare, digits
from bench.ledger.folders import RunFolder
from bench.ledger.record import dumps
from tests.helpers import ledgers
from tests.helpers.compared_runs import (
    answer,
    case,
    command,
    environment,
    quiet,
    rounds,
    verdicts,
    write,
)

PEAK = 2.2e11
WIDE = ("--margin", "8")
"""Two runs measured apart cannot be the same within less than the 5 % that no reference sees."""


def test_slowdown_is_called_slower_and_exits_1(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 1.1})])
    code, comparison = answer(capsys, base, new, *WIDE)
    assert code == 1
    assert verdicts(comparison) == {f"c{i}": "slower" if i == 2 else "same" for i in range(6)}
    slower = comparison["cases"][0]
    low, high = slower["interval_95"]
    assert low < 1.1 < high
    assert slower["ratio"] == pytest.approx(1.1, rel=0.02)  # the noise is 0.4 % a round
    assert slower["p_adjusted"] < 0.05
    assert comparison["counts"] == {
        "slower": 1, "missing": 0, "not run": 0, "ambiguous": 0, "faster": 0, "new": 0, "same": 5,
    }  # fmt: skip


def test_speedup_is_called_faster_and_exits_0(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 0.9})])
    code, comparison = answer(capsys, base, new)
    assert (code, verdicts(comparison)["c2"]) == (0, "faster")


def test_a_quarter_shows_in_twenty_rounds_of_one_process(tmp_path):
    def run(name, seed, factor):
        records = [case(f"c{i}", rounds(seed + i, 0.1)) for i in range(4)]
        slow = case("slow", rounds(seed + 9, 0.1 * factor))
        return RunFolder.read(write(tmp_path / name, [environment(), slow, *records]))

    comparison = compare(run("base", 0, 1.0), run("new", 50, 1.3))
    assert comparison.rows[0].case == "bench_model::test_step[slow]"
    assert comparison.rows[0].verdict == "slower"
    assert any("standard deviation of 3 %" in warning for warning in comparison.warnings)


def test_run_is_the_same_as_itself(base, capsys):
    code, comparison = answer(capsys, base, base)
    assert code == 0
    assert set(verdicts(comparison).values()) == {"same"}
    assert all(row["ratio"] == 1 and row["interval_95"] == [1, 1] for row in comparison["cases"])
    assert any("same measurements" in warning for warning in comparison["warnings"])


def test_renamed_case_is_missing_and_exits_3(tmp_path, base, capsys):
    records = quiet(50)
    records[0]["case"] = "bench_model::test_step[renamed]"
    code, comparison = answer(capsys, base, write(tmp_path / "new", [environment(), *records]))
    assert code == 3
    assert (comparison["counts"]["missing"], comparison["counts"]["new"]) == (1, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "failed", "reason": "AssertionError: no", "samples": {}}, "failed in NEW"),
        ({"record": "skip", "status": "skipped", "reason": "too slow"}, "too slow"),
        ({"samples": {}}, "no times"),
    ],
)
def test_case_that_lost_its_times_is_missing_with_the_reason(
    tmp_path, base, capsys, change, reason
):
    records = quiet(50)
    records[3] |= change
    code, comparison = answer(capsys, base, write(tmp_path / "new", [environment(), *records]))
    assert code == 3
    assert comparison["cases"][0]["verdict"] == "missing"
    assert reason in comparison["cases"][0]["reason"]


def test_cases_that_failed_in_both_runs_are_told(tmp_path, capsys):
    records = quiet(0)
    records[3] |= {"status": "failed", "reason": "AssertionError: no", "samples": {}}
    old, new = (write(tmp_path / name, [environment(), *records]) for name in ("old", "new"))
    assert any("1 case failed in both" in line for line in answer(capsys, old, new)[1]["warnings"])


def test_new_and_untimed_cases_do_not_fail(tmp_path, capsys):
    untimed = ledgers.position_case(raw=False)
    old = write(tmp_path / "old", [environment(), untimed, *quiet(0)])
    new = write(tmp_path / "new", [environment(), untimed, *quiet(50), case("more", rounds(5))])
    code, comparison = answer(capsys, old, new)
    assert (code, comparison["untimed"], comparison["counts"]["new"]) == (0, 1, 1)


def test_untimed_case_that_is_gone_is_missing(tmp_path, capsys):
    old = write(tmp_path / "old", [environment(), ledgers.position_case(raw=False), *quiet(0)])
    code, comparison = answer(capsys, old, write(tmp_path / "new", [environment(), *quiet(50)]))
    assert (code, comparison["counts"]["missing"]) == (3, 1)


def test_cut_line_costs_one_case_and_a_warning(tmp_path, base, capsys):
    *whole, last = quiet(50)
    cut = dumps(last).encode()[:200]
    new = write(tmp_path / "new", [environment(), *whole], extra=cut)
    code, comparison = answer(capsys, base, new, *WIDE)
    assert (code, comparison["counts"]["missing"], comparison["counts"]["same"]) == (3, 1, 5)
    assert any("cannot be read" in warning for warning in comparison["warnings"])


def test_last_record_of_a_case_stands(tmp_path, base, capsys):
    slow = quiet(50, {"c1": 3.0})
    new = write(tmp_path / "new", [environment(), slow[1], *quiet(50)])
    assert answer(capsys, base, new)[0] == 0


def test_slower_goes_before_missing(tmp_path, base):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 1.2})[:5]])
    assert command(base, new) == 1
    assert command(base, new, "--fail-on", "missing") == 3
    assert command(base, new, "--fail-on=ambiguous", *WIDE) == 0


def test_runs_without_a_case_in_common_exit_3(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), case("other", rounds(1))])
    assert command(base, new, "--fail-on", "slower") == 3
    assert "no case succeeded in both" in capsys.readouterr().err


def facts_of(part, **fields):
    return {part: environment()["facts"].get(part, {}) | fields}


OTHER = {
    "cpu": facts_of("machine", cpu="Other CPU"),
    "memory_bytes": facts_of("machine", memory_bytes=2**30),
    "cpu_flags": facts_of("machine", cpu_flags=["avx2"]),
    "threads": facts_of("run", threads=1),
    "torch": facts_of("software", torch="2.14.0"),
    "python": facts_of("software", python="3.12.1"),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_conditions_are_refused_by_name(tmp_path, base, capsys, name):
    new = write(tmp_path / "new", [environment(**OTHER[name]), *quiet(50)])
    assert command(base, new) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"not comparable: {name} " in error


def test_a_little_other_memory_and_patch_versions_are_no_reason(tmp_path, base):
    software = facts_of("software", python="3.11.10", numpy="2.4.7")
    machine = facts_of("machine", memory_bytes=16 * 2**30 - 10**8, platform="Linux-6.2")
    assert (
        command(base, write(tmp_path / "n", [environment(**software, **machine), *quiet(9)])) == 0
    )


def test_other_corpus_is_refused_only_for_cases_that_use_it(tmp_path, base):
    corpora = [environment()["facts"]["corpora"][0] | {"sha256": "c" * 64}]
    new = write(tmp_path / "new", [environment(corpora=corpora), *quiet(50)])
    assert command(base, new) == 3
    free = [record | {"params": {"device": "cpu"}} for record in quiet(0)]
    old = write(tmp_path / "old", [environment(), *free])
    assert command(old, new) == 0


def test_run_without_an_environment_is_refused(tmp_path, base, capsys):
    new = write(tmp_path / "new", quiet(50))
    assert command(base, new) == 3
    assert command(base, new, "--normalise") == 3
    assert "no environment record" in capsys.readouterr().err


def ceilings(peak, end=None):
    return {
        "ceilings": {"cpu": {"gemm_fp32_flops_per_s": peak}},
        "end": {"ceilings": {"cpu": {"gemm_fp32_flops_per_s": end or peak}}},
    }


def test_normalise_compares_shares_of_the_ceiling(tmp_path, capsys):
    old = write(tmp_path / "old", [environment(**ceilings(PEAK)), *quiet(0)])
    facts = ceilings(2 * PEAK) | OTHER["cpu"]
    half = {f"c{i}": 0.5 for i in range(6)} | {"c4": 0.6}
    new = write(tmp_path / "new", [environment(**facts), *quiet(50, half)])
    code, comparison = answer(capsys, old, new, "--normalise", *WIDE)
    assert code == 1
    assert verdicts(comparison) == {f"c{i}": "slower" if i == 4 else "same" for i in range(6)}
    assert comparison["normalised"]
    assert any("cpu" in warning for warning in comparison["warnings"])


def test_ceiling_that_moved_within_a_run_widens_the_interval(tmp_path, capsys):
    old = write(tmp_path / "old", [environment(**ceilings(PEAK)), *quiet(0)])
    widths = []
    for end in (1.0, 1.1):
        new = write(tmp_path / f"n{end}", [environment(**ceilings(PEAK, end * PEAK)), *quiet(50)])
        low, high = answer(capsys, old, new, "--normalise")[1]["cases"][0]["interval_95"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_case_without_a_ceiling_is_missing_when_normalised(tmp_path, capsys):
    start = environment(**ceilings(PEAK))
    del start["metrics"]["copy_bytes_per_s"]
    old, new = (
        write(tmp_path / str(i), [start, *quiet(i), loading])
        for i, loading in enumerate(
            case("load", rounds(i), params={"corpus": ledgers.CORPUS}) for i in range(2)
        )
    )
    code, comparison = answer(capsys, old, new, "--normalise")
    assert (code, verdicts(comparison)["load"]) == (3, "missing")
    assert "copy_bytes_per_s" in comparison["cases"][0]["reason"]


def test_one_round_and_a_time_of_zero_are_ambiguous(tmp_path, capsys):
    def records(seed):
        return [
            environment(),
            case("one", rounds(seed, n=1)),
            case("zero", [0.0, 0.1]),
            *quiet(seed),
        ]

    new = records(50)
    new[1]["samples"]["time_s"] = [1e6]
    code, comparison = answer(capsys, write(tmp_path / "a", records(0)), write(tmp_path / "b", new))
    assert code == 0
    assert (verdicts(comparison)["one"], verdicts(comparison)["zero"]) == ("ambiguous", "ambiguous")


def test_a_ratio_beyond_all_floats_is_null_and_slower(tmp_path, capsys):
    def run(name, level_s):
        huge = case("huge", [level_s] * 20, samples={"process_time_s": [level_s] * 3})
        return write(tmp_path / name, [environment(), huge, *quiet(len(name))])

    code, comparison = answer(capsys, run("a", 1e-300), run("bb", 1e300))
    assert (code, comparison["cases"][0]["ratio"]) == (1, None)


def test_slower_machine_is_no_slower_code(tmp_path, capsys):
    def run(name, seed, factor):
        rng = np.random.default_rng(seed)
        records = quiet(seed, {f"c{i}": factor for i in range(6)})
        for record in records:
            record["samples"]["reference_s"] = (factor * 1e-3 * rng.normal(1, 0.003, 2)).tolist()
        return write(tmp_path / name, [environment(), *records])

    code, comparison = answer(capsys, run("base", 0, 1.0), run("new", 50, 1.08))
    assert code == 0
    assert comparison["counts"]["slower"] == 0
    assert any("+8.0 % time" in warning for warning in comparison["warnings"])


def test_one_difference_among_many_cases_has_to_be_larger(tmp_path, capsys):
    def run(name, factor):
        records = [environment()]
        for i in range(30):
            level_s = 0.1 * (factor if i == 0 else 1 + 1e-4 * len(name))
            spread = {"process_time_s": [level_s * x for x in (1, 0.98, 1.02)]}
            records.append(case(f"c{i}", [level_s] * 5, samples=spread))
        return write(tmp_path / name, records)

    old, new = run("base", 1.0), run("new", 1.1)
    _, comparison = answer(capsys, old, new)
    assert verdicts(comparison)["c0"] == "ambiguous"
    assert "not among all cases" in comparison["cases"][0]["reason"]
    assert verdicts(answer(capsys, old, new, "-k", "[c0]")[1])["c0"] == "slower"


def test_processes_that_disagree_make_a_case_ambiguous(tmp_path, capsys):
    def run(name, seed):
        records = quiet(seed)
        for i, record in enumerate(records):
            spread = np.random.default_rng(seed + i).normal(1, 0.05, 3)
            record["samples"]["process_time_s"] = (0.1 * spread).tolist()
        return write(tmp_path / name, [environment(), *records])

    _, comparison = answer(capsys, run("base", 0), run("new", 50))
    assert comparison["counts"]["ambiguous"] == 6


NOT_RUN = "not run: it would exceed the suite's time"


@pytest.mark.parametrize("side", ["base", "new"])
def test_case_that_a_suite_had_no_time_for_is_not_run_and_fails_only_if_asked(
    tmp_path, capsys, side
):
    left_out = {"record": "skip", "status": "skipped", "reason": NOT_RUN, "samples": {}}
    runs = {name: quiet(seed) for name, seed in (("base", 0), ("new", 50))}
    runs[side][3] |= left_out
    old, new = (write(tmp_path / name, [environment(), *runs[name]]) for name in ("base", "new"))
    code, comparison = answer(capsys, old, new)
    assert (code, comparison["counts"]["not run"], comparison["counts"]["missing"]) == (0, 1, 0)
    assert comparison["cases"][0]["verdict"] == "not run"
    assert NOT_RUN in comparison["cases"][0]["reason"]
    assert command(old, new, "--fail-on", "missing") == 3
    assert command(old, new, "--fail-on", "slower") == 0
    for form in ("text", "md"):
        capsys.readouterr()
        command(old, new, "--format", form)
        assert "not run" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["growth", "conditions", "pair", "peers", "ablation"])
def test_what_judges_within_its_own_run_gets_no_verdict_but_may_be_missing(tmp_path, capsys, group):
    own = case("own", rounds(1), group=group)
    slow = case("own", rounds(2, 0.3), group=group)
    old = write(tmp_path / "old", [environment(), own, *quiet(0)])
    new = write(tmp_path / "new", [environment(), slow, *quiet(50)])
    code, comparison = answer(capsys, old, new)
    assert (code, comparison["not_judged"], len(comparison["cases"])) == (0, 1, 6)
    gone = write(tmp_path / "gone", [environment(), *quiet(50)])
    assert answer(capsys, old, gone)[0] == 3


def test_detectable_slowdown_is_told_and_may_be_required(tmp_path, base, capsys):
    new = write(tmp_path / "new", [environment(), *quiet(50)])
    code, comparison = answer(capsys, base, new)
    known = [row["detectable_ratio"] for row in comparison["cases"]]
    assert all(1.05 < ratio < 1.1 for ratio in known)  # 5 % that no reference sees, and the noise
    assert comparison["detectable_ratio"] == max(known)  # 9 of 10 of six cases are all of them
    assert code == 0
    assert any("may have been overlooked" in line for line in comparison["warnings"])
    assert command(base, new, "--require-power") == 3
    assert command(base, new, "--require-power", "--margin", "10") == 0
    for form in ("text", "md"):
        capsys.readouterr()
        command(base, new, "--format", form)
        out = capsys.readouterr().out
        assert "his comparison could have seen x 1.0" in out
        assert "each with a probability of 80 %" in out


def test_missing_power_does_not_hide_a_slower_case(tmp_path, base):
    new = write(tmp_path / "new", [environment(), *quiet(50, {"c2": 1.3})])
    assert command(base, new, "--require-power") == 1


def test_slower_memory_is_no_slower_code(tmp_path, capsys):
    """All cases and the copy are 12 % slower, and the matrix product is not."""

    def run(name, seed, factor):
        rng = np.random.default_rng(seed)
        records = quiet(seed, {f"c{i}": factor for i in range(6)})
        for record in records:
            samples = record["samples"]
            samples["reference_s"] = (1e-3 * rng.normal(1, 0.003, 2)).tolist()
            samples["memory_reference_s"] = (factor * 1e-2 * rng.normal(1, 0.003, 2)).tolist()
        return write(tmp_path / name, [environment(), *records])

    code, comparison = answer(capsys, run("base", 0, 1.0), run("new", 50, 1.12))
    assert (code, comparison["counts"]["slower"]) == (0, 0)
    assert any("copy of memory took +1" in warning for warning in comparison["warnings"])


def test_a_case_that_changes_alone_is_not_the_machine(tmp_path, capsys):
    """What all cases share may be the machine, up to 10 %; what one does alone, up to 5 %."""
    old = write(tmp_path / "old", [environment(), *quiet(0)])
    alone = write(tmp_path / "alone", [environment(), *quiet(50, {"c2": 1.08})])
    together = {f"c{i}": 1.08 for i in range(6)}
    shared = write(tmp_path / "shared", [environment(), *quiet(50, together)])
    assert answer(capsys, old, alone)[1]["counts"]["slower"] == 1
    assert answer(capsys, old, shared)[1]["counts"]["slower"] == 0


@pytest.mark.parametrize(("value", "text"), [(190.4, "190"), (5.64, "5.6"), (0.0344, "0.034")])
def test_half_a_wide_interval_is_told_without_an_exponent(value, text):
    assert digits(value) == text
