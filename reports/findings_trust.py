"""Records → what they say on memory, on the roofline, and on how far times can be believed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.ledger import plain_text
from bench.ledger.schema import PHASE_PEAKS
from reports import words
from reports.finding import Finding
from reports.load import Run, stability

UNSTEADY = {"noisy", "drifting"}
CEILING_CHANGE = 0.05
FLOPS_APART = 0.02
AS_GOOD_AS_PEAK = 0.999


def find(run: Run) -> list[Finding]:
    """Return all findings on memory, roofline, ceilings and pairs."""
    models = run.cases("model")
    return [
        *memory_peak(models),
        *roofline(models),
        *flops_apart(models),
        *ceilings_changed(run),
        *self_comparison(run),
        *changes(run),
    ]


def with_cautions(run: Run, found: list[Finding]) -> list[Finding]:
    """Return the findings; those that rest on a noisy or drifting case say so."""
    cautions = {}
    for record in run.finished:
        verdict, reasons = stability(record).get("verdict"), stability(record).get("reasons")
        if verdict in UNSTEADY:
            first = ""
            if isinstance(reasons, list) and reasons:
                first = f": {record.shorten(str(reasons[0]), 200)}"
            cautions[record["case"]] = f"was {verdict}{first}"
    return [
        replace(finding, detail=f"{finding.detail} Caution: {'; '.join(warned)}.")
        if (warned := _warned(finding, cautions))
        else finding
        for finding in found
    ]


def _warned(finding: Finding, cautions: dict[str, str]) -> list[str]:
    which = [case for case in finding.evidence if case in cautions]
    if len(finding.evidence) == 1:
        return [f"this case {cautions[case]}" for case in which]
    n = {case: i for i, case in enumerate(finding.evidence, start=1)}
    return [f"case {n[case]} of its evidence {cautions[case]}" for case in which]


# --- memory and roofline --------------------------------------------------------------------


def _largest(models: pd.DataFrame, work: str, column: str) -> pd.DataFrame:
    """Return the case of the largest model that has `column`, fp32 before others."""
    frame = models[models["work"].eq(work) & models[column].gt(0)]
    order = frame.assign(other=frame["precision"].ne("fp32"))
    return order.sort_values(["n_params", "other"], ascending=[False, True], kind="stable").head(1)


def memory_peak(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how much memory a step of the largest model takes, and in which phase."""
    for _, case in _largest(models, "step", "peak_bytes").iterrows():
        phases = case[list(PHASE_PEAKS)].dropna().astype(float)
        highest = [
            PHASE_PEAKS[str(name)] for name in phases[phases >= 0.99 * case["peak_bytes"]].index
        ]
        where = f", in {' and '.join(highest)}" if highest else ""
        each = "; ".join(f"{PHASE_PEAKS[str(k)]} {words.size(v)}" for k, v in phases.items())
        tokens = case["batch_size"] * case["block_size"] if _sized(case) else math.nan
        yield Finding(
            66,
            "memory",
            "",
            f"A training step of {words.model(case['model'])} peaks at "
            f"{words.size(case['peak_bytes'])} above the {words.size(case['base_bytes'])} held "
            f"before it{where}",
            f"{words.conditions(case)}: {words.size(case['peak_bytes'] / tokens)} a token of the "
            f"batch.{f' Peak by phase: {each}.' if each else ''} Read apart from the timing, in "
            "a call after two others.",
            (case["case"],),
        )


def _sized(case: pd.Series) -> bool:
    sizes = (case["batch_size"], case["block_size"])
    return all(isinstance(size, (int, float)) and size > 0 for size in sizes)


def bound(case: pd.Series) -> str:
    """Return what limits a case by its place on the roofline: "arithmetic", "memory", or ""."""
    if pd.isna(case["attainable_flops_per_s"]) or not case["mfu"] > 0:
        return ""
    peak = case["flops_per_s"] / case["mfu"]
    return "arithmetic" if case["attainable_flops_per_s"] >= AS_GOOD_AS_PEAK * peak else "memory"


