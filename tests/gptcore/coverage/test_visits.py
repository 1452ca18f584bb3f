import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.coverage.exposure import batch_overlap, pair_coverage, star_discrepancy
from gptcore.coverage.summaries import (
    coverage_curve,
    visits_by_position,
    visits_histogram,
    z_scores,
)
from gptcore.coverage.visits import VisitCounter, measure_coverage, measure_draws
from gptcore.data.splits import Segment
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from gptcore.theory.expectations import expect
from tests.helpers.strategies import repeatable, shapes


def count_by_hand(starts, n_tokens, block_size):
    """Return the visits of targets 1, …, N - 1, window by window."""
    visits = [0] * n_tokens
    for start in starts:
        for target in range(start + 1, start + block_size + 1):
            visits[target] += 1
    return visits[1:]


@st.composite
def runs(draw):
    """Draw (starts, n_tokens, block_size)."""
    n_tokens, block_size = draw(shapes())
    start = st.integers(0, n_tokens - block_size - 1)
    return draw(st.lists(start, min_size=1, max_size=30)), n_tokens, block_size


@repeatable
@given(runs())
def test_metrics_are_those_counted_by_hand(run):
    starts, n_tokens, block_size = run
    visits = count_by_hand(*run)
    missed = [j for j in range(1, n_tokens) if visits[j - 1] == 0]
    coverage = measure_coverage(starts, n_tokens=n_tokens, block_size=block_size)
    assert coverage.visits.tolist() == visits
    assert coverage.draws == len(starts)
    assert coverage.missed_targets == len(missed)
    assert coverage.missed_edge == sum(min(j, n_tokens - j) < block_size for j in missed)
    assert coverage.missed_interior == coverage.missed_targets - coverage.missed_edge
    assert coverage.repeated_windows == len(starts) - len(set(starts))
    assert coverage.alignment_coverage == len(set(starts)) / (n_tokens - block_size)
    assert (coverage.visits_min, coverage.visits_max) == (min(visits), max(visits))
    assert coverage.visits_mean == pytest.approx(np.mean(visits))
    assert coverage.visits_sd == pytest.approx(np.std(visits), abs=1e-12)
    assert coverage.epochs == len(starts) * block_size / (n_tokens - 1)


@repeatable
@given(runs())
def test_gaps_are_the_runs_of_missed_targets(run):
    starts, n_tokens, block_size = run
    shown = "".join("x" if count else "." for count in count_by_hand(*run))
    coverage = measure_coverage(starts, n_tokens=n_tokens, block_size=block_size)
    assert coverage.gaps == len([gap for gap in shown.strip(".").split("x") if gap])
    assert coverage.longest_gap == max(map(len, shown.split("x")))


@repeatable
@given(runs())
def test_gini_is_half_the_relative_mean_difference(run):
    starts, n_tokens, block_size = run
    visits = np.array(count_by_hand(*run))
    difference = np.abs(visits[:, None] - visits[None, :]).mean()
    coverage = measure_coverage(starts, n_tokens=n_tokens, block_size=block_size)
    assert coverage.visits_gini == pytest.approx(difference / (2 * visits.mean()), abs=1e-12)


def test_equal_visits_have_no_inequality():
    coverage = measure_coverage([0, 4, 8], n_tokens=13, block_size=4)
    assert (coverage.visits_gini, coverage.visits_sd, coverage.missed_targets) == (0, 0, 0)


def test_a_worked_example():
    coverage = measure_coverage([1, 1, 6], n_tokens=12, block_size=3)
    assert coverage.visits.tolist() == [0, 2, 2, 2, 0, 0, 1, 1, 1, 0, 0]
    assert (coverage.missed_targets, coverage.missed_edge, coverage.missed_interior) == (5, 3, 2)
    assert (coverage.gaps, coverage.longest_gap, coverage.repeated_windows) == (1, 2, 1)


