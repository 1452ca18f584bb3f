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
from gptcore.console import Progress, number
from gptcore.devices import device_label


def in_words(found: dict[str, Any]) -> str:
    """Return what a person reads; `found` is the object that --json prints."""
    low, high = found["interval_95"]
    machine = found["machine"]
    margin = found["margin"]
    explained = {
        "slower": "slower",
        "faster": "faster",
        "same": f"the same within {percent(margin)}",
        "ambiguous": f"ambiguous at a margin of {percent(margin)}",
    }[found["verdict"]]
    calls = {name: found[f"{name}_calls"] for name in "ab"}
    repeated = [
        f"{name.upper()} is called {n:,} times in each timing" for name, n in calls.items() if n > 1
    ]
    loads = [f"{value:.2g}" for value in machine["load"] if value is not None]
    return "\n".join(
        [
            f"A  {duration(found['a_s'], 4):>10}  {found['a']}",
            f"B  {duration(found['b_s'], 4):>10}  {found['b']}",
            f"B takes {_digits(found['ratio'], low, high)} times as long as A (95 % interval "
            f"{_digits(low, low, high)} to {_digits(high, low, high)}; {found['n_pairs']} pairs, "
            f"{found['seconds']:.3g} s): {explained}",
            *repeated,
            f"on {machine['device']}, {machine['threads']} threads"
            + (f", load {' → '.join(loads)}" if loads else ""),
        ]
    )


def _digits(value: float, low: float, high: float) -> str:
    """Return `value` with one figure more than its interval's width supports, three at least."""
    width = max(high - low, 1e-6)
    return f"{value:.{min(5, max(2, 1 - math.floor(math.log10(width))))}f}"


def as_json(a: str, b: str, found: PairResult, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the object of --json: the result, every timing in order, and the conditions."""
    return {
        "a": a,
        "b": b,
        "verdict": found.verdict,
        "ratio": found.ratio,
        "interval_95": [found.low, found.high],
        "n_pairs": len(found.first),
        "a_s": statistics.median(found.a_time_s),
        "b_s": statistics.median(found.b_time_s),
        "margin": found.margin,
        "seconds": found.seconds,
        "warmup_s": found.warmup_s,
        "a_calls": found.a_calls,
        "b_calls": found.b_calls,
        "a_time_s": found.a_time_s,
        "b_time_s": found.b_time_s,
        "first": found.first,
        "machine": machine,
        "commit": environment.commit(),
        "warnings": list(found.warnings),
    }


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "pair",
        help="time two things in turns: which is slower, and by how much",
        description="Time A and B in turns in one process and tell how many times as long B "
        "takes, with a 95 % interval. Exit code: 0 measured, 2 bad input.",
        epilog=f"example: python -m bench pair '{EXAMPLE}' precision=bf16",
    )
    kinds = "a case, module:function or file.py:function (called without arguments)"
    parser.add_argument("a", metavar="A", help=kinds)
    parser.add_argument("b", metavar="B", help="the same, or name=value: A with that changed")
    parser.add_argument(
        "--seconds", type=number, default=30.0, metavar="S", help="of timing (default: 30)"
    )
    add_margin(parser, "difference that counts as none")
    parser.add_argument(
        "--corpus",
        action="append",
        metavar="NAME|PATH",
        help="text that cases are made of (default: python-docs); may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, with every timing")


def main(options: argparse.Namespace) -> int:
    """Time the two, print what was found, and return the exit code."""
    check_number("--seconds", options.seconds, "(0, inf)")
    state = pin()
    with redirect_stdout(sys.stderr):  # what the calls print is no result
        a, b = build(options.a, options.b, options.corpus or ["python-docs"])
        load_before = environment.load()
        try:
            pairs = interleave(
                a, b, options.seconds, margin=options.margin, progress=Progress("pair")
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit(0) in a call is no measurement either
            raise ValueError(f"a call failed: {one_line(error)}") from error
    machine = {
        "device": device_label(a.device),
        "threads": state["intra_op_threads"],
        "cpus": os.cpu_count(),
        "load": [load_before, environment.load()],
        "torch": torch.__version__,
    }
    name = f"{options.a} with {options.b}" if "=" in options.b else options.b
    found = as_json(options.a, name, pairs, machine)
    print(json.dumps(found, allow_nan=False) if options.json else in_words(found))
    for warning in pairs.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0
