"""Made logs of sound loaders, whose windows are known, for `audits.py`.

Legend: n windows in an epoch, T inputs in a window, K draws.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from gptcore.audit import DrawLog
from gptcore.audit.audits import audit_draws
from gptcore.sampling import make_sampler

SIZES = (12, 20, 41, 64, 100, 152, 300, 1_000)
LARGE = (5_000, 20_000)  # draws in all, in one log of twenty


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
