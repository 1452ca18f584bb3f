import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import transformers  # its models load on their first use: that takes seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.kv_cache import KVCache
from gptcore.model.loss import next_token_loss
from gptcore.model.pretrained import load_gpt2_state_dict

TINY = ModelConfig(vocab_size=61, block_size=12, n_layer=2, n_head=3, n_embd=24)


def reference(config: ModelConfig) -> torch.nn.Module:
    """Return transformers' GPT-2 of the same shape with weights far from their initial values."""
    names = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
    hf_config = transformers.GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.block_size,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_embd=config.n_embd,
        **dict.fromkeys(names, config.dropout),
    )
    model = transformers.GPT2LMHeadModel(hf_config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.empty_like(parameter).normal_(0, 0.3, generator=generator)
            parameter.add_(noise)
    return model


def same_weights(first: GPT, second: GPT) -> bool:
    names = first.state_dict()
    return all(torch.equal(names[name], weight) for name, weight in second.state_dict().items())


def random_ids(*shape: int, seed: int = 0, vocab_size: int = TINY.vocab_size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab_size, shape, generator=generator)


@pytest.fixture
def pair() -> tuple[GPT, torch.nn.Module]:
    theirs = reference(TINY)
    ours = GPT(TINY)
    load_gpt2_state_dict(ours, theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("length", [1, 5, 12])
def test_logits_equal_those_of_transformers(pair, length):
    ours, theirs = pair
    idx = random_ids(3, length)
    # Same float32 operations in another order: logits of size 10 differ by about 1e-5.
    torch.testing.assert_close(ours(idx), theirs(idx).logits, atol=1e-4, rtol=0)


def test_gradients_equal_those_of_transformers(pair):
    ours, theirs = pair
    idx = random_ids(3, 12)
    next_token_loss(ours, idx[:, :-1], idx[:, 1:]).backward()
    theirs(idx, labels=idx).loss.backward()
    their_grads = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        expected = their_grads[name]
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            expected = expected.t()
        # float32 sums in another order, relative to the largest gradient of the tensor.
        atol = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(parameter.grad, expected, atol=atol, rtol=0, msg=name)


def test_parameter_names_equal_those_of_transformers(pair):
    ours, theirs = pair
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_published_layout_without_prefix_head_and_with_masks_loads(pair):
    ours, theirs = pair
    published = dict(theirs.transformer.state_dict())
    published["h.0.attn.bias"] = torch.ones(1, 1, 12, 12).tril()
    published["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    loaded = GPT(TINY, seed=5)
    load_gpt2_state_dict(loaded, published)
    assert same_weights(loaded, ours)


def test_weights_of_another_shape_are_refused_and_change_nothing(pair):
    _, theirs = pair
    config = replace(TINY, n_layer=3)
    model = GPT(config)
    with pytest.raises(ValueError, match=r"transformer\.h\.2\.attn.* absent in the weights"):
        load_gpt2_state_dict(model, theirs.state_dict())
    assert same_weights(model, GPT(config))


def test_weights_with_an_untied_head_are_refused(pair):
    _, theirs = pair
    state = dict(theirs.state_dict())
    state["lm_head.weight"] = state["lm_head.weight"] + 1
    with pytest.raises(ValueError, match="tied"):
        load_gpt2_state_dict(GPT(TINY), state)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 11), seed=st.integers(0, 1000))
def test_the_future_does_not_change_the_past(cut, seed):
    model = GPT(TINY, seed=seed)
    idx = random_ids(1, 12, seed=seed)
    other = idx.clone()
    other[:, cut:] = (idx[:, cut:] + 1) % TINY.vocab_size
    before, after = model(idx), model(other)
    # Same shapes, so the same kernels: only rounding inside a kernel's tiles may differ.
    torch.testing.assert_close(before[:, :cut], after[:, :cut], atol=1e-6, rtol=0)
    assert not torch.allclose(before[:, cut:], after[:, cut:], atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, 11)), rows=st.integers(1, 3), seed=st.integers(0, 1000))
def test_a_cache_gives_the_same_channels_however_the_tokens_arrive(cuts, rows, seed):
    model = GPT(TINY, seed=seed).eval()
    idx = random_ids(rows, 12, seed=seed)
    edges = [0, *sorted(cuts), 12]
    with torch.no_grad():
        cache = KVCache(model.config, model.lm_head.weight, rows)
        pieces = [model.hidden(idx[:, a:b], cache) for a, b in pairwise(edges)]
        # The same float32 sums in other shapes; channels are of size 1.
        torch.testing.assert_close(torch.cat(pieces, 1), model.hidden(idx), atol=1e-5, rtol=0)
    assert cache.length == 12


