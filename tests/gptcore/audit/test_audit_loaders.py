import doctest
import re
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gptcore.audit.audits import audit, audit_tokens
from gptcore.audit.drawing import WRONG
from gptcore.sampling.batches import dataloader
from tests.helpers.checkout import ROOT

GUIDE = ROOT / "docs" / "auditing.md"
IDS = np.random.default_rng(0).integers(50_257, size=1_001)


def kinds(result, severity):
    return {f.kind: f.count for f in result.findings if f.severity == severity}


# --- the guide -------------------------------------------------------------------------------


def test_guide_says_what_its_code_prints():
    results = doctest.testfile(str(GUIDE), module_relative=False, encoding="utf-8")
    assert results.attempted > 10
    assert results.failed == 0


def test_guide_explains_every_kind_of_finding():
    room = sorted((ROOT / "gptcore" / "audit").glob("*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in room)
    named = set(re.findall(r'Finding\(\s*"(\w+)"', source)) | set(WRONG)
    named |= {"targets_equal_inputs", "shifted_twice", "other_part"}
    assert len(named) == 27
    explained = GUIDE.read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|", explained, re.MULTILINE)))
    assert sorted(named - set(listed)) == []


# --- live loaders ----------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
def test_epochs_of_a_data_loader_are_audited(shuffle):
    loader = dataloader(
        torch.from_numpy(IDS), block_size=8, batch_size=4, shuffle=shuffle, drop_last=False
    )
    result = audit(loader, IDS, epochs=3)
    assert (result.draws, result.epochs, result.block_size) == (375, 3, 8)
    assert result.missed_targets == result.shown_twice == 0
    assert kinds(result, "fault") == {}
    assert kinds(result, "note") == ({} if shuffle else {"identical_epochs": 2})


def test_a_dropped_last_batch_is_found_in_a_live_loader():
    loader = dataloader(
        torch.from_numpy(IDS), block_size=8, batch_size=10, shuffle=False, drop_last=True
    )
    assert kinds(audit(loader, IDS), "fault") == {"missed_targets": 40}


def test_an_endless_loader_is_cut_at_max_batches():
    def batches():
        while True:
            yield torch.from_numpy(IDS[:24].reshape(3, 8))

    assert audit(batches(), IDS, max_batches=5).draws == 15


def test_batches_of_different_widths_keep_their_order():
    starts, widths = np.arange(0, 900, 10), np.arange(90) % 3 + 5
    rows = [IDS[s : s + w][None] for s, w in zip(starts, widths, strict=True)]
    result = audit(rows, IDS)
    assert result.passes
    assert result.draws == 90


def test_arrays_on_their_own_are_rows_that_hold_their_last_target():
    rows = IDS[:999].reshape(-1, 9)
    result = audit_tokens(rows, IDS)
    assert (result.block_size, result.lost_at_borders) == (8, 110)
    assert audit_tokens(IDS[:1000].reshape(5, 25, 8), IDS, block_size=8).missed_targets == 0


def test_hugging_face_labels_lose_the_first_token_of_each_row():
    rows = torch.from_numpy(IDS[:1000].reshape(-1, 8))
    batches = [{"input_ids": part, "labels": part.clone()} for part in rows.split(10)]
    result = audit(batches, IDS)
    assert (result.block_size, result.lost_at_borders) == (7, 124)


def test_masked_labels_are_a_note():
    rows = torch.from_numpy(IDS[:1000].reshape(-1, 8))
    labels = rows.clone()
    labels[:, :2] = -100
    result = audit([{"input_ids": rows, "labels": labels}], IDS)
    assert kinds(result, "note")["masked_targets"] == 250


def test_targets_moved_by_two_are_found():
    x, y = torch.from_numpy(IDS[:992].reshape(-1, 8)), torch.from_numpy(IDS[2:994].reshape(-1, 8))
    result = audit(DataLoader(TensorDataset(x, y), batch_size=4), IDS)
    assert kinds(result, "fault")["wrong_targets"] == 124
    assert "batch 0, row 0" in [f.example for f in result.findings if f.kind == "wrong_targets"]


def test_rows_that_the_text_lacks_are_found():
    rows = IDS[:1000].reshape(-1, 8).copy()
    rows[7, 3] = 50_257
    result = audit_tokens(rows, IDS)
    assert kinds(result, "fault")["unmatched_rows"] == 1
    assert result.draws == 126  # two pieces of the row are text


def test_rows_that_occur_twice_are_a_note_and_no_repeat():
    ids = IDS.copy()
    ids[400:480] = ids[80:160]
    result = audit_tokens(ids[:1000].reshape(-1, 8), ids, block_size=8)
    assert result.repeated_windows == 0
    assert kinds(result, "note")["ambiguous_rows"] == 20


@pytest.mark.parametrize(
    ("loader", "arguments", "message"),
    [
        ([], {}, "no batch in pass 0"),
        (iter([IDS[:24].reshape(3, 8)]), {"epochs": 2}, "no batch in pass 1"),
        ([{"ids": IDS}], {}, "keys ids"),
        ([IDS[0]], {}, "batch 0 has int64 of shape"),
        ([(IDS.reshape(1, -1), IDS[1:].reshape(1, -1))], {}, "one target for each input"),
        ([np.ones((2, 8))], {}, "batch 0 has float64"),
        ([IDS[:24].reshape(3, 8)], {"block_size": 6}, "must be 7"),
        ([IDS[:24].reshape(3, 8) + 1], {}, "none of the 3 rows"),
        ([IDS[:24].reshape(3, 8)], {"max_batches": 0}, "max_batches is 0"),
    ],
)
def test_a_loader_that_cannot_be_audited_is_refused_in_one_line(loader, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        audit(loader, IDS, **arguments)
    assert "\n" not in str(caught.value)


def test_cyclic_rows_at_the_very_end_need_their_target_in_the_text():
    with pytest.raises(ValueError, match="outside the 1001 tokens"):
        audit_tokens(IDS[-8:][None], IDS, block_size=8)


def test_audit_stops_reading_at_max_batches():
    rest = iter([IDS[:8][None]] * 5)
    audit(rest, IDS, max_batches=2)
    assert len(list(islice(rest, 9))) == 3
