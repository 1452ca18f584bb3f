"""The command `python -m bench pair A B`."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from typing import Any

import torch

from bench.ledger.folders import duration
from bench.measuring import environment
from bench.options import add_margin
from bench.pairing import own
from bench.pairing.operands import EXAMPLE
from bench.pairing.pair import percent
from bench.pairing.processes import FEWEST_PROCESSES, PROCESSES, ProcessPairs, pair_in_processes
from gptcore.checks import check_number
from gptcore.console import Progress, Table, at_home, number, whole_in
from gptcore.plain_text import visible


def in_words(answer: dict[str, Any]) -> str:
    """Return the answer for people; `answer` is the object that --json prints."""
    low, high = answer["interval_95"]
    ratio, low_text, high_text = (_digits(x, low, high) for x in (answer["ratio"], low, high))
    margin = percent(answer["margin"])
    verdict = {
        "slower": "B is slower",
        "faster": "B is faster",
        "same": f"the two are the same within {margin}",
        "ambiguous": f"too uncertain for a verdict at a margin of {margin}",
    }[answer["verdict"]]
    times = [
        (name.upper(), duration(answer[f"{name}_s"], 4), visible(answer[name])) for name in "ab"
    ]
    machine = answer["machine"]
    loads = " → ".join(f"{load:.2g}" for load in machine["load"] if load is not None)
    return "\n".join(
        [
            f"B takes {ratio} times as long as A (95 % interval {low_text} to {high_text}): "
            f"{verdict}.",
            "",
            str(Table(("", "median time", "operand"), times)),
            "",
            f"{answer['n_pairs']} pairs in {answer['n_processes']} processes, "
            f"{answer['seconds']:.3g} s on {machine['device']}, "
            f"{machine['threads']} threads" + (f", load {loads}" if loads else ""),
            _how_processes_differ(answer),
        ]
    )


def _how_processes_differ(answer: dict[str, Any]) -> str:
    """Return what one process alone would have said, which shows whether processes differ."""
    alone = [process["interval_95"] for process in answer["processes"]]
    known = [ends for ends in alone if ends]
    said = f"The ratio differs by {percent(answer['process_spread'])} between processes"
    if not known:
        return f"{said} (standard deviation)."
    apart = sum(ends[1] < answer["ratio"] or ends[0] > answer["ratio"] for ends in known)
    return (
        f"{said} (standard deviation); the pairs of {apart} of {len(known)} processes alone would "
        "have excluded the ratio over all of them."
    )


def _digits(value: float, low: float, high: float) -> str:
    """Return `value` with one figure more than its interval's width supports, three at least."""
    width = max(high - low, 1e-6)
    return f"{value:.{min(5, max(2, 1 - math.floor(math.log10(width))))}f}"


