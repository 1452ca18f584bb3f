"""What the models wrote, before and after training."""

from __future__ import annotations

from reports.blocks import Finding, Plotter, Section, Text, dicts
from reports.load import Run


def find(_: Run) -> list[Finding]:
    """Return no finding: a text is an example and no measurement."""
    return []


def section(run: Run, _: Plotter) -> list[Section]:
    """Return a text from before and one from after training: of each sampler, the first seed."""
    rows = run.series("convergence", "generated")
    first = rows.drop_duplicates(["setting", "variant"])["case"]
    rows = rows[rows["case"].isin(first)]
    texts = [
        Text(str(r["when"]), f"{r['variant']}, seed {r['seed']}", str(r["prompt"]), str(r["text"]))
        for r in dicts(rows)
    ]
    return [
        Section(
            "text",
            "Generated text",
            "What does the model write?",
            "The model continues the same prompt before and after training. The texts are examples "
            "and no measurement: judge their form (line breaks, punctuation, words), not their "
            "meaning.",
            texts=texts,
            missing="" if texts else "This ledger holds no generated text.",
        )
    ]
