import itertools

import numpy as np
import pytest

from gptcore.coverage.exposure import (
    batch_overlap,
    context_coverage,
    pair_coverage,
    star_discrepancy,
)
from gptcore.data.splits import Segment
from gptcore.sampling.samplers import make_sampler

HOLES = [Segment(2, 12), Segment(12, 19), Segment(25, 40)]


def sampler_of(name="random_replacement", **options):
    return make_sampler(name, segments=HOLES, block_size=5, seed=1, **options)


@pytest.mark.parametrize("draws", [1, 4, 15])
@pytest.mark.parametrize("lag", [1, 2, 5])
def test_pairs_are_counted_by_hand(draws, lag):
    sampler = sampler_of()
    starts = sampler.starts(0, draws).tolist()
    pairs = [(i, i + lag) for part in HOLES for i in range(part.start, part.stop - lag)]
    held = [any(s <= i and j <= s + 5 for s in starts) for i, j in pairs]
    assert pair_coverage(starts, sampler, lag) == sum(held) / len(pairs)


@pytest.mark.parametrize("name", ["random_replacement", "shift_in_block"])
@pytest.mark.parametrize("draws", [1, 4, 15])
@pytest.mark.parametrize("context", [1, 2, 4])
def test_contexts_are_counted_by_hand(name, draws, context):
    sampler = sampler_of(name)
    starts = sampler.starts(0, draws).tolist()
    targets = [j for part in HOLES for j in range(part.start + 1, part.stop)]
    most = sampler.targets_per_window
    held = [any(context <= j - s <= most for s in starts) for j in targets]
    assert context_coverage(starts, sampler, context) == sum(held) / len(targets)


def test_star_discrepancy_is_the_largest_deviation_at_any_cut():
    sampler = sampler_of()
    starts = sampler.starts(0, 12)
    ranks = [
        r
        for s in starts
        for r, start in enumerate(sampler.lattice.place(np.arange(17)))
        if s == start
    ]
    for steps, discrepancy in zip(
        [1, 4], star_discrepancy(starts, sampler, [1, 4], batch_size=3), strict=True
    ):
        drawn = ranks[: 3 * steps]
        cuts = [abs(sum(r < k for r in drawn) / len(drawn) - k / 17) for k in range(18)]
        assert discrepancy == pytest.approx(max(cuts))


def test_low_discrepancy_draws_are_more_even_than_random_ones():
    evenness = {
        name: star_discrepancy(
            (sampler := make_sampler(name, n_tokens=10**6, block_size=64)).starts(0, 4_096),
            sampler,
            [64, 4_096],
            batch_size=1,
        )
        for name in ("random_replacement", "golden", "van_der_corput")
    }
    for name in ("golden", "van_der_corput"):
        assert (evenness[name] < evenness["random_replacement"] / 3).all()
        # The bound of such sequences, with room.
        assert evenness[name][1] < 2 * np.log2(4_096) / 4_096


def test_overlap_inside_a_batch_is_counted_by_hand():
    sampler = sampler_of()
    starts = sampler.starts(0, 12).tolist()
    shares = []
    for first in range(0, 12, 4):
        shown = set(itertools.chain(*(range(s + 1, s + 6) for s in starts[first : first + 4])))
        shares.append(1 - len(shown) / 20)
    assert batch_overlap(starts, sampler, batch_size=4) == pytest.approx(np.mean(shares))


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda s: pair_coverage([2], s, 6), "lag is 6"),
        (lambda s: context_coverage([2], s, 0), "context is 0"),
        (
            lambda s: star_discrepancy([2, 3], s, [3], batch_size=1),
            "step 3 needs 3 starts",
        ),
        (lambda s: batch_overlap([2, 3, 4], s, batch_size=2), "not whole batches of 2"),
        (lambda s: pair_coverage([7], s, 1), "7 is not allowed"),
        (lambda s: batch_overlap([7], s, batch_size=1), "7 is not allowed"),
        (lambda s: context_coverage([0.5], s, 1), "float64"),
    ],
)
def test_bad_arguments_are_refused(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(sampler_of())
