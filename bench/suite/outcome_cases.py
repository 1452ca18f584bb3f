"""The parameters of the cases that are worked out from finished training runs, and of designs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DesignCase:
    """State what one training experiment can find, before its runs.

    Attributes:
        experiment: the key that its runs share (`TrainCase.experiment`).
        seeds: number of paired seeds.
        n_comparisons: number of planned pairs of arms.
        prior_sd: assumed standard deviation of the paired differences in nats/token.
    """

    experiment: str
    corpus: str
    seeds: int
    n_comparisons: int
    prior_sd: float | None
    cost_s: float = field(default=0.1, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        sd = "unknown" if self.prior_sd is None else f"{self.prior_sd:g}"
        return f"{self.experiment}-seeds{self.seeds}-comparisons{self.n_comparisons}-sd{sd}"


@dataclass(frozen=True)
class OutcomeCase:
    """Work out one question from all finished runs of one training experiment.

    Attributes:
        experiment: the key that its runs share.
        question: a name in `bench.experiments.outcomes.QUESTIONS`.
        arms: the arms in their order, joined by MEAN_OF.
        seeds: number of runs of each arm.
    """

    experiment: str
    corpus: str
    question: str
    arms: str
    seeds: int
    cost_s: float = field(default=0.2, compare=False)

    @property
    def id(self) -> str:
        """The experiment and the question; the experiment's runs give the arms."""
        return f"{self.experiment}-{self.question}-seeds{self.seeds}"


@dataclass(frozen=True)
class CompareCase:
    """Compare two arms over the paired seeds of one training experiment.

    Attributes:
        a: an arm, or several joined by MEAN_OF, of whose losses the mean is compared.
        b: the same of the other side.
    """

    experiment: str
    corpus: str
    a: str
    b: str
    seeds: int
    n_comparisons: int
    cost_s: float = field(default=0.1, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.experiment}-{self.a}-vs-{self.b}-seeds{self.seeds}"