def roofline(models: pd.DataFrame) -> Iterator[Finding]:
    """Say whether the largest step is limited by arithmetic or by memory traffic."""
    for _, case in _largest(models, "step", "attainable_flops_per_s").iterrows():
        limit = bound(case)
        if not limit:
            continue
        kind = {"arithmetic": "compute-bound", "memory": "memory-bound"}[limit]
        share = words.percent(case["flops_per_s"] / case["attainable_flops_per_s"])
        yield Finding(
            54,
            "speed",
            "",
            f"A training step of {words.model(case['model'])} is {kind} by the roofline, and "
            f"reaches {share} of what it allows",
            f"{words.conditions(case)}: {words.number(case['intensity'])} FLOP for each byte that "
            f"must move, so at most {words.si(case['attainable_flops_per_s'], 'FLOP/s')}; measured "
            f"{words.si(case['flops_per_s'], 'FLOP/s')}. Bytes are the least possible, by formula: "
            "a real step moves more, so it may be nearer to memory-bound than this says.",
            (case["case"],),
        )


def flops_gap(models: pd.DataFrame) -> pd.Series[float]:
    """Return, case by case, how far FLOPs by formula and by torch's counter lie apart."""
    both = models[models["flops"].gt(0) & models["flops_counted"].notna()]
    return (both["flops_counted"] / both["flops"] - 1).abs()


def flops_apart(models: pd.DataFrame) -> Iterator[Finding]:
    """Warn where formula and counter disagree."""
    gap = flops_gap(models)
    if gap.empty or gap.max() <= FLOPS_APART:
        return
    case = models.loc[gap.index].iloc[int(gap.argmax())]
    yield Finding(
        82,
        "speed",
        "",
        f"FLOPs by formula and as counted lie {words.percent(gap.max())} apart",
        f"{words.conditions(case)}, {words.work(case['work'])}: {words.si(case['flops'], 'FLOP')} "
        f"by formula, {words.si(case['flops_counted'], 'FLOP')} by torch's counter. Shares of peak "
        "are wrong by as much until it is known which one is.",
        (case["case"],),
    )


# --- ceilings -------------------------------------------------------------------------------


def _by_device(facts: Any) -> dict[tuple[str, str], float]:
    """Return (device, ceiling) → value of a fact that holds an object for each device."""
    devices = facts.items() if isinstance(facts, dict) else ()
    return {
        (str(device), str(name)): float(value)
        for device, found in devices
        if isinstance(found, dict)
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    }


