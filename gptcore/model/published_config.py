"""The `config.json` of a published GPT-2 → our shape, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptcore.checks import LARGEST_INT64, check_whole
from gptcore.model.config import ModelConfig
from gptcore.reading import naming, read_json

_SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
_SECOND_NAMES = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
}
"""Names by which `transformers` reads the sizes as well; it prefers them where both stand."""
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "quantization_config": (None,),
}
"""Key of config.json → its values under which our GPT computes the same; the first is the default
of `transformers`, which holds where the key is absent."""


def read_config(path: Path) -> ModelConfig:
    """Return the shape in a published `config.json`, with a dropout of 0.

    Raises:
        ValueError: the file is not such a config, or it is of a model that computes otherwise.
    """
    given = read_json(path)
    if not isinstance(given, dict):
        raise ValueError(f"{path} is not an object: give the config.json of a GPT-2")
    for key, allowed in _FIXED.items():
        if (value := given.get(key, allowed[0])) not in allowed:
            raise ValueError(
                f"{path} has {key} = {value!r:.60}, and GPT-2 has {allowed[0]!r}: give a model of "
                "GPT-2's architecture; gptcore evaluate --transformers scores others"
            )
    if missing := [key for key in _SIZES if key not in given]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: give the config.json of a GPT-2")
    sizes = {key: given[key] for key in _SIZES}
    for second, key in _SECOND_NAMES.items():
        if given.get(second, sizes[key]) != sizes[key]:
            raise ValueError(
                f"{path} has {second} = {given[second]!r:.60} and {key} = {sizes[key]!r:.60}, and "
                "both mean the same: keep the right one"
            )
    with naming(path):
        block_size = check_whole("n_positions", sizes.pop("n_positions"), at_most=LARGEST_INT64)
        config = ModelConfig(block_size=block_size, **sizes)
    if given.get("n_inner") not in (None, 4 * config.n_embd):
        raise ValueError(
            f"{path} has n_inner = {given['n_inner']!r:.60}, and GPT-2 has 4 * n_embd: give a "
            "model of GPT-2's architecture"
        )
    return config


def describe(config: ModelConfig) -> dict[str, Any]:
    """Return the content of `config.json` for a model with positions and MLPs."""
    sizes = {key: getattr(config, key) for key in _SIZES if key != "n_positions"}
    last = config.vocab_size - 1  # in GPT-2 the last id begins and ends a text
    return {
        "architectures": ["GPT2LMHeadModel"],
        **{key: allowed[0] for key, allowed in _FIXED.items() if allowed[0] is not None},
        **sizes,
        "n_positions": config.block_size,
        **dict.fromkeys(_DROPOUTS, config.dropout),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), last),
    }