def as_json(a: str, b: str, pairs: ProcessPairs, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the object that --json prints: the result, every timing in order, the machine."""
    a_time_s, b_time_s = pairs.joined("a_time_s"), pairs.joined("b_time_s")
    return {
        "a": a,
        "b": b,
        "verdict": pairs.verdict,
        "ratio": pairs.ratio.ratio,
        "interval_95": [pairs.ratio.low, pairs.ratio.high],
        "n_processes": len(pairs.answers),
        "processes": [
            {
                "ratio": math.exp(log_ratio),
                "interval_95": own and [own.low, own.high],
                "n_pairs": len(answer["first"]),
                "a_calls": answer["a_calls"],
                "b_calls": answer["b_calls"],
            }
            for answer, log_ratio, own in zip(
                pairs.answers, pairs.log_ratios, pairs.within, strict=True
            )
        ],
        "process_spread": pairs.spread,
        "n_pairs": len(a_time_s),
        "a_s": statistics.median(a_time_s),
        "b_s": statistics.median(b_time_s),
        "margin": pairs.margin,
        "seconds": pairs.total("seconds"),
        "warmup_s": pairs.total("warmup_s"),
        "a_calls": pairs.answers[0]["a_calls"],
        "b_calls": pairs.answers[0]["b_calls"],
        "a_time_s": a_time_s,
        "b_time_s": b_time_s,
        "first": pairs.joined("first"),
        "machine": machine,
        "commit": environment.commit(),
        "warnings": pairs.warnings,
    }


def add_parser(subparsers: Any, summary: str) -> None:
    """Add the subcommand; `summary` is its line in the help of the command."""
    parser = subparsers.add_parser(
        "pair",
        help=summary,
        description="Time A and B in turns, in several new processes, and print how many times as "
        "long B takes as A, with a 95 % interval over the processes. Where A is a file with a "
        f"model of yours, B is {', '.join(own.OTHERS)}: both are built at the same sizes, and "
        "three kinds of work are timed. Exit code: 0 measured, 2 bad input.",
        epilog=f"examples: python -m bench pair mine.py gptcore; "
        f"python -m bench pair '{EXAMPLE}' precision=bf16",
    )
    kinds = "a case id, module:function, file.py:function (called without arguments), or file.py"
    parser.add_argument("a", type=at_home, metavar="A", help=kinds)
    parser.add_argument(
        "b",
        type=at_home,
        metavar="B",
        help="what A may be, name=value (A with that parameter changed), or, beside file.py, one "
        f"of {', '.join(own.OTHERS)}",
    )
    parser.add_argument(
        "--seconds", type=number, default=30.0, metavar="S", help="seconds of timing (default: 30)"
    )
    parser.add_argument(
        "--processes",
        type=whole_in(FEWEST_PROCESSES, 100),
        default=PROCESSES,
        metavar="N",
        help="new processes among which the seconds are divided; each builds A and B anew "
        f"(default: {PROCESSES})",
    )
    add_margin(parser, "a difference within this margin counts as none")
    parser.add_argument(
        "--corpus",
        action="append",
        type=at_home,
        metavar="NAME|PATH",
        help="text that a case uses (default: python-docs); may be given several times",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object with every timing"
    )
    own.add_options(parser)


def main(options: argparse.Namespace) -> int:
    """Time the two operands, print the answer, and return the exit code."""
    check_number("--seconds", options.seconds, "(0, inf)")
    if own.is_own(options.a, options.b):
        return _pair_own(options)
    own.refuse_sizes(options)
    task = {"a": options.a, "b": options.b, "corpora": options.corpus or ["python-docs"]}
    load_before = environment.load()
    pairs = pair_in_processes(
        task,
        options.seconds,
        processes=options.processes,
        margin=options.margin,
        progress=Progress("process"),
    )
    machine = _machine(pairs, load_before)
    name = f"{options.a} with {options.b}" if "=" in options.b else options.b
    answer = as_json(options.a, name, pairs, machine)
    print(json.dumps(answer, allow_nan=False) if options.json else in_words(answer))
    for warning in pairs.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _machine(pairs: ProcessPairs, load_before: float | None) -> dict[str, Any]:
    return {
        "device": pairs.answers[0]["device"],
        "threads": pairs.answers[0]["threads"],
        "cpus": os.cpu_count(),
        "load": [load_before, environment.load()],
        "torch": torch.__version__,
    }


def _pair_own(options: argparse.Namespace) -> int:
    """Time a model file and what it is compared with, after the checks; return the exit code."""
    load_before = environment.load()
    pair = own.OwnPair.of(options)
    left = pair.differences()
    found = pair.time(options.seconds, options.processes, options.margin, Progress("process"))
    timed = {
        work: as_json(pair.own.name, pair.other, pairs, _machine(pairs, load_before))
        for work, pairs in found.items()
    }
    answer = own.as_json(pair, timed, left)
    print(json.dumps(answer, allow_nan=False) if options.json else own.in_words(answer))
    for work, pairs in found.items():
        for warning in pairs.warnings:
            print(f"warning: {own.WORKS[work]}: {warning}", file=sys.stderr)
    return 0
