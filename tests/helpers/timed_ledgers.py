"""What measured cases hold beyond the plain synthetic ledgers: see `ledgers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.ledger.record import Record
from bench.ledger.schema import SERIES
from tests.helpers.ledgers import environment, record, standard_ledger

PEAKS = {"fp32": 2.2e11, "bf16": 1.2e12}
COPY = 1.1e10
BASE = {
    "corpus": "python-docs",
    "model": "model4",
    "device": "cpu",
    "precision": "fp32",
    "batch_size": 4,
    "block_size": 256,
    "work": "step",
    "seed": 0,
}
START = {"gemm_fp32_flops_per_s": 2.2e11, "gemm_bf16_flops_per_s": 1.2e12, "copy_bytes_per_s": COPY}
END = START | {"gemm_bf16_flops_per_s": 1.05e12}
NOISY = {
    "verdict": "noisy",
    "reasons": ["rounds spread over 14 % (robust CV; at most 10 % is wanted)"],
    "remedies": ["close other programs: load before was 1.9 and after was 2.1 on 2 cores"],
}
STEADY: dict[str, Any] = {"verdict": "stable", "reasons": [], "remedies": []}


def timed_environment(end: dict[str, Any] | None = None, **facts: Any) -> Record:
    """Return an environment with conditions, pins and ceilings; `end` replaces those at the end."""
    made = environment()
    conditions = {"load": 0.12, "memory_available_bytes": 12 * 2**30, "frequency_hz": 2.6e9}
    made["facts"] |= {
        "conditions": conditions | {"clocks": {}},
        "pinned": {"matmul_precision": "highest", "sdpa": ["flash", "math"], "affinity": [0, 1]},
        "libraries": {
            "torch": {"mkl": "2024.2", "cuda": None},
            "pools": [{"internal_api": "mkl", "num_threads": 2, "version": None}],
        },
        "ceilings": {"cpu": START},
        "end": {
            "ceilings": {"cpu": END if end is None else end},
            "conditions": conditions | {"load": 1.98},
            "load": 1.98,
            "ended_at": "2026-03-01T10:09:00+00:00",
        },
    }
    made["facts"] |= facts
    return made


def timed(case: Record, state: dict[str, Any] = STEADY, **metrics: Any) -> Record:
    """Return a timed model case with its interval, processes, memory, roofline and stability."""
    known, step = case["metrics"], case["params"]["work"] == "step"
    peak = PEAKS[case["params"]["precision"]]
    intensity = 96.0 if step else 310.0
    shares = {"data": 0.35, "forward": 0.9, "loss": 1.0, "backward": 0.97, "optimizer": 0.6}
    peak_bytes = round(2.1 * 2**30) if step else round(0.4 * 2**30)
    time_s, n = known["time_s"], 7
    rounds = time_s * (1 + 0.02 * np.random.default_rng(3).standard_normal(n))
    known |= {
        "time_low_s": 0.98 * time_s,
        "time_high_s": 1.03 * time_s,
        "rounds": n,
        "processes": 3,
        "process_time_s": time_s,
        "flops_counted": known["flops"],
        "bytes_moved": known["flops"] / intensity,
        "intensity": intensity,
        "attainable_flops_per_s": min(peak, intensity * 2 * COPY),
        "base_bytes": 1_750_000_000,
        "peak_bytes": peak_bytes,
        "reference_s": 0.0021,
    } | metrics
    if step:
        known |= {f"{phase}_peak_bytes": round(s * peak_bytes) for phase, s in shares.items()}
    case["samples"] |= {
        "time_s": rounds.tolist(),
        "process_time_s": [time_s, 0.99 * time_s, 1.02 * time_s],
        "reference_s": [0.0021, 0.0021],
    }
    case["facts"] = {"stability": state, "load_before": 0.4, "load_after": 1.1, "warmup": "steady"}
    return case


def traced(case: Record, path: str = "results/x/traces/step-1a2b.json.gz") -> Record:
    """Return the case with a trace and its top operators."""
    names = ("aten::mm", "aten::addmm", "aten::_fused_adamw_", "aten::native_layer_norm")
    case["series"]["top_operators"] = [
        {"operator": name, "calls": 12 + i, "self_time_s": 0.9 / (i + 1), "share": 0.4 / (i + 1)}
        for i, name in enumerate(names)
    ]
    case["facts"]["trace"] = path
    return case


def pair_case(change: str, ratio: float, verdict: str | None, **fields: Any) -> Record:
    """Return an interleaved pair of BASE and BASE with `change`."""
    metrics = {
        "pairs": 40,
        "ratio": ratio,
        "ratio_low": 0.985 * ratio,
        "ratio_high": 1.015 * ratio,
        "margin_ratio": 0.03,
        "a_time_s": 0.8,
        "b_time_s": 0.8 * ratio,
    } | fields.pop("metrics", {})
    params = {"base": BASE, "change": change, "trials": 1, "seconds": 20.0}
    return record(
        f"bench_pair::test_pair[step-model4-vs-{change or 'itself'}]",
        group="pair",
        params=params | fields.pop("params", {}),
        metrics=metrics,
        facts={"verdict": verdict, "warnings": []},
        **fields,
    )


def self_case(n: int = 20, alarms: int = 0, **fields: Any) -> Record:
    """Return `n` comparisons of BASE with itself, the first `alarms` of them off by 6 %."""
    rng = np.random.default_rng(5)
    ratios = 1 + 0.004 * rng.standard_normal(n)
    ratios[:alarms] += 0.06
    trials = [
        {"trial": i, "ratio": r, "ratio_low": r - 0.013, "ratio_high": r + 0.013}
        for i, r in enumerate(ratios.tolist(), start=1)
    ]
    metrics = {
        "trials": n,
        "false_alarms": alarms,
        "false_alarm_rate": alarms / n,
        "false_alarm_high": min(1.0, (alarms + 3.3) / n),
        "missed_cover": alarms,
    }
    return pair_case("", 1.001, "same", metrics=metrics, series={"trials": trials}, **fields)


def timed_ledger() -> list[Record]:
    """Return the standard ledger with everything that is measured, and pairs."""
    made: list[Record] = []
    for case in standard_ledger():
        if case["record"] == "environment":
            made.append(timed_environment())
        elif case["group"] == "model" and case["status"] == "ok":
            noisy = case["params"]["precision"] == "bf16" and case["params"]["work"] == "step"
            made.append(timed(case, NOISY if noisy else STEADY))
        else:
            made.append(case)
    step = next(r for r in made if r["params"].get("work") == "step" and r["status"] == "ok")
    traced(step)
    corpus = pair_case("corpus=uniform-ids", 1.004, "same")
    return [*made, self_case(20, 1), pair_case("precision=bf16", 0.46, "faster"), corpus]


def distributed_case(engine: str, scaling: str, *times: float) -> Record:
    """Return the steps of 1, 2, 4, … processes that took these times, with rounds of ± 5 %."""
    names = ("processes", "time_s", "time_min_s", "time_max_s", "efficiency", "predicted_s")
    rows: list[dict[str, Any]] = []
    for number, time_s in enumerate(times):
        work = 1 if scaling == "weak" else 2**number
        values = (2**number, time_s, 0.95 * time_s, 1.05 * time_s, times[0] / time_s / work,
                  times[0] / 2**number * 1.1)  # fmt: skip
        more = {"communication_share": 0.4 * number - 0.7, "error": 0.1} if number else {}
        row = dict(zip(names, values, strict=True)) | more
        rows.append({name: row.get(name) for name in SERIES["device_scaling"]})
    sizes = {"n_layer": 4, "n_embd": 128, "batch_size": 8, "block_size": 128}
    return record(
        f"bench_distributed::test_scaling[{engine}-{scaling}]",
        group="distributed",
        params={"engine": engine, "scaling": scaling, "world_sizes": [1, 2, 4], **sizes},
        metrics={"scaling_efficiency": rows[-1]["efficiency"]},
        series={"device_scaling": rows},
    )