def test_the_book_through_a_dataloader_misses_3250_targets():
    sampler = make_sampler(
        "sequential", n_tokens=142_515, block_size=256, batch_size=16, drop_last=True
    )
    coverage = measure_coverage(
        sampler.starts(0, sampler.draws_per_epoch), n_tokens=142_515, block_size=256
    )
    assert coverage.missed_targets == coverage.longest_gap == 3_250
    assert coverage.gaps == 0


def test_the_book_through_random_windows_is_shown_unevenly():
    sampler = make_sampler("random_replacement", n_tokens=142_515, block_size=256, seed=0)
    coverage = measure_coverage(sampler.starts(0, 8_016), n_tokens=142_515, block_size=256)
    expected = expect("random_replacement", n_tokens=142_515, block_size=256, draws=8_016)
    interior = coverage.visits[255:-255]
    assert interior.mean() == pytest.approx(14.4, abs=0.1)
    assert interior.std() == pytest.approx(3.8, abs=0.4)  # 556 nearly independent stretches
    assert interior.min() < 6
    assert interior.max() > 25
    assert abs(z_scores(coverage, expected)["missed_targets"]) < 4


def test_z_scores_are_null_where_nothing_varies():
    coverage = measure_coverage([0, 4], n_tokens=13, block_size=4)
    expected = expect("sequential", n_tokens=13, block_size=4, draws=2)
    assert z_scores(coverage, expected) == {"missed_targets": None}


def test_z_scores_are_in_standard_deviations():
    coverage = measure_coverage([3, 3], n_tokens=13, block_size=4)
    expected = expect("random_replacement", n_tokens=13, block_size=4, draws=2)
    sd = expected.sd_missed_targets
    assert z_scores(coverage, expected)["missed_targets"] == (8 - expected.missed_targets) / sd


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [[1], [1, 2, 5, 40], [3, 100]])
def test_the_curve_is_the_coverage_at_each_step(name, steps):
    sampler = make_sampler(name, n_tokens=500, block_size=7, seed=1)
    curve = coverage_curve(sampler, steps=steps, batch_size=3)
    missed = [
        measure_coverage(
            sampler.starts(0, 3 * step),
            n_tokens=500,
            block_size=7,
            targets_per_window=sampler.targets_per_window,
        ).missed_targets
        for step in steps
    ]
    np.testing.assert_array_equal(curve, [(499 - m) / 499 for m in missed])


@pytest.mark.parametrize("steps", [[], [0, 1], [2, 2], [3, 1], [1.5]])
def test_a_curve_needs_increasing_steps(steps):
    sampler = make_sampler("sequential", n_tokens=500, block_size=7)
    with pytest.raises(ValueError, match="steps"):
        coverage_curve(sampler, steps=steps, batch_size=3)


@repeatable
@given(runs(), st.data())
def test_bins_hold_every_target_once(run, data):
    starts, n_tokens, block_size = run
    coverage = measure_coverage(starts, n_tokens=n_tokens, block_size=block_size)
    bins = data.draw(st.integers(1, n_tokens - 1))
    columns = visits_by_position(coverage, bins)
    assert {len(column) for column in columns.values()} == {bins}
    assert columns["bin_start"] == [1, *columns["bin_stop"][:-1]]
    assert columns["bin_stop"][-1] == n_tokens
    assert sum(columns["missed"]) == coverage.missed_targets
    assert min(columns["visits_min"]) == coverage.visits_min
    assert max(columns["visits_max"]) == coverage.visits_max
    for i, (start, stop) in enumerate(zip(columns["bin_start"], columns["bin_stop"], strict=True)):
        assert columns["visits_mean"][i] == pytest.approx(
            coverage.visits[start - 1 : stop - 1].mean()
        )


@pytest.mark.parametrize("bins", [0, 13, True, 2.0])
def test_bad_bins_are_refused(bins):
    coverage = measure_coverage([0], n_tokens=13, block_size=4)
    with pytest.raises(ValueError, match="bins is"):
        visits_by_position(coverage, bins)


def test_the_histogram_lists_what_occurs():
    coverage = measure_coverage([1, 1, 6], n_tokens=12, block_size=3)
    assert visits_histogram(coverage) == {"visits": [0, 1, 2], "targets": [5, 3, 3]}


