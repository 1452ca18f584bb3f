"""The command-line option that several subcommands of `python -m bench` share."""

from __future__ import annotations

import argparse
import math

from gptcore.console import quoted

MARGIN = 0.03


def add_margin(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add --margin, which is given in per cent and is parsed to a share."""
    parser.add_argument(
        "--margin",
        type=_share,
        default=MARGIN,
        metavar="PERCENT",
        help=f"{meaning}, in per cent (default: {100 * MARGIN:g})",
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not a margin: give a number above 0, at most 100"
        )
    return value / 100
