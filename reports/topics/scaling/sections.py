"""One run → the section on scaling: the ladder, its law, its held-out size; gains at inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.ledger.recommendations import RECOMMENDATIONS
from gptcore import plain_text
from reports import drawing, words
from reports.blocks import Plot, Plotter, Section, Table, dicts, missing, table
from reports.load import Run, over
from reports.numbers import Heading
from reports.topics.scaling import figures
from reports.topics.scaling.findings import grade, held, interval, of_the_gain, off, percent

GROUPS = ("rung", "prediction", "target", "scaling", "recommendation", "repetition")
SHOWN = 0.15
"""Share of a run before which checkpoints are not drawn: they would compress the others."""
LAW_KEY = (
    "Lines: the law, fitted to the last 70 % of every run of the smaller sizes. Dashed line and "
    "shade: its prediction for the held-out size, with the 80 % interval for one run. Large marks: "
    "the held-out size. Below: what the law misses. Crosses: two guesses without a law, that the "
    "loss stays as at the size below, and that it goes on in a line through two sizes. "
)
FITTED = 0.3
"""Share of a run before which the law is neither fitted nor drawn."""
MAX_WARNINGS = 6


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return what a larger model would reach; no section where no ladder was asked for."""
    cases = {group: run.cases(group) for group in (*GROUPS, "inference")}
    asked = [r for r in run.unfinished if str(r["case"]).startswith("bench_scaling::")]
    if all(frame.empty for frame in cases.values()) and not asked:
        return []
    plots: list[Plot] = []
    shown: list[Table] = []
    lines: list[str] = []
    for corpus in plot.parts(dict.fromkeys(cases["rung"]["corpus"].map(str))):
        part = {name: f[f["corpus"].map(str) == corpus] for name, f in cases.items()}
        text = f"Corpus: {words.corpus(part['rung']['corpus'].iloc[0])}"
        plots += _ladder(run, plot, part, text) + _inference(run, plot, part["inference"], text)
        rungs = _rungs(_together(part["rung"], part["target"]), text)
        shown.append(_with_facts(rungs, run, part["prediction"], part["target"]))
        if not part["recommendation"].empty:
            shown.append(_recommendations(part["recommendation"], text))
        if not part["repetition"].empty:
            repetition = _repetition(run, part["repetition"], text)
            shown.append(_with_facts(repetition, run, part["repetition"]))
        lines += [_outcome(case) for _, case in part["scaling"].iterrows()]
    return [
        Section(
            "scaling",
            "Scaling",
            "What loss would a larger model reach?",
            "Small models of several sizes are trained on the same bytes. A law L = E + "
            "A/N^\u03b1 + B/D^\u03b2 of parameters N and training bytes D is fitted to their "
            "losses. It predicts the loss of the next size before that size is trained. Each byte "
            "is a token here, so losses cannot be compared with those of other sections. "
            f"{' '.join(lines)}".strip(),
            plots,
            shown,
            missing=missing(run, "rung", "ladder of models") if cases["rung"].empty else "",
        )
    ]


def _outcome(case: pd.Series) -> str:
    if pd.isna(case["are_last30"]):
        return ""
    are = case["are_last30"]
    return (
        f"On {words.corpus(case['corpus'])}, the law was {off(case['signed_final'])} at the end of "
        f"the held-out run. Its mean error over the last 30 % of that run is {percent(are)}, "
        f"{grade(are)}. 80 % interval: {interval(case)}; {held(case)}."
        f"{of_the_gain(case)}"
    )


def _parameters(n_params: float) -> str:
    return f"{words.number(n_params)} parameters"


def _conditions(case: pd.Series, text: str) -> str:
    """Return what all runs of a ladder share."""
    b, t = (words.number(case[name]) for name in ("batch_size", "block_size"))
    return (
        f"{text}, {words.number(case['n_tokens'])} bytes, one pass over the training part; "
        f"{words.number(case['n_layer'])} layers, B{words.NBSP}={words.NBSP}{b}, "
        f"T{words.NBSP}={words.NBSP}{t}, constant learning rate after the warm-up"
    )


