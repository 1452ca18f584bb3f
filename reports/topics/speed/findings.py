"""How fast the models ran, and what bounds them, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.ledger.schema import PHASE_TIMES
from gptcore import plain_text
from reports import words
from reports.blocks import Finding
from reports.load import Run, largest, over


def find(run: Run) -> list[Finding]:
    """Return the findings on timings, the roofline and the ceilings."""
    models = run.cases("model")
    return [
        *step_speed(models),
        *forward_speed(models),
        *([] if _precisions_interleaved(run) else precision_ratios(models)),
        *phase_shares(models),
        *roofline(models),
        *flops_apart(models),
        *ceilings_changed(run),
    ]


def _precisions_interleaved(run: Run) -> bool:
    """Return whether an interleaved pair compares precisions: its ratio is the better known."""
    return any(
        record["group"] == "pair"
        and str(record["params"].get("change")).startswith("precision=")
        and record["metrics"].get("ratio") is not None
        for record in run.finished
    )


def _timed(models: pd.DataFrame, work: str) -> pd.DataFrame:
    """Return the timings of one kind of work, the largest model first and fp32 before others."""
    frame = models[(models["work"] == work) & models["time_s"].gt(0)]
    order = frame.assign(other=frame["precision"].ne("fp32"))
    return order.sort_values(["n_params", "other"], ascending=[False, True], kind="stable")


def step_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how fast the largest model trains, and how far that is from the machine's peak."""
    for _, case in _timed(models, "step").head(1).iterrows():
        speed = f"{words.number(case['tokens_per_s'])} tokens/s"
        share, name = case["mfu"], words.model(case["model"])
        of_peak = (
            "" if pd.isna(share) else f", {words.percent(share)} of this machine's measured peak"
        )
        took = f"{words.si(case['time_s'], 's')} a step"
        yield Finding(
            100,
            "speed",
            f"{name} trains at {speed} in {case['precision']}{of_peak}",
            f"{name} trains at {speed}: {took}{of_peak}",
            f"{words.conditions(case)}. {_rounds(case)} The peak is the fastest matrix product in "
            f"{case['precision']} measured on this machine, at the shapes of GPT-2 small.",
            (case["case"],),
        )


def _rounds(case: pd.Series) -> str:
    if pd.isna(case["rounds"]) or pd.isna(case["time_min_s"]) or pd.isna(case["time_max_s"]):
        return "The spread over rounds was not recorded."
    low, high = words.si(case["time_min_s"], "s"), words.si(case["time_max_s"], "s")
    return f"Median of {words.count(int(case['rounds']), 'round')}, from {low} to {high}."


def forward_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how long a forward pass takes; for Model 5 on a CPU, beside the tutorial's 45 s."""
    for _, case in _timed(models, "forward").head(1).iterrows():
        name, took = words.model(case["model"]), words.si(case["time_s"], "s")
        in_tutorial = case["model"] == "model5" and str(case["device"]).startswith("cpu")
        beside = caution = ""
        if in_tutorial:
            beside = " on this CPU; the tutorial that introduced it reports about 45 s"
            caution = (
                " The tutorial gives neither its batch size nor its CPU, so only the orders of "
                "magnitude can be compared: the ratio of the two times is no speed-up."
            )
        yield Finding(
            70,
            "speed",
            f"a forward pass of {name} takes {took}",
            f"A forward pass of {name} takes {took}{beside}",
            f"{words.conditions(case)}. {_rounds(case)}{caution}",
            (case["case"],),
        )


def precision_ratios(models: pd.DataFrame) -> Iterator[Finding]:
    """Compare bf16 with fp32 where both were timed under otherwise equal conditions."""
    frame = _timed(models, "step")
    keys = ["setting", "model", "device"]
    wide = frame[frame["precision"] == "fp32"].merge(
        frame[frame["precision"] == "bf16"], on=keys, suffixes=("_fp32", "_bf16")
    )
    for _, pair in wide.head(1).iterrows():
        ratio = over(pair["time_s_fp32"], pair["time_s_bf16"])
        low = over(pair["time_min_s_fp32"], pair["time_max_s_bf16"])
        high = over(pair["time_max_s_fp32"], pair["time_min_s_bf16"])
        spread = f"{words.number(low)} to {words.number(high)}"
        ends = (
            ""
            if pd.isna(low + high)
            else f" The slowest and fastest rounds allow ratios from {spread}."
        )
        word, factor = ("faster", ratio) if ratio >= 1 else ("slower", over(1, ratio))
        headline = f"in bf16 was {words.number(factor)} times {word} than in fp32"
        if low <= 1 <= high:
            headline = "showed no clear difference in time between bf16 and fp32"
        model = words.model(pair["model"])
        yield Finding(
            75,
            "speed",
            "",
            f"A training step of {model} {headline}",
            f"{words.si(pair['time_s_bf16'], 's')} against {words.si(pair['time_s_fp32'], 's')}."
            f"{ends} The two cases were timed one after the other, not interleaved. The machine "
            "may have changed between them, so no confidence interval is given.",
            (pair["case_fp32"], pair["case_bf16"]),
        )


