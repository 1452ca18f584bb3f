"""Records → what they say in plain words, with numbers, conditions and intervals.

Every function here is pure and claims only what its records support. Differences come with their
interval; equality is claimed only through the equivalence test; a null is "no difference resolved".
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.ledger import plain_text
from bench.ledger.schema import PHASE_TIMES
from reports import findings_peers, findings_sampling, findings_scaling, findings_trust, words
from reports.finding import Finding
from reports.load import Run

ALPHA = 0.05


def find(run: Run) -> list[Finding]:
    """Return all findings of one run, the most important first."""
    models = run.cases("model")
    training, comparisons = run.cases("convergence"), run.cases("comparison")
    found = [
        *completeness(run),
        *step_speed(models),
        *forward_speed(models),
        *([] if findings_trust.compares_precisions(run) else precision_ratios(models)),
        *phase_shares(models),
        *findings_sampling.find(run),
        *sampler_differences(comparisons),
        *baseline(training),
        *findings_scaling.find(run),
        *findings_trust.find(run),
        *findings_peers.find(run),
        *accelerators(run),
    ]
    found = findings_trust.with_cautions(run, found)
    return sorted(found, key=lambda finding: -finding.importance)


def verdict(findings: list[Finding]) -> str:
    """Return one sentence from the most important finding of each topic that has a result."""
    clauses = []
    for topic in ("speed", "sampling", "convergence"):
        clause = next((f.clause for f in findings if f.topic == topic and f.clause), None)
        if clause:
            clauses.append(clause)
    if not clauses:
        return "Nothing can be concluded from this run yet: see below what it holds and what not."
    return words.sentence("; ".join(clauses))


# --- the run itself -------------------------------------------------------------------------


def completeness(run: Run) -> Iterator[Finding]:
    """Say what failed, could not be read, or was measured on changed code."""
    failed = [r for r in run.unfinished if r["status"] == "failed"]
    if failed:
        reasons = sorted({plain_text.shorten(r["reason"], 120) for r in failed})
        n = words.count(len(failed), "case")
        yield Finding(
            55,
            "run",
            "",
            f"{n} failed",
            "Nothing below includes them. " + words.sentence("; ".join(reasons[:3])),
            tuple(r["case"] for r in failed[:5]),
        )
    if run.warnings:
        n = words.count(len(run.warnings), "line")
        headline = f"{n} of the ledger could not be read"
        yield Finding(
            95, "run", "", headline, "What they held is missing here, and may change the result."
        )
    if run.fact("run", "dirty") is True:
        yield Finding(
            50,
            "run",
            "",
            "The code differed from its commit",
            "Tracked files had changes when this was measured, so the commit alone does not "
            "reproduce it; the SHA-256 of the sources below says what ran.",
        )


def accelerators(run: Run) -> Iterator[Finding]:
    """Say that numbers are of the CPU alone, where they are."""
    present = run.fact("machine", "accelerators")
    if present == []:
        yield Finding(
            20,
            "machine",
            "",
            "No accelerator was found, so nothing ran on one",
            "Every time in this report is of the CPU. It says nothing about a GPU.",
        )
    elif present and run.fact("run", "devices") == ["cpu"]:
        yield Finding(
            30,
            "machine",
            "",
            "An accelerator is present but was not measured",
            "The run was limited to the CPU. Add the accelerator with --devices.",
        )


# --- speed ----------------------------------------------------------------------------------


def _timed(models: pd.DataFrame, work: str) -> pd.DataFrame:
    """Return the timings of one kind of work; the largest model first, fp32 before others."""
    frame = models[(models["work"] == work) & models["time_s"].gt(0)]
    order = frame.assign(other=frame["precision"].ne("fp32"))
    return order.sort_values(["n_params", "other"], ascending=[False, True], kind="stable")


def step_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how fast the largest model trains, and how far that is from the machine's peak."""
    for _, case in _timed(models, "step").head(1).iterrows():
        speed = f"{words.number(case['tokens_per_s'])} tokens/s"
        share, name = case["mfu"], words.model(case["model"])
        of_peak = (
            "" if pd.isna(share) else f", {words.percent(share)} of this machine's measured peak"
        )
        took = f"{words.si(case['time_s'], 's')} a step"
        yield Finding(
            100,
            "speed",
            f"{name} trains at {speed} in {case['precision']}{of_peak}",
            f"{name} trains at {speed}: {took}{of_peak}",
            f"{words.conditions(case)}. {_rounds(case)} The peak is the best {case['precision']} "
            "matrix product that this machine reached at the model's shapes, measured here.",
            (case["case"],),
        )


