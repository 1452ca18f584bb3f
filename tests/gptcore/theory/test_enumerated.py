"""Every theory against all outcomes that its sampler can have on tiny texts."""

import itertools
import math

import numpy as np
import pytest

from gptcore.coverage.exposure import batch_overlap, context_coverage, pair_coverage
from gptcore.coverage.visits import measure_draws
from gptcore.data.splits import Segment
from gptcore.sampling.low_discrepancy import VanDerCorput
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from gptcore.theory.by_rank import Items
from gptcore.theory.expectations import (
    THEORIES,
    draws_for_full_cover,
    expect_of,
    expected_batch_overlap,
    expected_context_coverage,
    expected_pair_coverage,
    lower_bound_of_expected_full_cover,
)
from tests.helpers.enumeration import as_draws, assert_equal, average

HOLES = [Segment(2, 9), Segment(9, 12), Segment(15, 21)]
DOCUMENTS = [Segment(0, 2), Segment(2, 3), Segment(5, 9)]
SHORT = [Segment(0, 3), Segment(5, 8)]


def epochs_of(orders, draws):
    """Yield the first `draws` draws of independent epochs, each one of `orders`."""
    length = len(orders[0])
    for epochs in itertools.product(orders, repeat=-(-draws // length)):
        yield list(itertools.chain(*epochs))[:draws]


def permuted(sampler, draws):
    length = sampler.draws_per_epoch
    if draws < length:
        orders = itertools.permutations(range(sampler.lattice.total), draws)
    else:
        orders = itertools.permutations(range(sampler.lattice.total), length)
    return epochs_of([sampler.lattice.place(np.array(order)).tolist() for order in orders], draws)


def same_order(sampler, draws):
    for order in itertools.permutations(range(sampler.lattice.total)):
        kept = order[: sampler.draws_per_epoch]
        cycle = itertools.islice(itertools.cycle(kept), draws)
        yield sampler.lattice.place(np.array(list(cycle))).tolist()


def pooled(sampler, draws):
    """Draw from all copies of all blocks until whole epochs are drawn, then from new copies."""
    copies = [*range(sampler.lattice.total)] * sampler.shuffle_epochs
    size = sampler.shuffle_epochs * sampler.draws_per_epoch
    orders = itertools.permutations(copies, min(draws, size))
    return epochs_of([sampler.lattice.place(np.array(order)).tolist() for order in orders], draws)


def window_of(ring, at, size):
    """Return the pieces (start, length) of T + 1 tokens of a ring of (token, document)."""
    pieces = []
    for token, document in (ring[(at + i) % len(ring)] for i in range(size + 1)):
        if pieces and pieces[-1][0] == document:
            pieces[-1][2] += 1
        else:
            pieces.append([document, token, 1])
    return tuple((start, length) for _, start, length in pieces)


def rechunked(sampler, draws):
    """Cut every ring of the documents at every token, and draw every choice of its windows."""
    if len(sampler.segments) == 1:
        return phased(sampler, draws)
    size, rows = sampler.block_size, [range(part.start, part.stop) for part in sampler.segments]

    def go_on(left):
        if left <= 0:
            yield []
            return
        for order in itertools.permutations(range(len(rows))):
            ring = [(token, row) for row in order for token in rows[row]]
            for cut in range(len(ring)):
                blocks = range(len(ring) // size)
                drawn = min(left, sampler.draws_per_epoch)
                for chosen in itertools.combinations(blocks, drawn):
                    windows = [window_of(ring, cut + k * size, size) for k in chosen]
                    for rest in go_on(left - drawn):
                        yield [*windows, *rest]

    return go_on(draws)


def rechunked_once(sampler, draws):
    """Take each order of the ring and of its places, and in it each cut of each epoch."""
    size, segments, whole = sampler.block_size, sampler.segments, len(sampler.segments) == 1
    n_tokens = sampler.n_starts if whole else sampler.n_tokens
    longest = -(-n_tokens // size)

    def epochs(cuts_of_epoch, windows_of, left, epoch=0):
        if left <= 0:
            yield [], 1.0
            return
        cuts = cuts_of_epoch(epoch)
        for cut in cuts:
            every = windows_of(cut)
            kept = len(every) - len(every) % (sampler.batch_size if sampler.drop_last else 1)
            choices = list(itertools.combinations(every, kept))
            for chosen in choices:
                for rest, chance in epochs(cuts_of_epoch, windows_of, left - kept, epoch + 1):
                    yield [*chosen, *rest][:left], chance / len(cuts) / len(choices)

    outcomes, weights = [], []
    for place in itertools.permutations(range(longest)):
        if whole:
            for offset in range(size):

                def phases(epoch, offset=offset):
                    ends = [(e * n_tokens + offset) // size for e in (epoch, epoch + 1)]
                    grids = [range(p, n_tokens, size) for p in range(size)]
                    return [grid for grid in grids if len(grid) == ends[1] - ends[0]]

                def in_order(grid, place=place):
                    return sorted(grid, key=lambda rank: place[rank // size])

                for ranks, chance in epochs(phases, in_order, draws):
                    outcomes.append(sampler.lattice.place(np.array(ranks)).tolist())
                    weights.append(chance)
            continue
        for order in itertools.permutations(segments):
            ring = [(token, part) for part in order for token in range(part.start, part.stop)]

            def windows(cut, ring=ring, place=place):
                begins = [(cut + k * size) % len(ring) for k in range(len(ring) // size)]
                begins.sort(key=lambda begin: place[begin // size])
                return [window_of(ring, begin, size) for begin in begins]

            for chosen, chance in epochs(lambda _: range(n_tokens), windows, draws):
                outcomes.append(chosen)
                weights.append(chance)
    return outcomes, weights


def independent(sampler, draws):
    starts = sampler.lattice.place(np.arange(sampler.lattice.total)).tolist()
    return itertools.product(starts, repeat=draws)


def in_order(sampler, draws):
    return [sampler.starts(0, draws).tolist()]


def stratified(sampler, draws):
    strata = [
        part.tolist() for part in np.array_split(np.arange(sampler.n_starts), sampler.n_strata)
    ]
    orders = [
        sampler.lattice.place(np.array(starts)).tolist()
        for order in itertools.permutations(strata, sampler.draws_per_epoch)
        for starts in itertools.product(*order)
    ]
    # Strata that are unlike in size make these orders unlike in chance.
    sizes = {rank: len(part) for part in strata for rank in part}
    ranks = dict(
        zip(sampler.lattice.place(np.arange(sampler.n_starts)).tolist(), sizes, strict=True)
    )
    weights = [math.prod(1 / sizes[ranks[start]] for start in order) for order in orders]
    repeat = -(-draws // sampler.draws_per_epoch)
    outcomes = epochs_of(orders, draws)
    return list(outcomes), [math.prod(w) for w in itertools.product(weights, repeat=repeat)]


def buffered(sampler, draws):
    """Follow every choice of the loader that the docstring of BlockBufferShuffle describes."""

    def choose(held, ahead):
        if not held:
            yield [], 1.0
        for i, block in enumerate(held):
            rest = [*held[:i], *held[i + 1 :], *ahead[:1]]
            for order, chance in choose(rest, ahead[1:]):
                yield [block, *order], chance / len(held)

    blocks = sampler.lattice.place(np.arange(sampler.lattice.total)).tolist()
    choices = list(choose(blocks[: sampler.buffer], blocks[sampler.buffer :]))
    orders = [order[: sampler.draws_per_epoch] for order, _ in choices]
    repeat = -(-draws // sampler.draws_per_epoch)
    weights = itertools.product([chance for _, chance in choices], repeat=repeat)
    return list(epochs_of(orders, draws)), [math.prod(w) for w in weights]


def phased(sampler, draws):
    """Take each offset, then each phase of the epoch's length, then each order of its blocks."""
    size, starts = sampler.block_size, sampler.n_starts

    def go_on(offset, epoch, left):
        if left <= 0:
            yield [], 1.0
            return
        longer = (epoch * starts + offset) // size, ((epoch + 1) * starts + offset) // size
        blocks = longer[1] - longer[0]
        grids = [range(phase, starts, size) for phase in range(size)]
        grids = [grid for grid in grids if len(grid) == blocks]
        batch = sampler.batch_size if sampler.drop_last else 1
        for grid in grids:
            orders = list(itertools.permutations(grid, blocks - blocks % batch))
            for order in orders:
                for rest, chance in go_on(offset, epoch + 1, left - len(order)):
                    yield [*order, *rest][:left], chance / len(grids) / len(orders)

    outcomes, weights = [], []
    for offset in range(size):
        for ranks, chance in go_on(offset, 0, draws):
            outcomes.append(sampler.lattice.place(np.array(ranks)).tolist())
            weights.append(chance)
    return outcomes, weights


def shifted(sampler, draws):
    """Take one shift between each two at which some start changes, weighted by their distance."""
    index = range(draws)
    if isinstance(sampler, VanDerCorput):
        points = np.array([int(f"{i:064b}"[::-1], 2) / 2**64 for i in index])
    else:
        points = np.array([i * 0x9E3779B97F4A7C15 % 2**64 / 2**64 for i in index])
    starts = np.arange(sampler.n_starts + 1) / sampler.n_starts
    cuts = np.unique(np.concatenate([((starts[:, None] - points) % 1).ravel(), [0, 1]]))
    middle = (cuts[:-1] + cuts[1:]) / 2
    ranks = ((middle[:, None] + points) % 1 * sampler.n_starts).astype(np.int64)
    return [sampler.lattice.place(row).tolist() for row in ranks], np.diff(cuts).tolist()


OUTCOMES = {
    "random_replacement": independent,
    "grid_replacement": independent,
    "sequential": in_order,
    "t_plus_1_stride": in_order,
    "shift_in_block": in_order,
    "random_distinct": permuted,
    "shuffled_blocks": permuted,
    "overlapping_stride": permuted,
    "shuffled_once": same_order,
    "shuffled_across_epochs": pooled,
    "rechunked_documents": rechunked,
    "rechunked_once": rechunked_once,
    "stratified": stratified,
    "block_buffer_shuffle": buffered,
    "random_phase_blocks": phased,
    "golden": shifted,
    "van_der_corput": shifted,
}
TEXTS = {
    "one": {"n_tokens": 9, "block_size": 3},
    "tail": {"n_tokens": 11, "block_size": 4},
    "shorter_than_2T": {"n_tokens": 7, "block_size": 5},
    "holes": {"segments": HOLES, "block_size": 2},
    "short_segments": {"segments": SHORT, "block_size": 2},
}


def outcomes_of(name, text, draws, drop_last=False):
    """Return a sampler with its outcomes and their weights."""
    options = dict(TEXTS[text])
    if name == "overlapping_stride" and text == "tail":
        options["stride"] = 3  # does not divide T
    if name == "block_buffer_shuffle":
        options["buffer"] = 2
    if name == "rechunked_once" and text == "holes":
        options["segments"] = DOCUMENTS  # 8 places of a ring would have 40,320 orders
    if name == "shuffled_across_epochs":
        options["shuffle_epochs"] = 2
    if drop_last:
        options |= {"batch_size": 2, "drop_last": True}
    sampler = make_sampler(name, **options)
    outcomes = OUTCOMES[name](sampler, draws)
    if isinstance(outcomes, tuple):
        return (sampler, *outcomes)
    return sampler, list(outcomes), None


def mean_of(values, weights):
    return float(np.average(list(values), weights=weights))


def test_every_sampler_is_enumerated():
    assert set(OUTCOMES) == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("draws", [1, 2, 3, 4])
def test_theory_is_the_mean_over_every_outcome(name, text, draws):
    sampler, outcomes, weights = outcomes_of(name, text, draws)
    truth = average(
        outcomes,
        None,
        weights=weights,
        segments=sampler.segments,
        block_size=sampler.block_size,
        targets_per_window=sampler.targets_per_window,
        joins=sampler.joins,
    )
    assert_equal(expect_of(sampler, draws), truth)


@pytest.mark.parametrize("name", ["random_phase_blocks", "golden", "van_der_corput"])
@pytest.mark.parametrize("text", ["one", "tail", "shorter_than_2T"])
@pytest.mark.parametrize("draws", [2, 3, 4])
def test_variance_of_missed_targets_is_exact(name, text, draws):
    sampler, outcomes, weights = outcomes_of(name, text, draws)
    truth = average(
        outcomes, None, weights=weights, segments=sampler.segments, block_size=sampler.block_size
    )
    variance = expect_of(sampler, draws).sd_missed_targets ** 2
    assert variance == pytest.approx(truth.sd_missed_targets**2, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", ["golden", "van_der_corput"])
@pytest.mark.parametrize("draws", [7, 12, 23, 40])
def test_variance_is_exact_before_and_after_gaps_are_all_shorter_than_a_window(name, draws):
    sampler = make_sampler(name, n_tokens=60, block_size=6)
    outcomes, weights = shifted(sampler, draws)
    truth = average(outcomes, 60, 6, weights=weights)
    theory = expect_of(sampler, draws)
    assert theory.sd_missed_targets**2 == pytest.approx(truth.sd_missed_targets**2, abs=1e-10)
    assert theory.visits_sd == pytest.approx(truth.visits_sd, rel=1e-10)


NO_FORMULA = {
    ("stratified", "one"): {"sd_missed_targets"},
    ("stratified", "holes"): {"sd_missed_targets"},
    ("random_phase_blocks", "holes"): {"sd_missed_targets"},
    ("rechunked_documents", "holes"): {"sd_missed_targets"},
    ("rechunked_once", "holes"): {"sd_missed_targets"},
    ("golden", "holes"): {"sd_missed_targets"},
    ("van_der_corput", "holes"): {"sd_missed_targets"},
}
"""What is None, by sampler and text; docs/decisions/0036-missing-theory.md says why."""


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("text", ["one", "tail", "shorter_than_2T", "holes", "short_segments"])
@pytest.mark.parametrize("draws", [1, 2, 50])
def test_only_what_is_named_has_no_formula(name, text, draws):
    theory = expect_of(make_sampler(name, **TEXTS[text]), draws)
    unknown = {key for key, value in vars(theory).items() if value is None}
    segments = "holes" if "segments" in TEXTS[text] else "one"
    assert unknown <= NO_FORMULA.get((name, segments), set())


@pytest.mark.parametrize("n_tokens", [16, 21])
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_gaps_of_segments_of_many_strata_are_exact(n_tokens, draws):
    segments = [Segment(0, n_tokens - 4), Segment(n_tokens - 3, n_tokens)]
    sampler = make_sampler("stratified", segments=segments, block_size=2)
    outcomes, weights = [], []
    for strata in itertools.permutations(
        np.array_split(np.arange(sampler.n_starts), sampler.n_strata), draws
    ):  # an epoch of more draws than these need not be enumerated
        for ranks in itertools.product(*strata):
            outcomes.append(sampler.lattice.place(np.array(ranks)).tolist())
            weights.append(1 / math.prod(map(len, strata)))
    truth = average(outcomes, None, 2, weights=weights, segments=segments)
    assert expect_of(sampler, draws).gaps == pytest.approx(truth.gaps, abs=1e-10)


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_a_target_may_lie_in_three_strata(draws):
    sampler = make_sampler("stratified", n_tokens=19, block_size=6)  # strata of 5, 4 and 4 starts
    outcomes, weights = stratified(sampler, draws)
    assert_equal(expect_of(sampler, draws), average(outcomes, 19, 6, weights=weights))


@pytest.mark.parametrize("name", ["stratified", "random_phase_blocks"])
@pytest.mark.parametrize("n_tokens", [204, 207, 214])
@pytest.mark.parametrize("width", [11, 5])
def test_folding_alike_targets_changes_no_sum(name, n_tokens, width):
    sampler = make_sampler(name, n_tokens=n_tokens, block_size=11)
    theory, starts = THEORIES[name](sampler), n_tokens - 11
    last = np.arange(starts + width - 1)
    first = np.maximum(0, last - width + 1)
    shown_by = np.minimum(last, starts - 1) - first + 1
    ones = np.ones_like(last)
    for draws in (5, 40):
        each = theory.unseen(Items(first, shown_by, ones, ones > 0), draws)
        assert sum(theory.missed(draws, width)) == pytest.approx(each.sum(), rel=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "stratified",
        "block_buffer_shuffle",
        "random_phase_blocks",
        "sequential",
        "rechunked_documents",
        "rechunked_once",
    ],
)
@pytest.mark.parametrize(("text", "draws"), [("one", 3), ("one", 5), ("holes", 3)])
def test_theory_knows_what_drop_last_leaves_out(name, text, draws):
    sampler, outcomes, weights = outcomes_of(name, text, draws, drop_last=True)
    truth = average(
        outcomes,
        None,
        weights=weights,
        segments=sampler.segments,
        block_size=sampler.block_size,
        joins=sampler.joins,
    )
    assert_equal(expect_of(sampler, draws), truth)


@pytest.mark.parametrize("name", ["overlapping_stride", "random_distinct"])
@pytest.mark.parametrize("draws", [4, 5, 6, 7])
def test_permuted_epochs_are_independent_with_drop_last(name, draws):
    options = {"stride": 2} if name == "overlapping_stride" else {}
    n_tokens = 12 if options else 7
    sampler = make_sampler(
        name, n_tokens=n_tokens, block_size=3, batch_size=4, drop_last=True, **options
    )
    assert sampler.lattice.total == 5 or name == "random_distinct"
    truth = average(permuted(sampler, draws), n_tokens, 3)
    assert_equal(expect_of(sampler, draws), truth)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("draws", [1, 3, 4])
@pytest.mark.parametrize("segments", [DOCUMENTS, DOCUMENTS[:2], [Segment(0, 3), Segment(3, 6)]])
def test_documents_may_be_shorter_than_a_window(segments, draws, drop_last):
    shape = {"segments": segments, "block_size": 2}
    if drop_last and sum(map(len, segments)) < 4:
        return
    options = {"batch_size": 2, "drop_last": True} if drop_last else {}
    sampler = make_sampler("rechunked_documents", **shape, **options)
    outcomes = list(rechunked(sampler, draws))
    assert_equal(expect_of(sampler, draws), average(outcomes, None, joins=True, **shape))
    for lag in (1, 2):
        truth = [pair_coverage(as_draws(o), sampler, lag) for o in outcomes]
        expected = expected_pair_coverage(sampler, lag, draws)
        assert expected is truth[0] or expected == pytest.approx(np.mean(truth), abs=1e-12)


@pytest.mark.parametrize("draws", [3, 5, 6])
def test_several_epochs_in_one_order_leave_out_the_same_blocks(draws):
    sampler = make_sampler("shuffled_once", n_tokens=11, block_size=3, batch_size=2, drop_last=True)
    truth = average(list(same_order(sampler, draws)), 11, 3)
    assert_equal(expect_of(sampler, draws), truth)
    assert truth.missed_targets == 4


@pytest.mark.parametrize("draws", [2, 4, 5, 8])
def test_a_pool_of_epochs_begins_anew_with_drop_last(draws):
    options = {"n_tokens": 11, "block_size": 3, "batch_size": 2, "drop_last": True}
    sampler = make_sampler("shuffled_across_epochs", shuffle_epochs=2, **options)
    assert (sampler.lattice.total, sampler.draws_per_order) == (3, 4)
    assert_equal(expect_of(sampler, draws), average(pooled(sampler, draws), 11, 3))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("text", ["one", "holes", "shorter_than_2T"])
@pytest.mark.parametrize("draws", [1, 3])
def test_pairs_and_contexts_are_the_mean_over_every_outcome(name, text, draws):
    sampler, outcomes, weights = outcomes_of(name, text, draws)
    for lag in range(1, sampler.block_size + 1):
        truth = mean_of((pair_coverage(as_draws(o), sampler, lag) for o in outcomes), weights)
        assert expected_pair_coverage(sampler, lag, draws) == pytest.approx(truth, abs=1e-12)
    for context in range(1, sampler.targets_per_window + 1):
        shares = (context_coverage(as_draws(o), sampler, context) for o in outcomes)
        truth = mean_of(shares, weights)
        expected = expected_context_coverage(sampler, context, draws)
        assert expected == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize(
    "name", ["random_replacement", "grid_replacement", "golden", "van_der_corput"]
)
@pytest.mark.parametrize("text", ["one", "holes"])
def test_overlap_inside_a_batch_is_the_mean_over_every_outcome(name, text):
    sampler, outcomes, weights = outcomes_of(name, text, 3)
    truth = mean_of((batch_overlap(o, sampler, batch_size=3) for o in outcomes), weights)
    assert expected_batch_overlap(sampler, 3, 3) == pytest.approx(truth, abs=1e-12)


def test_batches_of_van_der_corput_are_alike_only_where_their_size_is_a_power_of_two():
    sampler = make_sampler("van_der_corput", n_tokens=200, block_size=20)
    assert expected_batch_overlap(sampler, 7) is None
    outcomes, weights = shifted(sampler, 48)
    for size in (2, 8, 16):
        truth = mean_of((batch_overlap(o, sampler, batch_size=size) for o in outcomes), weights)
        assert expected_batch_overlap(sampler, size) == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize(
    "name", ["stratified", "shuffled_blocks", "random_distinct", "overlapping_stride", "sequential"]
)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_overlap_of_batches_inside_an_epoch_is_the_mean_over_every_outcome(name, batch_size):
    sampler, outcomes, weights = outcomes_of(name, "one", batch_size)
    truth = mean_of((batch_overlap(o, sampler, batch_size=batch_size) for o in outcomes), weights)
    expected = expected_batch_overlap(sampler, batch_size, batch_size)
    assert expected == pytest.approx(truth, abs=1e-12)


def test_overlap_is_unknown_where_batches_go_on_into_the_next_epoch():
    sampler = make_sampler("stratified", n_tokens=13, block_size=3)  # epochs of 4 draws
    assert expected_batch_overlap(sampler, 3) is None
    assert expected_batch_overlap(sampler, 3, 6) is None
    assert expected_batch_overlap(sampler, 3, 3) is not None
    assert expected_batch_overlap(sampler, 2) is not None


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("text", TEXTS)
def test_never_targets_are_those_that_no_draw_shows(name, text):
    sampler = make_sampler(name, **TEXTS[text], seed=3)
    beyond = sampler.block_size - sampler.targets_per_window
    begins, ends = sampler.pieces(0, 2_000).targets()
    shown = {t for begin, end in zip(begins, ends, strict=True) for t in range(begin, end - beyond)}
    never = sampler.n_tokens - len(shown)
    assert expect_of(sampler, 5).never_targets == never
    full = draws_for_full_cover(sampler)
    if full is None:
        return
    assert never == sampler.n_tokens - sampler.n_targets
    for seed in range(20):
        one = make_sampler(name, **TEXTS[text], seed=seed)
        assert expect_of(one, full).missed_targets == 0
        assert measure_draws(one, full).missed_targets == 0


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("random_replacement", None),
        ("grid_replacement", None),
        ("stratified", None),
        ("random_phase_blocks", None),
        ("sequential", 3),
        ("shuffled_blocks", 3),
        ("shuffled_once", 3),
        ("shuffled_across_epochs", 9),  # of 12 copies, the last 3 may be of one block
        ("rechunked_documents", None),
        ("rechunked_once", None),
        ("block_buffer_shuffle", 3),
        ("random_distinct", 9),
        ("overlapping_stride", 5),
        ("t_plus_1_stride", None),
        ("shift_in_block", None),
        ("golden", 13),  # 12 points leave a gap of φ⁻⁵ = 0.0902 + φ⁻⁶ = 0.0557
        ("van_der_corput", 16),
    ],
)
def test_full_cover_is_promised_only_where_it_is_sure(name, full):
    assert draws_for_full_cover(make_sampler(name, n_tokens=13, block_size=4)) == full


def test_full_cover_by_random_starts_takes_at_least_one_and_a_half_texts():
    sampler = make_sampler("random_replacement", n_tokens=13, block_size=4)
    assert lower_bound_of_expected_full_cover(sampler) == 1.5 * 9
    runs = [
        make_sampler("random_replacement", n_tokens=13, block_size=4, seed=s) for s in range(400)
    ]
    ends = [
        max(np.flatnonzero(starts == 0)[0], np.flatnonzero(starts == 8)[0]) + 1
        for starts in (run.starts(0, 400) for run in runs)
    ]
    # The sum of two geometric times has an sd near 10 here: 4 standard errors of 400 runs.
    assert np.mean(ends) == pytest.approx(13.5, abs=2)
    assert (
        lower_bound_of_expected_full_cover(make_sampler("golden", n_tokens=9, block_size=4)) is None
    )


@pytest.mark.parametrize(
    ("function", "name"), [(expected_pair_coverage, "lag"), (expected_context_coverage, "context")]
)
@pytest.mark.parametrize("value", [0, 5, True, 1.5])
def test_lags_and_contexts_beyond_a_window_are_refused(function, name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        function(make_sampler("golden", n_tokens=13, block_size=4), value, 3)
