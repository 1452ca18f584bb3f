"""Runs with known times, and the command that compares them."""

import json

import numpy as np

from bench.__main__ import main
from bench.ledger.record import LEDGER_NAME, dumps
from tests.helpers import ledgers


def environment(**facts):
    record = ledgers.environment()
    return record | {"facts": record["facts"] | facts}


def case(name, times_s, **fields):
    """A timed case of a model; `samples` are added to its times."""
    samples = {"time_s": list(times_s)} | fields.pop("samples", {})
    params = {"corpus": ledgers.CORPUS, "device": "cpu", "precision": "fp32"}
    given = {"params": params, "group": "model", "samples": samples} | fields
    return ledgers.record(f"bench_model::test_step[{name}]", **given)


def rounds(seed, level_s=0.1, n=20, sd=0.004):
    return level_s * np.exp(np.random.default_rng(seed).normal(0, sd, n))


def processes(seed, level_s=0.1, n=3, sd=0.003):
    return {"process_time_s": rounds(seed + 1000, level_s, n, sd).tolist()}


def quiet(seed, slow=None, n_cases=6):
    """Cases in three processes each; `slow` is name → factor."""
    return [
        case(
            name := f"c{i}",
            rounds(seed + i, factor := 0.1 * (slow or {}).get(name, 1.0)),
            samples=processes(seed + i, factor),
        )
        for i in range(n_cases)
    ]


def write(folder, records, *, extra=b""):
    folder.mkdir()
    text = "".join(dumps(record) + "\n" for record in records)
    (folder / LEDGER_NAME).write_bytes(text.encode() + extra)
    return folder


def command(*arguments):
    return main(["compare", *map(str, arguments)])


def answer(capsys, *arguments):
    code = command(*arguments, "--format", "json")
    return code, json.loads(capsys.readouterr().out)


def verdicts(found):
    return {row["case"][23:-1]: row["verdict"] for row in found["cases"]}
