"""Checkpoints that several processes write: a folder with one file a process and a manifest.

torch.distributed.checkpoint decides which process writes which rows of a tensor, and brings the
rows to the processes that need them when a run is resumed with another number of them. How the rows
are stored is decided here: as float32 numbers one behind the other, little-endian, in
`rank-00000.bin` and so on. Nothing is pickled, so that a folder from anywhere can be read.

The manifest is written last (`manifests.py`). The folder has a hidden name until the manifest is in
it, and a folder without one is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from gptcore.files import PARTIAL, SAFE, write_errors, write_whole
from gptcore.lines import dump_line
from gptcore.model.config import ModelConfig
from gptcore.training.manifests import (
    FORMAT,
    MANIFEST,
    NUMBER,
    manifest_of,
    read_rows,
    row_bytes,
    shapes_of,
)


def save_shards(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write a checkpoint; every process of the run calls this with its parts of the tensors.

    Args:
        path: the folder; it is there with its manifest, or not at all.
        tensors: name → a whole tensor, the same in every process, or one that is divided by rows.
        about: `step`, `model_config`, `fingerprint` and `average` (whether there is one).

    Raises:
        WriteError: a process could not write its file; it is raised in every process.
    """
    try:
        save(tensors, storage_writer=_Writer(path, about))
    except CheckpointException as error:
        raise _first(error) from None


def load_shards(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors with the numbers of a checkpoint whose manifest was checked.

    Args:
        path: the folder.
        tensors: as for `save_shards`; each process reads the rows that it has.

    Raises:
        ValueError: a file cannot be read.
    """
    try:
        load(tensors, storage_reader=_Reader(path))
    except CheckpointException as error:
        raise ValueError(f"{path} cannot be read: {_first(error)}") from None


def _first(error: CheckpointException) -> BaseException:
    """Return what went wrong in the process with the lowest rank."""
    return error.failures[min(error.failures)][0]


class _Writer(StorageWriter):
    """Writes the rows of this process to one file; the first process writes the manifest."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.partial = path.with_name(f"{PARTIAL}{path.name}")

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer writes one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *_args: Any, **_options: Any) -> None:
        """Make the folder; the other processes write to it when their plans have come back."""
        if is_coordinator:
            with write_errors(self.path):
                self.partial.mkdir(parents=True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Return the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Return the plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write the rows of this process, and tell their places and the checksum of the file."""
        name = f"rank-{dist.get_rank():05d}.bin"
        digest, places, place = hashlib.sha256(), [], 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE
        with write_errors(self.path):
            descriptor = os.open(self.partial / name, flags, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                for item in plan.items:
                    tensor = planner.resolve_data(item)
                    assert isinstance(tensor, Tensor)
                    rows = np.ascontiguousarray(tensor.detach().cpu().numpy(), NUMBER)
                    digest.update(rows.data)
                    file.write(rows.data)
                    places.append((item.index, len(rows), place, rows.nbytes))
                    place += rows.nbytes
                file.flush()
                os.fsync(file.fileno())
        about_file = (name, place, digest.hexdigest())
        done: Future[list[WriteResult]] = Future()
        done.set_result(
            [
                WriteResult(index, n_bytes, (rows, begin, about_file))
                for index, rows, begin, n_bytes in places
            ]
        )
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the manifest, and give the folder its name."""
        files: dict[str, list[Any]] = {}
        tensors: dict[str, list[list[Any]]] = {}
        for result in (result for of_rank in results for result in of_rank):
            rows, begin, (name, n_bytes, sha256) = result.storage_data
            files[name] = [n_bytes, sha256]
            first, *others = result.index.offset or [0]
            assert not any(others), "tensors are divided by rows alone"
            if rows:
                tensors.setdefault(result.index.fqn, []).append([first, rows, name, begin])
        assert tensors.keys() == metadata.state_dict_metadata.keys()
        manifest = {
            "format": FORMAT,
            "world_size": dist.get_world_size(),
            **self.about,
            "fingerprint": json.dumps(self.about["fingerprint"]),
            "files": files,
            "tensors": {name: sorted(pieces) for name, pieces in tensors.items()},
        }
        write_whole(self.partial / MANIFEST, dump_line(manifest))
        with write_errors(self.path):
            self.partial.rename(self.path)

    @classmethod
    def validate_checkpoint_id(cls, _id: str | os.PathLike[str]) -> bool:
        """Return whether torch may choose this class by itself: never."""
        return False


class _Reader(StorageReader):
    """Reads the rows that a plan asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = manifest_of(path)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a reader reads one checkpoint."""

    def read_metadata(self, *_args: Any, **_options: Any) -> Metadata:
        """Return the shapes and the pieces of all tensors."""
        shapes = shapes_of(ModelConfig(**self.manifest["model_config"]))
        described: dict[str, Any] = {}
        for name, pieces in self.manifest["tensors"].items():
            first, *others = shapes[name.partition(".")[2]]
            described[name] = TensorStorageMetadata(
                TensorProperties(dtype=torch.float32),
                torch.Size((first, *others)),
                [
                    ChunkStorageMetadata(
                        torch.Size((begin, *[0] * len(others))), torch.Size((rows, *others))
                    )
                    for begin, rows, *_place in pieces
                ],
            )
        return Metadata(described)

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *_args: Any, **_options: Any
    ) -> None:
        """Do nothing: every process reads by itself."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Return the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read the rows into the tensors of this process."""
        for item in plan.items:
            index, skipped = item.storage_index, item.storage_offsets[0]
            assert index.offset is not None
            pieces = self.manifest["tensors"][index.fqn]
            name, begin = next(place for first, _, *place in pieces if first == index.offset[0])
            target = planner.resolve_tensor(item)
            begin += skipped * row_bytes(tuple(item.lengths))
            read_rows(self.path / name, begin, target.detach())
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, _id: str | os.PathLike[str]) -> bool:
        """Return whether torch may choose this class by itself: never."""
        return False
