"""How often does the audit find a fault, and how often one that is not there? Made logs tell.

Each log comes from a loader whose windows are known, with or without one fault. A fault is found if
a finding of severity fault has a kind that names it. A sound log is wrong if it has any fault.
Loaders and faults in HELD_OUT were not looked at while the audit was made; they have lines of their
own with --held-out.

    python docs/results/audits.py            # 450 sound and 675 faulty logs, about a minute
    python docs/results/audits.py --quick    # 90 and 135
    python docs/results/audits.py --show     # every log that is judged wrongly

Legend: n windows in an epoch, T inputs in a window, K draws. A table has one row for each draw.
"""

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from gptcore.audit import DrawLog
from gptcore.audit.audits import audit_draws
from gptcore.sampling import make_sampler

SIZES = (12, 20, 41, 64, 100, 152, 300, 1_000)
LARGE = (5_000, 20_000)  # draws in all, in one log of twenty
HELD_OUT = {
    "last window short", "overlapping stride", "megatron", "random phase", "workers, shuffled",
    "van_der_corput", "blocks of shards", "distributed, batches", "stuck worker",
    "ranks with own seeds", "missing shard",
}  # fmt: skip


@dataclass
class Log:
    """A log that is being made.

    Attributes:
        n_tokens: tokens of the text.
        block_size: T.
        start: first input of each draw, or the number of its window until `lay` is called.
        length: inputs of each draw.
        epoch: pass of each draw.
        rank: process of each draw.
        batch: draws of all ranks that one optimizer step takes.
        family: "passes", "independent", "even" or "blurred" (passes whose ends are not sharp).
        known: the columns that the log shows.
        about: what was chosen, in words.
    """

    n_tokens: int
    block_size: int
    start: np.ndarray
    epoch: np.ndarray
    rank: np.ndarray
    batch: int
    length: np.ndarray | None = None
    family: str = "passes"
    known: tuple[str, ...] = ()
    about: dict = field(default_factory=dict)

    def keep(self, chosen):
        """Return the log with the chosen draws, in the given order."""
        length = self.length
        if length is not None:
            length = length[chosen]
        parts = {"start": self.start[chosen], "epoch": self.epoch[chosen], "length": length}
        return replace(self, **parts, rank=self.rank[chosen])

    def audit(self):
        """Return the audit of the log with the columns that it shows."""
        step = np.arange(len(self.start)) // self.batch
        columns = {"epoch": self.epoch, "rank": self.rank, "step": step}
        columns = {name: columns[name].astype(np.int64) for name in self.known}
        log = DrawLog(
            self.n_tokens, self.start.astype(np.int64), self.length.astype(np.int64), **columns
        )
        return audit_draws(log)


# --- passes over windows: the orders of epochs -----------------------------------------------


def through_buffer(order, size, rng):
    """Return an order after a shuffle buffer of `size` windows, as webdataset has it."""
    held, out = [], []
    for window in order:
        held.append(window)
        if len(held) >= size:
            at = rng.integers(len(held))
            held[at], held[-1] = held[-1], held[at]
            out.append(held.pop())
    rng.shuffle(held)
    return np.array(out + held)


def shards_of(n, rng, shuffle=True):
    """Return the windows in runs (shards), whose order is shuffled."""
    parts = np.array_split(np.arange(n), int(rng.integers(2, 9)))
    order = rng.permutation(len(parts)) if shuffle else range(len(parts))
    return np.concatenate([parts[i] for i in order])


def in_turns(order, workers, batch):
    """Return the order in which workers that take every k-th window give batches in turn."""
    own = [order[worker::workers] for worker in range(workers)]
    turns = [mine[at : at + batch] for at in range(0, len(order), batch) for mine in own]
    return np.concatenate(turns)


