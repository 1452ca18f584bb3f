"""Training on several processes: each has a part of every batch, and all have its gradient.

The batch of a step is that of one process, and so is its loss: the mean over all targets scored.
Process r of W takes the windows r·B // W, …, (r + 1)·B // W - 1 of the batch, so a run goes on with
any W. Gradients and losses are those of one process up to the order of their sums; the masks of
dropout alone are others.

Two ways to divide the work: DDP, where every process holds the whole model, and FSDP2
(`fully_shard`), where each holds a part of the weights, gradients and moments, and gathers the
weights of one block at a time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_

from gptcore.devices import autocast, matmul_precision
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import IGNORE_INDEX, linear_cross_entropy
from gptcore.ops.tied_embedding import Waiting
from gptcore.training import checkpoints
from gptcore.training.checkpoint_files import AVERAGE, MOMENTS, read_checkpoint
from gptcore.training.config import TrainConfig
from gptcore.training.step import clip_gradient
from gptcore.training.world import World


class _Loss(nn.Module):
    """A model with its loss, so that one call is a whole forward pass."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor, n_targets: Tensor) -> Tensor:
        """Return the sum of the losses over `n_targets`."""
        hidden: Tensor
        waiting: Waiting | None
        hidden, waiting = self.model.transformer(inputs.contiguous())
        return linear_cross_entropy(hidden, self.model.lm_head.weight, targets, waiting, n_targets)


