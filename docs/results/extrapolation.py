"""Do intervals of predictions hold, and are runs that fall late told? Simulated families tell.

    python docs/results/extrapolation.py                  # families whose law is known; 2 minutes
    python docs/results/extrapolation.py --tables FOLDER  # the published tables of scaling.py
    python docs/results/extrapolation.py --isoflop        # bias of IsoFLOP parabolas

A family is a ladder of 3 to 8 sizes, drawn with its law, its grid and its noise. The next size is
predicted from it. The table has for each kind of law: the share of 80 % intervals that hold the
last loss of the next size, as they are and before back-tests widened them; the share of families
with an interval; how wide it is; the share with a warning of a late fall; and the error beside the
guesses without a law, as a median over families in per cent. Kinds under "fall late" end every run
below a power law.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from gptcore.scaling import Split, evaluate, law_from, one_family, read_table
from gptcore.scaling.allocation import isoflop
from gptcore.scaling.planning import allocate

# The last of each list were not looked at while the method was chosen.
KINDS = ("additive", "joint", "broken size", "broken data", "product", "saturating")
LATE = ("sudden", "slow", "by size")
WHOLE = ("cosine",)  # falls along the whole run, which a power law can follow
GRIDS = ("one length", "20 tokens per parameter", "three lengths", "three seeds")


def draw_law(rng: np.random.Generator, kind: str, n0: float, d0: float, span: float):
    """Return a function (N, D, D at the end of the run) -> loss.

    additive is Hoffmann et al. 2022; joint is equation 1.5 of Kaplan et al. 2020; broken laws
    change an exponent once (Caballero et al. 2023); product has a term of both N and D; saturating
    stops to fall with size. Late falls are those of decayed learning rates (Hu et al. 2024).
    """
    e, (a, b), (alpha, beta) = (
        rng.uniform(1.2, 2.4),
        rng.uniform(0.3, 1.5, 2),
        rng.uniform(0.2, 0.5, 2),
    )
    kink, bend = rng.uniform(0.3, 1.0) * span, rng.uniform(-0.5, 0.8)
    c, gamma = rng.uniform(0.2, 0.8) * math.sqrt(a * b), rng.uniform(0.1, 0.4, 2)
    width, fall, power = (
        rng.uniform(0.05, 0.3),
        rng.uniform(0.015, 0.06),
        rng.choice([0.5, 1.0, 1.5]),
    )

    def loss(n, d, end):
        x, z = np.log(n / n0), np.log(d / d0)
        share = d / end
        size, data = a * np.exp(-alpha * x), b * np.exp(-beta * z)
        if kind == "broken size":
            size = size * (1 + np.exp(2 * (x - kink))) ** (-bend * alpha / 2)
        if kind == "broken data":
            data = data * (1 + np.exp(2 * (z - kink / 2))) ** (-bend * beta / 2)
        if kind == "saturating":
            size = size + a * math.exp(-alpha * span) / 2
        y = e + size + data
        if kind == "joint":
            y = (2 + a + b) * ((np.exp(-alpha / beta * x) + np.exp(-z)) / 2) ** (0.4 * beta)
        if kind == "product":
            y = y + c * np.exp(-gamma[0] * x - gamma[1] * z)
        if kind in ("sudden", "by size"):
            deep = fall * (1 + (0.1 * x if kind == "by size" else 0))
            y = y * (1 - deep * np.clip((share - 1 + width) / width, 0, 1) ** power)
        if kind == "slow":
            y = y * (1 - fall * share**rng_power)
        if kind == "cosine":
            y = y * (1 - fall * (1 - np.cos(math.pi * share)) / 2)
        return y

    rng_power = rng.uniform(5, 15)
    return loss


def draw_family(rng: np.random.Generator, kind: str, grid: str) -> pd.DataFrame:
    """Return the losses of a ladder and of the size after it.

    The noise of ln L is 0.1 to 0.8 % from run to run, and 0.05 to 0.4 % from checkpoint to
    checkpoint, the latter correlated along the run.
    """
    sizes, step = int(rng.integers(3, 9)), float(rng.choice([1.5, 2.0, 3.0, 4.0]))
    params = 1e7 * step ** np.arange(sizes + 1)
    base = 20 * params[-2 if grid == "one length" else 0]
    law = draw_law(rng, kind, params[0], base, sizes * math.log(step))
    of_run, of_point = np.exp(rng.uniform(np.log([1e-3, 5e-4]), np.log([8e-3, 4e-3])))
    rho, checkpoints, rows = rng.uniform(0, 0.9), int(rng.integers(15, 50)), []
    for n in params:
        ends = {"one length": [base], "three lengths": [5 * n, 20 * n, 80 * n]}.get(grid, [20 * n])
        for end in ends:
            for seed in range(3 if grid == "three seeds" else 1):
                at = np.arange(1, checkpoints + 1) / checkpoints
                d = end * (at if grid != "three lengths" else at[-1:])
                noise = rng.standard_normal(len(d))
                for i in range(1, len(d)):
                    noise[i] = rho * noise[i - 1] + math.sqrt(1 - rho**2) * noise[i]
                y = law(n, d, end) * np.exp(of_run * rng.standard_normal() + of_point * noise)
                rows += [(f"{n:g}-{end:g}", seed, n, *pair) for pair in zip(d, y, strict=True)]
    return pd.DataFrame(rows, columns=["model", "seed", "params", "tokens_seen", "loss"])


def judge(table: pd.DataFrame) -> dict[str, float]:
    """Return how the prediction of the largest size of a table came out."""
    result = evaluate(table, Split())
    plain, held, before, widths = replace(result.law, widening=1.0, late_fall=0.0), [], [], []
    for run in result.outcomes:
        if run.interval_80 is None:
            continue
        low, high = run.interval_80
        held.append(low <= run.observed <= high)
        widths.append(100 * math.log(high / low) / 2)
        at = plain.predict(run.params, run.tokens, confidence=0.8)
        before.append(at.low <= run.observed <= at.high)
    return {
        "intervals": bool(held),
        "hold": np.mean(held) if held else np.nan,
        "before": np.mean(before) if held else np.nan,
        "half width, %": np.mean(widths) if held else np.nan,
        "factor": result.law.widening,
        "late": result.law.late_fall < 0,
        "error, %": result.as_dict()["are_final"],
        "last size, %": result.as_dict()["are_last_size"],
        "two sizes, %": result.as_dict()["are_two_sizes"],
        "of the gain": result.share_of_gain,
    }


MEANS = ("intervals", "hold", "before", "late")


def summarise(rows: list[dict[str, float]], by: str) -> pd.DataFrame:
    """Return a row for each `by`: means of shares, medians of the rest, and the mean over rows."""
    frame = pd.DataFrame(rows).astype({"of the gain": float, "two sizes, %": float})
    names = [name for name in frame.columns if name not in ("kind", "grid", "family")]
    groups = frame.groupby(by, sort=False)
    table = pd.concat(
        {n: groups[n].mean() if n in MEANS else groups[n].median() for n in names}, axis=1
    )
    table.insert(0, "families", groups.size().astype(float))
    table.loc["mean"] = table.mean()
    return table


def simulate(seed: int, repetitions: int) -> None:
    """Print the table of all kinds, and that of the grids."""
    rows = []
    kinds = [*KINDS, *LATE, *WHOLE]
    for kind in kinds:
        for grid in GRIDS:
            if kind not in KINDS and grid == "three lengths":
                continue  # a run of one point shows no fall
            for i in range(repetitions):
                rng = np.random.default_rng([seed, kinds.index(kind), GRIDS.index(grid), i])
                found = judge(draw_family(rng, kind, grid))
                rows.append({"kind": kind, "grid": grid} | found)
        print(f"{kind} is done", file=sys.stderr)
    plain = [row for row in rows if row["kind"] in (*KINDS, *WHOLE)]
    for title, chosen, by in (
        ("Runs that follow a law", plain, "kind"),
        ("The same by grid", plain, "grid"),
        ("Every run falls late", [row for row in rows if row["kind"] in LATE], "kind"),
    ):
        print(f"\n{title}\n{summarise(chosen, by).round(2).to_string()}")


def published(folder: Path) -> None:
    """Print the same table for every size of the published tables with enough smaller ones."""
    table, rows = read_table(folder / "scaling_dev.csv.gz"), []
    for name in sorted(table["family"].unique()):
        family = one_family(table, name)
        if name == "datablations_c4_grid":  # single passes
            family = family[family["tokens_seen"] <= family["unique_tokens"] * 1.001]
        sizes = np.sort(family["params"].unique())
        rows += [
            {"family": name} | judge(family[family["params"] <= size])
            for size in sizes[3 if len(sizes) > 3 else 2 :]
        ]
    print(summarise(rows, "family").round(2).to_string())


ISOFLOP = {  # the smallest and the largest size over the best one, at each level; sizes
    "wide, centred": (1 / 4, 4, 7),
    "very wide": (1 / 16, 16, 9),
    "narrow": (1 / 1.5, 1.5, 7),
    "four sizes": (1 / 3, 3, 4),
    "off-centre, too large": (1 / 1.4, 12, 7),
    "beyond the best one": (1.2, 12, 7),
    "same sizes at each level": (None, None, 8),
}


def draw_levels(rng: np.random.Generator, grid: tuple, noise: float) -> tuple[pd.DataFrame, float]:
    """Return runs of five levels of compute, and the exponent of their law."""
    low, high, sizes = grid
    alpha, beta = rng.uniform(0.25, 0.45, 2)
    law = law_from(1.8, 0.8 * 1e8**alpha, 0.8 * 2e9**beta, alpha, beta)
    flops = 1e18 * 4.0 ** np.arange(5)
    best = np.array([allocate(law, c).params for c in flops])
    if low is None:
        n = np.tile(np.geomspace(best[0] / 3, best[-1] * 3, sizes), (5, 1))
    else:
        n = best[:, None] * np.geomspace(low, high, sizes)
    d = flops[:, None] / 6 / n
    y = law.loss(n, d) * np.exp(noise * rng.standard_normal(n.shape))
    table = pd.DataFrame({"params": n.ravel(), "tokens_seen": d.ravel(), "loss": y.ravel()})
    return table, beta / (alpha + beta)


def bias(seed: int, repetitions: int) -> None:
    """Print how far the exponents of parabolas are from that of the law of the runs."""
    rows = []
    for name, grid in ISOFLOP.items():
        for noise in (0.003, 0.01):
            for i in range(repetitions):
                table, truth = draw_levels(np.random.default_rng([seed, i]), grid, noise)
                result = isoflop(table)
                found, ends = result["exponent"], result["exponent_interval_95"]
                rows.append(
                    {
                        "grid": name,
                        "noise of ln L": noise,
                        "exponent": found is not None,
                        "bias": np.nan if found is None else found - truth,
                        "interval holds": np.nan if ends is None else ends[0] <= truth <= ends[1],
                        "warns": bool(result["warnings"]),
                    }
                )
    means = pd.DataFrame(rows).astype({"interval holds": float})
    print(means.groupby(["grid", "noise of ln L"], sort=False).mean().round(3).to_string())


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the families (default: 0)")
    parser.add_argument("--repetitions", type=int, help="families of each kind and grid")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="the published tables")
    parser.add_argument("--isoflop", action="store_true", help="the bias of IsoFLOP parabolas")
    args = parser.parse_args()
    if args.tables:
        published(args.tables)
    elif args.isoflop:
        bias(args.seed, args.repetitions or 200)
    else:
        simulate(args.seed, args.repetitions or 6)


if __name__ == "__main__":
    main()
