"""The ladder of small models: which sizes each suite trains, and what is asked of them.

`bench.suite.cases` says what a case is; these are the cases of `bench_scaling`. Models read single
bytes: of the default text's 139,015 GPT-2 tokens one pass hardly tells sizes apart, while the same
text is 466,195 bytes, and no model is mostly vocabulary (docs/decisions/0015-ladder-of-bytes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.ledger.recommendations import RECOMMENDATIONS
from bench.suite.sizes import FEWEST_BYTES, LADDERS, Ladder
from bench.suite.training_cases import InferenceCase, LadderCase, RungCase, learning_rate

if TYPE_CHECKING:
    from bench.suite.plan import Plan


SHARES = (0.5, 0.25, 0.125)
"""Of the training part, passed over 2, 4 and 8 times: the tokens of one pass over all of it."""


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
