"""What is captured as a CUDA graph is left alone: an event or a copy of ours would end the capture and the training."""

import pytest
import torch
from torch import nn

import icshift
from icshift.model import cuda_graphs

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def capture(graph, model, x, optimizer):
    with torch.cuda.graph(graph):
        model(x).square().mean().backward()
        optimizer.step()


def test_without_cuda_nothing_is_captured():
    assert not cuda_graphs.is_captured()


@GPU
def test_a_training_that_is_captured_goes_on(tmp_path):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(32, 64, device="cuda")
    cuda_graphs._say.cache_clear()
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                optimizer.zero_grad(set_to_none=True)
                model(x).square().mean().backward()
                optimizer.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with pytest.warns(RuntimeWarning, match="CUDA graph"):
            capture(graph, model, x, optimizer)
        before = model[0].weight.detach().clone()
        graph.replay()
        assert not torch.equal(model[0].weight, before)
    run = icshift.open(tmp_path / "run")
    assert run.manifest["steps"] == 3
    assert not [entry for entry in run.manifest["ledger"] if entry["state"] == "failed"]


@GPU
def test_no_hook_of_a_wide_site_waits_for_the_device(tmp_path):
    model = nn.Linear(8, 3000).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(512, 8, device="cuda")
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer):
        for step in range(6):
            if step == 3:
                torch.cuda.set_sync_debug_mode("error")
            try:
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
    assert not [e for e in icshift.open(tmp_path / "run").manifest["ledger"] if e["state"] == "failed"]
