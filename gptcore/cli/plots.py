"""The figures of --plot: expected missed targets of samplers, and a scaling law with its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.files import write_atomically
from gptcore.sampling.samplers import make_sampler
from gptcore.theory.expectations import expect_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from gptcore.scaling.law import ScalingLaw


POINTS = 60
MOST_SIZES = 12
LABELLED = ("-", "--", "-.", ":")


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with write_atomically(path) as partial:
        figure.savefig(partial, dpi=120)


def plot_law(path: Path, law: ScalingLaw, table: pd.DataFrame) -> None:
    """Draw the losses of runs and the law against tokens, both axes logarithmic.

    Each size has a colour.

    Args:
        path: the image to write; its suffix sets the format.
        law: the law; its curves are dashed at sizes that it was not fitted to.
        table: checked rows, with those to predict. Of more than 12 sizes, 12 are drawn.
    """
    figure = _figure()
    axes = figure.subplots()
    sizes = np.unique(table["params"])
    chosen = sizes[np.unique(np.linspace(0, len(sizes) - 1, MOST_SIZES).round().astype(int))]
    for index, size in enumerate(chosen):
        rows = table[table["params"] == size]
        tokens = np.geomspace(rows["tokens_seen"].min(), rows["tokens_seen"].max(), POINTS)
        colour = f"C{index % 10}"
        axes.plot(rows["tokens_seen"], rows["loss"], ".", color=colour, markersize=3)
        fitted = law.params_range[0] <= size <= law.params_range[1]
        style = "-" if fitted else "--"
        axes.plot(tokens, law.loss(size, tokens), style, color=colour, label=f"{size:.3g}")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="tokens",
        ylabel="loss, nats per token",
        title="points: runs; lines: the law; dashed: sizes that the law was not fitted to",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", title="parameters")
    _save(figure, path)


def plot_plan(path: Path, plans: list[dict[str, Any]]) -> None:
    """Draw the expected share of missed targets against steps, logarithmic on both axes.

    Args:
        path: the image to write; its suffix sets the format (.png, .svg, .pdf).
        plans: results of `gptcore plan`, one for each sampler.
    """
    figure = _figure()
    axes = figure.subplots()
    for index, plan in enumerate(plans):
        names = ("n_tokens", "block_size", "batch_size", "drop_last", "shuffle_epochs")
        shape = {name: plan[name] for name in names}
        sampler = make_sampler(plan["sampler"], **shape)
        steps = np.unique(np.geomspace(1, 2 * plan["steps"], POINTS).astype(int)).tolist()
        missed = [expect_of(sampler, s * plan["batch_size"]).missed_targets for s in steps]
        shares = [np.nan if m is None else m / (plan["n_tokens"] - 1) for m in missed]
        style = LABELLED[index // 10 % len(LABELLED)]
        axes.plot(steps, shares, style, label=plan["sampler"])
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
    _save(figure, path)
