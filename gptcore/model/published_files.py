"""Where published weights lie: in a folder, or on the Hugging Face hub and in its cache.

A published model is two files, `config.json` and `model.safetensors`. Files of other formats hold
pickled objects, which may run code when they are read, so they are never read.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.console import Progress
from gptcore.reading import check_regular, open_regular

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


def find_files(source: str | Path) -> Files:
    """Find the files of a published model, and fetch them from the hub if they are not here.

    Args:
        source: a folder; a name in `PUBLISHED`; or the owner and name of a model on the hub. A
            folder of that name comes first.

    Raises:
        ValueError: there is no such model, a file is missing, or it cannot be fetched.
    """
    folder = Path(source)
    if folder.is_dir():
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).exists():
                raise ValueError(
                    f"{folder} has no {name}: give a folder with {CONFIG} and {WEIGHTS}; other "
                    "formats, such as pytorch_model.bin, may run code and are not read"
                )
        name = folder.resolve().name or str(folder)
        return Files(folder, name, None, None, f"the folder {folder}")
    known = PUBLISHED.get(str(source)) or Known(str(source))
    if not _REPOSITORY.fullmatch(known.repository):
        raise ValueError(
            f"{source} is neither a folder nor the name of a published model: give a folder with "
            f"{CONFIG} and {WEIGHTS}, one of {', '.join(PUBLISHED)}, or OWNER/NAME of the "
            "Hugging Face hub"
        )
    return _fetch(str(source), known)


def _fetch(name: str, known: Known) -> Files:
    """Return the files of a model in the hub's cache, where they are put if they are not there.

    Raises:
        ValueError: they cannot be had.
    """
    hub = need("huggingface_hub", "fetching a published model")
    try:
        folder = _cached(hub, known)
        if folder is None:
            # Without a connection this fails at once, and the download would try again and again.
            told = hub.get_hf_file_metadata(hub.hf_hub_url(known.repository, CONFIG))
            for file in (*VOCABULARIES, CONFIG, WEIGHTS):
                with suppress(*([hub.errors.EntryNotFoundError] if file in VOCABULARIES else [])):
                    path = hub.hf_hub_download(known.repository, file, revision=told.commit_hash)
            folder = Path(path).parent
    except Exception as error:  # of the network, of the hub, or of the disk
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{name} is no folder here, and {known.repository} could not be fetched from the "
            f"Hugging Face hub ({reason}): put its {CONFIG} and {WEIGHTS} into a folder, and give "
            "that folder; files of other formats are not read"
        ) from None
    blob = (folder / WEIGHTS).resolve().name  # the cache names it by the checksum that the hub told
    stated = blob if _SHA256.fullmatch(blob) else None
    words = f"{known.repository} of the Hugging Face hub, revision {folder.name}"
    return Files(folder, name, folder.name, known.sha256 or stated, words)


def _cached(hub: Any, known: Known) -> Path | None:
    """Return the folder of a model in the cache, whose name is the revision; None if not whole."""
    # The models with a short name have GPT-2's tokens. Of others a file must say so.
    files = (CONFIG, WEIGHTS) if known in PUBLISHED.values() else (VOCABULARIES[0], CONFIG, WEIGHTS)
    paths = [hub.try_to_load_from_cache(known.repository, file) for file in files]
    return Path(paths[0]).parent if all(isinstance(path, str) for path in paths) else None


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
        ValueError: it is not a regular file, is too large, or its checksum is not the expected one.
    """
    check_regular(path, at_most=LARGEST_FILE)
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
