"""Batches in the formats of training libraries, and rows that hold several documents.

Each loader imitates the batches of the library that it is named after.
"""

import numpy as np
import pytest
import torch

from gptcore.audit.audits import audit, audit_tokens, locate

BOS, EOS, PAD, T = 50_256, 50_255, 50_254, 64
DOCUMENTS = [
    np.random.default_rng(i).integers(50_000, size=int(size))
    for i, size in enumerate(np.random.default_rng(99).integers(12, 60, size=80))
]
FLAT = np.concatenate(DOCUMENTS)
WITH_BOS = np.concatenate([np.append(BOS, document) for document in DOCUMENTS])


def found(result, severity):
    return {f.kind: f.count for f in result.findings if f.severity == severity}


def reason(result, kind):
    return next(f.explanation for f in result.findings if f.kind == kind)


def stride(text):
    """Return rows of T + 1 tokens of which neighbours share one."""
    return np.stack([text[at : at + T + 1] for at in range(0, len(text) - T, T)])


def batches(rows, size=8):
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def bins(documents, width):
    """Return documents in bins of at most `width` tokens, in order."""
    packed = [[]]
    for document in documents:
        if sum(map(len, packed[-1])) + len(document) > width:
            packed.append([])
        packed[-1].append(document)
    return packed


def nanochat(seed=0):
    """Yield (inputs, targets, state): each row begins with BOS, and its last document is cut."""
    order = np.random.default_rng(seed).permutation(len(DOCUMENTS))
    rows, row = [], []
    for at in order:
        row = np.append(row, np.append(BOS, DOCUMENTS[at])).astype(np.int64)
        if len(row) > T:
            rows, row = [*rows, row[: T + 1]], []
    for part in batches(np.stack(rows)):
        yield torch.tensor(part[:, :-1]).int(), torch.tensor(part[:, 1:]), {"epoch": 1}


def torchtitan():
    """Yield ({"input": inputs}, targets): a stream of documents with BOS."""
    for part in batches(stride(WITH_BOS)):
        yield {"input": torch.tensor(part[:, :-1])}, torch.tensor(part[:, 1:])


def grain(segments=True, special=False):
    """Return inputs and targets packed apart, padded by 0, as grain and MaxText make them."""
    documents = [np.concatenate([[BOS], d, [EOS]]) if special else d for d in DOCUMENTS]
    packed = bins([d[:-1] for d in documents], T)
    batch = {name: np.zeros((len(packed), T), np.int32) for name in ("inputs", "targets")}
    batch |= {f"inputs_{name}": np.zeros((len(packed), T), np.int32) for name in GRAIN}
    last = iter(d[-1] for d in documents)
    for row, parts in enumerate(packed):
        at = 0
        for number, part in enumerate(parts, start=1):
            here = slice(at, at + len(part))
            batch["inputs"][row, here] = part
            batch["targets"][row, here] = np.append(part[1:], next(last))
            batch["inputs_segmentation"][row, here] = number
            batch["inputs_position"][row, here] = np.arange(len(part))
            at += len(part)
    return [batch if segments else {name: batch[name] for name in ("inputs", "targets")}]


GRAIN = ("segmentation", "position")


def trl(eos=True):
    """Yield one flat row for each bin, with position_ids that begin anew, as TRL makes them."""
    for parts in bins([np.append(d, EOS) if eos else d for d in DOCUMENTS], T):
        ids = torch.tensor(np.concatenate(parts))[None]
        positions = torch.tensor(np.concatenate([np.arange(len(part)) for part in parts]))[None]
        yield {"input_ids": ids, "labels": ids.clone(), "position_ids": positions}


def padded(side="right", mask=True, pad=PAD, end=()):
    """Yield padded documents, as a data collator of transformers makes them."""
    for part in batches(DOCUMENTS):
        rows = [np.concatenate([document, end]).astype(np.int64) for document in part]
        ids = np.full((len(rows), max(map(len, rows))), pad)
        kept = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            here = slice(len(tokens)) if side == "right" else slice(-len(tokens), None)
            ids[row, here], kept[row, here] = tokens, 1
        batch = {"input_ids": torch.tensor(ids), "labels": torch.tensor(np.where(kept, ids, -100))}
        yield batch | ({"attention_mask": torch.tensor(kept)} if mask else {})


# --- rows of several documents ---------------------------------------------------------------


def test_rows_of_nanochat_give_document_offset_and_length():
    rows = torch.cat([x for x, _, _ in nanochat()])
    for run in locate(nanochat(), DOCUMENTS):
        text = DOCUMENTS[run["document"]][run["offset"] :][: run["length"]].tolist()
        row = rows[run["row"]].tolist()
        # The last token of a row is a target alone.
        assert any(row[at : at + len(text) - 1] == text[:-1] for at in range(T))


