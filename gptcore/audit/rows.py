"""Findings about rows of tokens and their targets, before their places are counted."""

from gptcore.audit.findings import Finding


def unmatched_rows(count: int, example: int) -> Finding:
    """Return the finding about rows that do not occur in the text."""
    return Finding(
        "unmatched_rows",
        count,
        f"row {example}",
        "These rows do not occur in the text, and the other counts leave them out. The reason may "
        "be padding, special tokens, rows across documents, or another text.",
    )


def ambiguous_rows(count: int, example: int) -> Finding:
    """Return the finding about rows that occur at several places."""
    return Finding(
        "ambiguous_rows",
        count,
        f"row {example}",
        "The tokens of these rows occur at several places of the text. Equal rows are assigned to "
        "these places in turn.",
        "note",
    )


def wrong_targets(count: int, example: str) -> Finding:
    """Return the finding about rows whose targets are not the next tokens."""
    return Finding(
        "wrong_targets",
        count,
        example,
        "The targets are neither the inputs moved by one token nor equal to the inputs, so the "
        "model learns something other than the next token. Check how the targets are made.",
    )


def masked_targets(count: int) -> Finding:
    """Return the finding about labels of -100, which torch's cross-entropy leaves out."""
    reason = "These targets give no loss; the other counts treat them as shown."
    return Finding("masked_targets", count, "labels of -100", reason, "note")
