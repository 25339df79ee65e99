"""Parameters and layers that are split over processes: `torchrun sharded.py FOLDER`."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from network import batches, network, train
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from icshift.errors import RecordingError
from icshift.record.recorder import Recorder


def main(folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (ranks,))

    def sharded():
        model = network()
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    model = sharded()
    with Recorder(model, folder / "sharded", samples="all"):
        train(model, batches(rank, ranks))

    model = sharded()
    if rank == 0:
        with Recorder(model, folder / "one", samples="all"):
            train(model, batches(rank, ranks))
    else:
        train(model, batches(rank, ranks))

    # Each process has the whole batch, and a part of the units of the layers "up".
    split = network()
    for block in split.blocks:
        parallelize_module(block, mesh, {"up": ColwiseParallel(use_local_output=False), "down": RowwiseParallel()})
    with Recorder(split, folder / "split", samples="all"):
        train(split, batches())

    # The same, but the part is given as a plain tensor, as it is by default.
    plain = network()
    for block in plain.blocks:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    with Recorder(plain, folder / "plain", samples="all"):
        train(plain, batches())

    for name, one in (("sharded", model), ("split", split)):
        try:
            Recorder(one, folder / "refused", probe=torch.randn(4, 6))
        except RecordingError as error:
            (folder / f"{name}.{rank}").write_text(str(error))

    (folder / f"finished.{rank}").write_text("finished")
    dist.destroy_process_group()


main(Path(sys.argv[1]))
