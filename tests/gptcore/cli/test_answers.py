"""What people read: the answer of every command, beside the JSON object of the same call."""

import json
import math
import os
import pty
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from gptcore.cli.main import COMMANDS, main
from gptcore.console import fixed, format_cell
from gptcore.data.corpora import load_corpus
from gptcore.data.splits import make_split
from gptcore.data.tokenizer import encode, gpt2_encoding
from gptcore.sampling import SAMPLERS
from tests.helpers.loss_tables import TRUTH, ladder, trajectories

ROOT = Path(__file__).parents[3]
TINY = "--n-layer 1 --n-head 2 --n-embd 8 --block-size 16 --batch-size 2"
CALLS = {
    "corpora": "corpora novel[final].txt",
    "tokenize": "tokenize novel[final].txt story.txt --out tokens",
    "plan": "plan --tokens 142515",
    "plan of all": "plan --tokens 142515 --all",
    "plan of documents": "plan --documents lengths.txt --block-size 7",
    "coverage": "coverage --corpus novel[final].txt --block-size 32 --steps 40",
    "audit": "audit holes.csv --tokens 991",
    "audit of random draws": "audit random.csv --tokens 991",
    "audit of a resume": "audit resumed.csv --unbroken holes.csv --tokens 991",
    "check": "check modern.py",
    "bias": "bias --corpus story.txt --raw",
    "leakage": "leakage --corpus novel[final].txt --block-size 16 --split block:3/10",
    "train": f"train --out first --corpus novel[final].txt --steps 3 {TINY} --resume",
    "generate": "generate --checkpoint first --prompt 1:100:2,[b]:smile: --new-tokens 5",
    "evaluate": "evaluate --checkpoint first --corpus novel[final].txt --train-fraction 0.7",
    "evaluate of a file": "evaluate --checkpoint first --file story.txt --context 8 --stride 3",
    "evaluate of the training part": "evaluate --checkpoint first --corpus novel[final].txt "
    "--part train",
    "export": "export --checkpoint first --out saved",
    "form": "form written.txt --corpus story.txt",
    "cost": "cost --model gpt2 --tokens 1e10",
    "cost of a measured speed": "cost --model model5 --tokens 1e8 --tokens-per-s 4e3,5e3,8e3 "
    "--price 0.5 --joules-per-token 0.018",
    "cost of building and reusing": "cost --model model4 --tokens 1e9 --law law.json "
    "--fine-tuned tuned.json --published-loss 2.9",
    "cost of an unknown price": "cost --tokens 7200 --tokens-per-s 2",
    "scale fit": "scale fit ladder.csv --bootstraps 20",
    "scale fit of too few": "scale fit two.csv",
    "scale evaluate": "scale evaluate losses.csv --family one",
    "scale evaluate of several": "scale evaluate ladder.csv",
    "scale predict": "scale predict --law law.json --params 5e9 --tokens 1e11",
    "scale allocate": "scale allocate --law law.json --flops 1e20",
    "scale isoflop": "scale isoflop levels.csv",
    "scale plan": "scale plan --budget 1e18 --target-params 1e9",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the texts, logs, tables, law and trained model of CALLS; it is entered."""
    path = tmp_path_factory.mktemp("answers")
    book = "\r\n".join(f"The {i}th sheep jumped over the fence." for i in range(300))
    (path / "novel[final].txt").write_text(book)
    (path / "lengths.txt").write_text("6\n3\n5\n2\n9\n")
    marker = "*** {} OF THE PROJECT GUTENBERG EBOOK SHEEP ***\n"
    story = "The cat sat on the mat and the dog sat on the log. " * 1500
    licence = "Redistribution is subject to trademark licence terms, royalties and fees. " * 60
    (path / "story.txt").write_text(
        marker.format("START") + story + "\n" + marker.format("END") + licence
    )
    (path / "written.txt").write_text("The dog sat on the mat.\nThe cat sat on it. " * 9)
    for name, starts in (
        ("holes", range(0, 990, 11)),
        ("resumed", [*range(0, 550, 11), *range(440, 990, 11)]),
        ("random", [(i * i * 37 + i) % 981 for i in range(400)]),
    ):
        rows = "".join(f"{start},10\n" for start in starts)
        (path / f"{name}.csv").write_text(f"start,length\n{rows}")
    shutil.copy(ROOT / "tests/helpers/modern_gpt.py", path / "modern.py")
    ladder(noise=0.003).to_csv(path / "ladder.csv", index=False)
    trajectories(sizes=2).to_csv(path / "two.csv", index=False)
    both = [trajectories(noise=0.003).assign(family=name) for name in ("one", "two")]
    pd.concat(both).to_csv(path / "losses.csv", index=False)
    tokens = [10.0**k for k in range(4, 9)]
    tuned = {"model": list("abcde"), "params": 1e8, "tokens_seen": tokens}
    losses = {"loss": [2.4 + 9 / n**0.3 for n in tokens]}
    pd.DataFrame(tuned | losses).to_csv(path / "tuned.csv", index=False)
    levels = ladder(sizes=7, step=2.0, lengths=(1,))
    levels = pd.concat(
        levels.assign(tokens_seen=flops / 6 / levels["params"]) for flops in (1e18, 1e19)
    )
    e, a, b, alpha, beta = TRUTH.values()
    levels["loss"] = e + a / levels["params"] ** alpha + b / levels["tokens_seen"] ** beta
    levels.assign(model=[f"m{i}" for i in range(14)]).to_csv(path / "levels.csv", index=False)
    before = os.getcwd()
    os.chdir(path)
    with open(os.devnull, "w") as nowhere, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", nowhere)
        assert main(CALLS["train"].split()) == 0
        with open("law.json", "w") as law:
            patch.setattr(sys, "stdout", law)
            assert main([*CALLS["scale fit"].split(), "--json"]) == 0
        with open("tuned.json", "w") as law:
            patch.setattr(sys, "stdout", law)
            assert main(["scale", "fit", "tuned.csv", "--json"]) == 0
    yield path
    os.chdir(before)


@pytest.fixture
def ask(folder, capsys, monkeypatch):
    """Run a call of CALLS; return its JSON object and its answer on a terminal of that width."""

    def run(call, width=None):
        assert main([*CALLS[call].split(), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        monkeypatch.setenv("COLUMNS", str(width or 80))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None, raising=False)
        assert main(CALLS[call].split()) == 0
        return result, capsys.readouterr().out

    return run


def row(answer, name):
    """Return the cells of a row of a table after its first one."""
    (line,) = (line for line in answer.splitlines() if re.match(re.escape(name) + "(  |$)", line))
    return re.split("  +", line)[1:]


def shown(*values):
    return [format_cell(value) for value in values]


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


def test_train_says_where_it_ended_and_what_can_follow(ask):
    result, answer = ask("train")
    loss = result["final_loss"]
    assert answer.startswith(f"Training reached step 3 of 3 with a loss of {loss:.3f} nats per")
    assert row(answer, "parameters") == [*shown(result["n_params"]), "parameters"]
    assert "The run is in first:" in answer
    assert "  gptcore evaluate --checkpoint first\n" in answer
    assert result["cost_command"].startswith("gptcore cost --tokens 1e9 --model model4 --n-layer 1")


def test_the_command_that_train_prints_gives_the_cost_at_its_speed(ask, capsys):
    result, _ = ask("train")
    assert main([*result["cost_command"].split()[1:], "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["n_params"] == result["n_params"]
    assert cost["hours"]["mid"] == pytest.approx(1e9 / result["tokens_per_s"] / 3600, rel=0.001)


def test_generate_prints_the_text_as_it_is_and_nothing_else(ask):
    result, answer = ask("generate", 10)
    assert answer == result["text"] + "\n"
    assert answer.startswith("1:100:2,[b]:smile:")


def test_evaluate_gives_the_loss_with_its_interval(ask):
    result, answer = ask("evaluate")
    loss, (low, high) = result["loss_nats_per_token"], result["interval_95"]
    assert answer.startswith(
        f"The loss is {loss:.3f} nats per token (95 % interval {low:.3f} to {high:.3f}), or "
        f"{result['bits_per_byte']:.3f} bits per byte, over {result['n_targets']} targets.\n"
    )
    assert row(answer, "95 % interval, upper end") == [fixed(high), "nats per token"]
    assert row(answer, "95 % interval of that, lower end") == [
        fixed(result["difference_interval_95"][0]), "nats per token"
    ]  # fmt: skip
    assert "The intervals are for the mean loss of this model over a text of this kind" in answer


def test_evaluate_of_a_file_scores_all_of_it_by_the_protocol_that_it_names(ask):
    result, answer = ask("evaluate of a file")
    text = load_corpus("story.txt").text
    assert result["n_targets"] == result["n_tokens"] - 1 == len(encode(text)) - 1
    assert result["baseline_loss_nats_per_token"] is None
    assert result["by_visits"] is None
    assert {name: result["protocol"][name] for name in ("context", "stride", "least_context")} == {
        "context": 8, "stride": 3, "least_context": 6
    }  # fmt: skip
    assert "from at most 8 tokens before it and, after the first window, from at least 6" in answer
    assert "all of them scored" in answer
    places = [(group["first"], group["last"]) for group in result["by_position"]]
    assert (places[0][0], places[-1][1]) == (1, result["n_tokens"] - 1)
    assert [(g["first"], g["last"]) for g in result["by_context"]] == [
        (1, 1),
        (2, 2),
        (3, 4),
        (5, 8),
    ]


def test_evaluate_of_the_training_part_gives_the_loss_by_visits(ask):
    result, answer = ask("evaluate of the training part")
    rows = result["by_visits"]
    assert sum(row["n_targets"] for row in rows) == result["n_targets"]
    shown_targets = sum(row["first"] * row["n_targets"] for row in rows)
    assert shown_targets == 3 * 2 * 16  # steps, windows in a batch, targets of a window
    mean = sum(row["loss"] * row["n_targets"] for row in rows) / result["n_targets"]
    assert mean == pytest.approx(result["loss_nats_per_token"])
    assert "visits in training, from" in answer
    low, high = result["memorisation_gap_interval_95"]
    assert low < result["memorisation_gap"] < high


@pytest.mark.parametrize(
    "change",
    [
        lambda fingerprint: fingerprint.pop("sampler"),
        lambda fingerprint: fingerprint.update(sampler="random windows"),
        lambda fingerprint: fingerprint["sampler"].update(world=2),
        lambda fingerprint: fingerprint.pop("train"),
    ],
)
def test_visits_are_null_where_a_run_does_not_tell_them(folder, capsys, change):
    (path,) = (folder / "first/checkpoints").iterdir()
    content = torch.load(path, weights_only=True)
    change(content["fingerprint"])
    (folder / "other").mkdir(exist_ok=True)
    torch.save(content, folder / "other" / path.name)
    command = "evaluate --checkpoint other --part train --corpus novel[final].txt --json"
    assert main(command.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["by_visits"] is None
    assert result["memorisation_gap"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--file story.txt --part train", "--part train is a part of --corpus"),
        ("--file story.txt --context 17", "--context is 17; the model reads at most 16 tokens"),
        ("--file story.txt --stride 17", "--stride is 17; it must be at most the context, 16"),
        ("--file story.txt --stride 0", "0"),
        ("--file absent.txt", "absent.txt"),
        ("--file one.txt", "the text has 1 token: give one of two or more"),
    ],
)
def test_evaluate_refuses_in_one_line(folder, capsys, options, message):
    (folder / "one.txt").write_text("a")
    assert main(f"evaluate --checkpoint first {options}".split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_text_shorter_than_a_window_is_scored_with_all_of_its_context(folder, capsys):
    (folder / "short.txt").write_text("The sheep jumped.")
    assert main(["evaluate", "--checkpoint", "first", "--file", "short.txt", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n_targets"] == result["n_tokens"] - 1 < 16
    assert result["protocol"]["context"] == result["n_targets"]
    assert result["protocol"]["least_context"] == 1


def test_begin_of_text_lets_the_first_token_be_scored(folder, capsys):
    results = []
    for option in ("", "--bos"):
        command = f"evaluate --checkpoint first --file story.txt --json {option}"
        assert main(command.split()) == 0
        results.append(json.loads(capsys.readouterr().out))
    without, with_bos = results
    assert with_bos["n_targets"] == without["n_targets"] + 1 == with_bos["n_tokens"]
    assert with_bos["protocol"]["first_token_scored"]
    assert with_bos["by_position"][0]["first"] == 0
    assert with_bos["protocol"]["weights"] == "last"


def test_cost_gives_money_and_time_as_ranges_with_their_sources(ask):
    result, answer = ask("cost")
    money = result["money"]
    assert answer.startswith(
        "Training 124,439,808 parameters on 1e+10 tokens takes 8.544e+18 FLOPs, 5.851 hours of one "
        f"h100 (5.192 to 11.26) and {format_cell(money['mid'])} US dollars ("
    )
    assert row(answer, "money, with development") == [
        *shown(*result["money_with_development"].values()), "US dollars"
    ]  # fmt: skip
    assert result["energy_kwh"] is None
    assert "The energy is not known, because no counter of it was read" in answer
    assert all(source in answer for source in result["sources"])
    assert "2025-10 to 2026-05" in answer


def test_cost_at_a_measured_speed_uses_no_table(ask):
    result, answer = ask("cost of a measured speed")
    assert row(answer, "time of one machine or accelerator") == [
        *shown(1e8 / 8e3 / 3600, 1e8 / 5e3 / 3600, 1e8 / 4e3 / 3600), "hours"
    ]  # fmt: skip
    assert row(answer, "energy") == ["0.5000", "0.5000", "0.5000", "kWh"]
    assert row(answer, "money, this run alone")[-1] == "units of --price"
    assert [source[:19] for source in result["sources"]] == ["Cost of a model wit"]


def test_cost_without_a_price_says_what_to_give(ask):
    result, answer = ask("cost of an unknown price")
    assert answer.startswith(
        "Training 7,259,008 parameters on 7,200 tokens takes 3.232e+11 FLOPs and 1 hours of one "
        "machine."
    )
    assert result["money"] is result["money_with_development"] is None
    assert "because no price of an hour is: give --price." in answer


def test_cost_beside_a_published_model_gives_the_break_even_and_all_options(ask):
    result, answer = ask("cost of building and reusing")
    found = result["break_even"]
    assert found["tokens"] == {"low": None, "mid": None, "high": None}  # 7 million parameters
    assert found["verdict"] in answer
    assert found["verdict"].startswith("Never at this size with up to 1e+15 tokens: 7.26e+06")
    assert found["money_with_development"] is None
    for option in result["options"]:
        cells = row(answer, option["option"])
        assert cells[1] == fixed(option["loss"]["mid"], 3)
        assert cells[3:] == shown(*option["money"].values())
    assert all(f"Warning: {warning}" in answer for warning in result["warnings"])


def test_building_at_the_break_even_has_a_price(folder, capsys):
    call = CALLS["cost of building and reusing"].replace("--model model4", "--model gpt2-medium")
    assert main([*call.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = result["break_even"]
    ratio = found["tokens"]["mid"] / result["tokens"]
    there, here = found["money_with_development"]["mid"], result["money_with_development"]["mid"]
    assert there == pytest.approx(ratio * here)
    assert main(call.split()) == 0
    assert f"costs {format_cell(there)} US dollars" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tokens 1 --law law.json", "takes two laws: --law and --fine-tuned"),
        ("--tokens 1 --published-loss 3", "takes two laws: --law and --fine-tuned"),
        ("--tokens 1 --law law.json --fine-tuned law.json", "the curve of fine-tuning is not of"),
        ("--tokens 1 --law tuned.csv --fine-tuned law.json", "tuned.csv is not a law"),
        ("--tokens 1 --law absent.json --fine-tuned law.json", "absent.json"),
        ("--tokens 0", "tokens is 0.0: give a number"),
        ("--tokens 1e9 --price 1,2", "price is (1.0, 2.0): give one number, or three as low,mid"),
        ("--tokens 1e9 --price 3,2,1", "give low,mid,high in this order"),
        ("--tokens 1e9 --accelerator abacus", "choose one of h100, h100-pcie"),
        ("--tokens 1e9 --n-head 7", "--n-embd is 128; it must be a multiple of --n-head = 7"),
    ],
)
def test_cost_refuses_in_one_line(folder, capsys, options, message):
    assert main(f"cost {options}".split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


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


def test_fit_gives_the_law_and_each_parameter(ask):
    result, answer = ask("scale fit")
    e, a, b, alpha, beta = shown(*(result[name] for name in TRUTH))
    assert answer.startswith(f"The law is loss = {e} + {a} / N^{alpha} + {b} / D^{beta} nats per")
    assert row(answer, "alpha") == [
        alpha, *shown(result["sd"]["alpha"], *result["interval_95"]["alpha"]),
    ]  # fmt: skip


def test_fit_says_what_the_data_do_not_identify(ask):
    result, answer = ask("scale fit of too few")
    assert answer.startswith("The data do not identify E, A, alpha of the law")
    assert row(answer, "alpha") == ["-"] * 4
    assert answer.splitlines()[-1] == f"Warning: {result['warnings'][-1]}"


def test_bytes_of_characters_cut_by_a_split_are_counted_once(folder, capsys):
    """An emoji has 3 tokens, so most cuts lie inside of one."""
    text = "".join(chr(0x1F600 + i * i % 67) for i in range(3001))
    (folder / "emoji.txt").write_text(text)
    options = "--corpus emoji.txt --split interleaved:20 --json"
    assert main(f"evaluate --checkpoint first {options}".split()) == 0
    result = json.loads(capsys.readouterr().out)
    ids = encode(text)
    split = make_split("interleaved:20", len(ids), 0.9, block_size=16)
    pieces = gpt2_encoding().decode_tokens_bytes(ids.tolist())
    n_bytes = sum(len(b"".join(pieces[part.start + 1 : part.stop])) for part in split.test)
    bits = result["loss_nats_per_token"] * result["n_targets"] / math.log(2)
    assert result["bits_per_byte"] == pytest.approx(bits / n_bytes, rel=1e-9)


def test_evaluate_of_a_law_gives_the_error(ask):
    result, answer = ask("scale evaluate")
    assert answer.startswith(
        f"The law predicts size4 with a mean error of {result['are_last30']:.2f} % over the last "
        f"30 % of the tokens; its final loss is {abs(result['signed_final']):.2f} % too low.\n"
    )
    assert row(answer, "final loss, predicted")[0] == fixed(result["predicted_final"])


def test_evaluate_of_several_runs_lists_them(ask):
    result, answer = ask("scale evaluate of several")
    assert "predicts 3 runs" in answer
    for run in result["targets"]:
        assert row(answer, run["model"])[-1] == format_cell(run["are_last30"])


def test_predict_gives_the_loss_and_its_interval(ask):
    result, answer = ask("scale predict")
    low, high = result["interval_95"]
    assert answer.startswith(
        f"The predicted loss of 5e+09 parameters and 1e+11 tokens is {result['loss']:.3f} nats "
        f"per token (95 % interval {low:.3f} to {high:.3f}).\n"
    )


def test_allocate_gives_size_and_tokens(ask):
    result, answer = ask("scale allocate")
    assert answer.startswith(
        f"The best use of 1e+20 FLOPs is to train {result['params']:.3g} parameters on "
        f"{result['tokens']:.3g} tokens"
    )
    assert row(answer, "tokens for each parameter")[0] == format_cell(result["tokens_per_param"])


def test_isoflop_gives_the_exponent_and_a_row_for_each_level(ask):
    result, answer = ask("scale isoflop")
    assert answer.startswith(
        "The best number of parameters grows as FLOPs to the power "
        f"{result['exponent']:.3f}, by 2 levels of compute.\n"
    )
    for level in result["levels"]:
        assert format_cell(level["params"]) in answer


def test_plan_of_a_ladder_begins_with_the_decision(ask):
    result, answer = ask("scale plan")
    assert answer.startswith(result["decision"] + "\n")
    for run in result["models"]:
        assert format_cell(run["tokens"]) in answer