def ceilings(run: Run) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Return (device, ceiling) → value, as measured at the start and at the end."""
    start = _by_device(run.fact("ceilings"))
    if not start and run.environment:  # before the facts had them: of the first device
        known = ("gemm_fp32_flops_per_s", "gemm_bf16_flops_per_s", "copy_bytes_per_s")
        metrics = run.environment["metrics"]
        start = _by_device({"": {name: metrics.get(name) for name in known}})
    return start, _by_device(run.fact("end", "ceilings"))


def ceilings_changed(run: Run) -> Iterator[Finding]:
    """Warn where the machine itself could do less or more at the end than at the start."""
    start, end = ceilings(run)
    changed = {key: end[key] / start[key] - 1 for key in start if key in end}
    if not changed or max(map(abs, changed.values())) <= CEILING_CHANGE:
        return
    worst = max(changed, key=lambda key: abs(changed[key]))
    each = "; ".join(
        f"{words.ceiling(*key)} {words.signed_percent(value)}" for key, value in changed.items()
    )
    yield Finding(
        84,
        "machine",
        "",
        f"The machine's ceilings changed by up to {words.percent(abs(changed[worst]))} during the "
        "run",
        f"From start to end: {plain_text.shorten(each, 400)}. Shares of peak, taken of those at the "
        "start, are uncertain by that much; other load or a falling clock is the usual reason.",
    )


# --- pairs ----------------------------------------------------------------------------------


def pairs(run: Run) -> pd.DataFrame:
    """Return the interleaved pairs, with columns `base`, `changed` and `is_self`."""
    frame = run.cases("pair")
    params = {r["case"]: r["params"] for r in run.finished if r["group"] == "pair"}
    given = [params[case].get("change") for case in frame["case"]]
    alone = [change in (None, "") for change in given]
    return frame.assign(
        base=[params[case].get("base") for case in frame["case"]],
        changed=pd.Series([words.change(c) for c in given], dtype=object),
        is_self=pd.Series(alone, dtype=bool) | frame["trials"].gt(0),
        precision_changed=pd.Series([str(c).startswith("precision=") for c in given], dtype=bool),
    )


def compares_precisions(run: Run) -> bool:
    """Return whether an interleaved pair says what another precision does."""
    frame = pairs(run)
    return bool((frame["precision_changed"] & frame["ratio"].notna()).any())


def self_comparison(run: Run) -> Iterator[Finding]:
    """Say how often one thing was called slower or faster than itself."""
    frame = pairs(run)
    known = frame[frame["trials"].gt(0) & frame["false_alarms"].notna()]
    for _, case in known.iterrows():
        n, alarms = int(case["trials"]), int(case["false_alarms"])
        often = case["false_alarm_rate"] > 0.05
        high = case["false_alarm_high"]
        limit = "" if pd.isna(high) else f" (upper 95 % limit {words.percent(high)})"
        cover = case["missed_cover"]
        missed = "" if pd.isna(cover) else f" {int(cover)} of {n} intervals leave out 1."
        yield Finding(
            86 if often else 52,
            "trust",
            "",
            f"{alarms} of {words.count(n, 'comparison')} of one thing with itself "
            f"{'was' if alarms == 1 else 'were'} called slower or faster{limit}",
            f"{words.sentence(words.subject(case['base']))} {words.base_conditions(case['base'])}; "
            f"interleaved, {_margin(case)}.{missed}"
            + (" A verdict of slower or faster here may be noise." if often else ""),
            (case["case"],),
        )


def _margin(case: pd.Series) -> str:
    if pd.isna(case["margin_ratio"]):
        return "margin not recorded"
    return f"margin {words.percent(case['margin_ratio'])}"


def changes(run: Run) -> Iterator[Finding]:
    """Say of each interleaved pair what its change does to the time."""
    frame = pairs(run)
    for _, case in frame[~frame["is_self"] & frame["ratio"].gt(0)].iterrows():
        count = "" if pd.isna(case["pairs"]) else f" of {words.count(int(case['pairs']), 'pair')}"
        ends = words.MISSING
        if pd.notna(case["ratio_low"]) and pd.notna(case["ratio_high"]):
            ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
        yield Finding(
            75 if case["precision_changed"] else 51,
            "speed",
            "",
            _claim(case),
            f"Ratio of the times {words.ratio(case['ratio'])}, 95 % interval {ends}: "
            f"{words.si(case['b_time_s'], 's')} against {words.si(case['a_time_s'], 's')}, medians"
            f"{count} timed in turns; {_margin(case)}. "
            f"Conditions: {words.base_conditions(case['base']) or 'not recorded'}.",
            (case["case"],),
        )


def _claim(case: pd.Series) -> str:
    what = words.subject(case["base"])
    what, how = what[:1].upper() + what[1:], case["changed"]
    factor = words.number(max(case["ratio"], 1 / case["ratio"]))
    return {
        "slower": f"{what} is {factor} times slower {how}",
        "faster": f"{what} is {factor} times faster {how}",
        "same": f"{what} takes the same time {how}, within the margin",
        "ambiguous": f"{what} {how}: neither a difference nor equality is shown",
    }.get(str(case["verdict"]), f"{what} {how} took {words.ratio(case['ratio'])} of the time")
