"""How fast the models ran, and what bounds them, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.ledger.schema import MEMORY_MIB, PHASE_TIMES
from gptcore import plain_text
from reports import words
from reports.blocks import Finding, dicts, one_after_the_other
from reports.claims import apart
from reports.load import Run, largest, over, over_processes, over_rounds, shares_of_peak
from reports.topics.speed.checks import exceeding, flops_apart


def find(run: Run) -> list[Finding]:
    """Return the findings on timings, the roofline and the ceilings."""
    models = run.cases("model")
    return [
        *step_speed(models),
        *forward_speed(models),
        *precision_ratios(models, _interleaved(run)),
        *phase_shares(models),
        *roofline(models),
        *flops_apart(models),
        *ceilings_changed(run),
        *exceeding(run),
    ]


def _interleaved(run: Run) -> set[tuple[str, str, str]]:
    """Return (work, model, device) of the pairs of precisions that were timed in turns.

    The ratio of such a pair is better known than that of two times.
    """
    pairs = [r for r in run.finished if r["group"] == "pair" and r["metrics"].get("ratio")]
    bases = [
        r["params"]["base"]
        for r in pairs
        if str(r["params"].get("change")).startswith("precision=")
        and isinstance(r["params"].get("base"), dict)
    ]
    return {(str(b.get("work")), str(b.get("model")), str(b.get("device"))) for b in bases}


def timed(models: pd.DataFrame, work: str) -> pd.DataFrame:
    """Return the timings of one kind of work, the largest model first and fp32 before others."""
    frame = models[(models["work"] == work) & models["time_s"].gt(0)]
    order = frame.assign(other=frame["precision"].ne("fp32"))
    return order.sort_values(["n_params", "other"], ascending=[False, True], kind="stable")


def _same(models: pd.DataFrame, case: pd.Series) -> pd.DataFrame:
    """Return the timings that the words "this work of this model" could mean."""
    return models[models["work"].eq(case["work"]) & models["model"].eq(case["model"])]


def step_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how fast the largest model trains, and how far that is from the machine's peak."""
    for _, case in timed(models, "step").head(1).iterrows():
        speed = f"{words.number(case['tokens_per_s'])} tokens/s"
        name = words.model(case["model"])
        same = _same(models, case)
        where = apart(case, same)
        in_clause = apart(case, same[same["precision"] == case["precision"]])
        of_peak = "" if pd.isna(case["mfu"]) else f", {_share_of_peak(case)}"
        took = f"{words.si(case['time_s'], 's')} a step"
        yield Finding(
            100,
            "speed",
            f"{name} trains at {speed} in {case['precision']}{in_clause}{of_peak}",
            f"{name} trains at {speed}{where}: {took}{of_peak}",
            f"{words.conditions(case)}. {_rounds(case)} The peak is the fastest matrix product in "
            f"{case['precision']} measured on this machine, at the shapes of GPT-2 small.",
            (case["case"],),
        )


def _rounds(case: pd.Series) -> str:
    if pd.isna(case["rounds"]) or pd.isna(case["time_min_s"]) or pd.isna(case["time_max_s"]):
        text = "The spread over rounds was not recorded."
    else:
        ends = words.si_range(case["time_min_s"], case["time_max_s"], "s").replace(" to ", " and ")
        n = words.count(int(case["rounds"]), "round")
        several = case["processes"] > 1
        where = "over all processes" if several else "in one process"
        text = f"Median of {n} {where}, between {ends}."
    if not case["processes"] > 1 or pd.isna(case["process_low_s"]):
        return text
    ends = words.si_range(case["process_low_s"], case["process_high_s"], "s")
    few = "" if over_processes(case) else ", some of them of fewer than 3 rounds"
    return f"{text} Medians of {words.number(case['processes'])} processes: {ends}{few}."


def _share_of_peak(case: pd.Series) -> str:
    """Return the share of the peak: its range over processes, where there are several."""
    least, most = map(words.percent, shares_of_peak(case))
    share = f"{least} to {most} (range over processes)" if least != most else least
    return f"{share} of this machine's measured peak"


def forward_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how long a forward pass takes; for Model 5 on a CPU, beside the tutorial's 45 s."""
    for _, case in timed(models, "forward").head(1).iterrows():
        name, took = words.model(case["model"]), words.si(case["time_s"], "s")
        where = apart(case, _same(models, case))
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
            f"a forward pass of {name} takes {took}{where}",
            f"A forward pass of {name} takes {took}{where}{beside}",
            f"{words.conditions(case)}, timed alone. {_rounds(case)}{caution}",
            (case["case"],),
        )


def precision_ratios(
    models: pd.DataFrame, interleaved: set[tuple[str, str, str]]
) -> Iterator[Finding]:
    """Compare bf16 with fp32 where a model was timed in both under otherwise equal conditions.

    Args:
        models: the timed cases.
        interleaved: (work, model, device) that are left out, because a pair says it better.
    """
    frame = timed(models, "step")
    keys = ["setting", "model", "device", "compile"]
    wide = frame[frame["precision"] == "fp32"].merge(
        frame[frame["precision"] == "bf16"], on=keys, suffixes=("_fp32", "_bf16")
    )
    wide = wide.drop_duplicates(keys)
    told = [("step", str(p["model"]), str(p["device"])) in interleaved for p in dicts(wide)]
    columns = ("case", "corpus", "batch_size", "block_size")
    wide = wide.assign(**{name: wide[f"{name}_fp32"] for name in columns})
    for rank, (_, pair) in enumerate(wide[~np.array(told, dtype=bool)].iterrows()):
        # Pairs that were timed in turns have 75: their ratios are known better.
        where = apart(pair, wide[wide["model"] == pair["model"]])
        yield _precision_ratio(pair, where, 74 if rank == 0 else 53)


