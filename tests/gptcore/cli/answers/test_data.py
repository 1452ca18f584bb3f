"""What people read of texts, samplers and audits, beside the JSON object of the same call."""

import os
import pty
import re
import statistics
import subprocess
import sys

import pytest

from gptcore.cli.main import COMMANDS, main
from gptcore.console import fixed, format_cell
from gptcore.sampling import SAMPLERS
from tests.helpers.answers import CALLS, row, shown
from tests.helpers.checkout import ROOT


def test_every_command_is_called():
    assert {call.partition(" of ")[0] for call in CALLS} == set(COMMANDS)


@pytest.mark.parametrize("call", CALLS)
def test_eighty_columns_suffice_and_no_number_is_cut(ask, call):
    _, full = ask(call)
    _, answer = ask(call, 80)
    if call != "generate":  # a text as it is
        assert max(map(len, answer.splitlines())) <= 80
    number = r"\d[\d,.]*(?:e[+-]\d+)?"
    assert re.findall(number, answer) == re.findall(number, full)


def test_a_terminal_of_eighty_columns_has_no_longer_line():
    ours, terminal = pty.openpty()
    command = (sys.executable, "-m", "gptcore", "plan", "--tokens", "142515")
    environment = os.environ | {"COLUMNS": "80"}
    process = subprocess.run(command, stdout=terminal, env=environment, check=True, cwd=ROOT)
    os.close(terminal)
    text = os.read(ours, 100_000).decode()
    assert process.returncode == 0
    assert "0.07620" in text
    assert max(map(len, text.splitlines())) <= 80


def test_corpora_are_listed_under_their_own_names(ask):
    result, answer = ask("corpora")
    assert answer.startswith("2 texts are available.\n")
    book = result["corpora"][-1]
    assert row(answer, "novel[final]") == [
        *shown(book["n_tokens"], book["n_bytes"]), "unknown", "local file novel[final].txt",
    ]  # fmt: skip


def test_plan_says_what_is_missed_and_how_fast_the_rest_is_shown(ask):
    result, answer = ask("plan")
    assert answer.startswith(
        "random_replacement is expected to miss 34.6 of 142,514 targets (0.0243 %) in 501 steps: "
        "14.4 epoch-equivalents.\n"
    )
    for name, key in (
        ("missed near the two ends", "expected_missed_edge"),
        ("missed inside", "expected_missed_interior"),
    ):
        assert row(answer, name) == [*shown(result[key]), "targets"]
    assert row(answer, "repeated windows") == ["221.6", "windows"]
    assert row(answer, "steps until 99.9 % of targets are shown") == ["262", "steps"]


def test_plan_of_documents_says_what_each_packing_crops(ask):
    result, answer = ask("plan of documents")
    # The worked example of tests/gptcore/data/test_packing.py.
    assert result["cropped_share"] == {
        "concatenate": 0, "greedy_pad": 1 / 25, "greedy_crop": 9 / 25, "best_fit_crop": 1 / 25,
    }  # fmt: skip
    assert result["padding_share"]["greedy_pad"] == 8 / 32
    assert result["left_over_tokens"]["concatenate"] == 1
    assert answer.startswith(
        "Best-fit packing crops 4 % of 25 tokens in 5 documents, and greedy packing 36 %"
    )


def test_plan_of_all_samplers_names_the_one_that_misses_least(ask):
    result, answer = ask("plan of all")
    plans = {plan["sampler"]: plan for plan in result["samplers"]}
    best = min(plans, key=lambda name: plans[name]["expected_missed_targets"])
    assert answer.startswith(
        f"Of {len(SAMPLERS)} samplers, {best} is expected to miss the fewest targets: 17.1"
    )
    for name, plan in plans.items():
        missed, *_, to_all = row(answer, name)
        assert missed == format_cell(plan["expected_missed_targets"])
        assert to_all == format_cell(plan["steps_for_full_coverage"])


def test_coverage_sets_each_count_beside_its_expectation(ask):
    result, answer = ask("coverage")
    missed, expected = result["missed_targets"], result["expected"]
    assert answer.startswith(
        f"random_replacement never showed {missed} of {result['train_tokens'] - 1:,} targets"
    )
    assert f"from {result['visits_min']} to {result['visits_max']})" in answer
    assert row(answer, "missed targets") == [
        *shown(missed, expected["missed_targets"]), fixed(result["z"]["missed_targets"], 2),
    ]  # fmt: skip
    coverage = 100 * result["alignment_coverage"], 100 * expected["alignment_coverage"]
    assert row(answer, "start coverage, % of starts") == [*shown(*coverage), "-"]
    assert len(answer.splitlines()) < 20


def test_audit_counts_its_findings_then_explains_them(ask):
    result, answer = ask("audit")
    first, fault, note, *_ = answer.splitlines()
    assert first == "1 fault and 1 note were found in 90 draws."
    assert fault.startswith("Fault: lost at borders, 89. ")
    assert result["findings"][0]["explanation"] in fault
    assert result["findings"][1]["example"] in note
    assert row(answer, "targets never shown") == shown(result["missed_targets"])


