"""The ladder of small models: which sizes each suite trains, and what is asked of them.

`bench.cases` says what a case is; these are the cases of `bench_scaling`. Models read single
bytes: of the default text's 139,015 GPT-2 tokens one pass hardly tells sizes apart, while the same
text is 466,195 bytes, and no model is mostly vocabulary (docs/decisions/0015-ladder-of-bytes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.record import RECOMMENDATIONS

if TYPE_CHECKING:
    from bench.plan import Plan

ONE_PASS = "shuffled_blocks"
"""Sampler of the ladder: within a pass no token comes twice."""

FEWEST_BYTES = 16_384
"""A slower machine gets less of the text, but never less than this."""


@dataclass(frozen=True)
class RungCase:
    """Train one size on the first `n_bytes` of a text (all of it: None).

    Attributes:
        text_share: of the training part that is used; below 1 it is passed over 1 / share times.
        learning_rate: constant after the warm-up, so that a checkpoint is a shorter run's end.
    """

    corpus: str
    n_embd: int
    seed: int
    learning_rate: float
    n_bytes: int | None = None
    text_share: float = 1.0
    sampler: str = ONE_PASS
    n_layer: int = 2
    n_head: int = 1
    batch_size: int = 16
    block_size: int = 64
    cost_s: float = field(default=5.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        size = "all" if self.n_bytes is None else str(self.n_bytes)
        return (
            f"{self.corpus}-bytes{size}-share{self.text_share:g}-{self.sampler}"
            f"-L{self.n_layer}-H{self.n_head}-C{self.n_embd}-B{self.batch_size}-T{self.block_size}"
            f"-lr{self.learning_rate:g}-seed{self.seed}"
        )


@dataclass(frozen=True)
class LadderCase:
    """Ask something of a whole ladder: its rungs, its target, every seed of both.

    Attributes:
        question: "predict", "outcome", one of RECOMMENDATIONS, or a sampler that repeats text.
    """

    corpus: str
    question: str
    rungs: tuple[int, ...]
    target: int
    n_bytes: int | None
    seeds: int
    cost_s: float = field(default=0.3, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        size = "all" if self.n_bytes is None else str(self.n_bytes)
        rungs = "_".join(map(str, self.rungs))
        return (
            f"{self.corpus}-bytes{size}-{self.question}-C{rungs}-to-C{self.target}"
            f"-seeds{self.seeds}"
        )


@dataclass(frozen=True)
class InferenceCase:
    """Ask the trained target for more at inference: longer contexts, more samples.

    Attributes:
        prompts: places of the test part that are continued.
        samples: continuations drawn of each.
        new_tokens: length of each, bytes.
    """

    corpus: str
    model: RungCase
    prompts: int
    samples: int
    new_tokens: int
    seed: int = 0
    cost_s: float = field(default=4.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.model.id}-prompts{self.prompts}-samples{self.samples}"
            f"-new{self.new_tokens}-draws{self.seed}"
        )


@dataclass(frozen=True)
class Ladder:
    """The scaling experiments of one suite.

    Attributes:
        rungs: widths trained, with the seconds that each takes; the last one is the target.
        n_bytes: of the text; None is all of it.
        block_size: T.
        seeds: of every rung, and of the target.
        prompts: of inference-time scaling, and `samples` continuations of each.
        advice: try each of RECOMMENDATIONS.
        repeated: samplers under which text is repeated, and the width that is trained on it.
    """

    rungs: dict[int, float]
    n_bytes: int | None = None
    block_size: int = 64
    seeds: int = 1
    prompts: int = 32
    samples: int = 16
    new_tokens: int = 16
    inference_s: float = 4.0
    advice: bool = False
    repeated: tuple[str, ...] = ()
    repeated_width: int = 24


STANDARD = {8: 3.5, 12: 3.7, 16: 4.0, 24: 5.0, 32: 6.0, 48: 8.5}
"""Width → seconds of a run on the reference machine."""

SHARES = (0.5, 0.25, 0.125)
"""Of the training part, passed over 2, 4 and 8 times: the tokens of one pass over all of it."""

LADDERS: dict[str, Ladder] = {
    "smoke": Ladder(
        rungs={8: 0.15, 12: 0.15, 16: 0.15, 24: 0.2},
        n_bytes=FEWEST_BYTES,
        block_size=32,
        prompts=4,
        samples=4,
        new_tokens=8,
        inference_s=0.3,
    ),
    "standard": Ladder(rungs=STANDARD, n_bytes=393_216),
    "study": Ladder(
        rungs=STANDARD | {64: 14.0, 96: 25.0},
        seeds=3,
        prompts=64,
        advice=True,
        repeated=(ONE_PASS, "random_replacement"),
        inference_s=10.0,
    ),
}
"""Suite → its ladder; a suite without one trains none."""


def learning_rate(n_embd: int) -> float:
    """Return the learning rate of a width: it falls with the square root of the width."""
    return float(f"{0.002 * (64 / n_embd) ** 0.5:.2g}")


def _ladder_rungs(plan: Plan) -> Iterable[tuple[Ladder, list[RungCase]]]:
    """Yield the ladder of each text: every width of every seed, the target's last."""
    ladder = LADDERS.get(plan.suite)
    if ladder is None:
        return
    n_bytes = ladder.n_bytes and max(FEWEST_BYTES, round(ladder.n_bytes * plan.scale))
    scale = plan.scale if ladder.n_bytes else 1.0
    for corpus in plan.corpora:
        yield (
            ladder,
            [
                RungCase(
                    corpus,
                    n_embd,
                    seed,
                    learning_rate(n_embd),
                    n_bytes=n_bytes,
                    n_head=max(1, n_embd // 8),
                    block_size=ladder.block_size,
                    cost_s=cost_s * scale,
                )
                for seed in range(ladder.seeds)
                for n_embd, cost_s in ladder.rungs.items()
            ],
        )


def rung_cases(plan: Plan) -> list[RungCase]:
    """Return every run that the law is fitted to."""
    return [
        rung
        for ladder, rungs in _ladder_rungs(plan)
        for rung in rungs
        if rung.n_embd != max(ladder.rungs)
    ]


def target_cases(plan: Plan) -> list[RungCase]:
    """Return the runs that are predicted: the largest width, every seed."""
    return [
        rung
        for ladder, rungs in _ladder_rungs(plan)
        for rung in rungs
        if rung.n_embd == max(ladder.rungs)
    ]


def repeated_cases(plan: Plan) -> list[RungCase]:
    """Return the runs that pass several times over a part of the text, at equal tokens."""
    return [
        replace(rung, text_share=share, sampler=sampler)
        for ladder, rungs in _ladder_rungs(plan)
        for sampler in ladder.repeated
        for share in SHARES
        for rung in rungs
        if rung.n_embd == ladder.repeated_width
    ]


def _questions(plan: Plan, names: Callable[[Ladder], Iterable[str]]) -> list[LadderCase]:
    return [
        LadderCase(
            rungs[0].corpus,
            name,
            tuple(sorted(ladder.rungs)[:-1]),
            max(ladder.rungs),
            rungs[0].n_bytes,
            ladder.seeds,
        )
        for ladder, rungs in _ladder_rungs(plan)
        for name in names(ladder)
    ]


def predict_cases(plan: Plan) -> list[LadderCase]:
    """Return one prediction for each text."""
    return _questions(plan, lambda _: ["predict"])


def scaling_cases(plan: Plan) -> list[LadderCase]:
    """Return, for each text, how the prediction came out."""
    return _questions(plan, lambda _: ["outcome"])


def advice_cases(plan: Plan) -> list[LadderCase]:
    """Return each recommendation of Choshen et al. 2025, where the suite tries them."""
    return _questions(plan, lambda ladder: RECOMMENDATIONS if ladder.advice else ())


def repeat_cases(plan: Plan) -> list[LadderCase]:
    """Return what repeated text is worth, sampler by sampler."""
    return _questions(plan, lambda ladder: ladder.repeated)


def inference_cases(plan: Plan) -> list[InferenceCase]:
    """Return inference-time scaling of the first target of each text."""
    return [
        InferenceCase(
            rungs[0].corpus,
            next(rung for rung in rungs if rung.n_embd == max(ladder.rungs)),
            ladder.prompts,
            ladder.samples,
            ladder.new_tokens,
            cost_s=ladder.inference_s,
        )
        for ladder, rungs in _ladder_rungs(plan)
    ]
