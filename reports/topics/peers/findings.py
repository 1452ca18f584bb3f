"""Records → what they say on other implementations, and on what each optimisation gains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.ledger.record import Record
from gptcore import plain_text
from reports import words
from reports.blocks import IN_TURNS, Finding
from reports.claims import apart, leaders, listed, of_base, verdict
from reports.load import Run, over

NAMES = {
    "gptcore": "gptcore",
    "nanogpt-style": "a nanoGPT-style model",
    "plain": "the plain model, with no optimisation",
    "without-chunked-loss": "without the chunked loss",
    "without-gelu-again": "with GELU's output kept",
    "without-onednn-gelu": "with torch's own GELU",
    "without-sparse-gradient": "with a dense gradient of the embedding",
    "without-fused-adamw": "with AdamW as a loop",
    "without-sdpa": "with attention written out",
    "without-fused-qkv": "with separate queries, keys and values",
    "without-bf16-products": "with torch's own bf16 products",
}
"""Variants in words; a package keeps its own name."""

PAIRS, PEAKS = ("peers", "ablation"), "peaks"
MODULE = "bench_peers::"
KEYS = ["corpus", "model", "device", "precision", "batch_size", "block_size"]
"""What must be equal for two peaks to be compared."""


def name(variant: Any) -> str:
    """Return the words for a variant."""
    return NAMES.get(str(variant), plain_text.shorten(str(variant)))


def label(text: Any) -> str:
    """Return words that begin a line."""
    return words.sentence(str(text)).removesuffix(".")


def settings(change: Any) -> dict[str, str]:
    """Return what a pair changes: "variant=plain,precision=fp32" as an object."""
    parts = (part.partition("=") for part in str(change).split(",") if change)
    return {key: value for key, _, value in parts}


def compared(run: Run, group: str) -> pd.DataFrame:
    """Return the pairs of a group that have a ratio, by the low end of its interval.

    The largest come first, for each kind of work.

    Columns beside the case's own: `base` (params of gptcore's case), `variant` (the other),
    `other` (the other in words, with what else it changes), `what` (the work in words).
    """
    frame = run.cases(group)
    params = {r["case"]: r["params"] for r in run.finished if r["group"] == group}
    bases = [params[case].get("base") for case in frame["case"]]
    changes = [settings(params[case].get("change")) for case in frame["case"]]
    frame = frame.assign(
        base=pd.Series(bases, frame.index, dtype=object),
        variant=pd.Series([c.get("variant", "") for c in changes], frame.index, dtype=object),
        other=pd.Series(map(_other, changes), frame.index, dtype=object),
        what=pd.Series(map(_what, bases, changes), frame.index, dtype=object),
    )
    frame = frame[frame["ratio"].gt(0)]
    order = frame["what"].map({what: i for i, what in enumerate(dict.fromkeys(frame["what"]))})
    frame = frame.assign(order=order).sort_values(["order", "ratio_low"], ascending=[True, False])
    return of_base(frame.drop(columns="order"))


def _what(base: Any, change: dict[str, str]) -> str:
    """Return what gptcore did; its precision and device where they are not fp32 and the CPU."""
    known = base if isinstance(base, dict) else {}
    precision, device = str(known.get("precision", "fp32")), str(known.get("device", "cpu"))
    how = (
        f" in {plain_text.shorten(precision)}"
        if precision != "fp32" or "precision" in change
        else ""
    )
    where = "" if device == "cpu" else f" on {plain_text.shorten(device)}"
    return f"{words.subject(base)}{how}{where}"


def _other(change: dict[str, str]) -> str:
    rest = [words.change(f"{key}={value}") for key, value in change.items() if key != "variant"]
    return " ".join([name(change.get("variant", "not recorded")), *rest])


def peaks(run: Run, group: str = PEAKS) -> pd.DataFrame:
    """Return the peaks with `variant` and `times_ours`, the ratio to gptcore (NaN if unknown)."""
    frame = run.cases(group)
    params = {r["case"]: r["params"] for r in run.finished if r["group"] == group}
    variants = [str(params[case].get("variant", "gptcore")) for case in frame["case"]]
    frame = frame.assign(variant=pd.Series(variants, frame.index, dtype=object))
    frame = frame[frame["peak_bytes"].gt(0)]
    ours = frame[frame["variant"] == "gptcore"].drop_duplicates(KEYS)
    ours = ours[[*KEYS, "peak_bytes"]].rename(columns={"peak_bytes": "ours_bytes"})
    frame = frame.merge(ours, on=KEYS, how="left")
    return frame.assign(times_ours=over(frame["peak_bytes"], frame["ours_bytes"]))


def lost(run: Run) -> list[Record]:
    """Return the comparisons that did not run."""
    return [r for r in run.unfinished if str(r["case"]).startswith(MODULE)]


def outcome(verdict: Any) -> str:
    """Return the verdict of a pair as said of gptcore: the record says it of the other."""
    turned = {"slower": "gptcore is faster", "faster": "gptcore is slower"}
    return turned.get(str(verdict)) or words.verdict(verdict)


def find(run: Run) -> list[Finding]:
    """Return all findings on peers and on single optimisations."""
    peers, pieces = (compared(run, group) for group in PAIRS)
    return [*against_peers(peers), *gains(pieces), *memory_against(peaks(run))]


def against_peers(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say of each peer whether gptcore is faster; a peer that is faster is more important."""
    for _, case in frame.iterrows():
        same = frame[frame["other"].eq(case["other"]) & frame["what"].eq(case["what"])]
        beaten = verdict(case) == "faster"
        claim = f"{_claim(case)}{apart(case, same)}"
        yield Finding(
            83 if beaten else 56,
            "peers",
            claim if beaten else "",
            words.sentence(claim).removesuffix("."),
            _evidence(case),
            (case["case"],),
        )


