"""What the command line says of units in trouble where nobody, or a function and no module, reads a site."""

import json

import pytest
import torch
from torch import nn

import icshift
from icshift.cli.main import _run


class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.fc, self.out, self.act = nn.Linear(3, 4), nn.Linear(4, 2), act
        self.fc.bias.data -= 100

    def forward(self, x):
        return self.out(self.act(self.fc(x)))


def recorded(path, act, *, collapse=False):
    """Two windows of a training whose first layer gives values below -90 only, or one value in the second window."""
    torch.manual_seed(0)
    model = Net(act)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with icshift.Recorder(model, path) as recorder:
        for _ in range(2):
            for _ in range(4):
                model(torch.randn(8, 3)).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            recorder.epoch()
            if collapse:
                model.fc.weight.data *= 1e-6
                model.fc.bias.data.fill_(0.3)
    return str(path)


def said(capsys, *arguments):
    code = _run(list(arguments))
    return code, capsys.readouterr().out


class Through(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(_, gradient):
        return gradient


@pytest.mark.parametrize(
    "act", [nn.functional.relu, torch.relu, lambda y: y.clamp_(min=0)], ids=["F", "torch", "clamp"]
)
def test_a_functional_relu_with_all_units_dead_is_found(act, tmp_path, capsys):
    run = recorded(tmp_path / "run", act)
    assert "4 dead" in said(capsys, "report", run)[1]
    code, words = said(capsys, "check", run, "--fail-on", "dead > 0")
    assert (code, "FAILED        fc: dead 4 of 4 units" in words) == (1, True)


def test_what_is_not_known_is_never_ok(tmp_path, capsys):
    run = recorded(tmp_path / "run", Through.apply)
    cause = "ThroughBackward reads it, and what that does is not known"
    lines = said(capsys, "report", run)[1].splitlines()
    row = next(line for line in lines if line.split()[:1] == ["fc"])
    assert row.rstrip().endswith("–")
    assert f"health –: dead or saturated units are not known at fc: {cause}." in " ".join(" ".join(lines).split())
    rows = {row["site"]: row for row in json.loads(said(capsys, "report", run, "--json")[1])["sites"]}
    assert (rows["fc"]["dead"], rows["fc"]["saturated"], rows["fc"]["unknown"]) == (None, None, cause)
    assert (rows["out"]["dead"], rows["out"]["unknown"]) == (None, "")
    for quantity in ("dead", "saturated"):
        code, words = said(capsys, "check", run, "--fail-on", f"{quantity} > 0")
        assert (code, f"not measured  fc: {quantity} > 0: not known: {cause}" in words) == (1, True)
    assert cause in " ".join(said(capsys, "units", run, "--site", "fc")[1].split())


def test_what_does_not_apply_is_known(tmp_path, capsys):
    run = recorded(tmp_path / "run", lambda y: nn.functional.relu(y) + y)
    assert "health –" not in said(capsys, "report", run, "--site", "fc")[1]
    assert _run(["check", run, "--fail-on", "fc dead > 0"]) == 2
    assert "cannot check 'fc dead > 0' at fc: not ReLU alone reads it" in capsys.readouterr().err


def test_a_site_that_collapses_as_a_whole_is_constant(tmp_path, capsys):
    run = recorded(tmp_path / "run", torch.relu, collapse=True)
    assert "4 constant" in said(capsys, "report", run, "--site", "fc")[1]
    code, words = said(capsys, "check", run, "--fail-on", "fc constant > 50%")
    assert (code, "4 of 4 units = 100%" in words) == (1, True)