def _rounds(case: pd.Series) -> str:
    if pd.isna(case["rounds"]) or pd.isna(case["time_min_s"]) or pd.isna(case["time_max_s"]):
        return "The spread over rounds was not recorded."
    low, high = words.si(case["time_min_s"], "s"), words.si(case["time_max_s"], "s")
    return f"Median of {words.count(int(case['rounds']), 'round')}, from {low} to {high}."


def forward_speed(models: pd.DataFrame) -> Iterator[Finding]:
    """Say how long a forward pass takes; for Model 5 on a CPU beside what its text says."""
    for _, case in _timed(models, "forward").head(1).iterrows():
        name, took = words.model(case["model"]), words.si(case["time_s"], "s")
        told = case["model"] == "model5" and str(case["device"]).startswith("cpu")
        beside = " on this CPU; its text says about 45 s" if told else ""
        caution = (
            " The text that introduced Model 5 names neither its batch size nor its machine, so "
            "the two numbers show the order of magnitude and are no speed-up."
        )
        yield Finding(
            70,
            "speed",
            f"a forward pass of {name} takes {took}",
            f"A forward pass of {name} takes {took}{beside}",
            f"{words.conditions(case)}. {_rounds(case)}{caution if told else ''}",
            (case["case"],),
        )


def precision_ratios(models: pd.DataFrame) -> Iterator[Finding]:
    """Compare bf16 with fp32 where both were timed under otherwise equal conditions."""
    frame = _timed(models, "step")
    keys = ["setting", "model", "device"]
    wide = frame[frame["precision"] == "fp32"].merge(
        frame[frame["precision"] == "bf16"], on=keys, suffixes=("_fp32", "_bf16")
    )
    for _, pair in wide.head(1).iterrows():
        ratio = pair["time_s_fp32"] / pair["time_s_bf16"]
        low = pair["time_min_s_fp32"] / pair["time_max_s_bf16"]
        high = pair["time_max_s_fp32"] / pair["time_min_s_bf16"]
        spread = f"{words.number(low)} to {words.number(high)}"
        ends = "" if pd.isna(low + high) else f" The extremes over the rounds allow {spread}."
        word, factor = ("faster", ratio) if ratio >= 1 else ("slower", 1 / ratio)
        headline = f"in bf16 was {words.number(factor)} times {word} than in fp32"
        if low <= 1 <= high:
            headline = "took no clearly different time in bf16 than in fp32"
        model = words.model(pair["model"])
        yield Finding(
            75,
            "speed",
            "",
            f"A step of {model} {headline}",
            f"{words.si(pair['time_s_bf16'], 's')} against {words.si(pair['time_s_fp32'], 's')}."
            f"{ends} The two were timed one after the other, not interleaved, so a drift of the "
            "machine between them is not excluded, and no interval is claimed.",
            (pair["case_fp32"], pair["case_bf16"]),
        )


def phase_shares(models: pd.DataFrame) -> Iterator[Finding]:
    """Say which phase is most of a training step."""
    for _, case in _timed(models, "step").head(1).iterrows():
        phases = case[list(PHASE_TIMES)].dropna().astype(float)
        if phases.sum() <= 0:
            continue
        shares = (phases / phases.sum()).sort_values(ascending=False)
        listed = ", ".join(f"{PHASE_TIMES[str(k)]} {words.percent(v)}" for k, v in shares.items())
        top, share = PHASE_TIMES[str(shares.index[0])], words.percent(shares.iloc[0])
        yield Finding(
            40,
            "speed",
            "",
            f"The {top} phase takes {share} of a training step",
            f"{words.conditions(case)}: {listed}. Phases are marked inside one real step.",
            (case["case"],),
        )


