"""A user's get_batch, of many kinds: sound ones are not accused, and broken ones are found."""

import numpy as np
import pytest
import torch

from gptcore.audit.drawing import draw, judge_seeds
from gptcore.audit.parts import audit_part

V, B, T = 65, 4, 8
TOKENS = np.random.default_rng(0).integers(V, size=1_200)
PARTS = {"train": TOKENS[:1_000], "val": TOKENS[1_000:]}
DATA = {name: torch.from_numpy(ids) for name, ids in PARTS.items()}
BLOCKS = (len(PARTS["train"]) - 1) // T


def windows(data, starts):
    x = torch.stack([data[i : i + T] for i in starts])
    return x, torch.stack([data[i + 1 : i + 1 + T] for i in starts])


def at_random(split, data=DATA):
    """As nanoGPT's."""
    ids = data[split]
    return windows(ids, torch.randint(len(ids) - T, (B,)).tolist())


def in_turns(starts):
    """Return a loader that goes through `starts` again and again."""
    endless = (start for epoch in iter(int, 1) for start in starts(epoch))
    return lambda split: windows(DATA[split], [next(endless) for _ in range(B)])


def on_grid(_epoch):
    return range(0, BLOCKS * T, T)


def shuffled(_epoch):
    return (torch.randperm(BLOCKS) * T).tolist()