def test_numbers_and_columns_go_into_json():
    coverage = measure_coverage([1, 1, 6], n_tokens=12, block_size=3)
    numbers = json.loads(json.dumps(coverage.as_dict()))
    assert numbers == coverage.as_dict()
    assert "visits" not in numbers
    assert numbers["visits_max"] == 2
    json.dumps([visits_by_position(coverage, 4), visits_histogram(coverage)])


@pytest.mark.parametrize(
    ("starts", "complaint"),
    [
        ([], "not empty"),
        ([[0]], r"shape \(1, 1\)"),
        ([-1, 2], "from -1 to 2"),
        ([0, 9], "from 0 to 9"),
        ([0.0], "float64"),
        ([True], "bool"),
        (np.array([2**63 + 1], dtype=np.uint64), "9223372036854775809"),
    ],
)
def test_bad_starts_are_refused(starts, complaint):
    with pytest.raises(ValueError, match=complaint):
        measure_coverage(starts, n_tokens=13, block_size=4)


def test_a_text_of_one_block_has_no_window():
    with pytest.raises(ValueError, match="one window of block_size 4 needs 5"):
        measure_coverage([0], n_tokens=4, block_size=4)


HOLES = [Segment(2, 30), Segment(30, 38), Segment(41, 90)]


@repeatable
@given(width=st.integers(1, 5), seed=st.integers(0, 50), draws=st.integers(1, 30))
def test_segments_are_counted_by_hand(width, seed, draws):
    sampler = make_sampler("random_replacement", segments=HOLES, block_size=5, seed=seed)
    starts = sampler.starts(0, draws)
    shown = [s + k for s in starts.tolist() for k in range(1, width + 1)]
    used = {s + k for s in starts.tolist() for k in range(5)}
    rows = [[shown.count(j) for j in range(part.start + 1, part.stop)] for part in HOLES]
    visits = list(itertools.chain(*rows))
    coverage = measure_coverage(starts, segments=HOLES, block_size=5, targets_per_window=width)
    assert coverage.visits.tolist() == visits
    assert coverage.missed_targets == visits.count(0)
    assert coverage.missed_interior == sum(row[4:-4].count(0) for row in rows)
    assert coverage.missed_inputs == sum(
        token not in used for part in HOLES for token in range(part.start, part.stop - 1)
    )
    text = ["".join("x" if count else "." for count in row) for row in rows]
    assert coverage.gaps == sum(bool(g) for row in text for g in row.strip(".").split("x"))
    assert coverage.longest_gap == max(len(gap) for row in text for gap in row.split("x"))
    assert coverage.visits_dispersion == pytest.approx(np.var(visits) / np.mean(visits))
    assert coverage.n_tokens == 85


@pytest.mark.parametrize("sizes", [[1] * 30, [30], [7, 13, 10]])
def test_draws_may_come_in_pieces(sizes, monkeypatch):
    monkeypatch.setattr("gptcore.coverage.tally.PENDING", 4)
    sampler = make_sampler("random_replacement", n_tokens=40, block_size=5, seed=3)
    whole = measure_coverage(sampler.starts(0, 30), n_tokens=40, block_size=5)
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    pieces = (sampler.starts(a, n) for a, n in zip(firsts, sizes, strict=True))
    merged = measure_coverage(pieces, n_tokens=40, block_size=5)
    assert merged == whole
    assert merged.visits.tolist() == whole.visits.tolist()


def test_a_billion_tokens_need_no_array_of_them():
    tracemalloc.start()
    ledger = VisitCounter(n_tokens=10**9, block_size=2_048)
    sampler = make_sampler("golden", n_tokens=10**9, block_size=2_048)
    for first in range(0, 200_000, 50_000):
        ledger.add(sampler.starts(first, 50_000))
    coverage = ledger.result()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = expect("golden", n_tokens=10**9, block_size=2_048, draws=200_000)
    # One shift of the circle moves the missed targets by less than one gap, 2/K of the text.
    assert coverage.missed_targets == pytest.approx(expected.missed_targets, abs=10**4)
    assert peak < 60e6  # 200,000 draws at some 200 bytes each


