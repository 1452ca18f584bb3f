"""Advice on the loss: arms of experiments, the length of training, batches, published weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from reports import words
from reports.advice.item import Advice
from reports.blocks import dicts
from reports.conditions import conditions, runs_of
from reports.labels import SAMPLER_LABELS
from reports.load import Run, over
from reports.topics import reuse
from reports.topics.convergence.findings import family, outcome
from reports.topics.convergence.sizes import could_have_found, tokens_ratio
from reports.topics.experiments.findings import rises
from reports.topics.experiments.findings import rows as outcomes


def better_arms(run: Run) -> Iterator[Advice]:
    """Advise the arm of an experiment that ended lower; leave samplers that end alike."""
    training, comparisons = run.cases("convergence"), family(run.cases("comparison"))
    pairs = [pair for _, pair in comparisons[comparisons["difference"].notna()].iterrows()]
    shown = {_ordered(pair) for pair in pairs if _is_shown(pair)}
    for pair in pairs:
        kind = outcome(pair)
        better, worse = map(words.arm_in_prose, _ordered(pair))
        where = conditions(pair, training, (pair["a"], pair["b"]))
        if _is_shown(pair) and not better.startswith(MEAN_OF):
            ends = sorted(map(abs, (pair["low"], pair["high"])))
            is_contested = _ordered(pair)[::-1] in shown
            yield Advice(
                f"Take {better} instead of {worse}: {words.loss(abs(pair['difference']))} "
                f"nats/token lower{where}",
                f"95 % interval {' to '.join(map(words.loss, ends))} lower; the p-value, adjusted "
                f"for {words.count(int(pair['n_claims']), 'claim')}, is "
                f"{words.p_value(pair['p_adjusted'])}.{_tokens(pair)}",
                f"It holds for this text, size and number of passes.{CONTESTED * is_contested}",
                _price(pair, runs_of(pair, training)),
                (pair["case"],),
                saves=_tokens_saved(pair),
            )
        elif kind in ("equal", "unresolved") and _is_of_samplers(pair):
            yield Advice(
                f"Between {better} and {worse}, keep the sampler that you use: "
                f"{ALIKE[kind]}{where}",
                could_have_found(pair).strip() if kind == "unresolved" else "",
                "" if kind == "equal" else "That does not prove that they end equal.",
                "",
                (pair["case"],),
                kind="leave",
            )


CONTESTED = " Another comparison of this run shows the opposite under other conditions."
MEAN_OF = "the mean of ("
"""Begins the words for arms that are taken together to show an interaction, not to be chosen."""
ALIKE = {
    "equal": "they end equal in test loss to within the margin",
    "unresolved": "no difference in test loss was resolved",
}


def _ordered(pair: pd.Series) -> tuple[str, str]:
    """Return the arms of a comparison, the better one first."""
    a, b = str(pair["a"]), str(pair["b"])
    return (a, b) if pair["difference"] < 0 else (b, a)


def _is_shown(pair: pd.Series) -> bool:
    """Return whether a difference is resolved, with its interval around it and beside zero."""
    is_inside = pair["low"] <= pair["difference"] <= pair["high"]
    return outcome(pair) == "differ" and is_inside and not pair["low"] <= 0 <= pair["high"]


def _tokens_saved(pair: pd.Series) -> float:
    """Return the share of the tokens that the better arm saves, 0 where that is not shown."""
    first = pair["difference"] < 0
    ratio, worst = pair["tokens_ratio"], pair["tokens_ratio_high" if first else "tokens_ratio_low"]
    if not first:
        ratio, worst = over(1, ratio), over(1, worst)
    return float(1 - ratio) if worst < 1 else 0.0


def _is_of_samplers(pair: pd.Series) -> bool:
    return all(str(pair[side]).partition("-")[0] in SAMPLER_LABELS for side in "ab")


def _tokens(pair: pd.Series) -> str:
    """Say how many tokens one arm takes to reach the loss that all reach."""
    if pd.isna(pair["tokens_ratio"]):
        return ""
    a, b = words.arm_in_prose(pair["a"]), words.arm_in_prose(pair["b"])
    loss = words.loss(pair["reached_loss"])
    times = tokens_ratio(pair)
    return f" The tokens until a loss of {loss} with {a} are {times} times those with {b}."


def _price(pair: pd.Series, training: pd.DataFrame) -> str:
    """Say how many more parameters and how much more text the better arm takes."""
    if "arm" not in training:
        return ""
    arms = training.groupby("arm")[["n_params", "train_tokens"]].first()
    better, worse = (
        arms.loc[pair[side]] if pair[side] in arms.index else {}
        for side in ("ab" if pair["difference"] < 0 else "ba")
    )
    told = [
        f"{words.number(factor)} times the {what}"
        for column, what in (("n_params", "parameters"), ("train_tokens", "text"))
        if (factor := over(better.get(column), worse.get(column))) != 1
        and not words.is_missing(factor)
    ]
    return words.sentence(" and ".join(told)) if told else "No additional text or parameters."


def overfitting(run: Run) -> Iterator[Advice]:
    """Advise to stop where the test loss is shown to rise for good."""
    for arm in dicts(outcomes(run, "onset")):
        if not (rises(arm) and arm["rise_low"] > 0) or not 0 < arm["epochs"] < arm["passes"]:
            continue
        yield Advice(
            f"Stop after {words.number(arm['epochs'])} of {words.number(arm['passes'])} passes "
            f"with {words.arm_in_prose(arm['arm'])}: the test loss then rises for good"
            f"{arm['where']}",
            f"It rises by {words.signed(arm['rise'])} nats/token, 95 % interval "
            f"{words.interval(arm['rise_low'], arm['rise_high'])}; the adjusted p-value is "
            f"{words.p_value(arm['p_adjusted'])}.",
            "A run that is planned to end there has another course of the learning rate.",
            "Evaluations along the way, or more text.",
            (str(arm["case"]),),
            saves=1 - arm["epochs"] / arm["passes"],
        )


def dropped_batches(run: Run) -> Iterator[Advice]:
    """Warn of a last batch that is dropped from an order that never changes."""
    frame = run.cases("coverage")
    frame = frame[frame["sampler"].eq("sequential") & frame["epochs"].ge(1)]
    for setting, rows in frame.groupby("setting", sort=False):
        missed = rows.set_index("target_epochs").groupby("drop_last")["missed_targets"]
        if set(missed.groups) != {False, True}:
            continue
        kept, dropped = missed.get_group(False), missed.get_group(True)
        if not dropped.min() == dropped.max() > kept.max():
            continue
        worst = rows[rows["drop_last"].eq(True)].iloc[-1]
        share = words.percent(over(worst["missed_targets"], worst["train_tokens"] - 1))
        yield Advice(
            f"Do not drop the last batch without shuffling: every pass leaves out the same {share} "
            "of the text",
            f"{words.number(worst['missed_targets'])} targets after each of "
            f"{words.count(len(dropped), 'length')} of training, against "
            f"{words.number(kept.max())} with the last batch kept. Counted exactly; {setting}.",
            "What it does to the loss was not measured.",
            "One smaller batch in each pass.",
            (worst["case"],),
        )


def reusing(run: Run) -> Iterator[Advice]:
    """Advise the option of build or reuse that ended lowest, where its interval shows it."""
    options = reuse.named(run.series("reuse", "reuse_options"))
    for case, frame in options.groupby("case", sort=False):
        rows = sorted(dicts(frame), key=lambda row: row["loss"])
        best, scratch = rows[0], [row for row in rows if row["option"] == "scratch"]
        if best["option"] == "scratch" or not scratch or not scratch[0]["behind_low"] > 0:
            continue
        yield Advice(
            f"Take {best['variant']} instead of training from scratch: "
            f"{words.loss(scratch[0]['behind'])} nats/token lower than {scratch[0]['variant']}",
            "95 % interval over the text, one seed each: "
            f"{words.interval(scratch[0]['behind_low'], scratch[0]['behind_high'])}.",
            "With another seed the two may end elsewhere. The published model may have seen the "
            "test part in its training.",
            f"Its training on this text cost {reuse.money(best)}.",
            (str(case),),
        )


RULES: tuple[Callable[[Run], Iterator[Advice]], ...] = (
    better_arms,
    overfitting,
    dropped_batches,
    reusing,
)