# --- convergence ----------------------------------------------------------------------------


def outcome(comparison: pd.Series) -> str:
    """Return "differ", "equal", "differ, but little" or "unresolved" for one comparison.

    The difference is resolved by the adjusted p-value; equality by the equivalence test alone.
    """
    resolved = comparison["p_adjusted"] <= ALPHA
    equal = comparison["p_equivalence"] <= ALPHA
    if resolved:
        return "differ, but little" if equal else "differ"
    return "equal" if equal else "unresolved"


def sampler_differences(comparisons: pd.DataFrame) -> Iterator[Finding]:
    """Say, comparison by comparison, what the paired seeds resolve."""
    frame = comparisons[comparisons["difference"].notna()]
    for _, pair in frame.iterrows():
        a, b = words.sampler_in_prose(pair["a"]), words.sampler_in_prose(pair["b"])
        better, worse = (a, b) if pair["difference"] < 0 else (b, a)
        size = f"{abs(pair['difference']):.4f} nats/token"
        margin = f"{words.tick(pair['margin'])} nats/token"
        kind = outcome(pair)
        headline = {
            "differ": f"{better} ended {size} lower in test loss than {worse}",
            "differ, but little": f"{better} ended {size} lower than {worse}, inside the margin",
            "equal": f"{a} and {b} end equal in test loss to within {margin}",
            "unresolved": f"no difference in test loss resolved between {a} and {b}",
        }[kind]
        yield Finding(
            {"differ": 80, "differ, but little": 74, "equal": 72, "unresolved": 58}[kind],
            "convergence",
            headline,
            words.sentence(headline).removesuffix("."),
            _evidence_of(pair, kind, margin),
            (pair["case"],),
        )


def _evidence_of(pair: pd.Series, kind: str, margin: str) -> str:
    n_seeds = pair["n_seeds"]
    seeds = "" if pd.isna(n_seeds) else f" over {words.count(int(n_seeds), 'paired seed')}"
    text = (
        f"Difference {words.signed(pair['difference'])} nats/token{seeds}, 95 % interval "
        f"{words.interval(pair['difference_low'], pair['difference_high'])}; sign-flip "
        f"p = {words.p_value(pair['p_value'])}, adjusted {words.p_value(pair['p_adjusted'])}; "
        f"equivalence p = {words.p_value(pair['p_equivalence'])} (margin {margin})."
    )
    if kind == "unresolved":
        text += " That is no proof of equality: the equivalence test did not show it either."
        if pd.notna(n_seeds) and 2 / 2**n_seeds > ALPHA:
            least = words.p_value(2 / 2**n_seeds)
            text += f" So few seeds could not give p below {least}."
    return f"{text} Corpus {words.corpus(pair['corpus'])}."


def baseline(training: pd.DataFrame) -> Iterator[Finding]:
    """Say whether training learned more than word frequencies."""
    frame = training[training["final_test_loss"].notna() & training["unigram_test_loss"].notna()]
    if frame.empty:
        return
    n, runs = len(frame), words.count(len(frame), "run")
    below = int((frame["final_test_loss_high"] < frame["unigram_test_loss"]).sum())
    above = int((frame["final_test_loss_low"] > frame["unigram_test_loss"]).sum())
    if below == above == 0:
        headline = f"Training was not shown to beat token frequencies in any of {runs}"
    else:
        word, most = ("less", above) if above > below else ("more", below)
        headline = f"Training learned {word} than token frequencies in {most} of {runs}"
    mean, unigram = frame["final_test_loss"].mean(), frame["unigram_test_loss"].mean()
    rest = n - below - above
    yield Finding(
        62,
        "convergence",
        headline[0].lower() + headline[1:],
        headline,
        f"Mean final test loss {words.loss(mean)} nats/token against {words.loss(unigram)} of "
        f"unigram counts. By each run's own 95 % interval {below} lie below that baseline, "
        f"{above} above, {rest} not resolved.",
        tuple(frame["case"].head(3)),
    )
