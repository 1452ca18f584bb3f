import errno
import math
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from gptcore.files import WriteError
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.training import checkpoint_files
from gptcore.training.checkpoint_files import save_tensors
from gptcore.training.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    model_from_checkpoint,
    remove_checkpoints_after,
    restore_checkpoint,
    save_checkpoint,
)
from tests.helpers.failing_calls import Fault

CONFIG = ModelConfig(vocab_size=17, block_size=8, n_layer=1, n_head=2, n_embd=16)
IDS = torch.arange(8)[None]
FINGERPRINT = {"corpus": "abc", "train": {"seed": 0}, "splits": (1, 2)}


def trained(steps: int) -> tuple[GPT, torch.optim.Optimizer]:
    model = GPT(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        update(model, optimizer)
    return model, optimizer


def update(model: GPT, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss = next_token_loss(model, IDS, IDS)
    loss.backward()
    optimizer.step()
    return loss.item()


def save(directory: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(directory, step, *trained(step), FINGERPRINT)


def flip_a_weight(path: Path) -> None:
    """Change one byte in the middle of the largest record, as failing disks do."""
    content = bytearray(path.read_bytes())
    weight = trained(2)[0].lm_head.weight.detach().numpy().tobytes()
    position = content.index(weight) + len(weight) // 2
    content[position] ^= 1
    path.write_bytes(content)


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path):
    model, optimizer = trained(3)
    save_checkpoint(tmp_path, 3, model, optimizer, FINGERPRINT)
    expected = [update(model, optimizer) for _ in range(3)]
    model, optimizer = trained(0)
    assert restore_checkpoint(load_checkpoint(tmp_path), model, optimizer, FINGERPRINT) == 3
    assert [update(model, optimizer) for _ in range(3)] == expected


def test_the_model_can_be_had_without_knowing_its_shape(tmp_path):
    save(tmp_path, 2)
    model = model_from_checkpoint(load_checkpoint(tmp_path))
    assert model.config == CONFIG
    assert torch.equal(model(IDS), trained(2)[0](IDS))


def test_the_newest_two_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000002.pt", "step-00000003.pt"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000003.pt"


@pytest.mark.parametrize("name", ["step-00000001 (copy).pt", "step-last.pt", "step-9.pt"])
def test_a_file_of_another_name_is_neither_used_nor_deleted(tmp_path, name):
    save(tmp_path, 1)
    (tmp_path / "step-00000001.pt").rename(tmp_path / name)
    (tmp_path / "step-99999999 2.pt").write_bytes(b"")
    assert load_checkpoint(tmp_path) is None
    save(tmp_path, 2, 3)
    remove_checkpoints_after(tmp_path, 2)
    assert names(tmp_path) == sorted([name, "step-00000002.pt", "step-99999999 2.pt"])


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path):
    (tmp_path / "checkpoints").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        load_checkpoint(tmp_path / "checkpoints")


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert latest_checkpoint(tmp_path / "absent") is None
    assert load_checkpoint(tmp_path) is None


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step-00000001.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"all checkpoints .* are damaged; train again .*: .*zip"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("error", [PermissionError(13, "Denied"), OSError(24, "Too many files")])
def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    save(tmp_path, 1, 2)
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ValueError, match=error.strerror):
        load_checkpoint(tmp_path)


def test_another_fingerprint_is_refused_and_every_difference_named(tmp_path):
    save(tmp_path, 1)
    model, optimizer = trained(0)
    other = {"corpus": "abd", "train": {"seed": 1}, "splits": (1, 2), "extra": True}
    message = (
        r"corpus is 'abc' there and 'abd' here; extra is None there and True here; "
        r"train\.seed is 0 there and 1 here; resume with the same"
    )
    with pytest.raises(ValueError, match=message):
        restore_checkpoint(load_checkpoint(tmp_path), model, optimizer, other)
    assert torch.equal(model(IDS), GPT(CONFIG)(IDS))


def test_a_checkpoint_of_another_shape_does_not_load(tmp_path):
    save(tmp_path, 1)
    model = GPT(replace(CONFIG, n_embd=32))
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(ValueError, match=r"of shape \(17, 16\); it must be .* \(17, 32\)"):
        restore_checkpoint(load_checkpoint(tmp_path), model, optimizer, FINGERPRINT)


def test_a_config_that_is_not_that_of_the_fingerprint_is_damage(tmp_path):
    config = asdict(CONFIG)
    save_checkpoint(tmp_path, 1, *trained(1), {"model": config})
    save_checkpoint(tmp_path, 2, *trained(2), {"model": config | {"dropout": 0.5}})
    with pytest.warns(UserWarning, match="fingerprint are of different models"):
        assert load_checkpoint(tmp_path)["step"] == 1


