import json
import math
import os
import pickle
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import transformers

from gptcore.data.tokenizer import published_file
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.files import WriteError
from gptcore.model import (
    GPT,
    ModelConfig,
    generate,
    load_pretrained,
    pretrained,
    save_pretrained,
    token_losses,
)
from gptcore.model import published_files as files
from gptcore.model.pretrained import load_gpt2_state_dict
from tests.helpers import published

CPU = torch.device("cpu")
CONFIG = ModelConfig(vocab_size=61, block_size=24, n_layer=2, n_head=3, n_embd=24)
IDS = torch.randint(61, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "tiny"
    return published.gpt2(folder), folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of the published folder, to be spoilt."""
    return Path(shutil.copytree(original[1], tmp_path / "tiny"))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(change(tensors) or tensors, path, metadata={"format": "pt"})


def greedy(model, prompt):
    mask = torch.ones_like(prompt)
    options = {"attention_mask": mask, "pad_token_id": 60, "eos_token_id": None}
    return model.generate(prompt, max_new_tokens=9, do_sample=False, **options)


def assert_same(ours, theirs):
    with torch.no_grad():
        # The same float32 operations in another order: logits of size 10 differ by about 1e-5.
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-4, rtol=0)
        expected = theirs(IDS, labels=IDS).loss
        losses = token_losses(ours, IDS[:, :-1], IDS[:, 1:])
    torch.testing.assert_close(losses.mean(), expected, atol=1e-5, rtol=0)
    prompt = IDS[:1, :8]
    written = generate(ours, prompt, 9, temperature=0, device=CPU)
    assert torch.equal(written, greedy(theirs, prompt))


def test_a_folder_of_transformers_gives_the_same_logits_losses_and_text(original):
    theirs, folder = original
    found = load_pretrained(folder)
    assert_same(found.model, theirs)
    assert (found.name, found.revision, found.vocabulary) == ("tiny", None, Vocabulary(61))
    assert found.source == f"the folder {folder}"
    assert re.fullmatch("[0-9a-f]{64}", found.sha256)


def test_transformers_loads_what_was_saved(tmp_path):
    ours = GPT(CONFIG, seed=3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(2)) * 0.2)
    save_pretrained(ours, tmp_path / "saved")
    assert_same(ours, transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "saved").eval())
    again = load_pretrained(tmp_path / "saved").model.state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in ours.state_dict().items())


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*model\.safetensors: File too large;"):
            save_pretrained(GPT(CONFIG), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())


def test_a_model_that_gpt2_cannot_be_is_not_saved(tmp_path):
    model = GPT(ModelConfig(vocab_size=8, block_size=4, n_layer=1, n_head=1, n_embd=8, mlp=False))
    with pytest.raises(ValueError, match="has no MLPs, which every GPT-2 has"):
        save_pretrained(model, tmp_path)
    assert not any(tmp_path.iterdir())


def test_names_without_prefix_masks_and_half_precision_load(folder, original):
    def publish(tensors):
        short = {name.removeprefix("transformer."): t.half() for name, t in tensors.items()}
        return short | {"h.0.attn.bias": torch.ones(1, 1, 24, 24, dtype=torch.uint8)}

    change_tensors(folder, publish)
    model = load_pretrained(folder).model
    weight = model.transformer.h[1].mlp.c_fc.weight
    expected = original[0].transformer.h[1].mlp.c_fc.weight.half().float().t()
    assert weight.dtype == torch.float32
    assert torch.equal(weight, expected)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_the_tied_matrix_may_have_the_name_of_the_head_alone(folder, original):
    change_tensors(folder, lambda t: t.update({"lm_head.weight": t.pop("transformer.wte.weight")}))
    assert_same(load_pretrained(folder).model, original[0])
    ours, state = GPT(CONFIG), original[0].state_dict()
    del state["transformer.wte.weight"]
    load_gpt2_state_dict(ours, state)
    assert_same(ours, original[0])


def test_weights_that_do_not_fit_are_refused_before_the_whole_file_is_read(folder, monkeypatch):
    change_tensors(folder, CHANGED_TENSORS["stands twice"])
    monkeypatch.setattr(pretrained, "check_sum", None)
    with pytest.raises(ValueError, match="stands twice"):
        load_pretrained(folder)


def test_a_file_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    path = folder / "model.safetensors"

    def sum_and_replace(*_):
        shutil.copy(path, folder / "new")
        (folder / "new").replace(path)

    monkeypatch.setattr(pretrained, "check_sum", sum_and_replace)
    with pytest.raises(ValueError, match=r"model\.safetensors was changed while it was read"):
        load_pretrained(folder)


CHANGED_TENSORS = {
    "has the type I64": lambda t: t.update({"transformer.wpe.weight": torch.ones(24, 24).long()}),
    "not finite": lambda t: t.update({"transformer.ln_f.bias": torch.full((24,), math.nan)}),
    "wpe.weight is absent in the weights": (
        lambda t: {name: x for name, x in t.items() if name != "transformer.wpe.weight"}
    ),
    "transformer.extra is (3,) in the weights": lambda t: t.update(extra=torch.ones(3)),
    "wpe.weight is (23, 24) in the weights": (
        lambda t: t.update({"transformer.wpe.weight": torch.ones(23, 24)})
    ),
    "stands twice": lambda t: t.update({"ln_f.bias": torch.ones(24)}),
    "tied": lambda t: t.update({"lm_head.weight": torch.ones(61, 24)}),
    "transformer.extra.attn.bias is (3,)": lambda t: t.update({"extra.attn.bias": torch.ones(3)}),
    "transformer.a b is (1,)": lambda t: t.update({"a\nb": torch.ones(1)}),
}


@pytest.mark.parametrize("message", CHANGED_TENSORS)
def test_weights_that_do_not_fit_are_refused(folder, message):
    change_tensors(folder, CHANGED_TENSORS[message])
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_pretrained(folder)
    assert "model.safetensors" in str(caught.value)


CHANGED_CONFIGS = {
    "model_type = 'llama'": {"model_type": "llama"},
    "activation_function = 'relu'": {"activation_function": "relu"},
    "layer_norm_epsilon = 1e-06": {"layer_norm_epsilon": 1e-6},
    "n_inner = 7": {"n_inner": 7},
    "lacks n_embd": {"n_embd": None},
    "n_head is -3": {"n_head": -3},
    "n_layer is 'two'": {"n_layer": "two"},
    "the config has 1000000000 layers": {"n_layer": 10**9},
    "transformer.h.2.attn.c_attn.bias is absent in the weights": {"n_layer": 3},
    "wpe.weight is (24, 24) in the weights and (24, 24000000)": {"n_embd": 24 * 10**6},
    f"wpe.weight is (24, 24) in the weights and ({2**62}, 24)": {"n_positions": 2**62},
    "n_positions is 0": {"n_positions": 0},
    "config.json: vocab_size is": {"vocab_size": 2**62},
    "has num_attention_heads = 1 and n_head = 3": {"num_attention_heads": 1},
    "quantization_config = {'load_in_8bit': True}": {"quantization_config": {"load_in_8bit": True}},
}


@pytest.mark.parametrize("message", CHANGED_CONFIGS)
def test_configs_that_do_not_fit_are_refused(folder, message):
    published.edit_config(folder, **CHANGED_CONFIGS[message])
    with pytest.raises(ValueError, match=re.escape(message)):
        load_pretrained(folder)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


BAD_FILES = {
    "truncated": lambda content: content[:-100],
    "empty": lambda _: b"",
    "a pickle": lambda _: pickle.dumps(Evil()),
    "a header as long as said and no more": lambda content: b"\xff" * 8 + content[8:],
    "text": lambda _: b"<html>not found</html>",
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_files_that_are_no_safetensors_are_refused(folder, bad, monkeypatch):
    monkeypatch.chdir(folder)
    path = folder / "model.safetensors"
    path.write_bytes(BAD_FILES[bad](path.read_bytes()))
    with pytest.raises(ValueError, match="it is not a whole safetensors file"):
        load_pretrained(folder)
    assert not Path("was-run").exists()


def test_a_pipe_is_refused_without_waiting(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ValueError, match="is a pipe"):
        load_pretrained(folder)


def test_pickled_weights_alone_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"has no model\.safetensors: .* may run code"):
        load_pretrained(folder)


def test_weights_in_several_files_are_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    with pytest.raises(ValueError, match=r"weights in several files: .*max_shard_size"):
        load_pretrained(folder)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json"])
def test_a_vocabulary_that_is_not_gpt2s_is_refused(folder, name):
    (folder / name).write_text('{"model": {"vocab": {"der": 0}}}')
    with pytest.raises(ValueError, match="is not GPT-2's vocabulary"):
        load_pretrained(folder)


def test_gpt2s_vocabulary_is_known_by_its_file_also_where_it_is_padded(tmp_path):
    published.gpt2(tmp_path, vocab_size=50_304, n_layer=1, n_head=1, n_embd=2)
    assert not load_pretrained(tmp_path).vocabulary.is_known
    published.add_gpt2_tokens(tmp_path)
    assert load_pretrained(tmp_path).vocabulary == gpt2().with_size(50_304)


class Hub:
    """The functions of `huggingface_hub`, for a hub that has the files of a folder."""

    errors = SimpleNamespace(EntryNotFoundError=FileNotFoundError)

    def __init__(self, folder, *, cached=(), online=True):
        self.folder, self.cached, self.online = folder, cached, online
        self.asked = []

    def try_to_load_from_cache(self, _repository, name):
        path = self.folder / name
        return (str(path) if path.exists() else object()) if name in self.cached else None

    def hf_hub_url(self, repository, name):
        return f"{repository}/{name}"

    def get_hf_file_metadata(self, url):
        self.asked.append(url)
        if not self.online:
            raise OSError("no connection\nat all")

    def hf_hub_download(self, _repository, name, revision=None):
        assert revision == (None if name == "config.json" else "abc")
        self.asked.append(name)
        if not (self.folder / name).exists():
            raise FileNotFoundError(name)
        return str(self.folder / name)


@pytest.fixture
def hub(folder, monkeypatch):
    """A hub whose cache has the folder of the commit `abc`."""

    def make(**options):
        made = Hub(folder.rename(folder.with_name("abc")), **options)
        monkeypatch.setattr(files, "need", lambda *_: made)
        return made

    return make


def test_a_name_is_fetched_at_one_revision_and_told(hub, monkeypatch):
    monkeypatch.setitem(files.PUBLISHED, "gpt2", files.Known("openai-community/gpt2"))
    made = hub()
    found = load_pretrained("gpt2")
    assert (found.name, found.revision) == ("gpt2", "abc")
    assert found.source == "openai-community/gpt2 of the Hugging Face hub, revision abc"
    assert made.asked == [
        "openai-community/gpt2/config.json", "config.json", "vocab.json", "tokenizer.json",
        "model.safetensors",
    ]  # fmt: skip


def test_what_is_in_the_cache_is_not_fetched(hub, monkeypatch):
    monkeypatch.setitem(files.PUBLISHED, "gpt2", files.Known("openai-community/gpt2"))
    made = hub(cached=("config.json", "model.safetensors"), online=False)
    assert load_pretrained("gpt2").revision == "abc"
    assert made.asked == []


@pytest.mark.parametrize("known", [["tokenizer.json"], ["vocab.json", "tokenizer.json"], []])
def test_the_cache_is_whole_where_it_tells_the_tokens_or_that_no_file_does(hub, known):
    made = hub(cached=("config.json", "model.safetensors", *known))
    if known == ["tokenizer.json"]:
        (made.folder / "tokenizer.json").write_text(
            json.dumps({"model": {"vocab": json.loads(published_file("encoder.json").read_text())}})
        )
        published.edit_config(made.folder, vocab_size=50_257)
        with pytest.raises(ValueError, match=r"wte\.weight is \(61, 24\)"):
            load_pretrained("owner/name")
    else:
        load_pretrained("owner/name")
    assert bool(made.asked) == (not known)


@pytest.mark.parametrize("message", ["model_type = 'llama'", "is not GPT-2's vocabulary"])
def test_weights_are_not_fetched_where_the_other_files_are_refused(hub, message):
    made = hub()
    if "llama" in message:
        published.edit_config(made.folder, model_type="llama")
    else:
        (made.folder / "vocab.json").write_text('{"der": 0}')
    with pytest.raises(ValueError, match=message):
        load_pretrained("owner/name")
    assert "model.safetensors" not in made.asked


def test_another_file_than_the_published_one_is_refused(hub):
    hub()
    with pytest.raises(ValueError, match="and the published file has 248dfc39"):
        load_pretrained("gpt2")


def test_the_checksum_that_the_cache_keeps_is_compared(hub):
    weights = hub().folder / "model.safetensors"
    weights.rename(weights.with_name("a" * 64))
    weights.symlink_to("a" * 64)
    with pytest.raises(ValueError, match=f"and the published file has {'a' * 64}"):
        load_pretrained("owner/name")


def test_without_a_connection_one_line_says_what_to_put_where(hub):
    hub(online=False)
    with pytest.raises(ValueError, match=r"put its config\.json and model\.safetensors") as caught:
        load_pretrained("owner/name")
    assert "(no connection at all)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gpt5", "../gpt2", "https://a/b", "a/b/c", "", "a/b\n"])
def test_what_is_no_name_is_refused_without_asking_the_hub(name, monkeypatch):
    monkeypatch.setattr(files, "need", None)
    with pytest.raises(ValueError, match=r"config\.json"):
        load_pretrained(name)


def test_a_missing_library_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match=r"needs safetensors: pip install 'gptcore\[pretrained\]'"):
        load_pretrained(folder)
