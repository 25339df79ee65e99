"""This process among those of one training: its rank and their number. Nothing here communicates."""

from __future__ import annotations

import os

import torch.distributed as dist
from torch import nn

from icshift.errors import RecordingError


def this_process() -> tuple[int, int]:
    """This process's rank, from 0, and the number of processes; (0, 1) where there is one alone.

    Both are those of torch.distributed; before it is initialised, those that a launcher such as torchrun has put into
    the environment.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    try:
        rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, ranks) if 0 <= rank < ranks else (0, 1)


def refuse_waiting(model: nn.Module, *, training: bool) -> None:
    """Raises `RecordingError` where a forward of the model waits for the other processes.

    Only the first process replays a probe: there it would wait for ever. `training` says that the probe is replayed in
    training mode, in which SyncBatchNorm waits too.
    """
    for module in model.modules():
        name = type(module).__name__
        sharded = name.startswith(("FSDP", "FullyShardedDataParallel")) or any(
            type(parameter).__name__ == "DTensor" for parameter in module.parameters(recurse=False)
        )
        if sharded or (training and isinstance(module, nn.SyncBatchNorm)):
            raise RecordingError(
                f"a probe cannot be replayed through {name}: its forward waits for the other processes; record "
                "without a probe"
            )
