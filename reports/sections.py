"""One run → the sections of its page: each a question with the words, figures and tables on it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.ledger.record import Record
from bench.ledger.schema import PHASE_TIMES
from reports import cost, coverage, figures, peers, scaling, tables, tables_trust, trust, words
from reports.load import Run
from reports.section import Plot, Plotter, Section, Text, by_setting, dicts, missing, titled


def sections_of(run: Run, plot: Plotter) -> list[Section]:
    """Return all sections of a run, in the order of the page."""
    return [
        speed_section(run, plot),
        *cost.cost_section(run, plot),
        *peers.peers_section(run, plot),
        *trust.memory_section(run, plot),
        *trust.trust_section(run, plot),
        throughput_section(run),
        sampling_section(run, plot),
        position_section(run, plot),
        convergence_section(run, plot),
        *scaling.scaling_section(run, plot),
        text_section(run),
        not_run_section(run),
    ]


def speed_section(run: Run, plot: Plotter) -> Section:
    """Return how fast the models ran, and how far that is from what the machine can do."""
    models = run.cases("model")
    models = models[models["time_s"].notna()]
    plots: list[Plot] = []
    if not models.empty:
        labels = models.apply(tables.case_label, axis=1)
        work = models["work"].map(words.work)
        steps = models.assign(label=labels)
        steps = steps[steps[list(PHASE_TIMES)].sum(axis=1) > 0]
        shares = models.assign(label=work + ": " + labels).dropna(subset=["mfu"])
        plots += plot(
            figures.phases, steps, "Where the time of a step goes",
            "One bar is one training step. The longest part is where a speed-up would pay.",
            "Stacked bars of seconds per phase. " + " ".join(map(_phases_alt, dicts(steps))),
        )  # fmt: skip
        plots += plot(
            figures.share_of_peak, shares, "Share of the measured peak",
            "The line at 100 % is the fastest matrix product that this machine reached, at the "
            "same precision. Blue is fp32, orange any other precision.",
            "Bars of the share of peak. "
            + " ".join(f"{r['label']}: {words.percent(r['mfu'])}." for r in dicts(shares)),
        )  # fmt: skip
        plots += trust.rooflines(run, plot)
    placed = trust.placed(models)
    return Section(
        "speed",
        "Speed",
        "How fast is it here?",
        "Each case was warmed up and then timed over several rounds. The share of peak sets the "
        "useful arithmetic of a model against the best matrix product of this machine: far below "
        f"100{words.NBSP}% means that something other than arithmetic takes the time.",
        plots,
        [
            *([tables.speed(models)] if not models.empty else []),
            *([tables_trust.roofline(placed)] if not placed.empty else []),
            *([tables_trust.ceilings(run)] if not models.empty else []),
            *tables_trust.operators(run),
        ],
        missing=missing(run, "model", "timing") if models.empty else "",
    )


def _phases_alt(case: dict[Any, Any]) -> str:
    known = {phase: case[key] for key, phase in PHASE_TIMES.items() if case[key] == case[key]}
    parts = [f"{phase} {words.si(time_s, 's')}" for phase, time_s in known.items()]
    return f"{case['label']}: {', '.join(parts)}."


def throughput_section(run: Run) -> Section:
    """Return how fast batches are made, and how fast their visits are counted."""
    timed = run.cases("throughput")
    timed = timed[timed["time_s"].gt(0)]
    counted = timed["ledger_tokens"].notna()
    shown = [
        titled(tables.loading(part), setting) for setting, (part,) in by_setting(timed[~counted])
    ]
    if counted.any():
        shown.append(tables.ledger(timed[counted]))
    return Section(
        "throughput",
        "Batches",
        "How fast are batches made?",
        "Batches are made of random windows, with no model behind them: what is left of a step's "
        "time for data if nothing else were to do. Counting is what the tables on sampling rest "
        "on: the visits of every target, exactly.",
        tables=shown,
        missing="" if shown else missing(run, "throughput", "timing of batches"),
    )


def _longest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, of each sampler, the case with the most epochs."""
    order = frame.sort_values("epochs", kind="stable")
    return order.drop_duplicates("variant", keep="last").sort_index()


