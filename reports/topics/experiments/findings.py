"""What is worked out from whole experiments, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports import words
from reports.blocks import Finding, dicts
from reports.claims import listed
from reports.conditions import conditions, experiment, place
from reports.load import Run, over

ALPHA = 0.05
FEWEST_TEXTS = 2
FEWEST_SEEDS = 3  # for a test of two variances


def find(run: Run) -> list[Finding]:
    """Return the findings on whole experiments, and on what several texts have in common."""
    training = run.cases("convergence")
    return [
        *overfitting(rows(run, "onset")),
        *staircases(rows(run, "staircase")),
        *forms(rows(run, "repeat_forms")),
        *seed_noise(rows(run, "noise")),
        *initial_weights(initial(training)),
        *ranking(run.cases("comparison"), training),
    ]


def rows(run: Run, name: str) -> pd.DataFrame:
    """Return a series of all outcomes, with the words for their experiment and where they hold."""
    return run.series("outcome", name).merge(
        _placed(run.cases("outcome"), run.cases("convergence"))[["case", "experiment", "where"]],
        on="case",
    )


def _placed(cases: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """Return cases with `experiment` in words, and `where` what is claimed of it holds."""
    each = [case for _, case in cases.iterrows()]
    return cases.assign(
        experiment=[experiment(case) for case in each],
        where=[place(case, training) for case in each],
    )


def shown(p_value: Any) -> bool:
    """Return whether an adjusted p-value shows its claim."""
    return bool(pd.notna(p_value) and p_value <= ALPHA)


def rises(arm: Any) -> bool:
    """Return whether the test loss of an arm is shown to rise for good."""
    return shown(arm["p_adjusted"]) and bool(arm["rise"] > 0)


def overfitting(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say of each experiment from which pass on its arms overfit, and what could have been seen."""
    for case, arms in frame.groupby("case", sort=False):
        every = dicts(arms)
        found = [arm for arm in every if rises(arm)]
        others = [words.arm_in_prose(arm["arm"]) for arm in every if not rises(arm)]
        told = [
            f"after {words.number(arm['epochs'])} passes with {words.arm_in_prose(arm['arm'])}"
            for arm in found
        ]
        able = any(pd.notna(arm["detectable"]) for arm in every)
        if told:
            headline = f"The test loss rises for good {listed(told)}"
            headline += f"; with {listed(others)} no lasting rise was found" if others else ""
        elif able:
            headline = f"No lasting rise of the test loss was found with {listed(others, 'or')}"
        else:
            headline = "Too few seeds to tell whether the test loss rises for good"
        yield Finding(
            66 if told else 40 if able else 20,
            "experiments",
            "",
            f"{headline}{every[0]['where']}",
            " ".join(map(_onset, every)),
            (str(case),),
        )


def _onset(arm: dict[str, Any]) -> str:
    seeds = words.count(int(arm["n_seeds"]), "seed")
    text = (
        f"{_named(arm)} "
        f"({words.number(arm['train_tokens'])} tokens, {words.number(arm['passes'])} passes, "
        f"{seeds}): the lowest mean test loss is {words.loss(arm['lowest'])} nats/token after "
        f"{words.number(arm['epochs'])} passes, and evaluations are "
        f"{words.number(arm['between'])} passes apart; {words.loss(arm['final'])} at the end."
    )
    if pd.isna(arm["p_adjusted"]):
        return f"{text} One seed gives no test of the rise."
    text += (
        f" Rise, at the evaluation that the other seeds choose: {words.signed(arm['rise'])}, 95 % "
        f"interval {words.interval(arm['rise_low'], arm['rise_high'])}, adjusted p = "
        f"{words.p_value(arm['p_adjusted'])}."
    )
    when = " over the last stretch" if arm["lowest"] == arm["final"] else ""
    return text if rises(arm) else f"{text} {_could_have_found('rise', arm, when)}"


