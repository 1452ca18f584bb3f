"""The cases of a run on the user's own model (`--model=FILE.py`), in place of those on gptcore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.suite.cases import ModelCase, PairCase
from bench.suite.experiments import Experiment
from bench.suite.own import OwnModel, shape_name
from bench.suite.training_cases import TrainCase
from bench.suite.training_experiments import SMALL, SMOKE

PAIRED = ("forward_loss", "forward_backward", "step")
"""Kinds of work that are timed in turns with ours."""


@dataclass(frozen=True)
class Planned:
    """What a plan has to know of a model file.

    Attributes:
        name: the name of the file.
        sizes: the sizes that it fixes, as fields of TrainCase; None where it takes them.
        batch_shape: B and T of the batches of its loader, None without a loader.
    """

    name: str
    sizes: Mapping[str, int] | None = None
    batch_shape: tuple[int, int] | None = None

    @classmethod
    def of(cls, own: OwnModel) -> Planned:
        """Return what a plan has to know of a loaded file."""
        return cls(own.name, own.sizes, own.batch_shape)

    @property
    def shape(self) -> str | None:
        """The sizes that it fixes as the `model` of a case."""
        return None if self.sizes is None else shape_name(self.sizes)


@dataclass(frozen=True)
class OwnSizes:
    """The sizes of a run on the user's model.

    Attributes:
        model: the preset whose sizes a file gets that takes some.
        batch_size: B of what is timed.
        block_size: T of what is timed.
        step_s: planned seconds of the case of a training step.
        pair_s: timed seconds of each pair.
        setup_s: seconds for building both sides of a pair.
        run: the fields of TrainCase that all runs share.
        seeds: number of paired seeds.
        batches: batches of the loader that are audited.
    """

    model: str
    batch_size: int
    block_size: int
    step_s: float
    pair_s: float
    setup_s: float
    run: Mapping[str, Any]
    seeds: int
    batches: int


WHOLE_TEXT = {"n_tokens": None, "test_tokens": 16_384}
"""Both arms see all of the training text, as the file's loader does, and the test is bounded."""
SHORT = {"budget_flops": 1e10, "test_tokens": 2_048, "evaluations": 2, "cost_s": 1.5}
STUDY = OwnSizes(
    "model5", 4, 256, 88.0, 60.0, 10.0,
    SMALL | WHOLE_TEXT | {"budget_flops": 2e12, "cost_s": 50.0}, 20, 2_000,
)  # fmt: skip

OWN_SIZES = {
    "smoke": OwnSizes("model3", 2, 64, 9.0, 0.3, 0.8, SMOKE | WHOLE_TEXT | SHORT, 2, 50),
    "standard": OwnSizes(
        "model5", 1, 256, 50.0, 15.0, 12.0,
        SMALL | WHOLE_TEXT | {"budget_flops": 3e11, "cost_s": 7.0}, 8, 500,
    ),
    "study": STUDY,
    "full": STUDY,
}  # fmt: skip
"""Suite → its sizes for the user's own model."""


class OwnCases:
    """The cases of one suite on one model file, on each device.

    Args:
        suite: a name in OWN_SIZES.
        own: the model file.
        corpus: the text.
        devices: names of the devices.
    """

    def __init__(self, suite: str, own: Planned, corpus: str, devices: tuple[str, ...]) -> None:
        self.own, self.sizes = own, OWN_SIZES[suite]
        self.corpus, self.devices = corpus, devices

    def _models(self, work: str, variant: str, cost_s: float) -> list[ModelCase]:
        sizes = self.sizes
        return [
            ModelCase(
                self.corpus, self.own.shape or sizes.model, device, "fp32", sizes.batch_size,
                sizes.block_size, work, variant=variant, cost_s=cost_s,
            )
            for device in self.devices
        ]  # fmt: skip

    def checks(self) -> list[ModelCase]:
        """Return the checks of the model, on the CPU."""
        return self._models("checks", self.own.name, 4.0)[:1]

    def steps(self) -> list[ModelCase]:
        """Return the training step of the model on each device."""
        return self._models("step", self.own.name, self.sizes.step_s)

    def pairs(self) -> list[PairCase]:
        """Return gptcore with the model, for each kind of work."""
        seconds, change = self.sizes.pair_s, f"variant={self.own.name}"
        cost_s = self.sizes.setup_s + 1.2 * seconds + 0.3
        return [
            PairCase(base, change, 1, seconds, cost_s)
            for work in PAIRED
            for base in self._models(work, "gptcore", cost_s)
        ]

    def peaks(self) -> list[ModelCase]:
        """Return both models, whose peak memory is read."""
        return [
            case
            for variant in ("gptcore", self.own.name)
            for case in self._models("forward_backward", variant, 0.3 * self.sizes.step_s)
        ]

    def loader(self) -> list[ModelCase]:
        """Return the audit of the file's loader, if it has one."""
        if self.own.batch_shape is None:
            return []
        rows, length = self.own.batch_shape
        name, shape = self.own.name, self.own.shape or self.sizes.model
        case = ModelCase(self.corpus, shape, "cpu", "fp32", rows, length, "loader", variant=name)
        return [case]

    def experiment(self) -> Experiment:
        """Return the runs that compare the model with ours, and its loader with random windows."""
        common = {**self.sizes.run, **(self.own.sizes or {})}
        arms: tuple[dict[str, Any], ...] = ({"model": "gptcore"}, {"model": self.own.name})
        pairs: tuple[tuple[int, int], ...] = ((0, 1),)
        if self.own.batch_shape is not None:
            arms = tuple(arm | {"reader": "sampler"} for arm in arms)
            arms = (*arms, {"model": self.own.name, "reader": "get_batch"})
            pairs = ((0, 1), (1, 2))
            for name, size in zip(("batch_size", "block_size"), self.own.batch_shape, strict=True):
                common[name] = min(size, common.get(name, getattr(TrainCase, name)))
        return Experiment("own", arms, common, self.sizes.seeds, pairs)
