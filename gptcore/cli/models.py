"""The models that the options --checkpoint and --init name: a run of ours, or published weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gptcore.cli.options import Json
from gptcore.data.sources import Source
from gptcore.data.tokens import Ids
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.reading import parse_json

if TYPE_CHECKING:
    from gptcore.model.foreign import ForeignModel
    from gptcore.model.gpt import GPT

AnyModel = TypeVar("AnyModel", "GPT", "ForeignModel")

END_OF_TEXT = 50_256
"""GPT-2's <|endoftext|>, which also stands before a text."""
NO_AVERAGE = "--ema is for a run of gptcore train; published weights have no average: leave it out"
LAYOUTS = "the --out folder of gptcore train, or a folder with config.json and model.safetensors"


@dataclass(frozen=True)
class Loaded(Generic[AnyModel]):
    """A model and where it comes from.

    Attributes:
        model: the model, on the CPU.
        vocabulary: what its ids stand for; not known where the model has a tokenizer of its own.
        about: its `name`, `source` (in words), `revision` (the commit of published weights),
            `sha256` (that of the weights: of the published file, or of the numbers of a run of
            ours) and `step` (the updates of a run of ours); what does not apply is null.
        begin: the id that stands before a text; None if there is none.
        checkpoint: the checkpoint of a run of ours; None for published weights.
        encode: the model's own tokenizer, `Causal.encode`; None where the data have its ids.
    """

    model: AnyModel
    vocabulary: Vocabulary
    about: Json
    begin: int | None
    checkpoint: dict[str, Any] | None = None
    encode: Callable[[str], tuple[Ids, Ids]] | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the weights."""
        return str(self.about["sha256"])


def load_model(source: str, *, ema: bool = False) -> Loaded[GPT]:
    """Return a trained model.

    Args:
        source: the folder of a run of ours or of its checkpoints, of which the newest is taken; or
            a published model, as for `load_pretrained`.
        ema: load the moving average of the weights of a run instead of the weights.

    Raises:
        ValueError: there is no such model, or it cannot be loaded.
    """
    from gptcore.model.published_files import CONFIG, WEIGHTS
    from gptcore.training.checkpoints import load_checkpoint

    folder = Path(source)
    for place in (folder / "checkpoints", folder):
        checkpoint = load_checkpoint(place) if place.is_dir() else None
        if checkpoint is not None:
            return _of_a_run(folder, checkpoint, ema=ema)
    if folder.is_dir() and not any((folder / name).exists() for name in (CONFIG, WEIGHTS)):
        raise ValueError(f"no checkpoint in {folder}: give {LAYOUTS}")
    return _published(source, ema=ema)


def _of_a_run(folder: Path, checkpoint: dict[str, Any], *, ema: bool) -> Loaded[GPT]:
    from gptcore.training.checkpoints import model_from_checkpoint

    step, model = checkpoint["step"], model_from_checkpoint(checkpoint, average=ema)
    digest = hashlib.sha256()
    for weight in model.parameters():
        digest.update(weight.detach().numpy().tobytes())
    about = {
        "name": folder.resolve().name,
        "source": f"the run in {folder}, step {step:,}",
        "revision": None,
        "sha256": digest.hexdigest(),
        "step": step,
    }
    return Loaded(model, _vocabulary_of(checkpoint), about, _begin(model), checkpoint)


def _published(source: str, *, ema: bool) -> Loaded[GPT]:
    from gptcore.model.pretrained import load_pretrained

    if ema:
        raise ValueError(NO_AVERAGE)
    found = load_pretrained(source)
    about = {name: getattr(found, name) for name in ("name", "source", "revision", "sha256")}
    return Loaded(found.model, found.vocabulary, about | {"step": None}, _begin(found.model))


def _begin(model: GPT) -> int | None:
    return END_OF_TEXT if model.config.vocab_size > END_OF_TEXT else None


def load_causal(source: str, *, ema: bool = False) -> Loaded[ForeignModel]:
    """Return a causal model that `transformers` loads; `ema` is refused.

    Raises:
        ValueError: as `gptcore.model.causal.load_causal`.
    """
    from gptcore.model import causal

    if ema:
        raise ValueError(NO_AVERAGE)
    found = causal.load_causal(source)
    about = {
        "name": Path(source).name if Path(source).is_dir() else source,
        "source": f"{source}, loaded by transformers",
        "revision": found.revision,
        "sha256": None,
        "step": None,
    }
    vocabulary = Vocabulary(found.model.config.vocab_size)
    return Loaded(found.model, vocabulary, about, found.begin, encode=found.encode)


def _vocabulary_of(checkpoint: dict[str, Any]) -> Vocabulary:
    """Return what the ids of a trained model stand for: GPT-2's tokens unless the run says so.

    Raises:
        ValueError: what the run says is damaged.
    """
    told = checkpoint["fingerprint"].get("vocabulary")
    size = checkpoint["model_config"]["vocab_size"]
    if told is None:
        return gpt2() if size == gpt2().size else Vocabulary(size)
    try:
        return Vocabulary.from_dict(parse_json(told, "the vocabulary of the run"))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the vocabulary of the run is damaged ({error!r}): train it again"
        ) from None


def check_vocabulary(source: Source, known: Vocabulary) -> None:
    """Check that data have the ids that a model was trained on.

    Raises:
        ValueError: they have others, whose losses would mean nothing.
    """
    found = source.vocabulary
    if found.size > known.size or (found.is_known and known.is_known and not found.matches(known)):
        raise ValueError(
            f"{source.name} has {found.in_words}, and the model was trained on "
            f"{known.in_words}: give data that the same tokenizer wrote"
        )
