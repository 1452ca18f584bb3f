"""Every command that takes --corpus, on token files, tables and folders."""

import json
from functools import partialmethod

import numpy as np
import pytest

from gptcore.cli.data import Data
from gptcore.cli.main import main
from tests.helpers.token_files import write_llmc, write_nanogpt

TEXT = "".join(f"The sheep number {i} jumped over the fence. " for i in range(150))
TINY = "--n-layer 1 --n-head 1 --n-embd 8 --block-size 16 --batch-size 2 --steps 2"


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in a folder with data of many formats."""
    monkeypatch.chdir(tmp_path)
    write_nanogpt(tmp_path / "char", TEXT)
    np.save(tmp_path / "ids.npy", np.arange(3_000) % 700)
    write_llmc(tmp_path / "words.bin", np.arange(3_000) % 50_000)
    lines = (json.dumps({"text": TEXT[i : i + 300]}) for i in range(0, len(TEXT), 300))
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    (tmp_path / "book.txt").write_text(TEXT)

    def ask(line):
        code = main([*line.split(), "--json"])
        out, error = capsys.readouterr()
        return (code, json.loads(out)) if code == 0 else (code, error)

    return ask


def test_corpora_describes_the_parts_of_any_data(ask):
    _, result = ask("corpora char ids.npy docs.jsonl")
    (char, ids, docs) = result["corpora"][1:]
    keys = {"name", "format", "n_tokens", "vocab_size", "sha256", "documents"}
    assert all(keys <= part.keys() for text in (char, ids, docs) for part in text["parts"])
    assert [(p["name"], p["format"]) for p in char["parts"]] == [
        ("train", "nanogpt"),
        ("val", "nanogpt"),
    ]
    assert char["n_tokens"] == len(TEXT)
    assert char["tokenizer"] == "meta.pkl"
    assert (ids["parts"][0]["vocab_size"], ids["n_bytes"]) == (700, None)
    assert docs["parts"][0]["documents"] == -(-len(TEXT) // 300)


@pytest.mark.parametrize("corpus", ["char", "ids.npy", "words.bin", "docs.jsonl"])
def test_sampling_commands_take_any_data(ask, corpus):
    code, covered = ask(f"coverage --corpus {corpus} --block-size 16 --steps 9")
    assert code == 0
    assert covered["train_tokens"] + covered["test_tokens"] <= covered["n_tokens"]
    assert covered["parts"]
    code, shared = ask(f"leakage --corpus {corpus} --block-size 16 --ngram 5")
    assert (code, shared["shared_tokens"], shared["ngram"]) == (0, 0, 5)
    code, bias = ask(f"bias --corpus {corpus}")
    assert (code, bias["tail"]["n_blocks"]) == (0, 60)


def test_ngrams_of_characters_are_longer(ask):
    _, shared = ask("leakage --corpus char --block-size 16")
    assert shared["ngram"] == 49
    assert shared["shared_49grams"] == 0
    _, shared = ask("leakage --corpus char --block-size 16 --ngram 13")
    assert shared["shared_13grams_share"] > 0.2


def test_shared_sequences_of_large_data_are_looked_for_where_they_are_asked_for(ask, monkeypatch):
    monkeypatch.setattr(Data, "provenance", partialmethod(Data.provenance, at_most=100))
    _, covered = ask("coverage --corpus char --block-size 16 --steps 9")
    assert covered["leakage"] is None
    assert "more than 100 tokens: gptcore leakage does it" in covered["warnings"][0]
    _, bias = ask("bias --corpus char")
    assert (bias["leakage"]["ngram"], bias["warnings"]) == (49, [])


def test_a_model_of_characters_is_trained_scored_and_writes_characters(ask):
    assert ask(f"train --out run --corpus char {TINY}")[0] == 0
    assert ask(f"train --out run --corpus char --resume {TINY}")[0] == 0
    _, scored = ask("evaluate --checkpoint run --corpus char")
    bits = scored["loss_nats_per_token"] / np.log(2)
    assert scored["bits_per_byte"] == pytest.approx(bits, rel=1e-6), "a character is one byte"
    _, visits = ask("evaluate --checkpoint run --corpus char --part train")
    assert visits["by_visits"]
    _, written = ask("generate --checkpoint run --prompt The --new-tokens 5")
    assert written["text"].startswith("The")
    assert len(written["token_ids"]) == len(written["text"]) == 8
    code, error = ask("generate --checkpoint run --prompt @")
    assert (code, error.count("\n")) == (2, 1)
    assert "no token of meta.pkl stands for '@'" in error
    code, error = ask("evaluate --checkpoint run --corpus book.txt")
    assert (code, error.count("\n")) == (2, 1)
    assert "give data that the same tokenizer wrote" in error


def test_a_model_of_unknown_ids_has_no_bits_per_byte_and_writes_ids(ask):
    assert ask(f"train --out run --corpus ids.npy --vocab-size 704 {TINY}")[0] == 0
    _, scored = ask("evaluate --checkpoint run --file ids.npy")
    assert scored["bits_per_byte"] is None
    assert scored["n_targets"] == 2_999
    code, written = ask("generate --checkpoint run --prompt 5,6 --new-tokens 3")
    assert (code, written["text"], written["token_ids"][:2]) == (0, None, [5, 6])


def test_a_sampler_that_joins_documents_keeps_the_short_ones(ask, tmp_path):
    options = "--corpus docs.jsonl --block-size 80 --steps 4 --split block:1/2"
    _, joined = ask(f"coverage --sampler rechunked_documents {options} --join")
    code, error = ask(f"coverage {options}")
    assert code == 2
    assert "or --join" in error
    assert joined["warnings"] == []
    texts = [*9 * [TEXT[:200]], TEXT[:3000]]
    (tmp_path / "mixed.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    options = "--corpus mixed.jsonl --block-size 80 --steps 4 --train-fraction 0.5"
    _, joined = ask(f"coverage --sampler rechunked_documents {options}")
    _, apart = ask(f"coverage {options}")
    assert joined["warnings"] == []
    assert apart["warnings"][0].startswith("9 of 10 documents of the train part have less than")
    assert joined["train_tokens"] > apart["train_tokens"]


def test_plan_knows_the_documents_of_data(ask):
    _, packed = ask("plan --documents docs.jsonl --block-size 64")
    assert packed["documents"] == -(-len(TEXT) // 300)
    code, error = ask("plan --documents char --block-size 64")
    assert (code, error.count("\n")) == (2, 1)
    assert "documents are not known" in error


def test_form_says_that_it_needs_a_text(ask):
    code, error = ask("form book.txt --corpus char")
    assert (code, error.count("\n")) == (2, 1)
    assert "char is not one text (nanogpt)" in error
