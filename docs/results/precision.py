"""Does training in bf16, or in fp32 with bf16 products, give another loss curve than in fp32?

python docs/results/precision.py [SEEDS, default 8] [TOKENS, default 131072] trains a model of 2
layers and 128 channels on the first TOKENS of python-docs in its compact vocabulary. It trains for
one epoch-equivalent of random windows, in every precision that this CPU gains from, and prints a
table of paired comparisons. Runs of one seed have the same initial weights and the same batches.
Test losses are computed in fp32, so only training differs.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import torch

from gptcore.data.corpora import load_corpus
from gptcore.data.splits import make_split
from gptcore.data.tokens import TokenStream
from gptcore.devices import device_label, supported_precisions
from gptcore.evaluation.losses import evaluate
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.paired import compare_pairs
from gptcore.power import check_design
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.training.config import TrainConfig
from gptcore.training.loop import train
from gptcore.training.step import make_optimizer

BLOCK_SIZE, BATCH_SIZE, LEARNING_RATE = 64, 8, 5e-3  # those of the suite's convergence runs
POINTS = 10  # of the test curve
CPU = torch.device("cpu")


class Text:
    """The text, its test part at the end, and what the runs share."""

    def __init__(self, n_tokens: int) -> None:
        ids = TokenStream.from_text(load_corpus("python-docs").text).ids[:n_tokens]
        self.stream, _ = TokenStream(ids, 50257).compact()
        self.split = make_split("tail", len(ids), embargo=BLOCK_SIZE, block_size=BLOCK_SIZE)
        (test,) = self.split.test
        self.ids = torch.from_numpy(self.stream.ids)
        self.test_ids = self.ids[test.start : test.stop]
        targets = sum(map(len, self.split.train)) - len(self.split.train)
        self.epochs_per_step = BATCH_SIZE * BLOCK_SIZE / targets
        self.steps = round(1 / self.epochs_per_step)


def curve(text: Text, precision: str, seed: int) -> list[float]:
    """Return the test losses of one run at POINTS evenly spaced steps, the last among them."""
    vocab_size, steps = text.stream.vocab_size, text.steps
    shape = ModelConfig(vocab_size, BLOCK_SIZE, n_layer=2, n_head=4, n_embd=128)
    config = TrainConfig(
        steps=steps,
        batch_size=BATCH_SIZE,
        block_size=BLOCK_SIZE,
        learning_rate=LEARNING_RATE,
        warmup_steps=steps // 10,
        precision=precision,
        seed=seed,
    )
    sampler = make_sampler(
        "random_replacement",
        segments=text.split.train,
        block_size=BLOCK_SIZE,
        seed=seed,
        batch_size=BATCH_SIZE,
    )
    model, losses = GPT(shape, seed=seed), []
    batch_at = partial(batch, text.ids, sampler, batch_size=BATCH_SIZE)
    points = {round(steps * (i + 1) / POINTS) for i in range(POINTS)}
    for metrics in train(
        model,
        make_optimizer(model, config),
        batch_at,
        config,
        device=CPU,
        epochs_per_step=text.epochs_per_step,
    ):
        if metrics.step in points:
            scored = evaluate(model, text.test_ids, block_size=BLOCK_SIZE, device=CPU, n_bytes=None)
            losses.append(scored.loss_nats_per_token)
    return losses


def row(precision: str, curves: np.ndarray, reference: np.ndarray) -> str:
    """Return a line of the table; `curves` and `reference` (fp32) are (seeds, POINTS)."""
    final, sd = curves[:, -1], reference.std(axis=0, ddof=1)
    mean = f"| {precision} | {final.mean():.4f} | {final.std(ddof=1):.4f} |"
    if curves is reference:
        return f"{mean} | | | |"
    differences = curves - reference
    paired = compare_pairs(differences[:, -1], margin=float(sd[-1]))
    means = np.abs(differences.mean(axis=0))
    farthest = int(np.argmax(means / sd))
    return (
        f"{mean} {paired.mean:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}] | "
        f"{paired.p_value:.2f} | {paired.p_equivalence:.1e} | "
        f"{means[farthest]:.4f} = {means[farthest] / sd[farthest]:.2f} "
        f"sd, at {(farthest + 1) / POINTS:.0%} |"
    )


def main(seeds: int = 8, n_tokens: int = 131_072) -> None:
    """Train, and print the table."""
    precisions = supported_precisions(CPU)
    try:  # each of the others against fp32: a difference, and equality
        check_design(seeds, 2 * max(1, len(precisions) - 1))
    except ValueError as error:
        print(f"precision.py: {error}", file=sys.stderr)
        sys.exit(2)
    text = Text(n_tokens)
    curves: dict[str, list[list[float]]] = {name: [] for name in precisions}
    for seed in range(seeds):
        for precision in precisions:
            curves[precision].append(curve(text, precision, seed))
            print(seed, precision, curves[precision][-1], file=sys.stderr, flush=True)
    print(
        f"{device_label(CPU)}, torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"{seeds} seeds, {text.steps} steps of {BATCH_SIZE} x {BLOCK_SIZE} tokens, vocabulary "
        f"{text.stream.vocab_size}, {len(text.test_ids) - 1} test targets.\n\n"
        "| precision | final test loss | sd over seeds | difference to fp32, 95 % | sign-flip p | "
        "equivalence p, margin = fp32's sd | test curve: largest mean difference |\n"
        "|---|---|---|---|---|---|---|"
    )
    arrays = {name: np.array(losses) for name, losses in curves.items()}
    for name in precisions:
        print(row(name, arrays[name], arrays["fp32"]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
