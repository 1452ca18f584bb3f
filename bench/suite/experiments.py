"""The training experiments of the suites: which runs are made, and which of them are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.suite.outcome_cases import CompareCase, DesignCase, OutcomeCase
from bench.suite.training_cases import MEAN_OF, WRITTEN, TrainCase

Arm = Mapping[str, Any]
"""Fields of TrainCase in which the runs of one arm differ from those of the others; `cost_s` may be
among them."""
Side = int | tuple[int, ...]
"""One side of a comparison: the number of an arm, or of several whose mean is compared."""


def arms_of(name: str, values: Iterable[Any]) -> tuple[Arm, ...]:
    """Return one arm for each value of one field of TrainCase."""
    return tuple({name: value} for value in values)


def two_by_two() -> tuple[tuple[Side, Side], ...]:
    """Return the contrasts of four arms: both main effects and half of the interaction.

    The arms are the cells (1, 1), (1, 2), (2, 1) and (2, 2) of two factors with two levels. Each
    contrast is the mean of two arms less that of the others, so all have the same unit and power.
    """
    return ((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))


@dataclass(frozen=True)
class Experiment:
    """Training runs that differ in a few settings, over paired seeds.

    Attributes:
        name: first part of the ids of its cases, so that `-k NAME` runs them alone.
        arms: the settings in which runs differ; every arm sets the same fields.
        common: the fields of TrainCase in which all runs differ from its defaults.
        seeds: number of paired seeds.
        comparisons: planned pairs of arms, by their numbers in `arms`; no other pair is compared.
            A side may be the mean of several arms.
        prior_sd: assumed standard deviation of the paired differences, in nats/token.
        every_text: whether it is done on every text, or on the first one alone.
        questions: what is worked out from the runs besides (`bench.experiments.outcomes`).
    """

    name: str
    arms: tuple[Arm, ...]
    common: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    comparisons: tuple[tuple[Side, Side], ...] = ()
    prior_sd: float | None = None
    every_text: bool = False
    questions: tuple[str, ...] = ()

    def runs(self, corpora: tuple[str, ...]) -> list[TrainCase]:
        """Return the runs seed by seed: what is stopped early has whole pairs."""
        return [
            self._run(corpus, arm, seed)
            for corpus in self._texts(corpora)
            for seed in range(self.seeds)
            for arm in self.arms
        ]

    def design(self, corpora: tuple[str, ...]) -> list[DesignCase]:
        """Return for each text what the planned comparisons can find."""
        if not self.comparisons or self.seeds < 2:
            return []
        return [
            DesignCase(
                self._run(corpus, self.arms[0], 0).experiment,
                corpus,
                self.seeds,
                len(self.comparisons),
                self.prior_sd,
            )
            for corpus in self._texts(corpora)
        ]

    def compared(self, corpora: tuple[str, ...]) -> list[CompareCase]:
        """Return each planned pair of arms on each text."""
        return [
            CompareCase(
                design.experiment,
                design.corpus,
                self._side(design.corpus, a),
                self._side(design.corpus, b),
                design.seeds,
                design.n_comparisons,
            )
            for design in self.design(corpora)
            for a, b in self.comparisons
        ]

    def outcomes(self, corpora: tuple[str, ...]) -> list[OutcomeCase]:
        """Return each question on each text."""
        return [
            OutcomeCase(
                self._run(corpus, self.arms[0], 0).experiment,
                corpus,
                question,
                self._side(corpus, tuple(range(len(self.arms)))),
                self.seeds,
            )
            for corpus in self._texts(corpora)
            for question in self.questions
        ]

    def _side(self, corpus: str, side: Side) -> str:
        numbers = (side,) if isinstance(side, int) else side
        return MEAN_OF.join(self._run(corpus, self.arms[i], 0).arm for i in numbers)

    def _texts(self, corpora: tuple[str, ...]) -> tuple[str, ...]:
        return corpora if self.every_text else corpora[:1]

    def _run(self, corpus: str, arm: Arm, seed: int) -> TrainCase:
        varied = tuple(name for name in self.arms[0] if name in WRITTEN)
        return TrainCase(self.name, corpus, seed, varied=varied, **{**self.common, **arm})
