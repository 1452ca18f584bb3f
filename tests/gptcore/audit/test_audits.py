import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.audit.audits import audit_log
from gptcore.audit.counts import find_replays
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from tests.helpers.draw_logs import faults, grid, look, notes, random_starts
from tests.helpers.strategies import repeatable, shapes

COUNTS = (
    "draws",
    "missed_targets",
    "repeated_windows",
    "identical_epochs",
    "lost_at_borders",
    "replayed_draws",
    "rank_overlap",
)


# --- counts against counting by hand ---------------------------------------------------------


@st.composite
def logs(draw):
    """Draw (n_tokens, rows) with rows of start, length, epoch, rank."""
    n_tokens, block_size = draw(shapes(max_block=5, max_starts=20))
    row = st.tuples(
        st.integers(0, n_tokens - block_size - 1),
        st.integers(1, block_size),
        st.integers(0, 2),
        st.integers(0, 2),
    )
    return n_tokens, draw(st.lists(row, min_size=1, max_size=25))


@repeatable
@given(logs())
def test_counts_are_those_counted_by_hand(log):
    n_tokens, rows = log
    start, length, epoch, rank = zip(*rows, strict=True)
    audit = look(start, length, n_tokens, epoch=epoch, rank=rank)
    shown = {s + k for s, n, _, _ in rows for k in range(1, n + 1)}
    twice = shared = repeated = 0
    orders = []
    for e in sorted(set(epoch)):
        mine = [row for row in rows if row[2] == e]
        windows = [(s, n) for s, n, _, _ in mine]
        repeated += len(windows) - len(set(windows))
        targets = [s + k for s, n in windows for k in range(1, n + 1)]
        twice += sum(targets.count(t) > 1 for t in set(targets))
        ranks = {w: {row[3] for row in mine if row[:2] == w} for w in windows}
        shared += sum(len(r) > 1 for r in ranks.values())
        orders.append(sorted(((r, i, s, n) for i, (s, n, _, r) in enumerate(mine))))
    orders = [[(r, s, n) for r, _, s, n in order] for order in orders]
    assert audit.draws == len(rows)
    assert audit.missed_targets == n_tokens - 1 - len(shown)
    assert audit.repeated_windows == len(rows) - len({row[:2] for row in rows})
    assert audit.repeated_in_epoch == repeated
    assert audit.shown_twice == twice
    assert audit.rank_overlap == shared
    assert audit.identical_epochs == sum(
        len(order) > 1 and order in orders[:i] for i, order in enumerate(orders)
    )


@repeatable
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=30),
    st.integers(2, 6),
)
def test_replays_are_the_runs_found_by_hand(draws, run):
    window, group = (np.array(column) for column in zip(*draws, strict=True))
    expected = np.zeros(len(draws), dtype=bool)
    for g in (0, 1):
        at = np.flatnonzero(group == g)
        mine = window[at].tolist()
        for i in range(len(mine) - run + 1):
            if any(mine[j : j + run] == mine[i : i + run] for j in range(i - run + 1)):
                expected[at[i : i + run]] = True
    np.testing.assert_array_equal(find_replays(window, group, run)[0], expected)


# --- clean logs ------------------------------------------------------------------------------

# What is true of a sampler by its design.
TRUE_OF = {
    "sequential": {"identical_epochs"},
    "shuffled_once": {"identical_epochs"},
    "shuffled_across_epochs": {"shown_twice", "unknown_epochs"},
    "rechunked_once": {"identical_epochs", "replayed_draws", "unknown_epochs"},
    "overlapping_stride": {"shown_twice"},
    "stratified": {"unknown_epochs"},
    "t_plus_1_stride": {"lost_at_borders", "identical_epochs"},
    "shift_in_block": {"lost_at_borders", "identical_epochs"},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", SAMPLERS)
def test_clean_log_has_no_findings_but_what_is_true_of_its_sampler(name, epochs, seed):
    n_tokens, block_size = 4_005 + 7 * seed, 16
    sampler = make_sampler(name, n_tokens=n_tokens, block_size=block_size, seed=seed)
    draws = epochs * (sampler.draws_per_epoch or n_tokens // block_size)
    starts = sampler.starts(0, draws)
    audit = look(starts, block_size - (name == "shift_in_block"), n_tokens, sampler=name)
    kinds = {finding.kind for finding in audit.findings} - TRUE_OF.get(name, set())
    assert kinds <= {"missed_targets"}
    assert "missed_targets" not in faults(audit)
    assert audit.replayed_draws == 0 or name == "rechunked_once"


@pytest.mark.parametrize("load", [0.1, 1, 5])
def test_independent_windows_raise_no_finding(load):
    for seed in range(30):
        draws = int(load * 3_000 / 32)
        audit = look(random_starts(draws, 3_000 - 32, seed), 32, 3_000)
        assert audit.findings == ()
        assert audit.missed_targets > 0 or load > 1
        assert audit.expected["missed_targets"] > 0


def test_epochs_through_a_small_shuffle_buffer_repeat_no_run():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = np.concatenate([np.argsort(np.arange(60) + 3 * rng.random(60)) for _ in range(4)])
        audit = look(starts * 8, 8, 481)
        assert (audit.epochs, audit.findings) == (4, ())


def test_shuffled_epochs_with_drop_last_are_found_without_an_epoch_column():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        starts = np.concatenate([rng.permutation(50)[:40] for _ in range(4)]) * 8
        audit = look(starts, 8, 401)
        assert (audit.epochs, audit.epochs_from) == (4, "passes")
        assert set(faults(audit)) <= {"missed_targets"}


def test_a_short_tail_is_a_note():
    assert notes(look(grid(20), 8, 166)) == {"missed_targets": 5}


def test_gaps_of_random_windows_are_no_borders():
    for seed in range(200):
        assert look(random_starts(60, 2_000, seed), 4, 2_004).lost_at_borders == 0


def test_phases_that_return_are_no_repeats_beyond_chance():
    rng = np.random.default_rng(0)
    phases = [3, 5, 3]
    starts = np.concatenate([rng.permutation(60) * 32 + phase for phase in phases])
    assert faults(look(starts, 32, 60 * 32 + 8)) == {}


# --- arguments and output --------------------------------------------------------------------


def test_json_has_the_counts_and_findings(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("start,length\n0,8\n8,8\n0,8\n")
    result = json.loads(json.dumps(audit_log(path, n_tokens=30).as_dict()))
    assert set(COUNTS) <= set(result)
    assert all(type(result[name]) is int for name in COUNTS)
    for finding in result["findings"]:
        assert {"kind", "count", "example", "explanation"} <= set(finding)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch_draws": 3, "epoch": [0, 0, 0]}, "leave one out"),
        ({"epoch_draws": 3, "rank": [0, 1, 0]}, "multiple"),
        ({"epoch_draws": 0}, "at least 1"),
    ],
)
def test_epochs_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        look([0, 8, 16], 8, 40, **arguments)


def test_a_million_million_tokens_cost_no_memory():
    audit = look(random_starts(1_000, 10**12 - 256), 256, 10**12)
    assert audit.missed_targets > 9 * 10**11
    assert audit.findings == ()
