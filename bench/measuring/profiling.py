"""A profile of one case: a trace for Perfetto or Chrome, and the operators that take most time.

The profile is taken in extra calls after the timing, because the profiler slows small operators
down. Open the file with ui.perfetto.dev or chrome://tracing; the ranges called "phase: …" are the
phases of the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile, record_function, supported_activities

from bench.measuring.work import Work
from gptcore.checks import check_whole
from gptcore.devices import synchronize
from gptcore.files import write_atomically
from gptcore.plain_text import shorten

Row = dict[str, Any]

LARGEST = 15
PHASE = "phase: "
REST = "rest"
"""Name of the range after the last phase of a call."""
SUFFIX = ".json.gz"


class Event(Protocol):
    """What torch reports for one operator, summed over all its calls; times are in microseconds."""

    key: str
    count: int
    self_cpu_time_total: float
    device_type: Any
    is_user_annotation: bool | None

    @property
    def self_device_time_total(self) -> float:
        """Return the time of the operator's own kernels on the accelerator."""


def trace(work: Work, path: Path, calls: int = 1) -> list[Row]:
    """Run `work` once without the profiler and `calls` times under it; write a trace to `path`.

    The first call warms up and yields the names of the phases. The profiled calls wait for the
    device only at the end, so that the trace shows how its work overlaps with the host's. Stacks
    and shapes are not recorded: they would make the trace of a step ten times as large.

    Args:
        work: the piece of work to profile.
        path: file of the trace, ending in ".json.gz" or ".json"; it is written atomically.
        calls: number of profiled calls; one or two suffice, and the file grows with them.

    Returns:
        Rows of the series "top_operators", as `top_operators` returns them.

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


def top_operators(events: Iterable[Event], calls: int, *, on_device: bool) -> list[Row]:
    """Return at most LARGEST operators with the largest self time, the largest first.

    Self time is the time in an operator without the operators that it calls; on an accelerator it
    is the time of the kernels that it starts. Time spent in Python belongs to no operator.

    Args:
        events: sums by operator, from `profiler.key_averages()`.
        calls: number of calls of the work that the sums are over.
        on_device: whether to use the accelerator's time instead of the CPU's.

    Returns:
        One row for each operator: operator, calls (over all profiled calls of the work),
        self_time_s (in one call of the work), share (of the self time of all operators).
    """
    times = [
        (event, event.self_device_time_total if on_device else event.self_cpu_time_total)
        for event in events
        # Ranges are not operators; kernels count for the operators that start them.
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
    """Return the activity of the CPU and, where torch can observe it, that of the device."""
    own: ProfilerActivity | None = getattr(ProfilerActivity, device.type.upper(), None)
    observable: set[ProfilerActivity] = supported_activities()  # type: ignore[no-untyped-call]
    if own is None or own == ProfilerActivity.CPU or own not in observable:
        return [ProfilerActivity.CPU]
    return [ProfilerActivity.CPU, own]


def _call_in_phases(work: Work, names: list[str]) -> None:
    """Call `work` once, with each of its phases as a range of the trace.

    A range needs its name when it begins, but `end_phase` gives the name when the phase ends. So
    the names come from an earlier call.
    """
    coming = iter([*names, REST])
    seen: list[str] = []

    def end_phase(name: str) -> None:
        seen.append(name)
        if seen != names[: len(seen)]:
            raise ValueError(
                f"phase {name!r} ended where an earlier call had the phases "
                f"{', '.join(names)[:100]}: a work must have the same phases in every call"
            )
        phase.close()
        phase.enter_context(record_function(PHASE + next(coming)))

    with ExitStack() as phase:
        phase.enter_context(record_function(PHASE + next(coming)))
        work.call(end_phase)


def _export(profiler: profile, path: Path) -> None:
    try:
        with write_atomically(path) as partial:
            profiler.export_chrome_trace(str(partial))
    except RuntimeError as error:
        reason = shorten(str(error), 150)
        raise ValueError(
            f"cannot write the trace {path.name}: {reason}; give another folder"
        ) from None
