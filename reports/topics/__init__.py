"""The topics of the report: each is one module, or a folder where it is longer than 300 lines.

A new topic is one module with `find` and `section`, and one line in TOPICS. A ledger may hold
values that no topic expects, so `findings_of` and `sections_of` call the topics one by one: what
cannot be made says so in its place, and the other topics stand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from gptcore import plain_text
from reports.blocks import Finding, Plotter, Section
from reports.load import Run
from reports.topics import (
    batches,
    convergence,
    convex,
    cost,
    devices,
    environment,
    experiments,
    generated_text,
    loaders,
    memory,
    own_model,
    peers,
    position,
    reuse,
    run,
    sampling,
    scaling,
    speed,
    trust,
    visits,
)


class Topic(Protocol):
    """What every topic has: two pure functions of a run."""

    __name__: str

    def find(self, run: Run) -> Iterable[Finding]:
        """Return what the run says on the topic: one finding for each claim, in any order."""

    def section(self, run: Run, plot: Plotter) -> list[Section]:
        """Return the topic's sections of the page: none where the run did not ask for it."""


TOPICS: tuple[Topic, ...] = (
    own_model,
    speed,
    devices,
    cost,
    batches,
    memory,
    sampling,
    loaders,
    convergence,
    experiments,
    visits,
    position,
    generated_text,
    convex,
    peers,
    scaling,
    reuse,
    trust,
    run,
    environment,
)
"""In the order of the page. Findings of equal importance keep this order, too."""

T = TypeVar("T")


def findings_of(run: Run) -> list[Finding]:
    """Return what every topic says of the run; a topic that cannot be worked out says so."""
    return [
        replace(finding, module=topic.__name__)
        for topic in TOPICS
        for finding in attempt(partial(topic.find, run), _lost_finding(topic))
    ]


def sections_of(run: Run, plot: Plotter) -> list[Section]:
    """Return all sections of a run, in the order of the page; one that cannot be made says so."""
    sections: list[Section] = []
    for topic in TOPICS:
        plot.begin()
        made = attempt(partial(topic.section, run, plot), _lost_section(topic))
        sections += [replace(plot.fit(section), module=topic.__name__) for section in made]
    return sections


def attempt(make: Callable[[], Iterable[T]], lost: Callable[[str], T] | None = None) -> list[T]:
    """Return what `make` yields; after an error the one item that `lost` makes of its reason.

    Values of any size are legal in a ledger, so sums may overflow and axes may be degenerate: the
    warnings of numpy and Matplotlib on that are no news to the reader of a page.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            return list(make())
        except Exception as error:  # any, because this is the border that errors shall not cross
            if lost is None:
                return []
            reason = plain_text.shorten(f"{type(error).__name__}: {error}", 200)
            return [lost(f"The ledger holds values that it cannot be made of ({reason}).")]


def _name(topic: Topic) -> str:
    return topic.__name__.rpartition(".")[2].replace("_", " ")


def _lost_finding(topic: Topic) -> Callable[[str], Finding]:
    headline = f"What the run says on {_name(topic)} could not be worked out"
    return lambda reason: Finding(57, "run", "", headline, reason)


def _lost_section(topic: Topic) -> Callable[[str], Section]:
    name = _name(topic).capitalize()
    missing = "This section could not be made."
    return lambda reason: Section(
        _name(topic).replace(" ", "-"), name, name, "", missing=f"{missing} {reason}"
    )
