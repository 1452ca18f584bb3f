"""One rung of the ladder: a small model of the bytes of a text, trained and tested along the way.

A token is a byte (those that occur, renumbered), so that losses are in nats per byte.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.session import Session
from bench.suite.inputs import Inputs
from bench.suite.training_cases import RungCase
from gptcore.data.splits import Segment, make_split
from gptcore.data.tokens import TokenStream
from gptcore.evaluation.losses import sweep_losses
from gptcore.files import write_atomically
from gptcore.model.config import ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.gpt import GPT
from gptcore.sampling.base import Sampler
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.scaling.tables import FEWEST_UNITS
from gptcore.training.config import TrainConfig
from gptcore.training.loop import train
from gptcore.training.step import make_optimizer

EVALUATIONS = 16
TEST_PIECES, PIECE = 8, 1024
"""Pieces of the test part, evenly spread over it, on which a checkpoint is scored, and targets of
each; a short test part is scored whole."""
WARMUP = 0.05


def byte_stream(inputs: Inputs, corpus: str, n_bytes: int | None) -> TokenStream:
    """Return the first `n_bytes` of a text, the bytes that occur renumbered."""
    found = np.frombuffer(inputs.corpora[corpus].text.encode()[:n_bytes], dtype=np.uint8)
    return TokenStream(found.astype(np.int64), 256).compact()[0]


class Rung:
    """One run: the data, the model and the schedule of a case.

    Attributes:
        steps: updates; the tokens of one pass over the whole training part, whatever the share.
        n_params: of the model, embeddings included.
        train_tokens: of the part that is used.
    """

    def __init__(self, case: RungCase, inputs: Inputs, device: torch.device) -> None:
        stream = byte_stream(inputs, case.corpus, case.n_bytes)
        split = make_split("tail", len(stream), embargo=case.block_size, block_size=case.block_size)
        ((whole,), (test_part,)) = split.train, split.test
        used = Segment(whole.start, whole.start + round(len(whole) * case.text_share))
        self.case, self.device, self.train_tokens = case, device, len(used)
        self.ids = torch.from_numpy(stream.ids)
        self.test_ids = self.ids[test_part.start : test_part.stop]
        self.shape = ModelConfig(
            vocab_size=stream.vocab_size,
            block_size=case.block_size,
            n_layer=case.n_layer,
            n_head=case.n_head,
            n_embd=case.n_embd,
        )
        self.n_params = n_params(self.shape)
        self.tokens_per_step = case.batch_size * case.block_size
        self.steps = max(1, (len(whole) - 1) // self.tokens_per_step)
        self.config = TrainConfig(
            steps=self.steps,
            batch_size=case.batch_size,
            block_size=case.block_size,
            learning_rate=case.learning_rate,
            min_learning_rate_ratio=1.0,
            warmup_steps=max(1, round(WARMUP * self.steps)),
            seed=case.seed,
        )
        self.sampler: Sampler = make_sampler(
            case.sampler,
            segments=[used],
            block_size=case.block_size,
            seed=case.seed,
            batch_size=case.batch_size,
        )

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    def test_loss(self, model: GPT) -> float:
        """Return the loss on the fixed pieces of the test part, nats per byte."""
        size = self.case.block_size
        losses = [
            sweep_losses(model, piece, block_size=size, stride=size, device=self.device)
            for piece in test_pieces(self.test_ids)
        ]
        return float(torch.cat(losses).double().mean())

    def run(self) -> tuple[GPT, list[dict[str, float]], float]:
        """Train to the end; return the model, its test losses along the way, and training time."""
        model = GPT(self.shape, seed=self.case.seed).to(self.device)
        points = {
            step
            for i in range(1, EVALUATIONS + 1)
            if (step := round(self.steps * i / EVALUATIONS)) * self.tokens_per_step >= FEWEST_UNITS
        }
        curve, spent_s = [], 0.0
        for metrics in train(
            model,
            make_optimizer(model, self.config),
            functools.partial(batch, self.ids, self.sampler, batch_size=self.case.batch_size),
            self.config,
            device=self.device,
            epochs_per_step=self.tokens_per_step / (self.train_tokens - 1),
        ):
            spent_s += metrics.step_time_s
            if metrics.step in points:
                row = {"step": metrics.step, "tokens": metrics.tokens, "epochs": metrics.epochs}
                curve.append(row | {"loss": self.test_loss(model)})
        return model, curve, spent_s


def test_pieces(ids: Tensor) -> list[Tensor]:
    """Return evenly spread pieces of a text (N,), or the whole of a short one."""
    if len(ids) <= TEST_PIECES * (PIECE + 1):
        return [ids]
    starts = np.linspace(0, len(ids) - PIECE - 1, TEST_PIECES).astype(int)
    return [ids[start : start + PIECE + 1] for start in starts]


def ladder_device(session: Session) -> torch.device:
    """Return where the ladder trains: on the session's first accelerator, else on its device."""
    accelerators = [name for name in session.devices if name != "cpu"]
    return torch.device(next(iter(accelerators or session.devices)))


def model_path(folder: Path, case: RungCase) -> Path:
    """Return where a results folder keeps the weights of a run."""
    return folder / "models" / f"{case.id}.pt"


def save_model(model: GPT, path: Path) -> None:
    """Write the weights; whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    with write_atomically(path) as partial, partial.open("wb") as file:
        torch.save(model.state_dict(), file)


def load_model(rung: Rung, path: Path) -> GPT:
    """Return the trained model of a rung.

    Raises:
        ValueError: its weights cannot be read.
    """
    model = GPT(rung.shape, seed=rung.case.seed)
    try:
        model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path.name} cannot be read ({reason}): measure in a new folder"
        ) from None
    return model.to(rung.device)
