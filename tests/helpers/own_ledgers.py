"""Records of a run on a user's own model, as `--model=mine.py` gives them."""

from __future__ import annotations

from typing import Any

from bench.ledger.record import Record
from tests.helpers.ledgers import record

CASE = {
    "corpus": "python-docs",
    "model": "model3",
    "device": "cpu",
    "precision": "fp32",
    "batch_size": 4,
    "block_size": 64,
    "work": "step",
}
OWN = CASE | {"variant": "mine.py"}
NAMES = ("causality", "loss", "parity")


def checks_case(*faults: str, barred: str | None = None) -> Record:
    """Return what the checks found: faults in those that are named, and a note on parity."""
    rows = [
        {
            "check": name,
            "about": name,
            "status": "fault" if name in faults else "note" if name == "parity" else "ok",
            "detail": f"measured {name}",
            "means": f"means of {name}" if name in (*faults, "parity") else None,
        }
        for name in NAMES
    ]
    return record(
        "bench_own::test_checks[mine.py]",
        group="own_checks",
        params=OWN | {"work": "checks"},
        metrics={"checks_fault": len(faults), "checks_note": 1, "checks_ok": 2 - len(faults)},
        series={"checks": rows},
        facts={"file": "mine.py", "sha256": "c" * 64, "barred": barred},
        seed=0,
    )


def own_pair_case(ratio: float, verdict: str = "slower", **facts: Any) -> Record:
    """Return the training steps of gptcore and of mine.py, timed in turns."""
    left = [{"what": "activation", "own": "GELU, exact", "other": "GELU, tanh"}]
    return record(
        f"bench_own::test_pair[step-vs-mine.py-{ratio:g}]",
        group="own_pairs",
        params={"base": CASE, "change": "variant=mine.py", "trials": 1, "seconds": 1.0},
        metrics={
            "ratio": ratio,
            "ratio_low": ratio - 0.02,
            "ratio_high": ratio + 0.02,
            "margin_ratio": 0.03,
            "a_time_s": 0.1,
            "b_time_s": 0.1 * ratio,
            "pairs": 10,
            "n_params": 28_864,
            "n_params_ours": 29_600,
        },
        facts={"verdict": verdict, "warnings": [], "differences": left} | facts,
    )


def own_peak_case(batch_size: int, own: int, ours: int) -> list[Record]:
    """Return the peak memory of a forward and backward pass of both, in MB."""
    params = CASE | {"batch_size": batch_size, "work": "forward_backward"}
    return [
        record(
            f"bench_own::test_peak[B{batch_size}-{variant}]",
            group="own_peaks",
            params=params | ({} if variant == "gptcore" else {"variant": variant}),
            metrics={"base_bytes": 10**8, "peak_bytes": megabytes * 10**6},
        )
        for variant, megabytes in (("gptcore", ours), ("mine.py", own))
    ]


def own_loader_case(*faults: str) -> Record:
    """Return the audit of the loader of mine.py, with a note and those faults."""
    told = [{"kind": "ambiguous_rows", "severity": "note", "explanation": "Rows stand twice."}]
    told += [{"kind": k, "severity": "fault", "explanation": f"It is {k}."} for k in faults]
    return record(
        f"bench_own::test_loader[mine.py-{len(faults)}]",
        group="own_loader",
        params=OWN | {"work": "loader"},
        metrics={
            "audited_draws": 200,
            "audit_faults": len(faults),
            "audit_notes": 1,
            "missed_targets": 113_059,
            "expected_missed_targets": 112_942.2,
        },
        facts={"audit": told},
        seed=0,
    )
