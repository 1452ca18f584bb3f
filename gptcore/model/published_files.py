"""Where published weights lie: in a folder, or on the Hugging Face hub and in its cache.

A published model is two files, `config.json` and `model.safetensors`. Files of other formats hold
pickled objects, which may run code when they are read, so they are never read.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.console import Progress
from gptcore.plain_text import shorten
from gptcore.reading import open_regular

FETCHING = "fetching a published model"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
VOCABULARIES = ("vocab.json", "tokenizer.json")
"""Files that may say what the ids stand for."""
LARGEST_FILE = 2**36
"""The most bytes of a file of weights, ten times those of GPT-2 with 1.5 billion parameters."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Known:
    """A published model with a short name.

    Attributes:
        repository: its owner and name on the hub.
        sha256: that of its `model.safetensors`, hexadecimal; None where it is not known.
    """

    repository: str
    sha256: str | None = None


PUBLISHED = {
    "gpt2": Known(
        "openai-community/gpt2", "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"
    ),
    "gpt2-medium": Known("openai-community/gpt2-medium"),
    "gpt2-large": Known("openai-community/gpt2-large"),
    "gpt2-xl": Known("openai-community/gpt2-xl"),
    "distilgpt2": Known(
        "distilbert/distilgpt2", "e1ff18884359fe8beb795a5f414feb85a6ce3d929ad019c0d958c039d2b94a1b"
    ),
}
"""Short name → model. The checksums are those that the hub states, as recorded by several users."""


@dataclass(frozen=True)
class Files:
    """The files of a published model.

    Attributes:
        folder: where they lie.
        name: the short name, the owner and name on the hub, or the name of the folder.
        revision: the commit on the hub; None for a folder.
        sha256: what the checksum of the weights must be; None where it is not known.
        source: where they come from, in words.
    """

    folder: Path
    name: str
    revision: str | None
    sha256: str | None
    source: str


def find_files(source: str | Path, *, check: Callable[[Path], object]) -> Files:
    """Find the files of a published model, and fetch them from the hub if they are not here.

    Args:
        source: a folder; a name in `PUBLISHED`; or the owner and name of a model on the hub. A
            folder of that name comes first.
        check: called with the folder of the other files before weights are fetched; it raises a
            ValueError if they are of no use.

    Raises:
        ValueError: there is no such model, a file is missing, or it cannot be fetched.
    """
    folder = Path(source)
    if str(source) and folder.is_dir():
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).exists():
                raise ValueError(_lacks(folder, name))
        name = folder.resolve().name or str(folder)
        return Files(folder, name, None, None, f"the folder {folder}")
    return _fetch(str(source), find_known(source), check)


def find_known(source: str | Path) -> Known:
    """Return the model of a name, which is no folder.

    Raises:
        ValueError: it is not the name of a model.
    """
    known = PUBLISHED.get(str(source)) or Known(str(source))
    if not _REPOSITORY.fullmatch(known.repository):
        raise ValueError(
            f"{str(source)!r} is neither a folder nor the name of a published model: give a folder "
            f"with {CONFIG} and {WEIGHTS}, one of {', '.join(PUBLISHED)}, or OWNER/NAME of the "
            "Hugging Face hub"
        )
    return known


def _lacks(folder: Path, name: str) -> str:
    if (folder / f"{WEIGHTS}.index.json").exists():
        return (
            f"{folder} has its weights in several files: give a folder with one {WEIGHTS}, as "
            'save_pretrained(FOLDER, max_shard_size="100GB") of transformers writes it'
        )
    return (
        f"{folder} has no {name}: give a folder with {CONFIG} and {WEIGHTS}; other formats, such "
        "as pytorch_model.bin, may run code and are not read"
    )


