"""The cases of a suite on the devices and texts of one machine.

Sizes are those of the suite, whatever the speed. What a slow machine leaves out is chosen in
`bench.suite.choosing`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.suite.cases import (
    ConditionsCase,
    ConvexCase,
    CountingCase,
    CoverageCase,
    DataLoaderCase,
    GrowthCase,
    LoadingCase,
    ModelCase,
    PackingCase,
    PairCase,
    PositionCase,
)
from bench.suite.experiments import Experiment
from bench.suite.outcome_cases import CompareCase, DesignCase, OutcomeCase
from bench.suite.own_cases import OwnCases, Planned
from bench.suite.reuse import REUSE, Published, ReuseCases
from bench.suite.shapes import PairShape
from bench.suite.sizes import BF16_COST, CONVEX, COVERAGE, SCARCE, SUITES
from bench.suite.training_cases import TrainCase


@dataclass(frozen=True)
class Plan:
    """A suite on the devices and texts of one machine, at its measured speed.

    Attributes:
        suite: a name in SUITES.
        devices: device → its precisions, as in {"cpu": ("fp32", "bf16")}.
        corpora: names of the texts.
        speed: training speed of this machine over that of the reference machine.
        own: the user's own model, which is then measured in place of gptcore.
        published: the published model that `--pretrained` names.
    """

    suite: str
    devices: dict[str, tuple[str, ...]]
    corpora: tuple[str, ...]
    speed: float = 1.0
    own: Planned | None = None
    published: Published = field(default_factory=Published)

    @property
    def reuse(self) -> ReuseCases | None:
        """The cases on published weights, None in a suite without them."""
        if self.suite not in REUSE:
            return None
        return ReuseCases(self.suite, self.corpora[0], self.published)

    @property
    def own_cases(self) -> OwnCases | None:
        """The cases on the user's own model, None without one."""
        if self.own is None:
            return None
        return OwnCases(self.suite, self.own, self.corpora[0], tuple(self.devices))

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The training experiments: those of the suite, or that on the user's own model."""
        own = self.own_cases
        return SUITES[self.suite].experiments if own is None else (own.experiment(),)

    def models(self) -> list[ModelCase]:
        """Return every model case of the suite, the most important first."""
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

    def model_cases(self, work: str) -> list[ModelCase]:
        """Return the model cases of one kind of work."""
        return [case for case in self.models() if case.work == work]

    def coverage_cases(self) -> list[CoverageCase]:
        """Return each sampler at each number of epochs, and on small parts of the text."""
        epochs = SUITES[self.suite].epochs
        cases = [
            CoverageCase(corpus, sampler, drop_last, number)
            for corpus, number, (sampler, drop_last) in itertools.product(
                self.corpora, epochs, COVERAGE
            )
        ]
        # With a constant number of tokens, a tenth of the text is passed over ten times as often.
        scarce = [
            CoverageCase(corpus, sampler, False, max(epochs) / share, text_share=share)
            for corpus, share, sampler in itertools.product(
                self.corpora, SCARCE, ("random_replacement", "shuffled_blocks")
            )
        ]
        return cases + scarce

    def dataloader_cases(self) -> list[DataLoaderCase]:
        """Return real DataLoaders, unshuffled and shuffled, over one pass and the most passes."""
        numbers = sorted({1, max(SUITES[self.suite].epochs)})
        kinds = [pair for pair in COVERAGE if pair[0] in ("sequential", "shuffled_blocks")]
        return [
            DataLoaderCase(corpus, *kind, number)
            for corpus, number, kind in itertools.product(self.corpora, numbers, kinds)
        ]

    def packing_cases(self) -> list[PackingCase]:
        """Return each text once."""
        return [PackingCase(corpus) for corpus in self.corpora]

    def position_cases(self) -> list[PositionCase]:
        """Return each text twice: cleaned, and raw."""
        return [PositionCase(*pair) for pair in itertools.product(self.corpora, (False, True))]

    def pair_cases(self) -> list[PairCase]:
        """Return each pair on each device that supports its precisions."""
        return self._pairs(SUITES[self.suite].pairs)

    def peer_cases(self) -> list[PairCase]:
        """Return gptcore with each other implementation, on each device that can run both."""
        return self._pairs(SUITES[self.suite].peers)

    def ablation_cases(self) -> list[PairCase]:
        """Return gptcore with gptcore without each optimisation, on each device."""
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
        """Return the variants whose peak memory in a forward and backward pass is read."""
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
        """Return the growth of each dimension on each device, in fp32."""
        suite = SUITES[self.suite]
        return [
            GrowthCase(dimension, device, "fp32", sizes, suite.growth_s, 2 + 2 * suite.growth_s)
            for device in self.devices
            for dimension, sizes in suite.growth.items()
        ]

    def conditions_cases(self) -> list[ConditionsCase]:
        """Return the forward pass under different conditions on each device."""
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

    def counting_cases(self) -> list[CountingCase]:
        """Return the sizes at which the counting of visits is timed."""
        return [CountingCase(*size) for size in SUITES[self.suite].counting]

    def train_cases(self) -> list[TrainCase]:
        """Return the runs of all training experiments."""
        return [c for e in self.experiments for c in e.runs(self.corpora)]

    def fold_cases(self) -> list[TrainCase]:
        """Return the training runs that test on each fold of the text."""
        return [c for e in SUITES[self.suite].folds for c in e.runs(self.corpora)]

    def convex_cases(self) -> list[ConvexCase]:
        """Return each convex problem on the first text with each order of the data."""
        sizes = SUITES[self.suite].convex
        return [
            ConvexCase(self.corpora[0], objective, sampler, **(sizes or {}))
            for objective, sampler in itertools.product(("softmax", "least_squares"), CONVEX)
            if sizes is not None
        ]

    def design_cases(self) -> list[DesignCase]:
        """Return the design of each training experiment that compares something."""
        return [c for e in self.experiments for c in e.design(self.corpora)]

    def compare_cases(self) -> list[CompareCase]:
        """Return each planned comparison of each training experiment."""
        return [c for e in self.experiments for c in e.compared(self.corpora)]

    def outcome_cases(self) -> list[OutcomeCase]:
        """Return each question that is worked out from a whole training experiment."""
        return [c for e in self.experiments for c in e.outcomes(self.corpora)]
