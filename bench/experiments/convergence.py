"""One training run of an experiment: one arm, one seed, tested along the way.

A run is kept in the results folder, as `gptcore train` keeps it, so a session that was killed goes
on inside the case. Its folder is removed when the record of the case is on disk.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.ledger.ledger import RUNS
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.training_cases import TrainCase
from gptcore.coverage.visits import measure_draws
from gptcore.data.leakage import certificate
from gptcore.data.splits import Segment, make_split
from gptcore.data.tokenizer import decode, token_bytes
from gptcore.data.tokens import TokenStream
from gptcore.evaluation.losses import Evaluation, count_losses, evaluate
from gptcore.files import lock_folder
from gptcore.lines import Appender, dump_line, load_line, load_lines
from gptcore.model.config import ModelConfig
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT
from gptcore.reading import read_bytes
from gptcore.sampling.base import Sampler
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.training.config import TrainConfig
from gptcore.training.runs import LOG_NAME, read_log, run_training

Floats = npt.NDArray[np.float64]

CURVE_NAME = "test_curve.jsonl"
"""File of a run with one line for each evaluation; it is on disk before the next step."""
EVALUATIONS = 6
"""Parts of equal length into which evaluations divide a training run."""
PROMPT_TOKENS, NEW_TOKENS = 8, 80


class Experiment:
    """The data, the model and the schedule of one training run."""

    def __init__(self, case: TrainCase, session: Session, device: torch.device) -> None:
        text = session.stream(case.corpus, raw=case.raw)
        ids = text.ids[: case.n_tokens]
        self.stream = TokenStream(ids, text.vocab_size)
        self.vocabulary = None
        if case.compact:
            self.stream, self.vocabulary = self.stream.compact()
        self.split = make_split(
            case.split, len(ids), embargo=case.block_size, block_size=case.block_size
        )
        (test_part,) = self.split.test
        self.ids = torch.from_numpy(self.stream.ids)
        self.test_ids = self.ids[test_part.start : test_part.stop]
        used = [shortened(part, case.text_share) for part in self.split.train]
        self.train_tokens = sum(map(len, used))
        self.test_bytes = int(token_bytes(ids[test_part.start + 1 : test_part.stop]).sum())
        self.case, self.device = case, device
        tokens_per_step = case.batch_size * case.block_size
        whole = sum(map(len, self.split.train)) - len(used)
        steps = max(1, round(case.target_epochs * whole / tokens_per_step))
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
        shape = ModelConfig(
            vocab_size=self.stream.vocab_size,
            block_size=case.block_size,
            n_layer=case.n_layer,
            n_head=case.n_head,
            n_embd=case.n_embd,
        )
        self.model = GPT(shape, seed=case.seed, init=case.init).to(device)
        self.sampler: Sampler = make_sampler(
            case.sampler,
            segments=used,
            block_size=case.block_size,
            seed=case.seed if case.order_seed is None else case.order_seed,
            batch_size=case.batch_size,
        )
        self.epochs_per_step = tokens_per_step / self.sampler.n_targets

    def evaluate(self, baseline: Floats | None = None) -> Evaluation:
        """Score every token of the test part once, beside a baseline's losses of its targets."""
        return evaluate(
            self.model,
            self.test_ids,
            block_size=self.case.block_size,
            device=self.device,
            n_bytes=self.test_bytes,
            baseline=baseline,
        )

    def unigram_losses(self) -> Floats:
        """Return the losses of the test part's targets under the train part's token counts."""
        ids = self.stream.ids
        train = [ids[part.start : part.stop] for part in self.split.train]
        return count_losses(train, [self.test_ids.numpy()], self.stream.vocab_size)

    def generate(self, when: str) -> dict[str, str]:
        """Return a row with the text that the model generates after the start of the test part."""
        prompt = self.test_ids[:PROMPT_TOKENS]
        ids = generate(
            self.model,
            prompt,
            NEW_TOKENS,
            temperature=0.8,
            top_k=min(40, self.stream.vocab_size),
            seed=self.case.seed,
            device=self.device,
        ).numpy()
        if self.vocabulary is not None:
            ids = self.vocabulary.decode(ids)
        written = {"prompt": ids[:PROMPT_TOKENS], "text": ids[PROMPT_TOKENS:]}
        return {"when": when} | {name: decode(part) for name, part in written.items()}

    def run(self, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
        """Train in a folder, from its newest checkpoint on where it has one.

        Returns:
            The metrics of all steps, and rows with the test loss along the way.
        """
        steps, path = self.config.steps, folder / CURVE_NAME
        points = {round(steps * i / EVALUATIONS) for i in range(1, EVALUATIONS)} - {0, steps}
        with lock_folder(folder), Appender(path) as file:
            curve = {row["step"]: row for row in load_lines(read_bytes(path), str(path), _point)[0]}

            def evaluate(step: int) -> None:
                if step not in curve:
                    curve[step] = self.point(step, self.evaluate())
                    file.append(dump_line(curve[step]))

            evaluate(0)
            run_training(
                folder / "run",
                self.model,
                partial(batch, self.ids, self.sampler, batch_size=self.case.batch_size),
                self.config,
                device=self.device,
                fingerprint={"sampler": self.sampler.fingerprint(), "init": self.case.init},
                epochs_per_step=self.epochs_per_step,
                resume=True,
                on_step=lambda metrics: evaluate(metrics.step) if metrics.step in points else None,
            )
        log, _ = read_log(folder / "run" / LOG_NAME)
        return log, [curve[step] for step in sorted(curve)]

    def point(self, step: int, evaluation: Evaluation) -> dict[str, float]:
        """Return the row of the series `test_curve` for one evaluation."""
        return {
            "step": step,
            "tokens": step * self.config.batch_size * self.config.block_size,
            "epochs": step * self.epochs_per_step,
            "loss": evaluation.loss_nats_per_token,
        }


def shortened(part: Segment, share: float) -> Segment:
    """Return the first `share` of a part of a text."""
    return Segment(part.start, part.start + round(share * len(part)))


def _point(line: str) -> dict[str, float]:
    row = load_line(line)
    return {name: row[name] for name in ("step", "tokens", "epochs", "loss")}


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


def _losses(log: list[dict[str, Any]], first: float, final: Evaluation) -> dict[str, float | None]:
    """Return the losses before, during and after training, and that of token frequencies."""
    low, high = final.interval_95 or (None, None)
    above_low, above_high = final.difference_interval_95 or (None, None)
    last = log[-max(1, len(log) // 10) :]
    return {
        "initial_test_loss": first,
        "final_test_loss": final.loss_nats_per_token,
        "final_test_loss_low": low,
        "final_test_loss_high": high,
        "bits_per_byte": final.bits_per_byte,
        "unigram_test_loss": final.baseline_loss_nats_per_token,
        "above_unigram_low": above_low,
        "above_unigram_high": above_high,
        "final_train_loss": sum(m["loss"] for m in last) / len(last),
        "train_tokens_per_s": log[-1]["tokens"] / sum(m["step_time_s"] for m in log),
    }


def train_and_score(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    """Train one model, score it on its whole test part, and note the outcome in `result`."""
    device = torch.device(next(reversed(session.devices)))  # an accelerator, where there is one
    experiment = Experiment(case, session, device)
    generated = [experiment.generate("before")] if case.seed == 0 else []
    folder = session.ledger.folder / RUNS / case.id
    log, curve = benchmark.pedantic(experiment.run, args=(folder,), rounds=1)
    final = experiment.evaluate(experiment.unigram_losses())
    curve.append(experiment.point(experiment.config.steps, final))
    result.metrics |= _counts(experiment) | _losses(log, curve[0]["loss"], final)
    if case.seed == 0:
        generated.append(experiment.generate("after"))
    result.series |= {
        "loss_curve": [
            {name: m[name] for name in ("step", "tokens", "epochs", "loss")} for m in log
        ],
        "test_curve": curve,
        "generated": generated,
    }
