"""The cases of `bench_distributed`: a training step on several processes."""

from __future__ import annotations

from dataclasses import dataclass, field

COMMAND = "pytest --benchmark-only --suite=study -k bench_distributed"
ELSEWHERE = f"suite {{suite}} trains on no more than one process; {COMMAND} does"
"""Why a suite without these cases has no record of them."""


@dataclass(frozen=True)
class DevicesCase:
    """Time a training step on one process and on more, all of this machine.

    Attributes:
        engine: "ddp", or "fsdp" (the weights divided over the processes).
        scaling: "strong" (the processes share a batch), or "weak" (each has a whole one).
        world_sizes: the numbers of processes, rising from 1.
    """

    engine: str
    scaling: str
    world_sizes: tuple[int, ...]
    n_layer: int
    n_head: int
    n_embd: int
    vocab_size: int
    batch_size: int
    block_size: int
    seed: int = 0
    cost_s: float = field(default=10.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        sizes = "_".join(map(str, self.world_sizes))
        return (
            f"{self.engine}-{self.scaling}-W{sizes}-L{self.n_layer}-H{self.n_head}-C{self.n_embd}"
            f"-V{self.vocab_size}-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
        )


DEVICES: dict[str, tuple[DevicesCase, ...]] = {
    "smoke": (DevicesCase("ddp", "strong", (1, 2), 1, 1, 16, 64, 4, 16, cost_s=6.0),),
    "study": tuple(
        DevicesCase(engine, scaling, (1, 2, 4), 4, 4, 128, 4_096, 8, 128, cost_s=60.0)
        for engine in ("ddp", "fsdp")
        for scaling in ("strong", "weak")
    ),
}
"""Suite → its cases; the suites that are not here train on one process alone."""
