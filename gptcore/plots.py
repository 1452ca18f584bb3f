"""The planner's picture: how much of a text each sampler is expected to miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gptcore.samplers import make_sampler
from gptcore.theory import expect_of

POINTS = 60
LABELLED = ("-", "--", "-.", ":")


def plot_plan(path: Path, plans: list[dict[str, Any]]) -> None:
    """Draw the expected share of missed targets against steps, logarithmic on both axes.

    Args:
        path: image to write; its suffix says the format (.png, .svg, .pdf).
        plans: results of `gptcore plan`, one for each sampler.

    Raises:
        ValueError: matplotlib is not installed, or it knows no such format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for index, found in enumerate(plans):
        shape = {k: found[k] for k in ("n_tokens", "block_size", "batch_size", "drop_last")}
        sampler = make_sampler(found["sampler"], **shape)
        steps = np.unique(np.geomspace(1, 2 * found["steps"], POINTS).astype(int)).tolist()
        missed = [expect_of(sampler, s * found["batch_size"]).missed_targets for s in steps]
        shares = [np.nan if m is None else m / (found["n_tokens"] - 1) for m in missed]
        style = LABELLED[index // 10 % len(LABELLED)]
        axes.plot(steps, shares, style, label=found["sampler"])
    axes.axvline(plans[0]["steps"], color="grey", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"steps of {plans[0]['batch_size']} windows of {plans[0]['block_size']} tokens",
        ylabel="expected share of targets never shown",
        title=f"{plans[0]['n_tokens']:,} tokens; the line is at {plans[0]['steps']:,} steps",
    )
    axes.set_ylim(0.1 / plans[0]["n_tokens"], 1.5)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
