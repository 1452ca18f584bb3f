"""What a foreign loader showed the model: an audit of its log, its batches, or the loader itself.

Legend: N tokens, K draws, T inputs in the longest window. A draw shows the inputs start, …,
start + length - 1 and the targets start + 1, …, start + length. Counts are exact; a finding is
raised only for what chance does not explain. `docs/auditing.md` has worked examples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.audit import counts as count
from gptcore.audit import findings as judge
from gptcore.audit import passes as pass_order
from gptcore.audit.counts import Mask, Windows
from gptcore.audit.findings import Finding
from gptcore.audit.live import TokenRows, check_length, read_batches
from gptcore.audit.log import DrawLog, Whole, read_log
from gptcore.audit.matching import match_rows
from gptcore.checks import check_whole

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Audit:
    """What a log shows.

    Attributes:
        n_tokens: N.
        block_size: T.
        draws: K.
        epochs: passes in the log; 1 where they are not known.
        epochs_from: "column", "epoch_draws", "passes" (found as repeats of whole passes), or
            "unknown": then the log counts as one epoch.
        passes: whether ranks pass over the text rather than draw independently.
        missed_targets: of the targets 1, …, N - 1, those in no window of the log.
        repeated_windows: draws minus distinct windows, over the whole log.
        repeated_in_epoch: the same within each epoch, summed.
        shown_twice: targets in two or more windows of one epoch, summed over epochs.
        identical_epochs: epochs of two or more draws that equal an earlier epoch in order.
        lost_at_borders: targets never shown between neighbouring windows that leave out the same
            few tokens every time.
        replayed_draws: draws in a run that the same rank made before, longer than chance explains;
            within one epoch, where epochs return to the same windows.
        rank_overlap: windows shown by two ranks or more in one epoch, summed over epochs.
        expected: what as many independent draws would show, not counting replays, identical epochs
            and what ranks share: `missed_targets` and `repeated_windows` with their `sd_…`, each
            None where theory has no value; None for passes over fixed windows.
        findings: what deserves attention, faults first.
    """

    n_tokens: int
    block_size: int
    draws: int
    epochs: int
    epochs_from: str
    passes: bool
    missed_targets: int
    repeated_windows: int
    repeated_in_epoch: int
    shown_twice: int
    identical_epochs: int
    lost_at_borders: int
    replayed_draws: int
    rank_overlap: int
    expected: dict[str, float | None] | None
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return vars(self) | {"findings": [dict(vars(finding)) for finding in self.findings]}


def audit_log(
    path: str | Path,
    *,
    n_tokens: int,
    block_size: int | None = None,
    epoch_draws: int | None = None,
) -> Audit:
    """Audit a log in CSV or JSON lines, as `drawlog.read_log` reads it.

    Args:
        path: the log.
        n_tokens: N.
        block_size: T; longer windows are refused, and it stands in for a missing `length`.
        epoch_draws: draws in an epoch over all ranks, where the log has no `epoch`.

    Raises:
        ValueError: the log is malformed (the line is named), or an argument does not fit it.
    """
    log = read_log(path, n_tokens=n_tokens, block_size=block_size)
    return audit_draws(log, epoch_draws=epoch_draws)


def audit_tokens(
    rows: Integers,
    ids: Integers,
    *,
    block_size: int | None = None,
    epoch_draws: int | None = None,
) -> Audit:
    """Audit raw rows of tokens, matched back to the text.

    A row of W tokens holds W - 1 targets: T + 1 tokens are one window of T inputs. With
    `block_size` equal to W the rows are inputs alone, whose targets lie one token to the right.

    Args:
        rows: integers of shape (K, W), or (batches, B, W), in the order drawn.
        ids: the text, integers of shape (N,).
        block_size: T, either W - 1 or W; None means W - 1.
        epoch_draws: draws in an epoch, if known.

    Raises:
        ValueError: shapes or `block_size` do not fit, or no row occurs in the text.
    """
    rows = np.asarray(rows)
    if rows.ndim not in (2, 3) or rows.size == 0:
        raise ValueError(f"rows have shape {rows.shape}: give (K, W) or (batches, B, W), not empty")
    rows = rows.reshape(-1, rows.shape[-1])
    width = rows.shape[1]
    length = check_length(width - 1 if block_size is None else block_size, width)
    log, findings = _locate([TokenRows(rows, length)], ids)
    return audit_draws(log, epoch_draws=epoch_draws, findings=findings)


def audit(
    loader: Iterable[Any],
    ids: Integers,
    *,
    block_size: int | None = None,
    max_batches: int | None = None,
    epochs: int = 1,
) -> Audit:
    """Audit a live loader by drawing its batches; no model is needed.

    A batch is (inputs, targets), a mapping with `input_ids` and maybe `labels`, or rows of tokens
    as in `audit_tokens`; tensors or arrays of shape (B, W). Targets must be the inputs moved by
    one. Targets equal to the inputs are labels that the model shifts, as Hugging Face's causal
    models do: then a row of W tokens has W - 1 targets.

    Args:
        loader: any iterable of batches; a DataLoader is iterated once for each epoch.
        ids: the text, integers of shape (N,).
        block_size: as in `audit_tokens`, for batches without targets.
        max_batches: batches to draw in each epoch; needed for a loader that never ends.
        epochs: passes to draw.

    Raises:
        ValueError: a batch is of another form, a pass is empty, or no row occurs in the text.
    """
    batches = read_batches(loader, block_size=block_size, max_batches=max_batches, epochs=epochs)
    log, findings = _locate(batches.parts, ids)
    if batches.wrong_targets:
        findings.append(judge.wrong_targets(batches.wrong_targets, batches.wrong_example))
    if batches.masked_targets:
        findings.append(judge.masked_targets(batches.masked_targets))
    return audit_draws(log, findings=findings)


def audit_draws(
    log: DrawLog, *, epoch_draws: int | None = None, findings: Sequence[Finding] = ()
) -> Audit:
    """Audit draws; `findings` made before come with its own.

    Raises:
        ValueError: `epoch_draws` does not fit the log.
    """
    windows = count.find_windows(log)
    window, block_size = windows.of_draw, int(log.length.max())
    n_starts = log.n_tokens - block_size
    rank = _dense(log.rank, len(log))
    epoch, epochs_from = _find_epochs(log, window, rank, epoch_draws)
    n_epochs = int(epoch.max()) + 1
    stream = _dense(rank * n_epochs + epoch, len(log))
    repeats = count.count_repeats(window, epoch)
    most = int((np.bincount(epoch) - repeats).max())
    returning = n_epochs > 1 and 2 * len(windows) <= 3 * most
    # Without epochs, a log that is longer than the text may hold several.
    is_epoch = epochs_from != "unknown" or 4 * int(log.length.sum()) < 5 * log.n_tokens
    replayed, replay = _find_replays(
        log, windows, stream, group=stream if returning else rank, is_epoch=is_epoch
    )
    identical = count.find_identical_epochs(window, epoch, rank)
    new = ~replayed & ~np.isin(epoch, [later for later, _ in identical])
    passes = pass_order.are_passes(
        log.start[new], window[new], _dense(stream[new], 0), n_starts, block_size
    )
    shown = count.count_missed(windows, log.n_tokens)
    overlap, shared = count.find_rank_overlap(window, epoch, rank)
    twice = count.count_shown_twice(log, epoch)
    fixed = pass_order.are_fixed(windows, n_starts)
    once = new & ~shared
    expected = None if passes and fixed else judge.expect_independent(log, windows, int(once.sum()))
    found = [
        *findings,
        *judge.judge_missed(shown, log, expected),
        *([] if passes else judge.judge_repeats(windows, expected, once)),
        *judge.judge_borders(shown),
        *judge.judge_identical(identical, log.start, stream),
        *judge.judge_replays(log, windows, replayed, replay),
    ]
    if passes and not is_epoch:
        found.append(judge.unknown_epochs(len(log)))
    if passes and is_epoch:
        found += judge.judge_twice(log, windows, epoch, twice, once=once)
    found += judge.judge_ranks(
        log, windows, rank, epoch, overlap, shared, passes=passes, is_epoch=is_epoch
    )
    return Audit(
        n_tokens=log.n_tokens,
        block_size=block_size,
        draws=len(log),
        epochs=n_epochs,
        epochs_from=epochs_from,
        passes=passes,
        missed_targets=shown.missed,
        repeated_windows=len(log) - len(windows),
        repeated_in_epoch=int(repeats.sum()),
        shown_twice=twice,
        identical_epochs=len(identical),
        lost_at_borders=shown.borders,
        replayed_draws=int(replayed.sum()),
        rank_overlap=overlap,
        expected=expected,
        findings=tuple(sorted(found, key=lambda finding: finding.severity)),
    )


def _find_epochs(
    log: DrawLog, window: Whole, rank: Whole, epoch_draws: int | None
) -> tuple[Whole, str]:
    """Return the epoch of each draw, from 0, and how it is known."""
    if log.epoch is not None:
        if epoch_draws is not None:
            raise ValueError("the log has a column epoch and epoch_draws is given: leave one out")
        return _dense(log.epoch, len(log)), "column"
    ranks = [np.flatnonzero(rank == r) for r in range(int(rank.max()) + 1)]
    epoch = np.zeros(len(log), dtype=np.int64)
    if epoch_draws is not None:
        each, rest = divmod(check_whole("epoch_draws", epoch_draws), len(ranks))
        if rest:
            raise ValueError(
                f"epoch_draws is {epoch_draws} over {len(ranks)} ranks: give the draws of all "
                "ranks together, a multiple of their number"
            )
        for draws in ranks:
            epoch[draws] = np.arange(len(draws)) // each
        return epoch, "epoch_draws"
    ordered = [pass_order.cut_ordered(window[draws]) for draws in ranks]
    cuts = [cut for cut in ordered if cut is not None]
    if len(cuts) == len(ranks):
        epoch[np.concatenate(ranks)] = np.concatenate(cuts)
        return epoch, "passes"
    found = []
    for streams in (ranks, [np.arange(len(log))]):
        sizes = [pass_order.find_pass(window[draws]) for draws in streams]
        mixed = len(streams) > 1 or len(np.unique(rank[: sizes[0]])) == len(ranks)
        if all(sizes) and mixed:
            epoch = np.zeros(len(log), dtype=np.int64)
            for draws, size in zip(streams, sizes, strict=True):
                epoch[draws] = np.arange(len(draws)) // (size or 1)
            found.append(epoch)
    if not found:
        return epoch, "unknown"
    # Ranks may keep their shard or be dealt a new one each epoch: passes of one, or of all.
    cut = min(found, key=lambda cut: count.find_rank_overlap(window, cut, rank)[0])
    if int(cut.max()) and not _is_first_pass(log, rank, cut == 0):
        return epoch * 0, "unknown"
    return cut, "passes"


def _is_first_pass(log: DrawLog, rank: Whole, first: Mask) -> bool:
    """Return whether the first epoch passes over the text: random draws may repeat none by chance.

    They return, all of them, where a restart makes them again.
    """
    windows, block_size = count.find_windows(log), int(log.length.max())
    n_starts = log.n_tokens - block_size
    return pass_order.are_blocks(windows, n_starts) or pass_order.are_passes(
        log.start[first], windows.of_draw[first], _dense(rank[first], 0), n_starts, block_size
    )


def _find_replays(
    log: DrawLog, windows: Windows, stream: Whole, *, group: Whole, is_epoch: bool
) -> tuple[Mask, tuple[int, int] | None]:
    """Find runs made before, within each group.

    Two draws make a run where the others pass over fixed windows, as those should not return in an
    epoch; otherwise as many as chance does not repeat.
    """
    window, block_size = windows.of_draw, int(log.length.max())
    n_starts = log.n_tokens - block_size
    if is_epoch and pass_order.count_grid(windows, n_starts)[1] > 1:
        found = count.find_replays(window, group, 2)
        new = ~found[0]
        rest = log.start[new], window[new], _dense(stream[new], 0)
        if found[1] is None or pass_order.are_passes(*rest, n_starts, block_size):
            return found
    return count.find_replays(window, group, count.chance_run(len(window), len(windows)))


def _locate(parts: Sequence[TokenRows], ids: Integers) -> tuple[DrawLog, list[Finding]]:
    """Return the draws that the rows are, and what is to be said of rows that are none."""
    sizes = [len(part.rows) for part in parts]
    widths = np.repeat([part.rows.shape[1] for part in parts], sizes)
    lengths = np.repeat(np.array([part.length for part in parts], dtype=np.int64), sizes)
    starts = np.empty(len(widths), dtype=np.int64)
    unsure = np.empty(len(widths), dtype=bool)
    for width in np.unique(widths):
        rows = np.concatenate([part.rows for part in parts if part.rows.shape[1] == width])
        match = match_rows(rows, ids)
        starts[widths == width], unsure[widths == width] = match.starts, match.ambiguous
    known = starts >= 0
    findings = []
    if not known.any():
        raise ValueError(
            f"none of the {len(starts)} rows occurs in the text: give the ids that the loader "
            "read, from the same tokenizer and with the same cleaning"
        )
    if not known.all():
        findings.append(judge.unmatched_rows(int((~known).sum()), int((~known).argmax())))
    if unsure.any():
        findings.append(judge.ambiguous_rows(int(unsure.sum()), int(unsure.argmax())))
    given = [part.epoch for part in parts if part.epoch is not None]
    epoch = np.repeat(np.array(given, dtype=np.int64), sizes)[known] if given else None
    return DrawLog(len(ids), starts[known], lengths[known], epoch=epoch), findings


def _dense(labels: Whole | None, size: int) -> Whole:
    """Return labels as 0, 1, …, in their order; all 0 where there are none."""
    if labels is None:
        return np.zeros(size, dtype=np.int64)
    return np.unique(labels, return_inverse=True)[1]
