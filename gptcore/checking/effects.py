"""Checks of what a pass leaves behind: in its inputs, in the model, in the random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gptcore.checking.subject import Subject
from gptcore.checking.verdict import Verdict, fault, joined, note, ok

SEEDS = (1, 2)


def side_effects(subject: Subject) -> Verdict:
    """A pass changes nothing but what it returns."""
    unchanged = ok("a pass leaves inputs, targets, the mode and the seed as they are")
    return joined([unchanged, *_effects(subject)])


def _effects(subject: Subject) -> Iterator[Verdict]:
    kept = subject.ids(2), subject.ids(2, seed=1)
    x, y = (ids.clone() for ids in kept)
    modes: list[bool] = []

    def run() -> Tensor:
        value = subject.file.loss(subject.model, x, y)
        modes.append(subject.model.training)
        return value

    resets = _resets_the_seed(lambda: subject.quiet(run))
    for name, before, after in zip(("inputs", "targets"), kept, (x, y), strict=True):
        if not torch.equal(before, after):
            yield fault(f"a pass changes the {name} that it is given", _IN_PLACE)
    if any(modes):
        subject.no_dropout = True
        yield fault("a pass in evaluation turns training mode on", _MODE)
    if resets:
        subject.no_dropout = True  # it is the same in each pass, and depends on their shapes
        yield fault("a pass sets the global seed of torch", _SEED)
    if not subject.is_large and _resets_the_seed(subject.make):
        yield note("make_model sets the global seed of torch", _SEED_OF_MODEL)


def _resets_the_seed(call: Callable[[], object]) -> bool:
    """Return whether a call leaves the generator of torch in one state, whatever it was before."""
    after = []
    with torch.random.fork_rng(devices=[]):
        for seed in SEEDS:
            torch.manual_seed(seed)
            call()
            after.append(torch.get_rng_state())
    return torch.equal(*after)


_IN_PLACE = (
    "What the caller uses afterwards, such as the text to be continued or the next targets, is "
    "damaged. Usually an entry is assigned, idx[:, 0] = …, or a method that ends in _ is called: "
    "work on idx.clone()."
)
_MODE = (
    "Losses in evaluation then have dropout. Only the training loop should call model.train(). The "
    "other checks were made with every dropout of torch turned off from outside."
)
_SEED = (
    "Every step then draws the same dropout, and every batch that is drawn after a pass is the "
    "same. Set seeds once, where the program begins. The other checks were made with every dropout "
    "of torch turned off from outside."
)
_SEED_OF_MODEL = (
    "Runs with different seeds then begin with the same weights, so they say nothing about chance. "
    "Set seeds where the program begins, and not in the model."
)


def eval_repeats(subject: Subject) -> Verdict:
    """In evaluation mode, two passes over the same tokens give the same logits."""
    before = torch.get_rng_state()
    changed = subject.repeats()
    draws = not torch.equal(before, torch.get_rng_state())
    if changed <= subject.tolerance:
        return ok("two passes in evaluation mode give the same logits")
    subject.no_dropout = True
    detail = f"two passes in evaluation mode differ by {changed:.2g} of the logits' spread"
    if draws:
        return fault(detail, _RANDOM)
    return fault(f"{detail}, and torch draws no random number in them", _REMEMBERED)


_RANDOM = (
    "Something random is left on in evaluation, which makes losses and texts noisy. Usually "
    "F.dropout(x, p) is called without training=self.training, or "
    "scaled_dot_product_attention gets dropout_p=p where dropout_p=p if self.training else 0.0 "
    "is right. In the other checks every dropout of torch was turned off from outside, and where "
    "that was not enough, every random number was replaced by a constant."
)
_REMEMBERED = (
    "The model keeps something from one pass to the next, such as a cache that is not emptied or "
    "a running mean that is not frozen in evaluation; or it draws from another generator than "
    "torch's, such as numpy's. Mend this first."
)
