"""A notebook's extension, through the protocol by which IPython loads it."""

import torch
from torch import nn

import icshift


class Shell:
    def register_magic_function(self, function, magic_name):
        self.magics = {magic_name: function}


def test_what_is_trained_after_it_is_loaded_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shell = Shell()
    icshift.load_ipython_extension(shell)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        model(torch.ones(4, 2)).square().sum().backward()
        optimizer.step()
    shell.magics["icshift"]("")
    icshift.unload_ipython_extension(shell)
    assert "model: Sequential, 5 steps" in capsys.readouterr().out
    run = icshift.open(tmp_path / "icshift-runs" / "notebook" / "model")
    assert (run.finished, run.manifest["steps"]) == (True, 5)
