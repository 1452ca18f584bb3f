"""The cases of the ladder of small models: `bench_scaling` and `bench_inference`.

The models read single bytes. The default text has 139,015 GPT-2 tokens, and one pass over these
hardly separates the sizes. It has 466,195 bytes, and with bytes no model consists mostly of its
vocabulary (docs/decisions/0015-ladder-of-bytes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.ledger.recommendations import RECOMMENDATIONS
from bench.suite.shapes import Ladder
from bench.suite.sizes import LADDERS
from bench.suite.training_cases import InferenceCase, LadderCase, RungCase, learning_rate

if TYPE_CHECKING:
    from bench.suite.plan import Plan


SHARES = (0.5, 0.25, 0.125)
"""Shares of the training part that are passed over 2, 4 and 8 times, with equal tokens in all."""


def _ladder_rungs(plan: Plan) -> Iterable[tuple[Ladder, list[RungCase]]]:
    """Yield the ladder of each text and its runs: every width of every seed, the widest last."""
    ladder = LADDERS.get(plan.suite)
    if ladder is None:
        return
    for corpus in plan.corpora:
        yield (
            ladder,
            [
                RungCase(
                    corpus,
                    n_embd,
                    seed,
                    learning_rate(n_embd),
                    n_bytes=ladder.n_bytes,
                    n_head=max(1, n_embd // 8),
                    block_size=ladder.block_size,
                    cost_s=cost_s,
                )
                for seed in range(ladder.seeds)
                for n_embd, cost_s in ladder.rungs.items()
            ],
        )


def rung_cases(plan: Plan) -> list[RungCase]:
    """Return the runs that the law is fitted to."""
    return [
        rung
        for ladder, rungs in _ladder_rungs(plan)
        for rung in rungs
        if rung.n_embd != max(ladder.rungs)
    ]


def held_out_cases(plan: Plan) -> list[RungCase]:
    """Return the runs of the held-out size: the largest width, every seed."""
    return [
        rung
        for ladder, rungs in _ladder_rungs(plan)
        for rung in rungs
        if rung.n_embd == max(ladder.rungs)
    ]


def repeated_cases(plan: Plan) -> list[RungCase]:
    """Return the runs that pass several times over a part of the text, with equal tokens in all."""
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
    """Return, for each text, the comparison of the prediction with the held-out size."""
    return _questions(plan, lambda _: ["outcome"])


def recommendation_cases(plan: Plan) -> list[LadderCase]:
    """Return each recommendation of Choshen et al. 2025, if the suite tries them."""
    return _questions(plan, lambda ladder: RECOMMENDATIONS if ladder.recommendations else ())


def repeat_cases(plan: Plan) -> list[LadderCase]:
    """Return the question what repeated text is worth, once for each sampler."""
    return _questions(plan, lambda ladder: ladder.repeated)


def inference_cases(plan: Plan) -> list[InferenceCase]:
    """Return inference-time scaling of the first held-out model of each text."""
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