def test_checkpoints_after_a_step_are_removed(tmp_path):
    save(tmp_path, 1, 2)
    remove_checkpoints_after(tmp_path, 1)
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000001.pt"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class FullDisk:
    """A file that takes `room` bytes, and refuses what does not fit."""

    def __init__(self, room: int) -> None:
        self.room, self.refused = room, 0

    def write(self, data: bytes) -> int:
        if len(data) > self.room:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return len(data)


@pytest.mark.parametrize("room", range(0, 4_000, 97))
def test_a_full_disk_at_any_byte_is_told_as_such(room):
    disk = FullDisk(room)
    keeper = checkpoint_files._ErrorKeeper(disk)
    torch.save({"weight": torch.zeros(20_000)}, keeper)
    assert keeper.error.errno == errno.ENOSPC
    assert disk.refused == 1


def test_a_checkpoint_beyond_the_limit_of_a_file_is_one_line_and_the_older_ones_stay(tmp_path):
    resource = pytest.importorskip("resource")
    save(tmp_path, 1, 2)
    message = r"^cannot write \S+3\.pt: File too large; [^\n]+$"
    size = (tmp_path / "step-00000002.pt").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, size // 2, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(WriteError, match=message):
                save(tmp_path, 3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert names(tmp_path) == ["step-00000001.pt", "step-00000002.pt"]
    assert load_checkpoint(tmp_path)["step"] == 2


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "close", "unlink"])
def test_a_checkpoint_whose_writing_fails_leaves_two_that_can_be_read(tmp_path, call):
    for kth in range(1, 20):
        folder = tmp_path / f"{kth}"
        save(folder, 1, 2)
        fault = Fault(call, kth, errno.EIO)
        with fault.active():
            try:
                save(folder, 3)
            except WriteError:
                assert fault.happened
        assert not [name for name in names(folder) if not name.startswith("step-")]
        assert len(names(folder)) >= 2
        assert load_checkpoint(folder)["step"] in (2, 3)
        if not fault.happened:
            assert load_checkpoint(folder)["step"] == 3
            return
    pytest.fail("more calls than were expected")


def test_ctrl_c_while_a_checkpoint_is_written_leaves_nothing_of_it(tmp_path):
    class Interrupting:
        def __reduce__(self):
            raise KeyboardInterrupt

    for content in ({"a": torch.zeros(9), "b": Interrupting()}, Interrupting()):
        with pytest.raises(KeyboardInterrupt):
            save_tensors(content, tmp_path / "x.pt")
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["victim", "absent", "step-00000001.pt"])
def test_a_link_in_place_of_a_checkpoint_is_refused(tmp_path, target):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "step-00000001.pt").symlink_to(target)
    with pytest.raises(WriteError, match=r"step-00000001\.pt: it is a symbolic link"):
        save(tmp_path, 1)
    assert (tmp_path / "victim").read_text() == "precious"
    assert names(tmp_path) == ["step-00000001.pt", "victim"]


def put(content: dict, place: tuple, value: object) -> None:
    for key in place[:-1]:
        content = content[key]
    if value is KeyError:
        del content[place[-1]]
    else:
        content[place[-1]] = value


