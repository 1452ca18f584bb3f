"""A look inside one case: a Perfetto/Chrome trace and its costliest operators.

A pass of its own, never while timing: the profiler slows small operators down. Open the file with
ui.perfetto.dev or chrome://tracing; the ranges called "phase: …" are the phases of the work.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile, record_function, supported_activities

from bench.ledger.plain_text import shorten
from gptcore.checks import check_whole
from gptcore.devices import synchronize
from gptcore.files import write_atomically

Mark = Callable[[str], None]
Row = dict[str, Any]

LARGEST = 15
PHASE = "phase: "
REST = "rest"
"""Name of the range after the last phase that a work marks."""
SUFFIX = ".json.gz"
NAME_LENGTH = 150


class Traceable(Protocol):
    """What can be traced: `bench.measuring.measure.Work`, say."""

    @property
    def call(self) -> Callable[[Mark], object]:
        """Does the work; calls `mark(name)` at the end of each phase."""

    @property
    def device(self) -> torch.device:
        """Where the work runs."""


class Event(Protocol):
    """What torch says of one operator, over all its calls; times in microseconds."""

    key: str
    count: int
    self_cpu_time_total: float
    device_type: Any
    is_user_annotation: bool | None

    @property
    def self_device_time_total(self) -> float:
        """Time on the accelerator in the operator's own kernels."""


def trace(work: Traceable, path: Path, calls: int = 1) -> list[Row]:
    """Run `work` once unobserved and `calls` times under the profiler; write a trace to `path`.

    The first call warms up and shows the names of the phases. The device is waited for at the end
    only, so that the trace shows how its work overlaps with the host's. Neither stacks nor shapes
    are recorded: they would make a step's trace ten times as large.

    Args:
        work: what to look into.
        path: of the trace, ending in ".json.gz" or ".json"; it appears whole or not at all.
        calls: under the profiler; one or two suffice, and the file grows with them.

    Returns:
        Rows of the series "top_operators", see `top_operators`.

    Raises:
        ValueError: `path` has another ending or cannot be written, `calls` is below 1, or the
            phases of two calls differ.
    """
    if not path.name.endswith((SUFFIX, ".json")):
        raise ValueError(f"trace {path.name!r} must end in {SUFFIX} or .json")
    check_whole("calls", calls)
    names: list[str] = []
    work.call(names.append)
    synchronize(work.device)
    activities = _activities(work.device)
    with profile(activities=activities) as profiler:
        for _ in range(calls):
            _call_in_phases(work, names)
        synchronize(work.device)
    _export(profiler, path)
    return top_operators(profiler.key_averages(), calls, on_device=len(activities) > 1)


def trace_name(case_id: str) -> str:
    """Return the file name of a case's trace: safe on every system, unique, at most 150 characters.

    Letters, digits and `._+=-` are kept; a hash of the whole id keeps two ids apart.
    """
    tail = f"-{hashlib.sha256(case_id.encode()).hexdigest()[:10]}{SUFFIX}"
    words = re.sub(r"[^A-Za-z0-9._+=-]+", "_", case_id).strip("._") or "case"
    return words[: NAME_LENGTH - len(tail)] + tail


def top_operators(events: Iterable[Event], calls: int, *, on_device: bool) -> list[Row]:
    """Return the operators with the largest self time, largest first, LARGEST at most.

    Self time is time in an operator less the operators that it calls; on an accelerator it is the
    time of the kernels that it starts. Python between the operators is in none of them.

    Args:
        events: averages by operator, as `profiler.key_averages()`.
        calls: of the work that they are sums of.
        on_device: whether to count the accelerator's time in place of the CPU's.

    Returns:
        operator, calls (over the whole pass), self_time_s (for one call of the work), share (of the
        self time of all operators).
    """
    times = [
        (event, event.self_device_time_total if on_device else event.self_cpu_time_total)
        for event in events
        # Ranges are no operators, and kernels are counted with the operators that start them.
        if event.device_type.name == "CPU"
        and not event.is_user_annotation
        and not event.key.startswith(PHASE)
    ]
    total = sum(time_us for _, time_us in times)
    times = sorted((t for t in times if t[1] > 0), key=lambda t: -t[1])
    return [
        {
            "operator": event.key,
            "calls": event.count,
            "self_time_s": time_us / 1e6 / calls,
            "share": time_us / total,
        }
        for event, time_us in times[:LARGEST]
    ]


def _activities(device: torch.device) -> list[ProfilerActivity]:
    """Return CPU and, where torch can observe it, the device's own activity."""
    own: ProfilerActivity | None = getattr(ProfilerActivity, device.type.upper(), None)
    observable: set[ProfilerActivity] = supported_activities()  # type: ignore[no-untyped-call]
    if own is None or own == ProfilerActivity.CPU or own not in observable:
        return [ProfilerActivity.CPU]
    return [ProfilerActivity.CPU, own]


def _call_in_phases(work: Traceable, names: list[str]) -> None:
    """Call once; each phase becomes a range, named after the phases that a call is known to have.

    `mark` names a phase when it ends, and a range needs its name when it begins.
    """
    coming = iter([*names, REST])
    seen: list[str] = []

    def mark(name: str) -> None:
        seen.append(name)
        if seen != names[: len(seen)]:
            raise ValueError(
                f"phase {name!r} came where an earlier call had other phases "
                f"({', '.join(names)[:100]}): a work must mark the same phases in every call"
            )
        phase.close()
        phase.enter_context(record_function(PHASE + next(coming)))

    with ExitStack() as phase:
        phase.enter_context(record_function(PHASE + next(coming)))
        work.call(mark)


def _export(profiler: profile, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            profiler.export_chrome_trace(str(partial))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or shorten(str(error), 150)
        raise ValueError(
            f"cannot write the trace {path.name}: {reason}; give another folder"
        ) from None
