"""One training run of an experiment: one arm, one seed, tested along the way.

A run is kept in the results folder (`kept_runs`), so a session that was killed goes on inside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from bench.experiments.audited import AuditedBatches
from bench.experiments.exposure import note_visits
from bench.experiments.kept_runs import KeptRun, Row, train_kept
from bench.experiments.own_batches import own_batches
from bench.experiments.parts import parts_of, scored, shortened, with_copies
from bench.experiments.published import blocks_of, published_model
from bench.experiments.texts import PROMPT_TOKENS, Texts
from bench.ledger.schema import SERIES
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.own import OwnModel
from bench.suite.training_cases import TrainCase
from gptcore.coverage.visits import measure_draws
from gptcore.data.leakage import certificate
from gptcore.data.splits import Segment
from gptcore.data.tokens import TokenStream
from gptcore.data.vocabulary import GPT2
from gptcore.evaluation.copying import copy_probability
from gptcore.evaluation.losses import (
    Evaluation,
    count_losses,
    evaluate,
    summarise,
    sweep_losses,
)
from gptcore.files import write_errors
from gptcore.model.config import ModelConfig
from gptcore.model.flops import training_flops
from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT
from gptcore.sampling.base import Sampler
from gptcore.sampling.batches import batch
from gptcore.sampling.loaders import loader_passes
from gptcore.sampling.samplers import make_sampler
from gptcore.training.config import TrainConfig
from gptcore.training.loop import BatchAt

Floats = npt.NDArray[np.float64]
FEWEST_UPDATES = 20
"""A run on a user's model, whose sizes nobody has planned, is left out below this."""