def _of_cases(frame: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that belong to `cases`, the 2 x 2 first so that its colours stay."""
    rows = frame[frame["case"].isin(cases["case"])]
    return rows.iloc[(~coverage.is_core(rows)).argsort(kind="stable")]


def sampling_section(run: Run, plot: Plotter) -> Section:
    """Return what each sampler showed the model, against theory."""
    cases = run.cases("coverage")
    plots, shown = [], []
    series = [
        run.series("coverage", name)
        for name in ("coverage_curve", "visits_histogram", "visits_by_position")
    ]
    cells, scarce = coverage.two_by_two(cases), coverage.scarce_text(cases)
    main = coverage.whole_text(cases)
    for setting, (part, curves, histogram, position, four) in by_setting(main, *series, cells):
        last = _longest(part)
        curves = _of_cases(curves, last)
        core = last if four.empty else last[coverage.is_core(last)]
        histogram, position = _of_cases(histogram, core), _of_cases(position, core)
        numbers = " ".join(
            f"{r['variant']}: {words.number(r['missed_targets'])} targets missed after "
            f"{words.number(r['epochs'])} epoch-equivalents, visits from "
            f"{words.number(r['visits_min'])} to {words.number(r['visits_max'])}."
            for r in dicts(last)
        )
        curves = curves.dropna(subset=["epochs", "covered"])
        first = curves[curves["epochs"] <= 2]
        plots += plot(
            figures.covered, _of_cases(first, core), "How much of the text was shown",
            "Lines are observed, circles exact theory where it is known; equal lines lie on each "
            f"other. {setting}.",
            f"Share of targets shown at least once against epochs. {numbers}",
        )  # fmt: skip
        plots += plot(
            figures.missed, curves[curves["covered"] < 1 - 1e-9], "How much was still missing",
            "Each grid line is ten times less. A line that ends has reached zero; equal lines lie "
            f"on each other. {setting}.",
            f"Share of targets not shown yet, logarithmic, against epochs. {numbers}",
        )  # fmt: skip
        longest = f"At the most epochs measured. {setting}."
        plots += plot(
            figures.visits, histogram.dropna(subset=["visits", "targets"]),
            "How often a target was shown",
            f"A single bar is an even diet; a wide hill is chance. {longest}",
            f"Histogram of visits per target, by sampler. {numbers}",
        )  # fmt: skip
        plots += plot(
            figures.positions, position.dropna(subset=["visits_min", "visits_max"]),
            "Where in the text it was shown",
            f"Line: mean of each hundredth of the text. Band: least and most shown. {longest}",
            f"Visits along the training part, by sampler. {numbers}",
        )  # fmt: skip
        if not four.empty:
            shown.append(titled(tables.two_by_two(four), setting))
        shown.append(titled(tables.coverage(part), setting))
    for setting, (part,) in by_setting(scarce):
        shown.append(titled(tables.scarce_text(part), setting))
    return Section(
        "sampling",
        "Sampling",
        "What did the sampling show the model?",
        "A target is a token that the model is asked to predict. One epoch-equivalent feeds as "
        "many tokens as the training part holds; random windows then repeat some and miss others. "
        "z is how many standard deviations the observed number lies from exact theory: within "
        "about ±2 is what chance gives.",
        plots,
        shown,
        missing=missing(run, "coverage", "coverage case") if cases.empty else "",
    )


def position_section(run: Run, plot: Plotter) -> Section:
    """Return whether the end of each text, where the test part lies, is like the rest of it."""
    cases = run.cases("position")
    cases = cases.assign(form=cases["raw"].map(words.form))
    columns = ["case", "form", "n_tokens", "mean_unigram", "sd_unigram"]
    profile = run.series("position", "position_profile")
    plots = []
    for setting, (part, blocks) in by_setting(cases, profile):
        blocks = blocks.merge(part[columns], on="case")
        blocks = blocks.assign(where=(blocks["start"] + blocks["stop"]) / 2 / blocks["n_tokens"])
        ends = " ".join(
            f"{r['form']}: test part {words.loss(r['tail_unigram'])} nats/token, rank "
            f"{words.number(r['rank_unigram'])} of {words.number(r['n_blocks'])}."
            for r in dicts(part)
        )
        plots += plot(
            figures.tail_profile, blocks.dropna(subset=["where", "unigram"]),
            "How well the rest of the text predicts each block",
            "Higher is harder to predict. Dotted line and band: mean and one standard deviation "
            f"over all blocks, which overlap. {setting}.",
            f"Unigram cross-entropy by position in the text. {ends}",
        )  # fmt: skip
    return Section(
        "position",
        "Test part",
        "Is the test part special?",
        "The test part is the end of the text. A block of its size is slid over the text, and each "
        "position scored by token counts of all the rest. If the end stands out, a test loss "
        "measured there alone does not stand for the text. The folds ask the same of a trained "
        "model: each block of the text is left out once.",
        plots,
        [
            make(frame)
            for make, frame in ((tables.position, cases), (tables.folds, run.cases("fold")))
            if not frame.empty
        ],
        missing=missing(run, "position", "profile of a text") if cases.empty else "",
    )


def convergence_section(run: Run, plot: Plotter) -> Section:
    """Return whether training learned, and which sampler ended lower."""
    cases, comparisons = run.cases("convergence"), run.cases("comparison")
    plots, shown = [], []
    series = [run.series("convergence", name) for name in ("loss_curve", "test_curve")]
    for setting, (part, train, test) in by_setting(cases, *series):
        test = test.merge(part[["case", "unigram_test_loss"]], on="case")
        test = test.rename(columns={"unigram_test_loss": "unigram"})
        seeds = "Line: mean over seeds. Band: lowest to highest seed."
        ends = " ".join(
            f"{variant}: final test loss {words.loss(rows['final_test_loss'].mean())}."
            for variant, rows in part.groupby("variant", sort=False)
        )
        plots += plot(
            figures.test_loss, test.dropna(subset=["tokens", "loss"]), "Loss on unseen text",
            f"{seeds} Below the dotted line the model knows more than how frequent tokens are. "
            f"{setting}.",
            f"Test loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        plots += plot(
            figures.train_loss, train.dropna(subset=["tokens", "loss"]), "Loss while training",
            f"{seeds} {setting}.",
            f"Training loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        shown.append(titled(tables.training(part), setting, tables.shared_text(part)))
    points = {r["case"]: r["samples"].get("difference", []) for r in run.finished}
    comparisons = comparisons[comparisons["difference"].notna()]
    names = comparisons["corpus"].map(str)
    for name in dict.fromkeys(names):
        pairs = comparisons[names == name]
        corpus = f"Corpus: {words.corpus(pairs['corpus'].iloc[0])}"
        plots += plot(
            figures.differences, pairs.assign(points=pairs["case"].map(points)),
            "Which sampler ended lower",
            "First minus second: left of zero, the first is better. Circles: one seed each. "
            "Diamond and bar: mean and 95 % interval. Shade: differences too small to matter. "
            f"{corpus}.",
            "Paired differences with intervals. "
            + " ".join(
                f"{words.sampler(r['a'])} minus {words.sampler(r['b'])}: "
                f"{words.signed(r['difference'])}, "
                f"{words.interval(r['difference_low'], r['difference_high'])}."
                for r in dicts(pairs)
            ),
        )  # fmt: skip
        shown.append(titled(tables.comparisons(pairs), corpus))
    return Section(
        "convergence",
        "Convergence",
        "Did it converge, and which sampler ended better?",
        "Each seed trains every sampler from the same initial weights, so differences are taken "
        "within a seed. An interval that spans zero resolves no difference; that alone does not "
        "make two samplers equal, which needs the equivalence test against the margin.",
        plots,
        shown,
        missing=missing(run, "convergence", "training run") if cases.empty else "",
    )


def text_section(run: Run) -> Section:
    """Return what the models wrote before and after training: of each sampler, the first seed."""
    rows = run.series("convergence", "generated")
    first = rows.drop_duplicates(["setting", "variant"])["case"]
    rows = rows[rows["case"].isin(first)]
    texts = [
        Text(str(r["when"]), f"{r['variant']}, seed {r['seed']}", str(r["prompt"]), str(r["text"]))
        for r in dicts(rows)
    ]
    return Section(
        "text",
        "Generated text",
        "What does it write?",
        "The same prompt, continued before and after training. An anecdote, not a measurement: "
        "read it for its form (line breaks, punctuation, words), not for its sense.",
        texts=texts,
        missing="" if texts else "This ledger holds no generated text.",
    )


def not_run_section(run: Run) -> Section:
    """Return what did not run, and why."""
    lost: list[Record] = run.unfinished
    return Section(
        "missing",
        "Not run",
        "What did not run, and why?",
        "Failed cases broke off with an error; skipped ones were not tried here. Neither is part "
        "of any number above.",
        tables=[tables.not_run(lost)] if lost else [],
        missing="" if lost else "Every case in the ledger finished.",
    )
