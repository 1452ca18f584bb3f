"""One rung of the ladder: a small model that reads bytes, trained and tested along the way.

A token is a byte of the text (the byte values that occur are renumbered), so losses are in nats per
byte.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.experiments.kept_runs import KeptRun, train_kept
from bench.ledger.ledger import file_name
from bench.session import Session
from bench.suite.inputs import Inputs
from bench.suite.training_cases import RungCase
from gptcore.data.splits import Segment, make_split
from gptcore.data.tokens import TokenStream
from gptcore.evaluation.losses import sweep_losses
from gptcore.model.config import ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.gpt import GPT
from gptcore.plain_text import shorten
from gptcore.sampling.base import Sampler
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.scaling.tables import FEWEST_UNITS
from gptcore.training.checkpoint_files import check_weights, load_tensors, save_tensors
from gptcore.training.config import TrainConfig

EVALUATIONS = 16
TEST_PIECES, PIECE = 8, 1024
"""A checkpoint is scored on so many pieces, evenly spread over the test part, of so many targets
each; a short test part is scored as a whole."""
WARMUP = 0.05
"""Share of the steps over which the learning rate rises."""


def byte_stream(inputs: Inputs, corpus: str, n_bytes: int | None) -> TokenStream:
    """Return the first `n_bytes` of a text as tokens: the byte values that occur, renumbered."""
    values = np.frombuffer(inputs.text(corpus).text.encode()[:n_bytes], dtype=np.uint8)
    return TokenStream(values.astype(np.int64), 256).compact()[0]


class Rung:
    """The data, the model and the schedule of one training run.

    Attributes:
        steps: number of updates: one pass over the whole training part, whatever share is used.
        n_params: parameters of the model, embeddings included.
        train_tokens: tokens of the share that is used.
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
            schedule="constant",
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
        """Return the number of tokens of the whole run."""
        return self.steps * self.tokens_per_step

    def test_loss(self, model: GPT) -> float:
        """Return the mean loss on the pieces of the test part, nats per byte."""
        size = self.case.block_size
        losses = [
            sweep_losses(model, piece, block_size=size, stride=size, device=self.device)
            for piece in test_pieces(self.test_ids)
        ]
        return float(torch.cat(losses).double().mean())

    def run(self, folder: Path) -> tuple[GPT, KeptRun]:
        """Train in a folder, from its newest checkpoint on where it has one."""
        model = GPT(self.shape, seed=self.case.seed).to(self.device)
        steps = [round(self.steps * i / EVALUATIONS) for i in range(1, EVALUATIONS + 1)]
        epochs_per_step = self.tokens_per_step / (self.train_tokens - 1)

        def point(step: int) -> dict[str, float]:
            row = {"step": step, "tokens": step * self.tokens_per_step}
            return row | {"epochs": step * epochs_per_step, "loss": self.test_loss(model)}

        return model, train_kept(
            folder,
            model,
            functools.partial(batch, self.ids, self.sampler, batch_size=self.case.batch_size),
            self.config,
            device=self.device,
            fingerprint={"sampler": self.sampler.fingerprint()},
            epochs_per_step=epochs_per_step,
            points={step for step in steps if step * self.tokens_per_step >= FEWEST_UNITS},
            measure=point,
        )


def test_pieces(ids: Tensor) -> list[Tensor]:
    """Return evenly spread pieces of a text (N,), or one piece with all of a short text."""
    if len(ids) <= TEST_PIECES * (PIECE + 1):
        return [ids]
    starts = np.linspace(0, len(ids) - PIECE - 1, TEST_PIECES).astype(int)
    return [ids[start : start + PIECE + 1] for start in starts]


def ladder_device(session: Session) -> torch.device:
    """Return the device that the ladder trains on: the first accelerator, or else the CPU."""
    accelerators = [name for name in session.devices if name != "cpu"]
    return torch.device(next(iter(accelerators or session.devices)))


def model_path(folder: Path, case: RungCase) -> Path:
    """Return the path at which a results folder keeps the weights of a run."""
    return folder / "models" / file_name(case.id, ".pt")


def save_model(model: GPT, path: Path) -> None:
    """Write the weights atomically."""
    save_tensors(model.state_dict(), path)


def load_model(rung: Rung, path: Path) -> GPT:
    """Return the trained model of a rung.

    Raises:
        ValueError: its weights cannot be read.
    """
    model = GPT(rung.shape, seed=rung.case.seed)
    try:
        weights = load_tensors(path)
        check_weights(weights, model.state_dict())
    except MemoryError:
        raise
    except Exception as error:  # which error a damaged file raises depends on the damage
        raise ValueError(
            f"{path.name} cannot be read ({shorten(str(error), 200)}): measure in a new folder"
        ) from None
    model.load_state_dict(weights)
    return model.to(rung.device)
