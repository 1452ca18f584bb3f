"""Checks of the loss: is it the mean cross-entropy of each position's target?

Shapes: B sequences, T tokens in each, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from gptcore.checking.model_file import is_transformers
from gptcore.checking.subject import VOCAB_SIZE, Subject, is_finite
from gptcore.checking.verdict import Verdict, fault, note, ok, skipped

ZEROS = 0.2
"""A share of logits that are exactly 0, which no sound model reaches with random weights."""
LOADED = 1000
"""A model with more logits than this did not take the vocabulary of the check."""


def mean_loss(logits: Tensor, y: Tensor) -> float:
    """Return the mean cross-entropy of targets `y` (B, T) after `logits` (B, T, V), in nats."""
    return float(cross_entropy(logits.flatten(0, 1), y.flatten()))


def loss(subject: Subject) -> Verdict:
    """The loss is the mean cross-entropy of the logits and the targets."""
    x, y, other = (subject.ids(16, seed=seed) for seed in range(3))
    with torch.no_grad(), subject.passes():
        own = subject.file.own_loss(subject.model, x.clone(), y.clone())
    if own is None:
        if is_transformers(subject.model):
            return _loss_of_transformers(subject)
        return skipped("the file has no loss: define loss(model, x, y), or return it from forward")
    found, logits = float(own), subject.logits(x)
    expected = mean_loss(logits, y)
    if close(found, expected, subject):
        return ok("the loss is the mean cross-entropy of the logits and the targets, in nats")
    detail = f"the loss is {found:.4g}, and the cross-entropy of the logits is {expected:.4g}"
    second = float(subject.quiet(lambda: subject.loss(x, other)))
    both = zip(_explanations(logits, x, y), _explanations(logits, x, other), strict=True)
    for (value, status, words, means), (again, *_) in both:
        if close(found, value, subject) and close(second, again, subject):
            return Verdict(status, f"{detail}: it is {words}", means)
    gaps = (found - expected, second - mean_loss(logits, other))
    return _design(subject, logits, (y, other), gaps) or fault(
        detail,
        "The loss does not measure how well each next token is predicted. The textbook form is "
        "F.cross_entropy(logits.view(-1, V), targets.view(-1)), where logits[:, t] belongs to "
        "targets[:, t] = tokens[:, t + 1].",
    )


def close(a: float, b: float, subject: Subject) -> bool:
    """Return whether two losses are equal but for rounding."""
    return math.isfinite(a) and abs(a - b) <= max(1e-5, 10 * subject.rounding) * (1 + abs(b))


def _loss_of_transformers(subject: Subject) -> Verdict:
    x = subject.ids(4)
    output = subject.quiet(lambda: subject.model(x, labels=x).loss)
    if close(float(output), mean_loss(subject.logits(x)[:, :-1], x[:, 1:]), subject):
        return ok("with labels=inputs, which the model moves by itself, the loss is cross-entropy")
    return note(
        f"with labels=inputs, the loss is {float(output):.4g}, which is not the cross-entropy",
        "Models of transformers move the labels by themselves, and some add terms of their own. "
        "Give a loss(model, x, y) of your own to have it checked.",
    )


_SHIFTED = (
    "Each position is trained on the token after the next. Usually the data are moved once by "
    "the loader, y = data[i + 1 : i + 1 + T], and once more in the loss: with such a y, "
    "F.cross_entropy(logits.view(-1, V), y.view(-1)) is right, without [:, :-1] and [:, 1:]. "
    "Where the loss is to move them itself, as in transformers, it must be given y = x."
)
_VIEW = (
    "Logits and targets are paired wrongly. cross_entropy wants (N, V) and (N,): "
    "logits.view(-1, V) and targets.view(-1) are right. Where it gets (B, V, T), use "
    "logits.transpose(1, 2), which moves the numbers; view and reshape only rename them."
)
_SUM = (
    "The gradient grows with the batch or with the length, so the learning rate and clipping mean "
    "something else at each size. Use reduction='mean', the default of F.cross_entropy, and do "
    "not multiply by the number of tokens."
)


_INPUTS = (
    "The model is trained to repeat its input. The targets of x = data[i : i + T] are "
    "y = data[i + 1 : i + 1 + T], and the loss must use them."
)
_OWN_TARGETS = (
    "The loss moves the inputs by itself and does not use the targets it is given. That is right "
    "if y is x moved by one; the last target of each row is then not trained on."
)
_LAST = (
    "Only one target in each row is trained on. Compute the logits at every position while there "
    "are targets: lm_head(x), not lm_head(x[:, -1])."
)
_BITS = "The loss is in bits per token. Other programs give nats, which are smaller by ln 2."
_IGNORED = (
    "These targets give no loss. That is right for padding and wrong for a token of the text: look "
    "at ignore_index."
)
Explanation = tuple[float, str, str, str]
"""What a loss may be instead: its value, the status, words, and what it means."""


def _explanations(logits: Tensor, x: Tensor, y: Tensor) -> Iterator[Explanation]:
    """Yield what a loss of `logits` (B, T, V) and targets `y` (B, T) may be instead."""
    yield from _wrong_pairs(logits, x, y)
    batch, length, _ = logits.shape
    expected = mean_loss(logits, y)
    for factor, words in ((batch * length, "tokens"), (length, "T"), (batch, "rows")):
        yield factor * expected, "fault", f"{factor} times as large, the number of {words}", _SUM
        yield expected / factor, "fault", f"{factor} times too small, the number of {words}", _SUM
    value = mean_loss(softmax(logits, -1), y)
    yield value, "fault", "that of a softmax of the logits", _PROBABILITIES
    yield from _wrong_softmaxes(logits, y)
    yield expected / math.log(2), "note", "measured in bits", _BITS
    for token in range(VOCAB_SIZE):
        value = mean_loss(logits, y.masked_fill(y == token, -100))
        yield value, "note", f"that without targets of id {token}", _IGNORED


_LOG_SOFTMAX = (
    "A loss that is written by hand needs the logarithm of the softmax over the vocabulary, which "
    "is the last dimension: F.nll_loss wants F.log_softmax(logits, dim=-1). "
    "F.cross_entropy(logits.view(-1, V), targets.view(-1)) takes it by itself."
)


def _wrong_softmaxes(logits: Tensor, y: Tensor) -> Iterator[Explanation]:
    """Yield what a negative mean at the targets is of other numbers than log-probabilities."""
    for numbers, words in (
        (logits, "minus the logit of the target, without a softmax"),
        (softmax(logits, -1), "minus the probability of the target, without a logarithm"),
        (log_softmax(logits, 1), "that of a softmax over time"),
        (log_softmax(logits, 0), "that of a softmax over the batch"),
    ):
        value = -float(numbers.gather(-1, y[..., None]).mean())
        yield value, "fault", words, _LOG_SOFTMAX


def _wrong_pairs(logits: Tensor, x: Tensor, y: Tensor) -> Iterator[Explanation]:
    """Yield cross-entropies of logits with what are not their targets."""
    batch, length, n_logits = logits.shape
    value = mean_loss(logits[:, :-1], y[:, 1:])
    yield value, "fault", "that of targets which are moved once more", _SHIFTED
    for ids, what in ((x, "the inputs as targets"), (y, "the targets")):
        for turned in (logits.transpose(0, 1), logits.transpose(1, 2)):
            value = mean_loss(turned.reshape(batch, length, n_logits), ids)
            yield value, "fault", f"that of {what} after a wrong view of the logits", _VIEW
    value = float(cross_entropy(logits.reshape(batch, n_logits, length), y))
    yield value, "fault", "that of logits with a wrong view", _VIEW
    yield mean_loss(logits, x), "fault", "that of the inputs as targets", _INPUTS
    value = mean_loss(logits[:, :-1], x[:, 1:])
    yield value, "note", "that of the inputs moved by one", _OWN_TARGETS
    value = float(cross_entropy(logits[:, -1], y[:, -1]))
    yield value, "fault", "that of the last position alone", _LAST


def _design(
    subject: Subject, logits: Tensor, targets: tuple[Tensor, Tensor], gaps: tuple[float, float]
) -> Verdict | None:
    """Return a note where the loss is cross-entropy with label smoothing or one more term.

    `gaps` says how much larger the loss is than the cross-entropy, for each of the `targets`.
    """
    if close(gaps[0], gaps[1], subject):
        return note(
            f"the loss is the cross-entropy plus {gaps[0]:.4g}, whatever the targets are",
            "A term is added that does not depend on the targets, such as the z-loss or the "
            "balance of experts. Report the cross-entropy alone when you compare models.",
        )
    if not is_finite(logits) or (logits == -math.inf).any():
        return None
    uniform = -float(log_softmax(logits, -1).mean())
    smoothing = [
        gap / (uniform - mean_loss(logits, ids)) for gap, ids in zip(gaps, targets, strict=True)
    ]
    if 0 < smoothing[0] <= 0.5 and close(smoothing[0], smoothing[1], subject):
        return note(
            f"the loss is cross-entropy with label smoothing of {smoothing[0]:.3g}",
            "It is higher than the cross-entropy, and no measure in nats per token. Report the "
            "cross-entropy without smoothing when you compare models.",
        )
    return None


def doubled_batch(subject: Subject) -> Verdict:
    """A batch that holds every row twice has the same loss."""
    x, y = subject.ids(4), subject.ids(4, seed=1)
    single = float(subject.quiet(lambda: subject.loss(x, y)))
    double = float(subject.quiet(lambda: subject.loss(torch.cat([x, x]), torch.cat([y, y]))))
    if close(single, double, subject):
        return ok("a batch that holds every row twice has the same loss")
    doubles = close(double, 2 * single, subject)
    return fault(
        f"the loss is {single:.6g}, and {double:.6g} for the batch with every row twice",
        f"The loss is a sum over the rows. {_SUM}"
        if doubles
        else "A loss depends on the other rows of its batch. Usually rows influence each other "
        "inside the model, which the check of the batch says; or a softmax or a mean of the loss "
        "runs over the batch in the wrong way.",
    )


def initial_loss(subject: Subject) -> Verdict:
    """Before training, the loss is that of a uniform guess."""
    x, y = subject.ids(16), subject.ids(16, seed=1)
    found = float(subject.quiet(lambda: subject.loss(x, y)))
    low, high = math.log(subject.n_vocab), math.log(subject.n_logits)
    detail = f"the loss before training is {found:.3g}, and ln V is {high:.3g}"
    for unit in (1, math.log(2)):  # the check of the loss says so where it is in bits
        if low - 0.3 <= found * unit <= high + 0.3:
            return ok(detail)
    if subject.n_logits > LOADED:
        return note(
            f"{detail}; the model has {subject.n_logits:,} logits for {VOCAB_SIZE} asked for",
            "A new model guesses, and its loss is ln V. Weights that were loaded have another loss "
            "on random tokens, and for them nothing is wrong.",
        )
    if high < found <= high + 1:
        return note(
            detail,
            "A new model should guess, and guessing among V tokens costs ln V nats. This one has "
            "preferences before it has seen anything, which training must unlearn first: a smaller "
            "initialisation of embedding and head, nn.init.normal_(weight, std=0.02), avoids it.",
        )
    return fault(
        detail,
        "A new model should guess, and guessing among V tokens costs ln V nats. A higher loss "
        "usually means that the embedding has the standard deviation 1 of nn.Embedding, which a "
        "tied head multiplies: use nn.init.normal_(weight, std=0.02). It may also mean that the "
        "loss is a sum. A lower loss means that the model sees its targets, or that the loss is no "
        "mean cross-entropy, which the check of the loss says.",
    )


_PROBABILITIES = (
    "F.cross_entropy takes the softmax by itself, so the model is trained through two of them: its "
    "loss cannot fall far below ln V - 1, and its gradients vanish. Return the output of lm_head "
    "as it is; take the softmax only where you draw tokens."
)


def probabilities(subject: Subject) -> Verdict:
    """The logits are numbers of any size, and not yet probabilities."""
    logits = subject.logits(subject.ids(2))
    sums = logits.sum(-1)
    if bool((logits >= 0).all()) and float((sums - 1).abs().max()) < 0.05:
        return fault("the logits of every position are positive and add up to 1", _PROBABILITIES)
    zeros = float((logits == 0).double().mean())
    if zeros > ZEROS:
        return fault(
            f"{zeros:.0%} of the logits are exactly 0",
            "An activation such as ReLU stands behind the head. It holds many logits at one value, "
            "where they have no gradient. The head is the last layer: logits = lm_head(ln_f(x)).",
        )
    return ok("the logits are no probabilities")
