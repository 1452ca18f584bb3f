"""The answers of `gptcore scale` that people read, from the JSON object of the same call."""

from __future__ import annotations

from collections.abc import Sequence

from gptcore.cli.options import Json
from gptcore.console import Answer, Cell, Table, counted, fixed, format_cell

NAMES = ("E", "A", "B", "alpha", "beta")
NATS = "nats per token"


def _answer(sentence: str, result: Json, parts: Sequence[str | Table]) -> Answer:
    """Return an answer whose last lines are the picture and the warnings."""
    plot = [f"The picture is in {result['plot']}."] if "plot" in result else []
    warnings = [f"Warning: {text}" for text in result.get("warnings", ())]
    return Answer(sentence, [*parts, *plot, *warnings])


def fit_answer(result: Json) -> Answer:
    """Give the law, and its parameters with their intervals."""
    data = f"{counted(result['n_points'], 'loss point')} of {counted(result['n_models'], 'run')}"
    unknown = [name for name in NAMES if result[name] is None]
    if unknown:
        sentence = (
            f"The data do not identify {', '.join(unknown)} of the law loss = E + A / N^alpha + "
            f"B / D^beta, which was fitted to {data}."
        )
    else:
        e, a, b, alpha, beta = (format_cell(result[name]) for name in NAMES)
        sentence = (
            f"The law is loss = {e} + {a} / N^{alpha} + {b} / D^{beta} {NATS}, fitted to {data}."
        )
    rows: list[tuple[Cell, ...]] = []
    for name in NAMES:
        low, high = result["interval_95"][name] or (None, None)
        rows.append((name, result[name], result["sd"][name], low, high))
    for name in ("R_D", "R_N") if "R_D" in result else ():
        low, high = result[f"{name}_interval_95"] or (None, None)
        rows.append((name, result[name], None, low, high))
    headings = ("parameter", "value", "sd", "95 % from", "95 % to")
    return _answer(
        sentence,
        result,
        [
            Table(headings, rows),
            *_of_repetition(result),
            "N: parameters. D: tokens. A dash: the data do not give that number.",
            "To use the law, keep it: gptcore scale fit ... --json > law.json",
        ],
    )


def _of_repetition(result: Json) -> list[str | Table]:
    """Say how well the formula of repetition fits, and how R_D depends on the filter."""
    if "R_D" not in result:
        return []
    goodness = result["goodness"]
    cells = [
        "no number" if value is None else f"{100 * value:.3g} %"
        for value in (goodness[name] for name in ("residual_sd", "residual_sd_once", "r2"))
    ]
    rows = [
        (row["min_unique_tokens"], row["n_runs"], row["R_D"], *(row["interval_95"] or (None, None)))
        for row in result["R_D_by_filter"]
    ]
    headings = ("unique tokens, at least", "runs", "R_D", "95 % from", "95 % to")
    return [
        f"The residuals of ln(loss) have a standard deviation of {cells[0]} in repeated runs and "
        f"of {cells[1]} in runs of one pass; the formula explains {cells[2]} of the variance of "
        "what repetition costs. R_D by filter, with bootstrap intervals:",
        Table(headings, rows),
    ]


def evaluate_answer(result: Json) -> Answer:
    """Say how far the predicted losses are from the observed ones."""
    target = result["target"]
    which = target if isinstance(target, str) else counted(result["n_targets"], "run")
    sign = "high" if result["signed_final"] > 0 else "low"
    low, high = map(fixed, result["interval_80"] or (None, None))
    rows: list[tuple[Cell, ...]] = [
        ("mean error over the last 30 % of tokens (ARE)", result["are_last30"], "%"),
        ("error of the final loss", result["are_final"], "%"),
        ("final loss, observed", fixed(result["observed_final"]), NATS),
        ("final loss, predicted", fixed(result["predicted_final"]), NATS),
        ("80 % interval, lower end", low, NATS),
        ("80 % interval, upper end", high, NATS),
        ("the interval holds the observed loss", result["interval_80_holds"], ""),
        ("interval widened by back-tests, factor", result["widening"], ""),
        ("error of the nearest size's final loss", result["are_last_size"], "%"),
        ("error of the line through two sizes", result["are_two_sizes"], "%"),
        ("error as a share of the gain in loss", _per_cent(result["share_of_gain"]), "%"),
        ("runs fitted", result["n_models"], "runs"),
        ("losses fitted", result["n_points"], "points"),
    ]
    parts: list[str | Table] = [Table(("quantity", "value", "unit"), rows)]
    if result["targets"]:
        names = ("model", "params", "tokens", "observed", "predicted", "are_last30")
        headings = ("model", "parameters", "tokens", "observed", "predicted", "ARE, %")
        parts += [
            "Final losses and their interval are those of the longest run. All runs:",
            Table(headings, [[run[name] for name in names] for run in result["targets"]]),
        ]
    return _answer(
        f"The law predicts {which} with a mean error of {result['are_last30']:.2f} % over the last "
        f"30 % of the tokens; its final loss is {abs(result['signed_final']):.2f} % too {sign}.",
        result,
        parts,
    )


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def predict_answer(result: Json) -> Answer:
    """Give the loss with its interval."""
    run = f"{result['params']:.4g} parameters and {result['tokens']:.4g} tokens"
    if result["loss"] is None:
        return _answer(f"The law does not predict the loss of {run}.", result, [])
    low, high = result["interval_95"] or (None, None)
    interval = "no interval is known" if low is None else f"95 % interval {low:.3f} to {high:.3f}"
    rows: list[tuple[Cell, ...]] = [
        ("loss", fixed(result["loss"]), NATS),
        ("95 % interval, lower end", fixed(low), NATS),
        ("95 % interval, upper end", fixed(high), NATS),
        *_epochs(result),
    ]
    return _answer(
        f"The predicted loss of {run} is {result['loss']:.3f} {NATS} ({interval}).",
        result,
        [Table(("quantity", "value", "unit"), rows)],
    )


