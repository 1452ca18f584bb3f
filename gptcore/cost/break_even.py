"""How many tokens of one's own it takes before building a model beats reusing a published one.

Two fitted curves are compared on one test text, both in nats per token of one vocabulary: the loss
of a model of N parameters that is trained from scratch on D tokens, and the loss of the published
model that is fine-tuned on D tokens, or of the published model as it is where that is lower. The
break-even is the least D at which the first curve is not above the second one. There may be none,
however many tokens there are, because the small model has a floor that more data do not lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

from gptcore.checks import check_number
from gptcore.cost.costs import Cost
from gptcore.cost.figures import Range
from gptcore.scaling.law import SAME_PARAMS, Prediction, ScalingLaw
from gptcore.scaling.planning import FLOPS_PER_PARAM_TOKEN

FEWEST_TOKENS, MOST_TOKENS = 1e3, 1e15
STEPS_PER_DECADE = 10
CONFIDENCE = 0.8
BISECTIONS = 30
NEVER = math.inf
LARGEST_LOG = 700.0  # exp of more overflows


@dataclass(frozen=True)
class BreakEven:
    """Where training from scratch catches up with reusing.

    Attributes:
        tokens: the break-even by both curves as fitted; infinite if there is none up to
            MOST_TOKENS.
        low, high: the least break-even that the 80 % intervals of both curves allow, and the
            largest; infinite if there is none, None if an interval is not known.
        least_params: the parameters from which the floor of the law is below the loss of reusing
            at MOST_TOKENS; None if no size reaches it, or the law has no floor for each size.
        verdict: the answer as a sentence.
        warnings: what is doubtful, as sentences.
    """

    tokens: float
    low: float | None
    high: float | None
    least_params: float | None
    verdict: str
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the object that JSON gets; infinity becomes null there."""
        return {
            "tokens": {"low": self.low, "mid": self.tokens, "high": self.high},
            "least_params": self.least_params,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Curves:
    """The two curves that are compared.

    Attributes:
        law: losses of models trained from scratch.
        params: N of the model to build.
        fine_tuned: a law fitted to fine-tuning runs of one published model, of several lengths.
        published: the loss of the published model as it is; None if it was not measured.

    Raises:
        ValueError: a number is not positive, or `fine_tuned` is not of one size.
    """

    law: ScalingLaw
    params: float
    fine_tuned: ScalingLaw
    published: float | None = None

    def __post_init__(self) -> None:
        check_number("params", self.params, "(0, inf)")
        if self.published is not None:
            check_number("published_loss", self.published, "(0, inf)")
        low, high = self.fine_tuned.params_range
        if not 0 < high <= low * SAME_PARAMS:
            raise ValueError(
                "the curve of fine-tuning is not of one size: fit it to runs of one published "
                "model, each with its final loss, by gptcore scale fit TABLE --json"
            )

    @property
    def published_params(self) -> float:
        """The parameters of the published model."""
        return self.fine_tuned.params_range[1]

    def build(self, tokens: float) -> Prediction:
        """Return the loss of training from scratch on so many tokens, with its 80 % interval.

        Raises:
            ValueError: the law says nothing about that size or number of tokens.
        """
        return _predict("the law", self.law, self.params, tokens)

    def reuse(self, tokens: float) -> Prediction:
        """Return the loss of fine-tuning on so many tokens, or of leaving it where that is lower.

        Raises:
            ValueError: the curve says nothing about that number of tokens.
        """
        at = _predict("fine-tuning", self.fine_tuned, self.published_params, tokens)
        if self.published is None:
            return at
        return Prediction(*(None if x is None else min(x, self.published) for x in astuple(at)))


def _predict(what: str, law: ScalingLaw, params: float, tokens: float) -> Prediction:
    if reason := law.beyond(params, tokens):
        raise ValueError(f"{what} cannot be compared: {reason}")
    return law.predict(params, tokens, confidence=CONFIDENCE)


def break_even(curves: Curves) -> BreakEven:
    """Return the least number of tokens at which building is as good as reusing.

    It is looked for at ten numbers of tokens for each factor of 10, so curves that cross twice
    between two of these are not seen to cross.

    Raises:
        ValueError: a curve says nothing about the sizes compared.
    """
    decades = round(math.log10(MOST_TOKENS / FEWEST_TOKENS))
    steps = range(decades * STEPS_PER_DECADE + 1)
    grid = [FEWEST_TOKENS * 10 ** (step / STEPS_PER_DECADE) for step in steps]
    rows = [_gaps(curves, tokens) for tokens in grid]
    low, tokens, high = (_first(curves, grid, rows, which) for which in range(3))
    assert tokens is not None, "a curve without an interval has a middle"
    least = _least_params(curves)
    verdict = _verdict(curves.params, (low, tokens, high), least)
    notes = tuple(_warnings(curves, tokens, overtaken=tokens < NEVER and rows[-1][1] > 0))
    return BreakEven(tokens, low, high, least, verdict, notes)


def options_at(curves: Curves, tokens: float, cost: Cost) -> list[dict[str, Any]]:
    """Return the loss and the money of building and of both ways to reuse, at so many tokens.

    Fine-tuning takes 6 FLOPs for each parameter and token, at the operations per second of `cost`.
    The development of a model is part of the price of building alone.

    Args:
        curves: what is compared.
        tokens: the tokens of one's own.
        cost: of building the model on these tokens.

    Returns:
        Rows of `option`, `params`, `loss` and `money`, of which the last two have low, mid and
        high; what is not known is None.
    """
    flops = FLOPS_PER_PARAM_TOKEN * curves.published_params * tokens
    fine_tuning = cost.money and cost.money.scaled(flops / cost.flops.mid)
    tuned = _predict("fine-tuning", curves.fine_tuned, curves.published_params, tokens)
    left = Prediction(curves.published, curves.published, curves.published)
    rows = (
        ("from scratch", curves.params, curves.build(tokens), cost.money_with_development),
        ("fine-tuned", curves.published_params, tuned, fine_tuning),
        ("as published", curves.published_params, left, Range(0, 0, 0)),
    )
    return [
        {
            "option": option,
            "params": params,
            "loss": {"low": at.low, "mid": at.loss, "high": at.high},
            "money": money and money._asdict(),
        }
        for option, params, at, money in rows
        if at.loss is not None
    ]


def _gaps(curves: Curves, tokens: float) -> tuple[float, float, float]:
    """Return how far building lies above reusing: at best for it, as fitted, and at worst.

    NaN stands for an end that is not known.
    """
    build, reuse = (
        [math.nan if x is None else x for x in astuple(at)]
        for at in (curves.build(tokens), curves.reuse(tokens))
    )
    return build[1] - reuse[2], build[0] - reuse[0], build[2] - reuse[1]


def _first(
    curves: Curves, grid: list[float], rows: list[tuple[float, float, float]], which: int
) -> float | None:
    """Return the least number of tokens at which a gap is not above 0; None for unknown gaps."""
    gaps = [row[which] for row in rows]
    if any(map(math.isnan, gaps)):
        return None
    place = next((i for i, gap in enumerate(gaps) if gap <= 0), None)
    if place is None:
        return NEVER
    if place == 0:
        return grid[0]
    above, below = grid[place - 1], grid[place]
    for _ in range(BISECTIONS):
        middle = math.sqrt(above * below)
        if _gaps(curves, middle)[which] > 0:
            above = middle
        else:
            below = middle
    return below


def _least_params(curves: Curves) -> float | None:
    """Return the size at which the law's floor of the loss is that of reusing; None for none."""
    law, goal = curves.law, curves.reuse(MOST_TOKENS).loss
    floor, size_term, _, alpha, _ = map(float, law.theta)
    if law.line is not None or "alpha" in law.unidentified or goal is None:
        return None
    if goal <= floor or not size_term or not alpha:
        return None
    log_params = math.log(size_term / (goal - floor)) / alpha + math.log(law.pivot_params)
    return math.exp(log_params) if log_params < LARGEST_LOG else None


def _verdict(
    params: float, tokens: tuple[float | None, float, float | None], least: float | None
) -> str:
    """Return the answer as a sentence, which says no more than the intervals do."""
    low, mid, high = tokens
    model = f"{params:.3g} parameters"
    if mid < NEVER:
        ends = "no interval is known"
        if low is not None and high is not None:
            to = f"more than {MOST_TOKENS:g}" if high == NEVER else f"{high:.2g}"
            ends = f"{low:.2g} to {to} by the ends of the 80 % intervals of both curves"
        or_fewer = " or fewer" if mid == FEWEST_TOKENS else ""
        return (
            f"A model of {model} from scratch reaches the published model at {mid:.2g} tokens"
            f"{or_fewer} ({ends})."
        )
    never = f"Never at this size with up to {MOST_TOKENS:g} tokens"
    fail = f"{model} from scratch do not reach the published model"
    if low is None:
        told = f"{never}, by the curves as fitted: {fail}; no interval is known."
    elif low == NEVER:
        told = f"{never}: {fail}, whatever ends of the 80 % intervals of both curves are taken."
    else:
        told = (
            f"{never}, by the curves as fitted; but their 80 % intervals allow {model} from "
            f"scratch to reach the published model at {low:.2g} tokens."
        )
    if least is None or least <= params:
        return told
    return (
        f"{told} By the law as fitted, it takes more than about {least:.2g} parameters to get "
        "below the best loss of the published model."
    )


def _warnings(curves: Curves, tokens: float, *, overtaken: bool) -> Iterator[str]:
    """Yield what is doubtful about a break-even, as sentences."""
    law, fine_tuned = curves.law, curves.fine_tuned
    longest = min(law.tokens_range[1], fine_tuned.tokens_range[1])
    if tokens > longest:
        yield (
            f"The longest runs that both curves were fitted to had {longest:.2g} tokens; what is "
            "said of more tokens is extrapolated."
        )
    smallest, largest = law.params_range
    if not smallest / SAME_PARAMS <= curves.params <= largest * SAME_PARAMS:
        yield (
            f"The law was fitted to {smallest:.3g} to {largest:.3g} parameters; "
            f"{curves.params:.3g} parameters are extrapolated."
        )
    if overtaken:
        yield "With many more tokens the published model is ahead again, by the fitted curves."
    if curves.published is None:
        yield "The published model as it is was not compared: give its loss on the same text."
    yield from law.warnings
    if fine_tuned.line is None:  # a line's warnings are about other sizes, which are not asked for
        yield from fine_tuned.warnings