@pytest.mark.parametrize("ids", [DOCUMENTS, WITH_BOS, FLAT], ids=["documents", "with BOS", "flat"])
def test_rows_of_nanochat_miss_what_they_cut_off_and_nothing_else(ids):
    result = audit(nanochat(), ids)
    assert set(found(result, "fault")) == {"missed_targets"}
    assert "packed_rows" in found(result, "note")
    assert "cut to a length" in reason(result, "missed_targets")


@pytest.mark.parametrize("ids", [DOCUMENTS, WITH_BOS, FLAT], ids=["documents", "with BOS", "flat"])
def test_a_stream_of_documents_with_bos_is_sound(ids):
    assert found(audit(torchtitan(), ids), "fault") == {}


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("segments", [False, True])
def test_packed_inputs_and_targets_of_grain_are_sound(segments, special):
    result = audit(grain(segments, special), DOCUMENTS)
    assert found(result, "fault") == {}
    assert result.missed_targets == 0


@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_padding_free_rows_of_trl_are_sound(eos, masked):
    rows = list(trl(eos))
    if masked:
        rows = [b | {"labels": b["labels"].where(b["position_ids"] > 0, -100)} for b in rows]
    result = audit(rows, DOCUMENTS)
    assert found(result, "fault") == {}
    assert result.missed_targets == 0


@pytest.mark.parametrize("seed", range(5))
def test_documents_in_another_order_are_found_at_their_ends(seed):
    order = np.random.default_rng(seed).permutation(len(DOCUMENTS))
    text = np.concatenate([np.append(document, EOS) for document in DOCUMENTS])
    shuffled = np.concatenate([np.append(DOCUMENTS[i], EOS) for i in order])
    runs = locate([shuffled], text)
    starts = np.cumsum([0, *(len(document) + 1 for document in DOCUMENTS)])
    middle = runs["offset"][1:-1]
    assert np.isin(middle + 1, starts).mean() > 0.9  # a run begins with the token between


def test_a_wrong_last_target_of_a_document_is_found():
    (batch,) = grain()
    row = int((batch["inputs_segmentation"] == 2).any(axis=1).argmax())
    end = int((batch["inputs_segmentation"][row] == 1).sum()) - 1
    batch["targets"][row, end] = DOCUMENTS[40][3]
    assert found(audit([batch], DOCUMENTS), "fault")["wrong_targets"] == 1


# --- padding and masks -----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("mask", [False, True])
def test_padding_is_named_and_no_fault(side, mask):
    result = audit(padded(side, mask), DOCUMENTS)
    assert (found(result, "fault"), result.draws) == ({}, 80)
    assert "fill rows (padding)" in reason(result, "masked_targets")


def test_a_masked_end_of_text_token_is_a_fault_that_is_named():
    text = [np.append(document, EOS) for document in DOCUMENTS]
    rows = list(padded(pad=EOS, end=[EOS]))
    masked = [b | {"labels": b["labels"].where(b["input_ids"] != EOS, -100)} for b in rows]
    result = audit(masked, text)
    assert "masked_targets" in found(result, "fault")
    assert f"Exactly one token is masked, {EOS}" in reason(result, "masked_targets")


@pytest.mark.parametrize("form", ["labels", "completion_mask", "targets of -1"])
def test_masked_prompts_are_a_note_that_names_them(form):
    def batch(ids):
        if form == "completion_mask":
            return {"input_ids": ids.tolist(), "completion_mask": [0] * 5 + [1] * (len(ids) - 5)}
        if form == "labels":
            return [{"input_ids": ids.tolist(), "labels": [-100] * 5 + ids[5:].tolist()}]
        return ids[:-1][None], np.append([-1] * 4, ids[5:])[None]

    result = audit(map(batch, DOCUMENTS), DOCUMENTS)
    assert found(result, "fault") == {}
    assert "as prompts do" in reason(result, "masked_targets")


# --- other formats ---------------------------------------------------------------------------

PAIRS = [(part[:, :-1], part[:, 1:]) for part in batches(stride(FLAT))]


