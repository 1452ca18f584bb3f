"""Any causal language model that the library `transformers` loads, with its own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gptcore.checks import LARGEST_INT64
from gptcore.model.config import ModelConfig
from gptcore.model.foreign import ForeignModel
from gptcore.model.published_files import (
    FETCHING,
    Known,
    ask_hub,
    cached_revision,
    find_known,
    need,
    reason,
)
from gptcore.plain_text import shorten
from gptcore.reading import check_regular, naming

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
        ValueError: `transformers` is not installed or cannot load the model, weights are missing,
            it is not causal, or its tokenizer does not say where tokens lie in the text.
    """
    transformers = need("transformers", "scoring with transformers")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # what matters is checked below
    known, unanswered = _ask(source)
    place = source if known is None else known.repository
    # Code that comes with a model is never run.
    options = {"trust_remote_code": False, "local_files_only": unanswered is not None}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        model, told = transformers.AutoModelForCausalLM.from_pretrained(
            place, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
    except Exception as error:  # which one depends on what is wrong with the files
        raise ValueError(
            f"transformers cannot load {source} ({unanswered or reason(error)}): put its "
            "config.json, safetensors and the files of its tokenizer into a folder and give that "
            "folder, or give OWNER/NAME of the Hugging Face hub"
        ) from None
    _check_weights(told, source)
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {source} does not say where its tokens lie in a text: give a model "
            "with a tokenizer.json"
        )
    with naming(source):
        made = ForeignModel(model.eval(), _config(model, tokenizer), _logits, _loss)
    _check_causal(made, source)
    revision = None if known is None else cached_revision(need("huggingface_hub", FETCHING), known)
    return Causal(made, tokenizer, source, revision, tokenizer.bos_token_id)


def _ask(source: str) -> tuple[Known | None, str | None]:
    """Return the model of a name, None for a folder, and why the hub did not answer, if it did not.

    The hub is asked once, which fails at once without a connection. Then only the cache is read:
    `transformers` would ask again and again, for a minute.

    Raises:
        ValueError: it is neither a folder nor the name of a model, or a file in it is not regular.
    """
    folder = Path(source)
    if source and folder.is_dir():
        for path in folder.iterdir():
            if path.exists() and not path.is_dir():
                check_regular(path)  # the library would wait for a pipe
        return None, None
    known = find_known(source)
    hub = need("huggingface_hub", FETCHING)
    try:
        ask_hub(hub, known)
    except Exception as error:  # of the network or of the hub
        return known, reason(error)
    return known, None


def _check_weights(told: dict[str, Any], source: str) -> None:
    """Check that the weights are those of the config, all of them.

    Raises:
        ValueError: they are not; `transformers` would draw missing ones at random and leave out
            those that the config has no place for. It may leave out masks and other constants.
    """
    if missing := sorted(told["missing_keys"]):
        raise ValueError(
            f"{source} lacks {shorten(missing[0])} and {len(missing)} weights in all, "
            "and transformers would draw them at random: give the weights of a language model"
        )
    extra = sorted(name for name in told["unexpected_keys"] if name.endswith(".weight"))
    if extra:
        raise ValueError(
            f"{source} has {shorten(extra[0])} and {len(extra)} weights in all that a model of its "
            "config.json has not, and transformers would leave them out: give weights and a "
            "config.json that belong together"
        )


def _config(model: Any, tokenizer: Any) -> ModelConfig:
    """Return the sizes of a model; a block size of LARGEST_INT64 where it tells none."""
    told = model.config
    block_size = getattr(told, "max_position_embeddings", None) or getattr(told, "n_positions", 0)
    head = model.get_output_embeddings()
    return ModelConfig(
        vocab_size=told.vocab_size if head is None else head.weight.shape[0],
        block_size=block_size or min(tokenizer.model_max_length, LARGEST_INT64),
        n_layer=0,
        n_head=1,
        n_embd=1,
    )


def _check_causal(model: ForeignModel, source: str) -> None:
    """Check that no logits depend on later tokens, as those of BERT do.

    Raises:
        ValueError: they do, so that each target would be seen before it is predicted.
    """
    ids = torch.arange(min(8, model.config.block_size))[None] % model.config.vocab_size
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % model.config.vocab_size
    with torch.inference_mode():
        before, after = (model(row)[:, :-1] for row in (ids, changed))
    # The same operations on the same numbers; only the order of sums may differ.
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise ValueError(
            f"{source} is no causal model: its predictions change with later tokens, so it sees "
            "each target before it predicts it; give a model that only reads backwards"
        )


def _logits(model: nn.Module, idx: Tensor) -> Tensor:
    logits: Tensor = model(idx, use_cache=False).logits
    return logits


def _loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = _logits(model, inputs)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
