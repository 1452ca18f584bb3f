"""What people read of training, texts and losses, beside the JSON object of the same call."""

import json
import math

import pytest
import torch

from gptcore.cli.main import main
from gptcore.console import fixed
from gptcore.data.corpora import load_corpus
from gptcore.data.splits import make_split
from gptcore.data.tokenizer import encode, gpt2_encoding
from tests.helpers.answers import row, shown


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