def allocate_answer(result: Json) -> Answer:
    """Give the best size and tokens for the budget."""
    if result["params"] is None:
        return _answer("No best size follows from this law.", result, [])
    params, tokens = result["params"], result["tokens"]
    rows: list[tuple[Cell, ...]] = [
        ("parameters", params, "parameters"),
        *_ends("parameters", result["params_interval_95"], "parameters"),
        ("tokens", tokens, "tokens"),
        *_ends("tokens", result["tokens_interval_95"], "tokens"),
        ("tokens for each parameter", result["tokens_per_param"], "tokens"),
        ("loss", fixed(result["loss"]), NATS),
        ("exponent: parameters grow as FLOPs to the power", result["exponent"], ""),
        ("exponent, standard deviation", result["exponent_sd"], ""),
        *_epochs(result),
    ]
    return _answer(
        f"The best use of {6 * params * tokens:.4g} FLOPs is to train {params:.3g} parameters on "
        f"{tokens:.3g} tokens: the law predicts a loss of {result['loss']:.3f} {NATS}.",
        result,
        [Table(("quantity", "value", "unit"), rows)],
    )


def _ends(name: str, ends: list[float] | None, unit: str) -> list[tuple[Cell, ...]]:
    """Return the rows of a 95 % interval; none without one."""
    words = ("lower", "upper")
    return [
        (f"{name}, {word} end of the 95 % interval", end, unit)
        for word, end in zip(words, ends or (), strict=False)
    ]


def _epochs(result: Json) -> list[tuple[Cell, ...]]:
    if "epochs" not in result:
        return []
    return [
        ("tokens of the text", result["unique_tokens"], "tokens"),
        ("passes over the text", result["epochs"], "epochs"),
    ]


def isoflop_answer(result: Json) -> Answer:
    """Say how the best size grows with compute."""
    levels = counted(len(result["levels"]), "level")
    if result["exponent"] is None:
        return _answer(
            f"No growth of the best size can be fitted: it takes two levels of compute, each with "
            f"4 sizes and the best of them inside, and there are {len(result['levels'])}.",
            result,
            [_runs(result["levels"])] if result["levels"] else [],
        )
    ends = result["exponent_interval_95"]
    by_law = result["law_exponent"]
    said = "no exponent" if by_law is None else f"{by_law:.3f}{_interval(result, 'law_exponent')}"
    return _answer(
        f"The best number of parameters grows as FLOPs to the power {result['exponent']:.3f}, by "
        f"{levels} of compute.",
        result,
        [
            f"95 % interval: {ends[0]:.3f} to {ends[1]:.3f}. A law fitted to the same losses gives "
            f"{said}.",
            _runs(result["levels"]),
        ],
    )


def _interval(result: Json, name: str) -> str:
    ends = result[f"{name}_interval_95"]
    return "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"


def plan_answer(result: Json) -> Answer:
    """Give the decision, then the runs to train."""
    if "tried" in result:
        return _next_run(result)
    return _answer(
        result["decision"],
        result,
        [
            _runs(result["models"]),
            f"The largest of these runs has 1/{result['scale_up']:.3g} of the parameters of the "
            "run to predict.",
            f"The expected error is the mean over {result['n_simulated']} simulated ladders, ± "
            f"{result['expected_are_se']:.2g} % (standard error); 80 % of the errors are below "
            f"{result['are_80']:.2g} %. If the law is off by 1 % for each factor of e in size, "
            f"expect {result['misfit_are']:.2g} %.",
        ],
    )


def _next_run(result: Json) -> Answer:
    names = ("params", "tokens", "flops", "half_width_80_after")
    rows = [[run[name] for name in names] for run in result["tried"]]
    headings = ("parameters", "tokens", "FLOPs", "80 % interval after it, ± %")
    return _answer(result["decision"], result, [Table(headings, rows)] if rows else [])


def _runs(rows: list[Json]) -> Table:
    """Return the table of runs, or of the best run at each level of compute."""
    headings = {
        "flops": "FLOPs",
        "params": "parameters",
        "tokens": "tokens",
        "loss": "loss, nats per token",
        "n_sizes": "sizes",
    }
    names = [name for name in headings if name in rows[0]]
    return Table([headings[name] for name in names], [[row[n] for n in names] for row in rows])