MOMENT = ("optimizer", "state", 1, "exp_avg_sq")
WRONG = [
    ((), None, "a checkpoint is NoneType"),
    (("step",), KeyError, "a checkpoint has keys missing or unknown: step"),
    (("more",), 1, "a checkpoint has keys missing or unknown: more"),
    (("step",), True, "step is True: give a whole number"),
    (("step",), 1.0, "step is 1.0"),
    (("step",), 5, "the optimizer has done 2 updates, not 5"),
    (("model_config",), [], "model_config is list"),
    (("model_config", "n_head"), KeyError, "model_config has keys missing or unknown: n_head"),
    (("model_config", "n_layer"), 10**7, "its config has 10,000,000 layers and"),
    (("model_config", "n_layer"), "1", "n_layer is '1': give a whole number"),
    (("model_config", "n_embd"), 10**12, "its config has 1 layers and"),
    (("model_config", "n_head"), 3, "must be a multiple of n_head"),
    (("model_config", "dropout"), math.nan, "dropout is nan"),
    (("model",), {}, "its weights are 0 tensors"),
    (("model",), 1, "the model is int, and a dict is needed"),
    (
        ("model", "lm_head.weight"),
        KeyError,
        "keys missing or unknown: lm_head.weight",
    ),
    (("model", "lm_head.weight"), torch.zeros(17, 16), "lm_head.weight differs from"),
    (("model", "transformer.ln_f.bias"), 1, "weights are 17 tensors"),
    (("model", "transformer.ln_f.bias"), torch.zeros(4, 4), "must be torch.float32 of shape"),
    (("model", "transformer.ln_f.bias"), torch.zeros(16).double(), "is torch.float64"),
    (("model", "transformer.ln_f.bias"), torch.full((16,), math.nan), "is not finite: training"),
    (("model", "transformer.ln_f.bias"), torch.zeros(1).expand(16), "is not finite"),
    (("model", "transformer.ln_f.bias"), torch.zeros(16).to_sparse(), "a tensor is needed"),
    (("optimizer",), None, "the optimizer is NoneType"),
    (("optimizer", "param_groups"), None, "param_groups cannot be read"),
    (("optimizer", "param_groups"), [], "do not list the 16 parameters"),
    (("optimizer", "param_groups", 0, "params"), [0], "do not list the 16 parameters"),
    (("optimizer", "state"), {}, "the optimizer's state has keys"),
    (MOMENT, KeyError, "state of parameter 1 has keys missing or unknown: exp_avg_sq"),
    (MOMENT, torch.zeros(3), "exp_avg_sq of parameter 1 is"),
    (MOMENT, torch.full((8, 16), math.inf), "exp_avg_sq of parameter 1 is not finite"),
    (MOMENT, torch.full((8, 16), -1.0), "exp_avg_sq of parameter 1 is negative"),
    (("fingerprint",), [], "the fingerprint is list"),
    (("fingerprint", "corpus"), torch.zeros(1), "the fingerprint holds a value of Tensor"),
    (("fingerprint", 1), 1, "a name in the fingerprint is no text"),
    (("fingerprint", "corpus"), [0] * 10_000, "more than 10,000 values"),
]


@pytest.mark.parametrize(("place", "value", "reason"), WRONG)
def test_a_checkpoint_of_the_wrong_content_gives_way_to_the_one_before(
    tmp_path, place, value, reason
):
    save(tmp_path, 1, 2)
    newest = tmp_path / "step-00000002.pt"
    content = load_checkpoint(tmp_path)
    if place:
        put(content, place, value)
    torch.save(content if place else value, newest)
    with pytest.warns(UserWarning, match=r"step-00000002\.pt is damaged") as told:
        assert load_checkpoint(tmp_path)["step"] == 1
    assert reason in str(told[0].message)
    assert "\n" not in str(told[0].message)


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value, value]  # doubles with each level, and takes no space in the file
    return value


def test_a_fingerprint_that_doubles_with_each_level_is_refused_soon(tmp_path):
    save(tmp_path, 1)
    content = load_checkpoint(tmp_path)
    content["fingerprint"]["corpus"] = nested(40)
    torch.save(content, tmp_path / "step-00000001.pt")
    with pytest.raises(ValueError, match="more than 10,000 values"):
        load_checkpoint(tmp_path)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(target: str):
    def replace_by_link(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return replace_by_link


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members:
            new.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        fifo,
        folder,
        link("/dev/zero"),
        link("nowhere"),
        link("step-00000002.pt"),
        link("step-00000001.pt"),
        compressed,
        lambda path: path.write_text("PK"),
        lambda path: path.write_bytes(b""),
        flip_a_weight,
    ],
)
def test_what_is_no_whole_file_of_torch_gives_way_to_the_one_before(tmp_path, change):
    save(tmp_path, 1, 2)
    change(tmp_path / "step-00000002.pt")
    with pytest.warns(UserWarning, match=r"step-00000002\.pt is damaged"):
        assert load_checkpoint(tmp_path)["step"] == 1


def test_a_cut_or_flipped_checkpoint_is_never_taken_for_another(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "step-00000001.pt"
    content, expected = path.read_bytes(), load_checkpoint(tmp_path)
    refused = 0
    for place in range(0, len(content), len(content) // 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (content[:place], bytes(flipped)):
            path.write_bytes(damaged)
            try:
                found = load_checkpoint(tmp_path)
            except ValueError:
                refused += 1
                continue
            assert found["fingerprint"] == expected["fingerprint"]
            assert all(torch.equal(found["model"][n], t) for n, t in expected["model"].items())
    assert refused > 200  # the rest are flips in what fills the gaps between the members


@pytest.mark.parametrize(
    "change", [{"n_layer": 10**9}, {"n_layer": 10**6}, {"n_embd": 10**6}, {"vocab_size": 10**15}]
)
def test_a_model_that_no_machine_can_hold_is_refused_by_its_size(change):
    with pytest.raises(ValueError, match=r"takes .* GB, and this machine has .* GB: give"):
        GPT(replace(CONFIG, **change))
