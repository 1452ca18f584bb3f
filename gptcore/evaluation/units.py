"""A loss for each token, each word and each byte, with an interval of each.

A tokenizer decides how much text a token is, so losses for each token, and their perplexities, are
comparable only between models with the same tokens. Losses for each byte are comparable between all
models, on the same text.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.intervals import mean_interval


@dataclass(frozen=True)
class UnitLoss:
    """The loss of a text for each unit of it.

    Attributes:
        per: "token", "word" or "byte".
        n: how many of them the scored text has.
        nats: the total loss divided by `n`.
        interval_95: the 95 % interval of `nats` over a longer text of the same kind
            (`intervals.mean_interval`); None if the text is too short for one.
        perplexity: e to the power of `nats`; None where a float cannot hold it.
        perplexity_interval_95: that of the interval's ends; None likewise.
    """

    per: str
    n: int
    nats: float
    interval_95: tuple[float, float] | None
    perplexity: float | None
    perplexity_interval_95: tuple[float, float] | None


def unit_losses(
    losses: npt.NDArray[np.floating],
    counts: Mapping[str, npt.NDArray[np.integer]],
    totals: Mapping[str, int] | None = None,
) -> Iterator[UnitLoss]:
    """Yield the loss for each token, and for each unit that is counted.

    Args:
        losses: (n,), nats, one for each target, in the order of the text.
        counts: unit → (n,), how many of the units each target has, for instance its bytes. The
            interval allows for their variation along the text.
        totals: unit → how many the text has, where it is not the sum of its counts, as where the
            text was rewritten before it was scored.
    """
    for per, count in {"token": np.ones(len(losses), dtype=np.int64), **counts}.items():
        n = int(count.sum()) if totals is None else totals.get(per, int(count.sum()))
        if n < 1 or not count.any():
            continue
        nats, ends = _ratio(losses.astype(np.float64), count.astype(np.float64), n)
        pair = None if ends is None else [_exp(end) for end in ends]
        yield UnitLoss(
            per=per,
            n=n,
            nats=nats,
            interval_95=ends,
            perplexity=_exp(nats),
            perplexity_interval_95=None if pair is None or None in pair else (pair[0], pair[1]),  # type: ignore[arg-type]
        )


def _ratio(
    losses: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], n: int
) -> tuple[float, tuple[float, float] | None]:
    """Return the sum of the losses divided by `n`, and its interval.

    The ratio of two sums R varies like the mean of (loss - R * count) / (mean count), which is the
    linear part of its error (Cochran, Sampling Techniques, 1977, chapter 6).
    """
    ratio = float(losses.sum() / counts.sum())
    scale = float(counts.sum()) / n
    ends = mean_interval(ratio + (losses - ratio * counts) / counts.mean())
    return ratio * scale, None if ends is None else (ends[0] * scale, ends[1] * scale)


def _exp(nats: float) -> float | None:
    try:
        return math.exp(nats)
    except OverflowError:
        return None
