"""Data parallel training with `torchrun`: every process takes its part of each batch, and gradients are averaged.

    torchrun --nproc-per-node 8 -m soar.cli train gcbc …

All processes draw the same batches, so that the result is that of one process with the same batch size, up to rounding. Only
the first process (`leads`) writes files and shows progress. Without torchrun there is one process, and nothing happens here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.nn.devices import usable_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: Number of this process.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what all have found."""
        return self.rank == 0

    def average_gradients(self, model: nn.Module) -> None:
        """Replace the gradients by their mean over all processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean of scalars over all processes."""
        if self.size == 1:
            return dict(values)
        flat = torch.stack([value.detach().float() for value in values.values()])
        dist.all_reduce(flat)
        return dict(zip(values, flat / self.size, strict=True))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


def current_group() -> Group:
    """Return the group of this process; one of one process outside of `joined`."""
    if not dist.is_available() or not dist.is_initialized():
        return Group()
    return Group(rank=dist.get_rank(), size=dist.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[tuple[Group, str]]:
    """Join the processes that torchrun started, if it did; yields the group, and the device of this process.

    Raises:
        ConfigError: The device cannot be used, or was named by number; torchrun gives each process its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group(), usable_device(device)
        return
    if device.startswith("cuda"):
        if device != "cuda":
            raise ConfigError(f"--device {device}: with torchrun say --device cuda; each process gets a GPU of its own.")
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(usable_device(device))
    # One process can record or validate for hours while the others wait; torchrun ends them all when one dies.
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(days=7))
    try:
        yield current_group(), device
    finally:
        dist.destroy_process_group()
