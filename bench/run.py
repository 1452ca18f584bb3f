"""The run of one pytest session: its options, corpora, devices, plan and ledger."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import environment
from bench.experiments import REFERENCE_TOKENS_PER_S, SUITES, Case, Plan, params
from bench.ledger import Ledger, point_latest
from bench.record import SCHEMA_VERSION, Record
from gptcore.corpora import Corpus, load_corpus
from gptcore.devices import available_devices, resolve_device, supported_precisions
from gptcore.model import GPT, ModelConfig
from gptcore.tokens import TokenStream
from gptcore.training import TrainConfig, make_optimizer, train_step

PROBE = ModelConfig(vocab_size=4_000, block_size=64, n_layer=2, n_head=4, n_embd=128)


@dataclass
class Result:
    """What one case has found so far; it becomes a record when the case ends."""

    metrics: dict[str, float | int | None] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    series: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def utc_now() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def training_tokens_per_s(enough: float, budget_s: float) -> float:
    """Return the training speed of a small GPT on the CPU: the best step decides.

    Other load on the machine only makes a step slower, so the probe goes on until it has seen
    `enough`, for `budget_s` at most.
    """
    config = TrainConfig(steps=1, batch_size=16, block_size=PROBE.block_size)
    model = GPT(PROBE)
    optimizer = make_optimizer(model, config)
    generator = torch.Generator().manual_seed(0)
    shape = (2, config.batch_size, config.block_size)
    inputs, targets = torch.randint(PROBE.vocab_size, shape, generator=generator)
    tokens, best = inputs.numel(), math.inf
    deadline = time.perf_counter() + budget_s
    while best == math.inf or (time.perf_counter() < deadline and tokens / best < enough):
        start = time.perf_counter_ns()
        train_step(model, optimizer, inputs, targets)
        best = min(best, (time.perf_counter_ns() - start) / 1e9)
    return float(tokens / best)


def load_corpora(specs: Sequence[str]) -> dict[str, Corpus]:
    """Return name → corpus.

    Raises:
        ValueError: a corpus cannot be read, or two have one name.
    """
    corpora: dict[str, Corpus] = {}
    for spec in specs:
        corpus = load_corpus(spec)
        # Names go into case ids, which are one line and one pytest id.
        name = re.sub(r"[^\w.+-]+", "_", corpus.name)
        if name in corpora:
            raise ValueError(f"two corpora are called {name!r}: rename one of the files")
        corpora[name] = dataclasses.replace(corpus, name=name)
    return corpora


def choose_devices(names: str | None) -> dict[str, tuple[str, ...]]:
    """Return device → precisions for a comma-separated list; by default all that are here.

    Raises:
        ValueError: a device is not here.
    """
    wanted = available_devices() if names is None else [n.strip() for n in names.split(",")]
    devices = [resolve_device(name) for name in wanted]
    return {
        "cpu" if device.type == "cpu" else str(device): tuple(
            p for p in supported_precisions(device) if p in environment.DTYPES
        )
        for device in devices
    }


class Run:
    """An open run. `folder` None means results/<UTC time>-<commit>.

    Raises:
        ValueError: an option is wrong, or the folder holds another run.
    """

    def __init__(
        self,
        suite: str,
        corpora: Sequence[str] = ("python-docs",),
        devices: str | None = None,
        folder: Path | None = None,
    ) -> None:
        if suite not in SUITES:
            raise ValueError(f"suite {suite!r} is unknown: choose one of {', '.join(SUITES)}")
        self.threads = environment.set_threads()
        self.devices = choose_devices(devices)
        corpora = tuple(dict.fromkeys(corpora))
        self.corpora = load_corpora(corpora)
        self._specs = dict(zip(self.corpora, corpora, strict=True))
        self.streams = {n: TokenStream.from_text(c.text) for n, c in self.corpora.items()}
        self._check_sizes(suite)
        if folder is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            folder = Path("results") / f"{stamp}-{(environment.commit() or 'nocommit')[:10]}"
        shas = {name: corpus.sha256 for name, corpus in self.corpora.items()}
        self.ledger = Ledger(folder, environment.fingerprint(suite, self.devices, shas))
        point_latest(folder)
        speed = self.ledger.manifest.get("speed")
        if speed is None:
            speed = training_tokens_per_s(REFERENCE_TOKENS_PER_S, 6 * SUITES[suite].ceiling_s)
            speed /= REFERENCE_TOKENS_PER_S
            self.ledger.keep(speed=speed, created_at=utc_now())
        self.plan = Plan(suite, self.devices, tuple(self.corpora), speed)
        self.environment = f"{utc_now()}-{os.getpid()}"
        self.ceilings = {
            name: environment.ceilings(torch.device(name), precisions, SUITES[suite].ceiling_s)
            for name, precisions in self.devices.items()
        }
        self._append_environment()
        self._append_left_out()

    def _check_sizes(self, suite: str) -> None:
        plan = Plan(suite, self.devices, tuple(self.corpora))
        blocks = [c.block_size for c in plan.all_models()]
        blocks += [c.block_size for c in plan.coverage_cases()]
        blocks += [c.block_size for c in plan.train_cases()]
        needed = 20 * max(blocks)
        for name, stream in self.streams.items():
            if len(stream) < needed:
                raise ValueError(
                    f"corpus {name} has {len(stream):,} tokens: suite {suite} needs at least "
                    f"{needed:,}; take a longer text or a smaller suite ({', '.join(SUITES)})"
                )

    def raw(self, name: str) -> Corpus:
        """Return the text called `name` without cleaning."""
        return load_corpus(self._specs[name], raw=True)

    def peak_flops_per_s(self, device: str, precision: str) -> float | None:
        """Return the measured GEMM peak that shares of a case are taken of."""
        return self.ceilings[device].get(f"gemm_{precision}_flops_per_s")

    def _record(self, **fields: Any) -> Record:
        return {
            "schema_version": SCHEMA_VERSION,
            "record": "case",
            "case": None,
            "group": None,
            "params": {},
            "status": "ok",
            "reason": None,
            "metrics": {},
            "samples": {},
            "series": {},
            "environment": self.environment,
            "facts": {},
            "started_at": utc_now(),
            "duration_s": None,
            "seed": None,
            "command": environment.command(),
            "commit": environment.commit(),
        } | fields

    def _append_environment(self) -> None:
        first = next(iter(self.ceilings))
        corpora = [
            {
                "name": name,
                "source": corpus.source,
                "licence": corpus.licence,
                "sha256": corpus.sha256,
                "n_bytes": corpus.n_bytes,
                "n_tokens": len(self.streams[name]),
                "cleaning": list(corpus.cleaning),
            }
            for name, corpus in self.corpora.items()
        ]
        load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        facts = {
            "machine": environment.machine() | {"load_before": load_before},
            "software": environment.versions(),
            "run": {
                "suite": self.plan.suite,
                "devices": list(self.devices),
                "precisions": {k: list(v) for k, v in self.devices.items()},
                "corpora": list(self.corpora),
                "speed": self.plan.speed,
                "scale": self.plan.scale,
                "budget_s": SUITES[self.plan.suite].budget_s,
                "threads": self.threads,
                "source_sha256": self.ledger.manifest["fingerprint"]["source_sha256"],
                "dirty": environment.is_dirty(),
                "folder": str(self.ledger.folder),
                "resumed": self.ledger.resumed,
            },
            "ceilings": self.ceilings,
            "corpora": corpora,
        }
        metrics = self.ceilings[first] | {"reference_speed": self.plan.speed}
        self.ledger.append(self._record(record="environment", metrics=metrics, facts=facts))

    def _append_left_out(self) -> None:
        for case, reason in self.plan.left_out():
            self.skip(case, reason)
        if len(available_devices()) == 1:
            reason = "torch.accelerator finds no accelerator on this machine"
            self.skip("bench_model::test_step[accelerator]", reason)

    def skip(self, case: str, reason: str) -> None:
        """Record that `case` did not run; a second session does not repeat it."""
        known = self.ledger.records.get(case)
        if known is None or known["reason"] != reason:
            self.ledger.append(
                self._record(record="skip", case=case, status="skipped", reason=reason)
            )

    def append(
        self,
        case_id: str,
        group: str,
        case: Case,
        result: Result,
        started_at: str,
        duration_s: float,
        error: str | None = None,
    ) -> None:
        """Record a finished case; `error` says why it failed, if it did.

        Raises:
            ValueError: the result breaks the record format.
        """
        self.ledger.append(
            self._record(
                case=case_id,
                group=group,
                params=params(case),
                status="failed" if error else "ok",
                reason=error,
                metrics=result.metrics,
                samples=result.samples,
                series=result.series,
                started_at=started_at,
                duration_s=duration_s,
                seed=getattr(case, "seed", None),
            )
        )
