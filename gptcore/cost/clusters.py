"""How long a training step takes on many devices, from the time of one and the speed of links.

The model has no free parameter. The gradient of a batch that W devices share takes 1/W of the time
of one device. Their messages are those of rings (Patarasuk and Yuan 2009,
doi:10.1016/j.jpdc.2008.09.002): an all-reduce of n bytes sends 2 (W - 1)/W · n over the slowest
link, in 2 (W - 1) messages; a gather of parts that make n bytes, or a sum that is left in parts,
half of both. DDP does one all-reduce of the gradients a step. FSDP gathers the weights in the
forward and again in the backward pass, and leaves the sum of the gradients in parts.

A share of the communication, `overlap`, is hidden behind the computation, at most all of its time.
Not in the model: other traffic on the links, slow devices, reading of data, and computation that is
slower on smaller batches. `bench_distributed` says how far it is from a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from gptcore.checks import check_number, check_whole

BYTES = 4
"""Bytes of a weight and of its gradient, which are float32."""
GATHERS = {"ddp": 2, "fsdp": 3}
"""Engine → what it sends in a step, in gathers of all weights: an all-reduce is two."""


@dataclass(frozen=True)
class Link:
    """The slowest link between two neighbours in the ring.

    Attributes:
        bytes_per_s: what it carries in one direction.
        latency_s: the time of a message without content.
    """

    bytes_per_s: float
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        check_number("bytes_per_s", self.bytes_per_s, "(0, inf)")
        check_number("latency_s", self.latency_s, "[0, inf)")


@dataclass(frozen=True)
class Step:
    """The time of a step on several devices.

    Attributes:
        devices: how many they are.
        compute_s: seconds of computation on each.
        communication_s: seconds of messages, hidden ones included.
        time_s: seconds of the step.
        efficiency: the speed of all devices over that of one times their number.
    """

    devices: int
    compute_s: float
    communication_s: float
    time_s: float
    efficiency: float


def predict_step(
    compute_s: float,
    n_params: int,
    devices: int,
    link: Link,
    *,
    engine: str = "ddp",
    weak: bool = False,
    overlap: float = 0.0,
    messages: int = 1,
) -> Step:
    """Return the time of a step on `devices` devices.

    Args:
        compute_s: measured seconds of a step on one device.
        n_params: parameters of the model.
        devices: W.
        link: the slowest link.
        engine: "ddp" or "fsdp".
        weak: each device has a whole batch, so that W of them make a batch W times as large;
            else they share one.
        overlap: the share of the communication that may be hidden behind the computation.
        messages: pieces in which the weights are sent, one after the other; FSDP sends each block
            by itself.

    Raises:
        ValueError: an argument is outside its range.
    """
    check_number("compute_s", compute_s, "(0, inf)")
    check_number("overlap", overlap, "[0, 1]")
    for name, value in (("n_params", n_params), ("devices", devices), ("messages", messages)):
        check_whole(name, value)
    if engine not in GATHERS:
        raise ValueError(f"engine is {engine!r}: choose one of {', '.join(GATHERS)}")
    computing = compute_s if weak else compute_s / devices
    each_s = BYTES * n_params / devices / link.bytes_per_s + messages * link.latency_s
    sending = GATHERS[engine] * (devices - 1) * each_s
    time_s = computing + (sending - min(overlap * sending, computing))  # never below `computing`
    return Step(devices, computing, sending, time_s, computing / time_s)