class Experiment:
    """The data, the model and the schedule of one training run."""

    def __init__(self, case: TrainCase, session: Session, device: torch.device) -> None:
        text = session.stream(case.corpus, raw=case.raw)
        ids = text.ids[: case.n_tokens]
        self.stream = TokenStream(ids, text.vocab_size)
        self.vocabulary = None
        if case.compact:
            self.stream, self.vocabulary = self.stream.compact()
        sizes = {"embargo": case.block_size, "block_size": case.block_size}
        self.split = session.split(case.corpus, case.split, len(ids), **sizes)
        (test_part,) = self.split.test
        self.ids = torch.from_numpy(self.stream.ids)
        test_part = Segment(test_part.start, test_part.start + scored(test_part, case))
        self.test_ids = self.ids[test_part.start : test_part.stop]
        used = [shortened(part, case.text_share) for part in self.split.train]
        self.train_tokens = sum(map(len, used))
        self.is_gpt2 = session.vocabulary(case.corpus).tokenizer == GPT2
        scored_ids = ids[test_part.start + 1 : test_part.stop]
        self.test_bytes = session.count_bytes(case.corpus, scored_ids)
        self.train_ids = self.ids
        if case.copied:
            self.train_ids = with_copies(self.ids, used, case)
            used = [Segment(0, len(self.train_ids))]
        self.case, self.device = case, device
        whole = sum(map(len, self.split.train)) - len(used)
        shape = shape_of(case, self.stream.vocab_size)
        steps = updates(case, shape, whole)
        self.config = TrainConfig(
            steps=steps,
            batch_size=case.batch_size,
            block_size=case.block_size,
            learning_rate=case.learning_rate,
            warmup_steps=steps // 10,
            weight_decay=case.weight_decay,
            precision=case.precision,
            seed=case.seed,
        )
        self.model: Any = model_of(case, session, shape).to(device)
        self.sampler: Sampler = make_sampler(
            case.sampler,
            segments=parts_of(case, session, text, used),
            block_size=case.block_size,
            seed=case.seed if case.order_seed is None else case.order_seed,
            batch_size=case.batch_size,
            drop_last=case.reader == "dataloader",
        )
        self.epochs_per_step = case.batch_size * case.block_size / self.sampler.n_targets
        self.batch_at = self._batches(session.own)

    def _batches(self, own: OwnModel | None) -> BatchAt:
        """Return the batch of each step, from the reader that the case names."""
        case = self.case
        if case.reader == "dataloader":
            return AuditedBatches(self._dataloader())
        if case.reader == "get_batch":
            assert own is not None, "only a run on a user's file has its loader"
            return AuditedBatches(own_batches(own, case, self.vocabulary))
        return partial(batch, self.train_ids, self.sampler, batch_size=case.batch_size)

    def _dataloader(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of a real DataLoader; a smaller last one is dropped, as is usual."""
        if self.sampler.name not in ("sequential", "shuffled_blocks"):
            raise ValueError(
                f"sampler is {self.sampler.name}: a DataLoader reads as sequential or "
                "shuffled_blocks; choose one of them, or leave reader out"
            )
        return loader_passes(
            self.train_ids,
            self.sampler.segments,
            block_size=self.sampler.block_size,
            batch_size=self.sampler.batch_size,
            shuffle=self.sampler.name == "shuffled_blocks",
            drop_last=True,
            seed=self.sampler.seed,
        )

    def audit(self) -> tuple[dict[str, int | float | None], dict[str, Any]]:
        """Return the metrics and facts of the audit, where a DataLoader was read.

        The loader of a user's file has an audit of its own (bench_own).
        """
        if not isinstance(self.batch_at, AuditedBatches) or self.case.reader == "get_batch":
            return {}, {}
        parts = [self.train_ids[part.start : part.stop].numpy() for part in self.sampler.segments]
        metrics, findings = self.batch_at.audit(parts, self.sampler, self.config.steps)
        return metrics, {"audit": findings}

    def evaluate(self) -> Evaluation:
        """Score every token of the test part once."""
        return evaluate(
            self.model,
            self.test_ids,
            block_size=self.case.block_size,
            device=self.device,
            n_bytes=self.test_bytes,
        )

    def final(self) -> tuple[Evaluation, list[dict[str, float]]]:
        """Return the score beside that of token counts, and the mean losses of blocks in a row."""
        losses = sweep_losses(
            self.model, self.test_ids, block_size=self.case.block_size, device=self.device
        ).numpy()
        return summarise(losses, self.test_bytes, self.unigram_losses()), blocks_of(losses)

    def unigram_losses(self) -> Floats:
        """Return the losses of the test part's targets under the train part's token counts."""
        ids = self.stream.ids
        train = [ids[part.start : part.stop] for part in self.split.train]
        return count_losses(train, [self.test_ids.numpy()], self.stream.vocab_size)

    def run(self, folder: Path) -> KeptRun:
        """Train in a folder, from its newest checkpoint on where it has one.

        A run of a user's model begins again, because its checkpoints cannot be verified.
        """
        if isinstance(self.model, ForeignModel) and folder.is_dir():
            with write_errors(folder):
                shutil.rmtree(folder)
        steps, parts = self.config.steps, self.case.evaluations
        return train_kept(
            folder,
            self.model,
            self.batch_at,
            self.config,
            device=self.device,
            fingerprint={
                "sampler": self.sampler.fingerprint(),
                "reader": self.case.reader,
                "init": self.case.init,
                "model_of": self.case.model,
            },
            epochs_per_step=self.epochs_per_step,
            points={round(steps * i / parts) for i in range(parts)} - {steps},
            measure=lambda step: self.point(step, self.evaluate()),
        )

    @cached_property
    def texts(self) -> Texts | None:
        """The texts of the run, which the first seed alone writes, no fold and no other model."""
        foreign = isinstance(self.model, ForeignModel) or not self.is_gpt2
        if self.case.seed or "split" in self.case.varied or foreign:
            return None
        parts = [self.train_ids[part.start : part.stop].numpy() for part in self.sampler.segments]
        prompt = self.test_ids[:PROMPT_TOKENS]
        return Texts(np.concatenate(parts), prompt, self.vocabulary, self.case.seed, self.device)

    def point(self, step: int, evaluation: Evaluation) -> Row:
        """Return what is noted at one evaluation: test loss, copying, and a text."""
        return {
            "step": step,
            "tokens": step * self.config.batch_size * self.config.block_size,
            "epochs": step * self.epochs_per_step,
            "loss": evaluation.loss_nats_per_token,
            "copy_probability": copy_probability(
                self.model, self.test_ids, block_size=self.case.block_size, device=self.device
            ),
            "ids": self.texts and self.texts.sample(self.model),
        }


def model_of(case: TrainCase, session: Session, shape: ModelConfig) -> nn.Module:
    """Return the model of a case: ours, the published one, or that of the user's file.

    The seed gives the first weights, except for those of the published model.
    """
    if case.model == "gptcore":
        return GPT(shape, seed=case.seed, init=case.init)
    if case.model == session.published.name:
        return published_model(session, case.corpus, case.block_size)
    assert session.own is not None, "only a run on a user's file has cases on it"
    return session.own.build(shape, case.seed)


def shape_of(case: TrainCase, vocab_size: int) -> ModelConfig:
    """Return the shape of the model of a case."""
    return ModelConfig(
        vocab_size=vocab_size,
        block_size=case.block_size,
        n_layer=case.n_layer,
        n_head=case.n_head,
        n_embd=case.n_embd,
        positions=case.positions,
        mlp=case.mlp,
    )


def updates(case: TrainCase, shape: ModelConfig, n_targets: int) -> int:
    """Return the number of updates: of the epochs over `n_targets`, or of the budget of FLOPs."""
    if case.budget_flops is None:
        steps = case.target_epochs * n_targets / (case.batch_size * case.block_size)
    else:
        steps = case.budget_flops / training_flops(shape, case.batch_size, case.block_size)
    return max(1, round(steps))


def _counts(experiment: Experiment) -> dict[str, int | float | None]:
    """Return the sizes of the run, the targets that it missed, and what train and test share."""
    config, sampler, split = experiment.config, experiment.sampler, experiment.split
    block_size = config.block_size
    coverage = measure_draws(sampler, config.steps * config.batch_size)
    shared = certificate(experiment.stream.ids, split, block_size=block_size)
    return {
        "n_params": experiment.model.n_params,
        "vocab_size": experiment.stream.vocab_size,
        "n_tokens": len(experiment.stream),
        "train_tokens": experiment.train_tokens,
        "test_tokens": len(experiment.test_ids),
        "steps": config.steps,
        "draws": coverage.draws,
        "epochs": coverage.epochs,
        "missed_targets": coverage.missed_targets,
        "shared_tokens": shared.shared_tokens,
        "shared_targets": shared.shared_targets,
        "shared_13grams": shared.shared_ngrams,
        "fraction_of_test_targets_trained": shared.fraction_of_test_targets_trained,
    }


def _losses(run: KeptRun, curve: list[Row], final: Evaluation) -> dict[str, float | None]:
    """Return the losses before, during and after training, and that of token frequencies."""
    low, high = final.interval_95 or (None, None)
    above_low, above_high = final.difference_interval_95 or (None, None)
    last = run.log[-max(1, len(run.log) // 10) :]
    return {
        "initial_test_loss": curve[0]["loss"],
        "initial_copy_probability": curve[0]["copy_probability"],
        "final_copy_probability": curve[-1]["copy_probability"],
        "final_test_loss": final.loss_nats_per_token,
        "final_test_loss_low": low,
        "final_test_loss_high": high,
        "bits_per_byte": final.bits_per_byte,
        "unigram_test_loss": final.baseline_loss_nats_per_token,
        "above_unigram_low": above_low,
        "above_unigram_high": above_high,
        "final_train_loss": sum(m["loss"] for m in last) / len(last),
        "train_tokens_per_s": run.train_tokens_per_s,
        "energy_j": run.energy_j,
    }


def train_and_score(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    """Train one model, score it on its whole test part, and note the outcome in `result`.

    Beside a user's model with a fault of causality or loss nothing is trained: its losses would not
    be comparable.
    """
    if session.own is not None and (reason := session.own.why_not()):
        pytest.skip(reason)
    device = torch.device(next(reversed(session.devices)))  # an accelerator, where there is one
    experiment = Experiment(case, session, device)
    if session.own is not None and experiment.config.steps < FEWEST_UPDATES:
        pytest.skip(
            f"{experiment.model.n_params:,} parameters leave time for {experiment.config.steps} "
            "updates, which teach a model nothing: let make_model take n_layer, n_head and n_embd"
        )
    run: KeptRun = benchmark.pedantic(experiment.run, args=(session.run_folder(case),), rounds=1)
    final, blocks = experiment.final()
    curve = [*run.curve, experiment.point(experiment.config.steps, final)]
    audited, audit = experiment.audit()
    result.metrics |= _counts(experiment) | audited | _losses(run, curve, final)
    result.facts |= run.facts | audit
    if case.score_train:
        draws = experiment.config.steps * case.batch_size
        note_visits(
            result,
            experiment.model,
            experiment.train_ids,
            experiment.sampler,
            draws=draws,
            device=device,
        )
    result.series |= {
        "loss_curve": [{name: m[name] for name in SERIES["loss_curve"]} for m in run.log],
        **{
            name: [{column: row[column] for column in SERIES[name]} for row in curve]
            for name in ("test_curve", "copying")
        },
        "test_blocks": blocks,
    }
    if experiment.texts is not None:
        result.series |= experiment.texts.series(curve)
