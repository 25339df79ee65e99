"""DistributedDataParallel, several trainings one after the other: `torchrun replicated.py FOLDER`."""

import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from network import ROWS, STEPS, batches, network, train
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from icshift.errors import RecordingError
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder


def main(folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()

    def data(**options):
        return batches(rank, ranks, **options)

    model = network()
    with Recorder(model, folder / "all", samples="all"):
        train(DistributedDataParallel(model), data())

    # Many values, so that there is an error to be stated, and the wrapper given in place of the model.
    wrapped = DistributedDataParallel(network())
    with Recorder(wrapped, folder / "sketched", samples="all"):
        train(wrapped, data(rows=100 * ROWS))

    # Gradients are exchanged at every second batch only.
    model = network()
    wrapped, optimizer = DistributedDataParallel(model), torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, folder / "accumulated", samples="all"):
        for number, (inputs, targets) in enumerate(data()):
            if number % 2:
                nn.functional.mse_loss(wrapped(inputs), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
            else:
                with wrapped.no_sync():
                    nn.functional.mse_loss(wrapped(inputs), targets).backward()

    # One process records, and writes at every step; the other does not.
    model = network()
    if rank == 0:
        with Recorder(model, folder / "one", window=1, samples="all"):
            train(DistributedDataParallel(model), data())
    else:
        train(DistributedDataParallel(model), data())

    # Both record, but begin, end and close windows when they like, and one takes its time.
    model = network()
    with Recorder(model, folder / "apart", window=2 if rank else 5, samples="all") as recorder:
        train(DistributedDataParallel(model), data(), after=lambda: rank and (recorder.epoch(), time.sleep(0.02)))

    # Buffers are exchanged in forwards of the wrapper, which a probe therefore must not call.
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    with torch.random.fork_rng():
        torch.manual_seed(9)
        probe = Probe(torch.randn(10, 6), train_mode=True)
    with Recorder(DistributedDataParallel(model), folder / "probe", window=3, samples="all", probe=probe):
        train(DistributedDataParallel(model), data())

    # Its forward does wait for the others, in training.
    try:
        Recorder(nn.Sequential(nn.Linear(6, 8), nn.SyncBatchNorm(8)), folder / "synchronised", probe=probe)
    except RecordingError as error:
        (folder / f"synchronised.{rank}").write_text(str(error))

    compiled = network()
    call = torch.compile(DistributedDataParallel(compiled), backend="eager")
    with Recorder(compiled, folder / "compiled", samples="all"):
        train(call, data())

    (folder / f"finished.{rank}").write_text(str(STEPS))
    del wrapped, call  # Before the group: torch may wait for ever otherwise (tests/launch/scripts/ddp.py).
    dist.destroy_process_group()


main(Path(sys.argv[1]))