def _claim(case: pd.Series) -> str:
    factor = words.number(max(case["ratio"], over(1, case["ratio"])))
    return {
        "slower": f"{case['what']} is {factor} times faster in gptcore than in {case['other']}",
        "faster": f"{case['what']} is {factor} times slower in gptcore than in {case['other']}",
        "same": f"{case['what']} takes as long in gptcore as in {case['other']}, within the margin",
    }.get(
        verdict(case),
        f"{case['what']} in gptcore and in {case['other']}: neither a difference nor equality is "
        "shown",
    )


def _evidence(case: pd.Series) -> str:
    ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
    count = "" if pd.isna(case["pairs"]) else f" of {words.count(int(case['pairs']), 'pair')}"
    return (
        f"Time of the other over time of gptcore: {words.ratio(case['ratio'])}, 95 % interval "
        f"{ends}; {words.si(case['b_time_s'], 's')} against {words.si(case['a_time_s'], 's')}, "
        f"medians{count} timed in turns in one process, from the same weights on the same batches. "
        f"{IN_TURNS} "
        f"Conditions of gptcore: {words.base_conditions(case['base']) or 'not recorded'}."
    )


def gains(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say which optimisation gains most, if one is shown to, and name each one that costs time."""
    alone = frame[frame["variant"].str.startswith("without-")]
    for _, case in alone.iterrows():
        if verdict(case) != "faster":
            continue
        factor = words.number(over(1, case["ratio"]))
        same = alone[alone["other"].eq(case["other"]) & alone["what"].eq(case["what"])]
        yield Finding(
            57,
            "speed",
            "",
            f"An optimisation costs time: {case['what']} is {factor} times faster {case['other']}"
            f"{apart(case, same)}",
            _evidence(case),
            (case["case"],),
        )
    for _, group in alone.groupby(alone["base"].map(str), sort=False):
        yield from _largest_gain(group, alone)


def _largest_gain(group: pd.DataFrame, alone: pd.DataFrame) -> Iterator[Finding]:
    """Name the optimisation that gains most of a group that shares its base, or the candidates."""
    first = leaders(group)
    if first.empty or verdict(first.iloc[0]) != "slower":
        return
    most, n = first.iloc[0], len(first)
    where = apart(most, alone[alone["other"].eq(most["other"]) & alone["what"].eq(most["what"])])
    each = [
        f"{case['other']} ({words.number(case['ratio'])} times)" for _, case in first.iterrows()
    ]
    if n > 1:
        unknown = " or are not known" if first["ratio_low"].isna().any() else ""
        headline = (
            f"No optimisation is shown to gain most of {most['what']}{where}: ratios of times "
            f"{listed(each)} have intervals that overlap{unknown}"
        )
    else:
        kind = "Largest gain of one optimisation" if len(group) > 1 else "Gain of one optimisation"
        headline = (
            f"{kind}: {most['what']} is {words.number(most['ratio'])} times slower "
            f"{most['other']}{where}"
        )
    yield Finding(44, "speed", "", headline, _evidence(most), tuple(first["case"].head(3)))


def memory_against(frame: pd.DataFrame) -> Iterator[Finding]:
    """Compare the peak memory with that of the peer that needs least."""
    theirs = frame[~frame["variant"].str.startswith(("gptcore", "without-"))]
    theirs = theirs.dropna(subset=["times_ours"])
    if theirs.empty:
        return
    least = theirs.sort_values("times_ours").iloc[0]
    same = theirs["variant"].eq(least["variant"]) & theirs["model"].eq(least["model"])
    where = apart(least, theirs[same])
    theirs = theirs[(theirs[KEYS] == least[KEYS]).all(axis=1)]
    each = "; ".join(
        f"{name(row['variant'])} {words.dividing(least['ours_bytes'], row['peak_bytes'], 'B')[2]}"
        for _, row in theirs.iterrows()
    )
    share, ours, _ = words.dividing(least["ours_bytes"], least["peak_bytes"], "B")
    yield Finding(
        83 if least["times_ours"] < 1 / 1.03 else 55,
        "peers",
        "",
        f"A forward and backward pass of {words.model(least['model'])} needs {share} times the "
        f"peak memory of {name(least['variant'])}{where}",
        f"gptcore needs {ours} beyond the memory held between calls; {each}. "
        f"Each was measured in a new process. Conditions: {words.conditions(least)}.",
        (least["case"], *theirs["case"].drop(least.name).head(2)),
    )
