"""Command-line options that several subcommands of `python -m bench` share."""

from __future__ import annotations

import argparse
import math

MARGIN = 0.03


def add_margin(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add --margin, which is given in per cent and arrives as a share."""
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
        raise argparse.ArgumentTypeError(f"{text!r} is no margin: give per cent, above 0 to 100")
    return value / 100
