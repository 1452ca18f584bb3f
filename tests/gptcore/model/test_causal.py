import numpy as np
import pytest
import torch

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