def test_a_ledger_without_draws_has_no_result():
    with pytest.raises(ValueError, match="add starts first"):
        VisitCounter(n_tokens=13, block_size=4).result()


@pytest.mark.parametrize("start", [1, 37, 25, 85])
def test_a_start_whose_window_crosses_a_hole_is_refused(start):
    with pytest.raises(ValueError, match=f"and {start} is not allowed"):
        measure_coverage([2, start], segments=HOLES, block_size=5)


@pytest.mark.parametrize("width", [0, 5, True])
def test_a_window_shows_at_most_its_targets(width):
    with pytest.raises(ValueError, match="targets_per_window is"):
        measure_coverage([0], n_tokens=13, block_size=4, targets_per_window=width)


# --- windows that join documents -------------------------------------------------------------

DOCUMENTS = [Segment(0, 5), Segment(5, 6), Segment(9, 31), Segment(40, 47)]


@pytest.mark.parametrize("draws", [1, 3, 8, 40])
@pytest.mark.parametrize("name", ["rechunked_documents", "rechunked_once"])
def test_joined_windows_are_those_counted_by_hand(name, draws):
    sampler = make_sampler(name, segments=DOCUMENTS, block_size=4, seed=draws)
    coverage = measure_draws(sampler, draws)
    rows = sampler.pieces(0, draws).tokens()
    tokens = [t for part in DOCUMENTS for t in range(part.start, part.stop)]
    targets, inputs = rows[:, 1:].ravel().tolist(), rows[:, :-1].ravel().tolist()
    visits = [targets.count(t) for t in tokens]
    inside = {t for p in DOCUMENTS for t in range(p.start + 4, p.stop - 3)}
    missed = [t for t in tokens if t not in targets]
    assert coverage.visits.tolist() == visits
    assert (coverage.missed_targets, coverage.missed_edge) == (
        len(missed),
        len(set(missed) - inside),
    )
    assert coverage.missed_inputs == sum(t not in inputs for t in tokens)
    assert coverage.visits_mean == draws * 4 / 35
    assert coverage.visits_sd == pytest.approx(np.std(visits))
    assert coverage.repeated_windows == draws - len(set(rows[:, 0]))
    runs = [
        list(run)
        for p in DOCUMENTS
        for free, run in itertools.groupby(range(p.start, p.stop), lambda t: t in missed)
        if free
    ]
    ends = {t for p in DOCUMENTS for t in (p.start, p.stop - 1)}
    assert coverage.gaps == sum(not ends & set(run) for run in runs)
    assert coverage.longest_gap == max(map(len, runs), default=0)
    (curve,) = coverage_curve(sampler, steps=[draws], batch_size=1)
    assert curve == pytest.approx(1 - len(missed) / 35)
    for lag in (1, 3):
        held = {(row[i], row[i + lag]) for row in rows.tolist() for i in range(5 - lag)}
        pairs = [(t, t + lag) for p in DOCUMENTS for t in range(p.start, p.stop - lag)]
        expected = sum(pair in held for pair in pairs) / len(pairs)
        assert pair_coverage(sampler.pieces(0, draws), sampler, lag) == pytest.approx(expected)


def test_overlap_and_evenness_know_joined_windows():
    sampler = make_sampler("rechunked_documents", segments=DOCUMENTS, block_size=4, seed=1)
    pieces = sampler.pieces(0, 12)  # 8 draws are an epoch
    targets = pieces.tokens()[:, 1:].reshape(3, -1)
    distinct = np.mean([len(np.unique(batch)) for batch in targets])
    assert batch_overlap(pieces, sampler, batch_size=4) == pytest.approx(1 - distinct / 16)
    first = [t for p in DOCUMENTS for t in range(p.start, p.stop)]
    ranks = np.array([first.index(t) for t in pieces.tokens()[:, 0]])
    share = [abs(np.mean(ranks < k) - k / 35) for k in range(36)]
    (found,) = star_discrepancy(pieces, sampler, [12], batch_size=1)
    assert found == pytest.approx(max(share))
