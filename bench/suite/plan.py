"""One run's cases: a suite on the devices and texts of this machine, at its measured speed.

On a machine slower than the reference the trainings get shorter and the last model cases are left
out; what was left out is reported.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.suite.cases import (
    ConditionsCase,
    CountingCase,
    CoverageCase,
    GrowthCase,
    LoadingCase,
    ModelCase,
    PairCase,
    PositionCase,
)
from bench.suite.sizes import BF16_COST, COVERAGE, SCARCE, SUITES, PairShape
from bench.suite.training_cases import CompareCase, TrainCase


@dataclass(frozen=True)
class Plan:
    """One run's choice: a suite on devices and corpora, at a measured speed.

    Attributes:
        suite: a name in SUITES.
        devices: device → its precisions, as in {"cpu": ("fp32", "bf16")}.
        corpora: their names.
        speed: this machine's training speed over the reference machine's.
    """

    suite: str
    devices: dict[str, tuple[str, ...]]
    corpora: tuple[str, ...]
    speed: float = 1.0

    @property
    def scale(self) -> float:
        """Share of the training tokens used here: 1, 1/2, 1/4 or 1/8 (never more than 1)."""
        return next((s for s in (1.0, 0.5, 0.25) if self.speed >= 0.6 * s), 0.125)

    def all_models(self) -> list[ModelCase]:
        """Return every model case of the suite, most important first."""
        return [
            ModelCase(
                self.corpora[0],
                shape.model,
                device,
                precision,
                shape.batch_size,
                shape.block_size,
                work,
                shape.compile,
                cost_s=cost_s * (1.0 if precision == "fp32" else BF16_COST),
            )
            for shape in SUITES[self.suite].models
            for device, precisions in self.devices.items()
            for work, cost_s in shape.cost_s.items()
            for precision in precisions
            if precision in shape.precisions
        ]

    def models(self) -> list[ModelCase]:
        """Return those that fit the budget on this machine, but the first in any case."""
        cases = self.all_models()
        budget = SUITES[self.suite].model_budget_s * self.scale * len(self.devices)
        spent = itertools.accumulate(case.cost_s for case in cases)
        fits = sum(total <= budget for total in spent)
        return cases[: max(1, fits)]

    def model_cases(self, work: str) -> list[ModelCase]:
        """Return those of one kind of work."""
        return [case for case in self.models() if case.work == work]

    def left_out(self) -> list[tuple[str, str]]:
        """Return (case id, reason) for what this machine is too slow to do in the suite's time."""
        kept = set(self.models())
        reason = (
            f"would exceed the time of suite {self.suite} here: this machine trains at "
            f"{self.speed:.2f} of the reference speed; --suite=study runs it"
        )
        return [
            (f"bench_model::test_{c.work}[{c.id}]", reason)
            for c in self.all_models()
            if c not in kept
        ]

    def coverage_cases(self) -> list[CoverageCase]:
        """Return each sampler at each number of epochs, and scarce text at the largest."""
        epochs = SUITES[self.suite].epochs
        cases = [
            CoverageCase(corpus, sampler, drop_last, number)
            for corpus, number, (sampler, drop_last) in itertools.product(
                self.corpora, epochs, COVERAGE
            )
        ]
        # The same budget of tokens on less text is as many times more epochs.
        scarce = [
            CoverageCase(corpus, sampler, False, max(epochs) / share, text_share=share)
            for corpus, share, sampler in itertools.product(
                self.corpora, SCARCE, ("random_replacement", "shuffled_blocks")
            )
        ]
        return cases + scarce

    def position_cases(self) -> list[PositionCase]:
        """Return each text cleaned, and raw."""
        return [PositionCase(*pair) for pair in itertools.product(self.corpora, (False, True))]

    def pair_cases(self) -> list[PairCase]:
        """Return each pair on each device that can do it."""
        return self._pairs(SUITES[self.suite].pairs)

    def peer_cases(self) -> list[PairCase]:
        """Return ours against each other implementation, on each device that can do it."""
        return self._pairs(SUITES[self.suite].peers)

    def ablation_cases(self) -> list[PairCase]:
        """Return ours against ours without each piece, on each device."""
        return self._pairs(SUITES[self.suite].ablation)

    def _pairs(self, shapes: Iterable[PairShape]) -> list[PairCase]:
        cases = []
        for shape, (device, precisions) in itertools.product(shapes, self.devices.items()):
            needed = {shape.precision, *re.findall(r"precision=(\w+)", shape.change)}
            if not needed <= set(precisions):
                continue
            base = ModelCase(
                self.corpora[0],
                shape.model,
                device,
                shape.precision,
                shape.batch_size,
                shape.block_size,
                shape.work,
            )
            cost_s = shape.setup_s + shape.trials * (1.2 * shape.seconds + 0.3)
            cases.append(PairCase(base, shape.change, shape.trials, shape.seconds, cost_s))
        return cases

    def peak_cases(self) -> list[ModelCase]:
        """Return whose peak memory of a forward and backward pass is read, on each device."""
        return [
            ModelCase(
                self.corpora[0],
                model,
                device,
                "fp32",
                batch_size,
                block_size,
                "forward_backward",
                variant=variant,
                cost_s=cost_s,
            )
            for model, batch_size, block_size, cost_s, names in SUITES[self.suite].peaks
            for device in self.devices
            for variant in names
        ]

    def growth_cases(self) -> list[GrowthCase]:
        """Return each dimension on each device, in fp32."""
        suite = SUITES[self.suite]
        return [
            GrowthCase(dimension, device, "fp32", sizes, suite.growth_s, 2 + 2 * suite.growth_s)
            for device in self.devices
            for dimension, sizes in suite.growth.items()
        ]

    def conditions_cases(self) -> list[ConditionsCase]:
        """Return the conditions of a forward pass on each device."""
        suite = SUITES[self.suite]
        seconds = suite.conditions_s
        return [
            ConditionsCase(suite.conditions[0], device, *suite.conditions[1:], seconds, 2 + seconds)
            for device in self.devices
        ]

    def loading_cases(self) -> list[LoadingCase]:
        """Return the ways to assemble a batch from the first text."""
        ways = [("memory", "gather"), ("mapped", "gather"), ("memory", "dataloader")]
        cases = [LoadingCase(self.corpora[0], source, way) for source, way in ways]
        if SUITES[self.suite].workers:
            cases.append(LoadingCase(self.corpora[0], "memory", "workers", cost_s=10.0))
        return cases

    def ledger_cases(self) -> list[CountingCase]:
        """Return what the visit ledger is timed on."""
        return [CountingCase(*size) for size in SUITES[self.suite].ledgers]

    def train_cases(self) -> list[TrainCase]:
        """Return the convergence runs, seed by seed, so that an early stop leaves whole pairs."""
        suite = SUITES[self.suite]
        cases = []
        for corpus, seed, sampler in itertools.product(
            self.corpora, range(suite.seeds), suite.samplers
        ):
            case = replace(TrainCase(corpus, sampler, seed), **suite.train)
            if case.n_tokens is not None:
                case = replace(
                    case,
                    n_tokens=round(case.n_tokens * self.scale),
                    cost_s=case.cost_s * self.scale,
                )
            cases.append(case)
        return cases

    def fold_cases(self) -> list[TrainCase]:
        """Return one run for each fold of the first text, at half the tokens of the others."""
        cases = [c for c in self.train_cases() if c.corpus == self.corpora[0] and c.seed == 0]
        folds = SUITES[self.suite].folds
        return [
            replace(
                cases[-1],
                split=f"block:{k}/{folds}",
                n_tokens=cases[-1].n_tokens and cases[-1].n_tokens // 2,
                cost_s=cases[-1].cost_s / 2,
            )
            for k in range(1, folds + 1)
        ]

    def compare_cases(self) -> list[CompareCase]:
        """Return each pair of samplers within each convergence experiment."""
        suite = SUITES[self.suite]
        pairs = list(itertools.combinations(suite.samplers, 2)) if suite.seeds > 1 else []
        experiments = {case.experiment: case.corpus for case in self.train_cases()}
        return [
            CompareCase(experiment, corpus, a, b, suite.seeds, len(pairs))
            for experiment, corpus in experiments.items()
            for a, b in pairs
        ]
