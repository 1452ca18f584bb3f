"""Published GPT-2 weights → the parameters of our model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gptcore.model.gpt import GPT

# GPT-2's files and `transformers` store these as (in, out); `nn.Linear` has (out, in).
_INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def load_gpt2_state_dict(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy GPT-2 weights, as published or from `GPT2LMHeadModel.state_dict()`, into `model`.

    The `transformer.` prefix and `lm_head.weight` may be absent. The attention masks that older
    files hold are ignored.

    Args:
        model: a GPT of the same shape; it is unchanged if the weights do not fit.
        state: the tensor of each parameter name.

    Raises:
        ValueError: a name or shape does not fit, or the head is not tied to the embedding.
    """
    source: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        full_name = name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
        source[full_name] = tensor.t() if name.endswith(_INPUT_FIRST) else tensor
    if "transformer.wte.weight" in source:
        source.setdefault("lm_head.weight", source["transformer.wte.weight"])
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in source.items()}
    for name in sorted(own.keys() | given.keys()):
        if own.get(name) != given.get(name):
            raise ValueError(
                f"{name} is {given.get(name, 'absent')} in the weights and "
                f"{own.get(name, 'absent')} in the model; build the GPT with the weights' shape"
            )
    if not torch.equal(source["lm_head.weight"], source["transformer.wte.weight"]):
        raise ValueError(
            "lm_head.weight differs from transformer.wte.weight; a GPT has one matrix for both: "
            "use weights with a tied head"
        )
    model.load_state_dict(source)
