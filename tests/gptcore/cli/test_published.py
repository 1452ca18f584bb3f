"""Published weights from the command line: scored, fine-tuned, continued and probed."""

import json
import math
import re
import shutil

import pytest
import torch

from gptcore.cli.main import main
from gptcore.data.tokenizer import encode
from tests.helpers import published

TEXT = "".join(
    f"The {i} th sheep @-@ dog , he said , jumped over fence {i * i % 71} .\n" for i in range(40)
)
TRAIN = "--corpus text.txt --block-size 16 --batch-size 2 --steps 3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text, a published GPT-2 and a Llama with a tokenizer of its own."""
    path = tmp_path_factory.mktemp("published")
    (path / "text.txt").write_text(TEXT)
    published.gpt2(path / "tiny", vocab_size=50_257, n_layer=1, n_head=1, n_embd=4)
    published.gpt2(path / "wide", vocab_size=50_257, n_positions=99, n_layer=1, n_head=1, n_embd=4)
    published.add_gpt2_tokens(path / "tiny")
    published.llama(path / "llama", TEXT)
    return path


@pytest.fixture
def ask(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)

    def run(command, code=0):
        assert main([*command.split(), *(["--json"] if not code else [])]) == code
        captured = capsys.readouterr()
        return captured.err if code else json.loads(captured.out)

    return run


def slow_losses(model, ids, *, context, stride):
    """Return the loss of each target by one pass for each of them, from the protocol's words."""
    losses, scored = [], 1
    start, n_ids = 0, len(ids)
    while scored < n_ids:
        if start + context + 1 > n_ids:
            start = n_ids - context - 1  # the last window ends with the text
        for target in range(scored, start + context + 1):
            logits = model(torch.tensor([ids[start:target]])).logits[0, -1]
            losses.append(-logits.log_softmax(-1)[ids[target]].item())
        scored = start + context + 1
        start += stride
    return losses


