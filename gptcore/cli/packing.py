"""The part of `plan` that packs documents into rows: what each way of packing throws away."""

from __future__ import annotations

import argparse
from functools import partial

from gptcore.checks import check_whole
from gptcore.cli.options import Json
from gptcore.console import Answer, Cell, Progress, Table, counted, percent


def plan_documents(args: argparse.Namespace) -> Json:
    """Count what each packing of the documents crops and pads."""
    from gptcore.data.documents import document_lengths
    from gptcore.data.packing import BUFFER, PACKINGS, pack

    for option in ("all", "plot"):
        if getattr(args, option):
            raise ValueError(
                f"--{option} is about samplers and --documents about packing: leave one out"
            )
    row_tokens = check_whole("block_size", args.block_size) + 1
    lengths = document_lengths(args.documents, field=args.field)
    progress = Progress("document")
    every = len(lengths) * len(PACKINGS)
    found = {}
    for i, name in enumerate(PACKINGS):
        before = i * len(lengths)
        found[name] = pack(
            lengths, row_tokens, name, progress=partial(_tell, progress, before, every)
        )
    return {
        "documents": len(lengths),
        "n_tokens": sum(lengths),
        "block_size": args.block_size,
        "row_tokens": row_tokens,
        "buffer": BUFFER,
        "cropped_share": {name: packing.cropped_share for name, packing in found.items()},
        "padding_share": {name: packing.padding_share for name, packing in found.items()},
        **{
            key: {name: getattr(packing, key) for name, packing in found.items()}
            for key in (
                "rows", "cropped_tokens", "padding_tokens", "left_over_tokens", "whole_documents",
            )
        },
    }  # fmt: skip


def _tell(progress: Progress, before: int, every: int, done: int, _: int) -> None:
    progress(before + done, every)


def documents_answer(result: Json) -> Answer:
    """Say how much of the documents the packings with cropping throw away."""
    cropped = result["cropped_share"]
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            result["rows"][name],
            percent(share),
            "-" if (padded := result["padding_share"][name]) is None else percent(padded),
            result["left_over_tokens"][name],
            percent(result["whole_documents"][name] / result["documents"]),
        )
        for name, share in cropped.items()
    ]
    headings = ("packing", "rows", "cropped", "padding", "left over", "whole documents")
    return Answer(
        f"Best-fit packing crops {percent(cropped['best_fit_crop'])} of "
        f"{counted(result['n_tokens'], 'token')} in {counted(result['documents'], 'document')}, "
        f"and greedy packing {percent(cropped['greedy_crop'])}, in rows of "
        f"{counted(result['row_tokens'], 'token')}.",
        [
            Table(headings, rows),
            "Cropped is a share of all tokens, and padding of all places in rows. Left over are "
            "tokens at the end that do not fill a row. Best-fit packing chooses from "
            f"{result['buffer']:,} documents.",
        ],
    )
