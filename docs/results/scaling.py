"""Run every check of docs/results/scaling.md and print its tables.

python docs/results/scaling.py FOLDER [--families | --advice]; FOLDER has chinchilla_epoch.csv.gz
and scaling_dev.csv.gz, whose sources docs/results/scaling.md names.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gptcore.cli.main import main
from gptcore.scaling import Cut, Split, evaluate, one_family, read_table

CHINCHILLA, DEV = "chinchilla_epoch.csv.gz", "scaling_dev.csv.gz"


class Runner:
    """Runs `gptcore scale` and prints a row for each check."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch

    def scale(self, command: str) -> dict:
        """Return the JSON of a command; table names stand for files of the folder."""
        places = {CHINCHILLA: self.folder / CHINCHILLA, DEV: self.folder / DEV}
        places["law.json"] = self.scratch / "law.json"
        argv = [str(places.get(word, word)) for word in command.split()]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = main(["scale", *argv, "--json"])
        assert code == 0, command
        return json.loads(out.getvalue())

    def row(self, check: str, bar: str, command: str, show) -> None:
        """Print a check: what is required, the result, and the command."""
        started = time.perf_counter()
        text, good = show(self.scale(command))
        mark = "yes" if good else "**no**"
        seconds = time.perf_counter() - started
        print(f"| {check} | {bar} | {text} | {mark} | {seconds:.1f} | `{command}` |", flush=True)


def at_most(key: str, bar: float):
    """Show a percentage that must be at most `bar`."""
    return lambda answer: (f"{answer[key]:.2f} %", answer[key] <= bar)


def published(law: dict):
    """Show the parameters of Chinchilla's runs."""
    text = (
        f"objective {law['objective']:.8f}, E {law['E']:.4f}, alpha {law['alpha']:.4f}, "
        f"beta {law['beta']:.4f}, SD {law['sd']['alpha']:.4f} and {law['sd']['beta']:.4f}, "
        f"fit {law['seconds']:.2f} s"
    )
    good = (
        law["objective"] <= 0.00101828
        and abs(law["E"] - 1.8172) <= 1e-3
        and abs(law["alpha"] - 0.3473) <= 5e-4
        and abs(law["beta"] - 0.3672) <= 5e-4
        and abs(law["sd"]["alpha"] / 0.0152 - 1) <= 0.2
        and abs(law["sd"]["beta"] / 0.020 - 1) <= 0.2
    )
    return text, good


def replication(law: dict):
    """Show the parameters with a small delta."""
    names = ("E", "A", "B", "alpha", "beta")
    good = abs(law["alpha"] - 0.3477) < 5e-4 and abs(law["beta"] - 0.3658) < 5e-4
    return ", ".join(f"{name} {law[name]:.5g}" for name in names), good


def near(key: str, bar: float):
    """Show a percentage that must be reproduced to within 0.05."""
    return lambda answer: (f"{answer[key]:.2f} %", abs(answer[key] - bar) <= 0.05)


def warned(limit: float):
    """Show an evaluation that must warn."""
    return lambda answer: (
        f"{answer['are_last30']:.2f} %, {len(answer['warnings'])} warnings",
        bool(answer["warnings"]) and answer["are_last30"] <= limit,
    )


def allocation(answer: dict):
    """Show the exponent of N and the tokens per parameter."""
    ratio = answer["tokens_per_param"]
    text = f"a {answer['exponent']:.3f} ± {answer['exponent_sd']:.3f}, D/N {ratio:.1f}"
    return text, abs(answer["exponent"] - 0.514) <= 0.019 and 16 <= ratio <= 20


def repeats(law: dict):
    """Show R_D."""
    return f"R_D {law['R_D']:.1f}", 10 <= law["R_D"] <= 25