def _fetch(name: str, known: Known, check: Callable[[Path], object]) -> Files:
    """Return the files of a model in the hub's cache, where they are put if they are not there.

    Raises:
        ValueError: they cannot be had, or `check` refuses them.
    """
    hub = need("huggingface_hub", FETCHING)
    folder = _cached(hub, known)
    if folder is None:
        with _explaining(name, known):
            ask_hub(hub, known)
            # The cache notes which commit is the newest for a file that is asked for without one.
            folder = Path(hub.hf_hub_download(known.repository, CONFIG)).parent
            for file in VOCABULARIES:
                with suppress(hub.errors.EntryNotFoundError):
                    hub.hf_hub_download(known.repository, file, revision=folder.name)
        check(folder)
        with _explaining(name, known):
            hub.hf_hub_download(known.repository, WEIGHTS, revision=folder.name)
    blob = (folder / WEIGHTS).resolve().name  # the cache names it by the checksum that the hub told
    stated = blob if _SHA256.fullmatch(blob) else None
    words = f"{known.repository} of the Hugging Face hub, revision {folder.name}"
    return Files(folder, name, folder.name, known.sha256 or stated, words)


@contextmanager
def _explaining(name: str, known: Known) -> Iterator[None]:
    """Turn any error of the network, of the hub or of the disk into one line.

    Raises:
        ValueError: the block raised an error.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{name} is no folder here, and {known.repository} could not be fetched from the "
            f"Hugging Face hub ({reason(error)}): put its {CONFIG} and {WEIGHTS} into a folder, "
            "and give that folder; files of other formats are not read"
        ) from None


def reason(error: Exception) -> str:
    """Return what an error of another library says, in one line."""
    told = shorten(str(error), 240) or type(error).__name__
    differs = "a tensor has another shape than config.json gives it"
    return differs if "ignore_mismatched_sizes" in told else told


def ask_hub(hub: Any, known: Known) -> None:
    """Ask the hub once for a model; any error means that it cannot be fetched.

    Without a connection this fails at once, where a download would try again and again.
    """
    hub.get_hf_file_metadata(hub.hf_hub_url(known.repository, CONFIG))


def cached_revision(hub: Any, known: Known) -> str | None:
    """Return the commit of a model that the cache holds as the newest one, None for none."""
    path = hub.try_to_load_from_cache(known.repository, CONFIG)
    return Path(path).parent.name if isinstance(path, str) else None


def _cached(hub: Any, known: Known) -> Path | None:
    """Return the folder of a model in the cache, whose name is the revision; None if not whole."""

    def paths(*names: str) -> list[Any]:  # not None where the file is, or is known to be nowhere
        return [hub.try_to_load_from_cache(known.repository, name) for name in names]

    # The models with a short name have GPT-2's tokens. Of others the files must say so.
    vocabularies = paths(*VOCABULARIES)
    is_told = any(isinstance(path, str) for path in vocabularies) or None not in vocabularies
    if not is_told and known not in PUBLISHED.values():
        return None
    config, weights = paths(CONFIG, WEIGHTS)
    return Path(config).parent if isinstance(config, str) and isinstance(weights, str) else None


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that a file stays as it is while the block reads it more than once.

    Raises:
        ValueError: it was replaced or written to.
    """

    def state() -> tuple[int, ...]:
        with open_regular(path) as file:
            told = os.fstat(file.fileno())
        return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns

    before = state()
    yield
    if state() != before:
        raise ValueError(f"{path} was changed while it was read: wait until it is whole, and retry")


def need(library: str, what: str) -> Any:
    """Import an optional library.

    Raises:
        ValueError: it is not installed; `what` says what needs it.
    """
    try:
        return importlib.import_module(library)
    except ImportError:
        raise ValueError(f"{what} needs {library}: pip install 'gptcore[pretrained]'") from None


def check_sum(path: Path, expected: str | None) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        ValueError: it is not a regular file, or its checksum is not the expected one.
    """
    digest, progress = hashlib.sha256(), Progress("checksum: MB")
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        while piece := file.read(2**24):
            digest.update(piece)
            progress(file.tell() / 1e6, size / 1e6)
    if expected not in (None, digest.hexdigest()):
        raise ValueError(
            f"{path} has the SHA-256 {digest.hexdigest()}, and the published file has {expected}: "
            "it is damaged or another one, so delete it and fetch it again"
        )
    return digest.hexdigest()
