"""Results folders of one study are one run of a page, and others stay apart."""

import copy

import pytest

from reports import load, page, studies
from reports.__main__ import main
from tests.helpers.ledgers import (
    comparison_case,
    design_case,
    environment,
    model_case,
    skip,
    training_case,
    write_ledger,
)

LOSS = {"source_sha256": "c" * 64, "corpora": {"python-docs": "b" * 64}, "versions": {}}
DIFFERENCES = [0.05, 0.07, 0.06, 0.05, 0.08, 0.055, 0.06, 0.07]


def session(name="env-1", cpu="Example CPU @ 2.60GHz", **run):
    """Return the environment of a session that names the part `loss` of its fingerprint."""
    made = copy.deepcopy(environment(environment=name, started_at=f"2026-03-0{name[-1]}T10:00:00"))
    made["facts"]["machine"]["cpu"] = cpu
    made["facts"]["run"] |= {"suite": "study", "loss": LOSS} | run
    return made


def trained(sampler, name="env-1", seeds=8):
    return [training_case(sampler, seed) | {"environment": name} for seed in range(seeds)]


def write(folder, *records):
    return write_ledger(folder, list(records))


@pytest.fixture
def folders(tmp_path):
    """Return two folders of one study, made on two machines."""
    return [
        write(tmp_path / "orders", session("env-1"), design_case(), *trained("a"), *trained("b"),
              comparison_case("a", "b", DIFFERENCES, p_adjusted=0.03),
              skip("bench_convergence::test_train[x]", "no time")),
        write(tmp_path / "repeats", session("env-2", cpu="Other CPU"), *trained("c", "env-2"),
              training_case("x", 0) | {"environment": "env-2"} | {
                  "case": "bench_convergence::test_train[x]"}),
    ]  # fmt: skip


def read(*folders):
    return studies.joined(load.load_runs(folders))


def test_folders_of_one_study_are_one_run(folders):
    (run,) = read(*folders)
    assert run.label == "orders + repeats"
    assert len(run.cases("convergence")) == 25
    assert run.records["bench_convergence::test_train[x]"]["status"] == "ok"
    assert run.parts == {"env-1": str(folders[0]), "env-2": str(folders[1])}
    assert len(run.unfinished) == 0


def test_page_names_the_folder_and_the_machine_of_each_session(folders, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert main([*map(str, folders), "-o", str(output)]) == 0
    text = output.read_text()
    assert "runs, one after the other" not in text
    for part in ("The sessions of this run", "Other CPU", "Example CPU @ 2.60GHz", "env-2"):
        assert part in text
    assert text.count(str(folders[1])) >= 3  # of the session, of a case, of the page
    assert "lower in test loss" in capsys.readouterr().out
    assert main([*map(str, folders), "-o", str(output), "--format", "md"]) == 0


def test_speeds_of_several_machines_are_not_compared(folders):
    (run,) = read(*folders)
    assert run.cases("convergence")["train_tokens_per_s"].isna().all()
    assert run.cases("comparison")["a_time_to_reach_s"].isna().all()
    alone = load.load_runs(folders[:1])[0]
    assert alone.cases("convergence")["train_tokens_per_s"].notna().all()
    assert alone.cases("comparison")["a_time_to_reach_s"].notna().all()
    text = page.render([run], "html")[0]
    assert "the speeds of training runs are not compared" in text
    assert "nan" not in text.lower().split()


APART = {
    "the same case": [session(), *trained("a")],
    "another suite": [session(suite="full"), *trained("c")],
    "other code": [session(loss=LOSS | {"source_sha256": "d" * 64}), *trained("c")],
    "another text": [session(loss=LOSS | {"corpora": {}}), *trained("c")],
    "an older ledger": [environment(), *trained("c")],
    "times of another machine": [session(cpu="Other CPU"), model_case("step", "fp32", 5.0, 2e11)],
}


@pytest.mark.parametrize("other", APART)
def test_runs_that_are_no_study_stay_apart(tmp_path, other):
    one = write(tmp_path / "one", session(), *trained("a"))
    two = write(tmp_path / "two", *APART[other])
    assert [run.label for run in read(one, two)] == ["one", "two"]


def test_times_of_the_same_machine_belong_to_the_study(tmp_path):
    one = write(tmp_path / "one", session(), *trained("a"))
    two = write(tmp_path / "two", session("env-2"), model_case("step", "fp32", 5.0, 2e11))
    assert len(read(one, two)) == 1