@pytest.mark.parametrize(
    ("options", "context", "stride", "bos"),
    [("", 24, 12, False), ("--context 10 --stride 10 --bos", 10, 10, True)],
)
def test_a_protocol_gives_the_loss_of_an_independent_slow_loop(ask, options, context, stride, bos):
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel.from_pretrained("tiny").eval()
    text = TEXT[: len(TEXT) // 8]
    with open("short.txt", "w") as file:
        file.write(text)
    result = ask(f"evaluate --checkpoint tiny --file short.txt {options}")
    ids = [*([50_256] if bos else []), *encode(text).tolist()]
    with torch.no_grad():
        losses = slow_losses(model, ids, context=context, stride=stride)
    total, n = sum(losses), len(losses)
    assert result["n_targets"] == n == len(ids) - 1
    # float32 sums of about 50,000 terms in another order.
    assert result["loss_nats_per_token"] == pytest.approx(total / n, rel=1e-5)
    scores = {score["per"]: score for score in result["scores"]}
    unscored = 0 if bos else len(b"The")
    n_bytes, n_words = len(text.encode()) - unscored, len(text.split()) - (not bos)
    assert (scores["byte"]["n"], scores["word"]["n"]) == (n_bytes, n_words)
    assert scores["word"]["perplexity"] == pytest.approx(math.exp(total / n_words), rel=1e-4)
    assert result["bits_per_byte"] == pytest.approx(total / n_bytes / math.log(2), rel=1e-5)
    assert (
        f"context={context},stride={stride},bos={'yes' if bos else 'no'}" in scores["word"]["case"]
    )
    assert len({score["case"] for score in result["scores"]}) == 3


def test_transformers_gives_the_same_scores_as_our_model(ask):
    ours = ask("evaluate --checkpoint tiny --file text.txt")
    theirs = ask("evaluate --checkpoint tiny --file text.txt --transformers")
    assert ours["bits_per_byte"] == pytest.approx(theirs["bits_per_byte"], rel=1e-5)
    for mine, other in zip(ours["scores"], theirs["scores"], strict=True):
        assert (mine["per"], mine["n"]) == (other["per"], other["n"])
        assert mine["interval_95"] == pytest.approx(other["interval_95"], rel=1e-4)
        assert mine["case"].replace("=gptcore", "=transformers") == other["case"]


def test_a_model_with_its_own_tokens_is_scored_on_the_same_words_and_bytes(ask):
    ours = ask("evaluate --checkpoint tiny --file text.txt --bos")
    other = ask("evaluate --checkpoint llama --file text.txt --bos --transformers")
    counts = [{s["per"]: s["n"] for s in result["scores"]} for result in (ours, other)]
    assert counts[0]["token"] != counts[1]["token"]
    assert counts[0]["word"] == counts[1]["word"] == len(TEXT.split())
    assert counts[0]["byte"] == counts[1]["byte"] == len(TEXT.encode())
    assert other["by_position"][0]["first"] == 0
    assert other["model"]["name"] == "llama"


def test_a_model_that_tells_no_longest_context_needs_the_option(ask, folder):
    transformers = pytest.importorskip("transformers")
    shutil.copytree(folder / "llama", "bloom")
    config = transformers.BloomConfig(vocab_size=300, hidden_size=8, n_layer=1, n_head=1)
    transformers.BloomForCausalLM(config).save_pretrained("bloom")
    command = "evaluate --checkpoint bloom --transformers --file text.txt"
    assert "give --context" in ask(command, 2)
    assert ask(f"{command} --context 20")["protocol"]["context"] == 20


def test_detokenised_text_is_scored_for_each_word_and_byte_as_given(ask):
    result = ask("evaluate --checkpoint tiny --file text.txt --bos --detokenise")
    counts = {score["per"]: score["n"] for score in result["scores"]}
    assert counts["word"] == len(TEXT.split())
    assert counts["byte"] == len(TEXT.encode())
    usual = TEXT.replace(" @-@ ", "-").replace(" ,", ",").replace(" .", ".")
    assert counts["token"] == len(encode(usual))
    assert all("detokenised=yes" in score["case"] for score in result["scores"])


def test_fine_tuning_begins_with_the_weights_and_goes_on_after_an_interruption(ask):
    result = ask(f"train --out tuned --init tiny {TRAIN}")
    assert result["init"]["source"] == "the folder tiny"
    untrained = ask("evaluate --checkpoint tiny --corpus text.txt --context 16")
    tuned = ask("evaluate --checkpoint tuned --corpus text.txt --context 16")
    gain = untrained["loss_nats_per_token"] - tuned["loss_nats_per_token"]
    assert 0 < gain < 0.1  # 3 steps at a small learning rate, from the published weights
    again = ask(f"train --out tuned --init tiny {TRAIN.replace('3', '5')} --resume")
    assert (again["step"], again["resumed_from"]) == (5, [3])
    error = ask(f"train --out tuned --init wide {TRAIN.replace('3', '6')} --resume", 2)
    assert "init_sha256" in error
    assert len(ask(f"train --out second --init tuned {TRAIN}")["init"]["sha256"]) == 64


def test_published_weights_continue_a_text(ask):
    result = ask("generate --checkpoint tiny --prompt The --new-tokens 3")
    assert result["text"].startswith("The")
    assert len(result["token_ids"]) == 4


def test_an_exported_run_is_scored_alike_by_transformers(ask):
    ask(f"train --out run --n-layer 1 --n-head 1 --n-embd 4 {TRAIN}")
    assert ask("export --checkpoint run --out saved")["files"] == [
        "config.json", "model.safetensors", "vocab.json", "merges.txt",
    ]  # fmt: skip
    scores = [
        ask(f"evaluate --file text.txt --checkpoint {options}")["scores"]
        for options in ("run", "saved", "saved --transformers")
    ]
    nats = [[score["nats"] for score in each] for each in scores]
    assert nats[0] == pytest.approx(nats[1])
    assert nats[0] == pytest.approx(nats[2], rel=1e-5)


def test_the_probe_stands_beside_a_model_that_never_saw_the_text(ask):
    with open("long.txt", "w") as file:
        file.write(TEXT * 2)
    found = ask("evaluate --checkpoint wide --file long.txt --probe-beside wide")["contamination"]
    assert found["n_prompts"] == len(encode(TEXT * 2)) // 100
    assert found["difference_tokens"] == 0
    assert found["difference_interval_95"] is None  # too few prompts
    assert re.search("no sign of contamination, and no proof against it", found["verdict"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate --checkpoint tiny --ema", "published weights have no average"),
        (
            "evaluate --checkpoint .",
            "no checkpoint in .: give the --out folder of gptcore train, or",
        ),
        ("evaluate --checkpoint ./gpt2", "'./gpt2' is neither a folder nor the name"),
        ("evaluate --checkpoint llama --file text.txt", "gptcore evaluate --transformers scores"),
        ("evaluate --checkpoint tiny --detokenise", "--detokenise is for a text of --file"),
        (
            "evaluate --checkpoint llama --transformers --file text.txt --probe-beside wide",
            "--probe-beside needs a model with the same tokens",
        ),
        (
            "evaluate --checkpoint tiny --file text.txt --probe-beside tiny",
            "the probe reads 99 tokens at once, and the model at most 24",
        ),
        (f"train --out x --init tiny --n-layer 2 {TRAIN}", "leave out --n-layer"),
        ("train --out x --init tiny --block-size 25", "the model of --init reads at most 24"),
        ("train --out x --init gpt5", "one of gpt2, gpt2-medium"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(ask, command, message, monkeypatch):
    monkeypatch.setattr("gptcore.evaluation.losses.sweep", None)  # said before a text is scored
    error = ask(command, 2)
    assert message in error
    assert len(error.splitlines()) == 1
