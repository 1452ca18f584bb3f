import os
import shutil

import numpy as np
import pytest
import torch
import transformers

from gptcore.checks import LARGEST_INT64
from gptcore.model import causal as library
from gptcore.model.causal import load_causal
from gptcore.model.loss import token_losses
from tests.helpers import published

TEXT = "The llama 🦙 jumped over the fence, and the other llamas followed it.\n" * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("llama")
    published.llama(path, TEXT)
    return path


def test_tokens_have_all_bytes_of_the_text(folder):
    ids, n_bytes = load_causal(str(folder)).encode(TEXT + "  ")
    assert n_bytes.sum() == len((TEXT + "  ").encode())
    assert (n_bytes >= 0).all()
    assert ids.dtype == n_bytes.dtype == np.int64


def test_losses_are_those_of_the_model(folder):
    causal = load_causal(str(folder))
    ids = torch.from_numpy(causal.encode(TEXT)[0][:33])[None]
    with torch.no_grad():
        expected = causal.model.model(ids, labels=ids).loss
    losses = token_losses(causal.model, ids[:, :-1], ids[:, 1:])
    torch.testing.assert_close(losses.mean(), expected, atol=1e-5, rtol=0)
    assert (causal.begin, causal.model.config.block_size) == (0, 32)


def test_pickled_weights_are_not_read(folder, tmp_path):
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="transformers cannot load") as caught:
        load_causal(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the folder, to be spoilt."""
    return shutil.copytree(folder, tmp_path / "copy")


def replace_model(folder, model):
    """Put another model beside the tokenizer."""
    (folder / "config.json").unlink()
    model.save_pretrained(folder)


def test_a_model_that_sees_later_tokens_is_refused(copy):
    config = transformers.BertConfig(
        vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(config)
    for parameter in model.parameters():
        parameter.data.normal_()
    replace_model(copy, model)
    with pytest.raises(ValueError, match="is no causal model: its predictions change with later"):
        load_causal(str(copy))


def test_missing_weights_are_not_drawn_at_random(copy):
    published.edit_config(copy, num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"lacks model\.layers\.1\..* and 9 weights in all"):
        load_causal(str(copy))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 0}, r"has model\.layers\.0\..* and 9 weights in all that a model"),
        ({"vocab_size": 299}, "a tensor has another shape than config.json gives it"),
        ({"max_position_embeddings": -5}, r"copy: block_size is -5"),
    ],
)
def test_a_config_that_is_not_of_the_weights_is_refused(copy, changes, message):
    published.edit_config(copy, **changes)
    with pytest.raises(ValueError, match=message):
        load_causal(str(copy))


def test_a_pipe_is_refused_without_waiting(copy):
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    with pytest.raises(ValueError, match="is a pipe"):
        load_causal(str(copy))


def test_a_model_without_positions_says_no_block_size(copy):
    config = transformers.BloomConfig(vocab_size=300, hidden_size=8, n_layer=1, n_head=1)
    replace_model(copy, transformers.BloomForCausalLM(config))
    assert load_causal(str(copy)).model.config.block_size == LARGEST_INT64


def test_without_a_connection_the_hub_is_asked_once_and_then_only_the_cache(monkeypatch):
    def refuse(_hub, known):
        raise OSError(f"no connection to {known.repository}")

    monkeypatch.setattr(library, "ask_hub", refuse)
    with pytest.raises(ValueError, match=r"no connection to openai-community/gpt2.*into a folder"):
        load_causal("gpt2")


@pytest.mark.parametrize("name", ["../gpt2", "https://a/b", "a/b/c", "", "gpt2\n"])
def test_what_is_no_name_is_refused_without_asking_the_hub(name, monkeypatch):
    monkeypatch.setattr(library, "ask_hub", None)
    with pytest.raises(ValueError, match=r"is neither a folder nor the name"):
        load_causal(name)
