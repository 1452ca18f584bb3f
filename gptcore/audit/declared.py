"""What a declared sampler does by design is a note, where the log agrees with the declaration.

A log alone cannot tell some designs from a mistake: one order for all epochs is what a loader does
that never gets a new seed. Legend as in `counts`: K draws, T inputs in the longest window.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from gptcore.audit.causes import are_uneven
from gptcore.audit.counts import expect_repeats
from gptcore.audit.facts import Facts
from gptcore.audit.finding import Finding
from gptcore.audit.labels import zeros
from gptcore.audit.passes import count_grid
from gptcore.audit.visits import equal_visits
from gptcore.sampling.samplers import SAMPLERS

BEYOND_SD = 6.0

Holds = Callable[[Facts], bool]


def judge_declared(
    findings: Sequence[Finding], facts: Facts, sampler: str | None
) -> Sequence[Finding]:
    """Return the findings, with notes in place of faults that are the design of the sampler."""
    designed = DESIGNS.get(sampler or "", {})
    return [
        replace(finding, severity="note", explanation=designed[finding.kind][1])
        if finding.severity == "fault"
        and finding.kind in designed
        and designed[finding.kind][0](facts)
        else finding
        for finding in findings
    ]


def check_sampler(sampler: str | None) -> None:
    """Refuse a sampler that is not known.

    Raises:
        ValueError: there is no sampler of this name.
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise ValueError(f"no sampler is called {sampler!r}: choose one of {', '.join(SAMPLERS)}")


def _is_one_order(facts: Facts) -> bool:
    """Return whether each rank goes through its windows in one order, again and again."""
    for rank in range(int(facts.rank.max()) + 1):
        window = facts.windows.of_draw[facts.rank == rank]
        size = len(np.unique(window))
        if not np.array_equal(window[size:], window[:-size]):
            return False
    return True


def _is_even(facts: Facts) -> bool:
    """Return whether the windows are visited no less evenly than by independent draws."""
    places = count_grid(facts.windows, facts.log.n_starts)[0]
    return places < 2 or not are_uneven(facts.windows.of_draw, places)


def _may_follow(facts: Facts) -> bool:
    """Return whether windows that are not shown may come later in a pool of several epochs.

    A pool shows as many windows as independent draws at least. Where all windows that are shown
    were shown equally often, the pool is empty.
    """
    places = count_grid(facts.windows, facts.log.n_starts)[0]
    mean, variance = expect_repeats(len(facts.log), places)
    fewest = len(facts.log) - float(mean) - BEYOND_SD * math.sqrt(float(variance)) - 1
    empty = (equal_visits(facts.windows.of_draw, zeros(len(facts.log))) or 1) > 1
    return len(facts.windows) >= fewest and not empty


def _is_remainder(facts: Facts) -> bool:
    """Return whether fewer targets are missed than a window holds."""
    return facts.at_best.missed - facts.at_best.borders < facts.log.block_size


def _are_guessed(facts: Facts) -> bool:
    """Return whether the log does not tell where its epochs end."""
    return facts.epochs_from not in ("column", "epoch_draws")


def _always(facts: Facts) -> bool:  # noqa: ARG001
    return True


ONE_ORDER = "One random order, the same in each epoch, is the design of {name}."
POOL = (
    "{name} shuffles several epochs together, so that a window may come twice before another one "
    "has come once."
)
REMAINDER = (
    "{name} cuts the text into whole windows, and the remainder, less than one window, is left out "
    "of an epoch: other tokens each time."
)
CUT_AGAIN = (
    "{name} cuts the text at new places in one order. Where an epoch happens to be cut at the "
    "places of an earlier one, it shows the same windows in the same order."
)
CUT_ALIKE = (
    "{name} cuts the text at new places in each epoch. Where two epochs are cut at the same "
    "places, their windows come more often than others. This log does not tell where epochs end: "
    "give --epoch-draws or a column epoch."
)

CUTS = {
    "missed_targets": (_is_remainder, REMAINDER),
    "missed_in_epoch": (_are_guessed, CUT_ALIKE),
    "shown_twice": (_are_guessed, CUT_ALIKE),
}

DESIGNS: dict[str, dict[str, tuple[Holds, str]]] = {
    name: {kind: (holds, told.format(name=name)) for kind, (holds, told) in kinds.items()}
    for name, kinds in {
        "shuffled_once": {
            "identical_epochs": (_is_one_order, ONE_ORDER),
            "replayed_draws": (_is_one_order, ONE_ORDER),
        },
        "shuffled_across_epochs": {
            "shown_twice": (_is_even, POOL),
            "missed_in_epoch": (_is_even, POOL),
            "missed_targets": (_may_follow, f"{POOL} What is missed may come later."),
        },
        "rechunked_documents": CUTS,
        "rechunked_once": {
            **CUTS,
            "identical_epochs": (_always, CUT_AGAIN),
            "replayed_draws": (_always, CUT_AGAIN),
        },
    }.items()
}
"""Sampler → kind of finding → whether the log agrees that it is by design, and why it is."""
