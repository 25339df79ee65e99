"""Which of how many processes this is, and which forwards would wait for the others."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from icshift.errors import RecordingError
from icshift.model.processes import refuse_waiting, this_process


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"RANK": "4", "WORLD_SIZE": "4"}, (0, 1)),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, (0, 1)),
        ({"RANK": "2"}, (0, 1)),
        ({"RANK": "two", "WORLD_SIZE": "4"}, (0, 1)),
    ],
)
def test_a_launcher_says_which_process_this_is(environment, expected, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert this_process() == expected


def test_torch_distributed_counts_more_than_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert this_process() == (0, 1)
    finally:
        dist.destroy_process_group()


def test_batch_norm_over_processes_waits_in_training_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2))
    refuse_waiting(model, training=False)
    refuse_waiting(nn.BatchNorm1d(2), training=True)
    with pytest.raises(RecordingError, match="through SyncBatchNorm: its forward waits"):
        refuse_waiting(model, training=True)


def test_sharded_modules_wait_in_every_mode(tmp_path):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = fully_shard(nn.Linear(2, 2), mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(RecordingError, match="record without a probe"):
            refuse_waiting(model, training=False)
        assert torch.is_tensor(model.weight)
    finally:
        dist.destroy_process_group()