class Engine:
    """A model that several processes train, with the average of its weights, if there is one.

    Args:
        world: the processes.
        model: the model, the same in every process, on the CPU or the device.
        config: the settings.
        average: from `begin_average`.
        shard: divide the weights over the processes (FSDP2) instead of copying them (DDP).

    Raises:
        ValueError: these processes cannot train so.
    """

    def __init__(
        self, world: World, model: GPT, config: TrainConfig, average: GPT | None, *, shard: bool
    ) -> None:
        if config.compile is not None:
            raise ValueError("compile is for one process: leave it out, or train without torchrun")
        self.world, self.model, self.config, self.average = world, model, config, average
        self.shard, self.n_windows = shard, len(world.part(config.batch_size))
        if shard:
            self.module: Any = _sharded(_Loss(model), model, world)
            if average is not None:
                _sharded(average, average, world)
            return
        for whole in (model, average):
            if whole is not None:
                whole.to(world.device)
        ids = None if world.device.type == "cpu" else [world.device]
        self.module = DistributedDataParallel(_Loss(model), device_ids=ids)

    @property
    def name(self) -> str:
        """How the work is divided, for the summary of a run."""
        return "fsdp" if self.shard else "ddp"

    def update(
        self, model: GPT, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Do the update of `step.train_step` from this process's part of the batch.

        Returns:
            The loss of the whole batch before the update, and the norm of the gradient before
            clipping; the same in every process.
        """
        world, precision = self.world, self.config.precision
        optimizer.zero_grad(set_to_none=True)
        # DDP and FSDP return the mean of the gradients over the processes.
        n_targets = world.total((targets != IGNORE_INDEX).sum()) / world.size
        pieces, losses = self._pieces(inputs, targets), []
        for number, (part, ids) in enumerate(pieces, start=1):
            with self._sum_later(number < len(pieces)), matmul_precision(precision):
                with autocast(world.device, precision):
                    loss = self.module(part, ids, n_targets)
                loss.backward()
            losses.append(loss.detach())
        grad_norm = self._clip(model)
        optimizer.step()
        return world.total(torch.stack(losses).sum()) / world.size, grad_norm.detach()

    def _pieces(self, inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the micro-batches; every process has as many, because FSDP gathers in each."""
        size, most = self.config.micro_batch_size, -(-self.config.batch_size // self.world.size)
        count = 1 if size is None else -(-most // size)
        nothing = (inputs[:1], torch.full_like(targets[:1], IGNORE_INDEX))
        pieces = zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True)
        return [(part, ids) if len(part) else nothing for part, ids in pieces]

    def _sum_later(self, later: bool) -> AbstractContextManager[None]:
        """Keep the gradients of a micro-batch here until the last one."""
        if self.shard:
            self.module.set_requires_gradient_sync(not later)
            return nullcontext()
        return self.module.no_sync() if later else nullcontext()

    def _clip(self, model: GPT) -> Tensor:
        if not self.shard:
            return clip_gradient(model, self.config.grad_clip)
        parameters = [p for p in model.parameters() if p.grad is not None]
        grads = [_local(p.grad).flatten() for p in parameters]
        norm = self.world.total(torch.stack([grad.dot(grad) for grad in grads]).sum()).sqrt()
        clip_grads_with_norm_(parameters, self.config.grad_clip, norm)
        return norm

    def is_finite(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether all numbers of a checkpoint are finite, in every process."""
        tensors = self._tensors(optimizer).values()
        return not self.world.greatest(int(not all(_local(t).isfinite().all() for t in tensors)))[0]

    def save(
        self,
        directory: Path,
        step: int,
        optimizer: torch.optim.Optimizer,
        fingerprint: dict[str, Any],
    ) -> None:
        """Write a checkpoint; every process calls this after the same step.

        Raises:
            WriteError: it cannot be written; the older ones are still there.
        """
        from gptcore.training import shards  # it takes seconds to load

        about = {
            "step": step,
            "model_config": asdict(self.model.config),
            "fingerprint": fingerprint,
            "average": self.average is not None,
        }
        path = directory / checkpoints.checkpoint_name(step, checkpoints.SHARDS)
        shards.save_shards(path, self._tensors(optimizer), about)
        if self.world.leads:
            checkpoints.remove_old(directory, keep=self.config.decay_start)

    def restore(self, directory: Path, step: int, optimizer: torch.optim.Optimizer) -> int:
        """Load the checkpoint of the step that the first process names, and return it.

        The others give 0, and so does the first one where there is no checkpoint.

        Raises:
            ValueError: the checkpoint cannot be read.
        """
        [step] = self.world.greatest(step)
        if step:
            self._load(directory, step, optimizer)
            if not self.is_finite(optimizer):
                raise ValueError(f"the checkpoint of step {step} in {directory} is not finite")
        return step

    def _load(self, directory: Path, step: int, optimizer: torch.optim.Optimizer) -> None:
        names = {p: n for n, p in self.model.named_parameters()}
        groups = optimizer.state_dict()["param_groups"]
        listed: list[Any] = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            number: {"step": torch.tensor(float(step))}
            | {kind: torch.zeros_like(parameter) for kind in MOMENTS}
            for number, parameter in enumerate(listed)
        }
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        tensors, path = self._tensors(optimizer), checkpoints.path_of(directory, step)
        if path.suffix == checkpoints.SHARDS:
            from gptcore.training import shards

            shards.load_shards(path, tensors)
            return
        content = read_checkpoint(path)  # one process has written it
        moments = content["optimizer"]["state"]
        for number, parameter in enumerate(listed):
            name = names[parameter]
            _fill(tensors[f"model.{name}"], content["model"][name])
            if self.average is not None:
                averages = checkpoints.average_of(content)
                _fill(tensors[f"{AVERAGE}.{name}"], averages[name])
            for kind in MOMENTS:
                _fill(tensors[f"{kind}.{name}"], moments[number][kind])

    def _tensors(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint by name (`manifests.py`)."""
        names = {p: n for n, p in self.model.named_parameters()}
        tensors = {f"model.{n}": p.detach() for p, n in names.items()}
        parameter: Any
        for parameter, state in optimizer.state.items():
            tensors |= {f"{kind}.{names[parameter]}": state[kind] for kind in MOMENTS}
        if self.average is not None:
            averages = self.average.named_parameters()
            tensors |= {f"{AVERAGE}.{n}": p.detach() for n, p in averages}
        return tensors


def _sharded(module: nn.Module, model: GPT, world: World) -> nn.Module:
    """Divide the parameters of a module over the processes, each block of its model by itself."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    for part in (*model.transformer.h, module):
        fully_shard(part, mesh=mesh)
    return module


def _local(tensor: Any) -> Tensor:
    """Return what this process has of a tensor."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


@torch.no_grad()
def _fill(tensor: Any, whole: Tensor) -> None:
    """Copy to a tensor this process's part of a whole one."""
    if hasattr(tensor, "to_local"):
        from torch.distributed.tensor import distribute_tensor

        whole = distribute_tensor(
            whole.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None
        )
    tensor.copy_(whole)
