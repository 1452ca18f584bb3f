"""A training run in a folder: a log, checkpoints and a summary, resumable after a crash or kill.

- `metrics.jsonl` has one line of StepMetrics for each step, and in it the key `crc32`
  (`gptcore/lines.py`). When a run is resumed, the lines after the checkpoint are deleted, because
  those steps are done again.
- `checkpoints/` holds the newest two checkpoints, and that at which the decay of the schedule `wsd`
  begins.
- `summary.json` has `finished`, `step` (updates done), `steps`, `tokens`, `epochs`, `final_loss`
  (the loss of the last batch), `train_time_s` (the sum over steps), `tokens_per_s` (their mean
  speed), `memory_bytes` (the largest of the steps), `compile_time_s` (spent before the first step
  of this session; null without compiling), `energy_j` (what the energy counters showed for all
  steps; null without counters, or for a resumed run), `energy_source` (the counters, or why there
  is no energy), `n_params`, `device`, `precision`, `schedule`, `resumed_from` (a list of steps),
  `world_size` (processes of this session), `world_sizes` (those of every session: the first, and
  one for each step of `resumed_from`), `engine` ("ddp", "fsdp", or null for one process without
  torchrun) and `extensions` (`resuming.extension`).

The first Ctrl-C, SIGTERM or SIGHUP ends a run after the step, with a checkpoint and the summary. A
second one does not wait.

Several processes (`distributed.py`) keep one folder: the first one leads, which locks it, logs and
decides when a checkpoint is due; the others follow.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gptcore.checks import check_whole
from gptcore.cost.energy import Energy, measuring_energy
from gptcore.devices import gpu_uuid
from gptcore.files import WriteError, lock_folder
from gptcore.lines import Appender, dump_line
from gptcore.model.gpt import GPT
from gptcore.streams import BAD_INPUT
from gptcore.training import checkpoints, stopping
from gptcore.training.averaging import begin_average
from gptcore.training.compiling import prepare
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.loop import BatchAt, DivergedError, train
from gptcore.training.run_folder import Run
from gptcore.training.step import make_optimizer
from gptcore.training.world import World

CHECKPOINT_STEPS = 50
CHECKPOINT_SECONDS = 60.0
SHARED = "the processes of a run share the counters, which are not read"

OnStep = Callable[[StepMetrics], None]


def run_training(
    out_dir: Path,
    model: GPT,
    batch_at: BatchAt,
    config: TrainConfig,
    *,
    device: torch.device,
    fingerprint: dict[str, Any],
    epochs_per_step: float,
    resume: bool = False,
    checkpoint_every: int = CHECKPOINT_STEPS,
    checkpoint_s: float = CHECKPOINT_SECONDS,
    on_step: OnStep | None = None,
    world: World | None = None,
    shard: bool = False,
) -> dict[str, Any]:
    """Train to the last step and keep a log, checkpoints and a summary in `out_dir`.

    Args:
        out_dir: the folder of the run; it is created if it is missing.
        model: the model; it is moved to `device`.
        batch_at: the batch of each step, a pure function, so that a resumed run repeats batches.
        config: the settings of the training.
        device: where to train.
        fingerprint: further settings that must be equal on resume, as values that JSON can hold.
        epochs_per_step: the epoch-equivalents in one batch.
        resume: continue from the newest undamaged checkpoint, or start if there is none. There
            may be more steps than before; a run in the decay of `wsd` goes back to its start.
        checkpoint_every: steps after which a checkpoint is due.
        checkpoint_s: seconds after which one is due.
        on_step: called after each step is logged.
        world: the processes that train together; `batch_at` then gives the part of this one.
        shard: divide the weights over them (FSDP2) instead of copying them (DDP).

    Returns:
        The content of `summary.json`; nothing in a process that follows.

    Raises:
        WriteError: another run is using `out_dir`, or a file in it cannot be written.
        ValueError: `out_dir` holds a run that cannot be continued so, or training diverged.
    """
    due = (check_whole("checkpoint_every", checkpoint_every), checkpoint_s)
    run = _run(out_dir, model, config, device, fingerprint, world, shard)
    if world and not world.leads:
        return _follow(run, batch_at, epochs_per_step)
    with lock_folder(out_dir):
        run.open(resume=resume)
        summary = _train(run, batch_at, epochs_per_step, due, on_step)
    stopping.end(run.stop)
    return summary


def _run(
    out_dir: Path,
    model: GPT,
    config: TrainConfig,
    device: torch.device,
    fingerprint: dict[str, Any],
    world: World | None,
    shard: bool,
) -> Run:
    """Put the model where it trains, and give it what trains it."""
    fingerprint = {**fingerprint, "model": asdict(model.config), "train": asdict(config)}
    if world is None:
        model.to(device)
    average = None if config.ema_decay is None else begin_average(model)
    engine = Engine(world, model, config, average, shard=shard) if world else None
    optimizer = make_optimizer(model, config)  # of the parts of this process, once there are parts
    return Run(out_dir, model, optimizer, config, device, fingerprint, average, engine)


def _train(
    run: Run,
    batch_at: BatchAt,
    epochs_per_step: float,
    due: tuple[int, float],
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Train an open run until it ends or is to stop, and return its summary."""
    energy, uuid = Energy(), gpu_uuid(run.device)
    run.summarise(None, energy)
    compile_time_s = prepare(run.model, run.config, run.device)
    steps = _steps(run, batch_at, epochs_per_step)
    counters = nullcontext(Energy(None, SHARED)) if run.engine else measuring_energy(uuid)
    try:
        with stopping.wait_for_the_step(run.stop), counters as energy:
            _record(steps, run, due, on_step)
    except BaseException as error:
        with suppress(WriteError):  # the first error is the one to tell
            run.summarise(compile_time_s, energy)
        if isinstance(error, DivergedError):
            last = checkpoints.latest_checkpoint(run.checkpoints)
            raise DivergedError(
                f"{error}; the last good checkpoint is {last}"
                if last
                else f"{error}; there is no checkpoint yet"
            ) from None
        raise
    return run.summarise(compile_time_s, energy)


