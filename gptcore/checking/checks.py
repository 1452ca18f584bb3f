"""Every check of a user's model, in order, and how they are run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from gptcore.checking import (
    causality,
    effects,
    generation,
    gradients,
    learning,
    losses,
    parity,
    weights,
)
from gptcore.checking.model_file import ModelFile
from gptcore.checking.python_file import as_a_program, where
from gptcore.checking.subject import Subject
from gptcore.checking.verdict import Verdict, skipped

Examine = Callable[[Subject], Verdict]


@dataclass(frozen=True)
class Check:
    """What one check says.

    Attributes:
        name: the check, a name of CHECKS.
        about: what kind of fault it finds.
        status: "ok"; "note", for what is right in some models; "fault"; or "skipped".
        detail: what was measured, or why nothing was.
        means: for a note or a fault, what it means, where such a fault usually sits, and which
            line is right.
    """

    name: str
    about: str
    status: str
    detail: str
    means: str | None = None


FORWARD, EFFECTS, REPEATS = "forward", "side_effects", "eval_repeats"

NEW: dict[str, tuple[str, Examine]] = {
    FORWARD: ("causality", causality.forward),
    EFFECTS: ("modes", effects.side_effects),
    REPEATS: ("modes", effects.eval_repeats),
    "initial_loss": ("loss", losses.initial_loss),
    "registered_once": ("parameters", gradients.registered_once),
    "tying": ("parameters", weights.tying),
    "optimizer": ("parameters", weights.optimizer),
    "residual_scale": ("parameters", weights.residual_scale),
}
"""Checks of the model as it is made: name → what it is about, and the function."""

RANDOMISED: dict[str, tuple[str, Examine]] = {
    "causality": ("causality", causality.causality),
    "prefix": ("causality", causality.prefix),
    "batch": ("causality", causality.batch),
    "positions": ("positions", causality.positions),
    "length": ("positions", causality.length),
    "loss": ("loss", losses.loss),
    "doubled_batch": ("loss", losses.doubled_batch),
    "probabilities": ("loss", losses.probabilities),
    "graph": ("gradients", gradients.graph),
    "finite_differences": ("gradients", gradients.finite_differences),
    "train_mode": ("modes", causality.train_mode),
    "inference_path": ("generation", generation.inference_path),
    "greedy": ("generation", generation.greedy),
    "kv_cache": ("generation", generation.kv_cache),
    "parity": ("parity", parity.parity),
}
"""Checks of the model with large random weights."""

TRAINED: dict[str, tuple[str, Examine]] = {
    "independent_ids": ("causality", learning.independent_ids),
    "overfitting": ("gradients", learning.overfitting),
}
"""Checks that train new models."""

CHECKS = NEW | RANDOMISED | TRAINED


def check_model(
    file: ModelFile,
    *,
    train: bool = False,
    only: Collection[str] = CHECKS,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Check]:
    """Return what every check says about the model of a file.

    What the model prints goes to standard error, and its warnings are left out.

    Args:
        file: the user's file.
        train: also train the model, on tokens without a pattern and on one batch.
        only: names of CHECKS, to make fewer; the first three are always made, since what they
            find is kept from the others.
        tell: called with the number of checks done and their total.

    Raises:
        ValueError: the file makes no model, or `only` names no check.
    """
    unknown = set(only) - CHECKS.keys()
    if unknown:
        raise ValueError(f"{min(unknown)!r} is no check: choose among {', '.join(CHECKS)}")
    names = {FORWARD, EFFECTS, REPEATS, *only} - (set() if train else TRAINED.keys())
    with (
        as_a_program(file.path),
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return _check(file, names, tell)


def _check(
    file: ModelFile, names: Collection[str], tell: Callable[[int, int], None]
) -> list[Check]:
    subject = Subject(file)
    todo = {name: CHECKS[name] for name in CHECKS if name in names}
    done: list[Check] = []
    barred, is_random = "", False
    for number, (name, (about, examine)) in enumerate(todo.items()):
        tell(number, len(todo))
        if name not in NEW and not is_random and not barred:
            barred, is_random = _randomised(subject), True
        verdict = skipped(barred) if barred else _examine(subject, examine)
        if name == FORWARD and verdict.status == "fault":
            barred = "the forward pass does not work"
        done.append(Check(name, about, verdict.status, verdict.detail, verdict.means))
    tell(len(todo), len(todo))
    return done


def _randomised(subject: Subject) -> str:
    """Give the model its large weights; return why it cannot be checked further, "" if it can."""
    try:
        subject.randomise()
        if subject.no_dropout and subject.repeats() > subject.tolerance:
            subject.no_noise = True
            if subject.repeats() > subject.tolerance:
                return "passes in evaluation differ even without the random numbers of torch"
    except (Exception, SystemExit) as error:
        place = where(error, subject.file.path)
        return f"with large random weights the forward pass fails: {place}"
    return ""


def _examine(subject: Subject, examine: Examine) -> Verdict:
    """Return what a check says; an exception of the model is a fault of one line."""
    try:
        return examine(subject)
    except (Exception, SystemExit) as error:
        return Verdict(
            "fault",
            f"the model fails: {where(error, subject.file.path)}",
            f"The check could not be made. It asks whether this holds: {_claim(examine)}",
        )


def _claim(examine: Examine) -> str:
    return (examine.__doc__ or "").strip().partition("\n")[0]
