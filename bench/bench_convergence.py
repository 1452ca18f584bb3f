"""Question: does the sampler change what a small GPT learns, at equal tokens and equal updates?

Work unit: one training run. Runs are paired: runs of one seed start from the same weights and are
scored on the whole test part (the tail of the text, with an embargo of block_size tokens before
it). They differ only in the windows and their order. Initial weights and windows come from separate
random streams. Not measured: other learning rates, larger models, other texts.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.convergence import MARGIN_NATS, train_and_score
from bench.ledger.record import Record
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.training_cases import CompareCase, TrainCase
from gptcore.stats import compare_pairs, detectable_difference, holm


@pytest.mark.benchmark(group="convergence")
def test_train(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    train_and_score(benchmark, result, session, case)


def _losses(records: list[Record], case: CompareCase, sampler: str) -> dict[int, float]:
    """Return seed → final test loss of one sampler in the experiment of `case`."""
    wanted = {"experiment": case.experiment, "sampler": sampler}
    return {
        r["seed"]: r["metrics"]["final_test_loss"]
        for r in records
        if wanted.items() <= r["params"].items()
    }


@pytest.mark.benchmark(group="comparison")
def test_compare(benchmark: Any, result: Result, session: Session, case: CompareCase) -> None:
    records = session.ledger.cases("convergence")
    pairs = [(c.a, c.b) for c in session.plan.compare_cases() if c.experiment == case.experiment]
    losses = {s: _losses(records, case, s) for pair in pairs for s in pair}
    incomplete = [s for s, by_seed in losses.items() if len(by_seed) < case.seeds]
    if incomplete:
        pytest.skip(f"not all runs of {', '.join(incomplete)} are finished")
    paired = {
        (a, b): [losses[a][seed] - losses[b][seed] for seed in sorted(losses[a])] for a, b in pairs
    }
    comparisons = benchmark.pedantic(
        lambda: [compare_pairs(paired[pair], margin=MARGIN_NATS) for pair in pairs], rounds=1
    )
    index = pairs.index((case.a, case.b))
    this = comparisons[index]
    result.metrics |= {
        "n_seeds": case.seeds,
        "difference": this.mean,
        "difference_low": this.low,
        "difference_high": this.high,
        "sd_difference": this.sd,
        "p_value": this.p_value,
        "p_adjusted": holm([comparison.p_value for comparison in comparisons])[index],
        "margin": MARGIN_NATS,
        "p_equivalence": this.p_equivalence,
        "p_equivalence_adjusted": holm([each.p_equivalence for each in comparisons])[index],
        "equal_low": this.equal_low,
        "equal_high": this.equal_high,
        "detectable": detectable_difference(this.sd, this.n, n_tests=len(comparisons)),
    }
    result.samples["difference"] = paired[case.a, case.b]