def _steps(run: Run, batch_at: BatchAt, epochs_per_step: float) -> Iterator[StepMetrics]:
    return train(
        run.model,
        run.optimizer,
        batch_at,
        run.config,
        first_step=run.first_step,
        device=run.device,
        epochs_per_step=epochs_per_step,
        average=run.average,
        engine=run.engine,
    )


def _follow(run: Run, batch_at: BatchAt, epochs_per_step: float) -> dict[str, Any]:
    """Train with the first process, which keeps the folder and says what is wrong."""
    run.restore(None)
    prepare(run.model, run.config, run.device)
    try:
        with stopping.wait_for_the_step(run.stop):
            for metrics in _steps(run, batch_at, epochs_per_step):
                saves, ends = run.pause(metrics.step, is_due=False)
                if saves:
                    run.save(metrics.step)
                if ends:
                    break
    except (DivergedError, WriteError):  # every process has met it
        raise SystemExit(BAD_INPUT) from None
    stopping.end(run.stop)
    return {}


def _record(
    steps: Iterator[StepMetrics],
    run: Run,
    due: tuple[int, float],
    on_step: OnStep | None,
) -> None:
    """Log every step; save a checkpoint when one is due, at the last step and at a stop.

    `due` has the steps and the seconds after which one is due, whichever comes first.
    """
    (every, seconds), saved_at = due, time.monotonic()
    with Appender(run.log_path) as log:
        for metrics in steps:
            log.append(dump_line(asdict(metrics)), flush=False)
            try:
                if on_step:
                    on_step(metrics)
            except KeyboardInterrupt:
                run.stop.ask(signal.SIGINT)
            is_due = metrics.step % every == 0 or time.monotonic() - saved_at >= seconds
            saves, ends = run.pause(metrics.step, is_due=is_due)
            if saves:
                log.flush()  # a checkpoint on disk implies that its log is, too
                run.save(metrics.step)
                saved_at = time.monotonic()
            if ends:
                return
