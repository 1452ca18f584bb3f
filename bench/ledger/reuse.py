"""The series that set training from scratch beside published weights (`bench_reuse`).

A row is of one option: "scratch", "fine_tuned" or "published". Tokens and FLOPs are those of its
own training up to that row, hours are those of one accelerator, and money is their price in US
dollars; a loss is in nats per token.
"""

_COST = (
    "tokens", "flops", "hours_low", "hours", "hours_high", "money_low", "money", "money_high",
)  # fmt: skip
_EVALUATED = ("option", "model", "loss", *_COST)

REUSE = {
    # Each option at its end: its loss with the 95 % interval over the text, what it cost (`time_s`
    # on this machine, `energy_kwh` from counters), and how far it ends above the best option.
    "reuse_options": (
        *_EVALUATED, "n_params", "loss_low", "loss_high", "bits_per_byte", "time_s", "energy_kwh",
        "behind", "behind_low", "behind_high",
    ),
    # Every evaluation of every option.
    "reuse_curve": _EVALUATED,
    # From the cost of a row on, no option that costs as much or less has a lower loss.
    "reuse_choice": _EVALUATED,
    # What speaks for "building" or for "reusing" a model, and a number beside it.
    "reuse_reasons": ("about", "reason", "figure"),
}  # fmt: skip
