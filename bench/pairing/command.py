"""The command `python -m bench pair A B`."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from contextlib import redirect_stdout
from typing import Any

import torch

from bench.ledger.folders import duration
from bench.measuring import environment
from bench.measuring.pinning import pin
from bench.options import add_margin
from bench.pairing.operands import EXAMPLE, build, one_line
from bench.pairing.pair import PairResult, interleave, percent
from gptcore.checks import check_number
from gptcore.console import Progress, Table, at_home, number
from gptcore.devices import device_label
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
            f"{answer['n_pairs']} pairs in {answer['seconds']:.3g} s on {machine['device']}, "
            f"{machine['threads']} threads" + (f", load {loads}" if loads else ""),
        ]
    )


def _digits(value: float, low: float, high: float) -> str:
    """Return `value` with one figure more than its interval's width supports, three at least."""
    width = max(high - low, 1e-6)
    return f"{value:.{min(5, max(2, 1 - math.floor(math.log10(width))))}f}"


def as_json(a: str, b: str, result: PairResult, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the object that --json prints: the result, every timing in order, the machine."""
    return {
        "a": a,
        "b": b,
        "verdict": result.verdict,
        "ratio": result.ratio,
        "interval_95": [result.low, result.high],
        "n_pairs": len(result.first),
        "a_s": statistics.median(result.a_time_s),
        "b_s": statistics.median(result.b_time_s),
        "margin": result.margin,
        "seconds": result.seconds,
        "warmup_s": result.warmup_s,
        "a_calls": result.a_calls,
        "b_calls": result.b_calls,
        "a_time_s": result.a_time_s,
        "b_time_s": result.b_time_s,
        "first": result.first,
        "machine": machine,
        "commit": environment.commit(),
        "warnings": list(result.warnings),
    }


def add_parser(subparsers: Any, summary: str) -> None:
    """Add the subcommand; `summary` is its line in the help of the command."""
    parser = subparsers.add_parser(
        "pair",
        help=summary,
        description="Time A and B in turns in one process, and print how many times as long B "
        "takes as A, with a 95 % interval. Exit code: 0 measured, 2 bad input.",
        epilog=f"example: python -m bench pair '{EXAMPLE}' precision=bf16",
    )
    kinds = "a case id, module:function or file.py:function (called without arguments)"
    parser.add_argument("a", type=at_home, metavar="A", help=kinds)
    parser.add_argument(
        "b",
        type=at_home,
        metavar="B",
        help="what A may be, or name=value: A with that parameter changed",
    )
    parser.add_argument(
        "--seconds", type=number, default=30.0, metavar="S", help="seconds of timing (default: 30)"
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


def main(options: argparse.Namespace) -> int:
    """Time the two operands, print the answer, and return the exit code."""
    check_number("--seconds", options.seconds, "(0, inf)")
    state = pin()
    with redirect_stdout(sys.stderr):  # standard output is for the answer alone
        a, b = build(options.a, options.b, options.corpus or ["python-docs"])
        load_before = environment.load()
        try:
            pairs = interleave(
                a, b, options.seconds, margin=options.margin, progress=Progress("pair")
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a call may even raise SystemExit
            raise ValueError(f"a call failed: {one_line(error)}") from error
    machine = {
        "device": device_label(a.device),
        "threads": state["intra_op_threads"],
        "cpus": os.cpu_count(),
        "load": [load_before, environment.load()],
        "torch": torch.__version__,
    }
    name = f"{options.a} with {options.b}" if "=" in options.b else options.b
    answer = as_json(options.a, name, pairs, machine)
    print(json.dumps(answer, allow_nan=False) if options.json else in_words(answer))
    for warning in pairs.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0
