"""Several processes training as one: which rows of a batch are mine, and what we agree on.

Started by torchrun, one process per device (NCCL; gloo on CPUs). Every process computes the same
draws for the whole batch and keeps its own rows, so that a run of many equals a run of one but for
the order in which floats are added. One that is lost ends all of them; torchrun starts them again,
and they go on from the last snapshot. Knows nothing about networks or losses.
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
from training.errors import ConfigError, WorldError


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
        _reduce(flat)
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
        _reduce(values)
        return dict(zip(scalars, values / self.size, strict=True))

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of all processes' numbers: how a signal to one stops all at one step."""
        if self.size == 1:
            return number
        value = torch.tensor(number, device=device)
        _reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def agree(self, images_seen: int, device: torch.device) -> None:
        """Raises WorldError where the processes would not begin at the same position.

        So it is when a shared file system shows some of them an older list of snapshots.
        """
        most, least = self.largest(images_seen, device), -self.largest(-images_seen, device)
        if most != least:
            raise WorldError(
                f"some processes would begin at {least} images and others at {most}: let all see "
                "the same run folder, on one shared file system, then start again"
            )

    def wait(self) -> None:
        """Until all processes are here. Raises WorldError where one is gone."""
        if self.size > 1:
            with _together():
                dist.barrier()


def _reduce(tensor: Tensor, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
    """In place, over all processes. Raises WorldError where one is gone."""
    with _together():
        dist.all_reduce(tensor, op=op)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorldError(
            f"another process of this run is gone ({str(error).splitlines()[0]}): start all again "
            "with --resume-if-any; torchrun does so by itself with --max-restarts"
        ) from error


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The world that torchrun's environment describes; alone without it.

    Raises ConfigError where a restart would never come together.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield World()
        return
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's own store outlives its workers: who starts again would find the addresses
        # of the dead there, and wait for them for ever. (Seen with torch 2.13.)
        raise ConfigError(
            "torchrun would start lost processes again with the addresses of the old ones: set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, or leave out --max-restarts"
        )
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
