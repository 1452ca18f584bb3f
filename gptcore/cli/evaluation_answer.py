"""What people read of the subcommand `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator

from gptcore.cli.data import describe_parts, warned
from gptcore.cli.options import Json
from gptcore.console import Answer, Cell, Table, counted, fixed


def evaluate_answer(result: Json) -> Answer:
    """Give the loss with its interval and protocol, and where and when it is high."""
    loss, ends = result["loss_nats_per_token"], result["interval_95"]
    interval = "" if ends is None else f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
    about = (
        f"The intervals are for {result['interval_population']}."
        if ends
        else f"There is no interval, because {result['interval_reason']}."
    )
    scored = (
        describe_parts(result) + f" The {result['part']} part was scored."
        if "train_tokens" in result
        else f"The text is {result['corpus']}: {result['n_tokens']:,} tokens, all of them scored."
    )
    return Answer(
        f"The loss is {loss:.3f} nats per token{interval}{_per_byte(result)}, over "
        f"{counted(result['n_targets'], 'target')}.",
        [
            Table(("quantity", "value", "unit"), _quantities(result)),
            _per_unit(result["scores"]),
            "Only the loss of a byte can be compared between models with different tokens.",
            about,
            f"The model is {result['model']['name']}: {result['model']['source']}.",
            _in_words(result["protocol"]),
            *_contamination(result["contamination"]),
            *_tables(result),
            scored,
            *warned(result),
        ],
    )


def _per_byte(result: Json) -> str:
    bits = result["bits_per_byte"]
    return "" if bits is None else f", or {bits:.3f} bits per byte"


def _quantities(result: Json) -> list[tuple[Cell, ...]]:
    low, high = map(fixed, result["interval_95"] or (None, None))
    less_low, less_high = map(fixed, result["difference_interval_95"] or (None, None))
    rows: list[tuple[Cell, ...]] = [
        ("loss", fixed(result["loss_nats_per_token"]), "nats per token"),
        ("95 % interval, lower end", low, "nats per token"),
        ("95 % interval, upper end", high, "nats per token"),
        ("loss of a byte", fixed(result["bits_per_byte"]), "bits per byte"),
    ]
    if result["baseline_loss_nats_per_token"] is not None:
        rows += [
            (
                "loss of the training part's token counts",
                fixed(result["baseline_loss_nats_per_token"]),
                "nats per token",
            ),
            (
                "loss less that of the counts",
                fixed(result["difference_nats_per_token"]),
                "nats per token",
            ),
            ("95 % interval of that, lower end", less_low, "nats per token"),
            ("95 % interval of that, upper end", less_high, "nats per token"),
        ]
    return [*rows, ("targets scored", result["n_targets"], "targets")]


def _per_unit(scores: list[Json]) -> Table:
    rows = [
        (
            score["per"],
            score["n"],
            fixed(score["nats"]),
            *map(fixed, score["interval_95"] or (None, None)),
            fixed(score["perplexity"]),
        )
        for score in scores
    ]
    return Table(("loss of a", "number", "nats", "95 % from", "to", "perplexity"), rows)


def _contamination(found: Json | None) -> Iterator[str]:
    if found is None:
        return
    ends = found["difference_interval_95"]
    interval = "" if ends is None else f" (95 % interval {ends[0]:.2f} to {ends[1]:.2f})"
    yield (
        f"Contamination, beside {found['beside']['name']} ({found['beside']['source']}): "
        f"{found['verdict']} After {found['prompt_tokens']} tokens of prompt the model repeats "
        f"{found['mean_matched_tokens']:.2f} tokens of the text in the mean, "
        f"{found['difference_tokens']:.2f} more{interval} than the model beside it; a better model "
        "repeats more also where it never saw the text."
    )


def _in_words(protocol: Json) -> str:
    begin = "<|endoftext|>" if protocol["library"] == "gptcore" else "the token that begins a text"
    first = f"scored after {begin}" if protocol["bos"] else "not scored"
    weights = " The weights were their moving average." if protocol["weights"] == "average" else ""
    text = " The format of WikiText was undone first." if protocol["detokenised"] else ""
    return (
        f"Protocol: each target was predicted from at most {protocol['context']} tokens before "
        f"it and, after the first window, from at least {protocol['least_context']} (stride "
        f"{protocol['stride']}); the first token of a text was {first}.{text}{weights}"
    )


def _tables(result: Json) -> Iterator[Table | str]:
    titles = {
        "by_position": "targets of the text, from",
        "by_context": "tokens of context, from",
        "by_visits": "visits in training, from",
    }
    for name, title in titles.items():
        if result[name] is not None:
            rows = [
                (group["first"], group["last"], group["n_targets"], fixed(group["loss"]))
                for group in result[name]
            ]
            yield Table((title, "to", "targets", "nats per token"), rows)
    gap, ends = result["memorisation_gap"], result["memorisation_gap_interval_95"]
    if gap is not None:
        interval = "" if ends is None else f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
        yield (
            "Targets of the training part that training never showed have a loss that is higher "
            f"by {gap:.3f} nats per token{interval} than that of those it showed."
        )