def bars(run: Runner) -> None:
    """Print the table of checks."""
    print("| check | required | result | met | s | `gptcore scale …` |\n|---|---|---|---|---|---|")
    fit = f"fit {CHINCHILLA} --drop-largest 5"
    run.row("Chinchilla, delta 1e-3", "≤ 0.00101828; 1.8172, 0.3473, 0.3672; 0.0152, 0.020 ± 20 %",
            fit, published)  # fmt: skip
    (run.scratch / "law.json").write_text(json.dumps(run.scale(fit)))
    run.row("same, delta 1e-5", "1.8167, 481, 2081, 0.3477, 0.3658", f"{fit} --delta 1e-5",
            replication)  # fmt: skip
    run.row("allocation", "0.514 ± 0.019, D/N 18", "allocate --law law.json --flops 5.88e23",
            allocation)  # fmt: skip
    half = "--last-share 0.5"
    gpt3, opt = f"evaluate {DEV} --family gpt3", f"evaluate {DEV} --family opt"
    run.row("gpt3, 175B from 7 smaller", "≤ 0.8 %", f"{gpt3} {half}", at_most("are_last30", 0.8))
    run.row("gpt3, 5 smallest", "≤ 3.5 %", f"{gpt3} --models 5 {half}", at_most("are_last30", 3.5))
    for models, bar in ((5, 5.20), (6, 0.81), (7, 2.69)):
        run.row(f"gpt3, fit of Choshen et al., {models} smallest", f"{bar:.2f} ± 0.05 %",
                f"{gpt3} --models {models} --preset colpret", near("are_final", bar))  # fmt: skip
    run.row("opt", "≤ 1.6 %", f"{opt} {half}", at_most("are_last30", 1.6))
    run.row("opt, final losses", "warns", f"{opt} --final-only", warned(100))
    run.row("overtrained, N > 50M", "≤ 1 %",
            f"evaluate {DEV} --family overtrain_c4_original --min-params 5e7",
            at_most("are_last30", 1))  # fmt: skip
    run.row("porian, C to 4 C, D/N ≥ 2", "≤ 5.5 %",
            f"evaluate {DEV} --family porian_rw_const --compute-gap 4 --min-tokens-per-param 2",
            at_most("are_final", 5.5))  # fmt: skip
    data = f"evaluate {DEV} --family datablations_c4_e01"
    run.row("datablations, 2 sizes", "warns", data, warned(100))
    run.row("same, 2.8B and a borrowed size term", "≤ 0.6 %",
            f"{data} --models 1 --borrow law.json", at_most("are_last30", 0.6))  # fmt: skip
    alone = "--models 0 --target-share 0.3"
    run.row("30 % of the held-out run alone, opt", "≤ 2.5 %", f"{opt} {alone}",
            at_most("are_last30", 2.5))  # fmt: skip
    run.row("same, gpt3", "≤ 7 %", f"{gpt3} {alone}", at_most("are_last30", 7))
    run.row("R_D in two stages", "10 to 25",
            f"fit {DEV} --family datablations_c4_grid --repetition --min-unique-tokens 1e9",
            repeats)  # fmt: skip


def families(folder: Path) -> None:
    """Print each family's error at every size that 3 or more smaller sizes predict."""
    table = read_table(folder / DEV)
    print("| family | held-out sizes | median ARE, % | largest, % | 80 % interval holds |")
    print("|---|---|---|---|---|")
    every, held = [], []
    for name in sorted(table["family"].unique()):
        rows = one_family(table, name)
        if name == "datablations_c4_grid":  # single passes
            rows = rows[rows["tokens_seen"] <= rows["unique_tokens"] * 1.001]
        sizes = np.sort(rows["params"].unique())
        first = 3 if len(sizes) > 3 else 2
        ares, holds = [], []
        for size in sizes[first:]:
            result = evaluate(rows[rows["params"] <= size], Split()).as_dict()
            ares.append(result["are_last30"])
            holds.append(result["interval_80_holds"])
        every.append(np.median(ares))
        known = [h for h in holds if h is not None]
        held += known
        errors = f"{np.median(ares):.2f} | {max(ares):.2f}"
        print(f"| {name} | {len(ares)} | {errors} | {sum(known)} of {len(known)} |")
    print(f"| **all** | | **{np.median(every):.2f}** | | **{sum(held)} of {len(held)}** |")


def advice(folder: Path) -> None:
    """Print the median ARE with each advice of Choshen et al. 2025, over three families."""
    table = read_table(folder / DEV)
    names = ("gpt3", "opt", "porian_rw_const")
    cells = []
    for name in names:
        rows = one_family(table, name)
        sizes = np.sort(rows["params"].unique())
        cells += [(name, rows[rows["params"] <= size], k + 3) for k, size in enumerate(sizes[3:])]

    def median(cut: Cut | None = None, chosen=cells, **split) -> str:
        ares = [
            evaluate(rows, Split(**{k: f(n) if callable(f) else f for k, f in split.items()}),
                     cut=cut).as_dict()["are_last30"]
            for _, rows, n in chosen
        ]  # fmt: skip
        return f"{np.median(ares):.2f} (worst {max(ares):.1f})"

    print(f"{len(cells)} held-out sizes, each predicted from all smaller sizes\n")
    print("| what | ARE, % |\n|---|---|")
    for share in (1, 0.9, 0.7, 0.5, 0.3):
        print(f"| last {share:.0%} of each run | {median(Cut(share))} |", flush=True)
    print(f"| final losses only | {median(Cut(final_only=True))} |")
    for tokens in (1e9, 1e10):
        print(f"| all but the first {tokens:.0e} tokens | {median(Cut(1, tokens))} |")
    big = [cell for cell in cells if cell[2] >= 5]
    for count in (2, 3, 4, 5):
        few = median(chosen=big, models=count)
        print(f"| {count} smallest sizes ({len(big)} held-out sizes) | {few} |", flush=True)
    for share in (0.1, 0.3, 0.5):
        print(
            f"| with {share:.0%} of the held-out run | {median(target_share=share)} |", flush=True
        )
        print(f"| {share:.0%} of the held-out run alone | {median(target_share=share, models=0)} |")
    whole = [(n, one_family(table, n), 0) for n in names]
    print(f"| smallest from larger (3 families) | {median(chosen=whole, reverse=True)} |")
    print(f"| largest from smaller (3 families) | {median(chosen=whole)} |")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if "--families" in sys.argv:
        families(place)
    elif "--advice" in sys.argv:
        advice(place)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            bars(Runner(place, Path(scratch)))
