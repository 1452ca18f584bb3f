"""What somebody's own loader showed the model: an audit of its log, its batches, or itself.

Legend: N tokens, K draws, T inputs in the longest window. A draw shows the inputs start, …,
start + length - 1 and the targets start + 1, …, start + length. Counts are exact. A finding is
raised only for what chance does not explain. `docs/auditing.md` has worked examples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.audit.declared import check_sampler, judge_declared
from gptcore.audit.facts import count_facts
from gptcore.audit.finding import Finding
from gptcore.audit.findings import judge
from gptcore.audit.live import Batches, TokenRows, check_length, read_batches
from gptcore.audit.log import DrawLog, Whole, read_log
from gptcore.audit.places import Places, find_places
from gptcore.audit.rows import (
    join_documents,
    judge_masked,
    judge_places,
    nothing_found,
    tell_runs,
    wrong_targets,
)
from gptcore.checks import as_array

Integers = npt.NDArray[np.integer]
Text = Integers | Sequence[Integers]


@dataclass(frozen=True)
class Audit:
    """What a log shows.

    Attributes:
        n_tokens: N.
        block_size: T.
        draws: K.
        epochs: passes in the log; 1 where they are not known.
        epochs_from: how the epochs are known: "column", which `audit` fills with the passes that it
            made; "epoch_draws"; "passes", where the log repeats whole passes; "repeats", where an
            epoch ends before the first window that comes again; or "unknown", where the log counts
            as one epoch.
        passes: whether ranks pass over the text rather than draw independently.
        missed_targets: of the targets 1, …, N - 1, those in no window of the log.
        missed_at_least: the same, where rows whose tokens the text holds several times count at all
            of their places.
        missed_at_most: the same, where such rows are left out.
        repeated_windows: draws minus distinct windows, over the whole log.
        repeated_in_epoch: draws minus distinct windows in each epoch, summed over epochs.
        shown_twice: targets in two or more windows of one epoch, summed over epochs.
        missed_in_epoch: windows that the log shows and an epoch does not, summed over all epochs
            but the last; None where windows or epochs are not known.
        identical_epochs: epochs of two or more draws that equal an earlier epoch in order.
        lost_at_borders: targets that are never shown because neighbouring windows leave out the
            same few tokens every time.
        replayed_draws: draws in a run that the same rank made before, where the run is longer than
            chance explains. Where epochs return to the same windows, only runs within one epoch
            count.
        rank_overlap: windows shown by two or more ranks in one epoch, summed over epochs.
        expected: `missed_targets` and `repeated_windows` of as many independent draws, with their
            standard deviations `sd_…`. Replays, identical epochs and draws that ranks share do not
            count as draws here. Each value is None where theory has none, and `expected` is None
            for passes over fixed windows.
        findings: what deserves attention, faults first.
    """

    n_tokens: int
    block_size: int
    draws: int
    epochs: int
    epochs_from: str
    passes: bool
    missed_targets: int
    missed_at_least: int
    missed_at_most: int
    repeated_windows: int
    repeated_in_epoch: int
    shown_twice: int
    missed_in_epoch: int | None
    identical_epochs: int
    lost_at_borders: int
    replayed_draws: int
    rank_overlap: int
    expected: dict[str, float | None] | None
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return vars(self) | {"findings": [dict(vars(finding)) for finding in self.findings]}


def audit(
    loader: Iterable[Any],
    ids: Text,
    *,
    block_size: int | None = None,
    max_batches: int | None = None,
    epochs: int = 1,
    epoch_draws: int | None = None,
    sampler: str | None = None,
) -> Audit:
    """Audit a live loader by drawing its batches; no model is needed.

    A batch is a tuple (inputs, targets) or (inputs, targets, mask), a mapping with `input_ids` and
    optionally `labels` (`live.FIELDS` lists other names), or rows of tokens as in `audit_tokens`.
    Inputs and targets are tensors, arrays or lists of shape (B, W) or (W,). Targets must be the
    inputs moved by one token; in packed rows they may end with each document. Targets equal to the
    inputs are labels that the model itself shifts, as Hugging Face's causal models do; a row of W
    tokens then has W - 1 targets. Targets below 0 give no loss.

    Args:
        loader: any iterable of batches; a DataLoader is iterated once for each epoch. A loader that
            is iterated once, to its end, has made one epoch.
        ids: the text, integers of shape (N,), or a list of documents of such integers.
        block_size: as in `audit_tokens`, for batches without targets.
        max_batches: batches to draw in each epoch; needed for a loader that never ends.
        epochs: passes to draw.
        epoch_draws: draws in an epoch, where one pass over the loader holds several epochs.
        sampler: a name in `SAMPLERS`, if the loader is meant to draw as this one does: what it does
            by design is then a note.

    Raises:
        ValueError: a batch has another format, a pass is empty, or no row occurs in the text.
    """
    batches = read_batches(loader, block_size=block_size, max_batches=max_batches, epochs=epochs)
    if epoch_draws is not None and epochs > 1:
        raise ValueError("epochs and epoch_draws are given: leave one out")
    return audit_batches(batches, ids, epoch_draws=epoch_draws, sampler=sampler)


def audit_batches(
    batches: Batches, ids: Text, *, epoch_draws: int | None = None, sampler: str | None = None
) -> Audit:
    """Audit batches that are drawn already; arguments and errors as in `audit`."""
    is_epoch = batches.is_whole and epoch_draws is None
    log, places, documents = _locate(batches.parts, ids, is_epoch=is_epoch)
    log = replace(log, is_whole=is_epoch, is_cut=batches.is_cut)
    for i, wrong in places.wrong.items():
        batches.add_wrong(batches.parts[i].name, wrong)
    findings = judge_places(places, join_documents(ids)[0], documents)
    if batches.wrong_targets:
        findings.append(wrong_targets(batches.wrong_targets, batches.wrong_example))
    if batches.masked.count:
        findings.append(judge_masked(batches.masked, batches.parts, join_documents(ids)[0]))
    return _audit(log, epoch_draws, findings, places.unplaced, sampler)


def audit_log(
    path: str | Path,
    *,
    n_tokens: int,
    block_size: int | None = None,
    epoch_draws: int | None = None,
    sampler: str | None = None,
) -> Audit:
    """Audit a log in CSV or JSON lines, as `read_log` reads it.

    Args:
        path: the log.
        n_tokens: N.
        block_size: T; longer windows are refused, and it stands in for a missing `length`.
        epoch_draws: draws in an epoch over all ranks, where the log has no `epoch`.
        sampler: as in `audit`.

    Raises:
        ValueError: the log is malformed (the message names the line), or an argument does not fit.
    """
    log = read_log(path, n_tokens=n_tokens, block_size=block_size)
    return audit_draws(log, epoch_draws=epoch_draws, sampler=sampler)


def audit_tokens(
    rows: Integers,
    ids: Text,
    *,
    block_size: int | None = None,
    epoch_draws: int | None = None,
    sampler: str | None = None,
) -> Audit:
    """Audit rows of tokens, each of which is looked up in the text.

    A row of W tokens holds W - 1 targets: T + 1 tokens are one window of T inputs. If `block_size`
    equals W, the rows are inputs alone, whose targets lie one token to the right.

    Args:
        rows: integers of shape (K, W), or (batches, B, W), in the order drawn.
        ids: as in `audit`.
        block_size: T, either W - 1 or W; None means W - 1.
        epoch_draws: draws in an epoch, if known.
        sampler: as in `audit`.

    Raises:
        ValueError: shapes or `block_size` do not fit, or no row occurs in the text.
    """
    rows = as_array("rows", rows)
    if rows.ndim not in (2, 3) or rows.size == 0:
        raise ValueError(f"rows have shape {rows.shape}: give (K, W) or (batches, B, W), not empty")
    rows = rows.reshape(-1, rows.shape[-1])
    width = rows.shape[1]
    length = check_length(width - 1 if block_size is None else block_size, width)
    log, places, documents = _locate([TokenRows(rows, length)], ids)
    findings = judge_places(places, join_documents(ids)[0], documents)
    return _audit(log, epoch_draws, findings, places.unplaced, sampler)


def audit_draws(
    log: DrawLog,
    *,
    epoch_draws: int | None = None,
    findings: Sequence[Finding] = (),
    sampler: str | None = None,
) -> Audit:
    """Audit draws whose places in the text are known.

    Args:
        log: the draws.
        epoch_draws: draws in an epoch over all ranks, where the log has no `epoch`.
        findings: findings made before, which are added to those of the audit.
        sampler: as in `audit`.

    Raises:
        ValueError: `epoch_draws` does not fit the log.
    """
    return _audit(log, epoch_draws, findings, sampler=sampler)


def locate(
    loader: Iterable[Any],
    ids: Text,
    *,
    block_size: int | None = None,
    max_batches: int | None = None,
) -> npt.NDArray[np.void]:
    """Return where the rows of a loader come from, run by run.

    A row that holds pieces of several documents has several runs. Rows that are not in the text
    have none.

    Args:
        loader: as in `audit`.
        ids: as in `audit`. In one array, each token with which all packed rows begin is taken for
            the beginning of a document.
        block_size: as in `audit_tokens`.
        max_batches: as in `audit`.

    Returns:
        A structured array with the fields `row`, `document`, `offset`, `length`: for each run, its
        row, its document, its first token in the document, and its tokens.
    """
    batches = read_batches(loader, block_size=block_size, max_batches=max_batches, epochs=1)
    text, documents = join_documents(ids)
    return tell_runs(find_places(batches.parts, text, documents), text, documents)


def _locate(
    parts: Sequence[TokenRows], ids: Text, *, is_epoch: bool = False
) -> tuple[DrawLog, Places, Whole]:
    """Return the draws that the rows are, their places, and the text.

    Raises:
        ValueError: no row occurs in the text.
    """
    text, documents = join_documents(ids)
    places = find_places(parts, text, documents)
    if not len(places.row):
        raise ValueError(nothing_found(parts, text))
    start = places.start - places.first
    length = places.length - 1 + places.first + places.beyond
    shows = length > 0
    epoch = None
    given = [part.epoch for part in parts if part.epoch is not None]
    if given or is_epoch:
        sizes = [len(part.rows) for part in parts]
        of_row = np.repeat(np.array(given or [0] * len(parts), dtype=np.int64), sizes)
        epoch = of_row[places.row][shows]
    unsure = places.unsure[shows]
    log = DrawLog(
        len(text), start[shows], length[shows], epoch=epoch,
        unsure=unsure if unsure.any() else None, possible=places.possible,
    )  # fmt: skip
    return log, places, documents


def _audit(
    log: DrawLog,
    epoch_draws: int | None,
    findings: Sequence[Finding],
    unplaced: int = 0,
    sampler: str | None = None,
) -> Audit:
    """Audit draws; `unplaced` tokens of packed rows are in no draw."""
    check_sampler(sampler)
    facts = count_facts(log, epoch_draws)
    return Audit(
        n_tokens=log.n_tokens,
        block_size=log.block_size,
        draws=len(log),
        epochs=facts.n_epochs,
        epochs_from=facts.epochs_from,
        passes=facts.passes,
        missed_targets=facts.shown.missed,
        missed_at_least=facts.at_best.missed,
        missed_at_most=facts.missed_at_most,
        repeated_windows=len(log) - len(facts.windows),
        repeated_in_epoch=facts.repeated_in_epoch,
        shown_twice=facts.shown_twice,
        missed_in_epoch=facts.missed_in_epoch,
        identical_epochs=len(facts.identical),
        lost_at_borders=facts.shown.borders,
        replayed_draws=int(facts.replayed.sum()),
        rank_overlap=facts.rank_overlap,
        expected=facts.expected,
        findings=tuple(
            sorted(
                [*findings, *judge_declared(judge(facts, unplaced), facts, sampler)],
                key=lambda each: each.severity,
            )
        ),
    )
