"""The sections on convergence and on generated text."""

from __future__ import annotations

from reports import words
from reports.blocks import Plotter, Section, Text, by_setting, dicts, missing, titled
from reports.load import Run
from reports.topics.convergence import figures as convergence_figures
from reports.topics.convergence import tables as convergence_tables


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
            convergence_figures.test_loss, test.dropna(subset=["tokens", "loss"]), "Loss on unseen text",
            f"{seeds} Below the dotted line the model knows more than how frequent tokens are. "
            f"{setting}.",
            f"Test loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        plots += plot(
            convergence_figures.train_loss, train.dropna(subset=["tokens", "loss"]), "Loss while training",
            f"{seeds} {setting}.",
            f"Training loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        shown.append(
            titled(convergence_tables.training(part), setting, convergence_tables.shared_text(part))
        )
    points = {r["case"]: r["samples"].get("difference", []) for r in run.finished}
    comparisons = comparisons[comparisons["difference"].notna()]
    names = comparisons["corpus"].map(str)
    for name in dict.fromkeys(names):
        pairs = comparisons[names == name]
        corpus = f"Corpus: {words.corpus(pairs['corpus'].iloc[0])}"
        plots += plot(
            convergence_figures.differences, pairs.assign(points=pairs["case"].map(points)),
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
        shown.append(titled(convergence_tables.comparisons(pairs), corpus))
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