def _with_facts(made: Table, run: Run, *frames: pd.DataFrame) -> Table:
    """Return the table with the device of the training and the warnings of the fits below it."""
    cases = {case for frame in frames for case in frame["case"]}
    facts = [r["facts"] for r in run.finished if r["case"] in cases]
    warnings = [w for f in facts if isinstance(f.get("warnings"), list) for w in f["warnings"]]
    devices = {plain_text.shorten(str(f["device"])) for f in facts if f.get("device")}
    said = [f"Trained on {', '.join(sorted(devices))}."] if devices else []
    said += [
        words.sentence(f"warning of the fit: {plain_text.shorten(str(w), 300)}")
        for w in list(dict.fromkeys(map(str, warnings)))[:MAX_WARNINGS]
    ]
    return replace(made, note=" ".join([made.note, *said]))


def _together(*frames: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all frames; empty ones have no types, and pandas 2 warns of them."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1])


def _ladder(run: Run, plot: Plotter, part: dict[str, pd.DataFrame], text: str) -> list[Plot]:
    """Return the figure of the ladder with its law and its held-out size."""
    cases = _together(part["rung"], part["target"])
    curves = _together(*(run.series(group, "test_curve") for group in ("rung", "target")))
    curves = curves.merge(cases[["case", "n_params"]], on="case")
    means = curves.groupby(["n_params", "tokens"])["loss"].mean().reset_index().astype(float)
    law = run.series("prediction", "law_curve").rename(
        columns={"loss": "law", "params": "n_params"}
    )
    law = law.loc[
        law["case"].isin(part["prediction"]["case"]), ["n_params", "tokens", "law", "low", "high"]
    ]
    points = means.merge(law.astype(float), on=["n_params", "tokens"], how="outer")
    points = points.sort_values(["n_params", "tokens"])
    share = points["tokens"] / points["tokens"].max()
    stated = ["law", "low", "high"]
    points[stated] = points[stated].where(share >= FITTED)
    points = points[share >= SHOWN]
    target = part["prediction"]["n_params"].max()
    points = points.assign(
        compute=6 * points["n_params"] * points["tokens"],
        variant=[
            f"{_parameters(n)}{' (held out)' if n == target else ''}" for n in points["n_params"]
        ],
        is_target=points["n_params"] == target,
    )
    points = points.assign(**_naive(points))
    seeds = cases["seed"].nunique()
    has_law = points["law"].notna().any()
    return plot(
        figures.ladder, points.dropna(subset=["compute"]), "The ladder and the next size",
        "Marks: test loss along each run, named by the number of parameters"
        f"{f', mean of {seeds} seeds' if seeds > 1 else ''}. {LAW_KEY if has_law else ''}"
        f"{_conditions(cases.iloc[0], text)}.",
        "Loss of each size by training compute, with the law and what it misses.",
        {"variant": "Size", "tokens": "Bytes", "compute": ("FLOP", drawing.amount),
         "loss": ("Loss", words.loss), "law": ("Law", words.loss)},
    )  # fmt: skip


def _naive(points: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return two guesses of the end of the held-out run that need no law, NaN elsewhere.

    The first is the loss of the size below; the second goes on in the straight line of ln L
    against ln N through the two sizes below.
    """
    nothing = pd.Series(math.nan, points.index)
    ends = points.dropna(subset=["loss"]).drop_duplicates("n_params", keep="last")
    known, held_out = ends[~ends["is_target"]].tail(2), points[points["is_target"]].tail(1)
    if len(known) < 2 or held_out.empty:
        return {"size_guess": nothing, "line_guess": nothing}
    (n_1, loss_1), (n_2, loss_2) = known[["n_params", "loss"]].to_numpy().tolist()
    slope = math.log(loss_2 / loss_1) / math.log(n_2 / n_1)
    line = loss_2 * (float(held_out["n_params"].iloc[0]) / n_2) ** slope
    at_end = points.index == held_out.index[0]
    return {"size_guess": nothing.mask(at_end, loss_2), "line_guess": nothing.mask(at_end, line)}


def _rungs(cases: pd.DataFrame, text: str) -> Table:
    """Return every size of the ladder with the losses of its runs."""
    rows = []
    for n_params in sorted(cases["n_params"].dropna().unique().tolist()):
        runs = cases[cases["n_params"] == n_params]
        losses = runs["final_test_loss"]
        spread = f"{words.loss(losses.min())} to {words.loss(losses.max())}"
        first = runs.iloc[0]
        rows.append(
            (
                _parameters(n_params) + (" (held out)" if "target" in set(runs["group"]) else ""),
                f"{words.number(first['n_layer'])} \u00d7 {words.number(first['n_embd'])}",
                words.number(first["learning_rate"]),
                words.number(over(first["epochs"] * (first["train_tokens"] - 1), n_params)),
                words.number(len(runs)),
                words.loss(losses.mean()),
                spread if len(runs) > 1 else words.MISSING,
                words.number(runs["train_tokens_per_s"].median()),
            )
        )
    columns = (
        "Size", "Layers \u00d7 width#", "Learning rate#", "Bytes/parameter#", "Seeds#",
        "Final loss#", "Over seeds#", "Bytes/s#",
    )  # fmt: skip
    note = "Losses in nats/byte on the same pieces of the test part; speed without evaluation."
    caption = f"The ladder. {_conditions(cases.iloc[0], text)}."
    return table(caption, columns, rows, note=note)


def _recommendations(cases: pd.DataFrame, text: str) -> Table:
    """Return the error of the prediction under each recommendation of Choshen et al. 2025."""
    rows = []
    for _, case in cases.iterrows():
        name = str(case.get("question"))
        known = RECOMMENDATIONS.get(name)
        n = f"{words.number(case['interval_holds'])} of {words.number(case['n_seeds'])}"
        rows.append(
            (
                known.words if known else plain_text.shorten(name),
                percent(case["are_last30"]),
                f"{case['signed_final']:+.2f}{words.NBSP}%".replace("-", words.MINUS),
                words.MISSING if pd.isna(case["interval_holds"]) else n,
            )
        )
    columns = ("Fitted on", "ARE, last 30 %#", "Signed error at the end#", "80 % interval held#")
    note = (
        "The ladder of each seed predicts its own held-out run; errors are means over seeds. "
        "Differences smaller than the seed noise mean nothing."
    )
    caption = f"What the recommendations of Choshen et al. 2025 change here. {text}."
    return table(caption, columns, rows, note=note)


def _repetition(run: Run, cases: pd.DataFrame, text: str) -> Table:
    """Return what repeated text is worth, for each share of the text."""
    series = run.series("repetition", "repetition")
    names = ["case", "question", "R_D", "R_D_low", "R_D_high"]
    cases = cases.reindex(columns=names).merge(series, on="case")
    rows = [
        (
            f"{words.sampler(row['question'])}, {words.text_share(row['share'])}",
            words.number(row["epochs"]),
            words.loss(row["loss"]),
            words.loss(row["predicted"]),
            words.loss(row["all_new"]),
            words.number(row["R_D"]),
            f"{words.number(row['R_D_low'])} to {words.number(row['R_D_high'])}",
        )
        for row in dicts(cases)
    ]
    columns = (
        "Sampler, share of the text", "Epochs#", "Final loss#", "Law with repetition#",
        "Law if all bytes were new#", "R_D#", "95 % from, to#",
    )  # fmt: skip
    note = (
        "R_D: the number of repetitions after which a repeated byte is worth 1/e of a new one. Its "
        "interval is from refits without one size or one share of the text after another."
    )
    caption = f"The same number of training bytes from less text, at one size. {text}."
    return table(caption, columns, rows, note=note)


def _inference(run: Run, plot: Plotter, cases: pd.DataFrame, text: str) -> list[Plot]:
    """Return what the held-out size gains from longer contexts and from more samples."""
    plots: list[Plot] = []
    for _, case in plot.parts(cases.iterrows()):
        places = words.number(case.get("prompts"))
        where = f"{text}, {_parameters(case['n_params'])}, {places} places of the test part"
        names = ("by_context", "by_samples", "by_pass")
        context, samples, passing = (
            frame[frame["case"] == case["case"]]
            for frame in (run.series("inference", name) for name in names)
        )
        plots += plot(
            figures.by_context, context, "A longer context",
            "Loss of the next 32 bytes, each predicted from the given number of bytes before it. "
            f"Bars: 95 % intervals over places.{_law(case, 'context', words.loss)} {where}.",
            "Loss by context length.", {"x": "Bytes read"} | _interval(words.loss),
        )  # fmt: skip
        plots += plot(
            figures.by_samples, samples, "More samples, of which the likeliest is kept",
            f"Share of bytes equal to the true text. Bars: 95 % intervals over places."
            f"{_law(case, 'samples', words.percent)} {where}.",
            "Verbatim accuracy by number of samples.", {"x": "Samples"} | _interval(words.percent),
        )  # fmt: skip
        if not passing.empty:  # ledgers of before have none
            plots += plot(
                figures.by_pass, passing, "Samples until one of them succeeds",
                f"{_needed(case, passing)} Points: pass@k without bias. Band: 95 % interval for "
                "any distribution of difficulty over places."
                f"{_predicted_pass(case, passing)} {where}.",
                "Share of places with a success by number of samples.",
                {"x": "Samples"} | _interval(words.percent),
            )  # fmt: skip
    return plots


def _needed(case: pd.Series, passing: pd.DataFrame) -> str:
    """Return how many samples it takes until half of the places have a success."""
    low, high = case.get("samples_needed_low"), case.get("samples_needed_high")
    goal = "For half of the places to have a sample with half of its bytes right, "
    if not words.is_missing(high):
        ends = f"{words.number(low)} to {words.number(high)}"
        return f"{goal}{ends} samples are needed (95 % interval)."
    last = passing.iloc[-1]
    least = (
        "" if words.is_missing(low) else f"at least {words.number(low)} samples are needed, and "
    )
    return (
        f"{goal}{least}the data do not say how many suffice: with {words.number(last['x'])}, "
        f"{words.percent(last['low'])} to {words.percent(last['high'])} of the places have one "
        "(95 % interval)."
    )


def _predicted_pass(case: pd.Series, passing: pd.DataFrame) -> str:
    """Return what a quarter of the samples predicted of all of them, "" where that is unknown."""
    low, high = case.get("pass_predicted_low"), case.get("pass_predicted_high")
    measured = passing["value"].dropna()
    if words.is_missing(low) or measured.empty:
        return ""
    seen = measured.iloc[-1]
    holds = "holds" if low <= seen <= high else "misses"
    return (
        f" A quarter of the samples gave {words.percent(low)} to {words.percent(high)} for all of "
        f"them (95 % interval), which {holds} the {words.percent(seen)} measured."
    )


def _law(case: pd.Series, axis: str, shown: Callable[[Any], str]) -> str:
    """Return what the dashed line means, "" where there is none."""
    are: Any = case.get(f"{axis}_are")
    if words.is_missing(are):
        return ""
    low, high = (case.get(f"{axis}_predicted_{end}") for end in ("low", "high"))
    interval = "" if words.is_missing(low) else f" (95 % interval {shown(low)} to {shown(high)})"
    return (
        " Dashed line: a power law fitted to all points but the last. Ring: its prediction of the "
        f"last point{interval}, off by {percent(are)}."
    )


def _interval(shown: Callable[[Any], str]) -> dict[str, Heading]:
    """Return the columns of a value with its interval and its law."""
    names = {"value": "Measured", "low": "From", "high": "To", "law": "Law"}
    return {name: (heading, shown) for name, heading in names.items()}