@pytest.mark.parametrize(
    "loader",
    [
        [(torch.tensor(x), torch.tensor(y)) for x, y in PAIRS],
        [(x, y, np.ones_like(x)) for x, y in PAIRS],
        [[torch.tensor(x), torch.tensor(y), torch.ones(x.shape)] for x, y in PAIRS],
        [(x.astype(np.uint16), y.astype(np.int32)) for x, y in PAIRS],
        [(x[0], y[0]) for row in PAIRS for x, y in [(row[0][i : i + 1], row[1][i : i + 1])
         for i in range(len(row[0]))]],
        [{"tokens": x, "labels": y, "loss_mask": np.ones(x.shape)} for x, y in PAIRS],
        [{"decoder_input_tokens": x, "decoder_target_tokens": y} for x, y in PAIRS],
        [{"text": part} for part in batches(stride(FLAT))],
        [{"input_ids": [torch.tensor(row) for row in part]} for part in batches(stride(FLAT))],
        [list(part) for part in batches(stride(FLAT))],
        [part.tolist() for part in batches(stride(FLAT))],
        [[(x[i], y[i]) for i in range(len(x))] for x, y in PAIRS],
        [part[None] for part in batches(stride(FLAT))],
    ],
    ids=[
        "pairs", "triples", "collated", "dtypes", "1-D", "Megatron", "T5X", "rows", "tensors",
        "arrays", "lists", "examples", "3-D",
    ],
)  # fmt: skip
def test_formats_of_libraries_are_read_as_the_same_draws(loader):
    result = audit(loader, FLAT)
    assert (result.draws, result.block_size) == (len(stride(FLAT)), T)
    assert found(result, "fault") == {}


def test_rows_of_different_lengths_are_read():
    result = audit([DOCUMENTS[:40], DOCUMENTS[40:]], DOCUMENTS)
    assert (result.draws, result.missed_targets) == (80, 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint8])
def test_ids_stored_in_too_few_bits_are_found_and_named(dtype):
    big = np.random.default_rng(0).integers(128_000, size=2_000)
    rows = stride(big).astype(dtype)
    result = audit_tokens(rows, big)
    assert found(result, "fault") == {"changed_ids": len(rows)}
    bits = 8 * min(np.dtype(dtype).itemsize, 2)
    assert f"modulo {2**bits:,}" in reason(result, "changed_ids")


def test_ids_with_swapped_bytes_are_named():
    result = audit_tokens(stride(FLAT).astype(np.uint16).byteswap(), FLAT)
    assert "bytes swapped" in reason(result, "changed_ids")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows + 3, "one number was added"),
        (lambda rows: [torch.tensor(row) for row in rows.T], "the batches are turned"),
        (lambda rows: rows[:, ::-1].copy(), "give the ids that the loader read"),
    ],
)
def test_a_loader_of_which_nothing_is_found_is_told_why(change, message):
    loader = [{"input_ids": change(part)} for part in batches(stride(FLAT))]
    with pytest.raises(ValueError, match=message) as caught:
        audit(loader, FLAT)
    assert "\n" not in str(caught.value)


def test_a_finite_loader_is_one_epoch_unless_epoch_draws_are_given():
    rows = stride(FLAT)
    twice = batches(np.concatenate([rows, rows[::-1]]))
    assert "shown_twice" in found(audit(twice, FLAT), "fault")
    result = audit(twice, FLAT, epoch_draws=len(rows))
    assert (result.epochs, found(result, "fault")) == (2, {})


# --- texts that repeat themselves ------------------------------------------------------------


def repeating(kind, rng):
    """Return documents: copies, the same head and tail around each, or some of one token."""
    if kind == "copies":
        base = [rng.integers(1_000, size=int(size)) for size in rng.integers(12, 60, size=20)]
        return [base[i] for i in rng.integers(20, size=60)]
    if kind == "frames":
        head, tail = rng.integers(1_000, size=20), rng.integers(1_000, size=15)
        middles = [rng.integers(1_000, size=int(size)) for size in rng.integers(3, 25, size=60)]
        middles[7][0] = head[0]  # the token with which all documents begin
        return [np.concatenate([head, middle, tail]) for middle in middles]
    return [rng.integers(1_000, size=int(size)) for size in rng.integers(1, 9, size=80)]


@pytest.mark.parametrize("kind", ["copies", "frames", "short"])
@pytest.mark.parametrize("pack", ["bins", "stream"])
def test_packed_documents_that_repeat_themselves_raise_no_fault(kind, pack):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        documents = repeating(kind, rng)
        mixed = [documents[i] for i in rng.permutation(len(documents))]
        if pack == "stream":
            flat = np.concatenate([np.append(BOS, d) for d in mixed])
            rows = [flat[at : at + T + 1] for at in range(0, len(flat) - 1, T)]
        else:
            rows = [np.concatenate(row) for row in bins([np.append(d, EOS) for d in mixed], T)]
        assert found(audit([row[None] for row in rows], documents), "fault") == {}
