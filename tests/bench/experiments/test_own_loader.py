"""The loader of a user's own file: its audit, and its batches in a training run."""

import sys
from itertools import islice

import numpy as np
import pytest
import torch

from bench.experiments.own_batches import own_batches
from bench.experiments.own_loader import audit_loader
from bench.suite.own import OwnModel
from bench.suite.training_cases import TrainCase
from gptcore.data.splits import Segment
from gptcore.data.tokens import TokenStream
from tests.helpers.own_files import write_model

TRAIN = Segment(0, 3_600)
IDS = np.random.default_rng(0).integers(0, 50, 4_000)
LOADER = """

import numpy as np


def get_batch(split):
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 50, 4_000))
    starts = torch.randint({first}, {last}, (6,)).tolist()
    x = torch.stack([ids[i : i + 16] for i in starts])
    return x, torch.stack([ids[i + {shift} : i + {shift} + 16] for i in starts])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that loads a file whose loader starts in a range and shifts its targets."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def load(first=0, last=3_580, shift=1):
        more = LOADER.format(first=first, last=last, shift=shift)
        return OwnModel.load(write_model(tmp_path, more=more))

    return load


def audited(own, n_batches, ids=IDS):
    parts = {"train": ids[TRAIN.start : TRAIN.stop], "test": ids[TRAIN.stop :]}
    return audit_loader(own, parts, vocab_size=50, n_batches=n_batches, seed=0)


def kinds(found):
    return {each["kind"]: each["severity"] for each in found.facts["audit"]}


def test_a_sound_loader_of_the_training_part_has_no_fault(own):
    found = audited(own(), 60)
    assert found.metrics["audited_draws"] == 360
    assert found.metrics["audit_faults"] == 0
    apart = found.metrics["missed_targets"] - found.metrics["expected_missed_targets"]
    assert abs(apart) < 4 * found.metrics["sd_missed_targets"]


def test_targets_that_equal_inputs_are_a_fault(own):
    found = audited(own(shift=0), 20)
    assert found.metrics["targets_equal_inputs"] == 120
    assert kinds(found)["targets_equal_inputs"] == "fault"


def test_a_loader_that_reads_the_test_part_has_a_fault(own):
    assert kinds(audited(own(3_700, 3_980), 60)) == {"other_part": "fault"}
    assert kinds(audited(own(0, 3_980), 60))["other_part"] == "fault"


def test_a_loader_of_another_text_is_refused(own):
    with pytest.raises(ValueError, match="none of the 30 rows"):
        audited(own(), 5, IDS[::-1].copy())


CASE = TrainCase("own", "text", 3, batch_size=4, block_size=8, reader="get_batch")


def test_batches_of_a_run_are_cut_compact_and_a_function_of_the_seed(own):
    _, vocabulary = TokenStream(IDS[IDS != 7], 50).compact()
    with pytest.raises(ValueError, match=r"tokens that the text has not .* by --corpus"):
        list(islice(own_batches(own(), CASE, vocabulary), 9))
    _, vocabulary = TokenStream(2 * IDS, 100).compact()  # so that ids and compact ids differ
    doubled = own()
    given = doubled.file.module.get_batch
    doubled.file.module.get_batch = lambda split: tuple(2 * part for part in given(split))
    first, again = (list(islice(own_batches(doubled, CASE, vocabulary), 3)) for _ in range(2))
    assert [x.shape for x, _ in first] == [(4, 8)] * 3
    assert all(torch.equal(x[:, 1:], y[:, :-1]) for x, y in first)
    assert max(int(x.max()) for x, _ in first) < 50
    assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))


def test_a_batch_that_is_too_small_is_refused(own):
    case = TrainCase("own", "text", 0, batch_size=8, block_size=8)
    with pytest.raises(ValueError, match=r"cut to \(6, 8\), and the run needs \(8, 8\)"):
        next(own_batches(own(), case, None))
