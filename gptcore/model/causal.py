"""Any causal language model that the library `transformers` loads, with its own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gptcore.model.config import ModelConfig
from gptcore.model.foreign import ForeignModel
from gptcore.model.published_files import need

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Causal:
    """A model of `transformers`, to be scored.

    Attributes:
        model: the model, in float32; of its config only `vocab_size` and `block_size` are its own.
        tokenizer: a fast tokenizer of `transformers`, which says where its tokens lie in the text.
        name: the folder or name that it was loaded by.
        revision: the commit on the hub; None for a folder.
        begin: the id of its beginning-of-text token; None if it has none.
    """

    model: ForeignModel
    tokenizer: Any
    name: str
    revision: str | None
    begin: int | None

    def encode(self, text: str) -> tuple[Ids, Ids]:
        """Return the ids (n,) of a text, without special tokens, and the bytes (n,) of each.

        Bytes of the text between two tokens, such as white space that a tokenizer leaves out, are
        those of the token after them; those at the end are those of the last one.

        Raises:
            ValueError: the text has no tokens.
        """
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = np.array(made["input_ids"], dtype=np.int64)
        if not len(ids):
            raise ValueError("the text has no tokens: give a longer one")
        ends = np.maximum.accumulate([end for _, end in made["offset_mapping"]])
        ends[-1] = len(text)
        before = np.cumsum([0, *(len(character.encode()) for character in text)])
        return ids, np.diff(before[ends], prepend=0)


def load_causal(source: str) -> Causal:
    """Load a causal language model with `transformers`, from safetensors alone.

    Args:
        source: a folder in the layout of `transformers`, or a name on the Hugging Face hub.

    Raises:
        ValueError: `transformers` is not installed or cannot load the model, or its tokenizer does
            not say where tokens lie in the text.
    """
    transformers = need("transformers", "scoring with transformers")
    transformers.utils.logging.disable_progress_bar()
    options = {"trust_remote_code": False}  # code that comes with a model is never run
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source, use_safetensors=True, dtype=torch.float32, **options
        )
    except Exception as error:  # which one depends on what is wrong with the files
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"transformers cannot load {source} ({reason}): give a folder with config.json, "
            "safetensors and the files of the tokenizer, or OWNER/NAME of the Hugging Face hub"
        ) from None
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {source} does not say where its tokens lie in a text: give a model "
            "with a tokenizer.json"
        )
    told = model.config
    block_size = getattr(told, "max_position_embeddings", None) or getattr(told, "n_positions", 0)
    config = ModelConfig(
        vocab_size=model.get_output_embeddings().weight.shape[0],
        block_size=block_size or tokenizer.model_max_length,
        n_layer=0,
        n_head=1,
        n_embd=1,
    )
    return Causal(
        ForeignModel(model.eval(), config, _logits, _loss),
        tokenizer,
        source,
        getattr(told, "_commit_hash", None),
        tokenizer.bos_token_id,
    )


def _logits(model: nn.Module, idx: Tensor) -> Tensor:
    logits: Tensor = model(idx, use_cache=False).logits
    return logits


def _loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = _logits(model, inputs)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