def test_audit_of_random_draws_has_what_chance_would_show(ask):
    result, answer = ask("audit of random draws")
    assert row(answer, "repeated windows") == shown(
        result["repeated_windows"], result["expected"]["repeated_windows"]
    )


def test_audit_of_a_resume_gives_the_verdict_first(ask):
    result, answer = ask("audit of a resume")
    assert answer.splitlines()[0] == result["verdict"] == "The resumed run repeated 10 windows."
    assert result["begins"]["repeated"] == {"draw": 50, "line": 52, "step": None}
    named = [result[name] for name in ("repeated", "skipped", "reordered", "wrong_epoch")]
    assert named == [10, 0, 0, None]
    assert row(answer, "repeated draws") == ["10", "100"]
    for sentence in result["unjudged"]:
        assert f"Not judged: {sentence}" in answer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("holes.csv --unbroken none.csv --tokens 991", "none.csv"),
        ("holes.csv --unbroken random.csv", "--tokens is missing"),
        ("holes.npy --unbroken random.csv --tokens 991", "--unbroken compares two logs"),
        ("holes.csv --unbroken holes.npy --tokens 991", "holes.npy"),
        ("holes.csv --unbroken random.csv --tokens 991 --epoch-draws 4", "leave it out with"),
        ("holes.csv --unbroken random.csv --tokens 991 --sampler blocks", "leave it out with"),
        ("modern.py:get_batch --unbroken random.csv", "--unbroken is for a log of draws"),
    ],
)
def test_audit_of_a_resume_refuses_what_plays_no_part(folder, capsys, call, message):
    assert main(["audit", *call.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_audit_of_a_resume_may_fail_on_a_fault(folder, capsys):
    call = ["audit", "resumed.csv", "--unbroken", "holes.csv", "--tokens", "991"]
    assert main(call) == 0
    assert main([*call, "--fail-on", "fault"]) == 1
    same = ["audit", "holes.csv", "--unbroken", "holes.csv", "--tokens", "991"]
    assert main([*same, "--fail-on", "fault"]) == 0


def test_audit_that_finds_nothing_says_so(folder, capsys):
    rows = "".join(f"{start},10\n" for start in range(0, 990, 10))
    (folder / "clean.csv").write_text(f"start,length\n{rows}")
    assert main(["audit", "clean.csv", "--tokens", "991"]) == 0
    assert capsys.readouterr().out.startswith("Nothing was found in 99 draws.\n")


def test_bias_begins_with_the_verdict_and_leaves_the_profile_out(ask):
    result, answer = ask("bias")
    tail, blocks = result["tail"], [100 * block["unseen"] for block in result["profile"]]
    assert answer.startswith(result["verdict"] + "\n")
    assert row(answer, "cross-entropy, unigram model, nats per token") == shown(
        tail["unigram"], tail["mean_unigram"], tail["sd_unigram"], tail["rank_unigram"]
    )
    assert row(answer, "tokens unseen in the rest, %") == shown(
        100 * tail["unseen"], statistics.fmean(blocks), statistics.pstdev(blocks),
        tail["rank_unseen"],
    )  # fmt: skip
    assert f"{result['boilerplate_tokens']:,} tokens of the test part" in answer
    assert len(answer.splitlines()) < 15


def test_leakage_says_what_training_shows_of_the_test_part(ask):
    result, answer = ask("leakage")
    assert answer.startswith(
        "Training shows none of the targets of the test part; "
        f"{result['shared_13grams']} of its {result['n_test_13grams']} distinct 13-grams"
    )
    assert row(answer, "targets") == shown(0, result["n_test_targets"], 0)
    assert "novel[final]: 2,999 tokens" in answer


def test_form_sets_each_measure_beside_the_slices(ask):
    result, answer = ask("form")
    rows = {row["name"]: row for row in result["metrics"]}
    known = [row for row in rows.values() if row["z"] is not None]
    unusual = sum(abs(row["z"]) >= 2 for row in known)
    assert result["n_unusual_of_a_slice"] == sum(1 - row["usual_share"] for row in known)
    assert answer.startswith(f"In {unusual} of {len(known)} measures the text is at |z| = 2 or")
    copy = rows["longest_copy_tokens"]
    assert row(answer, "longest copy tokens") == [
        f"{copy['value']:.3g}", f"{copy['mean']:.3g}", f"{copy['z']:+.1f}",
        *(f"{100 * copy[f'share_{side}']:.0f} %" for side in ("below", "above")),
        *(f"{copy[f'{name}_z']:+.1f}" for name in ("unigram", "bigram")),
    ]  # fmt: skip
    assert rows["unpaired_quotes_share"]["value"] is None
