"""A run and its findings → the first screen of its page: answer, advice, trust, a quote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from reports import words
from reports.advice import advise
from reports.advice.item import Advice
from reports.blocks import Finding, Table, first_cases, table
from reports.claims import listed
from reports.conditions import on_device
from reports.load import UNSTEADY, Run, cautions, over, over_processes, shares_of_peak, stability
from reports.topics import attempt
from reports.topics.position import unusual_ends
from reports.topics.speed.findings import ceilings, has_changed, timed, used_ceilings
from reports.topics.trust.findings import pairs

ANSWERED = ("own model", "speed", "convergence", "sampling", "reuse", "scaling")
"""Topics whose first finding with a clause is a sentence of the answer, in this order."""
MAX_CLAIMS, MAX_ROWS = 2, 12
NO = "No."
LITTLE_LEFT = 0.7
"""Share of the peak from which little is left to gain in a precision."""
SHAPES = {"stable": "●", "noisy": "▲", "drifting": "◆"}
NOTHING = (
    "Nothing can be concluded from this run yet. The sections below say what it holds and what is "
    "missing."
)


@dataclass(frozen=True)
class FirstScreen:
    """What a reader sees first of a run.

    Attributes:
        answer: what the run says, in at most two claims.
        advice: what to change, ranked by what it saves.
        trust: whether the numbers can be relied on, beginning with "Yes", "Partly" or "No".
        quote: one line with its conditions that can be cited; "" where nothing can.
        glance: the timed cases, one row for each, with their state; None where nothing was timed.
    """

    answer: str
    advice: list[Advice]
    trust: str
    quote: str
    glance: Table | None


NO_SCREEN = FirstScreen("The sections below say what this run holds.", [], "", "", None)
"""The first screen of a run that none can be made of."""


def first_screen(run: Run, findings: list[Finding]) -> FirstScreen:
    """Return the first screen of a run, whose findings are the most important first."""
    return [*attempt(lambda: [_of_a_run(run, findings)]), NO_SCREEN][0]


def _of_a_run(run: Run, findings: list[Finding]) -> FirstScreen:
    advice = advise(run)
    steps = timed(run.cases("model"), "step")
    steps = steps[steps["tokens_per_s"].gt(0)]
    told = trust(run, advice)
    return FirstScreen(
        answer=answer(steps, findings, advice),
        advice=advice,
        trust=told,
        quote="" if told.startswith(NO) else quote(run, steps, findings),
        glance=glance(run.cases("model")),
    )


def answer(steps: pd.DataFrame, findings: list[Finding], advice: list[Advice]) -> str:
    """Return what the run says: at most two claims, and what is left to gain."""
    said = []
    for topic in ANSWERED:
        clauses = (f.clause or f.headline for f in findings if f.topic == topic and _counts(f))
        if topic == "speed" and not steps.empty:
            said.append(f"{speed(steps.iloc[0])}. {_left(steps.iloc[0], advice)}".strip())
        elif clause := next(clauses, ""):
            said.append(words.sentence(clause))
    said = said or [words.sentence(f.clause) for f in findings if f.clause and _counts(f)][:1]
    return " ".join(said[:MAX_CLAIMS]) or NOTHING


def _counts(finding: Finding) -> bool:
    """Return whether a finding may be a sentence of the answer."""
    told = finding.clause or (finding.headline if finding.topic == "own model" else "")
    return bool(told) and words.MISSING not in told


def speed(case: pd.Series) -> str:
    """Return how fast a model trains, with its size and conditions, without a full stop."""
    n = case["n_params"]
    sizes = [] if pd.isna(n) else [f"{words.si(n, '').rstrip()} parameters"]
    sizes += [
        f"{name}{words.NBSP}={words.NBSP}{words.number(case[column])}"
        for name, column in (("B", "batch_size"), ("T", "block_size"))
    ]
    share = ""
    least, most = shares_of_peak(case)
    if 0 < least <= most <= 1:  # beyond 1, the measured peak is not the peak
        ends = " to ".join(dict.fromkeys(map(words.percent, (least, most))))
        share = f", {ends} of the fastest {case['precision']} matrix product on this machine"
    return (
        f"{words.model(case['model'])} ({', '.join(sizes)}) trains at "
        f"{words.number(case['tokens_per_s'])} tokens/s in {case['precision']}"
        f"{on_device(case['device'])}, "
        f"{words.si(case['time_s'], 's')} a step{_several(case)}{share}"
    )


def _several(case: pd.Series) -> str:
    """Return the range over processes in brackets, where there are several."""
    if not over_processes(case):
        return ""
    ends = words.si_range(case["process_low_s"], case["process_high_s"], "s")
    return f" ({ends} in {words.number(case['processes'])} processes)"


def _left(case: pd.Series, advice: list[Advice]) -> str:
    """Say whether much is left to gain in the precision of a step, and what to do then."""
    least, most = shares_of_peak(case)
    if not LITTLE_LEFT <= least <= most <= 1:
        return ""
    faster = [a for a in advice if a.kind == "change" and case["case"] in a.cases]
    told = f"Little is left to gain in {case['precision']}"
    if not faster:
        return f"{told}."
    return f"{told}; {faster[0].headline[0].lower()}{faster[0].headline[1:]}."


# --- trust --------------------------------------------------------------------------------------


def trust(run: Run, advice: list[Advice]) -> str:
    """Return whether the numbers can be relied on, and what speaks against it."""
    broken = [a.headline for a in advice if a.kind == "repair"]
    alarms, are_many = false_alarms(run)
    doubts = [*broken, *unsteady(run), *drifted(run), *lost(run), *alarms, *unusual(run)]
    doubts += single_seed(run)
    if broken or are_many:
        return f"{NO} {' '.join(map(words.sentence, doubts))}"
    if doubts:
        return f"Partly. {' '.join(map(words.sentence, doubts))}"
    known = listed(checked(run))
    if not known:
        return f"Partly. {UNCHECKED}"
    return f"Yes. Nothing that was checked speaks against the numbers. Checked: {known}."


UNCHECKED = (
    "Nothing in this run was checked: it holds no timed case with a known state, no comparison of "
    "a case with its copy, and no comparison of losses over several seeds."
)


def checked(run: Run) -> Iterator[str]:
    """Name what was checked that could have spoken against the numbers."""
    if n := sum(bool(stability(r)) for r in run.finished):
        yield f"how steadily {words.count(n, 'timed case')} ran"
    if n := int(copies(run)["trials"].sum()):
        yield f"{words.count(n, 'comparison')} of a case with its copy"
    if n := int(run.cases("comparison")["n_seeds"].ge(2).sum()):
        yield f"{words.count(n, 'difference')} in loss over several seeds"


def single_seed(run: Run) -> Iterator[str]:
    """Say that losses were measured, but no difference between them over several seeds."""
    trained = not run.cases("convergence").empty or not run.cases("reuse").empty
    if trained and not run.cases("comparison")["n_seeds"].ge(2).any():
        yield (
            "no difference in loss was measured over several seeds, so another seed may order the "
            "losses differently"
        )


def unsteady(run: Run) -> Iterator[str]:
    """Say how many of the timed cases did not run steadily."""
    known = [r for r in run.finished if stability(r)]
    bad = [
        r
        for r in known
        if stability(r)["verdict"] in UNSTEADY or "warm-up out of time" in cautions(r)
    ]
    if bad:
        yield f"{len(bad)} of {words.count(len(known), 'timed case')} ran unsteadily"


def drifted(run: Run) -> Iterator[str]:
    """Say by how much a ceiling changed on which a number of the page rests."""
    start, end = ceilings(run)
    used = used_ceilings(run.cases("model"))
    for key in start:
        if key in used and has_changed(start[key], end.get(key)):
            change = words.signed_percent(over(end[key], start[key]) - 1)
            yield f"the measured peak ({words.ceiling(*key)}) changed by {change} during the run"


def lost(run: Run) -> Iterator[str]:
    """Say what failed, what could not be read, and whether the code was that of a commit."""
    failed = sum(r["status"] == "failed" for r in run.unfinished)
    if failed:
        yield f"{words.count(failed, 'case')} failed"
    if n := int(run.cases("comparison")["n_diverged"].gt(0).sum()):
        yield f"{words.count(n, 'difference')} in loss left out runs that diverged"
    if run.warnings:
        yield f"{words.count(len(run.warnings), 'line')} of the ledger could not be read"
    if run.fact("run", "dirty") is True:
        yield "the code differed from its commit"


def false_alarms(run: Run) -> tuple[list[str], bool]:
    """Say how often a case was called slower or faster than its copy, and return whether too often.

    Where 5 % are allowed, chance exceeds the limit in 5 % of the runs.
    """
    frame = copies(run)
    n, alarms = int(frame["trials"].sum()), int(frame["false_alarms"].sum())
    are_many = alarms - 0.5 > 0.05 * n + 1.645 * math.sqrt(0.05 * 0.95 * n)
    often = ", more often than chance explains where 5 % are allowed" if are_many else ""
    said = f"{alarms} of {n} comparisons of a case with its copy were false alarms{often}"
    return [said] if alarms else [], are_many


def copies(run: Run) -> pd.DataFrame:
    """Return the pairs of a case and its copy whose false alarms were counted."""
    frame = pairs(run)
    return frame[frame["trials"].gt(0) & frame["false_alarms"].notna()]


def unusual(run: Run) -> Iterator[str]:
    """Say where the test part is unlike the rest of its text, so that losses flatter or not."""
    for corpus, easier in unusual_ends(run.cases("position")):
        yield (
            f"the test part of {words.corpus(corpus)} is {'easier' if easier else 'harder'} to "
            f"predict than the rest of the text, so a loss there looks "
            f"{'better' if easier else 'worse'} than elsewhere"
        )


# --- quote and first table ----------------------------------------------------------------------


def quote(run: Run, steps: pd.DataFrame, findings: list[Finding]) -> str:
    """Return one line with its conditions that can be cited, "" where nothing can."""
    if not steps.empty:
        case = steps.iloc[0]
        rounds = "" if pd.isna(case["rounds"]) else words.count(int(case["rounds"]), "round")
        where = f"; median of {rounds}" if rounds else ""
        noted = "" if pd.isna(case["caution"]) else f"; {words.steadiness(case['caution'])}"
        said = f"{speed(case)}{where}{noted}"
    else:
        said = next((f.headline for f in findings if f.clause and _counts(f)), "")
    if not said:
        return ""
    threads, accelerators = run.fact("run", "threads"), run.fact("machine", "accelerators")
    is_elsewhere = not steps.empty and on_device(steps.iloc[0]["device"])
    commit = run.environment and run.environment["commit"]
    facts = [
        run.fact("machine", "cpu"),
        listed(map(str, accelerators)) if is_elsewhere and isinstance(accelerators, list) else None,
        words.count(threads, "thread") if isinstance(threads, int) else None,
        f"torch {run.fact('software', 'torch')}" if run.fact("software", "torch") else None,
        f"gptcore at {commit[:10]}" if commit else None,
        min(r["started_at"] for r in run.everything)[:10],
    ]
    return f"{said}. ({', '.join(str(fact) for fact in facts if fact)})"


def glance(models: pd.DataFrame) -> Table | None:
    """Return the timed cases: speed, how steady they ran, time, share of the peak, memory."""
    frame, more = first_cases(models[models["time_s"].gt(0)], MAX_ROWS, "timed cases")
    if frame.empty:
        return None
    rows = [
        (
            f"{words.case_label(case)}, {words.work(case['work'])}",
            words.number(case["tokens_per_s"]),
            _state(case),
            words.si(case["time_s"], "s"),
            words.percent(case["mfu"]),
            words.size(case["base_bytes"] + case["peak_bytes"]),
        )
        for _, case in frame.iterrows()
    ]
    # A narrow screen shows the first three columns.
    columns = ("Case", "Tokens/s#", "State", "Time#", "Share of the peak#", "Memory#")
    made = table(f"The timed models at a glance.{more}", columns, rows)
    shares = tuple(None if pd.isna(x) else min(float(x), 1.0) for x in frame["mfu"])
    return replace(made, bars={4: shares})


def _state(case: pd.Series) -> str:
    """Return how steady a case ran, with a shape beside the word."""
    if pd.isna(case["stability"]):
        return words.MISSING
    told = words.steadiness(case["stability"] if pd.isna(case["caution"]) else case["caution"])
    return f"{SHAPES.get(str(case['stability']), '')} {told}".strip()
