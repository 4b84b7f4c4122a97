"""Several processes training as one: which rows of a batch are mine, and what we agree on.

Started by torchrun, one process per device (NCCL; gloo on CPUs). Every process computes the same
draws for the whole batch and keeps its own rows, so that a run of many equals a run of one but for
the order in which floats are added. Knows nothing about networks or losses.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from models.layers import stddev_group
from training.config import TrainConfig
from training.errors import ConfigError


@dataclass(frozen=True)
class World:
    """The processes of one run; alone by default, and then nothing here costs anything."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the run folder and speaks."""
        return self.rank == 0

    def check(self, config: TrainConfig) -> None:
        """Raises ConfigError where a batch cannot be shared out by whole deviation groups."""
        schedule = config.schedule
        for size in {schedule.batch_size, *schedule.batch_size_by_resolution.values()}:
            groups = size // stddev_group(size)
            if groups % self.size:
                raise ConfigError(
                    f"a batch of {size} pictures makes {groups} minibatch-deviation groups, which "
                    f"{self.size} processes cannot share: use multiples of {4 * self.size}"
                )

    def rows(self, batch_size: int) -> NDArray[np.int64]:
        """This process's pictures of a batch: whole groups of the minibatch deviation.

        Groups are strided through the batch; so are the rows taken here, hence a group has the
        same members as in one process.
        """
        group = stddev_group(batch_size)
        columns_GM = np.arange(batch_size).reshape(group, -1)
        share = columns_GM.shape[1] // self.size
        return columns_GM[:, self.rank * share : (self.rank + 1) * share].ravel()

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by the mean over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view(gradient.shape))

    def mean(self, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each scalar's mean over all processes; all must hold the same names."""
        if self.size == 1:
            return dict(scalars)
        values = torch.stack([value.detach().double() for value in scalars.values()])
        dist.all_reduce(values)
        return dict(zip(scalars, values / self.size, strict=True))

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of all processes' numbers: how a signal to one stops all at one step."""
        if self.size == 1:
            return number
        value = torch.tensor(number, device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return int(value)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The world that torchrun's environment describes; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