def overlapping(_epoch):
    return range(0, len(PARTS["train"]) - T, T // 2)


def from_generator():
    own = torch.Generator().manual_seed(5)
    ids = DATA["train"]
    return lambda: windows(ids, torch.randint(len(ids) - T, (B,), generator=own).tolist())


def audited(get_batch, part="train", n_batches=100, **options):
    torch.manual_seed(0)
    drawn = draw(get_batch, part, n_batches=n_batches, vocab_size=V)
    return audit_part(drawn, PARTS, part, **options)


def kinds(result, severity="fault"):
    return {f.kind: f.count for f in result.findings if f.severity == severity}


# --- sound loaders ---------------------------------------------------------------------------


def side_by_side():
    """Each of B streams goes on in the next batch where it stopped."""
    length = BLOCKS // B
    return in_turns(lambda _e: [(b * length + i) * T for i in range(length) for b in range(B)])


def padded(split):
    """The last target of each row is masked, as where a row ends a document."""
    x, y = at_random(split)
    y[:, -1] = -1
    return x, y


SOUND = {
    "random": lambda: at_random,
    "random, with a generator of its own and without a split": from_generator,
    "in order": lambda: in_turns(on_grid),
    "shuffled": lambda: in_turns(shuffled),
    "overlapping by half": lambda: in_turns(overlapping),
    "streams side by side": side_by_side,
    "numpy": lambda: lambda split: tuple(part.numpy() for part in at_random(split)),
    "lists": lambda: lambda split: [part.tolist() for part in at_random(split)],
    "flat targets": lambda: lambda split: (lambda x, y: (x, y.view(-1)))(*at_random(split)),
    "masked targets": lambda: padded,
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("n_batches", [3, 25, 80])
def test_a_sound_loader_has_no_fault(name, n_batches):
    result = audited(SOUND[name](), n_batches=n_batches)
    assert kinds(result) == {}
    assert result.audit.draws == B * n_batches


def test_random_draws_are_expected_to_miss_what_they_miss():
    result = audited(at_random, n_batches=60)
    assert kinds(result, "note") == {}
    expected = result.audit.expected
    distance = result.audit.missed_targets - expected["missed_targets"]
    assert abs(distance) < 3 * expected["sd_missed_targets"]


def test_each_part_is_audited_as_a_part():
    for part, ids in PARTS.items():
        result = audited(at_random, part, n_batches=200)
        assert kinds(result) == {}
        assert result.audit.n_tokens == len(ids)
        assert result.other_parts == {"val" if part == "train" else "train": 0}


def test_targets_that_the_model_moves_are_inputs():
    def labels(split):
        x, _ = at_random(split)
        return x, x.clone()

    result = audited(labels, model_shifts=True)
    assert kinds(result) == {}
    assert (result.targets_equal_inputs, result.audit.block_size) == (400, T - 1)


# --- broken loaders --------------------------------------------------------------------------


def changed(change):
    """Return a random loader whose x and y are changed."""
    return lambda split: change(*at_random(split))


def leaking(split):
    return at_random("val" if torch.rand(()) < 0.1 else split)


def one_seed(split):
    torch.manual_seed(1337)
    return at_random(split)


def first_half(split):
    return at_random(split, {split: DATA[split][: len(DATA[split]) // 2]})


def without_the_last_blocks(_epoch):
    return on_grid(0)[:-13]


def with_holes(_epoch):
    return range(0, len(PARTS["train"]) - T, T + 3)


def rolled(x, y):
    return x, torch.roll(x, -1, dims=1)


def with_another_text(split):
    x, y = at_random(split)
    other = torch.randint(V, (T + 1,))
    x[1], y[1] = other[:-1], other[1:]
    return x, y


BROKEN = {
    "targets equal inputs": (changed(lambda x, _: (x, x)), "targets_equal_inputs"),
    "targets moved by two": (changed(lambda x, y: (x[:, :-1], y[:, 1:])), "wrong_targets"),
    "inputs and targets swapped": (changed(lambda x, y: (y, x)), "wrong_targets"),
    "targets rolled": (changed(rolled), "wrong_targets"),
    "rows of targets in another order": (changed(lambda x, y: (x, y.flip(0))), "wrong_targets"),
    "some validation windows": (leaking, "other_part"),
    "only validation windows": (lambda _: at_random("val"), "other_part"),
    "one batch again and again": (one_seed, "repeated_batches"),
    "half of the part": (first_half, "missed_targets"),
    "a dropped end": (in_turns(without_the_last_blocks), "missed_targets"),
    "holes between windows": (in_turns(with_holes), "missed_targets"),
    "an id beyond the vocabulary": (
        changed(lambda x, y: (x, y + (y == 3) * V)),
        "ids_out_of_range",
    ),
    "targets without the last": (changed(lambda x, y: (x, y[:, :-1])), "unequal_shapes"),
    "one target for each row": (changed(lambda x, y: (x, y[:, -1])), "unequal_shapes"),
    "targets of int32": (changed(lambda x, y: (x, y.int())), "batch_types"),
    "inputs of float32": (changed(lambda x, y: (x.float(), y)), "batch_types"),
    "another token in each row": (
        changed(lambda x, y: (x.index_fill(1, torch.tensor([3]), 7), y)),
        "wrong_targets",
    ),
    "another text in each batch": (with_another_text, "unmatched_rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_loader_is_found(name):
    get_batch, kind = BROKEN[name]
    assert kind in kinds(audited(get_batch))


def test_rows_that_no_part_holds_are_refused():
    with pytest.raises(ValueError, match="one number was added to all ids"):
        audited(changed(lambda x, y: (x + 1, y + 1)))


def test_targets_that_a_model_moves_again_are_found():
    result = audited(at_random, model_shifts=True)
    assert kinds(result) == {"shifted_twice": 400}


def test_views_of_targets_are_a_note():
    def views(split):
        x, y = at_random(split)
        block = torch.cat([x, y[:, -1:]], dim=1)
        return block[:, :-1], block[:, 1:]

    assert kinds(audited(views), "note")["not_contiguous"] == 100


@pytest.mark.parametrize(
    ("draws", "kind"),
    [
        ([[0, 1], [0, 1], [2, 3]], None),
        ([[0, 1], [0, 2], [2, 3]], "not_reproducible"),
        ([[0, 1], [0, 1], [0, 1]], "seed_ignored"),
    ],
)
def test_seeds_are_judged_by_three_starts(draws, kind):
    starts = [[(np.array([[token]]), None) for token in start] for start in draws]
    assert [f.kind for f in judge_seeds(*starts, is_regular=False)] == [kind] * bool(kind)
    in_order = judge_seeds(*starts, is_regular=True)
    assert [f.kind for f in in_order] == [kind] * (kind == "not_reproducible")


# --- what is no loader -----------------------------------------------------------------------


def raises(_):
    raise RuntimeError("Torch not compiled\nwith CUDA enabled")


def needs_a_size(split, size):
    return at_random(split)


@pytest.mark.parametrize(
    ("get_batch", "message"),
    [
        (raises, "raised RuntimeError: Torch not compiled with CUDA .* let the loader use the CPU"),
        (lambda _: np.memmap("/nowhere/train.bin"), "folder in which the command runs"),
        (lambda _: exit(0), "raised SystemExit: 0"),
        (needs_a_size, r"needs_a_size\(split, size\) needs other arguments"),
        (lambda split: DATA[split], "returned Tensor: return x, y"),
        (lambda split: (DATA[split],) * 3, "returned tuple of 3: return x, y"),
        (lambda _: iter([1]), "returned list_iterator: return x, y"),
        (lambda _: ("a", "b"), "returned x of <U1 and shape"),
        (lambda _: (torch.rand(2, 3), torch.rand(2, 3)), "returned x of float32"),
        (lambda _: (torch.full((2, 3), torch.inf),) * 2, "returned x of float32"),
        (lambda _: (torch.ones(0, 3), torch.ones(0, 3)), r"shape \(0, 3\)"),
        (lambda _: ([[1, 2], [3]], [1]), "returned x of list"),
    ],
)
def test_what_is_no_get_batch_is_refused_in_one_line(get_batch, message):
    with pytest.raises(ValueError, match=message) as caught:
        audited(get_batch)
    assert "\n" not in str(caught.value)


def test_a_part_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no part 'test': choose one of train, val"):
        audit_part(draw(at_random, "val", n_batches=1, vocab_size=V), PARTS, "test")
