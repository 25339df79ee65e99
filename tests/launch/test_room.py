"""What a recording will take on disk is told once, at the first step, and only where it is worth a line."""

import torch
from torch import nn

from icshift.launch.launcher import Launcher, Settings
from icshift.launch.room import room


def train(folder, width, **settings):
    launcher = Launcher(Settings(folder, **settings))
    with launcher.recording():
        net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(3):
            net(torch.ones(8, 4)).sum().backward()
            optimizer.step()
        return room(launcher.recorders, folder)


def test_it_is_told_once_where_it_is_much(tmp_path, capsys):
    line = train(tmp_path, 2000)
    assert line == (
        f"net: about 1.3 MB a window and phase, and 2 kB a step up to 32.0 MB a model, will be written to {tmp_path}"
    )
    assert capsys.readouterr().err == f"icshift: {line}\n"


def test_it_is_not_told_where_it_is_little_or_nobody_wants_it(tmp_path, capsys):
    assert train(tmp_path / "small", 20) == ""
    train(tmp_path / "quiet", 2000, quiet=True)
    train(tmp_path / "child", 2000, child=True)
    assert capsys.readouterr().err == ""