def staircases(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say in which arms the training loss steps at the borders of epochs."""
    for case, arms in frame[frame["size"].notna()].groupby("case", sort=False):
        every = dicts(arms)
        found = [arm for arm in every if shown(arm["p_adjusted"])]
        others = [words.arm_in_prose(arm["arm"]) for arm in every if not shown(arm["p_adjusted"])]
        told = [
            f"{words.signed(arm['size'])} nats/token with {words.arm_in_prose(arm['arm'])}"
            for arm in found
        ]
        able = any(pd.notna(arm["detectable"]) for arm in every)
        if told:
            headline = f"At the borders of epochs the training loss steps by {listed(told)}"
            headline += f"; no step was resolved with {listed(others, 'or')}" if others else ""
        elif able:
            headline = "No step of the training loss at the borders of epochs was resolved"
        else:
            headline = "Too few seeds to tell whether the training loss steps at borders of epochs"
        yield Finding(
            65 if told else 39 if able else 20,
            "experiments",
            "",
            f"{headline}{every[0]['where']}",
            "First twentieth of an epoch less the last twentieth of the one before. "
            + " ".join(map(_step, every)),
            (str(case),),
        )


def _step(arm: dict[str, Any]) -> str:
    text = (
        f"{_named(arm)} ({words.count(int(arm['n_seeds']), 'seed')}, "
        f"{words.count(int(arm['borders']), 'border')}): {words.signed(arm['size'])} nats/token"
    )
    if pd.isna(arm["p_adjusted"]):
        return f"{text}. One seed gives no test of the step."
    text += (
        f", 95 % interval {words.interval(arm['size_low'], arm['size_high'])}, adjusted p = "
        f"{words.p_value(arm['p_adjusted'])}."
    )
    return text if shown(arm["p_adjusted"]) else f"{text} {_could_have_found('step', arm)}"


def _named(arm: dict[str, Any]) -> str:
    return words.sentence(words.arm(arm["arm"])).removesuffix(".")


def _could_have_found(what: str, arm: dict[str, Any], when: str = "") -> str:
    """Say what so many seeds would have found in an arm in which nothing was shown."""
    if pd.isna(arm["detectable"]):
        return f"So few seeds could have found no {what} of any size, or one of unknown size."
    size = words.number(arm["detectable"])
    return f"A {what} of {size} nats/token{when} would have been found in 80 % of the cases."


def forms(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say which form of the law of repeats predicts cells best that it was not fitted to."""
    for case, judged in frame[frame["error"].notna()].groupby("case", sort=False):
        best, *others = dicts(judged.sort_values("error", kind="stable"))
        beaten = [f"the {each['form']} one" for each in others if shown(each["p_adjusted"])]
        level = [f"the {each['form']} one" for each in others if not shown(each["p_adjusted"])]
        if beaten:
            headline = f"The {best['form']} form of the law of repeats predicts held-out cells "
            headline += f"better than {listed(beaten)}"
            headline += (
                f", but is not shown to do so against {listed(level, 'or')}" if level else ""
            )
        else:
            headline = "No form of the law of repeats is shown to predict held-out cells best"
        errors = listed(
            f"{words.percent(each['error'])} ({each['form']})" for each in (best, *others)
        )
        beyond = [
            f"{words.percent(each['error_most_passes'])} ({each['form']})"
            for each in (best, *others)
            if pd.notna(each["error_most_passes"])
        ]
        yield Finding(
            64 if beaten else 42,
            "experiments",
            "",
            f"{headline}{best['where']}",
            f"Mean absolute error over {words.count(int(best['n_cells']), 'cell')}, each predicted "
            f"from all others: {errors}."
            + (
                f" The cells with the most passes, from all with fewer: {listed(beyond)}."
                * bool(beyond)
            )
            + " The forms are compared by sign flips over the cells, adjusted for all pairs of "
            "forms. Cells that share a text are not independent, so read the errors first.",
            (str(case),),
        )


def seed_noise(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say whether the largest model's loss varies less over seeds than that of the smallest."""
    known = frame[frame[["sd", "n_params", "loss"]].notna().all(axis=1)]
    for case, arms in known.groupby("case", sort=False):
        first, *more = dicts(arms.sort_values("n_params", kind="stable"))
        if not more or pd.notna(first["p_adjusted"]):  # the tests are against another arm
            continue
        last = more[-1]
        sds = [
            f"{words.number(arm['sd'])} nats/token at {words.si(arm['n_params'], '')} weights"
            for arm in (first, last)
        ]
        able = min(arm["n_seeds"] for arm in (first, last)) >= FEWEST_SEEDS
        if not able:
            headline = "Too few seeds to compare the noise of the seed between sizes"
        elif shown(last["p_adjusted"]):
            how = "less" if last["sd"] < first["sd"] else "more"
            headline = f"The loss of the largest model varies {how} over seeds than the smallest's"
        else:
            headline = "No change of the noise of the seed with the size of the model was resolved"
        yield Finding(
            20 if not able else 61 if shown(last["p_adjusted"]) else 41,
            "experiments",
            "",
            f"{headline}{first['where']}: sd {listed(sds)}",
            " ".join(
                f"{_named(arm)}: sd {words.number(arm['sd'])} nats/token, 95 % interval "
                f"{words.number(arm['sd_low'])} to {words.number(arm['sd_high'])}, which is "
                f"{words.percent(over(arm['sd'], arm['loss']))} of the loss, over "
                f"{words.count(int(arm['n_seeds']), 'seed')}."
                for arm in (first, *more)
            )
            + " Adjusted p of the largest against the smallest: "
            f"{words.p_value(last['p_adjusted'])}. The intervals are those of normal losses. Sizes "
            "also differ in their learning rate.",
            (str(case),),
        )


def initial(training: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of experiments that compare initial weights, with ln V as `ln_vocab`."""
    names = ["initial_test_loss", "vocab_size", "initial_copy_probability"]
    params = ["init", "arm", "experiment"]
    if not {*params} <= set(training):
        return training.head(0)
    known = training[training[[*names, *params]].notna().all(axis=1)]
    known = known[known["vocab_size"].astype(float).gt(0)]
    compared = known.groupby("experiment")["init"].transform("nunique").gt(1)
    logs = known["vocab_size"].astype(float).map(math.log)
    return _placed(known.assign(ln_vocab=logs)[compared], training)


def initial_weights(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say how far above ln V each way to begin starts, and how much it copies its input."""
    if frame.empty:
        return
    for _, runs in frame.groupby("experiment", sort=False):
        said, evidence = [], []
        for init, same in runs.groupby("init", sort=False):
            above = (same["initial_test_loss"] - same["ln_vocab"]).mean()
            copied = same["initial_copy_probability"].mean()
            name = words.arm_in_prose(f"init_{init}")
            said.append((name, words.signed(above, 3), words.percent(copied)))
            evidence.append(str(same["case"].iloc[0]))
        case = runs.iloc[0]
        yield Finding(
            60,
            "experiments",
            "",
            "Before training, the test loss less ln V is "
            + listed(f"{above} nats/token with {name}" for name, above, _ in said)
            + case["where"],
            "A model that knows nothing has a loss of ln V, here "
            f"{words.loss(case['ln_vocab'])} nats/token. Mean probability of the current token as "
            "the next one: "
            + listed(f"{copied} with {name}" for name, _, copied in said)
            + f". Means over {words.count(len(runs), 'run')}. These numbers hold for one text and "
            "one shape of the model.",
            tuple(evidence),
        )


def ranking(comparisons: pd.DataFrame, training: pd.DataFrame) -> Iterator[Finding]:
    """Say on how many texts a pair of arms differs in the same direction."""
    if "experiment" not in comparisons:
        return
    known = comparisons[comparisons[["difference", "corpus", "experiment"]].notna().all(axis=1)]
    keys = [
        str(name).replace(f"-{corpus}", "", 1)
        for name, corpus in zip(known["experiment"], known["corpus"], strict=True)
    ]
    for _, pairs in known.assign(key=keys).groupby(["key", "a", "b"], sort=False):
        texts = dicts(pairs)
        if pairs["corpus"].nunique() < FEWEST_TEXTS:
            continue
        below = [t for t in texts if shown(t["p_adjusted"]) and t["difference"] < 0]
        above = [t for t in texts if shown(t["p_adjusted"]) and t["difference"] > 0]
        a, b = words.arm_in_prose(texts[0]["a"]), words.arm_in_prose(texts[0]["b"])
        if len(above) > len(below):
            a, b, below, above = b, a, above, below
        n = words.count(len(texts), "text")
        if below:
            headline = f"{a} ended below {b} in test loss on {len(below)} of {n}"
            headline += f", and above on {len(above)}" if above else ""
        else:
            headline = f"on none of {n} is a difference in test loss resolved between {a} and {b}"
        yield Finding(
            68 if below else 43,
            "experiments",
            "",
            words.sentence(headline).removesuffix("."),
            "Differences, first less second: "
            + listed(
                f"{words.signed(t['difference'])} nats/token"
                f"{conditions(t, training, (t['a'], t['b']))} "
                f"(adjusted p = {words.p_value(t['p_adjusted'])})"
                for t in texts
            )
            + f", where the first is {words.arm_in_prose(texts[0]['a'])}. Each text has "
            "its own adjusted tests; few texts say little about others.",
            tuple(str(t["case"]) for t in texts),
        )
