"""A folder that several processes wrote is read whole or refused, whatever is in it."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptcore.lines import dump_line
from gptcore.model.gpt import GPT
from gptcore.training.checkpoints import load_checkpoint
from gptcore.training.config import TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.step import make_optimizer
from gptcore.training.world import World
from tests.helpers.counting import MODEL, batch_at
from tests.helpers.ranks import needs_fork, run_ranks

pytestmark = needs_fork
SHAPE = replace(MODEL, dropout=0.0)
WEIGHT = "model.transformer.wte.weight"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the checkpoints of steps 1 and 2 that two processes wrote."""
    folder = tmp_path_factory.mktemp("written")

    def work(world: World) -> None:
        model, config = GPT(SHAPE), TrainConfig(steps=2, batch_size=4, block_size=8)
        engine = Engine(world, model, config, None, shard=True)
        optimizer, part = make_optimizer(model, config), world.part(4)
        for step in (1, 2):
            inputs, targets = (ids[part.start : part.stop] for ids in batch_at(step))
            engine.update(model, optimizer, inputs, targets)
            engine.save(folder / "checkpoints", step, optimizer, {})

    assert [code for code, _ in run_ranks(folder, 2, work)] == [0, 0]
    return folder / "checkpoints"


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


def newest(folder: Path) -> Path:
    return folder / "step-00000002.shards"


def refusal(folder: Path) -> str:
    """Return why the newest checkpoint is refused; the one before is taken."""
    with pytest.warns(UserWarning, match="taking the one before") as told:
        checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint["step"] == 1
    return str(told[0].message)


def change(folder: Path, **parts) -> None:
    """Replace parts of the manifest, with the checksum of the new ones."""
    path = newest(folder) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["crc32"]
    path.write_text(dump_line(manifest | parts), encoding="ascii")


def manifest_of(folder: Path) -> dict:
    return json.loads((newest(folder) / "manifest.json").read_bytes())


def test_the_whole_is_read_by_one_process(written):
    checkpoint = load_checkpoint(written)
    assert checkpoint is not None
    assert checkpoint["step"] == 2
    model = GPT(SHAPE)
    model.load_state_dict(checkpoint["model"])
    optimizer = make_optimizer(model, TrainConfig(steps=2))
    optimizer.load_state_dict(checkpoint["optimizer"])
    shapes = [state["exp_avg"].shape for state in optimizer.state.values()]
    assert shapes == [p.shape for p in optimizer.state]


def test_a_checkpoint_without_manifest_is_refused(copied):
    (newest(copied) / "manifest.json").unlink()
    assert "has no manifest.json, so it is not a whole checkpoint" in refusal(copied)


def test_every_flipped_byte_is_noticed(copied):
    for path in sorted(newest(copied).iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), len(whole) // 5):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert "damaged" in refusal(copied)
        path.write_bytes(whole[:-1])
        assert "damaged" in refusal(copied)
        path.write_bytes(whole)
    assert load_checkpoint(copied)["step"] == 2


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([], "has 0 rows, and its shape has 17"),
        ([[0, 17, "../../outside", 0]], "not a place in a file"),
        ([[0, 17, "rank-00000.bin", 10**9]], "ends behind the end of rank-00000.bin"),
        ([[0, 17, "rank-00000.bin", -1]], "place of"),
        ([[0, 9, "rank-00000.bin", 0], [8, 9, "rank-00000.bin", 0]], "do not follow each other"),
        ([[0, 9, "rank-00000.bin", 0], [10, 7, "rank-00000.bin", 0]], "do not follow each other"),
        ([[0, 10**12, "rank-00000.bin", 0]], "rows of"),
        ("all", "has 0 rows"),
    ],
)
def test_places_that_are_not_those_of_the_tensor_are_refused(copied, pieces, reason):
    change(copied, tensors=manifest_of(copied)["tensors"] | {WEIGHT: pieces})
    assert reason in refusal(copied)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"format": 2}, "its format is 2; this version reads 1"),
        ({"step": 0}, "step"),
        ({"step": 3}, "it is of step 3"),
        ({"world_size": "2"}, "world_size"),
        ({"files": {"../x": [1, ""]}}, "must be called rank-00000.bin"),
        ({"files": {"rank-00000.bin": [10**15, ""]}}, "which is not the size of the model"),
        ({"tensors": {}}, "it has not the tensors of 1 layers"),
        ({"model_config": {"n_layer": 10**9}}, "keys missing"),
        ({"fingerprint": "[]"}, "dict is needed"),
        ({"more": 1}, "keys missing or unknown: more"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(copied, parts, reason):
    change(copied, **parts)
    assert reason in refusal(copied)


def test_numbers_that_are_not_finite_are_refused(copied):
    path = newest(copied) / "rank-00000.bin"
    numbers = torch.full((path.stat().st_size // 4,), torch.inf)
    path.write_bytes(numbers.numpy().tobytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    files = manifest_of(copied)["files"] | {path.name: [path.stat().st_size, sha256]}
    change(copied, files=files)
    assert "not finite" in refusal(copied)


def test_a_file_that_is_a_pipe_or_a_link_elsewhere_is_refused(copied, tmp_path):
    path = newest(copied) / "rank-00001.bin"
    path.unlink()
    path.symlink_to(tmp_path)
    assert "damaged" in refusal(copied)
