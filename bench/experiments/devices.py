"""Times a training step on 1, 2, … processes of this machine, beside the model of clusters.

Only `measure` runs this file, as `python -m bench.experiments.devices`, once a process: the child
reads its task as one line of JSON and writes its answer as the last line, as
`bench.measuring.processes` describes. The processes find each other through files.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bench.ledger.devices import DEVICES
from bench.measuring import pinning
from bench.measuring.environment import ROOT
from bench.measuring.processes import end_with_parent, run_python
from bench.measuring.work import Result
from bench.suite.devices import DevicesCase
from gptcore.cost.clusters import BYTES, Link, predict_step
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.training.config import TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.step import make_optimizer, train_step
from gptcore.training.world import World

WARMUP, ROUNDS = 2, 7
LIMIT_S = 900
CPU = torch.device("cpu")
Row = dict[str, Any]


def measure(case: DevicesCase) -> Result:
    """Return what a case measured, in processes of one thread each.

    Raises:
        ValueError: a process ended without an answer.
    """
    most = max(case.world_sizes)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(most) as pool:
        told = {"case": asdict(case), "folder": folder, "cpus": pinning.allowed_cpus()}
        tasks = [told | {"rank": rank} for rank in range(most)]
        answers = list(pool.map(_ask, tasks))
    return summarise(case, answers[0]["rows"], answers[0]["n_params"])


def _ask(task: dict[str, Any]) -> dict[str, Any]:
    return run_python(["-m", "bench.experiments.devices"], task, ROOT, limit_s=LIMIT_S)


def summarise(case: DevicesCase, measured: list[Row], n_params: int) -> Result:
    """Set the prediction of the model of clusters beside what was measured.

    Args:
        case: the case.
        measured: for each number of processes its `processes`, `time_s`, `time_min_s`,
            `time_max_s`, `local_s`, `all_reduce_s` and `latency_s`; the first is one process.
        n_params: parameters of the model.
    """
    alone_s, pair = measured[0]["time_s"], measured[1]
    # An all-reduce of two processes is two messages, each of half of the bytes.
    latency_s = pair["latency_s"] / 2
    sending_s = max(pair["all_reduce_s"] - pair["latency_s"], 1e-9)
    link = Link(BYTES * n_params / sending_s, latency_s)
    # Beside the weights a step sends its number of targets and its loss; FSDP sends each block.
    messages = 3 + (case.n_layer if case.engine == "fsdp" else 0)
    weak, rows = case.scaling == "weak", []
    for row in measured:
        size, time_s = row["processes"], row["time_s"]
        step = predict_step(
            alone_s, n_params, size, link, engine=case.engine, weak=weak, messages=messages
        )
        found = row | {
            "communication_share": None if size == 1 else 1 - row["local_s"] / time_s,
            "efficiency": alone_s / time_s / (1 if weak else size),
            "predicted_s": step.time_s,
            "error": None if size == 1 else step.time_s / time_s - 1,
        }
        rows.append({name: found[name] for name in DEVICES["device_scaling"]})
    return Result(
        metrics={
            "n_params": n_params,
            "link_bytes_per_s": link.bytes_per_s,
            "link_latency_s": latency_s,
            "scaling_efficiency": rows[-1]["efficiency"],
        },
        series={"device_scaling": rows},
    )


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    case, rank = DevicesCase(**task["case"]), task["rank"]
    config = ModelConfig(case.vocab_size, case.block_size, case.n_layer, case.n_head, case.n_embd)
    rows = []
    for size in case.world_sizes:
        if rank < size:
            bind(rank, size, task["cpus"])
            dist.init_process_group(
                "gloo",
                init_method=(Path(task["folder"]) / f"joined-{size}").as_uri(),
                rank=rank,
                world_size=size,
                timeout=timedelta(seconds=LIMIT_S),
            )
            rows.append(_time(case, config))
            dist.destroy_process_group()
    return {"rows": rows, "n_params": GPT(config).n_params}


def bind(rank: int, size: int, cpus: Iterable[int]) -> None:
    """Bind this process to a CPU of its own, as far as they go; the session is bound to fewer."""
    if hasattr(os, "sched_setaffinity"):
        chosen = pinning.choose_cpus(cpus, size)
        os.sched_setaffinity(0, {chosen[rank % len(chosen)]})


def _time(case: DevicesCase, model_config: ModelConfig) -> Row:
    """Return what the first process times; all begin every round together."""
    world = World(CPU)
    batch_size = case.batch_size * (world.size if case.scaling == "weak" else 1)
    config = TrainConfig(steps=1, batch_size=batch_size, block_size=case.block_size)
    part = world.part(batch_size)
    generator = torch.Generator().manual_seed(case.seed)
    shape = (batch_size, case.block_size + 1)
    ids = torch.randint(case.vocab_size, shape, generator=generator)[part.start : part.stop]
    batch = (ids[:, :-1], ids[:, 1:].contiguous())
    model, alone = GPT(model_config), GPT(model_config)
    engine = Engine(world, model, config, None, shard=case.engine == "fsdp")
    optimizer, own = make_optimizer(model, config), make_optimizer(alone, config)
    gradient, number = torch.zeros(alone.n_params), torch.zeros(1)
    calls: dict[str, Callable[[], object]] = {
        "time_s": lambda: engine.update(model, optimizer, *batch),
        "local_s": lambda: train_step(alone, own, *batch),
        "all_reduce_s": lambda: dist.all_reduce(gradient),
        "latency_s": lambda: dist.all_reduce(number),
    }
    times = _times(calls)
    return {
        "processes": world.size,
        **{name: statistics.median(found) for name, found in times.items()},
        "time_min_s": min(times["time_s"]),
        "time_max_s": max(times["time_s"]),
    }


def _times(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the seconds of each round of calls, which take turns; the first rounds warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(WARMUP + ROUNDS):
        for name, call in calls.items():
            dist.barrier()
            start = time.perf_counter_ns()
            call()
            times[name].append((time.perf_counter_ns() - start) / 1e9)
    return {name: found[WARMUP:] for name, found in times.items()}


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps(_answer(given)), flush=True)
