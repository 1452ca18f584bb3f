import argparse
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from gptcore.cli.main import COMMANDS, main, make_parser
from gptcore.cli.options import PRESET_NAMES
from gptcore.cli.training import SCHEDULE_NAMES
from gptcore.data.tokenizer import encode
from gptcore.intervals import LEAST_TARGETS, WHOLE
from gptcore.model.config import PRESETS
from gptcore.sampling.samplers import SAMPLERS
from gptcore.training.config import SCHEDULES

TINY = ("--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "16",
        "--batch-size", "2")  # fmt: skip


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\r\n".join(f"The {i}th sheep jumped over the fence." for i in range(300)))
    return str(path)


@pytest.fixture
def gptcore(capsys):
    """Run the command; return its exit code, its JSON (or None) and what it said."""

    def run(*argv):
        try:
            code = main([*map(str, argv)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        out = json.loads(captured.out) if "--json" in argv and code == 0 else captured.out
        return code, out, captured.err

    return run


def test_plan_of_the_worked_case(gptcore):
    code, result, _ = gptcore(
        "plan", "--tokens", 142515, "--block-size", 256, "--batch-size", 16, "--steps", 501,
        "--sampler", "random_replacement", "--json",
    )  # fmt: skip
    assert code == 0
    assert result["expected_missed_targets"] == pytest.approx(34.575, abs=0.001)
    assert result["expected_repeated_windows"] == pytest.approx(221.63, abs=0.01)
    assert result["steps_for_coverage"]["0.99"] == 163
    assert result["draws"] == 8016
    assert result["epochs"] == pytest.approx(14.4, abs=0.01)


def test_plan_says_which_standard_deviations_are_simulated(gptcore):
    shape = ("plan", "--tokens", 3000, "--block-size", 32, "--epochs", 1)
    _, result, _ = gptcore(*shape, "--all", "--json")
    known = {plan["sampler"]: plan for plan in result["samplers"]}
    assert all(plan["sd_missed_targets"] is not None for plan in known.values())
    assert [n for n, plan in known.items() if plan["sd_source"] != "exact"] == ["stratified"]
    assert known["golden"]["simulated"] == {}
    told = known["stratified"]["simulated"]["sd_missed_targets"]
    assert told["runs"] == 1000
    assert 0 < told["error"] < 0.1 * known["stratified"]["sd_missed_targets"]
    _, answer, _ = gptcore(*shape, "--sampler", "stratified")
    assert "of stratified has no formula: it is from 1,000 simulated runs" in answer


@pytest.mark.parametrize("name", ["stratified", "golden", "random_phase_blocks"])
def test_coverage_has_z_for_samplers_whose_sd_was_unknown(gptcore, book, name):
    _, result, _ = gptcore("coverage", "--corpus", book, "--sampler", name, "--block-size", 16,
                           "--epochs", 0.7, "--batch-size", 4, "--seed", 3, "--json")  # fmt: skip
    sd, expected = (result["expected"][key] for key in ("sd_missed_targets", "missed_targets"))
    assert result["sd_source"] == ("simulated" if name == "stratified" else "exact")
    assert result["expected"]["gaps"] is not None
    if sd:
        z = (result["missed_targets"] - expected) / sd
        assert result["z"]["missed_targets"] == pytest.approx(z)
        assert abs(z) < 4


def test_plan_says_null_for_what_is_never_reached(gptcore):
    _, result, _ = gptcore(
        "plan", "--tokens", 142515, "--sampler", "sequential", "--drop-last", "--json"
    )
    assert result["expected_missed_targets"] == 3250
    assert result["steps_for_coverage"]["0.99"] is None


def test_coverage_sits_beside_its_expectation(gptcore, book):
    code, result, _ = gptcore(
        "coverage", "--corpus", book, "--block-size", 32, "--steps", 40, "--json"
    )
    assert code == 0
    assert result["train_tokens"] + result["test_tokens"] == result["n_tokens"]
    assert result["visits_mean"] == pytest.approx(result["expected"]["visits_mean"])
    assert result["z"]["missed_targets"] is not None
    assert result["missed_edge"] + result["missed_interior"] == result["missed_targets"]


def test_one_epoch_of_sequential_misses_only_the_remainder(gptcore, book):
    _, result, _ = gptcore(
        "coverage", "--corpus", book, "--block-size", 32, "--sampler", "sequential",
        "--epochs", 1, "--json",
    )  # fmt: skip
    assert result["missed_targets"] == (result["train_tokens"] - 1) % 32
    assert result["repeated_windows"] == 0


def test_raw_keeps_line_ends(gptcore, book):
    counts = [
        gptcore("corpora", book, "--json", *extra)[1]["corpora"][-1]["n_bytes"]
        for extra in ((), ("--raw",))
    ]
    assert counts[1] - counts[0] == 299  # one carriage return a line


def test_corpora_lists_the_default_with_its_checksum(gptcore):
    _, result, _ = gptcore("corpora", "--json")
    (first, *_) = result["corpora"]
    assert first["name"] == "python-docs"
    assert first["available"]
    assert len(first["sha256"]) == 64
    assert first["n_tokens"] > 100_000


def test_train_generate_evaluate_follow_each_other(gptcore, book, tmp_path):
    out = tmp_path / "run"
    options = ("train", "--out", out, "--corpus", book, "--steps", 3, "--recompute", *TINY)
    code, summary, _ = gptcore(*options, "--json")
    assert code == 0
    assert summary["compile_time_s"] is None
    assert summary["finished"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert json.loads((out / "summary.json").read_text())["resumed_from"] == []

    request = (
        "generate", "--checkpoint", out, "--prompt", "The sheep", "--new-tokens", 5, "--top-p", 0.9
    )  # fmt: skip
    first, second = (gptcore(*request, "--json")[1] for _ in range(2))
    assert first == second
    assert first["text"].startswith("The sheep")
    assert len(first["token_ids"]) == 2 + 5

    request = ("evaluate", "--checkpoint", out, "--corpus", book)
    code, result, _ = gptcore(*request, "--json")
    assert code == 0
    assert result["n_targets"] == result["test_tokens"] - 1
    assert result["interval_95"] is None
    assert f"has {result['n_targets']} targets, which are too few" in result["interval_reason"]
    _, longer, _ = gptcore(*request, "--train-fraction", 0.5, "--json")
    low, high = longer["interval_95"]
    assert low < longer["loss_nats_per_token"] < high
    assert longer["interval_reason"] is None
    assert "50 times as long" in longer["interval_population"]
    assert result["bits_per_byte"] > 0

    code, _, error = gptcore(*options)
    assert code == 2
    assert "--resume" in error


def test_resume_with_other_settings_is_refused_by_name(gptcore, book, tmp_path):
    options = ("train", "--out", tmp_path / "run", "--corpus", book, "--steps", 2, *TINY)
    assert gptcore(*options)[0] == 0
    code, _, error = gptcore(*options, "--resume", "--sampler", "sequential")
    assert code == 2
    assert "sampler" in error


def test_a_run_is_extended_and_its_average_is_scored(gptcore, book, tmp_path):
    out = tmp_path / "run"
    base = ("train", "--out", out, "--corpus", book, "--micro-batch-size", 1, *TINY)
    base = (*base, "--ema-decay", 0.5, "--learning-rate", 0.01, "--schedule")
    assert gptcore(*base, "constant", "--steps", 3)[0] == 0
    code, answer, _ = gptcore(*base, "constant", "--steps", 5, "--resume")
    assert code == 0
    assert "The schedule was extended after step 3, from 3 to 5 steps. The steps until" in answer
    code, _, error = gptcore(*base, "constant", "--steps", 4, "--resume")
    assert code == 2
    assert error.endswith("give at least 5, or train in a new folder\n")
    assert error.startswith("gptcore train: steps is 4, and the run in ")

    request = ("evaluate", "--checkpoint", out, "--corpus", book, "--json")
    last, mean = (gptcore(*request, *ema)[1]["loss_nats_per_token"] for ema in ((), ("--ema",)))
    assert last != mean


def test_an_extended_cosine_names_the_rates_and_a_run_without_an_average_says_so(
    gptcore, book, tmp_path
):
    base = ("train", "--out", tmp_path / "run", "--corpus", book, *TINY, "--steps")
    gptcore(*base, 2)
    code, result, _ = gptcore(*base, 4, "--resume", "--json")
    assert (code, result["schedule"]) == (0, "cosine")
    _, answer, _ = gptcore(*base, 4, "--resume")
    assert "used until there, 6e-05 to 0.00033, are not those of a run of 4 steps" in answer
    assert "the last one is 6e-05, and the next is 0.000139." in answer
    code, _, error = gptcore("evaluate", "--checkpoint", tmp_path / "run", "--ema")
    assert code == 2
    assert "has no average of the weights, which gptcore train --ema-decay keeps" in error


def test_a_diverged_run_names_options_and_the_last_good_checkpoint(gptcore, book, tmp_path):
    base = ("train", "--out", tmp_path / "run", "--corpus", book, "--checkpoint-every", 1, *TINY)
    code, _, error = gptcore(*base, "--steps", 9, "--learning-rate", 1e30)
    assert code == 2
    assert error.count("diverged at step 2: loss nan") == 1
    assert "with a --learning-rate below 1e+30 or with more --warmup-steps" in error
    assert error.endswith("checkpoints/step-00000001.pt\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("plan", "--tokens", "0"), "n_tokens is 0"),
        (("plan", "--tokens", "-5"), "n_tokens is -5"),
        (("plan", "--tokens", "256"), "256"),
        (("plan", "--documents", "missing.txt"), "'missing.txt'"),
        (("plan", "--documents", ""), "no file is called ''"),
        (("plan", "--documents", "python-docs", "--all"), "leave one out"),
        (("plan", "--documents", "python-docs", "--plot", "a.png"), "leave one out"),
        (("plan", "--documents", "python-docs", "--block-size", "0"), "--block-size is 0"),
        (("plan", "--documents", "python-docs", "--tokens", "9"), "not allowed with"),
        (("plan", "--tokens", "many"), "'many' is not a whole number"),
        (("plan", "--tokens", "1000", "--steps", "0"), "steps is 0"),
        (("plan", "--tokens", "1000", "--batch-size", "-1"), "--batch-size is -1"),
        (("plan", "--tokens", "1000", "--block-size", "0"), "--block-size is 0"),
        (("plan", "--tokens", "1000", "--epochs", "nan"), "not a finite number"),
        (("plan", "--tokens", "1000", "--epochs", "-1"), "--epochs is -1"),
        (("plan", "--tokens", "1000", "--seed", "-1"), "seed is -1"),
        (("plan", "--tokens", "1000", "--sampler", "best"), "random_replacement"),
        (("plan", "--tokens", "1000", "--sampler", "sequential", "--drop-last"), "batch"),
        (("plan", "--tokens", "9" * 26), "at most"),
        (("plan", "--tokens", str(2**62), "--all"), "at most"),
        (
            ("plan", "--tokens", "1000", "--block-size", "10", "--steps", "9" * 20, "--all"),
            "steps is 9",
        ),
        (("plan", "--tokens", "1000", "--epochs", "1e308"), "too many"),
        (("plan", "--tokens", "1000000000000", "--block-size", "1000000000"), "at most"),
        (("plan", "--tokens", "1000", "--seed", str(2**32)), "at most"),
        (("coverage", "--steps", str(2**50)), "draws"),
        (("train", "--out", "{tmp}/run", "--n-embd", "9" * 23, "--n-head", "1"), "at most"),
        (
            ("train", "--out", "{tmp}/run", "--n-embd", str(2**62), "--n-head", "1"),
            "and this machine has",
        ),
        (("coverage", "--train-fraction", "nan"), "not a finite number"),
        (("coverage", "--train-fraction", "1"), "in (0, 1)"),
        (("coverage", "--embargo", "999999"), "embargo"),
        (("coverage", "--corpus", "{tmp}"), "/binary' has a NUL character"),
        (("coverage", "--corpus", "{tmp}/absent.txt"), "absent.txt"),
        (("coverage", "--corpus", "{tmp}/empty.txt"), "empty"),
        (("coverage", "--corpus", "{tmp}/binary"), "binary"),
        (("coverage", "--corpus", "{tmp}/words.txt"), "needs"),
        (("train", "--out", "{tmp}/run", "--n-head", "5"), "--n-head = 5"),
        (("train", "--out", "{tmp}/run", "--device", "abacus"), "abacus"),
        (("train", "--out", "{tmp}/run", "--precision", "fp8"), "fp8"),
        (("train", "--out", "{tmp}/run", "--compile", "gcc"), "inductor"),
        (("train", "--out", "{tmp}/run", "--learning-rate", "-1"), "--learning-rate is -1"),
        (("train", "--out", "{tmp}/words.txt", "--steps", "1"), "words.txt"),
        (("train", "--out", "{tmp}/run", "--schedule", "step"), "cosine"),
        (("train", "--out", "{tmp}/run", "--ema-decay", "1"), "--ema-decay is 1"),
        (("train", "--out", "{tmp}/run", "--micro-batch-size", "3"), "divide --batch-size = 16"),
        (("train", "--out", "{tmp}/run", "--warmup-steps", "999"), "--warmup-steps is 999"),
        (("generate", "--checkpoint", "{tmp}", "--prompt", "x"), "no checkpoint"),
        (("generate", "--checkpoint", "{tmp}", "--prompt", ""), "--prompt is empty"),
        (("evaluate", "--checkpoint", "{tmp}/absent"), "neither a folder nor the name"),
        (("dance",), "invalid choice"),
        ((), "required"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(gptcore, tmp_path, argv, message):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "words.txt").write_text("only three words")
    code, out, error = gptcore(*(a.replace("{tmp}", str(tmp_path)) for a in argv))
    assert code == 2
    assert out == ""
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(gptcore, command):
    code, out, _ = gptcore(*command.split(), "--help")
    assert code == 0
    assert COMMANDS[command].example in out


def test_help_has_one_sentence_for_each_command(gptcore, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for group in ((), ("scale",)):
        code, out, _ = gptcore(*group, "--help")
        assert code == 0
        for name, command in COMMANDS.items():
            *before, word = name.split()
            if tuple(before) == group:
                assert re.search(rf"^ +{word} +[A-Z].*\.$", out, re.MULTILINE)
                assert len(command.run.__doc__.partition("\n")[0]) <= 80


def test_every_option_says_what_it_does():
    def parsers(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action.choices.values():
                    yield from parsers(sub)

    for parser in parsers(make_parser()):
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help
                assert action.nargs == 0 or action.metavar  # no name of a variable in capitals


def test_names_of_the_presets_and_schedules_are_those_of_the_library():
    assert tuple(PRESETS) == PRESET_NAMES
    assert sorted(SCHEDULE_NAMES) == sorted(SCHEDULES)


@pytest.mark.filterwarnings("always")
def test_warning_is_one_line_and_their_printing_is_put_back(gptcore, monkeypatch):
    def warn(_args):
        warnings.warn("the newest checkpoint is damaged", stacklevel=1)
        return {"done": True}

    monkeypatch.setitem(COMMANDS, "plan", COMMANDS["plan"]._replace(run=warn))
    before = warnings.showwarning
    assert gptcore("plan", "--tokens", 300, "--json") == (
        0, {"done": True}, "gptcore plan: warning: the newest checkpoint is damaged\n",
    )  # fmt: skip
    assert warnings.showwarning is before


def test_plan_of_all_samplers_has_each_with_the_same_keys(gptcore):
    _, result, _ = gptcore("plan", "--tokens", 20000, "--block-size", 64, "--all", "--json")
    assert [row["sampler"] for row in result["samplers"]] == list(SAMPLERS)
    assert len({tuple(row) for row in result["samplers"]}) == 1


def test_plan_draws_a_picture(gptcore, tmp_path):
    picture = tmp_path / "plan.svg"
    argv = ("plan", "--tokens", 20000, "--block-size", 64, "--steps", 50)
    assert gptcore(*argv, "--all", "--plot", picture)[0] == 0
    assert "t_plus_1_stride" in picture.read_text() or picture.stat().st_size > 10_000
    code, _, error = gptcore(*argv, "--plot", tmp_path / "plan.nonsense")
    assert code == 2
    assert error.count("\n") == 1


def test_leakage_of_a_tail_with_embargo_is_none(gptcore, book):
    options = ("--corpus", book, "--block-size", 16, "--embargo", 16, "--json")
    _, result, _ = gptcore("leakage", *options)
    assert result["shared_tokens"] == result["shared_targets"] == 0
    assert result["fraction_of_test_targets_trained"] == 0
    assert result["shared_13grams"] == 0  # each has a sheep's own number


@pytest.mark.parametrize("split", ["head", "middle", "block:3/10", "interleaved:4"])
def test_every_split_can_be_counted_trained_on_and_scored(gptcore, book, tmp_path, split):
    where = ("--corpus", book, "--split", split, "--embargo", 16)
    code, result, _ = gptcore("coverage", *where, "--block-size", 16, "--steps", 50, "--json")
    assert code == 0
    assert result["train_tokens"] + result["test_tokens"] < result["n_tokens"]
    out = tmp_path / "run"
    assert gptcore("train", "--out", out, "--steps", 2, *where, *TINY)[0] == 0
    code, scored, _ = gptcore("evaluate", "--checkpoint", out, *where, "--json")
    assert code == 0
    assert scored["test_tokens"] == result["test_tokens"]


def test_bias_finds_the_licence_and_says_so(gptcore, tmp_path):
    path = tmp_path / "pg0.txt"
    story = "The cat sat on the mat and the dog sat on the log. " * 1500
    marker = "*** {} OF THE PROJECT GUTENBERG EBOOK SHEEP ***\n"
    licence = "Redistribution is subject to trademark licence terms, royalties and fees. " * 60
    path.write_text(marker.format("START") + story + "\n" + marker.format("END") + licence)
    _, raw, _ = gptcore("bias", "--corpus", path, "--raw", "--json")
    assert raw["tail"]["rank_unigram"] == 1
    assert raw["boilerplate_share_of_test"] > 0.3
    _, cleaned, _ = gptcore("bias", "--corpus", path, "--json")
    assert cleaned["boilerplate_tokens"] == 0


def test_audit_of_a_clean_log_and_of_one_with_a_hole(gptcore, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("start,length\n" + "".join(f"{s},10\n" for s in range(0, 990, 10)))
    code, result, _ = gptcore("audit", log, "--tokens", 991, "--json")
    assert code == 0
    assert result["draws"] == 99
    assert result["missed_targets"] == 0
    log.write_text("start,length\n" + "".join(f"{s},10\n" for s in range(0, 990, 11)))
    _, result, _ = gptcore("audit", log, "--tokens", 991, "--json")
    assert result["lost_at_borders"] > 0


def test_audit_takes_the_sampler_that_is_meant(gptcore, tmp_path):
    log = tmp_path / "log.csv"
    order = np.random.default_rng(0).permutation(99) * 10
    log.write_text("start,length\n" + "".join(f"{s},10\n" for s in [*order] * 2))
    for declared, severity in ((), "fault"), (("--sampler", "shuffled_once"), "note"):
        _, result, _ = gptcore("audit", log, "--tokens", 991, *declared, "--json")
        assert [f["severity"] for f in result["findings"]] == [severity]
    code, _, error = gptcore("audit", log, "--tokens", 991, "--sampler", "shuffled")
    assert code == 2
    assert "no sampler is called 'shuffled'" in error


def test_plan_shuffles_as_many_epochs_together_as_it_is_told(gptcore):
    argv = ("plan", "--tokens", 1001, "--block-size", 10, "--batch-size", 1, "--steps", 100)
    argv += ("--sampler", "shuffled_across_epochs", "--json")
    missed = {}
    for epochs in (None, 1, 9):
        extra = () if epochs is None else ("--shuffle-epochs", epochs)
        _, result, _ = gptcore(*argv, *extra)
        missed[result["shuffle_epochs"]] = result["expected_missed_targets"]
    assert missed[1] == 0 < missed[4] < missed[9]
    code, _, error = gptcore("plan", "--tokens", 1001, "--shuffle-epochs", 2)
    assert code == 2
    assert "use shuffled_across_epochs" in error


def test_audit_without_tokens_is_refused(gptcore, tmp_path):
    (tmp_path / "log.csv").write_text("start,length\n0,10\n")
    code, _, error = gptcore("audit", tmp_path / "log.csv")
    assert code == 2
    assert "--tokens is missing" in error


def test_token_batches_are_matched_with_the_corpus(gptcore, book, tmp_path):
    ids = encode(Path(book).read_text().replace("\r\n", "\n"))
    rows = np.stack([ids[s : s + 17] for s in range(0, len(ids) - 17, 16)])
    np.save(tmp_path / "rows.npy", rows)
    code, result, _ = gptcore("audit", tmp_path / "rows.npy", "--corpus", book, "--json")
    assert code == 0
    assert result["draws"] == len(rows)


NUMPY = b"\x93NUMPY\x01\x00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"start,length",
        NUMPY + b"\x10\x00" + b"(" * 16,
        NUMPY + b"\x3a\x00" + b"{'descr':'<i8','fortran_order':False,'shape':(10**9,10**9)}"[:58],
        NUMPY + b"\x3c\x00" + b"{'descr':'<i8','fortran_order':False,'shape':(1000000000,9)}",
        NUMPY + b"\x37\x00" + b"{'descr':'<i8','fortran_order':False,'shape':(True,9)}\n",
    ],
)
def test_a_file_that_holds_no_batches_is_refused_by_its_name(gptcore, book, tmp_path, content):
    (tmp_path / "rows.npy").write_bytes(content)
    code, _, error = gptcore("audit", tmp_path / "rows.npy", "--corpus", book)
    assert code == 2
    assert "rows.npy is not a NumPy file of integers" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_coverage_of_every_sampler_lists_its_exposure(gptcore, book, sampler):
    where = ("--corpus", book, "--split", "block:2/5", "--block-size", 16)
    _, result, _ = gptcore("coverage", *where, "--sampler", sampler, "--epochs", 1, "--json")
    expected = result["expected"]
    assert set(result["pair_coverage"]) == set(expected["pair_coverage"])
    assert set(result["context_coverage"]) == set(expected["context_coverage"])
    assert 0 <= result["star_discrepancy"] <= 1
    assert result["missed_inputs"] >= 0


def test_the_help_of_evaluate_says_what_its_intervals_are_about(gptcore):
    shown = " ".join(gptcore("evaluate", "--help")[1].split())
    assert f"({WHOLE} times as long)" in shown
    assert f"fewer than {LEAST_TARGETS} targets" in shown
    assert "do not speak of other texts" in shown