def test_a_full_cache_takes_no_further_token():
    model = GPT(TINY).eval()
    with torch.no_grad():
        cache = KVCache(model.config, model.lm_head.weight)
        model.hidden(random_ids(1, 12), cache)
        with pytest.raises(ValueError, match=r"13 tokens.*block_size = 12"):
            model.hidden(random_ids(1, 1), cache)


def test_next_logits_are_the_last_of_all():
    model, idx = GPT(TINY).eval(), random_ids(2, 7)
    # One row of a product in place of seven.
    torch.testing.assert_close(model.next_logits(idx), model(idx)[:, -1], atol=1e-6, rtol=0)


def test_recomputing_changes_neither_loss_nor_gradients():
    config = replace(TINY, dropout=0.2)
    idx, results = random_ids(3, 12), []
    for recompute in (False, True):
        model = GPT(config)
        model.transformer.recompute = recompute
        torch.manual_seed(5)
        loss = next_token_loss(model, idx[:, :-1], idx[:, 1:])
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_recomputing_keeps_one_tensor_a_block():
    kept = []
    for recompute in (False, True):
        model = GPT(replace(TINY, n_layer=6))
        model.transformer.recompute = recompute
        sizes = []
        pack = lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.hidden(random_ids(2, 12))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4


def test_positions_matter():
    with_positions = GPT(TINY)(torch.zeros(1, 4, dtype=torch.int64))
    assert not torch.allclose(with_positions[0, 0], with_positions[0, 3])


def test_model1_sees_the_current_token_alone():
    model = GPT(PRESETS["model1"])
    logits = model(torch.tensor([[5, 7], [9, 7]]))
    assert torch.equal(logits[0, 1], logits[1, 1])


def test_model2_has_no_mlp():
    assert not any(".mlp." in name for name in GPT(PRESETS["model2"]).state_dict())


@pytest.mark.parametrize("name", ["model1", "model2", "model3", "model4"])
def test_initial_loss_is_that_of_a_uniform_guess(name):
    model = GPT(PRESETS[name])
    idx = random_ids(2, 65, vocab_size=50257)
    loss = next_token_loss(model, idx[:, :-1], idx[:, 1:]).item()
    # Logits have variance C * 0.02**2 = 0.05, which adds half of it; the rest is sampling noise.
    assert loss == pytest.approx(math.log(50257), abs=0.1)


def test_initial_weights_have_gpt2s_spread():
    model = GPT(ModelConfig(vocab_size=500, block_size=64, n_layer=8, n_head=4, n_embd=128))
    for name, weight in model.named_parameters():
        if name.endswith(".bias"):
            assert not weight.any(), name
        elif ".ln_" in name:
            assert torch.equal(weight, torch.ones_like(weight)), name
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # sqrt(2 * 8) = 4
            # 8,192 values or more: the standard error of their spread is below 0.8 %.
            assert weight.std().item() == pytest.approx(std, rel=0.04), name


def test_seed_decides_the_weights():
    same, again, other = (GPT(TINY, seed=seed).lm_head.weight for seed in (3, 3, 4))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    GPT(TINY)
    assert torch.equal(before, torch.get_rng_state())


def test_gpt2_small_has_124_439_808_parameters():
    with torch.device("meta"):
        assert GPT(PRESETS["gpt2"]).n_params == 124_439_808


def test_head_and_embedding_are_one_parameter():
    model = GPT(TINY)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_dropout_acts_in_training_only():
    model = GPT(
        ModelConfig(vocab_size=61, block_size=12, n_layer=1, n_head=1, n_embd=8, dropout=0.5)
    )
    idx = random_ids(1, 12)
    torch.manual_seed(0)
    assert not torch.equal(model(idx), model(idx))
    model.eval()
    assert torch.equal(model(idx), model(idx))


def test_a_sequence_longer_than_block_size_is_refused():
    with pytest.raises(ValueError, match=r"13 tokens.*block_size = 12"):
        GPT(TINY)(random_ids(1, 13))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 0),
        ("block_size", -1),
        ("n_layer", -1),
        ("n_head", True),
        ("n_embd", 768.0),
        ("dropout", 1.0),
        ("dropout", math.nan),
        ("dropout", "0.1"),
        ("positions", 1),
        ("mlp", None),
    ],
)
def test_config_refuses_in_one_line_a_wrong(field, value):
    with pytest.raises(ValueError, match=rf"^{field} is {value!r}: give .*$"):
        ModelConfig(**{field: value})


def test_config_refuses_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match=r"n_embd is 100.*n_head = 12, for instance 96"):
        ModelConfig(n_embd=100)


def test_seed_must_not_be_negative():
    with pytest.raises(ValueError, match="seed is -1"):
        GPT(TINY, seed=-1)
