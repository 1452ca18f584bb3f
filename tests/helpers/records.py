"""A valid record of the ledger, and the same with some fields changed."""

from bench.ledger.record import SCHEMA_VERSION

RECORD = {
    "schema_version": SCHEMA_VERSION,
    "record": "case",
    "case": "bench_model::test_step[a-b]",
    "group": "model",
    "params": {"model": "model5"},
    "status": "ok",
    "reason": None,
    "metrics": {"time_s": 1.5, "mfu": None},
    "samples": {"time_s": [1.4, 1.5, 1.6]},
    "series": {"loss_curve": [{"step": 1, "tokens": 8, "epochs": 0.5, "loss": 2.0}]},
    "environment": "env",
    "facts": {},
    "started_at": "2026-01-02T03:04:05.678+00:00",
    "duration_s": 3.0,
    "seed": 0,
    "command": "pytest",
    "commit": None,
}


def changed(**fields):
    return {**RECORD, **fields}