def _precision_ratio(pair: pd.Series, where: str, importance: int) -> Finding:
    low, high = over_rounds(pair, "_fp32", "_bf16")
    how, fp32, bf16, ends = one_after_the_other(
        pair["time_s_fp32"], pair["time_s_bf16"], low, high, "s"
    )
    headline = "showed no clear difference in time between bf16 and fp32"
    if how:
        headline = f"in bf16 was {how} than in fp32"
    return Finding(
        importance,
        "speed",
        "",
        f"A training step of {words.model(pair['model'])} {headline}{where}",
        f"{bf16} against {fp32}.{ends} The two cases were timed one after the other, "
        "not interleaved. The machine may have changed between them, so no confidence interval is "
        f"given. On {words.device(pair['device'])}: {pair['setting']}.",
        (pair["case_fp32"], pair["case_bf16"]),
    )


def phase_shares(models: pd.DataFrame) -> Iterator[Finding]:
    """Say of each model which phase is most of its training step."""
    steps = timed(models, "step").drop_duplicates(["model", "device"])
    for rank, (_, case) in enumerate(steps.iterrows()):
        phases = case[list(PHASE_TIMES)].astype(float)
        if phases.drop("transfer_s").isna().any() or phases.sum() <= 0:  # not the whole step
            continue
        shares = (phases.dropna() / phases.sum()).sort_values(ascending=False)
        listed = ", ".join(f"{PHASE_TIMES[str(k)]} {words.percent(v)}" for k, v in shares.items())
        top, share = PHASE_TIMES[str(shares.index[0])], words.percent(shares.iloc[0])
        what = {"loss": "output layer with its loss"}.get(top, f"{top} phase")
        yield Finding(
            40 if rank == 0 else 39,
            "speed",
            "",
            f"The {what} takes {share} of a training step of {words.model(case['model'])}"
            f"{apart(case, _same(models, case))}",
            f"{words.conditions(case)}: {listed}. The phases are timed inside one real step; loss "
            "is the output layer, the cross-entropy and the gradients of both.",
            (case["case"],),
        )


CEILING_CHANGE = 0.05
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
        where = apart(case, _same(models, case))
        share = words.percent(over(case["flops_per_s"], case["attainable_flops_per_s"]))
        yield Finding(
            54,
            "speed",
            "",
            f"A training step of {words.model(case['model'])}{where} is {kind} by the roofline, "
            f"and reaches {share} of the rate that the roofline allows",
            f"{words.conditions(case)}: the step does {words.number(case['intensity'])} FLOP for "
            "each byte that must move. The roofline allows at most "
            f"{words.si(case['attainable_flops_per_s'], 'FLOP/s')}; the step reached "
            f"{words.si(case['flops_per_s'], 'FLOP/s')}. The bytes are a lower bound, by formula. "
            "A real step moves more, so it may be closer to memory-bound than stated.",
            (case["case"],),
        )


def bandwidth(models: pd.DataFrame, copy: float) -> pd.Series[float]:
    """Return the rate of memory that bounds each case; `copy` is that of a large copy.

    Ledgers from before the rates of smaller sizes have the copy alone; a byte that is copied is
    read and written.
    """
    known: pd.Series[float] = models["bandwidth_bytes_per_s"]
    return known if known.notna().any() else known.fillna(2 * copy)


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


def used_ceilings(models: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the (device, ceiling) that a number of the page rests on.

    A share of the peak rests on the matrix product in its precision, and a case below the slope of
    the roofline on memory traffic within the size that bounds it (`bench.measuring.ceilings`), or
    on the large copy where a ledger has no sizes.
    """
    used: set[tuple[str, str]] = set()
    for _, case in models[models["mfu"].notna()].iterrows():
        device = str(case["device"])
        used.add((device, f"gemm_{case['precision']}_flops_per_s"))
        if bound(case) == "memory":
            inside = [mib for mib in MEMORY_MIB if 2 * mib * 2**20 <= 4 * case["n_params"]]
            levels = pd.notna(case["bandwidth_bytes_per_s"]) and inside
            name = f"memory_{max(inside)}mib_bytes_per_s" if levels else "copy_bytes_per_s"
            used.add((device, name))
    return used


def has_changed(before: float, after: float | None) -> bool:
    """Return whether a ceiling changed by more than rounds of its measurement differ."""
    return after is not None and abs(over(after, before) - 1) > CEILING_CHANGE


def ceilings_changed(run: Run) -> Iterator[Finding]:
    """Warn where a ceiling that a number rests on was different at the end of the run."""
    start, end = ceilings(run)
    used = used_ceilings(run.cases("model"))
    changed = {
        key: over(end[key], start[key]) - 1
        for key in start
        if key in end and (key in used or not key[0])
    }
    changed = {key: change for key, change in changed.items() if change == change}
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
        f"Measured ceilings that shares of peak rest on changed by up to "
        f"{words.percent(abs(changed[worst]))} during the run",
        "Ceilings are the highest rates of matrix products and of memory traffic that the machine "
        "reached. "
        f"Changes from start to end: {plain_text.shorten(each, 400)}. Shares of peak are computed "
        "from the ceilings at the start, so they are uncertain by that much. Usual reasons are "
        "other programs and a falling clock frequency.",
    )
