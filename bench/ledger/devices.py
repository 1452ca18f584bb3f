"""The metrics and the series of training on several processes (`bench_distributed`)."""

DEVICE_MEASURES = {
    "link_bytes_per_s": ("B/s", "what a link carries in an all-reduce of two processes"),
    "link_latency_s": ("s", "time of a message without content, from an all-reduce of a number"),
    "scaling_efficiency": ("ratio", "speed of most processes over that of one times their number"),
}
"""Metric → its unit and its meaning."""

DEVICES = {
    # A row for each number of processes: a step with its fastest and slowest round, the same
    # computation without messages in all processes at once, the share of the step that this
    # leaves, the time of an all-reduce of all gradients and of one number, and the step that
    # `gptcore.cost.clusters` works out from one process, with its error (0.1: too long by a
    # tenth). One process sends no messages, and its step is no prediction: both are null there.
    "device_scaling": (
        "processes", "time_s", "time_min_s", "time_max_s", "local_s", "communication_share",
        "all_reduce_s", "latency_s", "efficiency", "predicted_s", "error",
    ),
}  # fmt: skip