def one_order(kind, n, rng, options):
    """Return the windows of one epoch in the order of a loader."""
    if kind == "sequential":
        return np.arange(n)
    if kind == "workers, in order":
        return in_turns(np.arange(n), options["workers"], options["turn"])
    if kind == "workers, shuffled":
        return in_turns(rng.permutation(n), options["workers"], options["turn"])
    if kind == "shuffle buffer":
        return through_buffer(shards_of(n, rng), options["buffer"], rng)
    if kind == "buffer, no shards":
        return through_buffer(np.arange(n), options["buffer"], rng)
    if kind == "blocks of shards":
        parts = np.array_split(np.arange(n), max(2, n // 8))
        return np.concatenate([rng.permutation(parts[i]) for i in rng.permutation(len(parts))])
    if kind == "webdataset, workers":  # shards go to workers, each with a buffer; turns of a batch
        parts = np.array_split(np.arange(n), max(options["workers"], n // 10))
        parts = [parts[i] for i in rng.permutation(len(parts))]
        own = [
            through_buffer(np.concatenate(parts[w :: options["workers"]]), options["buffer"], rng)
            for w in range(options["workers"])
        ]
        size = options["turn"]
        turns = [mine[at : at + size] for at in range(0, n, size) for mine in own]
        return np.concatenate(turns)
    order = np.arange(n) if kind == "distributed, in order" else rng.permutation(n)
    if kind == "shuffled, drop_last":
        order = order[: n - n % options["turn"]]
    if kind in ("distributed", "distributed, in order", "distributed, rank by rank"):
        order = np.append(order, order[: -n % options["ranks"]])
    if kind == "distributed, batches":  # accelerate: whole batches, made even
        whole = options["turn"] * options["ranks"]
        order = np.append(order, np.resize(order, -n % whole))
    if kind == "distributed, drop_last":
        order = order[: n - n % options["ranks"]]
    return order


PASSES = (
    "sequential", "shuffled", "shuffled, drop_last", "distributed", "distributed, drop_last",
    "distributed, in order", "distributed, rank by rank", "distributed, batches",
    "workers, in order", "workers, shuffled", "shuffle buffer", "buffer, no shards",
    "blocks of shards", "repeat, then buffer", "webdataset, workers", "documents",
    "last window short", "overlapping stride", "accumulating",
)  # fmt: skip
INDEPENDENT = ("get_batch", "RandomSampler(replacement)")
EVEN = ("golden", "van_der_corput", "stratified", "random phase", "megatron")


def choose(rng, large):
    """Return the size of a log: windows, epochs, T and more."""
    n = int(rng.choice(SIZES))
    epochs = int(rng.integers(1, 6))
    if large:
        epochs = int(rng.integers(1, 4))
        n = int(rng.choice(LARGE)) // epochs
    ranks = int(rng.choice([r for r in (2, 3, 4, 8) if r <= n // 5]))
    return {
        "n": n, "epochs": epochs, "T": int(rng.choice([8, 32, 128, 256])), "ranks": ranks,
        "workers": int(rng.integers(2, 5)), "turn": int(rng.choice([1, 2, 4, 8])),
        "buffer": int(rng.integers(2, n + 1)),
    }  # fmt: skip


def lay(log, kind, rng, options, stride=None):
    """Turn numbers of windows into starts and lengths."""
    n, size = options["n"], options["T"]
    tail = int(rng.integers(size))
    if kind == "documents":
        lengths = rng.integers(max(2, size // 4), size + 1, size=n)
        lengths[int(rng.integers(n))] = size
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        n_tokens = int(lengths.sum()) + 1
    elif kind == "overlapping stride":
        step = int(rng.integers(size // 2, size))
        starts, lengths = np.arange(n) * step, np.full(n, size)
        n_tokens = (n - 1) * step + size + 1 + int(rng.integers(step))
    else:
        starts, lengths = np.arange(n) * (stride or size), np.full(n, size)
        n_tokens = n * (stride or size) + 1 + tail
        if kind == "last window short":
            lengths[-1] = max(1, tail)
            n_tokens = int(starts[-1] + lengths[-1]) + 1
    return replace(log, n_tokens=n_tokens, start=starts[log.start], length=lengths[log.start])


def make_passes(kind, rng, options):
    """Return a log of whole epochs; `start` holds numbers of windows."""
    orders = [one_order(kind, options["n"], rng, options) for _ in range(options["epochs"])]
    if kind == "repeat, then buffer":  # the ends of epochs are blurred
        size = min(options["buffer"], options["n"] // 2)
        orders = [through_buffer(np.concatenate(orders), size, rng)]
    return deal(orders, kind, options)


def deal(orders, kind, options):
    """Return a log of the epochs, dealt to ranks in turn where the loader has ranks."""
    ranks = options["ranks"] if kind.startswith("distributed") else 1
    start = np.concatenate(orders)
    epoch = np.repeat(np.arange(len(orders)), [len(order) for order in orders])
    turn = options["turn"] if kind == "distributed, batches" else 1
    rank = np.concatenate([np.arange(len(order)) // turn % ranks for order in orders])
    batch = options["turn"] * ranks * (4 if kind == "accumulating" else 1)
    family = "blurred" if kind == "repeat, then buffer" else "passes"
    return Log(0, options["T"], start, epoch, rank, batch, None, family, about=dict(options))


def draw_starts(kind, rng, options, draws, low=0.0, high=1.0, hot=1.0):
    """Return independent starts from a part of the text, with one tenth more often."""
    size = options["T"]
    n_tokens = options["n"] * size + 1 + int(rng.integers(size))
    places = n_tokens - size if kind == "get_batch" else options["n"]
    weights = np.ones(places)
    weights[: int(low * places)] = weights[int(high * places) :] = 0
    at = int(rng.integers(10)) * places // 10
    weights[at : at + places // 10] *= hot
    edges = np.cumsum(weights) / weights.sum()
    starts = np.searchsorted(edges, rng.random(draws), side="right")
    return n_tokens, starts * (1 if kind == "get_batch" else size)


def make_independent(kind, rng, options, **law):
    """Return a log of draws with replacement, with nominal epochs and ranks."""
    n, size = options["n"], options["T"]
    least = 1.0 if law else float(rng.choice([0.05, 0.3]))
    draws = max(12, int(n * rng.uniform(least, options["epochs"] + 1)))
    n_tokens, starts = draw_starts(kind, rng, options, draws, **law)
    ranks = options["ranks"] if rng.random() < 0.5 else 1
    rank, epoch = np.arange(draws) % ranks, np.arange(draws) // n
    length = np.full(draws, size)
    return Log(
        n_tokens, size, starts, epoch, rank, options["turn"] * ranks, length, "independent",
        about=dict(options) | law,
    )  # fmt: skip


def make_even(kind, rng, options):
    """Return a log of a sampler that spreads its windows evenly, without a fixed grid."""
    n, size = options["n"], options["T"]
    n_tokens = n * size + 1 + int(rng.integers(size))
    least = 1.0 if kind == "random phase" else 0.5  # less than a pass leaves windows out
    draws = int(n * rng.uniform(least, options["epochs"] + 0.5))
    ranks = options["ranks"] if rng.random() < 0.3 else 1
    if kind == "megatron":
        return make_megatron(rng, options)
    name = "random_phase_blocks" if kind == "random phase" else kind
    seed = int(rng.integers(1000))
    sampler = make_sampler(name, n_tokens=n_tokens, block_size=size, seed=seed)
    starts = np.asarray(sampler.starts(0, draws))
    epoch = np.arange(draws) // (sampler.draws_per_epoch or n)
    return Log(
        n_tokens, size, starts, epoch, np.arange(draws) % ranks, options["turn"] * ranks,
        np.full(draws, size), "even", about=dict(options),
    )  # fmt: skip


def make_megatron(rng, options):
    """Return samples that are cut from the text repeated, and shuffled over all epochs.

    A sample that goes over the end of the text is two draws.
    """
    n, size = options["n"], options["T"]
    n_tokens = n * size + 1 + int(rng.integers(size))
    samples = options["epochs"] * (n_tokens - 1) // size
    order = rng.permutation(samples)
    first = order * size % (n_tokens - 1)
    length = np.minimum(size, n_tokens - 1 - first)
    rest = size - length
    start = np.stack([first, np.zeros_like(first)], axis=1).ravel()
    lengths = np.stack([length, rest], axis=1).ravel()
    start, lengths = start[lengths > 0], lengths[lengths > 0]
    zero = np.zeros_like(start)
    return Log(
        n_tokens, size, start, zero, zero, options["turn"], lengths, "even", about=dict(options)
    )


def show_columns(log, rng, need=()):
    """Choose the columns that a log shows."""
    several = log.rank.any()
    chosen = [name for name in ("epoch", "step") if rng.random() < 0.6]
    chosen += ["rank"] if several and rng.random() < 0.7 else []
    if log.family in ("even", "blurred"):  # their epochs are no passes
        chosen = [name for name in chosen if name != "epoch"]
    return replace(log, known=tuple(sorted({*chosen, *need})))


def sound(kind, rng, *, large=False):
    """Return a sound log of a loader."""
    options = choose(rng, large)
    if kind in INDEPENDENT:
        return show_columns(make_independent(kind, rng, options), rng)
    if kind in EVEN:
        return show_columns(make_even(kind, rng, options), rng)
    for _ in range(100):
        log = make_passes(kind, rng, options)
        if options["epochs"] > 1 and rng.random() < 0.4:  # the log ends inside an epoch
            log = log.keep(np.arange(len(log.start) - int(rng.integers(options["n"]))))
        if len(np.unique(log.start)) == options["n"]:  # drop_last leaves out none for good
            break
        options["turn"] = int(rng.choice([1, 2])) if options["n"] % 2 == 0 else 1
        options["n"] -= options["n"] % options["ranks"]
    if kind == "distributed, rank by rank":
        log = log.keep(np.argsort(log.rank, kind="stable"))
        return lay(show_columns(log, rng, ("epoch", "rank")), kind, rng, options)
    return lay(show_columns(log, rng), kind, rng, options)


# --- faults ----------------------------------------------------------------------------------


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


LARGER = "of more than 20 windows"
TWICE = {"shown_twice", "replayed_draws", "repeated_windows", "repeated_in_epoch"}
MISSED = {"missed_targets", "missed_in_epoch", "unequal_epochs"}
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


# --- the table -------------------------------------------------------------------------------


def found_faults(log):
    """Return the kinds of the faults that the audit finds."""
    return {finding.kind for finding in log.audit().findings if finding.severity == "fault"}


def tell(log, kinds):
    """Return what was chosen for a log, in a line."""
    options = " ".join(f"{k}={v}" for k, v in log.about.items())
    return f"K={len(log.start)} columns={','.join(log.known) or '-'} {options} -> {sorted(kinds)}"


def check_sound(seed, count, *, held_out, show):
    """Return loader → (logs, wrong logs)."""
    table = {}
    loaders = [k for k in (*PASSES, *INDEPENDENT, *EVEN) if (k in HELD_OUT) <= held_out]
    for i in range(count):
        kind = loaders[i % len(loaders)]
        rng = np.random.default_rng([seed, i, 0])
        log = sound(kind, rng, large=i // len(loaders) % 20 == 19)
        kinds = found_faults(log)
        tally = table.setdefault(kind, Counter())
        tally.update(logs=1, wrong=bool(kinds))
        if kinds and show:
            print(f"  sound {kind} [{i}] {tell(log, kinds)}")
    return table


def check_faulty(seed, count, *, held_out, show):
    """Return fault → (logs, named, any fault)."""
    table = defaultdict(Counter)
    names = [fault for fault in FAULTS if (fault in HELD_OUT) <= held_out]
    for i in range(count):
        fault = names[i % len(names)]
        rng = np.random.default_rng([seed, i, 1])
        while True:
            kind, log = faulty(fault, rng, large=i // len(names) % 20 == 19)
            if held_out or kind not in HELD_OUT:
                break
        kinds = found_faults(log)
        named = bool(kinds & FAULTS[fault][2])
        table[fault].update(logs=1, named=named, any=bool(kinds))
        if log.about["n"] > 20:
            table[LARGER].update(logs=1, named=named, any=bool(kinds))
        if not named and show:
            print(f"  {fault}, {kind} [{i}] {tell(log, kinds)}")
    return table


def main():
    """Print how many faults are found, and how many sound logs are called faulty."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a fifth of the logs")
    parser.add_argument("--held-out", action="store_true", help="loaders and faults held out too")
    parser.add_argument("--show", action="store_true", help="list the logs that are judged wrongly")
    args = parser.parse_args()
    share = 5 if args.quick else 1
    options = {"held_out": args.held_out, "show": args.show}
    clean = check_sound(args.seed, 450 // share, **options)
    bad = check_faulty(args.seed, 675 // share, **options)
    print(f"\n{'sound loader':28}{'logs':>6}{'with a fault':>14}")
    for kind, row in clean.items():
        print(f"{kind:28}{row['logs']:6}{row['wrong']:14}")
    total = sum(clean.values(), Counter())
    print(f"{'all':28}{total['logs']:6}{total['wrong']:14}  {total['wrong'] / total['logs']:.1%}")
    print(f"\n{'fault':28}{'logs':>6}{'named':>8}{'any fault':>12}")
    for fault, row in ((fault, bad[fault]) for fault in bad if fault != LARGER):
        print(f"{fault:28}{row['logs']:6}{row['named']:8}{row['any']:12}")
    larger = bad.pop(LARGER)
    for name, row in (("all", sum(bad.values(), Counter())), (LARGER, larger)):
        share = f"{row['named'] / row['logs']:.1%}"
        print(f"{name:28}{row['logs']:6}{row['named']:8}{row['any']:12}  {share}")


if __name__ == "__main__":
    main()
