"""The processes that `torchrun` starts, one per GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: number of this one.
        world_size: how many there are.
        local_rank: number of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """The one that writes files."""
        return self.rank == 0


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the processes of `torchrun`; alone where it was not used. A process that dies ends the others."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes()
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    if device.startswith("cuda"):
        torch.cuda.set_device(local_rank)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(rank=int(os.environ["RANK"]), world_size=world_size, local_rank=local_rank)
    finally:
        torch.distributed.destroy_process_group()
