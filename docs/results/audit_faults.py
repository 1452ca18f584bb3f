"""Made logs of loaders with one fault each, for `audits.py`."""

from dataclasses import replace

import numpy as np
from audit_loaders import (
    INDEPENDENT,
    choose,
    deal,
    lay,
    make_independent,
    make_passes,
    shards_of,
    show_columns,
    through_buffer,
)


def some_epoch(log, rng):
    """Return an epoch of the log that is not its last, where there are several."""
    return int(rng.integers(max(1, int(log.epoch.max()))))


def skip_half(log, rng, _):
    """Leave out half of the windows of one epoch, at random."""
    mine = np.flatnonzero(log.epoch == some_epoch(log, rng))
    lost = rng.choice(mine, size=len(mine) // 2, replace=False)
    return log.keep(np.setdiff1d(np.arange(len(log.start)), lost))


def skip_batches(log, rng, _):
    """Leave out a run of draws of one epoch, as a resume that goes on too late does."""
    mine = np.flatnonzero(log.epoch == some_epoch(log, rng))
    size = max(3, int(len(mine) * rng.uniform(0.05, 0.3)))
    at = int(rng.integers(1, len(mine) - size - 1))
    return log.keep(np.delete(np.arange(len(log.start)), mine[at : at + size]))


def replay(log, rng, options):
    """Make the draws before some place again, as a resume from an old checkpoint does."""
    draws = len(log.start)
    size = max(4, int(options["n"] * rng.uniform(0.05, 0.5)))
    size = min(size, draws // 3)
    at = int(rng.integers(size + 1, draws - 1))
    if log.family == "passes":  # inside one epoch
        mine = np.flatnonzero(log.epoch == some_epoch(log, rng))
        size = min(size, len(mine) // 2)
        at = int(mine[0]) + int(rng.integers(size + 1, len(mine)))
    return log.keep(np.concatenate([np.arange(at), np.arange(at - size, draws)]))


def drop_tail(log, rng, options):
    """Never read the last windows of the text."""
    kept = options["n"] - max(1, int(options["n"] * rng.uniform(0.02, 0.2)))
    return log.keep(np.flatnonzero(log.start < kept))


def truncate(log, rng, options):
    """Read only the first 40 to 80 per cent of the text."""
    return log.keep(np.flatnonzero(log.start < options["n"] * rng.uniform(0.4, 0.8)))


def lose_shard(log, rng, options):
    """Never read one shard from the middle of the text."""
    shard = log.start * 8 // options["n"]
    return log.keep(np.flatnonzero(shard != int(rng.integers(1, 7))))


def forget_epoch(log, _, options):
    """Give each epoch the order of the first."""
    first = np.flatnonzero(log.epoch == 0)
    return log.keep(np.tile(first, options["epochs"])), np.repeat(
        np.arange(options["epochs"]), len(first)
    )


def lose_buffer(log, rng, options):
    """Lose the windows that wait in a shuffle buffer when the loader restarts."""
    n, size = options["n"], min(options["buffer"], options["n"] // 3)
    orders, chosen = [], some_epoch(log, rng)
    for epoch in range(options["epochs"]):
        source = shards_of(n, rng)
        order = through_buffer(source, size, rng)
        if epoch == chosen:
            cut = int(rng.integers(size + 1, n - 1))
            before = through_buffer(source[:cut], size, rng)[: cut - size + 1]
            order = np.append(before, through_buffer(source[cut:], size, rng))
        orders.append(order)
    return deal(orders, "shuffle buffer", options)


def copy_workers(log, _, options):
    """Let each of k workers give the whole order in turns."""
    k, turn = options["workers"], options["turn"]
    rows = []
    for epoch in range(int(log.epoch.max()) + 1):
        mine = np.flatnonzero(log.epoch == epoch)
        for at in range(0, len(mine), turn):
            rows += [mine[at : at + turn]] * k
    return log.keep(np.concatenate(rows))


def stick_worker(log, _, options):
    """Let one of k workers give its first batch again and again."""
    k, turn = options["workers"], options["turn"]
    chosen = np.arange(len(log.start))
    stuck = chosen // turn % k == k - 1
    chosen[stuck] = (k - 1) * turn + chosen[stuck] % turn
    return replace(log.keep(chosen), epoch=log.epoch, rank=log.rank)


def overlap_shards(log, rng, options):
    """Let each rank read a shard that goes on into the next one."""
    n, ranks = options["n"], options["ranks"]
    more = max(1, int(n / ranks * rng.uniform(0.1, 0.5)))
    rows = []
    for epoch in range(options["epochs"]):
        for rank in range(ranks):
            shard = np.arange(rank * n // ranks, min(n, (rank + 1) * n // ranks + more))
            rows += [(i, int(w), epoch, rank) for i, w in enumerate(rng.permutation(shard))]
    table = np.array(rows)
    table = table[np.lexsort((table[:, 3], table[:, 0], table[:, 2]))]
    return replace(log, start=table[:, 1], epoch=table[:, 2], rank=table[:, 3])


def reshard(log, rng, options):
    """Go on in the middle of an epoch with another number of ranks and a new order of all."""
    chosen, n = some_epoch(log, rng), options["n"]
    parts, ranks, epochs = [], [], []
    for epoch in range(options["epochs"]):
        order = log.start[log.epoch == epoch]
        rank = np.arange(len(order)) % options["ranks"]
        if epoch == chosen:
            half = int(len(order) * rng.uniform(0.3, 0.7))
            other = rng.permutation(n)
            left = len(order) - half
            order = np.append(order[:half], other[:left])
            rank = np.append(rank[:half], np.arange(left) % (2 * options["ranks"]))
        parts.append(order)
        ranks.append(rank)
        epochs.append(np.full(len(order), epoch))
    return replace(log, start=np.concatenate(parts), epoch=np.concatenate(epochs),
                   rank=np.concatenate(ranks))  # fmt: skip


def seed_ranks(log, rng, options):
    """Let each rank shuffle all windows with a seed of its own, and take its share."""
    n, ranks = options["n"], options["ranks"]
    parts, labels, epochs = [], [], []
    for epoch in range(options["epochs"]):
        own = np.stack([rng.permutation(n)[r : n - n % ranks : ranks] for r in range(ranks)])
        parts.append(own.T.ravel())
        labels.append(np.tile(np.arange(ranks), own.shape[1]))
        epochs.append(np.full(own.size, epoch))
    return replace(log, start=np.concatenate(parts), epoch=np.concatenate(epochs),
                   rank=np.concatenate(labels))  # fmt: skip


def one_seed(log, _, options):
    """Let all ranks make the same draws."""
    ranks = options["ranks"]
    doubled = log.keep(np.repeat(np.arange(len(log.start)), ranks))
    return replace(doubled, rank=np.arange(len(doubled.start)) % ranks)


TWICE = {"shown_twice", "replayed_draws", "repeated_windows"}
MISSED = {"missed_targets", "missed_in_epoch"}
UNEVEN = {"repeated_windows", "uneven_visits", "limited_range", "missed_targets"}
# Fault → what makes it, the loaders that may have it, the kinds that name it, the columns it needs.
ORDERED = ("shuffled", "sequential", "shuffle buffer", "documents", "overlapping stride",
           "last window short", "workers, shuffled", "accumulating")  # fmt: skip
SHUFFLED = ("shuffled", "shuffle buffer", "documents", "workers, shuffled", "last window short")
FAULTS = {
    "half an epoch skipped": (skip_half, ORDERED, MISSED),
    "batches skipped": (skip_batches, ORDERED, MISSED),
    "replayed": (replay, (*SHUFFLED, "sequential", *INDEPENDENT), TWICE),
    "tail dropped": (drop_tail, ORDERED, MISSED),
    "text truncated": (truncate, ORDERED, MISSED),
    "missing shard": (lose_shard, ORDERED, MISSED),
    "set_epoch forgotten": (forget_epoch, (*SHUFFLED, "get_batch"), {"identical_epochs"}),
    "buffer lost": (lose_buffer, ("shuffle buffer",), MISSED),
    "workers copied": (copy_workers, (*SHUFFLED, "sequential", *INDEPENDENT), TWICE),
    "stuck worker": (stick_worker, (*SHUFFLED, *INDEPENDENT), TWICE | MISSED | UNEVEN),
    "shards overlap": (overlap_shards, ("distributed",), TWICE | {"rank_overlap"}),
    "resharded": (reshard, ("distributed",), TWICE | MISSED | {"rank_overlap"}),
    "ranks with own seeds": (seed_ranks, ("distributed",), TWICE | {"rank_overlap"} | MISSED),
    "ranks with one seed": (one_seed, INDEPENDENT, TWICE | {"rank_overlap"}),
    "stride T + 1": (None, SHUFFLED[:2], {"lost_at_borders"}),
    "hot tenth": (None, INDEPENDENT, UNEVEN),
    "limited range": (None, INDEPENDENT, UNEVEN),
}


def faulty(fault, rng, *, large=False):
    """Return (loader, log) with a fault."""
    make, loaders, _ = FAULTS[fault]
    kind = str(rng.choice(loaders))
    options = choose(rng, large)
    if fault in ("half an epoch skipped", "batches skipped", "buffer lost", "set_epoch forgotten"):
        options["epochs"] = max(2, options["epochs"])
    if fault in ("hot tenth", "limited range"):
        options["n"] = max(options["n"], 100)
        law = {"hot": float(rng.uniform(2.5, 5))} if fault == "hot tenth" else {}
        if not law:
            side = rng.uniform(0, 0.2)
            law = {"low": float(side), "high": float(side + 0.8)}
        return kind, show_columns(make_independent(kind, rng, options, **law), rng)
    if kind in INDEPENDENT:
        options["n"] = max(options["n"], 41)
        made = make(make_independent(kind, rng, options), rng, options)
        if fault == "set_epoch forgotten":
            log, epoch = made
            return kind, show_columns(replace(log, epoch=epoch), rng, ("epoch",))
        return kind, show_columns(made, rng)
    log = make_passes(kind, rng, options)
    if fault == "stride T + 1":
        return kind, lay(show_columns(log, rng), kind, rng, options, stride=options["T"] + 1)
    made = make(log, rng, options)
    if isinstance(made, tuple):
        made = replace(made[0], epoch=made[1])
    return kind, lay(show_columns(made, rng), kind, rng, options)
