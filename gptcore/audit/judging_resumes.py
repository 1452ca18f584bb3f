"""What is to be said of a resumed run beside the unbroken one: counts, findings and a verdict."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gptcore.audit.finding import Finding
from gptcore.audit.log import DrawLog
from gptcore.audit.resumes import Matched, match_logs
from gptcore.console import counted


@dataclass(frozen=True)
class Resume:
    """What the log of a resumed run shows beside that of the unbroken run; counts are of draws.

    Attributes:
        n_tokens: tokens of the text.
        draws: draws of the resumed log, without those of `redone`.
        unbroken_draws: the same of the unbroken log.
        repeated: draws that the resumed run makes more often than the unbroken run.
        skipped: draws of the unbroken run that the resumed run does not make, although it makes
            later ones or others in their place.
        reordered: draws that both make, which stand at another place among those that both make.
        reordered_in_step: those of them that stay in their optimizer step; None without steps.
        wrong_epoch: draws that both make in different epochs; None without epochs in both logs.
        other_windows: draws of windows that the unbroken run never shows.
        redone: draws of steps that the resumed log holds again later, from a checkpoint.
        beyond: draws made after the end of the unbroken log, which are not judged.
        not_reached: draws of the unbroken log that the resumed run may still make.
        tokens: count → the targets of its draws, None where the count is None.
        begins: count → the first of its draws in the log that has it, as `draw` (from 0), `line`
            and `step`, each None where it is not known; None where there is no such draw.
        verdict: one sentence.
        unjudged: what these logs do not tell, in sentences.
        findings: what deserves attention, faults first.
    """

    n_tokens: int
    draws: int
    unbroken_draws: int
    repeated: int
    skipped: int
    reordered: int
    reordered_in_step: int | None
    wrong_epoch: int | None
    other_windows: int
    redone: int
    beyond: int
    not_reached: int
    tokens: dict[str, int | None]
    begins: dict[str, dict[str, int | None] | None]
    verdict: str
    unjudged: tuple[str, ...]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return vars(self) | {
            "unjudged": list(self.unjudged),
            "findings": [dict(vars(finding)) for finding in self.findings],
        }


MEANS = {
    "repeated": "The resumed run makes these draws more often than the unbroken run does.",
    "other_windows": "The unbroken run never shows these windows.",
    "skipped": "The unbroken run makes these draws and the resumed run does not, although it goes "
    "on. The example is a place in the unbroken log.",
    "wrong_epoch": "The resumed run makes these draws in another epoch than the unbroken run.",
    "reordered": "Both runs make these draws, at different places.",
    "redone": "The log holds these steps again later, as after work that was lost since the last "
    "checkpoint. Only the last of them is compared.",
}
WORDS = {
    "repeated": "repeated {}",
    "other_windows": "showed {} that the unbroken run never shows",
    "skipped": "skipped {}",
    "wrong_epoch": "showed {} in another epoch",
    "reordered": "showed {} at another place",
}
SAME = "The resumed run showed the same windows in the same order"
IN_BATCH = (
    " All of them stay in their step, so each batch holds the same windows, and only their order "
    "in it differs."
)


def audit_resume(after: DrawLog, before: DrawLog) -> Resume:
    """Compare the log of a run that was interrupted and resumed with that of the unbroken run.

    Raises:
        ValueError: the logs are of texts of different lengths.
    """
    if after.n_tokens != before.n_tokens:
        raise ValueError(
            f"the logs are of {after.n_tokens} and {before.n_tokens} tokens: compare two logs of "
            "one text"
        )
    matched = match_logs(after, before)
    draws = {
        name: None if mask is None else order[mask]
        for order, masks in (
            (matched.after, {
                "repeated": matched.repeated,
                "other_windows": matched.other,
                "wrong_epoch": matched.wrong_epoch,
                "reordered": matched.reordered,
                "reordered_in_step": matched.in_step,
                "beyond": matched.beyond,
            }),
            (matched.before, {"skipped": matched.skipped, "not_reached": matched.not_reached}),
        )
        for name, mask in masks.items()
    }  # fmt: skip
    draws["redone"] = matched.redone
    logs = {name: before if name in ("skipped", "not_reached") else after for name in draws}
    counts = {name: None if found is None else len(found) for name, found in draws.items()}
    tokens = {
        name: None if found is None else int(logs[name].length[found].sum())
        for name, found in draws.items()
    }
    begins = {
        name: None if found is None or not len(found) else _place(logs[name], int(found[0]))
        for name, found in draws.items()
    }
    return Resume(
        n_tokens=after.n_tokens,
        draws=len(matched.after),
        unbroken_draws=len(matched.before),
        **counts,  # type: ignore[arg-type]
        tokens=tokens,
        begins=begins,
        verdict=_conclude(counts),
        unjudged=tuple(_tell_unjudged(matched, after, counts)),
        findings=tuple(_judge(counts, tokens, begins, _tell_jump(matched, after, before))),
    )


Place = dict[str, int | None]
Counts = dict[str, int | None]


def _place(log: DrawLog, draw: int) -> Place:
    """Return where a draw stands in its log."""
    line = None if log.line is None else int(log.line[draw])
    return {"draw": draw, "line": line, "step": None if log.step is None else int(log.step[draw])}


def _tell_place(place: Place) -> str:
    """Return where a draw stands, in words."""
    where = f"draw {place['draw']}" if place["line"] is None else f"line {place['line']}"
    return where if place["step"] is None else f"{where} (step {place['step']})"


def _tell_jump(matched: Matched, after: DrawLog, before: DrawLog) -> str:
    """Say which draws of the unbroken run stand where the logs begin to differ."""
    if matched.jump is None:
        return ""
    first, source = (
        _tell_place(_place(log, draw))
        for log, draw in zip((after, before), matched.jump, strict=True)
    )
    return (
        f" The logs differ from {first} on: there the resumed run makes the draws that the "
        f"unbroken run makes from {source} of its log on."
    )


def _judge(
    counts: Counts, tokens: Counts, begins: dict[str, Place | None], jump: str
) -> list[Finding]:
    """Return a finding for each count that is not zero, faults first."""
    found = []
    in_batch = counts["reordered"] == counts["reordered_in_step"]
    for name, means in MEANS.items():
        count, place = counts[name], begins[name]
        if not count or place is None:
            continue
        is_note = name == "redone" or (name == "reordered" and in_batch)
        explanation = f"{means} They hold {counted(tokens[name] or 0, 'target')}."
        if name == "reordered":
            explanation += IN_BATCH if in_batch else ""
        explanation += "" if name == "redone" else jump
        example = ("from " if count > 1 else "") + _tell_place(place)
        found.append(Finding(name, count, example, explanation, "note" if is_note else "fault"))
        jump = "" if name != "redone" else jump  # it is told once
    return sorted(found, key=lambda finding: finding.severity)


def _conclude(counts: Counts) -> str:
    """Say in one sentence whether the resumed run showed the same."""
    told = [
        words.format(counted(counts[n] or 0, "window")) for n, words in WORDS.items() if counts[n]
    ]
    if not told:
        until = ""
        if counts["beyond"] or counts["not_reached"]:
            until = ", as far as both logs go"
        return f"{SAME}{until}."
    if counts["reordered"] and len(told) == 1:
        inside = counts["reordered"] == counts["reordered_in_step"]
        where = "in another order inside their steps" if inside else "in another order"
        return f"The resumed run showed the same windows {where}."
    return f"The resumed run {', '.join(told[:-1])}{' and ' * (len(told) > 1)}{told[-1]}."


def _tell_unjudged(matched: Matched, after: DrawLog, counts: Counts) -> Iterator[str]:
    """Yield what these logs do not tell."""
    if not (matched.partner >= 0).any():
        yield "The logs have no draw in common, so nothing shows that they are of one run."
    if counts["wrong_epoch"] is None:
        yield (
            "Both logs need a column epoch: without it, no window is of the wrong epoch, and where "
            "epochs have one order, a skip cannot be told from a repeat."
        )
    if not matched.is_ordered:
        yield ("The log has several ranks and no column step, so their draws are taken in turns.")
    if after.step is None:
        yield (
            "Without a column step, work that was done again from a checkpoint counts as repeated."
        )
    if counts["not_reached"]:
        yield (
            f"The resumed log ends before it shows {counted(counts['not_reached'], 'draw')} of the "
            "unbroken log, which may still come."
        )
    if counts["beyond"]:
        yield (
            f"The resumed log has {counted(counts['beyond'], 'draw')} after the end of the "
            "unbroken log, which are not judged."
        )
