"""One pytest session of the suite: its texts, devices, plan and ledger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.ledger.ledger import RUNS, Ledger, file_name, point_latest
from bench.ledger.record import Record, new_record, utc_now
from bench.measuring import environment, pinning
from bench.measuring.ceilings import ceilings, training_tokens_per_s
from bench.measuring.work import Result
from bench.suite import devices
from bench.suite.cases import CoverageCase, ModelCase
from bench.suite.catalog import TIMELESS, Case, params
from bench.suite.choosing import left_out, planned
from bench.suite.engine import check_engine
from bench.suite.inputs import Inputs
from bench.suite.own_cases import Planned
from bench.suite.plan import Plan
from bench.suite.reuse import ELSEWHERE, REUSE
from bench.suite.sizes import REFERENCE_TOKENS_PER_S, SUITES
from bench.suite.training_cases import TrainCase
from gptcore.devices import available_devices, choose_devices
from gptcore.files import WriteError, write_errors
from gptcore.plain_text import in_one_line


class Session(Inputs):
    """One session of a run.

    Args:
        suite: name of the suite.
        corpora: the texts, as the command line names them.
        devices: names joined by commas; None for all devices of this machine.
        folder: results folder; by default results/<UTC time>-<commit>.
        trace: whether to write a profile of each timed case.
        model: the user's own model file, which is then measured in place of gptcore.
        pretrained: the folder or the name of a published model.
        engine: where the cases of `bench.suite.engine.TASKS` run: "local" or a Ray cluster.

    Raises:
        ValueError: an option is wrong, or the folder holds another run.
    """

    def __init__(
        self,
        suite: str,
        corpora: Sequence[str] = ("python-docs",),
        devices: str | None = None,
        folder: Path | None = None,
        *,
        trace: bool = False,
        model: Path | None = None,
        pretrained: str | None = None,
        engine: str = "local",
    ) -> None:
        if suite not in SUITES:
            raise ValueError(f"suite {suite!r} is unknown: choose one of {', '.join(SUITES)}")
        self.trace, self.engine = trace, engine
        pinning.pin()
        self.threads = torch.get_num_threads()
        self.devices = choose_devices(devices)
        check_engine(engine, list(self.devices))
        if pretrained is not None and (suite not in REUSE or model is not None):
            raise ValueError(
                f"--pretrained goes with --suite={' or '.join(REUSE)} and without --model: give "
                "one of these suites, or leave it out"
            )
        super().__init__(corpora, model, pretrained)
        self._own = None if self.own is None else Planned.of(self.own)
        self._check_sizes(suite)
        if folder is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            folder = Path("results") / f"{stamp}-{(environment.commit() or 'nocommit')[:10]}"
        self.fingerprint = environment.fingerprint(suite, self.devices, **self.hashes)
        self.ledger = Ledger(folder, self.fingerprint, TIMELESS)
        try:
            self._begin(suite)
        except BaseException:
            self.close(whole=False)
            raise

    def _begin(self, suite: str) -> None:
        """Choose the cases, and record the machine and what is left out on it.

        The speed, which decides the choice, is kept in `run.json`, so a resumed run chooses alike.
        """
        point_latest(self.ledger.folder)
        speed = self.ledger.manifest.get("speed")
        if speed is None:
            speed = training_tokens_per_s(REFERENCE_TOKENS_PER_S, 6 * SUITES[suite].ceiling_s)
            speed /= REFERENCE_TOKENS_PER_S
            self.ledger.keep(speed=speed, created_at=utc_now())
        known = (self._own, self.published)
        self.plan = Plan(suite, self.devices, tuple(self.corpora), speed, *known)
        for name, case in planned(self.plan).items():
            if self.ledger.finished(name):  # it may have been killed before it removed the run
                self._remove_run(case)
        self.left_out: dict[str, str] = {}
        self.environment = f"{utc_now()}-{os.getpid()}"
        self.ceilings = self._measure_ceilings()
        self._append_environment()
        if len(available_devices()) == 1:
            reason = "torch.accelerator finds no accelerator on this machine"
            self.skip("bench_model::test_step[accelerator]", reason)
        if suite not in REUSE and self.own is None:
            self.skip("bench_reuse::test_train[pretrained]", ELSEWHERE.format(suite=suite))
        if suite not in devices.DEVICES and self.own is None:
            reason = devices.ELSEWHERE.format(suite=suite)
            self.skip("bench_distributed::test_scaling[processes]", reason)

    def run_folder(self, case: Case) -> Path:
        """Return where a training run is kept until the record of its case is on disk."""
        return self.ledger.folder / RUNS / file_name(case.id)

    @property
    def how_to_resume(self) -> str:
        """Return the end of a sentence on a session that ended early."""
        return f"; the same command with --results={self.ledger.folder} goes on from here"

    def _remove_run(self, case: Case) -> None:
        folder = self.run_folder(case)
        with write_errors(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
            with suppress(OSError):  # others are still there, or there is none
                folder.parent.rmdir()

    def ceilings_of(self, device: torch.device) -> dict[str, float]:
        """Return the ceilings of `device` that were measured at the start."""
        return self.ceilings["cpu" if device.type == "cpu" else str(device)]

    def _check_sizes(self, suite: str) -> None:
        plan = Plan(suite, self.devices, tuple(self.corpora), 1.0, self._own, self.published)
        kinds = (ModelCase, CoverageCase, TrainCase)
        needed = 20 * max(c.block_size for c in planned(plan).values() if isinstance(c, kinds))
        for name in self.corpora:
            n_tokens = len(self.stream(name))
            if n_tokens < needed:
                raise ValueError(
                    f"corpus {name} has {n_tokens:,} tokens: suite {suite} needs at least "
                    f"{needed:,}; take a longer text or a smaller suite ({', '.join(SUITES)})"
                )

    def _record(self, **fields: Any) -> Record:
        return new_record(
            environment=self.environment,
            command=self.shown(environment.command()),
            commit=environment.commit(),
            **fields,
        )

    def shown(self, text: str) -> str:
        """Return a text for the ledger, which names models without their paths."""
        if self.has_folder_of_weights:
            text = self.published.without_folder(text)
        return text if self.own is None else self.own.without_path(text)

    def _write(self, record: Record) -> None:
        """Append a record, or stop the suite: what is measured after that would be lost."""
        try:
            self.ledger.append(record)
        except WriteError as error:
            pytest.exit(in_one_line(str(error)), returncode=2)

    def _measure_ceilings(self) -> dict[str, dict[str, float]]:
        budget_s = SUITES[self.plan.suite].ceiling_s
        return {
            name: ceilings(torch.device(name), precisions, budget_s)
            for name, precisions in self.devices.items()
        }

    def _append_environment(self) -> None:
        first = next(iter(self.ceilings))
        corpora = [
            {
                "name": name,
                "source": corpus.source,
                "licence": corpus.licence,
                "sha256": corpus.sha256,
                "n_bytes": corpus.n_bytes,
                "n_tokens": len(self.stream(name)),
                "cleaning": list(corpus.cleaning),
            }
            for name, corpus in self.corpora.items()
        ]
        facts = {
            "machine": environment.machine(),
            "conditions": environment.conditions(),
            "pinned": pinning.pinned(),
            "software": environment.versions(),
            "libraries": environment.libraries(),
            "run": {
                "suite": self.plan.suite,
                "engine": self.engine.partition(":")[0],
                "devices": list(self.devices),
                "precisions": {k: list(v) for k, v in self.devices.items()},
                "corpora": list(self.corpora),
                "speed": self.plan.speed,
                "budget_s": SUITES[self.plan.suite].budget_s,
                "threads": self.threads,
                "source_sha256": self.fingerprint["time"]["source_sha256"],
                "loss": self.fingerprint["loss"],
                "model": self.fingerprint["loss"].get("model"),
                "pretrained": self.fingerprint["loss"].get("pretrained"),
                "dirty": environment.is_dirty(),
                "folder": str(self.ledger.folder),
                "resumed": self.ledger.resumed,
            },
            "ceilings": self.ceilings,
            "corpora": corpora,
        }
        metrics = self.ceilings[first] | {"reference_speed": self.plan.speed}
        self._environment = self._record(record="environment", metrics=metrics, facts=facts)
        self._write(self._environment)

    def close(self, *, whole: bool) -> None:
        """Close the ledger; at the end of a `whole` session, measure the ceilings once more.

        The environment is then recorded again together with its state at the end. So a reader of
        the ledger sees whether the ceilings, and thus the shares of peak, changed.
        """
        try:
            if whole:
                self._append_end()
        finally:
            self.ledger.close()
            pinning.unpin()

    def _append_end(self) -> None:
        end = {
            "ceilings": self._measure_ceilings(),
            "conditions": environment.conditions(),
            "load": environment.load(),
            "ended_at": utc_now(),
        }
        facts = self._environment["facts"] | {"end": end}
        self._write(self._environment | {"facts": facts})

    def leave_out(self, chosen: Collection[str]) -> None:
        """Decide which of the cases that are asked for do not run on this machine."""
        self.left_out = left_out(self.plan, chosen)
        for case, reason in self.left_out.items():
            self.skip(case, reason)

    def skip(self, case: str, reason: str) -> None:
        """Record that `case` did not run, and why; a resumed run does not repeat the record."""
        known, reason = self.ledger.records.get(case), self.shown(reason)
        if not self.ledger.finished(case) and (known is None or known["reason"] != reason):
            self._write(self._record(record="skip", case=case, status="skipped", reason=reason))

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
        """Record a finished case; `error` is the reason if it failed.

        Raises:
            ValueError: the result violates the format of a record.
        """
        self._write(
            self._record(
                case=case_id,
                group=group,
                params=params(case),
                status="failed" if error else "ok",
                reason=error and self.shown(error),
                metrics=result.metrics,
                samples=result.samples,
                series=result.series,
                facts=result.facts,
                started_at=started_at,
                duration_s=duration_s,
                seed=getattr(case, "seed", None),
            )
        )
        if not error:
            self._remove_run(case)