def phase_shares(models: pd.DataFrame) -> Iterator[Finding]:
    """Say which phase is most of a training step."""
    for _, case in _timed(models, "step").head(1).iterrows():
        phases = case[list(PHASE_TIMES)].dropna().astype(float)
        if phases.sum() <= 0:
            continue
        shares = (phases / phases.sum()).sort_values(ascending=False)
        listed = ", ".join(f"{PHASE_TIMES[str(k)]} {words.percent(v)}" for k, v in shares.items())
        top, share = PHASE_TIMES[str(shares.index[0])], words.percent(shares.iloc[0])
        yield Finding(
            40,
            "speed",
            "",
            f"The {top} phase takes {share} of a training step",
            f"{words.conditions(case)}: {listed}. The phases are timed inside one real step.",
            (case["case"],),
        )


CEILING_CHANGE = 0.05
FLOPS_APART = 0.02
AS_GOOD_AS_PEAK = 0.999


def bound(case: pd.Series) -> str:
    """Return what limits a case by its place on the roofline: "arithmetic", "memory", or ""."""
    if pd.isna(case["attainable_flops_per_s"]) or not case["mfu"] > 0:
        return ""
    peak = over(case["flops_per_s"], case["mfu"])
    return "arithmetic" if case["attainable_flops_per_s"] >= AS_GOOD_AS_PEAK * peak else "memory"


def roofline(models: pd.DataFrame) -> Iterator[Finding]:
    """Say whether the largest step is limited by arithmetic or by memory traffic."""
    for _, case in largest(models, "step", "attainable_flops_per_s").iterrows():
        limit = bound(case)
        if not limit:
            continue
        kind = {"arithmetic": "compute-bound", "memory": "memory-bound"}[limit]
        share = words.percent(over(case["flops_per_s"], case["attainable_flops_per_s"]))
        yield Finding(
            54,
            "speed",
            "",
            f"A training step of {words.model(case['model'])} is {kind} by the roofline, and "
            f"reaches {share} of the rate that the roofline allows",
            f"{words.conditions(case)}: the step does {words.number(case['intensity'])} FLOP for "
            "each byte that must move. The roofline allows at most "
            f"{words.si(case['attainable_flops_per_s'], 'FLOP/s')}; the step reached "
            f"{words.si(case['flops_per_s'], 'FLOP/s')}. The bytes are a lower bound, by formula. "
            "A real step moves more, so it may be closer to memory-bound than stated.",
            (case["case"],),
        )


def flops_gap(models: pd.DataFrame) -> pd.Series[float]:
    """Return, case by case, how far FLOPs by formula and by torch's counter lie apart."""
    both = models[models["flops"].gt(0) & models["flops_counted"].notna()]
    return (over(both["flops_counted"], both["flops"]) - 1).abs().dropna()


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
        f"FLOPs by formula and FLOPs as counted differ by {words.percent(gap.max())}",
        f"{words.conditions(case)}, {words.work(case['work'])}: {words.si(case['flops'], 'FLOP')} "
        f"by formula, {words.si(case['flops_counted'], 'FLOP')} by torch's counter. One of "
        "the two is wrong, so shares of peak may be wrong by as much.",
        (case["case"],),
    )


def _by_device(facts: Any) -> dict[tuple[str, str], float]:
    """Return (device, ceiling) → value, from a fact that holds an object for each device."""
    devices = facts.items() if isinstance(facts, dict) else ()
    return {
        (str(device), str(name)): float(value)
        for device, rates in devices
        if isinstance(rates, dict)
        for name, value in rates.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    }


def ceilings(run: Run) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Return (device, ceiling) → value, as measured at the start and at the end."""
    start = _by_device(run.fact("ceilings"))
    if not start and run.environment:  # the facts hold none: the metrics are of the first device
        known = ("gemm_fp32_flops_per_s", "gemm_bf16_flops_per_s", "copy_bytes_per_s")
        metrics = run.environment["metrics"]
        start = _by_device({"": {name: metrics.get(name) for name in known}})
    return start, _by_device(run.fact("end", "ceilings"))


def ceilings_changed(run: Run) -> Iterator[Finding]:
    """Warn where the ceilings at the end of the run differ from those at the start."""
    start, end = ceilings(run)
    changed = {key: over(end[key], start[key]) - 1 for key in start if key in end}
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
        f"The measured ceilings changed by up to {words.percent(abs(changed[worst]))} during the "
        "run",
        "Ceilings are the highest rates of matrix products and of a copy that the machine reached. "
        f"Changes from start to end: {plain_text.shorten(each, 400)}. Shares of peak are computed "
        "from the ceilings at the start, so they are uncertain by that much. Usual reasons are "
        "other programs and a falling clock frequency.",
    )
